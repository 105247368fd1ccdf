//! The two files that the kubelet serves from: `kubelet.crt` and `kubelet.key` in its certificate directory.
//!
//! With neither `tlsCertFile` nor `serverTLSBootstrap` set, the kubelet makes a self-signed pair under these names where both are
//! absent, and uses what is there otherwise, whatever its age. One without the other, and two that do not belong together,
//! are its end, again and again (`cmd/kubelet/app/server.go` `InitializeTLS`, `CanReadCertAndKey`). Links that lead nowhere are the
//! worst: it takes both for absent and writes first the certificate and then the key through them into the same file.
//!
//! The agent's pair is one PEM, and both names are links to it.

/// What stands under one of the two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Nothing.
    Absent,
    /// A link to the agent's PEM.
    Ours,
    /// Something else: the kubelet's own file.
    Other,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// `kubelet.crt`
    pub certificate: Half,
    /// `kubelet.key`
    pub key: Half,
    /// Read by these names, a certificate and its own key come out.
    pub loads: bool,
}

impl Pair {
    /// Both lead to the agent's PEM.
    pub fn is_ours(&self) -> bool {
        (self.certificate, self.key) == (Half::Ours, Half::Ours)
    }

    /// At least one does.
    pub fn has_ours(&self) -> bool {
        self.certificate == Half::Ours || self.key == Half::Ours
    }
}

/// The agent's PEM, as far as a kubelet that starts cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// It is there, with a chain and its key.
    pub whole: bool,
    /// It is past its end.
    pub ended: bool,
}

/// What has to be done with the names before a kubelet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// They are as they should be, or not ours to touch.
    Nothing,
    /// Both become links to the agent's PEM.
    Link,
    /// Both are taken away, and the kubelet makes a self-signed pair.
    Withdraw,
}

/// How far the pair is the agent's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It keeps the serving certificate (`serving = true`).
    Pair,
    /// It keeps the node's certificate and starts the kubelet, which serves with what it signed itself. That the kubelet writes without a
    /// sync: what a power cut left of it would be its end at every start, so it is put aside.
    Kubelet,
    /// It only looks (`owner = "kubelet"`), and takes care of links that it made when it did more.
    Links,
}

/// Decides before a kubelet starts, while none runs.
pub fn mend(pair: Pair, behind: Behind, charge: Charge) -> Mend {
    let owned = charge == Charge::Pair;
    let is_good = behind.whole && !behind.ended;
    // A renewal is under way; until it succeeds an ended certificate is as good as a self-signed one.
    let useful = is_good || (behind.whole && owned);
    match (pair.certificate, pair.key) {
        (Half::Ours, Half::Ours) if useful => Mend::Nothing,
        // A first switch that was cut in the middle.
        (Half::Ours, _) | (_, Half::Ours) => {
            if useful {
                Mend::Link
            } else {
                Mend::Withdraw
            }
        }
        (Half::Absent, Half::Absent) if !owned => Mend::Nothing,
        _ if charge == Charge::Kubelet && !pair.loads => Mend::Withdraw,
        _ if !owned => Mend::Nothing,
        (Half::Absent, Half::Absent) => {
            if is_good {
                Mend::Link
            } else {
                Mend::Nothing
            }
        }
        // The kubelet does not sync what it writes: after a power cut its own pair may be empty, or half.
        (Half::Other, Half::Other) if pair.loads => Mend::Nothing,
        _ if is_good => Mend::Link,
        _ => Mend::Withdraw,
    }
}

#[cfg(test)]
mod tests {
    use super::Half::{Absent, Other, Ours};
    use super::*;

    #[test]
    fn a_kubelet_that_starts_finds_a_pair_or_nothing() {
        let (whole, ended, broken) = (
            Behind { whole: true, ended: false },
            Behind { whole: true, ended: true },
            Behind { whole: false, ended: false },
        );
        let (pair, kubelet, links) = (Charge::Pair, Charge::Kubelet, Charge::Links);
        for (name, certificate, key, loads, behind, charge, want) in [
            ("a first boot", Absent, Absent, false, broken, pair, Mend::Nothing),
            ("the kubelet's own", Other, Other, true, broken, pair, Mend::Nothing),
            ("the kubelet's own, ours is ready", Other, Other, true, whole, pair, Mend::Nothing),
            ("in force", Ours, Ours, true, whole, pair, Mend::Nothing),
            ("in force and past its end", Ours, Ours, true, ended, pair, Mend::Nothing),
            ("cut between the two links", Ours, Other, true, whole, pair, Mend::Link),
            ("cut between the two links, of a key", Other, Ours, false, whole, pair, Mend::Link),
            ("cut between two links where nothing was", Ours, Absent, false, whole, pair, Mend::Link),
            ("a corrupt PEM in force", Ours, Ours, false, broken, pair, Mend::Withdraw),
            ("a corrupt PEM and half of the old pair", Ours, Other, false, broken, pair, Mend::Withdraw),
            ("withdrawn and cut between the two", Absent, Ours, false, broken, pair, Mend::Withdraw),
            ("removed by a person, ours is there", Absent, Absent, false, whole, pair, Mend::Link),
            ("the kubelet's own, empty after a power cut", Other, Other, false, broken, pair, Mend::Withdraw),
            ("the same, ours is ready", Other, Other, false, whole, pair, Mend::Link),
            ("half of the kubelet's own", Other, Absent, false, broken, pair, Mend::Withdraw),
            // No longer the agent's to keep.
            ("kept until its end", Ours, Ours, true, whole, links, Mend::Nothing),
            ("kept until its end, which has come", Ours, Ours, true, ended, links, Mend::Withdraw),
            ("kept and cut", Ours, Other, true, whole, links, Mend::Link),
            ("kept and corrupt", Ours, Ours, false, broken, links, Mend::Withdraw),
            ("removed by a person, ours has ended", Absent, Absent, false, ended, pair, Mend::Nothing),
            ("never ours", Other, Other, false, broken, links, Mend::Nothing),
            ("never ours, half", Other, Absent, false, broken, links, Mend::Nothing),
            ("removed by a person", Absent, Absent, false, whole, links, Mend::Nothing),
            // Started by the agent, with what the kubelet signed itself.
            ("self-signed", Other, Other, true, broken, kubelet, Mend::Nothing),
            ("self-signed, empty after a power cut", Other, Other, false, broken, kubelet, Mend::Withdraw),
            ("self-signed, half", Other, Absent, false, broken, kubelet, Mend::Withdraw),
            ("not yet signed", Absent, Absent, false, broken, kubelet, Mend::Nothing),
            ("ours once, and ended", Ours, Ours, true, ended, kubelet, Mend::Withdraw),
        ] {
            assert_eq!(mend(Pair { certificate, key, loads }, behind, charge), want, "{name}");
        }
    }

    #[test]
    fn what_is_mended_needs_no_mending() {
        let halves = [Absent, Ours, Other];
        for certificate in halves {
            for key in halves {
                for flags in 0..8_u8 {
                    let bit = |at: u8| flags & (1 << at) != 0;
                    let behind = Behind { whole: bit(0), ended: bit(1) };
                    let pair = Pair { certificate, key, loads: bit(2) };
                    for charge in [Charge::Pair, Charge::Kubelet, Charge::Links] {
                        let after = match mend(pair, behind, charge) {
                            Mend::Nothing => continue,
                            Mend::Link => Pair { certificate: Ours, key: Ours, loads: behind.whole },
                            Mend::Withdraw => Pair { certificate: Absent, key: Absent, loads: false },
                        };
                        assert_eq!(mend(after, behind, charge), Mend::Nothing, "{pair:?} {behind:?} {charge:?}");
                        assert!(behind.whole || !after.has_ours(), "a link to nothing: {pair:?} {behind:?} {charge:?}");
                    }
                }
            }
        }
    }
}
