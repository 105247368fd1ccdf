//! The own Node, as far as a serving certificate needs it: under which addresses the kubelet is reached. A node may read its own
//! Node and no other (Node authorizer).

use eyewall_core::hostname::NodeName;
use eyewall_core::serving::Address;
use hyper::Method;
use serde::Deserialize;

use super::{Answer, ApiError, Client};

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    addresses: Vec<Address>,
}

/// Reads `status.addresses`. A status other than 200 is left in the answer, which comes back in any case: its date is of use.
///
/// # Errors
/// [`ApiError`].
pub async fn addresses(client: &mut Client, node: &NodeName) -> Result<(Option<Vec<Address>>, Answer), ApiError> {
    let answer = client.call(Method::GET, &format!("/api/v1/nodes/{node}"), None).await?;
    let addresses = match answer.status {
        200 => Some(answer.json::<Node>()?.status.addresses),
        _ => None,
    };
    Ok((addresses, answer))
}
