//! Events as lines.

use std::fmt::Write as _;

use super::paint::{Style, clean, paint};
use crate::event::{Priority, all};
use crate::status::EventRecord;

/// One event on one line: when, what, the sentence, the fields.
pub fn event_line(record: &EventRecord, color: bool) -> String {
    let known = all().find(|event| event.name == record.event);
    // An event of a newer agent has no priority here.
    let style = match known.map(|event| event.priority) {
        Some(Priority::Error) => Style::Bad,
        Some(Priority::Warning) => Style::Warn,
        Some(Priority::Info) | None => Style::Good,
    };
    let mut fields = String::new();
    for (name, value) in &record.fields {
        let _ = write!(fields, " {}={}", clean(name), clean(value));
    }
    let at = paint(Style::Dim, &record.at.to_string(), color);
    let event = paint(style, &clean(&record.event), color);
    let fields = paint(Style::Dim, &fields, color);
    format!("{at} {event}: {}{fields}", clean(&record.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;
    use crate::time::Time;

    #[test]
    fn a_line_tells_all_of_it() {
        let record = EventRecord {
            sequence: 1,
            at: Time::from_unix(1_795_486_508),
            event: event::CERTIFICATE_DENIED.name.to_owned(),
            message_id: event::CERTIFICATE_DENIED.id.to_owned(),
            message: "denied\nby \x1b[2Jsomeone".to_owned(),
            fields: [("csr", "node-csr-a"), ("kind", "denied")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        };
        assert_eq!(
            event_line(&record, false),
            "2026-11-24T02:15:08Z certificate-denied: denied by [2Jsomeone csr=node-csr-a kind=denied"
        );
        assert!(event_line(&record, true).contains("\x1b[31mcertificate-denied\x1b[0m"));
        let unknown = EventRecord { event: "of-the-future".to_owned(), ..record };
        assert!(event_line(&unknown, true).contains("\x1b[32mof-the-future\x1b[0m"));
    }
}
