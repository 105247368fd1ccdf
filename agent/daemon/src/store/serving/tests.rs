use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use eyewall_core::cert::{CertView, NODES};
use eyewall_core::serving::pair::{Behind, Charge, Mend, mend};
use eyewall_core::serving::proof::{Candidate, prove};
use eyewall_core::serving::{Leaf, Names};
use nix::errno::Errno;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::super::disk::Kernel;
use super::super::faulty::{Does, Fault, Faulty};
use super::super::simulated::{Simulated, State};
use super::*;
use crate::chain::is_pair;

struct Issued {
    proven: Proven,
    chain: String,
    key: Secret,
}

/// A serving certificate that was proved, as core proves it.
fn issued() -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["node-a".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, NODES);
    params.distinguished_name.push(DnType::CommonName, "system:node:node-a");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let signed = params.self_signed(&key).unwrap();
    let leaf = Leaf::from_der(signed.der()).unwrap();
    let candidate = Candidate {
        leaf: &leaf,
        common_name: "system:node:node-a",
        asked: &Names { dns: ["node-a".to_owned()].into(), ips: ["10.0.0.1".parse().unwrap()].into() },
        key_matches: true,
        chain: Ok(()),
    };
    let proven = prove(leaf.cert.not_before.0 + Duration::from_secs(1), &candidate).unwrap();
    Issued { proven, chain: signed.pem(), key: Secret::new(key.serialize_pem()) }
}

/// Two files as the kubelet makes them.
fn kubelets() -> (String, String) {
    let own = rcgen::generate_simple_self_signed(["node-a".to_owned()]).unwrap();
    (own.cert.pem(), own.signing_key.serialize_pem())
}

fn store<D>(disk: D, root: &Path) -> Store<D> {
    Store { directory: root.join("pki"), kubeconfig: root.join("kubeconfig"), keep: 3, disk }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// The serial that a kubelet would serve with; none if it could not load its pair.
fn served<D: Disk>(store: &Store<D>) -> Option<String> {
    let (certificate, _) = store.pair_text(is_pair)?;
    let chain = eyewall_core::cert::certificates(certificate.expose()).ok()?;
    Some(CertView::from_der(chain.first()?).ok()?.serial)
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(&store.directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_kubelets_two_files_become_links_to_one() {
    let root = tempfile::tempdir().unwrap();
    let store = store(Kernel, root.path());
    std::fs::create_dir(&store.directory).unwrap();
    let (certificate, key) = kubelets();
    std::fs::write(store.directory.join(CERTIFICATE), certificate).unwrap();
    std::fs::write(store.directory.join(KEY), key).unwrap();
    let before = served(&store).unwrap();
    assert_eq!(store.serving_pair(is_pair).unwrap(), Pair { certificate: Half::Other, key: Half::Other, loads: true });

    let new = issued();
    let file = store.install_serving(&new.proven, &new.chain, &new.key, at(0), is_pair).unwrap();
    assert!(store.serving_pair(is_pair).unwrap().is_ours());
    assert_eq!(served(&store).as_ref(), Some(&new.proven.leaf().cert.serial));
    assert_ne!(served(&store), Some(before));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(file.ends_with("kubelet-server-2027-01-15-08-00-00.pem"), "{}", file.display());
    assert_eq!(std::fs::read_link(store.directory.join(SERVING)).unwrap(), file, "absolute, as the kubelet's own");
    // The kubelet's key is left in one file only as long as it takes.
    assert_eq!(store.tidy_serving().unwrap(), 1);
    assert_eq!(
        names(&store),
        ["kubelet-server-2027-01-15-08-00-00.pem", "kubelet-server-current.pem", "kubelet.crt", "kubelet.key"]
    );
}

#[test]
fn a_renewal_ends_the_file_that_the_kubelet_watches() {
    let root = tempfile::tempdir().unwrap();
    let store = store(Kernel, root.path());
    let (one, two) = (issued(), issued());
    let first = store.install_serving(&one.proven, &one.chain, &one.key, at(0), is_pair).unwrap();
    let watched = std::fs::metadata(store.directory.join(CERTIFICATE)).unwrap().ino();
    assert_eq!(std::fs::metadata(&first).unwrap().ino(), watched, "inotify follows links");
    store.install_serving(&two.proven, &two.chain, &two.key, at(0), is_pair).unwrap();
    assert_eq!(store.tidy_serving().unwrap(), 1);
    assert!(!first.exists());
    assert_eq!(served(&store), Some(two.proven.leaf().cert.serial.clone()));
    assert_eq!(store.tidy_serving().unwrap(), 0, "the one in force stays");
    assert!(store.serving_files().unwrap().is_empty());
}

#[test]
fn where_it_cannot_be_told_what_is_in_force_all_stay() {
    let root = tempfile::tempdir().unwrap();
    let store = store(Kernel, root.path());
    let one = issued();
    store.install_serving(&one.proven, &one.chain, &one.key, at(0), is_pair).unwrap();
    std::fs::remove_file(store.directory.join(SERVING)).unwrap();
    assert_eq!(store.tidy_serving().unwrap(), 0);
    assert_eq!(store.serving_files().unwrap().len(), 1, "it can be linked again");
}

#[test]
fn withdrawn_names_are_gone_and_what_is_not_ours_is_kept_aside() {
    let root = tempfile::tempdir().unwrap();
    let store = store(Kernel, root.path());
    let one = issued();
    store.install_serving(&one.proven, &one.chain, &one.key, at(0), is_pair).unwrap();
    std::fs::remove_file(store.directory.join(KEY)).unwrap();
    std::fs::write(store.directory.join(KEY), "a key of before").unwrap();
    let pair = store.serving_pair(is_pair).unwrap();
    assert_eq!((pair.certificate, pair.key, pair.loads), (Half::Ours, Half::Other, false));
    store.withdraw_serving(pair, at(9)).unwrap();
    let aside = store.quarantine_serving(at(9)).unwrap();
    assert!(aside.ends_with("kubelet-server-2027-01-15-08-00-00.pem.1800000009.quarantined"), "{}", aside.display());
    assert_eq!(
        names(&store),
        ["kubelet-server-2027-01-15-08-00-00.pem.1800000009.quarantined", "kubelet.key.1800000009.quarantined"]
    );
}

/// A node about to have its serving certificate installed: what lies on its disk. So that a run takes no cryptography, a
/// certificate here is a line with a number, and its key has the same.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    /// Name, and content or `->` and the target of a link.
    files: fn() -> Vec<(&'static str, String)>,
    /// A kubelet can load the pair when it begins.
    loads: bool,
}

const DATED: &str = "kubelet-server-2026-01-01-00-00-00.pem";
/// What the kubelet made itself, what was in force before, and what is to be in force in the end.
const KUBELETS: u32 = 1;
const OLD: u32 = 2;
const NEW: u32 = 3;

fn certificate(number: u32) -> String {
    format!("certificate {number}\n")
}

fn key(number: u32) -> Secret {
    Secret::new(format!("-----BEGIN PRIVATE KEY-----\nkey {number}\n-----END PRIVATE KEY-----\n"))
}

fn whole(number: u32) -> String {
    format!("{}{}", certificate(number), key(number).expose())
}

/// The number of the first line that begins so.
fn number(text: &str, of: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(of)?.parse().ok())
}

fn same(certificate: &str, key: &Secret) -> bool {
    let certificate = number(certificate, "certificate ");
    certificate.is_some() && certificate == number(key.expose(), "key ")
}

/// What a kubelet that reads its pair now would serve with; none if it could not load it.
fn serves<D: Disk>(store: &Store<D>) -> Option<u32> {
    number(store.pair_text(same)?.0.expose(), "certificate ")
}

fn to(target: &str) -> String {
    format!("->{target}")
}

const SCENES: [Scene; 7] = [
    Scene { name: "the kubelet has not started yet", files: Vec::new, loads: false },
    Scene {
        name: "the first switch",
        files: || vec![(CERTIFICATE, certificate(KUBELETS)), (KEY, key(KUBELETS).expose().to_owned())],
        loads: true,
    },
    Scene {
        name: "a renewal",
        files: || vec![(DATED, whole(OLD)), (SERVING, to(DATED)), (CERTIFICATE, to(SERVING)), (KEY, to(SERVING))],
        loads: true,
    },
    Scene {
        name: "a first switch cut between its links",
        files: || {
            let key = key(KUBELETS).expose().to_owned();
            vec![(ADOPTED, whole(KUBELETS)), (SERVING, to(ADOPTED)), (CERTIFICATE, to(SERVING)), (KEY, key)]
        },
        loads: true,
    },
    Scene {
        name: "a corrupt PEM in force",
        files: || {
            let half = "certificate 2\n-----BEGIN PRIV".to_owned();
            vec![(DATED, half), (SERVING, to(DATED)), (CERTIFICATE, to(SERVING)), (KEY, to(SERVING))]
        },
        loads: false,
    },
    Scene { name: "links to nothing", files: || vec![(CERTIFICATE, to(SERVING)), (KEY, to(SERVING))], loads: false },
    Scene {
        name: "the kubelet's own pair is half",
        files: || vec![(CERTIFICATE, certificate(KUBELETS)), (KEY, String::new())],
        loads: false,
    },
];

fn lay(scene: &Scene) -> State {
    let directory = Path::new("/pki");
    let disk = Simulated::new(&[directory]);
    for (name, content) in (scene.files)() {
        let path = directory.join(name);
        match content.strip_prefix("->") {
            Some(target) => disk.symlink(Path::new(target), &path).unwrap(),
            None => {
                let mut file = disk.create(&path, 0o600).unwrap();
                disk.write(&mut file, content.as_bytes()).unwrap();
            }
        }
    }
    disk.settle();
    disk.state()
}

/// What the daemon does, from a look to rest (`serving/mod.rs`). `Err`: it looks again after a pause.
fn line<D: Disk>(store: &Store<D>, proven: &Proven, start: u64) -> Result<(), StoreFault> {
    let pair = store.serving_pair(same)?;
    match store.read_serving() {
        Found::Text { text, .. } if !same(text.expose(), &text) => {
            if pair.has_ours() {
                store.withdraw_serving(pair, at(start))?;
            }
            store.quarantine_serving(at(start))?;
        }
        Found::Missing if pair.has_ours() && !pair.loads => store.withdraw_serving(pair, at(start))?,
        _ => {}
    }
    // Issued before, and cut short on its way to be in force.
    let is_new = |file: &Path| {
        matches!(store.read_serving_file(file), Found::Text { text, .. }
            if number(text.expose(), "certificate ") == Some(NEW) && same(text.expose(), &text))
    };
    let there = match store.read_serving() {
        Found::Text { file, .. } if is_new(&file) => Some(file),
        _ => store.serving_files()?.into_iter().find(|file| is_new(file)),
    };
    match there {
        Some(file) => store.link_serving(&file, same)?,
        None => {
            if store.read_serving_request()?.is_none() {
                let request = "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n";
                store.write_serving_request(&key(NEW), request)?;
            }
            store.settle_serving_request()?;
            store.install_serving(proven, &certificate(NEW), &key(NEW), at(start), same)?;
        }
    }
    store.forget_serving_request()?;
    store.tidy_serving()?;
    Ok(())
}

/// What `eyewall kubelet` does before a kubelet starts, and what that kubelet finds. Says what is wrong.
fn start(state: &State) -> Option<String> {
    let store = store(Simulated::with(state.clone()), Path::new("/"));
    let pair = store.serving_pair(same).unwrap();
    let whole = matches!(store.read_serving(), Found::Text { text, .. } if same(text.expose(), &text));
    match mend(pair, Behind { whole, ended: false }, Charge::Pair) {
        Mend::Nothing => {}
        Mend::Link => store.relink_serving(same).unwrap(),
        Mend::Withdraw => store.withdraw_serving(pair, at(0)).unwrap(),
    }
    let after = store.serving_pair(same).unwrap();
    let absent = (after.certificate, after.key) == (Half::Absent, Half::Absent);
    (!absent && serves(&store).is_none()).then(|| format!("it finds {after:?}"))
}

fn faults(does: Does) -> Vec<Fault> {
    let mut faults = vec![Fault::Stops];
    for error in does.errors() {
        faults.extend([Fault::Fails(*error), Fault::FailsFromHere(*error)]);
    }
    if does == Does::Writes {
        faults.extend([Fault::WritesHalf, Fault::WritesHalfAndStops, Fault::WritesHalfAndFails(Errno::ENOSPC)]);
    }
    faults
}

/// At this state: whoever started with a pair has one, without anybody's help, and a kubelet that is started comes up.
fn check(state: &State, scene: &Scene, story: &str) {
    if scene.loads {
        let store = store(Simulated::with(state.clone()), Path::new("/"));
        assert!(serves(&store).is_some(), "{}: {story}: a kubelet that reads its pair now finds none", scene.name);
    }
    assert_eq!(start(state), None, "{}: {story}", scene.name);
}

/// Tries everything from this state on: any fault first, and then a stop at each call of what heals it. Returns how many.
fn explore(from: &State, proven: &Proven, scene: &Scene, began: u64, story: &str) -> usize {
    let root = Path::new("/");
    let dry = store(Faulty::new(Simulated::with(from.clone()), None), root);
    line(&dry, proven, began).unwrap_or_else(|fault| panic!("{}: {story}: an undisturbed line: {fault}", scene.name));
    let end = dry.disk.below().state();
    for state in end.after_a_power_cut().into_iter().chain([end]) {
        check(&state, scene, story);
        let store = store(Simulated::with(state), root);
        assert_eq!(serves(&store), Some(NEW), "{}: {story}", scene.name);
        assert!(store.serving_pair(same).unwrap().is_ours(), "{}: {story}", scene.name);
        assert!(store.read_serving_request().unwrap().is_none(), "{}: {story}: a request is left", scene.name);
        assert_eq!(store.serving_files().unwrap(), Vec::<PathBuf>::new(), "{}: {story}", scene.name);
    }
    if began == 2 {
        return 0;
    }
    let (mut tried, mut seen) = (0, BTreeSet::new());
    for (number, (name, does)) in dry.disk.calls().iter().enumerate() {
        let all = if began == 0 { faults(*does) } else { vec![Fault::Stops] };
        for fault in all {
            let cut = store(Faulty::new(Simulated::with(from.clone()), Some((number, fault))), root);
            let _ = line(&cut, proven, began);
            let state = cut.disk.below().state();
            let cuts = state.after_a_power_cut().into_iter().map(|cut| (cut, "power cut"));
            for (state, then) in cuts.chain([(state.clone(), "no power cut")]) {
                if seen.insert(state.clone()) {
                    let story = format!("{story}; {fault:?} at call {number} ({name}), {then}");
                    check(&state, scene, &story);
                    tried += 1 + explore(&state, proven, scene, began + 1, &story);
                }
            }
        }
    }
    tried
}

#[test]
fn at_every_call_of_every_scene_a_kubelet_can_start() {
    let proven = issued().proven;
    let mut all = 0;
    for scene in &SCENES {
        let tried = explore(&lay(scene), &proven, scene, 0, "");
        println!("{:50} {tried:6} states of the disk, each started from", scene.name);
        all += tried;
    }
    println!("{:50} {all:6} states of the disk, each started from", "in all");
    assert!(all > 1_000, "{all}");
}
