//! What a write says about the object it expects to find, and what it is told when it finds another.

use serde_json::Value;

use super::refusal::{FieldFault, Refusal};
use super::resources::Resource;

/// Name and uid of what is to be written must be those of what is there.
pub(super) fn same_object(
    resource: &Resource,
    url_name: &str,
    existing: &Value,
    wanted: &Value,
) -> Result<(), Refusal> {
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    if name != url_name {
        return Err(wrong_name(name, url_name));
    }
    let stored = existing["metadata"]["uid"].as_str().unwrap_or_default();
    match wanted["metadata"]["uid"].as_str() {
        Some(uid) if !uid.is_empty() && uid != stored => {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}");
            Err(Refusal::conflict(resource, name, &why))
        }
        _ => Ok(()),
    }
}

/// A version that is given must be the one that is there; some resources insist on one.
pub(super) fn version(resource: &Resource, name: &str, existing: &Value, wanted: &Value) -> Result<(), Refusal> {
    match wanted["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty()) {
        Some(version) if existing["metadata"]["resourceVersion"] != version => {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            Err(Refusal::conflict(resource, name, why))
        }
        None if !resource.unconditional_update => {
            let why = "must be specified for an update";
            let fault = FieldFault::invalid("metadata.resourceVersion", "0", why);
            Err(Refusal::invalid(resource, name, &[fault]))
        }
        _ => Ok(()),
    }
}

/// A delete may name the uid it means.
pub(super) fn delete(resource: &Resource, existing: &Value, options: &Value) -> Result<(), Refusal> {
    let (uid, meant) = (&existing["metadata"]["uid"], &options["preconditions"]["uid"]);
    if meant.is_null() || meant == uid {
        return Ok(());
    }
    let name = existing["metadata"]["name"].as_str().unwrap_or_default();
    let why = format!("the UID in the precondition ({meant}) does not match the UID in record ({uid})");
    Err(Refusal::conflict(resource, name, &why))
}

/// The object names itself otherwise than the path does.
pub(super) fn wrong_name(object: &str, url: &str) -> Refusal {
    Refusal::bad_request(format!("the name of the object ({object}) does not match the name on the URL ({url})"))
}
