//! What the API server says when it does not do what was asked: a `Status`, with the words of `apimachinery`'s `errors.go`.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::resources::Resource;

/// A `Status` of kind Failure. Sent as the body of an answer, or inside an `ERROR` line of a watch.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    reason: Option<&'static str>,
    message: String,
    details: Option<Value>,
}

/// One fault of a field, as `field.Error` in apimachinery.
#[derive(Clone, Debug)]
pub(super) struct FieldFault {
    field: String,
    reason: &'static str,
    message: String,
}

impl FieldFault {
    /// A field that must be there and is not.
    pub(super) fn required(field: &str, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { field: field.to_owned(), reason: "FieldValueRequired", message }
    }

    /// A field whose value cannot be.
    pub(super) fn invalid(field: &str, value: &str, detail: &str) -> Self {
        Self {
            field: field.to_owned(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {detail}"),
        }
    }

    /// A field that may not be changed so.
    pub(super) fn forbidden(field: &str, detail: &str) -> Self {
        Self { field: field.to_owned(), reason: "FieldValueForbidden", message: format!("Forbidden: {detail}") }
    }
}

impl Refusal {
    fn new(code: StatusCode, reason: Option<&'static str>, message: String) -> Self {
        Self { code, reason, message, details: None }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = Map::new();
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details.insert(key.to_owned(), Value::from(value));
            }
        }
        self.details = Some(Value::Object(details));
        self
    }

    fn causes(mut self, causes: Vec<Value>) -> Self {
        if let Some(Value::Object(details)) = &mut self.details {
            details.insert("causes".to_owned(), Value::Array(causes));
        }
        self
    }

    /// A credential was shown and is not good, or none was shown and anonymous requests are off.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Some("Unauthorized"), "Unauthorized".to_owned())
    }

    /// `qualified` is `<plural>.<group>`; an empty one is a path that is no resource.
    pub(super) fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let qualified = qualified(group, plural);
        let message = match (qualified.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{qualified} is forbidden: {why}"),
            (false, false) => format!("{qualified} {name:?} is forbidden: {why}"),
        };
        Self::new(StatusCode::FORBIDDEN, Some("Forbidden"), message).about(group, plural, name)
    }

    /// The object is not there.
    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::not_found_named(resource.group, resource.plural, name)
    }

    /// As [`Refusal::not_found`]; admission plug-ins name the resource in their own way (`pod`, not `pods`).
    pub(super) fn not_found_named(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(group, plural));
        Self::new(StatusCode::NOT_FOUND, Some("NotFound"), message).about(group, plural, name)
    }

    /// The path leads nowhere.
    pub(super) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Self::new(StatusCode::NOT_FOUND, Some("NotFound"), message).about("", "", "")
    }

    /// A name that is taken.
    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource.group, resource.plural));
        Self::new(StatusCode::CONFLICT, Some("AlreadyExists"), message).about(resource.group, resource.plural, name)
    }

    /// Somebody else wrote first, or the object is another one of the same name.
    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let qualified = qualified(resource.group, resource.plural);
        let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}");
        Self::new(StatusCode::CONFLICT, Some("Conflict"), message).about(resource.group, resource.plural, name)
    }

    /// The object breaks the rules of its kind.
    pub(super) fn invalid(resource: &Resource, name: &str, faults: &[FieldFault]) -> Self {
        let told: Vec<String> = faults.iter().map(|f| format!("{}: {}", f.field, f.message)).collect();
        let told = match told.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let kind = qualified(resource.group, resource.kind);
        let causes =
            faults.iter().map(|f| json!({"reason": f.reason, "message": f.message, "field": f.field})).collect();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Some("Invalid"), format!("{kind} {name:?} is invalid: {told}"))
            .about(resource.group, resource.kind, name)
            .causes(causes)
    }

    /// A `ValidatingAdmissionPolicy` said no. The API server's default reason for that is Invalid, not Forbidden.
    pub(super) fn denied_by_policy(resource: &Resource, name: &str, policy: &str, binding: &str, why: &str) -> Self {
        let told = format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}");
        let qualified = qualified(resource.group, resource.plural);
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Some("Invalid"),
            format!("{qualified} {name:?} is forbidden: {told}"),
        )
        .about(resource.group, resource.plural, name)
        .causes(vec![json!({"message": told})])
    }

    /// The request itself cannot be read.
    pub(super) fn bad_request(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("BadRequest"), message)
    }

    /// The server does not do this verb on this path.
    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Some("MethodNotAllowed"), message).about("", "", "")
    }

    /// A content type this server does not read.
    pub(super) fn unsupported_media_type(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("UnsupportedMediaType"), message)
    }

    /// The body is longer than `limit` bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Some("RequestEntityTooLarge"), message)
    }

    /// The history from `asked` on is no longer there; it begins after `floor`.
    pub(super) fn expired(asked: u64, floor: u64) -> Self {
        let message = format!("too old resource version: {asked} ({floor})");
        Self::new(StatusCode::GONE, Some("Expired"), message)
    }

    /// A list at a version that is not there yet.
    pub(super) fn too_large_version(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut refusal = Self::new(StatusCode::GATEWAY_TIMEOUT, Some("Timeout"), message);
        refusal.details = Some(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }));
        refusal
    }

    /// The eviction would break a disruption budget.
    pub(super) fn disruption_budget(budget: &str, desired: i64, healthy: i64) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        let cause = format!("The disruption budget {budget} needs {desired} healthy pods and has {healthy} currently");
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, Some("TooManyRequests"), message);
        refusal.details = Some(json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]}));
        refusal
    }

    /// Something that the real server answers with a bare 500.
    pub(super) fn internal(message: &str, reason: Option<&'static str>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, reason, message.to_owned())
    }

    /// The object on the wire.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if let Some(reason) = self.reason {
            status["reason"] = Value::from(reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

/// `nodes`, `leases.coordination.k8s.io`: a resource or kind with its group, as messages name it.
pub(super) fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() || plural.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}
