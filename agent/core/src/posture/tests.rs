//! The table of checks and claims itself.

use super::*;
use crate::posture::source::Keep;

fn is_kebab(id: &str) -> bool {
    id.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

#[test]
fn every_check_is_written_out() {
    let mut ids = std::collections::BTreeSet::new();
    for check in checks() {
        let id = check.id;
        assert!(is_kebab(id), "{id}");
        assert!(ids.insert(id), "{id} is there twice");
        assert!(!check.title.is_empty() && !check.title.ends_with('.'), "{id}: the title is a line, not a sentence");
        assert!(CLAIMS.iter().any(|claim| claim.id == check.claim.id), "{id}: the claim is in CLAIMS");
        assert!(check.claim.reach != Reach::OutOfScope, "{id}: no check can speak for {}", check.claim.id);
        assert!(!check.reads.is_empty(), "{id} reads something");
        assert!(check.not.ends_with('.'), "{id}: what a pass does not prove is a sentence");
        let (Worth::Proves(worth) | Worth::Reports(worth)) = check.worth;
        assert!(worth.ends_with('.'), "{id}: what a pass is worth is a sentence");
        assert!(check.reads.iter().any(|read| read.needed), "{id} needs something");
        for cis in check.cis {
            assert!(cis.split('.').all(|part| part.parse::<u8>().is_ok()), "{id}: {cis}");
        }
    }
}

#[test]
fn every_source_is_declared_once() {
    let mut keeps: BTreeMap<&str, &Source> = BTreeMap::new();
    for read in checks().flat_map(|check| check.reads) {
        let source = read.source;
        let known = *keeps.entry(source.id).or_insert(source);
        let same = std::mem::discriminant(&known.keep) == std::mem::discriminant(&source.keep);
        assert!(same, "{} is declared in two ways", source.id);
        let (kind, rest) = source.id.split_once(':').unwrap_or_default();
        let kinds =
            ["file", "bytes", "stat", "list", "exec", "dbus", "netlink", "probe", "http", "proc", "node", "tls"];
        assert!(kinds.contains(&kind) && !rest.is_empty(), "{}: kind and rest", source.id);
        let fits = match source.keep {
            Keep::Head(_) => kind == "bytes",
            Keep::Stat => kind == "stat",
            Keep::Listing => kind == "list",
            Keep::Text | Keep::Rewritten(_) => matches!(kind, "file" | "exec" | "proc"),
            Keep::Record => !matches!(kind, "bytes" | "stat" | "list"),
        };
        assert!(fits, "{}: its kind and what is kept", source.id);
    }
}

#[test]
fn every_claim_is_the_pages() {
    let mut ids = std::collections::BTreeSet::new();
    for claim in CLAIMS {
        assert!(is_kebab(claim.id) && ids.insert(claim.id), "{}", claim.id);
        assert!(!claim.sentence.is_empty() && claim.beyond.ends_with('.'), "{}", claim.id);
    }
}

/// A claim that a node can tell something about has a check; the others have none and are listed as what they are.
#[test]
fn every_claim_in_reach_has_a_check() {
    for claim in CLAIMS {
        let has = checks().any(|check| check.claim.id == claim.id);
        assert_eq!(has, claim.reach != Reach::OutOfScope, "{}", claim.id);
    }
}

/// What must not be kept, by a part of the source's id: each text is as such a file has it, its secret is `hunter2`.
const SECRETS: [(&str, &str); 20] = [
    ("/etc/shadow", "root:$6$salt$hunter2hunter2:19000:0:99999:7:::"),
    ("/etc/shadow", "$6$salt$hunter2hunter2\nroot$6$hunter2:x"),
    ("passwd", "toor:$6$salt$hunter2hunter2:0:0:hunter2:/root:/bin/bash"),
    ("group", "sudo:$6$hunter2hunter2:27:core"),
    ("/etc/sudoers", "jane ALL=(ALL) NOPASSWD: /usr/bin/mysql -phunter2 # hunter2\nDefaults passprompt=\"hunter2\""),
    ("/etc/sudoers", "hunter2\njane ALL=(ALL) hunter2 \"hunter2\nhunter2 \\"),
    ("certificates.directory", "-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----"),
    ("kubelet.authority", "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----"),
    ("/etc/ssl/etcd", "-----BEGIN EC PRIVATE KEY-----\nhunter2hunter2\n-----END EC PRIVATE KEY-----"),
    ("admin.conf", "users: [{name: a, user: {token: abcdef.hunter2hunter2aa, client-key-data: hunter2}}]"),
    (
        "/etc/cni",
        "{\"name\": \"x\", \"token\": \"hunter2\", \"plugins\": [{\"type\": \"calico\", \"key\": \"hunter2\"}]}",
    ),
    ("/zincati/", "base_url = \"https://user:hunter2@updates.example/\""),
    ("etcd.env", "ETCD_CLIENT_CERT_AUTH=true\nETCD_PASSWORD=hunter2\nROOT_PASSWORD=hunter2"),
    (
        "authorized-keys",
        "environment=\"A=hunter2\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII1o2i+G4AQBTMBq3qYT/GBO2RSpqkIRiVxAu6T72wQH hunter2",
    ),
    (
        "/boot/loader",
        "options root=UUID=1 rd.luks.key=hunter2 systemd.set_credential=passwd.hashed-password.root:hunter2\nx hunter2",
    ),
    ("/proc/cmdline", "root=UUID=1 rd.luks.key=hunter2 ignition.config.url=https://u:hunter2@x/ -- hunter2"),
    ("grub.cfg", "set linux_append=\"rd.luks.key=hunter2\"\npassword_pbkdf2 root hunter2"),
    ("kubelet.config", "kind: KubeletConfiguration\nstaticPodURLHeader: {Authorization: [hunter2]}"),
    ("kube-apiserver", "spec: {containers: [{name: a, command: [kube-apiserver], env: [{name: A, value: hunter2}]}]}"),
    ("kube-apiserver", "metadata: {annotations: {a: hunter2}}"),
];

#[test]
fn no_source_keeps_a_secret() {
    for source in sources().values() {
        if let Keep::Rewritten(_) = source.keep {
            let secrets: Vec<&str> =
                SECRETS.iter().filter(|(id, _)| source.id.contains(id)).map(|(_, text)| *text).collect();
            assert!(!secrets.is_empty(), "{}: what must not be kept of it is in SECRETS", source.id);
            for secret in secrets {
                let kept = serde_json::to_string(&source.capture(secret.as_bytes())).expect("serializes");
                assert!(!kept.contains("hunter2"), "{} keeps {kept} of {secret:?}", source.id);
            }
        }
    }
}

/// The fixtures are captures as the daemon would make them.
#[test]
fn no_fixture_holds_a_secret() {
    for evidence in fixtures::HOSTS
        .map(fixtures::host)
        .into_iter()
        .chain(fixtures::cases().iter().map(|(_, case)| case.on(&case.base[0]).0))
    {
        let text = serde_json::to_string(&evidence).expect("serializes");
        for mark in ["PRIVATE KEY", "$6$", "$y$", "ssh-ed25519 AAAA", "ssh-rsa AAAA"] {
            assert!(!text.contains(mark), "{mark} in {}", evidence.made.join(" "));
        }
        assert_eq!(crate::secret::redact(&text), text, "a token");
    }
}

#[test]
fn a_changed_source_concerns_its_checks_only() {
    let concerned: Vec<&str> = checks_reading("file:/sys/fs/selinux/enforce").map(|check| check.id).collect();
    assert!(concerned.contains(&"selinux-mode"));
    assert!(!concerned.contains(&"selinux-config"));
    assert_eq!(checks_reading("file:/nothing").count(), 0);
}
