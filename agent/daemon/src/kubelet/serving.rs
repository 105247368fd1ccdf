//! Before a kubelet starts: the pair that it serves from is whole, or absent so that it makes its own.
//!
//! Only here may the kubelet's own files be touched, because no kubelet runs: one that starts writes its two files one after
//! the other, and half of a pair that is being written looks like half of a pair.

use std::time::SystemTime;

use eyewall_core::cert::CertView;
use eyewall_core::config::{Certificates, Config, Owner};
use eyewall_core::event;
use eyewall_core::serving::pair::{Behind, Charge, Mend, Pair, mend};
use eyewall_core::time::Time;

use super::place::Root;
use crate::chain;
use crate::events::Events;
use crate::store::{Found, Store, StoreFault, pair};

/// Mends the pair, if it needs it.
///
/// # Errors
/// [`StoreFault`]; the kubelet would fail on what is there.
pub fn prepare(root: &Root, config: &Config, now: SystemTime, events: &Events) -> Result<(), StoreFault> {
    let settings = &config.certificates;
    let charge = match (settings.owner, settings.serving) {
        (Owner::Eyewall, true) => Charge::Pair,
        (Owner::Eyewall, false) => Charge::Kubelet,
        (Owner::Kubelet, _) => Charge::Links,
    };
    let store = Store::new(&Certificates { directory: root.at(&settings.directory), ..settings.clone() });
    let pair = store.serving_pair(chain::is_pair)?;
    match mend(pair, behind(&store, now), charge) {
        Mend::Nothing => {}
        Mend::Link => {
            store.relink_serving(chain::is_pair)?;
            tracing::info!("kubelet.crt and kubelet.key lead to the serving certificate again");
        }
        Mend::Withdraw => {
            store.withdraw_serving(pair, now)?;
            let (kind, why) = reason(pair);
            events.emit(
                &event::SERVING_WITHDRAWN,
                format!("{why}; the kubelet makes a self-signed pair"),
                &[("kind", kind), ("moved_to", "nothing")],
            );
        }
    }
    Ok(())
}

fn behind(store: &Store, now: SystemTime) -> Behind {
    let Found::Text { text, .. } = store.read_serving() else { return Behind { whole: false, ended: false } };
    let leaf = pair(text.expose())
        .ok()
        .and_then(|pair| CertView::from_der(pair.chain.first()?).ok())
        .filter(|_| chain::is_pair(text.expose(), &text));
    Behind { whole: leaf.is_some(), ended: leaf.is_some_and(|leaf| leaf.not_after <= Time(now)) }
}

fn reason(pair: Pair) -> (&'static str, &'static str) {
    if pair.has_ours() && pair.loads {
        (
            "certificate-expired",
            "the serving certificate has ended and nobody renews it (certificates.serving is false)",
        )
    } else if pair.has_ours() {
        ("certificate-corrupt", "what kubelet.crt and kubelet.key lead to is no whole certificate with its key")
    } else {
        ("pair-not-whole", "kubelet.crt and kubelet.key do not belong together, or one of them is missing")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    const NAMES: [&str; 2] = ["kubelet.crt", "kubelet.key"];

    struct Node {
        root: tempfile::TempDir,
        config: Config,
    }

    fn observed() -> Node {
        let mut node = node(false);
        node.config.certificates.owner = Owner::Kubelet;
        node
    }

    fn node(serving: bool) -> Node {
        let root = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.certificates.serving = serving;
        std::fs::create_dir_all(root.path().join("var/lib/kubelet/pki")).unwrap();
        Node { root, config }
    }

    impl Node {
        fn path(&self, name: &str) -> std::path::PathBuf {
            self.root.path().join("var/lib/kubelet/pki").join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path(name), text).unwrap();
        }

        fn links(&self, pem: &str) {
            self.write("kubelet-server-2026-01-01-00-00-00.pem", pem);
            symlink("kubelet-server-2026-01-01-00-00-00.pem", self.path("kubelet-server-current.pem")).unwrap();
            for name in NAMES {
                symlink("kubelet-server-current.pem", self.path(name)).unwrap();
            }
        }

        /// What a kubelet that starts now finds: `absent`, `loads`, or what it would end with.
        fn found(&self, now: SystemTime) -> &'static str {
            prepare(&Root::new(self.root.path()), &self.config, now, &Events::new()).unwrap();
            let settings = &self.config.certificates;
            let store = Store::new(&Certificates {
                directory: self.root.path().join("var/lib/kubelet/pki"),
                ..settings.clone()
            });
            let there = NAMES.map(|name| Path::new(&self.path(name)).exists());
            match (there, store.serving_pair(chain::is_pair).unwrap().loads) {
                (_, true) => "loads",
                ([false, false], _) => "absent",
                _ => "broken",
            }
        }
    }

    fn pem() -> (String, String) {
        let own = rcgen::generate_simple_self_signed(["node-a".to_owned()]).unwrap();
        (own.cert.pem(), own.signing_key.serialize_pem())
    }

    /// 2026; what rcgen makes lives from 1975 to 4096.
    fn now() -> SystemTime {
        Time::from_unix(1_795_486_508).0
    }

    #[test]
    fn a_crash_loop_is_mended_before_it_begins() {
        let (certificate, key) = pem();
        let whole = format!("{certificate}{key}");
        type Lay<'a> = &'a dyn Fn(&Node);
        let cases: [(&str, bool, Lay<'_>, &str); 10] = [
            ("a first boot", true, &|_| {}, "absent"),
            (
                "the kubelet's own",
                true,
                &|n| {
                    n.write("kubelet.crt", &certificate);
                    n.write("kubelet.key", &key);
                },
                "loads",
            ),
            ("ours", true, &|n| n.links(&whole), "loads"),
            ("ours, cut short", true, &|n| n.links(&whole[..whole.len() / 2]), "absent"),
            ("ours, empty", true, &|n| n.links(""), "absent"),
            (
                "links to nothing",
                true,
                &|n| {
                    n.links(&whole);
                    std::fs::remove_file(n.path("kubelet-server-2026-01-01-00-00-00.pem")).unwrap();
                },
                "absent",
            ),
            (
                "a key of before beside our certificate",
                true,
                &|n| {
                    n.links(&whole);
                    std::fs::remove_file(n.path("kubelet.key")).unwrap();
                    n.write("kubelet.key", &pem().1);
                },
                "loads",
            ),
            (
                "the kubelet's own, emptied by a power cut",
                true,
                &|n| {
                    n.write("kubelet.crt", "");
                    n.write("kubelet.key", &key);
                },
                "absent",
            ),
            (
                "the same, and what it serves with is its own",
                false,
                &|n| {
                    n.write("kubelet.crt", "");
                    n.write("kubelet.key", &key);
                },
                "absent",
            ),
            ("kept, and no longer renewed", false, &|n| n.links(&whole), "loads"),
        ];
        for (name, serving, lay, want) in cases {
            let node = node(serving);
            lay(&node);
            assert_eq!(node.found(now()), want, "{name}");
        }
        let observed = observed();
        observed.write("kubelet.crt", "");
        observed.write("kubelet.key", &key);
        assert_eq!(observed.found(now()), "broken", "none of our business");
        let kept = node(false);
        kept.links(&whole);
        assert_eq!(kept.found(Time::from_unix(70_000_000_000).0), "absent", "kept until its end, which has come");
        assert!(kept.path("kubelet-server-current.pem").exists(), "the certificate itself stays where it is");
    }
}
