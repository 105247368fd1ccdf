//! Whether logind gives a shutdown the time that the kubelet's pods were promised.

use std::path::Path;

use eyewall_core::reboot::host::delay_drift;
use eyewall_core::status::Reason;

use super::logind::Logind;

/// What is wrong with `InhibitDelayMaxSec`, by the kubelet's configuration at `kubelet_config`; none: nothing, or there is no such file yet.
///
/// # Errors
/// logind or the file cannot be asked.
pub async fn drift(logind: &Logind, kubelet_config: &Path) -> Result<Option<Reason>, Reason> {
    let text = match std::fs::read_to_string(kubelet_config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let why = format!("{} cannot be read: {error}.", kubelet_config.display());
            return Err(Reason::new("shutdown-grace-unknown", why));
        }
    };
    let max = logind.delay_max().await.map_err(|fault| fault.reason())?;
    delay_drift(max, &text)
}
