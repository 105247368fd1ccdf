//! The bootstrap kubeconfig becomes root's alone, and nothing else does. Needs root, as all of `tests/run`.

use std::os::unix::fs::{chown, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// The login user of Fedora CoreOS and Flatcar.
const CORE: u32 = 500;
const FILE: &str = "/etc/kubernetes/kubeconfig";

struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(host.at("/etc/kubernetes")).unwrap();
        host.set("/etc/kubernetes", 0, 0o755);
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        Root::new(self.0.path()).at(path)
    }

    fn put(&self, path: &str, owner: u32, mode: u32) {
        std::fs::write(self.at(path), "token").unwrap();
        self.set(path, owner, mode);
    }

    fn set(&self, path: &str, owner: u32, mode: u32) {
        chown(self.at(path), Some(owner), Some(owner)).unwrap();
        std::fs::set_permissions(self.at(path), Permissions::from_mode(mode)).unwrap();
    }

    fn is(&self, path: &str) -> (u32, u32, u32) {
        let meta = std::fs::metadata(self.at(path)).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    }

    fn root_only(&self) -> RootOnly {
        root_only(&Root::new(self.0.path()), Path::new(FILE))
    }
}

#[test]
fn a_file_that_others_can_read_or_own_becomes_roots_alone() {
    for (name, owner, mode, before) in [
        ("Typhoon's, by Ignition", 0, 0o644, "0644, of uid 0 and gid 0"),
        ("Typhoon's, by ssh", CORE, 0o664, "0664, of uid 500 and gid 500"),
        ("private to another", CORE, 0o600, "0600, of uid 500 and gid 500"),
        ("with bits that no kubeconfig has", 0, 0o4755, "4755, of uid 0 and gid 0"),
    ] {
        let host = Host::new();
        host.put(FILE, owner, mode);
        assert_eq!(host.root_only(), RootOnly::Made(before.to_owned()), "{name}");
        assert_eq!(host.is(FILE), (0, 0, 0o600), "{name}");
        assert_eq!(std::fs::read_to_string(host.at(FILE)).unwrap(), "token", "{name}");
        assert_eq!(host.root_only(), RootOnly::AsItWas, "{name}");
    }
}

#[test]
fn what_is_right_already_stays_and_no_file_is_no_failure() {
    let host = Host::new();
    assert_eq!(host.root_only(), RootOnly::AsItWas, "absent");
    for mode in [0o600, 0o400] {
        host.put(FILE, 0, mode);
        assert_eq!(host.root_only(), RootOnly::AsItWas, "{mode:o}");
        assert_eq!(host.is(FILE), (0, 0, mode));
    }
}

#[test]
fn what_may_be_somebody_elses_is_left_and_told() {
    const OTHER: &str = "/etc/other";
    type Lay = fn(&Host);
    let lays: [(&str, &str, Lay); 6] = [
        ("a link", "bootstrap-kubeconfig-is-a-link", |host| symlink(host.at(OTHER), host.at(FILE)).unwrap()),
        ("a second name", "bootstrap-kubeconfig-has-two-names", |host| {
            std::fs::hard_link(host.at(OTHER), host.at(FILE)).unwrap();
        }),
        ("a pipe", "bootstrap-kubeconfig-is-no-file", |host| {
            mkfifo(&host.at(FILE), Mode::from_bits_truncate(0o644)).unwrap();
        }),
        ("a directory", "bootstrap-kubeconfig-is-no-file", |host| std::fs::create_dir(host.at(FILE)).unwrap()),
        ("a directory that all may write", "bootstrap-kubeconfig-in-open-directory", |host| {
            host.put(FILE, 0, 0o644);
            host.set("/etc/kubernetes", 0, 0o777);
        }),
        ("a directory of another", "bootstrap-kubeconfig-in-open-directory", |host| {
            host.put(FILE, 0, 0o644);
            host.set("/etc/kubernetes", CORE, 0o755);
        }),
    ];
    for (name, kind, lay) in lays {
        let host = Host::new();
        host.put(OTHER, CORE, 0o644);
        lay(&host);
        let before = std::fs::symlink_metadata(host.at(FILE)).unwrap().mode();
        let RootOnly::Left(reason) = host.root_only() else { panic!("{name}: it was changed") };
        assert_eq!(reason.kind, kind, "{name}: {}", reason.message);
        assert_eq!(host.is(OTHER), (CORE, CORE, 0o644), "{name}: another's file");
        assert_eq!(std::fs::symlink_metadata(host.at(FILE)).unwrap().mode(), before, "{name}");
    }
}
