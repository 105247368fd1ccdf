//! A year of 72-hour certificates on a clock that only this test moves: every renewal, and the end of the CA.

use std::time::Duration;

use super::*;
use crate::hostname::node_name;

const T0: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

/// A cluster that answers at once, and counts.
struct Cluster {
    ca_end: u64,
    life: u64,
    issued: u32,
}

impl Cluster {
    /// As kube-controller-manager signs (certs.md 1.7): set back five minutes, never past the CA's end.
    fn sign(&mut self, now: u64, key: &[u8]) -> CertView {
        assert!(now < self.ca_end, "asked to sign after the CA's end");
        self.issued += 1;
        CertView {
            common_name: "system:node:node-a".to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            subject: String::new(),
            issuer: String::new(),
            serial: format!("{:08x}", self.issued),
            not_before: Time::from_unix(now - 300),
            not_after: Time::from_unix((now + self.life - 300).min(self.ca_end)),
            client_auth: true,
            is_ca: false,
            alternative_names: 0,
            sha256: String::new(),
            public_key: key.to_vec(),
        }
    }
}

#[test]
fn a_year_has_as_many_renewals_as_it_must_and_an_end_without_a_flood() {
    let mut cluster = Cluster { ca_end: T0 + 365 * DAY, life: 72 * 3_600, issued: 0 };
    let mut seen = Seen {
        node: node_name(Some("node-a"), ""),
        bootstrap: Ok(Time::from_unix(cluster.ca_end)),
        current: Current::Nothing,
        request: None,
        clock: None,
        last: None,
        wish: None,
        recovery: None,
        recovery_trouble: None,
    };
    let policy = Policy { owner: Owner::Eyewall, renew_at: [0.60, 0.67], look_again: LOOK_AGAIN };
    let mut now = Time::from_unix(T0).0;
    let end = T0 + 370 * DAY;
    let (mut looks, mut steps, mut keys) = (0_u64, 0_u64, 0_u64);
    let mut renewals = Vec::new();
    let mut tests = 0;
    let mut without = Duration::ZERO;
    while Time(now).unix() < end {
        let decision = decide(now, &seen, &policy);
        looks += 1;
        match decision.step {
            Step::Idle { until } => {
                steps = 0;
                let alive = matches!(&seen.current, Current::Usable { leaf, .. } if leaf.not_after > Time(now));
                if !alive && Time(now).unix() < cluster.ca_end {
                    without += until.duration_since(now).unwrap();
                }
                // Whole sleeps are taken as they are; that is what keeps the number of looks honest.
                now = until;
            }
            Step::Prepare => {
                keys += 1;
                seen.request = Some(Request {
                    name: format!("node-csr-{keys}"),
                    common_name: "system:node:node-a".to_owned(),
                    public_key: keys.to_be_bytes().to_vec(),
                    since: Time(now),
                });
            }
            Step::CheckClock => {
                seen.clock = Some(Clock::of(Time(now).unix(), true, "x"));
            }
            Step::Ask(_) => {
                let key = seen.request.take().unwrap().public_key;
                let leaf = cluster.sign(Time(now).unix(), &key);
                renewals.push(Time(now).unix());
                seen.current =
                    Current::Usable { leaf: Box::new(leaf), installed_at: Time(now), anchor: Anchor::Bootstrap };
            }
            Step::TestRecovery => {
                tests += 1;
                seen.recovery = Some(Tested { at: Time(now), answered: true });
            }
            step @ (Step::Quarantine(_) | Step::Forget(_)) => panic!("{step:?} in a good year"),
        }
        steps += 1;
        assert!(steps < 10, "a busy loop at {}", Time(now));
    }
    // 72 h less the signer's five minutes, renewed between 60 and 67 % of it: 43.2 to 48.2 h apart.
    let gaps: Vec<u64> = renewals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (43 * 3_600..=49 * 3_600).contains(gap)), "{gaps:?}");
    assert!((180..=204).contains(&cluster.issued), "{} certificates in a year", cluster.issued);
    assert!((360..=366).contains(&tests), "{tests} tests of the bootstrap credential");
    assert_eq!(without, Duration::ZERO, "never without a certificate while there is a CA");
    assert!(looks < 550_000, "{looks} looks: one a minute and no more");
    assert_eq!(decide(now, &seen, &policy).state, State::CaExpired);
    println!("{} certificates, {looks} looks in 370 days", cluster.issued);
}
