use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("written");
}

fn told(result: Result<Loaded, Faults>) -> Vec<(String, u32, &'static str)> {
    match result {
        Ok(_) => Vec::new(),
        Err(faults) => faults
            .into_iter()
            .map(|fault| {
                let name = Path::new(&fault.file).file_name();
                let name = name.unwrap_or_default().to_string_lossy().into_owned();
                (name, fault.line, fault.kind)
            })
            .collect(),
    }
}

#[test]
fn no_file_is_the_defaults_and_drop_ins_come_by_name() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("e.toml");
    let files = Files::at(&path);
    let nothing = files.load().expect("the defaults");
    assert_eq!(nothing.config, Config::default());
    assert_eq!(nothing.files, Vec::<String>::new());

    let drop_in = |name: &str| root.path().join("e.toml.d").join(name);
    write(&drop_in("20.toml"), "certificates.keep = 20");
    write(&drop_in("10.toml"), "certificates.keep = 10\nreboot.group = 'a'");
    write(&drop_in(".hidden.toml"), "x = 1");
    write(&drop_in("30.toml.bak"), "x = 1");
    let loaded = files.load().expect("drop-ins alone");
    assert_eq!(loaded.config.certificates.keep, 20);
    assert_eq!(loaded.config.reboot.group, "a");
    let want = [drop_in("10.toml"), drop_in("20.toml")].map(|path| path.display().to_string());
    assert_eq!(loaded.files, want);

    write(&path, "certificates.keep = 5\nreboot.group = 'b'\nnode.name = 'c'");
    let named = Files { node_name: Some("d".to_owned()), socket: Some("/s".into()), ..files };
    let loaded = named.load().expect("all three");
    assert_eq!(loaded.config.certificates.keep, 20);
    assert_eq!(loaded.config.reboot.group, "a");
    assert_eq!(loaded.config.node.name.as_deref(), Some("d"));
    assert_eq!(loaded.config.socket.path, Path::new("/s"));
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn what_cannot_be_read_is_told_with_the_rest() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("e.toml");
    let drop_in = |name: &str| root.path().join("e.toml.d").join(name);
    write(&path, "[node]\nrole = 1\n");
    write(&drop_in("10.toml"), "x = 1");
    fs::create_dir_all(drop_in("20.toml")).expect("a directory of that name");
    fs::write(drop_in("30.toml"), b"a = 1\n\xff").expect("written");
    let large = usize::try_from(LARGEST).expect("it fits") + 1;
    write(&drop_in("40.toml"), &"#".repeat(large));
    std::os::unix::fs::symlink("/nowhere", drop_in("50.toml")).expect("a link");
    assert_eq!(
        told(Files::at(&path).load()),
        [
            ("e.toml".to_owned(), 2, "wrong-type"),
            ("10.toml".to_owned(), 1, "unknown-key"),
            ("20.toml".to_owned(), 1, "unreadable"),
            ("30.toml".to_owned(), 2, "not-utf-8"),
            ("40.toml".to_owned(), 1, "too-large"),
        ]
    );
}

#[test]
fn a_file_that_may_not_be_read_is_no_missing_file() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("locked/e.toml");
    write(&path, "");
    let locked = path.parent().expect("a parent");
    fs::set_permissions(locked, fs::Permissions::from_mode(0o000)).expect("locked");
    let got = told(Files::at(&path).load());
    fs::set_permissions(locked, fs::Permissions::from_mode(0o700)).expect("unlocked");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(got, [], "root reads everything");
    } else {
        let kinds: Vec<&str> = got.iter().map(|(_, _, kind)| *kind).collect();
        assert_eq!(kinds, ["unreadable", "unreadable"], "the file and its drop-ins");
    }
}

/// The far end of [`follow`].
struct Followed {
    config: watch::Receiver<Arc<Config>>,
    status: watch::Receiver<ConfigStatus>,
    events: Events,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    fn start(path: &Path) -> Self {
        let files = Files::at(path);
        let loaded = files.load().expect("a good start");
        let (config_tx, config) = watch::channel(Arc::new(loaded.config.clone()));
        let (status_tx, status) = watch::channel(super::status(&loaded, Time::from_unix(0)));
        let events = Events::new();
        let task = tokio::spawn(follow(Deps {
            files,
            loaded,
            config: config_tx,
            status: status_tx,
            events: events.clone(),
            limits: crate::limits::Limits::new(events.clone()),
        }));
        Self { config, status, events, task }
    }

    async fn next_status(&mut self) -> ConfigStatus {
        timeout(Duration::from_secs(10), self.status.changed()).await.expect("seen in time").expect("the task lives");
        self.status.borrow_and_update().clone()
    }

    fn story(&self) -> Vec<String> {
        let records = self.events.recent();
        records.iter().map(|record| record.event.clone()).collect()
    }
}

#[tokio::test]
async fn a_good_change_is_taken_over_and_a_bad_one_is_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("etc/e.toml");
    let mut followed = Followed::start(&path);
    tokio::time::sleep(Duration::from_millis(50)).await;

    assert_eq!(followed.story(), [""; 0], "what was read at the start is no news");
    write(&path, "certificates.keep = 5");
    let status = followed.next_status().await;
    assert_eq!(status.files, [path.display().to_string()]);
    assert_eq!(status.refused, None);
    assert_eq!(followed.config.borrow_and_update().certificates.keep, 5);

    write(&path, "certificates.keep = 0");
    let refused = followed.next_status().await.refused.expect("refused");
    assert_eq!(refused.kind, "config-invalid");
    assert!(refused.message.contains("e.toml:1:21"), "{}", refused.message);
    assert!(!followed.config.has_changed().expect("alive"), "the old one stays");

    let drop_in = root.path().join("etc/e.toml.d/10.toml");
    write(&drop_in, "reboot.group = 'a'");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!followed.status.has_changed().expect("alive"), "the same refusal is told once");

    // Replaced by rename, as editors do.
    let new = path.with_extension("new");
    write(&new, "certificates.keep = 7");
    fs::rename(&new, &path).expect("renamed");
    let status = followed.next_status().await;
    assert_eq!((status.refused, status.files.len()), (None, 2));
    let config = followed.config.borrow_and_update().clone();
    assert_eq!((config.certificates.keep, config.reboot.group.as_str()), (7, "a"));

    fs::remove_file(&drop_in).expect("removed");
    assert_eq!(followed.next_status().await.files.len(), 1);
    assert_eq!(followed.config.borrow_and_update().reboot.group, "workers");
    assert_eq!(followed.story(), ["config-applied", "config-refused", "config-applied", "config-applied"]);
}

#[tokio::test]
async fn back_to_what_is_in_force_ends_the_refusal() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("e.toml");
    write(&path, "certificates.keep = 5");
    let mut followed = Followed::start(&path);
    tokio::time::sleep(Duration::from_millis(50)).await;
    write(&path, "certificates.keep = ");
    assert!(followed.next_status().await.refused.is_some());
    write(&path, "certificates.keep = 5");
    assert_eq!(followed.next_status().await.refused, None);
    assert!(!followed.config.has_changed().expect("alive"), "nobody is told of no change");
}
