//! Microsoft Azure's: <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>.

use super::{Answer, Asked, Service};

/// A machine.
#[derive(Clone, Debug)]
pub struct Azure {
    /// The user data as it was set, in base64; empty where none was.
    pub user_data: Vec<u8>,
    /// What is assigned.
    pub identities: Identities,
}

/// Managed identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identities {
    /// None.
    None,
    /// One, whose access token is this.
    One(String),
    /// Several, of which the asker has to name one.
    Several,
}

impl Service for Azure {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.text(asked).with("Server", "IMDS/150.870.65.1854")
    }
}

impl Azure {
    fn text(&self, asked: &Asked) -> Answer {
        let refused = |error: &str| {
            Answer::new(400, format!("{{\"error\":\"{error}\"}}")).with("Content-Type", "application/json")
        };
        if asked.header("metadata").is_none_or(|value| !value.eq_ignore_ascii_case("true")) {
            return refused("Bad request. Required metadata header not specified");
        }
        if asked.header("x-forwarded-for").is_some() || asked.header("host") != Some(super::ADDRESS) {
            return refused("Bad request");
        }
        if asked.method != "GET" {
            return Answer::new(405, "");
        }
        let version = asked.parameter("api-version");
        match asked.place() {
            "/metadata/versions" => {
                Answer::new(200, "{\"apiVersions\":[\"2017-04-02\",\"2021-01-01\",\"2021-12-13\"]}")
            }
            _ if version.is_none() => refused("Bad request. api-version was not specified in the request"),
            "/metadata/instance/compute/userData" if version >= Some("2021-01-01") => match asked.parameter("format") {
                Some("text") => Answer::new(200, self.user_data.as_slice()),
                _ => refused("Bad request"),
            },
            "/metadata/identity/oauth2/token" if asked.parameter("resource").is_none() => refused("invalid_resource"),
            "/metadata/identity/oauth2/token" => match &self.identities {
                Identities::None => {
                    Answer::new(400, "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}")
                }
                Identities::Several => Answer::new(
                    400,
                    "{\"error\":\"invalid_request\",\"error_description\":\"Multiple user assigned identities exist, please \
                     specify the clientId / resourceId of the identity in the token request\"}",
                ),
                Identities::One(token) => Answer::new(
                    200,
                    format!("{{\"access_token\":\"{token}\",\"expires_in\":\"86399\",\"token_type\":\"Bearer\"}}"),
                ),
            },
            _ => Answer::new(404, "{\"error\":\"Not found\"}"),
        }
    }
}
