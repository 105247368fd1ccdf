//! As much of JSON Schema as `report.schema.json` uses. A keyword that is not known here fails the test rather than being passed over.

use serde_json::Value;

/// What is wrong with `value` by `schema`, as lines of path and fault.
pub fn faults(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{path}: {what}"));
    let mut below = Vec::new();
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let name = rule.as_str().and_then(|r| r.strip_prefix("#/$defs/")).expect("a reference into $defs");
                below.push((&root["$defs"][name], value, path.to_owned()));
            }
            "type" => {
                let is = |name: &Value| match name.as_str().expect("a type's name") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                let fits = rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is));
                if !fits {
                    fault(format!("{value} is no {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().expect("a list").contains(value) {
                    fault(format!("{value} is not one of {rule}"));
                }
            }
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                if !matches(rule.as_str().expect("a pattern"), text) {
                    fault(format!("{text:?} does not match {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().expect("a list").iter().filter_map(Value::as_str) {
                    if value.get(name).is_none() {
                        fault(format!("{name} is missing"));
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false));
                for name in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
                    if schema["properties"].get(name).is_none() {
                        fault(format!("{name} is not in the schema"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().expect("properties") {
                    if let Some(value) = value.get(name) {
                        below.push((schema, value, format!("{path}.{name}")));
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    below.push((rule, item, format!("{path}[{index}]")));
                }
            }
            other => panic!("the keyword {other} is not known to this test"),
        }
    }
    for (schema, value, path) in below {
        faults.extend(self::faults(root, schema, value, &path));
    }
    faults
}

/// The four patterns that the schema uses.
fn matches(pattern: &str, text: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let is_day = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        matches!(parts[..], [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2))
    };
    match pattern {
        "^[a-z0-9]+(-[a-z0-9]+)*$" => {
            text.split('-').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
        }
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" => {
            let Some((day, time)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) else { return false };
            is_day(day) && time.split(':').count() == 3 && time.split(':').all(|part| digits(part, 2))
        }
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" => is_day(text),
        "^[0-9]+(\\.[0-9]+)*$" => text.split('.').all(|part| !part.is_empty() && digits(part, part.len())),
        other => panic!("the pattern {other} is not known to this test"),
    }
}
