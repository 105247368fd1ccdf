//! Wishes: what an operator or a reboot wants of the certificate in force, beyond its schedule, and what they are answered.
//!
//! A wish is judged at every look, so it holds no memory of its own. It makes a renewal due only where a fresh certificate
//! could have more left than the one in force: a signer or a CA that gives no more must not be asked in a loop.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use super::held::Held;
use super::{Policy, Seen};
use crate::config::Owner;
use crate::status::{Reason, RenewalAnswer};
use crate::time::{Time, human};

/// What may be asked to be left: a minute to a year, which is what a CA of Typhoon lives.
pub const AT_LEAST: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(365 * 86_400);
/// How long an answer may be waited for.
pub const WAIT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// How long it is waited for if nothing is said: an attempt comes to its end in less (`certificates/obtain.rs`).
pub const USUAL_WAIT: Duration = Duration::from_secs(120);

/// A certificate in the first tenth of its life, and no older than an hour, is as good as its signer gives one now.
const AS_GOOD_AS_NEW: f64 = 0.10;
const AS_GOOD_AS_NEW_AT_MOST: Duration = Duration::from_secs(3_600);

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Another certificate than the one in force.
    Fresh,
    /// One that has at least this much of its life left.
    AtLeast(Duration),
}

impl Wish {
    /// One wish that serves both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::AtLeast(one), Self::AtLeast(two)) => Self::AtLeast(one.max(two)),
            _ => Self::Fresh,
        }
    }
}

/// Why the certificate in force, which is in its life, should be replaced for a wish; `None` where that would gain nothing.
pub(super) fn due(now: Time, held: &Held<'_>, wish: Wish) -> Option<Reason> {
    match wish {
        Wish::Fresh => Some(Reason::new("renewal-asked", "an operator asked for a renewal")),
        Wish::AtLeast(wanted) if held.left(now) < wanted && !held.last && !held.is_as_good_as_new(now) => {
            Some(Reason::new(
                "less-left-than-asked",
                format!(
                    "{} of its life are left and {} were asked for, as before a reboot",
                    human(held.left(now)),
                    human(wanted)
                ),
            ))
        }
        Wish::AtLeast(_) => None,
    }
}

/// The answer to "are at least `wanted` left?": yes, no, or `None` while a certificate that may have more is being had.
///
/// Yes is said of a certificate in its life, of this node and of the CA of the bootstrap kubeconfig, that ends no earlier than
/// `now + wanted`, by a clock that nothing speaks against; and never otherwise.
pub fn answer(now: SystemTime, seen: &Seen, policy: &Policy, wanted: Duration) -> Option<RenewalAnswer> {
    let now = Time(now);
    let held = Held::of(now, seen, policy).filter(|held| held.alive);
    let until = held.as_ref().map(|held| held.leaf.not_after);
    let no =
        |kind: &str, message: String| Some(RenewalAnswer { holds: false, until, reason: Reason::new(kind, message) });
    if let Some(clock) = &seen.clock
        && clock.is_fresh(now)
        && !clock.trusted
    {
        return no(&clock.reason.kind, clock.reason.message.clone());
    }
    let only_looks = policy.owner == Owner::Kubelet;
    let not_ours = || {
        no(
            "not-the-owner",
            "the kubelet renews this certificate itself: [certificates] owner is \"kubelet\", so eyewall only watches"
                .to_owned(),
        )
    };
    let Some(held) = held.filter(|held| !held.is_of_the_past) else {
        return if only_looks { not_ours() } else { None };
    };
    let (end, left) = (held.leaf.not_after, held.left(now));
    if held.leaf.not_before <= now && left >= wanted {
        let message =
            format!("the certificate in force ends at {end}, in {}: {} were asked for", human(left), human(wanted));
        return Some(RenewalAnswer { holds: true, until, reason: Reason::new("certificate-lasts", message) });
    }
    if only_looks {
        return not_ours();
    }
    if held.last {
        return no(
            "certificate-ends-with-authority",
            format!(
                "the certificate in force ends at {end}, in {}, when the cluster CA ends: no renewal can last longer; give the \
                 cluster a new CA",
                human(left)
            ),
        );
    }
    if held.is_as_good_as_new(now) {
        return no(
            "signer-gives-less",
            format!(
                "the certificate in force is fresh and ends at {end}, in {}: the cluster's signer gives no more (kube-controller-manager \
                 --cluster-signing-duration)",
                human(left)
            ),
        );
    }
    None
}

impl Held<'_> {
    /// How much of its life is left.
    pub fn left(&self, now: Time) -> Duration {
        self.leaf.not_after.0.duration_since(now.0).unwrap_or_default()
    }

    /// Too young for a renewal to make it last longer.
    fn is_as_good_as_new(&self, now: Time) -> bool {
        let life = self.leaf.not_after.0.duration_since(self.schedule.starts_at.0).unwrap_or_default();
        let young = life.mul_f64(AS_GOOD_AS_NEW).min(AS_GOOD_AS_NEW_AT_MOST);
        // One of the future was installed before the clock was set back, and says nothing.
        now.0.duration_since(self.schedule.starts_at.0).is_ok_and(|age| age < young)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{HOUR, POLICY, T0, joined, request, usable};
    use super::super::{Anchor, Clock, Current, Step, decide};
    use super::*;
    use crate::hostname::node_name;

    const H: Duration = Duration::from_secs(HOUR);
    type Change = fn(&mut Seen);

    #[test]
    fn what_is_answered_and_what_is_done() {
        let of_the_kubelet = Policy { owner: Owner::Kubelet, ..POLICY };
        let ends_soon = |s: &mut Seen| s.bootstrap = Ok(Time::from_unix(T0 + 72 * HOUR - 300));
        // The certificate lives until T0 + 71 h 55 min. Hours after T0, hours wanted; the answer's kind, the state's kind.
        let cases: &[(&str, u64, u64, Policy, Change, &str, &str)] = &[
            ("plenty", 20, 24, POLICY, |_| {}, "certificate-lasts", "certificate-valid"),
            ("exactly enough", 47, 24, POLICY, |_| {}, "certificate-lasts", "certificate-valid"),
            ("not enough", 48, 24, POLICY, |_| {}, "", "less-left-than-asked"),
            ("due anyway, and enough", 50, 12, POLICY, |_| {}, "certificate-lasts", "renewal-due"),
            ("due anyway, and not enough", 50, 24, POLICY, |_| {}, "", "less-left-than-asked"),
            (
                "more than the signer gives, of a fresh one",
                0,
                100,
                POLICY,
                |_| {},
                "signer-gives-less",
                "certificate-valid",
            ),
            ("more than the signer gives, of an old one", 2, 100, POLICY, |_| {}, "", "less-left-than-asked"),
            ("the CA ends first", 40, 40, POLICY, ends_soon, "certificate-ends-with-authority", "certificate-valid"),
            (
                "the CA ends first, and it is enough",
                40,
                20,
                POLICY,
                ends_soon,
                "certificate-lasts",
                "certificate-valid",
            ),
            ("expired", 72, 1, POLICY, |_| {}, "", "certificate-expired"),
            ("none yet", 0, 1, POLICY, |s| s.current = Current::Nothing, "", "certificate-absent"),
            ("of another node", 1, 1, POLICY, |s| s.node = node_name(Some("node-b"), ""), "", "node-name-changed"),
            ("of the CA before", 1, 1, POLICY, |s| s.current = usable(Anchor::Installed), "", "authority-changed"),
            (
                "no CA to check with",
                1,
                1,
                POLICY,
                |s| s.current = usable(Anchor::Unchecked),
                "certificate-lasts",
                "certificate-valid",
            ),
            ("only looking, enough", 1, 1, of_the_kubelet, |_| {}, "certificate-lasts", "certificate-valid"),
            ("only looking, not enough", 67, 24, of_the_kubelet, |_| {}, "not-the-owner", "renewal-overdue"),
            (
                "only looking, none",
                0,
                1,
                of_the_kubelet,
                |s| s.current = Current::Nothing,
                "not-the-owner",
                "certificate-absent",
            ),
        ];
        for (name, after, wanted, policy, change, want, kind) in cases {
            let now = T0 + after * HOUR;
            let mut seen = joined();
            seen.clock = Some(Clock::of(now, true, ""));
            seen.recovery = Some(super::super::Tested { at: Time::from_unix(now), answered: true });
            seen.wish = Some(Wish::AtLeast(H * *wanted as u32));
            change(&mut seen);
            let now = Time::from_unix(now).0;
            let got = answer(now, &seen, policy, H * *wanted as u32);
            assert_eq!(got.as_ref().map_or("", |got| got.reason.kind.as_str()), *want, "{name}: {got:?}");
            let decision = decide(now, &seen, policy);
            assert_eq!(decision.reason.kind, *kind, "{name}: {decision:?}");
            if *kind == "less-left-than-asked" {
                assert_eq!(decision.step, Step::Prepare, "{name}");
            }
        }
    }

    #[test]
    fn two_wishes_are_served_by_one() {
        let at_least = |hours| Wish::AtLeast(H * hours);
        for (one, two, want) in [
            (at_least(1), at_least(2), at_least(2)),
            (at_least(2), at_least(1), at_least(2)),
            (at_least(2), Wish::Fresh, Wish::Fresh),
            (Wish::Fresh, at_least(2), Wish::Fresh),
        ] {
            assert_eq!(one.and(two), want, "{one:?} and {two:?}");
        }
    }

    prop_compose! {
        fn anything()(
            age in 0..80 * HOUR,
            life in 30..200 * HOUR,
            installed_late in 0_u64..1_000,
            wanted in 1..200 * HOUR,
            anchor in 0_usize..3,
            named in 0_usize..3,
            ca_left in proptest::option::of(0..400 * HOUR),
            open in any::<bool>(),
            clock in proptest::option::of((0_u64..2_000, any::<bool>())),
            kubelet in any::<bool>(),
        ) -> (u64, Seen, Policy, Duration) {
            let now = T0 + age;
            let mut seen = joined();
            if let Current::Usable { leaf, installed_at, anchor: of } = &mut seen.current {
                leaf.not_after = Time::from_unix(T0 + life);
                *installed_at = Time::from_unix(T0 - 300 + installed_late);
                *of = [Anchor::Bootstrap, Anchor::Installed, Anchor::Unchecked][anchor];
            }
            seen.node = node_name(Some(["node-a", "node-b", "localhost"][named]), "");
            seen.bootstrap = ca_left.map(|left| Time::from_unix(T0 + left)).ok_or(Reason::new("none", ""));
            seen.request = open.then(|| request("node-a", b"new"));
            seen.clock = clock.map(|(age, trusted)| Clock::of(now - age, trusted, "x"));
            seen.wish = Some(Wish::AtLeast(Duration::from_secs(wanted)));
            let policy = Policy { owner: if kubelet { Owner::Kubelet } else { Owner::Eyewall }, ..POLICY };
            (now, seen, policy, Duration::from_secs(wanted))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn yes_is_never_said_with_less_left_and_no_wish_waits_for_nothing((now, seen, policy, wanted) in anything()) {
            let Current::Usable { leaf, anchor, .. } = &seen.current else { unreachable!("always one") };
            let left = leaf.not_after.unix().saturating_sub(now);
            let got = answer(Time::from_unix(now).0, &seen, &policy, wanted);
            let doubted = seen.clock.as_ref().is_some_and(|clock| now - clock.at.unix() < 900 && !clock.trusted);
            match &got {
                Some(got) if got.holds => {
                    prop_assert!(left >= wanted.as_secs(), "{left} of {wanted:?} left");
                    prop_assert!(got.until == Some(leaf.not_after));
                    prop_assert!(*anchor != Anchor::Installed && !doubted);
                }
                Some(got) => prop_assert!(
                    left < wanted.as_secs() || doubted || policy.owner == Owner::Kubelet,
                    "no, though {left} are left: {got:?}"
                ),
                // Somebody waits: then something is done about it, or told.
                None => {
                    let decision = decide(Time::from_unix(now).0, &seen, &policy);
                    prop_assert!(decision.reason.kind != "certificate-valid", "{decision:?}");
                }
            }
        }
    }
}
