//! `units/` as the real systemd reads it. Needs Debian's package `systemd` (the tools, not a running systemd).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking, in its helpers too"
)]

mod cases;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::ValueEnum;
use eyewall_ignition::{Os, Platform, Role, fragment};

fn units() -> PathBuf {
    cases::path("../units")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn tool(name: &str, arguments: &[&str]) -> Output {
    Command::new(name)
        .args(arguments)
        .env("SYSTEMD_LOG_TARGET", "console")
        .output()
        .unwrap_or_else(|error| panic!("{name} (Debian: apt-get install systemd): {error}"))
}

/// A root with the system's own units (sysinit.target and all that it pulls in) and the programs that ours name.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for directory in ["etc/systemd/system", "usr/lib", "opt/bin", "run", "var/lib"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    copy(Path::new("/usr/lib/systemd/system"), &at("usr/lib/systemd/system"));
    symlink("usr/lib", at("lib")).unwrap();
    symlink("usr/bin", at("bin")).unwrap();
    for program in [
        "opt/bin/eyewall",
        "usr/bin/systemd-sysusers",
        "usr/bin/journalctl",
        "usr/bin/podman",
        "usr/bin/docker",
        "usr/bin/bash",
    ] {
        let program = at(program);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

/// Files and symlinks, no deeper than units lie.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Puts a fragment's units there, as Ignition does, and lets systemd judge those that have contents.
fn verify(root: &Path, config: &ignition_config::v3_3::Config) -> Output {
    let directory = root.join("etc/systemd/system");
    let mut names = Vec::new();
    for unit in config.systemd.as_ref().unwrap().units.as_ref().unwrap() {
        if let Some(contents) = &unit.contents {
            fs::write(directory.join(&unit.name), contents).unwrap();
            names.push(unit.name.clone());
        }
        for dropin in unit.dropins.iter().flatten() {
            let directory = directory.join(format!("{}.d", unit.name));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(&dropin.name), dropin.contents.as_ref().unwrap()).unwrap();
        }
    }
    let root = format!("--root={}", root.display());
    let mut arguments = vec!["verify", "--man=no", &root];
    arguments.extend(names.iter().map(String::as_str));
    tool("systemd-analyze", &arguments)
}

#[test]
fn systemd_has_nothing_to_say_about_any_fragment() {
    for os in Os::value_variants() {
        for platform in Platform::value_variants() {
            if *os == Os::Generic && platform.needs_metadata() {
                continue;
            }
            let root = root();
            for unit in ["afterburn", "coreos-metadata"] {
                let file = root.path().join(format!("etc/systemd/system/{unit}.service"));
                fs::write(file, "[Service]\nExecStart=/usr/bin/bash\n").unwrap();
            }
            let config = fragment(&cases::plain(*os, Role::Worker, *platform)).unwrap();
            let output = verify(root.path(), &config);
            assert!(output.status.success(), "{os} {platform}: {}", text(&output));
            assert_eq!(text(&output), "", "{os} {platform}: not even a warning");
        }
    }
}

#[test]
fn systemd_has_nothing_to_say_about_the_broken_glass() {
    for runtime in ["podman", "docker"] {
        let root = root();
        let directory = root.path().join("etc/systemd/system/kubelet.service.d");
        fs::create_dir_all(&directory).unwrap();
        let dropin = units().join(format!("break-glass-{runtime}.conf"));
        fs::copy(dropin, directory.join("99-break-glass.conf")).unwrap();
        let config = fragment(&cases::plain(Os::Generic, Role::Worker, Platform::Qemu)).unwrap();
        let output = verify(root.path(), &config);
        assert!(output.status.success(), "{runtime}: {}", text(&output));
        assert_eq!(text(&output), "", "{runtime}: not even a warning");
    }
    let source = eyewall_core::config::Source {
        name: "break-glass.toml".to_owned(),
        text: fs::read_to_string(units().join("break-glass.toml")).unwrap(),
    };
    let config = eyewall_core::config::read(&[source]).unwrap();
    assert_eq!(config.certificates.owner, eyewall_core::config::Owner::Kubelet);
}

/// A host with a kubelet.service of Typhoon's, and what is put over it by name.
fn typhoon(os: &str, drop_ins: &[(&str, &str)]) -> tempfile::TempDir {
    let root = root();
    let at = |path: &str| root.path().join("etc/systemd/system").join(path);
    fs::copy(cases::path(&format!("tests/typhoon/kubelet-{os}.service")), at("kubelet.service")).unwrap();
    fs::create_dir_all(at("kubelet.service.d")).unwrap();
    for (name, unit) in drop_ins {
        fs::copy(units().join(unit), at(&format!("kubelet.service.d/{name}"))).unwrap();
    }
    // Units that it names and that are the OS's.
    for unit in ["rpc-statd", "docker"] {
        fs::write(at(&format!("{unit}.service")), "[Service]\nExecStart=/usr/bin/bash\n").unwrap();
    }
    for unit in ["eyewall.socket", "eyewall.service"] {
        fs::copy(units().join(unit), at(unit)).unwrap();
    }
    let mkdir = root.path().join("usr/bin/mkdir");
    fs::copy(root.path().join("usr/bin/bash"), mkdir).unwrap();
    root
}

fn verify_kubelet(root: &Path) -> Output {
    let root = format!("--root={}", root.display());
    tool("systemd-analyze", &["verify", "--man=no", &root, "kubelet.service"])
}

/// What systemd makes of a unit and its drop-ins, by its own rule: an empty assignment of a list clears it.
fn assignments(root: &Path, key: &str) -> Vec<String> {
    let directory = root.join("etc/systemd/system");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory.join("kubelet.service.d")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.insert(0, directory.join("kubelet.service"));
    let mut values = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap().replace("\\\n", " ");
        for value in text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
    values
}

/// The switch-over, and both doors back out of it, over Typhoon's own units.
#[test]
fn systemd_has_nothing_to_say_about_the_switch_over() {
    let take_over = ("50-eyewall.conf", "take-over.conf");
    for (os, glass) in [("fcos", "break-glass-podman.conf"), ("flatcar", "break-glass-docker.conf")] {
        for (name, drop_ins) in [
            ("Typhoon's own", &[][..]),
            ("taken over", &[take_over][..]),
            ("taken over, and the glass broken", &[take_over, ("99-break-glass.conf", glass)]),
            ("the glass broken over Typhoon's own", &[("99-break-glass.conf", glass)]),
        ] {
            let root = typhoon(os, drop_ins);
            let output = verify_kubelet(root.path());
            assert!(output.status.success(), "{os}, {name}: {}", text(&output));
            assert_eq!(text(&output), "", "{os}, {name}: not even a warning");
        }
    }
    let broken = typhoon("fcos", &[take_over]);
    let drop_in = broken.path().join("etc/systemd/system/kubelet.service.d/50-eyewall.conf");
    let without = fs::read_to_string(&drop_in).unwrap().replace("\nExecStart=\n", "\n");
    fs::write(&drop_in, without).unwrap();
    assert_ne!(text(&verify_kubelet(broken.path())), "", "two ExecStart= are noticed");
}

/// After the switch-over the unit does what units/kubelet.service does; nothing of Typhoon's steps is left.
#[test]
fn a_unit_that_was_taken_over_is_ours() {
    let ours = fs::read_to_string(units().join("kubelet.service")).unwrap();
    for os in ["fcos", "flatcar"] {
        let root = typhoon(os, &[("50-eyewall.conf", "take-over.conf")]);
        for key in ["ExecStartPre", "ExecStart", "ExecStop", "ExecStopPost"] {
            let want: Vec<&str> = ours.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
            assert_eq!(assignments(root.path(), key), want, "{os} {key}");
        }
        for key in [
            "Type",
            "Delegate",
            "KillMode",
            "TimeoutStopSec",
            "SuccessExitStatus",
            "Restart",
            "RestartSec",
            "StartLimitIntervalSec",
        ] {
            let want = ours.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            let got = assignments(root.path(), key);
            assert_eq!(got.last().map(String::as_str), want, "{os} {key}");
        }
    }
}

/// The kubelet that Typhoon's unit runs, by the flags of its container, is the one that runs after the switch-over.
#[test]
fn the_kubelet_of_typhoons_unit_keeps_its_flags_and_mounts() {
    use eyewall_core::config::{Source, read};
    use eyewall_core::hostname::node_name;
    use eyewall_core::kubelet::{Container, DOCKER, Host, PODMAN, plan, take_over};
    for (os, key, runtime, release) in [
        ("fcos", "ExecStart", PODMAN, &eyewall_core::os::FCOS),
        ("flatcar", "ExecStartPre", DOCKER, &eyewall_core::os::FLATCAR),
    ] {
        let root = typhoon(os, &[]);
        let run = assignments(root.path(), key).into_iter().find(|line| line.contains(" run ")).unwrap();
        let (before, flags) = run.split_once(" ${KUBELET_IMAGE} ").unwrap();
        let flags: Vec<String> = flags.split(' ').map(str::to_owned).collect();
        let container = Container {
            runtime,
            id: "0".repeat(64),
            reference: "quay.io/poseidon/kubelet:v1.36.2".to_owned(),
            digest: None,
            created_at: eyewall_core::time::Time::from_unix(0),
            arguments: Some(flags.clone()),
        };
        let fragment = take_over::fragment(&container).unwrap();
        let config = read(&[Source { name: "50-take-over.toml".to_owned(), text: fragment }]).unwrap();
        let name = node_name(config.node.name.as_deref(), "").unwrap();
        let host = Host { os: release, selinux: false, resolved: true, runtime };
        let plan = plan(&config, &host, Some(&name), &[]).unwrap();
        let (gone, new) = take_over::difference(&flags, plan.flags());
        assert_eq!(gone, ["--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig"], "{os}");
        assert_eq!(new, ["--rotate-certificates=false"], "{os}");
        let mounts = |line: &str| -> Vec<String> {
            line.split(" --volume ").skip(1).map(|mount| mount.split(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(mounts(&plan.run(&plan.images[0]).join(" ")), mounts(before), "{os}");
    }
}

/// The fragments are configurations, and the later one wins.
#[test]
fn the_fragments_say_who_owns_the_certificate() {
    use eyewall_core::config::{Owner, Source, read};
    let source = |name: &str| Source { name: name.to_owned(), text: fs::read_to_string(units().join(name)).unwrap() };
    let owner =
        |names: &[&str]| read(&names.iter().map(|name| source(name)).collect::<Vec<_>>()).unwrap().certificates.owner;
    assert_eq!(owner(&["observe.toml"]), Owner::Kubelet);
    assert_eq!(owner(&["observe.toml", "take-over.toml"]), Owner::Eyewall);
    assert_eq!(owner(&["observe.toml", "take-over.toml", "break-glass.toml"]), Owner::Kubelet);
}

/// So that the tests above mean something.
#[test]
fn systemd_does_speak_up() {
    for (name, from, to) in [
        ("a key that is none", "LimitCORE=0", "LimitCORES=0"),
        ("a value that is none", "WatchdogSec=120s", "WatchdogSec=soon"),
        ("a program that is not there", "/opt/bin/eyewall run", "/opt/bin/eyewal run"),
        ("a syscall group that is none", "@resources", "@resource"),
    ] {
        let root = root();
        let mut config = fragment(&cases::plain(Os::Generic, Role::Worker, Platform::Qemu)).unwrap();
        for unit in config.systemd.as_mut().unwrap().units.as_mut().unwrap() {
            if unit.name == "eyewall.service" {
                let contents = unit.contents.take().unwrap();
                assert!(contents.contains(from), "{name}: the unit has no {from}");
                unit.contents = Some(contents.replace(from, to));
            }
        }
        let output = verify(root.path(), &config);
        assert_ne!(text(&output), "", "{name} passed");
    }
}

/// `systemd-analyze security` counts tenths: 25 is an exposure of 2.5.
#[test]
fn the_agent_is_little_exposed() {
    let unit = units().join("eyewall.service");
    let security = |threshold: &str| {
        let threshold = format!("--threshold={threshold}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, unit.to_str().unwrap()];
        tool("systemd-analyze", &arguments)
    };
    let output = security("25");
    assert!(output.status.success(), "{}", text(&output));
    // The tool can fail: nothing that talks to a network is as little exposed as this.
    assert!(!security("5").status.success());
}

/// What the sandbox must keep, whatever it scores: each of these once cost someone a node or a key.
#[test]
fn the_sandbox_keeps_its_promises() {
    let unit = fs::read_to_string(units().join("eyewall.service")).unwrap();
    for line in [
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
        "AmbientCapabilities=CAP_DAC_READ_SEARCH",
        "SecureBits=noroot noroot-locked",
        "NoNewPrivileges=yes",
        "LimitCORE=0",
        "ProtectHostname=no",
        "RestartPreventExitStatus=64 78",
        "Before=kubelet.service",
        "RuntimeDirectoryPreserve=yes",
        // Two owners must not both renew: the second door shuts the first.
        "ConditionPathExists=!/etc/systemd/system/kubelet.service.d/99-break-glass.conf",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    let socket = fs::read_to_string(units().join("eyewall.socket")).unwrap();
    let door = "/etc/systemd/system/kubelet.service.d/99-break-glass.conf";
    assert!(socket.lines().any(|line| line == format!("ConditionPathExists=!{door}")));
    for runtime in ["podman", "docker"] {
        let text = fs::read_to_string(units().join(format!("break-glass-{runtime}.conf"))).unwrap();
        assert!(text.contains(&format!("break-glass-{runtime}.conf {door}\n")), "{runtime}: installed elsewhere");
    }
    // A mount namespace of the kubelet's own would cut its pods' mounts off from the host.
    let kubelet = fs::read_to_string(units().join("kubelet.service")).unwrap();
    for key in ["Private", "Protect", "ReadWritePaths", "BindPaths", "TemporaryFileSystem", "RuntimeDirectory"] {
        assert!(!kubelet.lines().any(|l| l.starts_with(key)), "kubelet.service has {key}");
    }
}

/// Habit of the house: a reader never has to ask why a line is there.
#[test]
fn every_line_is_explained() {
    let mut files = 0;
    for entry in fs::read_dir(units()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".catalog") || name.ends_with(".toml") {
            continue;
        }
        files += 1;
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with('#'), "{name} does not say what it is for");
        let mut explained = false;
        let mut continued = false;
        for (number, line) in (1..).zip(text.lines()) {
            let goes_on = std::mem::replace(&mut continued, line.ends_with('\\'));
            match line.chars().next() {
                Some('#') => explained = true,
                // A comment is for the lines right below it: up to the next blank line or section.
                None | Some('[') => explained = false,
                _ => assert!(explained || goes_on, "{name}:{number}: {line}"),
            }
        }
    }
    assert!(files >= 10, "{files} files were read");
}

#[test]
fn the_directories_are_made_and_an_operators_mode_stays() {
    let root = root();
    let config = root.path().join("etc/eyewall");
    fs::create_dir_all(&config).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o700)).unwrap();
    let mode = |path: &str| {
        let metadata = fs::metadata(root.path().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(metadata.is_dir(), "{path}");
        metadata.permissions().mode() & 0o7777
    };
    // Twice: it runs at every boot.
    for _ in 0..2 {
        let output = tool(
            "systemd-tmpfiles",
            &[
                "--create",
                &format!("--root={}", root.path().display()),
                units().join("eyewall.tmpfiles.conf").to_str().unwrap(),
            ],
        );
        assert!(output.status.success(), "{}", text(&output));
        for (path, want) in [
            ("var/lib/kubelet", 0o755),
            ("var/lib/kubelet/pki", 0o755),
            ("etc/kubernetes", 0o755),
            ("etc/eyewall", 0o700),
            ("etc/eyewall/eyewall.toml.d", 0o755),
        ] {
            assert_eq!(mode(path), want, "{path}");
        }
    }
}

#[test]
fn the_sockets_group_is_made() {
    let root = root();
    let directory = root.path().join("etc/sysusers.d");
    fs::create_dir_all(&directory).unwrap();
    fs::copy(units().join("eyewall.sysusers.conf"), directory.join("eyewall.conf")).unwrap();
    // As eyewall.socket calls it; and again, as at every later start.
    for _ in 0..2 {
        let output = tool("systemd-sysusers", &[&format!("--root={}", root.path().display()), "eyewall.conf"]);
        assert!(output.status.success(), "{}", text(&output));
        let groups = fs::read_to_string(root.path().join("etc/group")).unwrap();
        let ours = groups.lines().filter(|line| line.starts_with("eyewall:")).count();
        assert_eq!(ours, 1, "{groups}");
    }
}

/// The tree that `eyewall-catalog.service` shows to journalctl.
#[test]
fn the_catalog_is_compiled_from_such_a_tree() {
    let root = root();
    let directory = root.path().join("usr/local/lib/systemd/catalog");
    fs::create_dir_all(&directory).unwrap();
    let catalog = fs::read_to_string(units().join("eyewall.catalog")).unwrap();
    fs::write(directory.join("eyewall.catalog"), &catalog).unwrap();
    let root = format!("--root={}", root.path().display());
    let output = tool("journalctl", &["--update-catalog", &root]);
    assert!(output.status.success(), "{}", text(&output));
    let output = tool("journalctl", &["--list-catalog", "--no-pager", &root]);
    let listed = text(&output);
    assert!(eyewall_core::event::all().count() > 20, "the list was read");
    for event in eyewall_core::event::all() {
        let line = format!("{} eyewall: {}", event.id, event.subject);
        assert!(listed.lines().any(|l| l == line), "{line} is not in\n{listed}");
    }
}
