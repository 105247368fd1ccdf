//! logind's rows, words and numbers (org.freedesktop.login1(5), systemd's INHIBITOR_LOCKS).

use std::time::Duration;

use serde::Deserialize;

use crate::status::Reason;

/// One row of `ListInhibitors`: `(ssssuu)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibitor {
    /// Colon list: `shutdown`, `sleep`, `idle`, ...
    pub what: String,
    /// Who, by his own account.
    pub who: String,
    /// Why, by his own account.
    pub why: String,
    /// `block`, `delay` or `block-weak`.
    pub mode: String,
    /// The user that took it.
    pub uid: u32,
    /// The process that took it; it may have passed it on.
    pub pid: u32,
}

impl Inhibitor {
    /// It concerns shutdowns, reboots included.
    pub fn is_shutdown(&self) -> bool {
        self.what.split(':').any(|what| what == "shutdown")
    }

    /// It keeps the host up, for everybody: mode `block`. What rpm-ostreed looks for.
    pub fn blocks_shutdown(&self) -> bool {
        self.is_shutdown() && self.mode == "block"
    }

    /// One line for people.
    pub fn named(&self) -> String {
        let plain = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(256).collect() };
        format!("{:?} (pid {}) says {:?}", plain(&self.who), self.pid, plain(&self.why))
    }
}

/// Whom a `block` lock binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semantics {
    /// systemd up to 256: root's own reboots pass it. rpm-ostreed heeds it all the same.
    RootPasses,
    /// systemd from 257: root too, unless he says that he knows (`systemctl reboot -i`).
    BindsRoot,
}

impl Semantics {
    /// By systemd's version (systemd v257, NEWS).
    pub fn of(version: u32) -> Self {
        if version >= 257 { Self::BindsRoot } else { Self::RootPasses }
    }
}

/// The number in systemd's `Version`: `257.9-1~deb13u1`, `252.38-1~deb12u1`, `v258~rc1`. None: there is none.
pub fn systemd_version(text: &str) -> Option<u32> {
    let digits: String =
        text.trim_start_matches(|c: char| !c.is_ascii_digit()).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What logind means by an error, as far as its name and words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogindError {
    /// A block lock is held. Several versions have said it in several ways; who holds it says `ListInhibitors`.
    Blocked,
    /// A block lock is held, or `reboot.target` is masked, or the caller may not: 257 says no more than `AccessDenied`.
    Denied,
    /// A shutdown is under way already.
    InProgress,
    /// This logind does not know the method (RebootWithFlags is of systemd 249).
    UnknownMethod,
    /// Anything else.
    Other,
}

impl LogindError {
    /// From a D-Bus error's name and message.
    pub fn read(name: &str, message: &str) -> Self {
        let says_inhibitor = message.contains("block inhibitor") || message.contains("inhibited");
        match name {
            "org.freedesktop.login1.BlockedByInhibitorLock" => Self::Blocked,
            "org.freedesktop.DBus.Error.AccessDenied" if says_inhibitor => Self::Blocked,
            // Early 257 asked root for his password here (systemd#36786).
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
            | "org.freedesktop.DBus.Error.AccessDenied" => Self::Denied,
            "org.freedesktop.login1.OperationInProgress" => Self::InProgress,
            "org.freedesktop.DBus.Error.UnknownMethod" => Self::UnknownMethod,
            _ => Self::Other,
        }
    }
}

/// The one key of the kubelet's configuration that needs time of logind. YAML or JSON; a Go duration, `0s` by default.
#[derive(Deserialize)]
struct Grace {
    #[serde(rename = "shutdownGracePeriod")]
    shutdown_grace_period: Option<String>,
}

/// Larger than any kubelet's configuration.
const CONFIG_MAX: usize = 1 << 20;

/// Whether logind gives a shutdown less time (`max`: InhibitDelayMaxUSec) than the kubelet's `shutdownGracePeriod` asks for. The kubelet then
/// raises it by a file of its own, which in a container never reaches the host, and ends its pods too early or not at all
/// (k/k, pkg/kubelet/nodeshutdown).
///
/// # Errors
/// The configuration cannot be read, so nothing is known.
pub fn delay_drift(max: Duration, kubelet_config: &str) -> Result<Option<Reason>, Reason> {
    let unknown = |why: String| {
        Reason::new(
            "shutdown-grace-unknown",
            format!("How long the kubelet's pods may take to end at a reboot is not known: its configuration {why}."),
        )
    };
    if kubelet_config.len() > CONFIG_MAX {
        return Err(unknown(format!("is larger than {CONFIG_MAX} bytes")));
    }
    let grace: Grace =
        serde_saphyr::from_str(kubelet_config).map_err(|_| unknown("is not YAML of the known shape".to_owned()))?;
    let Some(text) = grace.shutdown_grace_period else { return Ok(None) };
    let Some(wanted) = go_duration(&text) else {
        return Err(unknown(format!("says shutdownGracePeriod: {text:?}, which is no duration")));
    };
    if wanted <= max {
        return Ok(None);
    }
    let (wanted, max) = (wanted.as_secs_f64(), max.as_secs_f64());
    Ok(Some(Reason::new(
        "shutdown-delay-short",
        format!(
            "At a reboot the kubelet asks for {wanted} s to end its pods, and logind gives {max} s: put InhibitDelayMaxSec={wanted:.0}s into \
             a file of /etc/systemd/logind.conf.d and reload systemd-logind."
        ),
    )))
}

/// Go's `time.ParseDuration`, without its sign: `45s`, `1m30s`, `1.5h`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0_f64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * length;
        rest = tail;
    }
    if text.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_on_shutdown_is_told_from_the_rest() {
        for (what, mode, want) in [
            ("shutdown", "block", true),
            ("sleep:shutdown:idle", "block", true),
            ("shutdown", "delay", false),
            ("shutdown", "block-weak", false),
            ("sleep:idle", "block", false),
            ("handle-power-key", "block", false),
        ] {
            let row = Inhibitor {
                what: what.to_owned(),
                who: "backup\u{1b}[2J".to_owned(),
                why: "runs".to_owned(),
                mode: mode.to_owned(),
                uid: 0,
                pid: 7,
            };
            assert_eq!(row.blocks_shutdown(), want, "{what} {mode}");
            assert_eq!(row.named(), r#""backup[2J" (pid 7) says "runs""#);
        }
    }

    #[test]
    fn the_version_says_whom_a_block_binds() {
        use Semantics::{BindsRoot, RootPasses};
        for (text, version, semantics) in [
            ("257.9-1~deb13u1", Some(257), Some(BindsRoot)),
            ("252.38-1~deb12u1", Some(252), Some(RootPasses)),
            ("256", Some(256), Some(RootPasses)),
            ("v258~rc1", Some(258), Some(BindsRoot)),
            ("systemd", None, None),
            ("", None, None),
        ] {
            let read = systemd_version(text);
            assert_eq!((read, read.map(Semantics::of)), (version, semantics), "{text}");
        }
    }

    #[test]
    fn logind_says_no_in_many_ways() {
        let denied = "org.freedesktop.DBus.Error.AccessDenied";
        let blocked = "org.freedesktop.login1.BlockedByInhibitorLock";
        for (name, message, want) in [
            (blocked, "Operation denied due to active block inhibitor", LogindError::Blocked),
            (denied, "Access denied due to active block inhibitor", LogindError::Blocked),
            (denied, "Access denied", LogindError::Denied),
            (denied, "Permission denied", LogindError::Denied),
            (
                "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
                "Interactive authentication required.",
                LogindError::Denied,
            ),
            (
                "org.freedesktop.login1.OperationInProgress",
                "There's already a shutdown or sleep operation in progress",
                LogindError::InProgress,
            ),
            (
                "org.freedesktop.DBus.Error.UnknownMethod",
                "Unknown method RebootWithFlags or interface org.freedesktop.login1.Manager.",
                LogindError::UnknownMethod,
            ),
            ("org.freedesktop.systemd1.TransactionIsDestructive", "x", LogindError::Other),
        ] {
            assert_eq!(LogindError::read(name, message), want, "{name} {message}");
        }
    }

    #[test]
    fn too_little_time_for_the_pods_is_reported() {
        let kind = |max, config: &str| match delay_drift(Duration::from_secs(max), config) {
            Ok(None) => "good".to_owned(),
            Ok(Some(reason)) | Err(reason) => reason.kind,
        };
        let typhoon = "kind: KubeletConfiguration\nshutdownGracePeriod: 45s\nshutdownGracePeriodCriticalPods: 30s\n";
        for (name, max, config, want) in [
            ("Typhoon's", 45, typhoon, "good"),
            ("logind's default", 5, typhoon, "shutdown-delay-short"),
            ("no graceful shutdown", 5, "kind: KubeletConfiguration\n", "good"),
            ("off", 5, "shutdownGracePeriod: 0s\n", "good"),
            ("minutes", 45, "shutdownGracePeriod: 1m30s\n", "shutdown-delay-short"),
            ("JSON", 45, r#"{"shutdownGracePeriod": "1.5m"}"#, "shutdown-delay-short"),
            ("no duration", 45, "shutdownGracePeriod: soon\n", "shutdown-grace-unknown"),
            ("a number", 45, "shutdownGracePeriod: {}\n", "shutdown-grace-unknown"),
            ("no YAML", 45, "{[", "shutdown-grace-unknown"),
        ] {
            assert_eq!(kind(max, config), want, "{name}");
        }
    }

    #[test]
    fn go_writes_durations_so() {
        for (text, want) in [
            ("45s", Some(45_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("", None),
            ("45", None),
            ("s", None),
            ("-5s", None),
            ("5x", None),
        ] {
            assert_eq!(go_duration(text).map(|span| span.as_millis()), want, "{text:?}");
        }
    }
}
