//! The model itself: what each carelessness costs.

use std::collections::BTreeSet;

use super::*;

const NEW: &str = "/new";
const NAME: &str = "/name";

/// The content of a name in each state that a power cut may leave, `None` for no such name.
fn left(disk: &Simulated, name: &str) -> BTreeSet<Option<String>> {
    let content = |state: State| {
        let disk = Simulated::with(state);
        let mut file = disk.open(Path::new(name)).ok()?;
        let mut bytes = [0; 16];
        let count = disk.read(&mut file, &mut bytes).unwrap();
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    };
    disk.state().after_a_power_cut().into_iter().map(content).collect()
}

fn some(texts: &[&str]) -> BTreeSet<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn what_each_carelessness_costs() {
    type Written = fn(&Simulated);
    fn write(disk: &Simulated, name: &str, is_synced: bool) {
        let mut file = disk.create(Path::new(name), 0o600).unwrap();
        disk.write(&mut file, b"next").unwrap();
        if is_synced {
            disk.sync(&mut file).unwrap();
        }
    }
    fn put(disk: &Simulated) {
        disk.rename(Path::new(NEW), Path::new(NAME)).unwrap();
    }
    fn sync_names(disk: &Simulated) {
        disk.sync(&mut disk.open(Path::new("/")).unwrap()).unwrap();
    }
    let scenes: [(&str, Written, BTreeSet<Option<String>>); 5] = [
        (
            "written in place",
            |disk| {
                disk.unlink(Path::new(NAME)).unwrap();
                write(disk, NAME, false);
            },
            some(&["before", "", "ne", "next"]).into_iter().chain([None]).collect(),
        ),
        (
            "the file is not synced (kubernetes#131111)",
            |disk| {
                write(disk, NEW, false);
                put(disk);
                sync_names(disk);
            },
            some(&["", "ne", "next"]),
        ),
        (
            "the directory is not synced",
            |disk| {
                write(disk, NEW, true);
                put(disk);
            },
            some(&["before", "next"]),
        ),
        (
            "all is done",
            |disk| {
                write(disk, NEW, true);
                put(disk);
                sync_names(disk);
            },
            some(&["next"]),
        ),
        (
            "a link over a file that is not synced",
            |disk| {
                write(disk, "/dated", true);
                disk.symlink(Path::new("/dated"), Path::new(NEW)).unwrap();
                put(disk);
            },
            // The link may be kept and what it leads to be lost.
            some(&["before", "next"]).into_iter().chain([None]).collect(),
        ),
    ];
    for (name, written, want) in scenes {
        let disk = Simulated::new(&[Path::new("/")]);
        let mut before = disk.create(Path::new(NAME), 0o600).unwrap();
        disk.write(&mut before, b"before").unwrap();
        disk.settle();
        written(&disk);
        assert_eq!(left(&disk, NAME), want, "{name}");
    }
}
