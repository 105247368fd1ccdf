//! The FleetLock protocol, as Zincati's documentation defines it (`docs/development/fleetlock/protocol.md`): `pre-reboot` takes the lock or
//! keeps it, `steady-state` gives it back if it is held. Both may be repeated. There is no authentication, no end by time, and no list of
//! holders.

use std::fmt;

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::status::Reason;

/// The header without which a server refuses.
pub const HEADER: (&str, &str) = ("fleet-lock-protocol", "true");
/// The application that Zincati derives its node's id with; the same one, so that a server that drains (poseidon/fleetlock) finds the Node by
/// its machine id.
const APPLICATION: [u8; 16] =
    [0xde, 0x35, 0x10, 0x6b, 0x6e, 0xc2, 0x46, 0x88, 0xb6, 0x3a, 0xfd, 0xda, 0xa1, 0x56, 0x67, 0x9b];
/// The longest word and sentence that are taken from a server.
const KIND_MAX: usize = 60;
const VALUE_MAX: usize = 400;

/// The node's id: 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Id(String);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Id {
    /// From the content of `/etc/machine-id`.
    ///
    /// # Errors
    /// It is not 32 hex digits; `uninitialized` is what systemd writes before the first boot is through (machine-id(5)).
    pub fn of_machine(machine_id: &str) -> Result<Self, Reason> {
        derive(machine_id.trim(), &APPLICATION).map(Self).ok_or_else(|| {
            Reason::new(
                "machine-id-unreadable",
                "/etc/machine-id does not hold 32 hex digits, so this host has no id for a FleetLock server: systemd-machine-id-setup \
                 writes one",
            )
        })
    }
}

/// As `systemd-id128 machine-id --app-specific`: HMAC-SHA256 of the application under the machine id, cut to 16 bytes and marked as a random
/// UUID (`sd_id128_get_machine_app_specific(3)`).
fn derive(machine_id: &str, application: &[u8; 16]) -> Option<String> {
    if machine_id.len() != 32 || !machine_id.is_ascii() {
        return None;
    }
    let mut key = [0_u8; 16];
    for (byte, digits) in key.iter_mut().zip(machine_id.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(application);
    let digest = mac.finalize().into_bytes();
    let mut id = [0_u8; 16];
    id.iter_mut().zip(digest).for_each(|(byte, digest)| *byte = digest);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Take the lock; one that is held is kept.
    PreReboot,
    /// Give it back, if it is held.
    SteadyState,
}

impl Call {
    /// Below the base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::PreReboot => "/v1/pre-reboot",
            Self::SteadyState => "/v1/steady-state",
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    client_params: Params<'a>,
}

#[derive(Serialize)]
struct Params<'a> {
    id: &'a Id,
    group: &'a str,
}

/// The body of both calls.
pub fn body(id: &Id, group: &str) -> Vec<u8> {
    // Two strings: JSON holds them.
    serde_json::to_vec(&Body { client_params: Params { id, group } }).unwrap_or_default()
}

/// Whether a group may be named so: `^[a-zA-Z0-9.-]+$`.
pub fn is_group(group: &str) -> bool {
    !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    kind: String,
    value: String,
}

/// Reads an answer. Any 2xx is the server's yes, as for Zincati.
///
/// # Errors
/// Its no, with its own word as far as it has one.
pub fn read(call: Call, status: u16, body: &[u8]) -> Result<(), Reason> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let Refusal { kind, value } = serde_json::from_slice(body).unwrap_or_default();
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(VALUE_MAX).collect();
    let word = if kind.is_empty() { format!("generic_http_{status}") } else { kebab(&kind) };
    if call == Call::SteadyState && status == 423 {
        // poseidon/fleetlock answers so when another node has the lock: then this one has not.
        return Ok(());
    }
    let taken = call == Call::PreReboot && (status == 423 || word.contains("semaphore") || word == "failed-lock");
    let said = if value.is_empty() {
        format!("status {status}, {word}")
    } else {
        format!("{value} (status {status}, {word})")
    };
    Err(if taken {
        Reason::new("no-free-slot", format!("the FleetLock server does not give the lock now: {said}"))
    } else {
        Reason::new("fleetlock-refused", format!("the FleetLock server refuses: {said}"))
    })
}

/// A server's word in the form of ours.
fn kebab(kind: &str) -> String {
    let kept = kind.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).take(KIND_MAX);
    kept.map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_zincatis() {
        // poseidon/fleetlock's own vectors: of a machine under Zincati's application, and one under another.
        let id = Id::of_machine("1c09ca98649c4c7abc779cd04c96812e\n").unwrap();
        assert_eq!(id.to_string(), "978a225b3d7b40e9acd7ce9b62f68444");
        let other = [0x03, 0x3b, 0x1b, 0x9b, 0x26, 0x44, 0x41, 0xfc, 0xaa, 0x17, 0x3e, 0x9e, 0x5b, 0xf3, 0x5c, 0x5a];
        assert_eq!(
            derive("2e074e9b299c41a59923c51ae16f279b", &other).as_deref(),
            Some("4d4a86c9c6644a479560ded5d19a30c5")
        );
        for bad in [
            "",
            "uninitialized",
            "1c09ca98649c4c7abc779cd04c96812",
            "1c09ca98649c4c7abc779cd04c96812g",
            "1c09ca98649c4c7abc779cd04c968+2e",
            "üüüüüüüüüüüüüüüü",
        ] {
            assert_eq!(Id::of_machine(bad).unwrap_err().kind, "machine-id-unreadable", "{bad}");
        }
    }

    #[test]
    fn the_body_is_the_protocols() {
        let id = Id::of_machine("1c09ca98649c4c7abc779cd04c96812e").unwrap();
        assert_eq!(
            String::from_utf8(body(&id, "workers")).unwrap(),
            r#"{"client_params":{"id":"978a225b3d7b40e9acd7ce9b62f68444","group":"workers"}}"#
        );
        for (group, good) in
            [("default", true), ("a.B-9", true), ("", false), ("a b", false), ("a_b", false), ("ü", false)]
        {
            assert_eq!(is_group(group), good, "{group}");
        }
    }

    #[test]
    fn answers() {
        use Call::{PreReboot, SteadyState};
        for (name, call, status, body, want) in [
            ("granted", PreReboot, 200, "", Ok(())),
            ("granted, no content", PreReboot, 204, "", Ok(())),
            (
                "poseidon: held",
                PreReboot,
                423,
                r#"{"kind":"lock_held","value":"reboot lease held by x"}"#,
                Err(("no-free-slot", "held by x (status 423, lock-held)")),
            ),
            (
                "held, in words of its own",
                PreReboot,
                423,
                "locked",
                Err(("no-free-slot", "status 423, generic_http_423")),
            ),
            (
                "the specification's sample",
                PreReboot,
                409,
                r#"{"kind":"failed_lock_semaphore_full","value":"full"}"#,
                Err(("no-free-slot", "full")),
            ),
            (
                "airlock: full",
                PreReboot,
                500,
                r#"{"kind":"failed_lock","value":"all 1 semaphore slots currently locked"}"#,
                Err(("no-free-slot", "all 1")),
            ),
            (
                "airlock: no such group",
                PreReboot,
                400,
                r#"{"kind":"unknown_group","value":"unknown"}"#,
                Err(("fleetlock-refused", "unknown-group")),
            ),
            ("a proxy", PreReboot, 502, "<html>", Err(("fleetlock-refused", "generic_http_502"))),
            ("a redirect", PreReboot, 302, "", Err(("fleetlock-refused", "302"))),
            ("freed", SteadyState, 200, "", Ok(())),
            ("poseidon: another one's", SteadyState, 423, r#"{"kind":"lock_held","value":"x"}"#, Ok(())),
            (
                "poseidon: uncordon failed",
                SteadyState,
                500,
                r#"{"kind":"internal_error","value":"x"}"#,
                Err(("fleetlock-refused", "internal-error")),
            ),
            (
                "words with a line's end",
                PreReboot,
                500,
                "{\"kind\":\"A B\\n\",\"value\":\"x\\ny\"}",
                Err(("fleetlock-refused", "x y (status 500, ab)")),
            ),
        ] {
            let got = read(call, status, body.as_bytes());
            match (&got, want) {
                (Ok(()), Ok(())) => {}
                (Err(reason), Err((kind, says))) => {
                    assert_eq!(reason.kind, kind, "{name}");
                    assert!(reason.message.contains(says), "{name}: {}", reason.message);
                }
                _ => panic!("{name}: {got:?}"),
            }
        }
    }
}
