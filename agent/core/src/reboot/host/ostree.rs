//! rpm-ostree's deployments, and what its daemon answers to `FinalizeDeployment` (rpm-ostree, src/daemon).

use crate::reboot::Release;

/// One row of `org.projectatomic.rpmostree1.Sysroot.Deployments`: the keys that matter here, by their D-Bus names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// `osname`
    pub osname: String,
    /// `version`; a locally made one may have none.
    pub version: String,
    /// `checksum`: of the commit that is deployed, layers included.
    pub checksum: String,
    /// `base-checksum`: of the commit below the layers, where there are any. It is the one that `FinalizeDeployment` compares.
    pub base_checksum: Option<String>,
    /// `booted`
    pub booted: bool,
    /// `staged`: written when the host goes down.
    pub staged: bool,
    /// `finalization-locked`: staged with `--lock-finalization` (as Zincati does it), so that no reboot but a finalised one takes it.
    pub locked: bool,
}

impl Deployment {
    /// As a release. Without a version its checksum names it, as `rpm-ostree status` does.
    pub fn release(&self) -> Release {
        let version = if self.version.is_empty() { &self.checksum } else { &self.version };
        Release { version: version.clone(), checksum: Some(self.checksum.clone()) }
    }

    /// The checksum that `FinalizeDeployment` expects.
    pub fn expected(&self) -> &str {
        self.base_checksum.as_deref().unwrap_or(&self.checksum)
    }
}

/// What the next boot takes, if another than what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// What runs.
    Same,
    /// It is staged, and only `FinalizeDeployment` lets it be taken.
    Locked(&'a Deployment),
    /// It is staged, and any orderly reboot takes it.
    Unlocked(&'a Deployment),
    /// It is written already, as after a rollback: any reboot takes it.
    Written(&'a Deployment),
}

impl<'a> Next<'a> {
    /// The deployment; none if it is what runs.
    pub fn deployment(self) -> Option<&'a Deployment> {
        match self {
            Self::Same => None,
            Self::Locked(deployment) | Self::Unlocked(deployment) | Self::Written(deployment) => Some(deployment),
        }
    }
}

/// What the next boot takes: the first of the list (rpm-ostree keeps it in the order of the boot menu).
pub fn next(deployments: &[Deployment]) -> Next<'_> {
    match deployments.first() {
        Some(first) if first.staged && first.locked => Next::Locked(first),
        Some(first) if first.staged => Next::Unlocked(first),
        Some(first) if !first.booted && deployments.iter().any(|deployment| deployment.booted) => Next::Written(first),
        _ => Next::Same,
    }
}

/// Why a transaction of rpm-ostreed failed, by its words: it has no error names for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinalizeError {
    /// Somebody holds a block lock of logind.
    Blocked {
        /// Who, by his own account.
        who: String,
        /// Why, by his own account.
        why: String,
    },
    /// It was unlocked before: by a finalisation whose reboot never came, or it was staged without the lock.
    AlreadyUnlocked,
    /// Nothing is staged, or something else than what was to be finalised.
    Changed(String),
    /// rpm-ostreed has asked for a reboot and takes no transaction any more.
    Rebooting,
    /// Another transaction runs.
    Busy(String),
    /// Anything else.
    Other(String),
}

impl FinalizeError {
    /// From rpm-ostreed's words.
    pub fn read(message: &str) -> Self {
        let words = message.trim();
        // An error may come with the name of its domain in front (GDBus.Error:...: ), so nothing is compared from its start.
        if words.contains("Reboot blocked by a systemd inhibitor lock") {
            let after = |mark: &str| {
                let line = words.lines().find_map(|line| line.trim_start().strip_prefix(mark));
                line.map(|rest| rest.trim().to_owned()).unwrap_or_default()
            };
            return Self::Blocked { who: after("Held by:"), why: after("Reason:") };
        }
        let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.contains("already unlocked") {
            Self::AlreadyUnlocked
        } else if words.contains("No pending staged deployment")
            || words.contains("No deployments found")
            || words.contains("Expected staged base checksum")
            || words.contains("not for osname")
        {
            Self::Changed(one_line)
        } else if words.contains("Reboot initiated") {
            Self::Rebooting
        } else if words.contains("ransaction in progress") {
            Self::Busy(one_line)
        } else {
            Self::Other(one_line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(version: &str, flags: &str) -> Deployment {
        let has = |flag| flags.split(' ').any(|word| word == flag);
        Deployment {
            osname: "fedora-coreos".to_owned(),
            version: version.to_owned(),
            checksum: format!("{version}-checksum"),
            base_checksum: has("layered").then(|| format!("{version}-base")),
            booted: has("booted"),
            staged: has("staged"),
            locked: has("locked"),
        }
    }

    #[test]
    fn the_first_is_what_the_next_boot_takes() {
        let (booted, old) = (deployment("44.1", "booted"), deployment("44.0", ""));
        let (locked, unlocked) = (deployment("44.2", "staged locked"), deployment("44.2", "staged"));
        for (name, rows, want) in [
            ("nothing new", vec![booted.clone(), old.clone()], Next::Same),
            ("staged and locked", vec![locked.clone(), booted.clone(), old.clone()], Next::Locked(&locked)),
            ("staged and free", vec![unlocked.clone(), booted.clone()], Next::Unlocked(&unlocked)),
            ("rolled back", vec![old.clone(), booted.clone()], Next::Written(&old)),
            ("nothing booted: a live system", vec![old.clone()], Next::Same),
            ("no deployment", vec![], Next::Same),
        ] {
            assert_eq!(next(&rows), want, "{name}");
        }
    }

    #[test]
    fn what_is_finalised_is_the_base() {
        let (plain, layered) = (deployment("44.2", ""), deployment("44.2", "layered"));
        assert_eq!((plain.expected(), layered.expected()), ("44.2-checksum", "44.2-base"));
        assert_eq!(layered.release().checksum.as_deref(), Some("44.2-checksum"));
        assert_eq!(deployment("", "").release().version, "-checksum");
    }

    #[test]
    fn rpm_ostreeds_words_are_understood() {
        let blocked = |who: &str, why: &str| FinalizeError::Blocked { who: who.to_owned(), why: why.to_owned() };
        for (name, words, want) in [
            (
                "blocked",
                "Reboot blocked by a systemd inhibitor lock in `block` mode\nHeld by: eyewall\nReason: no slot: it is node-b's",
                blocked("eyewall", "no slot: it is node-b's"),
            ),
            (
                "blocked by several",
                "GDBus.Error:org.projectatomic.rpmostreed.Error.Failed: Reboot blocked by a systemd inhibitor lock in `block` mode\n\
                 Held by: backup\nReason: running\nand 2 other blocking inhibitor lock(s)\nUse `systemd-inhibit --list` to see details",
                blocked("backup", "running"),
            ),
            ("the wedge", "Staged deployment already unlocked", FinalizeError::AlreadyUnlocked),
            (
                "gone",
                "No pending staged deployment found",
                FinalizeError::Changed("No pending staged deployment found".to_owned()),
            ),
            (
                "another",
                "Expected staged base checksum aa, but found bb",
                FinalizeError::Changed("Expected staged base checksum aa, but found bb".to_owned()),
            ),
            ("going down", "Reboot initiated, cannot start new transaction", FinalizeError::Rebooting),
            (
                "busy",
                "System transaction in progress",
                FinalizeError::Busy("System transaction in progress".to_owned()),
            ),
            (
                "busy, by name",
                "Transaction in progress: upgrade\n You can cancel the current transaction with `rpm-ostree cancel`",
                FinalizeError::Busy(
                    "Transaction in progress: upgrade You can cancel the current transaction with `rpm-ostree cancel`"
                        .to_owned(),
                ),
            ),
            ("anything", "opendir(ostree/repo): no\n", FinalizeError::Other("opendir(ostree/repo): no".to_owned())),
        ] {
            assert_eq!(FinalizeError::read(words), want, "{name}");
        }
    }
}
