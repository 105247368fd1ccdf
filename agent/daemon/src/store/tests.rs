use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use eyewall_core::cert::CertView;
use eyewall_core::proof::{Candidate, Proven, Review, prove};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

pub(super) struct Issued {
    pub proven: Proven,
    pub chain: String,
    pub key: Secret,
}

/// A certificate that was proved, as core proves it.
pub(super) fn issued() -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, cert::NODES);
    params.distinguished_name.push(DnType::CommonName, "system:node:node-a");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let signed = params.self_signed(&key).unwrap();
    let leaf = CertView::from_der(signed.der()).unwrap();
    let candidate = Candidate {
        leaf: &leaf,
        common_name: "system:node:node-a",
        key_matches: true,
        chain: Ok(()),
        review: Review {
            username: "system:node:node-a".to_owned(),
            groups: vec![cert::NODES.to_owned()],
            credential_id: None,
        },
    };
    let proven = prove(leaf.not_before.0 + Duration::from_secs(1), &candidate).unwrap();
    Issued { proven, chain: signed.pem(), key: Secret::new(key.serialize_pem()) }
}

fn store(root: &Path) -> Store {
    Store { directory: root.join("pki"), kubeconfig: root.join("kubeconfig"), keep: 3, disk: Kernel }
}

fn at(seconds: u64) -> SystemTime {
    NOW + Duration::from_secs(seconds)
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
fn an_installed_pair_reads_back_behind_an_absolute_link() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let new = issued();
    let file = store.install(&new.proven, &new.chain, &new.key, at(0)).unwrap();
    assert_eq!(std::fs::read_link(store.current()).unwrap(), file);
    assert!(file.is_absolute());
    assert!(file.ends_with("kubelet-client-1970-01-01-00-00-00.pem"), "{}", file.display());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let Found::Text { text, .. } = store.read_current() else { panic!("it is there") };
    let pair = pair(text.expose()).unwrap();
    assert_eq!(CertView::from_der(&pair.chain[0]).unwrap(), *new.proven.leaf());
    assert_eq!(pair.key, new.key);
}

#[test]
fn two_within_a_second_do_not_collide_and_old_ones_are_pruned() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    for seconds in [0, 0, 5, 6, 7] {
        let new = issued();
        store.install(&new.proven, &new.chain, &new.key, at(seconds)).unwrap();
    }
    assert_eq!(names(&store).len(), 6, "five and the link: {:?}", names(&store));
    assert_eq!(store.prune().unwrap(), 2);
    assert_eq!(
        names(&store),
        [
            "kubelet-client-1970-01-01-00-00-05.pem",
            "kubelet-client-1970-01-01-00-00-06.pem",
            "kubelet-client-1970-01-01-00-00-07.pem",
            "kubelet-client-current.pem",
        ]
    );
    assert_eq!(store.prune().unwrap(), 0);
}

#[test]
fn of_two_within_a_second_the_first_is_the_older() {
    let root = tempfile::tempdir().unwrap();
    let store = Store { keep: 2, ..store(root.path()) };
    let files: Vec<_> = [5, 5, 6]
        .map(|seconds| {
            let new = issued();
            store.install(&new.proven, &new.chain, &new.key, at(seconds)).unwrap()
        })
        .into();
    assert_eq!(store.prune().unwrap(), 1);
    let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
    assert_eq!(left, [false, true, true]);
}

#[test]
fn the_file_in_force_is_never_pruned_however_old() {
    let root = tempfile::tempdir().unwrap();
    let store = Store { keep: 1, ..store(root.path()) };
    let new = issued();
    let oldest = store.install(&new.proven, &new.chain, &new.key, at(0)).unwrap();
    for name in ["kubelet-client-1980-01-01-00-00-00.pem", "kubelet-client-1990-01-01-00-00-00.pem"] {
        std::fs::write(store.directory.join(name), "newer").unwrap();
    }
    store.prune().unwrap();
    assert!(oldest.exists());
    assert_eq!(names(&store).len(), 2);
}

#[test]
fn a_placeholder_is_made_only_where_nothing_is() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    assert!(store.ensure_placeholder().unwrap());
    assert_eq!(std::fs::metadata(store.current()).unwrap().len(), 0);
    assert_eq!(std::fs::metadata(store.current()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!store.ensure_placeholder().unwrap());
    std::fs::remove_file(store.current()).unwrap();
    symlink(store.directory.join("gone.pem"), store.current()).unwrap();
    assert!(store.ensure_placeholder().unwrap(), "a link to nothing is nothing");
    assert!(std::fs::symlink_metadata(store.current()).unwrap().is_file());
}

#[test]
fn a_bad_file_goes_aside_with_its_content_and_something_stands_in_its_place() {
    for linked in [true, false] {
        for older in [true, false] {
            let root = tempfile::tempdir().unwrap();
            let store = store(root.path());
            store.ensure_placeholder().unwrap();
            let bad =
                if linked { store.directory.join("kubelet-client-2026-01-02-00-00-00.pem") } else { store.current() };
            std::fs::write(&bad, "bad").unwrap();
            if linked {
                std::fs::remove_file(store.current()).unwrap();
                symlink(&bad, store.current()).unwrap();
            }
            let good = store.directory.join("kubelet-client-2026-01-01-00-00-00.pem");
            if older {
                std::fs::write(&good, "good").unwrap();
            }
            let (aside, replacement) = store.quarantine(at(9), |text| text == "good").unwrap();
            let case = format!("linked {linked}, older {older}");
            assert_eq!(std::fs::read_to_string(&aside).unwrap(), "bad", "{case}");
            assert!(aside.to_string_lossy().ends_with(".9.quarantined"), "{case}");
            assert_eq!(replacement.is_some(), older, "{case}");
            let stands = std::fs::read_to_string(store.current()).unwrap();
            assert_eq!(stands, if older { "good" } else { "" }, "{case}");
        }
    }
}

#[test]
fn key_and_request_come_back_together_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let key = Secret::new("-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n".to_owned());
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nQUJD\n-----END CERTIFICATE REQUEST-----\n";
    assert!(store.read_request().unwrap().is_none());
    store.write_request(&key, request).unwrap();
    let open = store.read_request().unwrap().unwrap();
    assert_eq!((open.key, open.request.as_str()), (key.clone(), request));
    let path = store.directory.join("kubelet-client-request.pem");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    for cut in 0..text.len() - 1 {
        std::fs::write(&path, &text[..cut]).unwrap();
        assert!(store.read_request().unwrap().is_none(), "cut at {cut}");
    }
    store.forget_request().unwrap();
    store.forget_request().unwrap();
    assert!(!path.exists());
}

#[test]
fn what_a_crash_left_is_replaced_and_never_written_through() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    store.ensure_placeholder().unwrap();
    let victim = root.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    symlink(&victim, store.directory.join(".cluster-ca.crt.new")).unwrap();
    assert!(store.ensure_authority("ca").unwrap());
    assert!(!store.ensure_authority("ca").unwrap(), "the same again is not written");
    assert_eq!(std::fs::read_to_string(store.authority()).unwrap(), "ca");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(names(&store), ["cluster-ca.crt", "kubelet-client-current.pem"]);
}

#[test]
fn the_same_content_is_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    assert!(store.ensure_kubeconfig("a").unwrap());
    let inode = std::fs::metadata(&store.kubeconfig).unwrap().ino();
    assert!(!store.ensure_kubeconfig("a").unwrap());
    assert_eq!(std::fs::metadata(&store.kubeconfig).unwrap().ino(), inode);
    assert!(store.ensure_kubeconfig("b").unwrap());
    assert_ne!(std::fs::metadata(&store.kubeconfig).unwrap().ino(), inode, "a new file by rename");
}

#[test]
fn what_is_no_file_or_too_large_is_unreadable_and_not_corrupt() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    assert!(matches!(store.read_current(), Found::Missing));
    std::fs::create_dir_all(store.current()).unwrap();
    assert!(matches!(store.read_current(), Found::Unreadable(_)), "a directory");
    std::fs::remove_dir(store.current()).unwrap();
    std::fs::write(store.current(), vec![b'x'; 300_000]).unwrap();
    assert!(matches!(store.read_current(), Found::Unreadable(_)), "huge");
}

#[test]
fn a_store_taken_over_from_the_kubelet_is_pruned_to_the_newest() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    std::fs::create_dir_all(&store.directory).unwrap();
    let name = |number: u64| {
        let day = jiff::Timestamp::from_second(i64::try_from(1_700_000_000 + number * 200_000).unwrap()).unwrap();
        format!("kubelet-client-{}.pem", day.strftime("%Y-%m-%d-%H-%M-%S"))
    };
    for number in 0..150 {
        std::fs::write(store.directory.join(name(number)), "chain and key").unwrap();
    }
    symlink(store.directory.join(name(149)), store.current()).unwrap();
    // What else the kubelet leaves, and what is put aside and cut short here.
    let others = [
        ("kubelet.crt", true),
        ("kubelet.key", true),
        ("kubelet-client-2023-11-14-22-13-20.pem.9.quarantined", false),
        ("kubelet-client-2023-11-14-22-13-20.pem.10.quarantined", true),
        ("kubelet-client-current.pem.11.quarantined", true),
        (".kubelet-client-2026-01-01-00-00-00.pem.new", false),
        (".kubelet-client-request.pem.new", false),
    ];
    for (name, _) in others {
        std::fs::write(store.directory.join(name), "a key, perhaps").unwrap();
    }
    assert_eq!(store.sweep().unwrap(), 2);
    assert_eq!(store.prune().unwrap(), 147 + 1);
    let mut want: Vec<String> = others.iter().filter(|(_, stays)| *stays).map(|(name, _)| (*name).to_owned()).collect();
    want.extend((147..150).map(name));
    want.push(CURRENT.to_owned());
    want.sort();
    assert_eq!(names(&store), want);
    assert_eq!((store.sweep().unwrap(), store.prune().unwrap()), (0, 0));
}
