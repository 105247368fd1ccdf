//! The settings that the running kubelet was started with.

use serde_json::Value;

use crate::posture::read::argv::Argv;
use crate::posture::read::kubelet_configuration::KubeletConfiguration;
use crate::posture::read::public;
use crate::posture::{Item, Seen, Source, Unseen};

/// The running kubelet's command line, an [`Argv`] from `/proc/<pid>/cmdline`.
pub const ARGV: Source = Source::record("proc:kubelet-argv");
/// The KubeletConfiguration.
pub const CONFIGURATION: Source = Source::rewritten("file:{kubelet.config}", public::kubelet_configuration);

/// A kubelet that runs.
#[derive(Debug)]
pub(super) struct Running<'e> {
    pub argv: Argv,
    pub file: KubeletConfiguration,
    item: Item<'e>,
}

/// The command line alone.
pub(super) fn argv(seen: &Seen<'_>) -> Result<Argv, Unseen> {
    let item = seen.one(&ARGV)?;
    let argv: Argv = item.record()?;
    let program = argv.words().first().and_then(|word| word.rsplit('/').next());
    if program == Some("kubelet") { Ok(argv) } else { Err(item.malformed("It is not a kubelet's command line.")) }
}

impl<'e> Running<'e> {
    /// The settings in force.
    pub fn see(seen: &Seen<'e>) -> Result<Self, Unseen> {
        let argv = argv(seen)?;
        let item = seen.one(&CONFIGURATION)?;
        let configured = seen.expect.config.kubelet.config.display().to_string();
        match argv.value("config") {
            Some(path) if path == configured => {}
            Some(path) => {
                return Err(item.malformed(format!(
                    "The running kubelet reads {path} and not {configured}: set kubelet.config, or restart the kubelet."
                )));
            }
            None => return Err(item.malformed("The running kubelet reads no configuration file.")),
        }
        if let Some(directory) = argv.value("config-dir").filter(|directory| !directory.is_empty()) {
            return Err(
                item.malformed(format!("The running kubelet also reads {directory}, which is not looked into."))
            );
        }
        let file = KubeletConfiguration::parse(item.text()?).map_err(|fault| item.malformed(fault.sentence()))?;
        Ok(Self { argv, file, item })
    }

    /// The value in force: the flag's if it is given, else the file's, else none.
    pub fn value(&self, key: &str, flag: &str) -> Option<Value> {
        match self.argv.value(flag) {
            Some(given) => Some(serde_json::from_str(given).unwrap_or_else(|_| Value::from(given))),
            None => self.file.get(key).cloned(),
        }
    }

    /// A switch.
    pub fn switch(&self, key: &str, flag: &str) -> Result<Option<bool>, Unseen> {
        self.typed(key, flag, Value::as_bool, "true or false")
    }

    /// A whole number.
    pub fn number(&self, key: &str, flag: &str) -> Result<Option<i64>, Unseen> {
        self.typed(key, flag, Value::as_i64, "a whole number")
    }

    /// A word.
    pub fn word(&self, key: &str, flag: &str) -> Result<Option<String>, Unseen> {
        self.typed(key, flag, |value| value.as_str().map(str::to_owned), "a word")
    }

    /// A list of words; a flag's are separated by commas.
    pub fn words(&self, key: &str, flag: &str) -> Result<Option<Vec<String>>, Unseen> {
        let read = |value: &Value| match value {
            Value::String(list) => Some(list.split(',').map(str::to_owned).collect()),
            Value::Array(list) => list.iter().map(|word| word.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        self.typed(key, flag, read, "a list of words")
    }

    fn typed<T>(
        &self,
        key: &str,
        flag: &str,
        read: impl Fn(&Value) -> Option<T>,
        wanted: &str,
    ) -> Result<Option<T>, Unseen> {
        let Some(value) = self.value(key, flag) else { return Ok(None) };
        match read(&value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.item.malformed(format!("{key} in it is not {wanted}."))),
        }
    }
}
