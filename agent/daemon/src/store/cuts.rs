//! Every cut point of everything that the store does, tried one by one.
//!
//! A *line* is what the daemon does between a look and rest: placeholder, quarantine, CA, kubeconfig, key and request, what comes of
//! it, installation, tidying. A dry run counts its calls. Then it is run again once for each call and each thing that can happen
//! there: errors that pass and errors that stay, half a write, a stop (kill -9), a power cut with each state of the disk that it may
//! leave. After each the store must be in order, and a new start (the same line, from what is left) must come to the good end; and
//! what is cut is the new start too, at each of its calls.

mod order;
mod scene;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use order::{disorder, shortcoming};
use scene::{CA, KUBECONFIG, PEMS, POOL, SCENES, Scene, request};

use super::disk::{Disk, Kernel};
use super::faulty::{Does, Fault, Faulty};
use super::files::Files;
use super::simulated::{Simulated, State};
use super::tests::Issued;
use super::{Found, Store, StoreFault};

/// `certificates.keep`
const KEEP: u32 = 3;

/// The API server, and how far the line has come: what a stop of the node does not undo.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Beyond {
    /// Keys made so far.
    keys: usize,
    /// Sent, and nothing has come of it yet.
    open: BTreeSet<usize>,
    /// Sent and signed.
    signed: BTreeSet<usize>,
    /// A call that makes sure of it has returned well.
    has_placeholder: bool,
    has_put_aside: bool,
    /// A usable older file could not be read at that moment, so that the placeholder took its place.
    was_passed_over: bool,
}

fn store<D>(disk: D, root: &Path) -> Store<D> {
    Store { directory: root.join("pki"), kubeconfig: root.join("kubeconfig"), keep: KEEP, disk }
}

fn in_force(store: &Store<impl Disk>) -> Option<String> {
    match store.read_current() {
        Found::Text { text, .. } => Some(text.expose().to_owned()),
        Found::Missing | Found::Unreadable(_) => None,
    }
}

/// Which of the pool's certificates a PEM is.
fn known(text: &str) -> Option<usize> {
    PEMS.iter().position(|pem| pem == text)
}

/// What the daemon does, from a look to rest (`certificates/mod.rs`). `Err`: it looks again after a pause.
fn line(store: &Store<impl Disk>, beyond: &mut Beyond, scene: &Scene, start: u64) -> Result<(), String> {
    let told = |fault: StoreFault| fault.to_string();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + start * 60);
    store.ensure_placeholder().map_err(told)?;
    beyond.has_placeholder = true;
    let mut text = in_force(store).ok_or("it cannot be read")?;
    if !text.is_empty() && known(&text).is_none() {
        let (_, replacement) = store.quarantine(now, |text| known(text).is_some()).map_err(told)?;
        beyond.was_passed_over |= scene.has_usable() && replacement.is_none();
        beyond.has_put_aside = true;
        text = in_force(store).ok_or("it cannot be read")?;
    }
    store.sweep().map_err(told)?;
    store.ensure_authority(CA).map_err(told)?;
    store.ensure_kubeconfig(KUBECONFIG).map_err(told)?;
    let held = known(&text);
    // The certificate in force is that of its request: it is finished, whatever the end of its installation was.
    held.map(|held| beyond.open.remove(&held));
    if scene.asks && held.is_none_or(|held| !beyond.signed.contains(&held)) {
        if store.read_request().map_err(told)?.is_none() {
            let new = beyond.keys;
            beyond.keys += 1;
            store.write_request(&POOL[new].key, &request(new)).map_err(told)?;
        }
        let open = store.read_request().map_err(told)?.ok_or("it is not there")?;
        let number = POOL.iter().position(|made| made.key == open.key).ok_or("a key of nobody")?;
        assert_eq!(open.request, request(number), "a key beside the request of another");
        store.settle_request().map_err(told)?;
        beyond.open.insert(number);
        // It is watched. What can be cut here can be cut with an open request.
        let _ = store.read_request();
        let Issued { proven, chain, key } = &POOL[number];
        beyond.signed.insert(number);
        store.install(proven, chain, key, now).map_err(told)?;
        beyond.open.remove(&number);
    }
    store.forget_request().map_err(told)?;
    store.prune().map_err(told)?;
    Ok(())
}

/// What can happen at a call: everything to the first line; to the line after it, which has only to come to the good end, an error, and
/// a stop where it makes a difference (before a look is before the change that follows it).
fn faults(does: Does, is_first: bool) -> Vec<Fault> {
    let mut faults = vec![Fault::Stops];
    if !is_first {
        if does == Does::Looks {
            faults.clear();
        }
        faults.push(Fault::Fails(Errno::EIO));
        return faults;
    }
    for error in does.errors() {
        faults.extend([Fault::Fails(*error), Fault::FailsFromHere(*error)]);
    }
    if does == Does::Writes {
        faults.extend([
            Fault::WritesHalf,
            Fault::WritesHalfAndStops,
            Fault::WritesHalfAndFails(Errno::ENOSPC),
            Fault::WritesHalfAndFails(Errno::EIO),
        ]);
    }
    faults
}

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    /// Calls of the undisturbed line: the cut points.
    points: usize,
    /// Lines with a fault in them.
    runs: usize,
    /// States of the disk after a power cut, each started from.
    cuts: usize,
    /// What was started from, by the number of faults still to come.
    seen: [BTreeSet<(State, Beyond)>; 2],
}

fn run<D: Disk>(disk: Faulty<D>, beyond: &mut Beyond, scene: &Scene, start: u64, root: &Path) -> Faulty<D> {
    let store = store(disk, root);
    let ended = line(&store, beyond, scene, start);
    if store.disk.plan().is_none() {
        assert_eq!(ended, Ok(()), "{}: an undisturbed line", scene.name);
    }
    store.disk
}

/// Tries everything from this state on, `deep` faults one after another.
fn explore(from: &State, beyond: &Beyond, scene: &Scene, start: u64, deep: usize, tried: &mut Tried, story: &str) {
    let root = Path::new("/");
    let begin = |plan| Faulty::new(Simulated::with(from.clone()), plan);
    // Undisturbed it comes to the good end; and if the power goes then, it comes there again.
    let mut after = beyond.clone();
    let dry = run(begin(None), &mut after, scene, start, root);
    let is_good = |state: &State, after: &Beyond, when: &str| {
        let store = store(Simulated::with(state.clone()), root);
        let found = disorder(&store, after, scene).or_else(|| shortcoming(&store, after, scene));
        assert_eq!(found, None, "{}: {story}; {when}", scene.name);
    };
    let end = dry.below().state();
    is_good(&end, &after, "the end");
    for cut in end.after_a_power_cut().into_iter().filter(|cut| *cut != end) {
        let on_disk = store(Simulated::with(cut.clone()), root);
        assert_eq!(disorder(&on_disk, &after, scene), None, "{}: {story}; the end, power cut", scene.name);
        let mut after = after.clone();
        let again = run(Faulty::new(Simulated::with(cut), None), &mut after, scene, start + 1, root);
        is_good(&again.below().state(), &after, "the end, power cut, the end again");
    }
    let calls = dry.calls();
    if start == 0 {
        tried.points = calls.len();
    }
    if deep == 0 {
        return;
    }
    for (at, (name, does)) in calls.iter().enumerate() {
        for fault in faults(*does, start == 0) {
            let mut after = beyond.clone();
            let disk = run(begin(Some((at, fault))), &mut after, scene, start, root);
            assert!(disk.calls().len() > at, "{}: {story}; the call {at} ({name}) was not made", scene.name);
            let state = disk.below().state();
            tried.runs += 1;
            let cuts = state.after_a_power_cut().into_iter().map(|cut| (cut, "power cut"));
            for (state, then) in cuts.chain([(state.clone(), "no power cut")]) {
                if !tried.seen[deep - 1].insert((state.clone(), after.clone())) {
                    continue;
                }
                tried.cuts += usize::from(then == "power cut");
                let story = format!("{story}; {fault:?} at call {at} ({name}), {then}");
                let store = store(Simulated::with(state.clone()), root);
                assert_eq!(disorder(&store, &after, scene), None, "{}: {story}", scene.name);
                explore(&state, &after, scene, start + 1, deep - 1, tried, &story);
            }
        }
    }
}

#[test]
fn at_every_call_of_every_scene() {
    let mut total = [0; 3];
    for scene in &SCENES {
        let disk = Simulated::new(&[Path::new("/")]);
        scene.lay(&disk, Path::new("/"));
        disk.settle();
        let mut tried = Tried::default();
        explore(&disk.state(), &Beyond::default(), scene, 0, 2, &mut tried, "");
        let numbers = [tried.points, tried.runs, tried.cuts];
        print(scene.name, numbers);
        numbers.iter().zip(&mut total).for_each(|(number, total)| *total += number);
    }
    print("in all", total);
}

fn print(name: &str, [points, runs, cuts]: [usize; 3]) {
    println!("{name:55} {points:5} cut points, {runs:6} lines with a fault, {cuts:5} disks after a power cut");
}

/// The same on the file system that this test runs on, but for the power cuts, one fault at a time.
#[test]
fn at_every_call_on_a_real_file_system() {
    let mut runs = 0;
    for scene in &SCENES {
        let lay = |plan| {
            // In memory, where there is such a file system: what an fsync does is the other test's business.
            let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            scene.lay(&Kernel, root.path());
            (Faulty::new(Kernel, plan), root)
        };
        let (disk, root) = lay(None);
        let calls = run(disk, &mut Beyond::default(), scene, 0, root.path()).calls();
        for (at, (name, does)) in calls.iter().enumerate() {
            for fault in faults(*does, true) {
                let (disk, root) = lay(Some((at, fault)));
                let mut beyond = Beyond::default();
                let _ = run(disk, &mut beyond, scene, 0, root.path());
                let on_disk = store(Kernel, root.path());
                let story = format!("{}: {fault:?} at call {at} ({name})", scene.name);
                assert_eq!(disorder(&on_disk, &beyond, scene), None, "{story}");
                let _ = run(Faulty::new(Kernel, None), &mut beyond, scene, 1, root.path());
                let found = disorder(&on_disk, &beyond, scene).or_else(|| shortcoming(&on_disk, &beyond, scene));
                assert_eq!(found, None, "{story}; the end");
                runs += 1;
            }
        }
    }
    println!("{runs} faults on a real file system");
}

/// The control: what is tried above does find a store that may lose its files.
#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let root = Path::new("/");
    for scene in SCENES.iter().filter(|scene| scene.asks) {
        let disk = Simulated::new(&[root]);
        scene.lay(&disk, root);
        disk.settle();
        let mut beyond = Beyond::default();
        let disk = Faulty::new(Simulated::lying(disk.state()), None);
        let end = run(disk, &mut beyond, scene, 0, root).below().state();
        let cuts = end.after_a_power_cut();
        let found = cuts.iter().filter(|cut| {
            let store = store(Simulated::with((*cut).clone()), root);
            disorder(&store, &beyond, scene).is_some_and(|found| found.contains("in force is \"-----BEGIN"))
        });
        assert!(found.count() > 0, "{}: none of {} disks holds half a certificate", scene.name, cuts.len());
    }
}

/// Every directory of a path has its name on the disk when the path is there.
#[test]
fn a_directory_below_others_that_are_new_is_not_lost() {
    let (root, deep) = (Path::new("/"), Path::new("/var/lib/pki"));
    let calls = {
        let disk = Faulty::new(Simulated::new(&[root]), None);
        Files(&disk).make_directory(deep, 0o755).unwrap();
        let states = disk.below().state().after_a_power_cut();
        assert_eq!(states.len(), 1, "nothing is left to chance");
        assert!(Simulated::with(states[0].clone()).stat(deep).is_ok());
        disk.calls().len()
    };
    for at in 0..calls {
        let disk = Faulty::new(Simulated::new(&[root]), Some((at, Fault::Stops)));
        assert!(Files(&disk).make_directory(deep, 0o755).is_err());
        for state in disk.below().state().after_a_power_cut() {
            let disk = Simulated::with(state);
            Files(&disk).make_directory(deep, 0o755).unwrap();
            assert!(
                disk.state().after_a_power_cut().iter().all(|state| Simulated::with(state.clone()).stat(deep).is_ok())
            );
        }
    }
}
