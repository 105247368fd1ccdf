//! Gives up every privilege the agent does not need, and says which it lacks. The unit does the same from outside;
//! this holds where there is no such unit, and for what a unit cannot say.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use eyewall_core::status::Reason;

/// What is kept if it is there: reading files of other users (an operator's kubeconfig, later the posture's evidence).
/// Root without any capability still writes what root owns, and that is all the agent writes.
const KEPT: Capability = Capability::CAP_DAC_READ_SEARCH;

/// Drops all capabilities but the one that is needed, from every set; forbids new ones by exec; and forbids core dumps
/// and debuggers, since keys pass through this memory. Returns what is missing for the whole job, for
/// [`eyewall_core::status::AgentStatus::limits`].
///
/// Call it once, after the socket is bound and before any other thread is: capabilities belong to a thread.
pub fn reduce() -> Vec<Reason> {
    // Neither is fatal: a container's filter may forbid it, and the agent does its work all the same.
    if let Err(errno) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!("core dumps could not be forbidden: {errno}");
    }
    if let Err(errno) = nix::sys::prctl::set_no_new_privs() {
        tracing::warn!("new privileges could not be forbidden: {errno}");
    }
    match drop_all_but(KEPT) {
        Ok(()) => {}
        Err(error) => tracing::warn!("capabilities could not be dropped: {error}"),
    }
    let kept = caps::read(None, CapSet::Effective).unwrap_or_default();
    limits(nix::unistd::geteuid().as_raw(), &kept)
}

fn drop_all_but(kept: Capability) -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let keep: CapsHashSet = permitted.iter().copied().filter(|cap| *cap == kept).collect();

    // The bounding set first: it takes CAP_SETPCAP, which the next step gives away.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for cap in caps::runtime::thread_all_supported() {
            if cap != kept {
                caps::drop(None, CapSet::Bounding, cap)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // Effective must stay within permitted at every instant.
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &keep)
}

fn limits(uid: u32, effective: &CapsHashSet) -> Vec<Reason> {
    if uid != 0 {
        return vec![Reason::new(
            "not-root",
            format!(
                "The agent runs as uid {uid}: it can write only where that user may, and cannot restart the kubelet. \
                 Start it by eyewall.service."
            ),
        )];
    }
    if !effective.contains(&KEPT) {
        return vec![Reason::new(
            "no-dac-read-search",
            "The agent has no CAP_DAC_READ_SEARCH, so it cannot read files that root does not own. \
             Grant it in the unit or to the container if something is unknown because of that.",
        )];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let with = CapsHashSet::from([KEPT]);
        let without = CapsHashSet::from([Capability::CAP_CHOWN]);
        for (name, uid, effective, want) in [
            ("as the unit starts it", 0, &with, &[][..]),
            ("root in a container", 0, &without, &["no-dac-read-search"][..]),
            ("a user", 1000, &without, &["not-root"][..]),
            ("a user with the capability", 1000, &with, &["not-root"][..]),
        ] {
            let kinds: Vec<_> = limits(uid, effective).into_iter().map(|r| r.kind).collect();
            assert_eq!(kinds, want, "{name}");
        }
    }

    /// On a thread of its own: that is where the kernel keeps them.
    #[test]
    fn what_is_dropped_is_gone_from_every_set() {
        let left = std::thread::spawn(|| {
            let had = caps::read(None, CapSet::Permitted).expect("readable");
            drop_all_but(KEPT).expect("dropping is always allowed");
            let read = |set| caps::read(None, set).expect("readable");
            let could_bound = had.contains(&Capability::CAP_SETPCAP);
            (
                had.contains(&KEPT),
                [CapSet::Effective, CapSet::Permitted].map(read),
                [CapSet::Inheritable, CapSet::Ambient].map(read),
                could_bound.then(|| read(CapSet::Bounding)),
            )
        })
        .join()
        .expect("the thread ends");
        let (had, own, given, bounding) = left;
        let want = CapsHashSet::from_iter(had.then_some(KEPT));
        assert_eq!(own, [want.clone(), want.clone()]);
        assert_eq!(given, [CapsHashSet::new(), CapsHashSet::new()]);
        if let Some(bounding) = bounding {
            assert!(bounding.iter().all(|cap| *cap == KEPT), "{bounding:?}");
        }
    }
}
