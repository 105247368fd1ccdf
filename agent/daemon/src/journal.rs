//! Where log lines go: to the journal with their fields when stderr is the journal, else to stderr as plain text.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use eyewall_core::status::Reason;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The variable with the level of our own lines: `error`, `warn`, `info` (the default), `debug` or `trace`.
const LEVEL_VARIABLE: &str = "EYEWALL_LOG";

/// Where journald takes entries (systemd-journald.service(8)).
const SOCKET: &str = "/run/systemd/journal/socket";

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// The journal, with fields and MESSAGE_ID.
    Journal,
    /// Plain text.
    Stderr,
}

/// Sends all that is traced from now on to the journal or to stderr, and says which. A second call changes nothing.
pub fn init() -> Sink {
    let level = level(std::env::var(LEVEL_VARIABLE).ok().as_deref());
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let (device, inode) = nix::sys::stat::fstat(std::io::stderr()).map_or((0, 0), |stat| (stat.st_dev, stat.st_ino));
    if is_journal(stream.as_deref(), device, inode)
        && let Ok(journal) = tracing_journald::layer()
    {
        let journal = journal
            .with_field_prefix(None)
            .with_syslog_identifier("eyewall".to_owned())
            // The crate's own mapping sends INFO as notice.
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            });
        let _ = tracing_subscriber::registry().with(journal.with_filter(ours(level))).try_init();
        return Sink::Journal;
    }
    let _ = tracing_subscriber::registry().with(Plain.with_filter(ours(level))).try_init();
    Sink::Stderr
}

/// Why events are not in the journal, if they are not. Asked again, since a journald that is away may come back.
pub fn limit(sink: Sink) -> Option<Reason> {
    match sink {
        Sink::Stderr => Some(Reason::new(
            "no-journal",
            "The agent's stderr is not the journal, so events are plain text there and have no MESSAGE_ID. Start it by eyewall.service.",
        )),
        Sink::Journal => {
            let socket = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET));
            socket.err().map(|error| {
                Reason::new(
                    "no-journal",
                    format!("journald does not listen at {SOCKET} ({error}), so events are lost. Is it running?"),
                )
            })
        }
    }
}

/// Is this stderr the journal's stream? systemd.exec(5): `$JOURNAL_STREAM` is `device:inode` in decimal, and must be
/// compared, because stderr may have been sent elsewhere since.
fn is_journal(stream: Option<&str>, device: u64, inode: u64) -> bool {
    let parse = |text: &str| text.parse::<u64>().ok();
    stream
        .and_then(|text| text.split_once(':'))
        .and_then(|(d, i)| Some((parse(d)?, parse(i)?)))
        .is_some_and(|there| there == (device, inode))
}

/// An unknown word is `info`: a typing error must not silence the agent.
fn level(word: Option<&str>) -> LevelFilter {
    word.and_then(|word| word.parse().ok()).unwrap_or(LevelFilter::INFO)
}

/// Our lines at `level`; of other crates only what went wrong.
fn ours(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("eyewall", level)
        .with_target("eyewall_core", level)
}

/// `INFO certificate-installed: a sentence (csr=node-csr-a serial=0f)`; nothing else knows how an event looks as text.
struct Plain;

impl<S: Subscriber> Layer<S> for Plain {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = line(event.metadata().level(), |visitor| event.record(visitor));
        line.push('\n');
        // One write, so that lines of two processes do not mix; if stderr is gone there is nowhere to say so.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn line(level: &Level, record: impl FnOnce(&mut dyn Visit)) -> String {
    let mut text = Text::default();
    record(&mut text);
    let mut line = format!("{level:<5} ");
    if !text.event.is_empty() {
        line.push_str(&text.event);
        line.push_str(": ");
    }
    line.push_str(&text.message);
    if !text.fields.is_empty() {
        let _ = write!(line, " ({})", text.fields.trim_start());
    }
    line
}

#[derive(Default)]
struct Text {
    event: String,
    message: String,
    fields: String,
}

impl Text {
    fn put(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let _ = match name {
            "message" => self.message.write_fmt(value),
            "eyewall_event" => self.event.write_fmt(value),
            // For machines; stderr has none that reads it.
            "message_id" => Ok(()),
            name => {
                let name = name.strip_prefix("eyewall_").unwrap_or(name);
                write!(self.fields, " {name}={value}")
            }
        };
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_stream_must_be_this_stderr() {
        for (name, stream, want) in [
            ("the same", Some("9:1234"), true),
            ("not set", None, false),
            ("another inode", Some("9:1235"), false),
            ("another device", Some("8:1234"), false),
            ("no colon", Some("91234"), false),
            ("no numbers", Some("a:b"), false),
            ("empty", Some(""), false),
        ] {
            assert_eq!(is_journal(stream, 9, 1234), want, "{name}");
        }
    }

    #[test]
    fn levels_are_words() {
        for (word, want) in [
            (None, LevelFilter::INFO),
            (Some("debug"), LevelFilter::DEBUG),
            (Some("WARN"), LevelFilter::WARN),
            (Some("loud"), LevelFilter::INFO),
        ] {
            assert_eq!(level(word), want, "{word:?}");
        }
    }

    #[test]
    fn other_crates_are_quiet() {
        let filter = ours(LevelFilter::DEBUG);
        for (target, level, want) in [
            ("eyewall", Level::DEBUG, true),
            ("eyewall::run", Level::DEBUG, true),
            ("eyewall", Level::TRACE, false),
            ("zbus::connection", Level::INFO, false),
            ("zbus", Level::WARN, true),
        ] {
            assert_eq!(filter.would_enable(target, &level), want, "{target} {level}");
        }
    }

    /// Keeps the lines instead of printing them.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let line = line(event.metadata().level(), |visitor| event.record(visitor));
            self.0.lock().expect("one thread").push(line);
        }
    }

    #[test]
    fn a_line_reads_well() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(kept.clone());
        tracing::subscriber::with_default(subscriber, || {
            crate::events::Events::new().emit(
                &eyewall_core::event::PEER_REFUSED,
                "only root may renew",
                &[("uid", "1000"), ("pid", "7")],
            );
            tracing::info!("plain");
        });
        assert_eq!(
            *kept.0.lock().expect("one thread"),
            ["WARN  peer-refused: only root may renew (pid=7 uid=1000)", "INFO  plain"]
        );
    }
}
