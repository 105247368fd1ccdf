//! Answers of a real API server 1.36, for tables.

use serde_json::Value;

const RECORDING: &str = include_str!("../../../../tests/recordings/kube-apiserver-1.36.json");

/// What was recorded under this name.
pub(super) struct Recorded {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) lines: Vec<Vec<u8>>,
    /// What was sent.
    pub(super) sent: Value,
}

pub(super) fn recorded(name: &str) -> Recorded {
    let all: Vec<Value> = serde_json::from_str(RECORDING).unwrap();
    let found = all.into_iter().find(|one| one["scenario"] == name).unwrap_or_else(|| panic!("{name} is recorded"));
    let response = &found["response"];
    let lines = response["watch_lines"].as_array().into_iter().flatten();
    Recorded {
        status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
        body: response["body"].to_string().into_bytes(),
        lines: lines.map(|line| line.to_string().into_bytes()).collect(),
        sent: found["request"]["body"].clone(),
    }
}
