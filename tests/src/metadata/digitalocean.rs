//! DigitalOcean's: <https://docs.digitalocean.com/reference/api/metadata-api/>.

use super::{Answer, Asked, Service};

/// A droplet.
#[derive(Clone, Debug)]
pub struct Digitalocean {
    /// The user data; empty where there is none.
    pub user_data: Vec<u8>,
}

impl Service for Digitalocean {
    fn answer(&mut self, asked: &Asked) -> Answer {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/metadata/v1/id") => Answer::new(200, "2756294"),
            ("GET", "/metadata/v1/user-data") => Answer::new(200, self.user_data.as_slice()),
            ("GET", "/metadata/v1/") => Answer::new(200, "id\nhostname\nuser-data\npublic-keys\nregion\n"),
            ("GET", _) => Answer::new(404, "not found"),
            _ => Answer::new(405, ""),
        }
    }
}
