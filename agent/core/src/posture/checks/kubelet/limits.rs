//! Settings of which the CIS benchmark wants a value, and which Typhoon leaves at the kubelet's default.

use serde_json::Value;

use super::BASE;
use super::running::{ARGV, CONFIGURATION, Running};
use crate::posture::{Check, Grade, Judged, Seen, Severity, Unseen, Worth, needs};

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "kubelet-defaults-kept",
        title: "Idle streams end, iptables chains are kept, and events are not dropped",
        severity: Severity::Low,
        reads: &[needs(&ARGV), needs(&CONFIGURATION)],
        judge: defaults,
        worth: Worth::Proves(
            "streamingConnectionIdleTimeout, makeIPTablesUtilChains and eventRecordQPS are as the benchmark wants them.",
        ),
        not: "That the running kubelet has the file as it is now.",
        cis: &["4.2.5", "4.2.6", "4.2.8"],
        ..BASE
    },
    Check {
        id: "kubelet-tls-ciphers",
        title: "The kubelet's server takes strong cipher suites only",
        severity: Severity::Low,
        reads: &[needs(&ARGV), needs(&CONFIGURATION)],
        judge: ciphers,
        worth: Worth::Proves("The running kubelet's settings leave no weak suite."),
        not: "What is negotiated with whom.",
        cis: &["4.2.12"],
        ..BASE
    },
    Check {
        id: "kubelet-pid-limit",
        title: "A pod cannot use up the host's process ids",
        severity: Severity::Low,
        reads: &[needs(&ARGV), needs(&CONFIGURATION)],
        judge: pid_limit,
        worth: Worth::Proves("podPidsLimit is set."),
        not: "That the limit suits the workload.",
        cis: &["4.2.13"],
        ..BASE
    },
    Check {
        id: "kubelet-seccomp-default",
        title: "Containers that ask for nothing get the runtime's seccomp filter",
        severity: Severity::Low,
        reads: &[needs(&ARGV), needs(&CONFIGURATION)],
        judge: seccomp,
        worth: Worth::Proves("seccompDefault is on."),
        not: "That no pod asks for Unconfined.",
        cis: &["4.2.14"],
        ..BASE
    },
];

/// The suites that the benchmark allows (v1.12, 4.2.12); TLS 1.3's cannot be chosen and are strong.
const STRONG: [&str; 8] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

fn defaults(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let running = Running::see(seen)?;
    let timeout = running.value("streamingConnectionIdleTimeout", "streaming-connection-idle-timeout");
    let chains = running.switch("makeIPTablesUtilChains", "make-iptables-util-chains")?;
    let events = running.number("eventRecordQPS", "event-qps")?;
    // The kubelet writes a span as Go does: 4h0m0s. Zero has no digit but 0.
    let never = match &timeout {
        None => false,
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::String(span)) if span.bytes().any(|b| b.is_ascii_digit()) => {
            !span.bytes().any(|b| matches!(b, b'1'..=b'9'))
        }
        Some(_) => return Err(seen.one(&CONFIGURATION)?.malformed("streamingConnectionIdleTimeout in it is no span.")),
    };
    let said = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
    Ok(if never {
        Judged::fail(
            "streams-never-end",
            "streamingConnectionIdleTimeout is 0: an idle exec or port-forward stays for ever. Take it out, or set 5m.",
        )
    } else if chains == Some(false) {
        Judged::fail("no-chains", "makeIPTablesUtilChains is false: take it out.")
    } else if events.is_some_and(|limit| limit < 0) {
        Judged::fail("events-dropped", "eventRecordQPS is below 0: take it out, or set 0 for no limit.")
    } else {
        Judged::pass(
            Grade::Configured,
            "kept",
            "The three settings are at values that the benchmark wants, most of them by default.",
        )
    }
    .fact("streamingConnectionIdleTimeout", said(timeout.map(|value| value.to_string())))
    .fact("makeIPTablesUtilChains", said(chains.map(|value| value.to_string())))
    .fact("eventRecordQPS", said(events.map(|value| value.to_string()))))
}

fn ciphers(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let running = Running::see(seen)?;
    let suites = running.words("tlsCipherSuites", "tls-cipher-suites")?.unwrap_or_default();
    let version = running.word("tlsMinVersion", "tls-min-version")?;
    let weak: Vec<&String> = suites.iter().filter(|suite| !STRONG.contains(&suite.as_str())).collect();
    Ok(if version.as_deref() == Some("VersionTLS13") {
        Judged::pass(Grade::Configured, "tls-13", "TLS 1.3 is the least that is spoken, and it has no weak suite.")
    } else if suites.is_empty() {
        Judged::fail("not-set", "tlsCipherSuites is not set: Go's default list has suites with CBC. Set the list, or tlsMinVersion: VersionTLS13.")
    } else if weak.is_empty() {
        Judged::pass(Grade::Configured, "strong", "Only strong suites are listed.")
    } else {
        Judged::fail("weak", "tlsCipherSuites lists suites that the benchmark does not allow: take them out.").facts("weak", weak)
    }
    .fact("tlsMinVersion", version.as_deref().unwrap_or("default")))
}

fn pid_limit(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let limit = Running::see(seen)?.number("podPidsLimit", "pod-max-pids")?;
    Ok(match limit {
        Some(limit) if limit > 0 => {
            Judged::pass(Grade::Configured, "limited", format!("A pod may have {limit} processes."))
        }
        _ => Judged::fail(
            "not-set",
            "podPidsLimit is not set: one pod can keep every other process of this host from forking. Set it, 4096 for example.",
        ),
    })
}

fn seccomp(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let on = Running::see(seen)?.switch("seccompDefault", "seccomp-default")?;
    Ok(match on {
        Some(true) => Judged::pass(
            Grade::Configured,
            "on",
            "Containers get the runtime's seccomp filter unless they ask for another.",
        ),
        _ => Judged::fail(
            "off",
            "seccompDefault is off: containers that ask for nothing may make every system call. Set it to true.",
        ),
    })
}
