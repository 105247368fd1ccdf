//! Google Compute Engine's: <https://cloud.google.com/compute/docs/metadata/querying-metadata>.

use super::{Answer, Asked, Service};

/// An instance.
#[derive(Clone, Debug)]
pub struct Gcp {
    /// The attribute `user-data`; none is 404.
    pub user_data: Option<Vec<u8>>,
    /// The attached service accounts.
    pub accounts: Vec<String>,
}

impl Service for Gcp {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.text(asked).with("Metadata-Flavor", "Google").with("Server", "Metadata Server for VM")
    }
}

impl Gcp {
    fn text(&self, asked: &Asked) -> Answer {
        let marked = asked.header("metadata-flavor") == Some("Google");
        if !marked || asked.header("x-forwarded-for").is_some() || asked.header("host") != Some(super::ADDRESS) {
            return Answer::new(403, "<html><title>Error 403 (Forbidden)!!1</title></html>");
        }
        if asked.method != "GET" {
            return Answer::new(405, "");
        }
        let Some(path) = asked.place().strip_prefix("/computeMetadata/v1/") else { return Answer::new(404, "") };
        let token = path.strip_prefix("instance/service-accounts/").and_then(|rest| rest.strip_suffix("/token"));
        match path {
            "instance/id" => Answer::new(200, "4520031799277581759"),
            "instance/attributes/user-data" => match &self.user_data {
                Some(data) => Answer::new(200, data.as_slice()),
                None => Answer::new(404, "<html><title>Error 404 (Not Found)!!1</title></html>"),
            },
            // A directory has a slash at its end.
            "instance/service-accounts" => Answer::new(301, "")
                .with("Location", "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/"),
            "instance/service-accounts/" => {
                Answer::new(200, self.accounts.iter().map(|account| format!("{account}/\n")).collect::<String>())
            }
            _ if token.is_some_and(|account| self.accounts.iter().any(|known| known == account)) => {
                Answer::new(200, "{\"access_token\":\"nobody asks for this\"}")
            }
            _ => Answer::new(404, ""),
        }
    }
}
