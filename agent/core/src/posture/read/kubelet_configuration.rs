//! `/etc/kubernetes/kubelet.yaml`: a KubeletConfiguration as a flat table, so that every key can be compared by name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ReadFault;
use super::fault::yaml;

/// Typhoon's is under 1 KiB.
pub const LARGEST: usize = 256 * 1024;
/// The type has about 150 fields.
const MOST: usize = 2_000;

/// The keys of a KubeletConfiguration, `authentication.anonymous.enabled` and so on, with their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KubeletConfiguration(BTreeMap<String, Value>);

impl KubeletConfiguration {
    /// Reads the YAML (or JSON) of one object of kind `KubeletConfiguration`.
    ///
    /// # Errors
    /// [`ReadFault`]. A file that is another kind, or is cut short before its kind, is one: a setting that is not
    /// seen must not pass for one that is not set.
    pub fn parse(text: &str) -> Result<Self, ReadFault> {
        let Value::Object(fields) = yaml::<Value>(text, LARGEST)? else {
            return Err(ReadFault::Malformed { format: "KubeletConfiguration", line: 0 });
        };
        if fields.get("kind").and_then(Value::as_str) != Some("KubeletConfiguration")
            || fields.get("apiVersion").and_then(Value::as_str) != Some("kubelet.config.k8s.io/v1beta1")
        {
            return Err(ReadFault::Missing("that it is a KubeletConfiguration of kubelet.config.k8s.io/v1beta1"));
        }
        let mut flat = BTreeMap::new();
        for (key, value) in fields {
            if key != "kind" && key != "apiVersion" {
                flatten(key, value, &mut flat)?;
            }
        }
        Ok(Self(flat))
    }

    /// The value of a key; `None` if it is not set, or set to null, which is the same to the kubelet.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

/// Depth is bounded by the reader of the YAML.
fn flatten(path: String, value: Value, into: &mut BTreeMap<String, Value>) -> Result<(), ReadFault> {
    match value {
        Value::Null => Ok(()),
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(format!("{path}.{key}"), value, into)?;
            }
            Ok(())
        }
        leaf => {
            if into.len() == MOST {
                return Err(ReadFault::TooMany { what: "settings", limit: MOST });
            }
            into.insert(path, leaf);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

    #[test]
    fn keys_are_flat() {
        let text = format!(
            "{HEAD}authentication:\n  anonymous:\n    enabled: false\nclusterDNS:\n- 10.3.0.10\nhealthzPort: 0\nshutdownGracePeriod: 45s\nlogging: null\nevictionHard: {{}}\n"
        );
        let parsed = KubeletConfiguration::parse(&text).expect("a configuration");
        for (key, want) in [
            ("authentication.anonymous.enabled", Some(json!(false))),
            ("clusterDNS", Some(json!(["10.3.0.10"]))),
            ("healthzPort", Some(json!(0))),
            ("shutdownGracePeriod", Some(json!("45s"))),
            ("authentication.anonymous", None),
            ("logging", None),
            ("kind", None),
        ] {
            assert_eq!(parsed.get(key), want.as_ref(), "{key}");
        }
        assert_eq!(parsed.iter().count(), 4);
    }

    #[test]
    fn what_is_no_configuration_is_a_fault() {
        let many = format!("{HEAD}{}", (0..=MOST).map(|n| format!("a{n}: 1\n")).collect::<String>());
        for (name, text, want) in [
            ("empty", "", "empty"),
            ("another kind", "apiVersion: v1\nkind: Pod\n", "incomplete"),
            ("another version", "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n", "incomplete"),
            ("no kind", "authentication: {}\n", "incomplete"),
            ("a list", "- a\n", "malformed"),
            ("a word", "KubeletConfiguration", "malformed"),
            ("broken", "kind: [\n", "malformed"),
            ("tabs", "kind:\n\t- a\n", "malformed"),
            ("twice the key", &format!("{HEAD}healthzPort: 0\nhealthzPort: 1\n"), "malformed"),
            ("many", &many, "too-many"),
        ] {
            assert_eq!(KubeletConfiguration::parse(text).map_err(|fault| fault.kind()), Err(want), "{name}");
        }
    }

    #[test]
    fn json_is_yaml() {
        let parsed = KubeletConfiguration::parse(
            r#"{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1","readOnlyPort":0}"#,
        );
        assert_eq!(parsed.expect("a configuration").get("readOnlyPort"), Some(&json!(0)));
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_a_fault(text in "(?s).{0,200}") {
            let _ = KubeletConfiguration::parse(&format!("{HEAD}{text}"));
            let _ = KubeletConfiguration::parse(&text);
        }
    }
}
