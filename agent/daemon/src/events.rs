//! Emits events: one journal entry, one record in the ring that `GET /v1/events` serves, one message to who follows.
//!
//! It does not judge whether something is news: that an event is sent on change only is its caller's duty.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eyewall_core::event::{Event, FIELDS, Priority};
use eyewall_core::status::EventRecord;
use eyewall_core::time::Time;
use tokio::sync::broadcast;

/// Records kept for `GET /v1/events`: about a fortnight of a quiet node, and no more than some 300 kB.
pub const KEPT: usize = 256;
/// Records a follower may be behind before it misses some; it sees the gap in the sequence.
const BEHIND: usize = 64;

/// The one way to tell that something happened. Clones share the ring.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    followers: broadcast::Sender<Arc<EventRecord>>,
}

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    records: VecDeque<Arc<EventRecord>>,
}

impl Events {
    /// An empty story. Entries go where [`crate::journal::init`] sent them.
    pub fn new() -> Self {
        Self(Arc::new(Shared { ring: Mutex::default(), followers: broadcast::Sender::new(BEHIND) }))
    }

    /// Tells `event`. `message` is the sentence a person reads; the names of `fields` are those of
    /// [`eyewall_core::event::FIELDS`] (another one is a mistake that tests stop at, and is left out).
    pub fn emit(&self, event: &'static Event, message: impl Into<String>, fields: &[(&'static str, &str)]) {
        let message = message.into();
        for (name, _) in fields {
            debug_assert!(FIELDS.contains(name), "{}: no field {name}", event.name);
        }
        write(event, &message, &Values(fields));
        self.keep(event, message, fields);
    }

    /// The records that are kept, oldest first.
    pub fn recent(&self) -> Vec<Arc<EventRecord>> {
        self.ring().records.iter().cloned().collect()
    }

    /// The records that are kept and all that come after them: none twice, none left out between the two.
    pub fn follow(&self) -> (Vec<Arc<EventRecord>>, broadcast::Receiver<Arc<EventRecord>>) {
        let ring = self.ring();
        let receiver = self.0.followers.subscribe();
        (ring.records.iter().cloned().collect(), receiver)
    }

    fn keep(&self, event: &'static Event, message: String, fields: &[(&'static str, &str)]) {
        let mut ring = self.ring();
        ring.last += 1;
        let record = Arc::new(EventRecord {
            sequence: ring.last,
            // Whole seconds, as they are told: what is read back is what was kept.
            at: Time::from_unix(Time(crate::clock::now()).unix()),
            event: event.name.to_owned(),
            message_id: event.id.to_owned(),
            message,
            fields: fields
                .iter()
                .filter(|(name, _)| FIELDS.contains(name))
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        });
        if ring.records.len() == KEPT {
            ring.records.pop_front();
        }
        ring.records.push_back(Arc::clone(&record));
        // Nobody following is no fault. Sent under the lock, so that `follow` sees each record once.
        let _ = self.0.followers.send(record);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

/// The fields of one call; asked for by name, because `tracing` wants each name at compile time.
struct Values<'a>(&'a [(&'static str, &'a str)]);

impl<'a> Values<'a> {
    /// The value of `eyewall_<name>`. An absent one is `None`, which is not sent.
    fn get(&self, name: &str) -> Option<&'a str> {
        let name = name.strip_prefix("eyewall_")?;
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }
}

/// One entry with every field of its kind of event: `tracing` has room for 32 in all, so there are several kinds. A test holds
/// all lists against [`FIELDS`].
macro_rules! entry {
    ($level:ident, $event:ident, $message:ident, $values:ident; $($field:ident)*) => {
        tracing::event!(
            target: "eyewall",
            tracing::Level::$level,
            message_id = $event.id,
            eyewall_event = $event.name,
            $($field = $values.get(stringify!($field)),)*
            "{}", $message
        )
    };
    ($level:ident, $event:ident, $message:ident, $values:ident, posture) => {
        entry!($level, $event, $message, $values;
            eyewall_check eyewall_evidence eyewall_kind eyewall_uid eyewall_verdict eyewall_verdict_before)
    };
    ($level:ident, $event:ident, $message:ident, $values:ident, reboot) => {
        entry!($level, $event, $message, $values;
            eyewall_group eyewall_kind eyewall_release eyewall_state eyewall_state_before eyewall_uid eyewall_until)
    };
    ($level:ident, $event:ident, $message:ident, $values:ident) => {
        entry!($level, $event, $message, $values;
            eyewall_attempts eyewall_command eyewall_credential eyewall_csr eyewall_file eyewall_files
            eyewall_gid eyewall_image eyewall_kind eyewall_moved_to eyewall_names eyewall_next_at eyewall_node
            eyewall_not_after eyewall_not_before eyewall_pid eyewall_position eyewall_renew_at
            eyewall_runtime eyewall_serial eyewall_sha256 eyewall_skew_seconds eyewall_state eyewall_state_before
            eyewall_task eyewall_uid eyewall_unit eyewall_until eyewall_version)
    };
}

fn write(event: &Event, message: &str, values: &Values<'_>) {
    match (event.priority, Fields::of(event)) {
        (Priority::Error, Fields::Posture) => entry!(ERROR, event, message, values, posture),
        (Priority::Warning, Fields::Posture) => entry!(WARN, event, message, values, posture),
        (Priority::Info, Fields::Posture) => entry!(INFO, event, message, values, posture),
        (Priority::Error, Fields::Reboot) => entry!(ERROR, event, message, values, reboot),
        (Priority::Warning, Fields::Reboot) => entry!(WARN, event, message, values, reboot),
        (Priority::Info, Fields::Reboot) => entry!(INFO, event, message, values, reboot),
        (Priority::Error, Fields::Node) => entry!(ERROR, event, message, values),
        (Priority::Warning, Fields::Node) => entry!(WARN, event, message, values),
        (Priority::Info, Fields::Node) => entry!(INFO, event, message, values),
    }
}

/// Which of the lists of fields an event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fields {
    Posture,
    Reboot,
    /// Everything else.
    Node,
}

impl Fields {
    fn of(event: &Event) -> Self {
        if event.name.starts_with("posture-") {
            Self::Posture
        } else if event.name.starts_with("reboot-") || event.name.starts_with("host-lock-") {
            Self::Reboot
        } else {
            Self::Node
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use eyewall_core::event::{self, all};
    use tracing::field::{Field, Visit};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    /// Everything that was recorded, and every name that could have been.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Entries>>);

    /// Of each entry: the fields it was sent with, and those it could have had.
    type Entries = Vec<(BTreeMap<String, String>, Vec<&'static str>)>;

    struct Reader(BTreeMap<String, String>);

    impl Visit for Reader {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name().to_owned(), value.to_owned());
        }
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}"));
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut reader = Reader(BTreeMap::new());
            event.record(&mut reader);
            let names = event.metadata().fields().iter().map(|f| f.name()).collect();
            self.0.lock().expect("one thread").push((reader.0, names));
        }
    }

    fn journalled(act: impl FnOnce(&Events)) -> Entries {
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(seen.clone());
        tracing::subscriber::with_default(subscriber, || act(&Events::new()));
        let entries = seen.0.lock().expect("one thread");
        entries.clone()
    }

    #[test]
    fn an_entry_has_its_fields_and_no_others() {
        let entries = journalled(|events| {
            events.emit(&event::CERTIFICATE_REQUESTED, "asked", &[("csr", "node-csr-a"), ("node", "node-a")]);
        });
        let want = [
            ("message", "asked"),
            ("message_id", event::CERTIFICATE_REQUESTED.id),
            ("eyewall_event", "certificate-requested"),
            ("eyewall_csr", "node-csr-a"),
            ("eyewall_node", "node-a"),
        ];
        let want: BTreeMap<String, String> = want.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].0, want);
    }

    #[test]
    fn every_priority_knows_every_field() {
        let entries = journalled(|events| {
            for event in all() {
                events.emit(event, "m", &[]);
            }
        });
        assert_eq!(entries.len(), all().count());
        let mut kinds: BTreeMap<Fields, Vec<&str>> = BTreeMap::new();
        for (event, (_, names)) in all().zip(&entries) {
            let known: Vec<&str> =
                names.iter().filter_map(|name| name.strip_prefix("eyewall_")).filter(|name| *name != "event").collect();
            let kind = kinds.entry(Fields::of(event)).or_insert_with(|| known.clone());
            assert_eq!(*kind, known, "{}", event.name);
        }
        let all: std::collections::BTreeSet<&str> = kinds.into_values().flatten().collect();
        assert_eq!(all, FIELDS.iter().copied().collect(), "what can be told, and what may be");
    }

    #[test]
    fn the_ring_keeps_the_newest_and_counts_on() {
        let events = Events::new();
        for n in 0..KEPT + 3 {
            events.emit(&event::CONFIG_APPLIED, n.to_string(), &[("files", "a b")]);
        }
        let kept = events.recent();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].sequence, 4);
        assert_eq!(kept[0].message, "3");
        let last = &kept[KEPT - 1];
        assert_eq!(last.sequence, KEPT as u64 + 3);
        assert_eq!(last.event, "config-applied");
        assert_eq!(last.message_id, event::CONFIG_APPLIED.id);
        assert_eq!(last.fields["files"], "a b");
    }

    #[test]
    fn a_follower_gets_each_record_once() {
        let events = Events::new();
        events.emit(&event::CONFIG_APPLIED, "before", &[]);
        let (before, mut after) = events.follow();
        events.emit(&event::CONFIG_APPLIED, "after", &[]);
        assert_eq!(before.len(), 1);
        assert_eq!(before[0].sequence, 1);
        assert_eq!(after.try_recv().expect("the second").sequence, 2);
        assert!(after.try_recv().is_err());
    }

    #[test]
    #[should_panic(expected = "no field secret")]
    fn an_unknown_field_stops_a_test() {
        Events::new().emit(&event::CONFIG_APPLIED, "m", &[("secret", "x")]);
    }
}
