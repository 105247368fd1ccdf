//! JSON: the report itself, its form fixed by a schema that a test holds it to.

use crate::posture::Report;

/// The JSON Schema of [`json`]'s output.
pub const SCHEMA: &str = include_str!("report.schema.json");

/// The report as JSON, indented, with a line end.
pub fn json(report: &Report) -> String {
    // A report holds nothing that JSON cannot: no map with other keys than text, no number that is none.
    serde_json::to_string_pretty(report).map_or_else(|_| String::new(), |text| text + "\n")
}
