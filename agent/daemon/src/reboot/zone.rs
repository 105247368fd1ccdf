//! The time zone of the windows: a file of the host's own tz database.

use eyewall_core::config::Reboot;
use eyewall_core::status::Reason;
use jiff::tz::TimeZone;

use super::generic::Places;

/// A zone's file is some KiB.
const LARGEST: u64 = 1024 * 1024;

/// Reads the zone of `[reboot] time_zone`. Where there are no windows nobody asks for it.
///
/// # Errors
/// It cannot be read, so nobody knows when a window is open.
pub fn read(reboot: &Reboot, places: &Places) -> Result<TimeZone, Reason> {
    if reboot.windows.is_empty() || reboot.time_zone == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let path = match reboot.time_zone.as_str() {
        "localtime" => places.path("/etc/localtime"),
        // Looked at when the configuration was read: it leads nowhere else.
        name => places.path(&format!("/usr/share/zoneinfo/{name}")),
    };
    let fault = |why: String| {
        Reason::new(
            "time-zone-unreadable",
            format!(
                "the time zone {} of [reboot] cannot be read ({}: {why}), so nobody knows when a window is open; is tzdata installed?",
                reboot.time_zone,
                path.display()
            ),
        )
    };
    let size = std::fs::metadata(&path).map_err(|error| fault(error.to_string()))?.len();
    if size > LARGEST {
        return Err(fault(format!("{size} octets are no time zone")));
    }
    let data = std::fs::read(&path).map_err(|error| fault(error.to_string()))?;
    TimeZone::tzif(&reboot.time_zone, &data).map_err(|error| fault(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use eyewall_core::config::Config;
    use eyewall_core::config::{Source, read as read_config};

    use super::*;

    #[test]
    fn a_zone_is_read_only_where_a_window_asks_for_it() {
        let nothing = tempfile::tempdir().unwrap();
        let of = |zone: &str, windows: bool, root: &Path| {
            let mut reboot = Config::default().reboot;
            reboot.time_zone = zone.to_owned();
            if windows {
                let text = "[reboot]\nwindows = [{ days = [\"Sat\"], start = \"23:30\", length = \"2h\" }]\n";
                let source = Source { name: "x".to_owned(), text: text.to_owned() };
                reboot.windows = read_config(&[source]).expect("windows").reboot.windows;
            }
            read(&reboot, &Places::at(root)).map_err(|reason| reason.kind)
        };
        let missing = Err("time-zone-unreadable".to_owned());
        assert!(of("Europe/Berlin", false, nothing.path()).is_ok());
        assert!(of("UTC", true, nothing.path()).is_ok());
        assert_eq!(of("Europe/Berlin", true, nothing.path()).map(|_| ()), missing);
        let directory = nothing.path().join("usr/share/zoneinfo/Europe");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("Berlin"), "no tzif").unwrap();
        assert_eq!(of("Europe/Berlin", true, nothing.path()).map(|_| ()), missing);
    }
}
