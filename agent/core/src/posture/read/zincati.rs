//! Zincati's configuration: TOML fragments from three directories, merged as Zincati merges them.

use serde::{Deserialize, Serialize};

use super::ReadFault;
use super::exposition::Samples;
use super::fault::bounded;

/// The directories, weakest first: of two files of one name the later directory's is used (zincati `src/config/mod.rs`).
pub const DIRECTORIES: [&str; 3] = ["/usr/lib/zincati/config.d", "/run/zincati/config.d", "/etc/zincati/config.d"];

/// Shipped fragments are under 1 KiB.
const LARGEST: usize = 64 * 1024;

/// What the merged configuration says, as far as it is about updates. `None`: Zincati's own default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `updates.enabled`; default true.
    pub enabled: Option<Set<bool>>,
    /// `updates.strategy`; default `immediate`.
    pub strategy: Option<Set<String>>,
    /// `updates.allow_downgrade`; default false.
    pub allow_downgrade: Option<Set<bool>>,
    /// `updates.fleet_lock.base_url`.
    pub fleet_lock: Option<Set<String>>,
    /// `cincinnati.base_url`; default Fedora's.
    pub base_url: Option<Set<String>>,
    /// Number of files that were merged.
    pub files: usize,
}

/// A value, and the file that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T> {
    /// The value.
    pub value: T,
    /// The file.
    pub file: String,
}

#[derive(Deserialize, Default)]
struct Fragment {
    #[serde(default)]
    updates: Updates,
    #[serde(default)]
    cincinnati: Cincinnati,
}

#[derive(Deserialize, Default)]
struct Updates {
    enabled: Option<bool>,
    strategy: Option<String>,
    allow_downgrade: Option<bool>,
    #[serde(default)]
    fleet_lock: FleetLock,
}

#[derive(Deserialize, Default)]
struct FleetLock {
    base_url: Option<String>,
}

#[derive(Deserialize, Default)]
struct Cincinnati {
    base_url: Option<String>,
}

/// Merges `files`, each a whole path and its text, in any order. What does not end in `.toml` or begins with a dot is
/// passed over; a file of no bytes is one that was masked.
///
/// # Errors
/// A fault, with the file it is in. Zincati does not start with such a file.
pub fn merge<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Settings, ReadFault> {
    let mut chosen: Vec<(&str, usize, &str, &str)> = Vec::new();
    for (path, text) in files {
        let Some((directory, name)) = path.rsplit_once('/') else { continue };
        let Some(rank) = DIRECTORIES.iter().position(|known| directory == *known) else { continue };
        if !name.ends_with(".toml") || name.starts_with('.') {
            continue;
        }
        match chosen.iter_mut().find(|(other, ..)| *other == name) {
            Some(there) if there.1 < rank => *there = (name, rank, path, text),
            Some(_) => {}
            None => chosen.push((name, rank, path, text)),
        }
    }
    chosen.sort_unstable_by_key(|(name, ..)| *name);

    let mut settings = Settings::default();
    for (_, _, path, text) in chosen {
        settings.files += 1;
        if text.trim().is_empty() {
            continue;
        }
        let text = bounded(text, LARGEST).map_err(|fault| fault.within(path))?;
        let fragment: Fragment = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(0, |before| before.matches('\n').count() + 1);
            ReadFault::Malformed { format: "TOML of the known shape", line }.within(path)
        })?;
        settings.take(fragment, path);
    }
    Ok(settings)
}

impl Settings {
    fn take(&mut self, fragment: Fragment, path: &str) {
        fn set<T>(slot: &mut Option<Set<T>>, value: Option<T>, path: &str) {
            if let Some(value) = value {
                *slot = Some(Set { value, file: path.to_owned() });
            }
        }
        set(&mut self.enabled, fragment.updates.enabled, path);
        set(&mut self.strategy, fragment.updates.strategy, path);
        set(&mut self.allow_downgrade, fragment.updates.allow_downgrade, path);
        set(&mut self.fleet_lock, fragment.updates.fleet_lock.base_url, path);
        set(&mut self.base_url, fragment.cincinnati.base_url, path);
    }
}

/// A fragment without a name and password in its URLs.
pub fn without_credentials(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        kept.push_str(before);
        kept.push_str("://");
        let host = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'));
        let authority = after.get(..host.unwrap_or(after.len())).unwrap_or(after);
        rest = match authority.rfind('@') {
            Some(at) => after.get(at + 1..).unwrap_or_default(),
            None => after,
        };
    }
    kept.push_str(rest);
    kept
}

/// What Zincati says of itself on `/run/zincati/public/metrics.promsock`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The update logic runs: `updates.enabled` was true when it started.
    pub updates_enabled: bool,
    /// Seconds since 1970 at its last turn; 0 before the first.
    pub last_refresh: u64,
    /// Times that it asked for an update since it started.
    pub checks: u64,
    /// Of these, failed.
    pub check_errors: u64,
    /// Times that a release could not be staged.
    pub deploy_failures: u64,
    /// Times that a staged release could not be finalized.
    pub finalize_failures: u64,
    /// No update leads out of the booted release.
    pub dead_end: bool,
}

impl Metrics {
    /// Takes what is judged from a page.
    ///
    /// # Errors
    /// [`ReadFault::Missing`]: a page without a series that every Zincati has is not Zincati's. A counter that is
    /// absent has not counted yet.
    pub fn of(page: &Samples) -> Result<Self, ReadFault> {
        let flag = |name: &'static str| match page.one(name) {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(ReadFault::Missing(name)),
        };
        let count = |name| whole(page.sum(name).unwrap_or(0.0)).ok_or(ReadFault::Missing(name));
        let last_refresh = page.one("zincati_update_agent_last_refresh_timestamp").and_then(whole);
        Ok(Self {
            updates_enabled: flag("zincati_update_agent_updates_enabled")?,
            last_refresh: last_refresh.ok_or(ReadFault::Missing("zincati_update_agent_last_refresh_timestamp"))?,
            checks: count("zincati_cincinnati_update_checks_total")?,
            check_errors: count("zincati_cincinnati_update_checks_errors_total")?,
            deploy_failures: count("zincati_rpm_ostree_deploy_failures_total")?,
            finalize_failures: count("zincati_rpm_ostree_finalize_failures_total")?,
            dead_end: flag("zincati_cincinnati_booted_release_is_deadend")?,
        })
    }
}

/// A count or an instant as a sample carries it; none is negative, and none passes 2^53.
fn whole(value: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..=EXACT).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFF: &str = "[updates]\nenabled = false\n";
    const ON: &str = "[updates]\nenabled = true\nstrategy = \"periodic\"\n";

    #[test]
    fn fragments_are_merged_as_zincati_does() {
        for (name, files, enabled, from) in [
            ("none", &[][..], None, ""),
            (
                "one",
                &[("/etc/zincati/config.d/90-off.toml", OFF)][..],
                Some(false),
                "/etc/zincati/config.d/90-off.toml",
            ),
            (
                "the later name wins, whatever its directory",
                &[("/etc/zincati/config.d/10-on.toml", ON), ("/usr/lib/zincati/config.d/90-off.toml", OFF)],
                Some(false),
                "/usr/lib/zincati/config.d/90-off.toml",
            ),
            (
                "of one name the later directory's",
                &[
                    ("/etc/zincati/config.d/90-x.toml", ON),
                    ("/run/zincati/config.d/90-x.toml", OFF),
                    ("/usr/lib/zincati/config.d/90-x.toml", OFF),
                ],
                Some(true),
                "/etc/zincati/config.d/90-x.toml",
            ),
            (
                "an empty one masks",
                &[("/usr/lib/zincati/config.d/90-off.toml", OFF), ("/etc/zincati/config.d/90-off.toml", "")],
                None,
                "",
            ),
            (
                "not a fragment",
                &[
                    ("/etc/zincati/config.d/90-off.toml.bak", OFF),
                    ("/etc/zincati/config.d/.a.toml", OFF),
                    ("/etc/a.toml", OFF),
                ],
                None,
                "",
            ),
            (
                "what a file does not say stays",
                &[
                    ("/etc/zincati/config.d/50-off.toml", OFF),
                    (
                        "/etc/zincati/config.d/51-x.toml",
                        "[updates]\nstrategy = \"immediate\"\n[identity]\ngroup = \"a\"\n",
                    ),
                ],
                Some(false),
                "/etc/zincati/config.d/50-off.toml",
            ),
        ] {
            let settings = merge(files.iter().copied()).expect(name);
            assert_eq!(settings.enabled.as_ref().map(|set| set.value), enabled, "{name}");
            assert_eq!(settings.enabled.as_ref().map_or("", |set| set.file.as_str()), from, "{name}");
            // The order in which a directory is listed does not matter.
            assert_eq!(merge(files.iter().rev().copied()).expect(name), settings, "{name}");
        }
    }

    #[test]
    fn a_broken_fragment_is_named() {
        for (name, text, want) in [
            (
                "syntax",
                "[updates]\nenabled = \n",
                "/etc/zincati/config.d/9.toml: it is no TOML of the known shape (line 2)",
            ),
            (
                "type",
                "[updates]\nenabled = \"no\"\n",
                "/etc/zincati/config.d/9.toml: it is no TOML of the known shape (line 2)",
            ),
            ("NUL", "a\0", "/etc/zincati/config.d/9.toml: it is not text"),
        ] {
            let fault = merge([("/etc/zincati/config.d/9.toml", text)]).unwrap_err();
            assert_eq!(fault.to_string(), want, "{name}");
        }
    }

    #[test]
    fn urls_lose_their_passwords() {
        for (text, want) in [
            ("base_url = \"https://me:secret@x.example/a\"\n", "base_url = \"https://x.example/a\"\n"),
            ("a = \"http://x\" # mail me@y\n", "a = \"http://x\" # mail me@y\n"),
            ("http://a@b@c", "http://c"),
            ("://://@", "://://"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_credentials(text), want);
        }
    }

    #[test]
    fn metrics_are_taken_from_a_page() {
        let page = "zincati_update_agent_updates_enabled 1\nzincati_update_agent_last_refresh_timestamp 1782000000\n\
            zincati_cincinnati_booted_release_is_deadend 0\nzincati_cincinnati_update_checks_total 9\n\
            zincati_cincinnati_update_checks_errors_total{kind=\"a\"} 1\nzincati_cincinnati_update_checks_errors_total{kind=\"b\"} 2\n";
        let of = |text: &str| Samples::parse(text).and_then(|page| Metrics::of(&page));
        let metrics = of(page).expect("metrics");
        assert!(metrics.updates_enabled && !metrics.dead_end);
        assert_eq!((metrics.last_refresh, metrics.checks, metrics.check_errors), (1_782_000_000, 9, 3));
        for (name, text) in [
            ("another page", "up 1\n".to_owned()),
            ("no flag", page.replace("updates_enabled 1", "updates_enabled 2")),
            ("twice", format!("{page}zincati_update_agent_updates_enabled 0\n")),
            ("negative", page.replace("1782000000", "-1")),
            ("not a number", page.replace("1782000000", "NaN")),
        ] {
            assert!(of(&text).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_merged_or_a_fault(text in "(?s).{0,200}") {
            let _ = (merge([("/etc/zincati/config.d/9.toml", text.as_str())]), without_credentials(&text));
        }
    }
}
