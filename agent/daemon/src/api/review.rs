//! `SelfSubjectReview`: who does the API server take us for? Needs no rights, so it proves a credential and nothing else.

use eyewall_core::proof::Review;
use hyper::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::{Answer, ApiError, Client};

const PATH: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

#[derive(Deserialize)]
struct Reply {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    user_info: UserInfo,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct UserInfo {
    username: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// Asks. A status other than 201 comes back as the answer it is.
///
/// # Errors
/// [`ApiError`].
pub async fn who_am_i(client: &mut Client) -> Result<Result<Review, Answer>, ApiError> {
    let body = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    });
    let answer = client.call(Method::POST, PATH, Some(&body)).await?;
    if answer.status != 201 {
        return Ok(Err(answer));
    }
    let UserInfo { username, groups, mut extra } = answer.json::<Reply>()?.status.user_info;
    let credential_id =
        extra.remove("authentication.kubernetes.io/credential-id").and_then(|ids| ids.into_iter().next());
    Ok(Ok(Review { username, groups, credential_id }))
}
