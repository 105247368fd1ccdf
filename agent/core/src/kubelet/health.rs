//! The kubelet's health, from what systemd says of its unit and what its port answers.

use crate::status::{Health, Reason};

/// The unit, as systemd tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// LoadState: `loaded`, `not-found`, `masked`, ...
    pub load_state: String,
    /// ActiveState: `active`, `activating`, `failed`, ...
    pub active_state: String,
    /// SubState: `running`, `auto-restart`, ...
    pub sub_state: String,
    /// The main process, if there is one.
    pub main_pid: Option<u32>,
}

/// What the health port said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was not asked yet.
    NotAsked,
    /// An HTTP status below 500. 401 is what a healthy kubelet says to a stranger.
    Alive(u16),
    /// No answer, or one that says that something is wrong inside; in words.
    Dead(String),
}

/// Everything that is known.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The unit's name.
    pub name: &'a str,
    /// The unit, or why systemd could not be asked.
    pub unit: Result<&'a Unit, &'a Reason>,
    /// The health port.
    pub answer: &'a Answer,
    /// May a kubelet that does not answer still be on its way up?
    pub starting: bool,
    /// Has it been restarted as often as it may?
    pub budget_spent: bool,
}

/// Good only if the unit is active and the port answers. A kubelet that is on its way is not known to be either.
pub fn judge(seen: &Seen<'_>) -> (Health, Reason) {
    let name = seen.name;
    let unit = match seen.unit {
        Ok(unit) => unit,
        Err(reason) => {
            let port = match seen.answer {
                Answer::NotAsked => "the kubelet's port was not asked yet".to_owned(),
                Answer::Alive(code) => format!("the kubelet's port answers ({code})"),
                Answer::Dead(why) => format!("the kubelet's port does not answer: {why}"),
            };
            let message = format!("{}; {port}", reason.message);
            return (Health::Unknown, Reason::new(&reason.kind, message));
        }
    };
    let told = |health, kind: &str, message: String| (health, Reason::new(kind, message));
    match (unit.load_state.as_str(), unit.active_state.as_str()) {
        ("not-found", _) => told(
            Health::Unknown,
            "no-kubelet-unit",
            format!("this host has no {name}; if the kubelet runs under another name, set kubelet.unit"),
        ),
        ("masked", _) => {
            told(Health::Bad, "kubelet-masked", format!("{name} is masked; systemctl unmask {name} and start it"))
        }
        (_, "active" | "reloading" | "refreshing") => match seen.answer {
            Answer::Alive(code) => {
                told(Health::Good, "kubelet-healthy", format!("{name} is active and its port answers ({code})"))
            }
            Answer::NotAsked => {
                told(Health::Unknown, "kubelet-starting", format!("{name} is active; its port was not asked yet"))
            }
            Answer::Dead(_) if seen.starting => told(
                Health::Unknown,
                "kubelet-starting",
                format!("{name} is active and the kubelet is starting: its port does not answer yet"),
            ),
            Answer::Dead(why) if seen.budget_spent => told(
                Health::Bad,
                "kubelet-restart-budget-spent",
                format!(
                    "{name} is active but its port does not answer ({why}), and it was restarted as often as it may be: \
                     see journalctl -u {name}"
                ),
            ),
            Answer::Dead(why) => told(
                Health::Bad,
                "kubelet-not-answering",
                format!("{name} is active but its port does not answer: {why}"),
            ),
        },
        (_, "activating") => told(
            if unit.sub_state == "auto-restart" { Health::Bad } else { Health::Unknown },
            if unit.sub_state == "auto-restart" { "kubelet-restarting" } else { "kubelet-starting" },
            if unit.sub_state == "auto-restart" {
                format!("{name} has ended and systemd will start it again: see journalctl -u {name}")
            } else {
                format!("{name} is being started")
            },
        ),
        (_, state) => {
            told(Health::Bad, "kubelet-not-active", format!("{name} is {state}: see systemctl status {name}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_is_active_and_answering_and_nothing_less() {
        use Health::{Bad, Good, Unknown};
        let alive = Answer::Alive(401);
        let dead = Answer::Dead("connection refused".to_owned());
        let asked = Answer::NotAsked;
        for (name, states, answer, starting, spent, want) in [
            ("good", "loaded active running", &alive, false, false, (Good, "kubelet-healthy")),
            ("good again, budget or not", "loaded active running", &alive, true, true, (Good, "kubelet-healthy")),
            ("reloading", "loaded reloading reload", &alive, false, false, (Good, "kubelet-healthy")),
            ("not asked", "loaded active running", &asked, false, false, (Unknown, "kubelet-starting")),
            ("on its way", "loaded active running", &dead, true, false, (Unknown, "kubelet-starting")),
            ("wedged", "loaded active running", &dead, false, false, (Bad, "kubelet-not-answering")),
            ("given up", "loaded active running", &dead, false, true, (Bad, "kubelet-restart-budget-spent")),
            ("being started", "loaded activating start-pre", &dead, false, false, (Unknown, "kubelet-starting")),
            ("crash loop", "loaded activating auto-restart", &dead, false, false, (Bad, "kubelet-restarting")),
            (
                "stopped, though something answers",
                "loaded inactive dead",
                &alive,
                false,
                false,
                (Bad, "kubelet-not-active"),
            ),
            ("failed", "loaded failed failed", &dead, false, false, (Bad, "kubelet-not-active")),
            ("deactivating", "loaded deactivating stop-sigterm", &alive, false, false, (Bad, "kubelet-not-active")),
            ("masked", "masked inactive dead", &dead, false, false, (Bad, "kubelet-masked")),
            ("no such unit", "not-found inactive dead", &dead, false, false, (Unknown, "no-kubelet-unit")),
            ("nothing known", "", &asked, false, false, (Bad, "kubelet-not-active")),
        ] {
            let mut states = states.split(' ').map(str::to_owned);
            let unit = Unit {
                load_state: states.next().unwrap_or_default(),
                active_state: states.next().unwrap_or_default(),
                sub_state: states.next().unwrap_or_default(),
                main_pid: None,
            };
            let seen = Seen { name: "kubelet.service", unit: Ok(&unit), answer, starting, budget_spent: spent };
            let (health, reason) = judge(&seen);
            assert_eq!((health, reason.kind.as_str()), want, "{name}");
            assert!(reason.message.contains("kubelet.service"), "{name}: {}", reason.message);
        }
    }

    #[test]
    fn without_systemd_nothing_is_good() {
        let no_bus = Reason::new("no-system-bus", "there is no system bus");
        for (answer, part) in [
            (Answer::Alive(401), "answers (401)"),
            (Answer::Dead("timed out".to_owned()), "timed out"),
            (Answer::NotAsked, "not asked"),
        ] {
            let (health, reason) = judge(&Seen {
                name: "kubelet.service",
                unit: Err(&no_bus),
                answer: &answer,
                starting: false,
                budget_spent: false,
            });
            assert_eq!((health, reason.kind.as_str()), (Health::Unknown, "no-system-bus"));
            assert!(reason.message.contains(part), "{answer:?}: {}", reason.message);
        }
    }
}
