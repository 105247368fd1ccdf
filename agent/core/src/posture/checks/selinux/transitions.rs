//! A flip that is over before anybody looks: the kernel counts, and the agent hears.

use std::time::Duration;

use super::{mode_promised, nothing_to_judge};
use crate::config::parse_duration;
use crate::posture::read::selinux::StatusPage;
use crate::posture::selinux_watch::{Watch, What};
use crate::posture::{Grade, Judged, Seen, Source, Unseen};
use crate::time::human;

/// The status page.
pub const STATUS: Source = Source::head("bytes:/sys/fs/selinux/status", StatusPage::LENGTH);
/// What the agent has heard: a [`Watch`].
pub const WATCH: Source = Source::record("node:selinux-watch");

/// How long a change is held against the host where configuration says nothing.
const HELD: Duration = Duration::from_secs(3_600);

pub(super) fn judge(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Some(promised) = mode_promised(seen) else { return Ok(nothing_to_judge()) };
    let watch = match seen.one(&WATCH)?.record::<Watch>() {
        Ok(watch) => watch,
        Err(Unseen::Missing { .. }) => {
            return Ok(Judged::unknown(
                "nobody-watches",
                "Changes are heard by the running agent only: start eyewall.service, or ask it with `eyewall check`.",
            ));
        }
        Err(unseen) => return Err(unseen),
    };
    let item = seen.one(&STATUS)?;
    let Some(page) = StatusPage::parse(item.bytes()?) else {
        return Err(item.malformed("It is no status page of version 1."));
    };
    if seen.host().boot_id.as_deref() != Some(watch.boot_id.as_str()) {
        return Err(seen.one(&WATCH)?.malformed("It is of another boot."));
    }
    let held = seen.expected().and_then(parse_duration).unwrap_or(HELD);
    let lately = |at: crate::time::Time| seen.now().0.duration_since(at.0).map_or(true, |age| age < held);
    let recent: Vec<_> = watch.changes.iter().filter(|change| lately(change.at)).collect();
    let unheard = StatusPage::changes(watch.sequence, page.sequence).saturating_sub(watch.pending);
    let missed: u32 = unheard
        + recent.iter().map(|change| if let What::Missed(count) = change.what { count } else { 0 }).sum::<u32>();
    let left = recent.iter().any(|change| change.what == What::Permissive && promised == "enforcing");
    let judged = if left {
        Judged::fail(
            "left-the-mode",
            format!(
                "SELinux was switched to permissive within the last {}, whatever it is now: ask who did it (`ausearch -m MAC_STATUS`).",
                human(held)
            ),
        )
    } else if missed > 0 {
        Judged::fail(
            "missed-changes",
            format!(
                "The kernel counts {missed} changes of SELinux's mode, policy or booleans that the agent was not told of: it was down, or they \
                 came too fast. See `ausearch -m MAC_STATUS,MAC_POLICY_LOAD`."
            ),
        )
    } else {
        Judged::pass(
            Grade::ProvedByBehaviour,
            "all-accounted-for",
            format!("Every change since {} was heard, and none left the mode lately.", watch.since),
        )
    };
    let judged = judged.fact("sequence", page.sequence.to_string()).fact("since", watch.since.to_string());
    Ok(recent.iter().fold(judged, |judged, change| {
        let what = match change.what {
            What::Enforcing => "set to enforcing".to_owned(),
            What::Permissive => "set to permissive".to_owned(),
            What::Policy => "policy or booleans loaded".to_owned(),
            What::Missed(count) => format!("{count} missed"),
        };
        judged.fact(&change.at.to_string(), what)
    }))
}
