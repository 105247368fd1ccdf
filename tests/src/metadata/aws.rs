//! Amazon EC2's (IMDS): <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>.

use super::{Answer, Asked, Service};

/// What EC2 calls `HttpTokens` and `HttpEndpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// IMDSv1 and IMDSv2.
    Optional,
    /// IMDSv2 alone.
    Required,
    /// The service is turned off.
    Disabled,
}

/// An instance.
#[derive(Clone, Debug)]
pub struct Aws {
    /// Does a request need a session?
    pub tokens: Tokens,
    /// The user data; none is 404.
    pub user_data: Option<Vec<u8>>,
    /// The attached role.
    pub role: Option<String>,
    /// What it gives as a session's token.
    pub session: String,
}

const NOT_FOUND: &str = "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html><head><title>404 - Not Found</title></head>\
                         <body><h1>404 - Not Found</h1></body></html>\n";

impl Service for Aws {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let answer = self.text(asked).with("Server", "EC2ws");
        if asked.method == "PUT" { answer } else { answer.with("Content-Type", "text/plain") }
    }
}

impl Aws {
    fn text(&self, asked: &Asked) -> Answer {
        // Whoever was sent here by a proxy gets no session.
        let by_proxy = asked.header("x-forwarded-for").is_some();
        if self.tokens == Tokens::Disabled || asked.header("host") != Some(super::ADDRESS) {
            return Answer::new(403, "");
        }
        if asked.method == "PUT" {
            let seconds =
                asked.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|text| text.parse::<u32>().ok());
            return match (asked.path.as_str(), seconds) {
                ("/latest/api/token", Some(1..=21_600)) if !by_proxy => Answer::new(200, self.session.as_str()),
                ("/latest/api/token", _) if !by_proxy => Answer::new(400, ""),
                _ => Answer::new(403, ""),
            };
        }
        let token = asked.header("x-aws-ec2-metadata-token");
        let allowed = match token {
            Some(token) => token == self.session,
            None => self.tokens == Tokens::Optional,
        };
        if !allowed {
            return Answer::new(401, "");
        }
        let role = self.role.as_deref();
        match asked.place().strip_prefix("/latest/") {
            Some("meta-data/") => Answer::new(200, "ami-id\nhostname\niam/\ninstance-id\n"),
            // An identity of EC2's own, there without any role.
            Some("meta-data/identity-credentials/ec2/security-credentials/") => Answer::new(200, "ec2-instance"),
            Some("user-data") => match &self.user_data {
                Some(data) => Answer::new(200, data.as_slice()),
                None => Answer::new(404, NOT_FOUND),
            },
            Some("meta-data/iam/security-credentials/") => match role {
                Some(role) => Answer::new(200, role),
                None => Answer::new(404, NOT_FOUND),
            },
            Some(other) if role.is_some_and(|role| other == format!("meta-data/iam/security-credentials/{role}")) => {
                Answer::new(200, format!("{{\"Code\": \"Success\", \"Token\": \"{}\"}}", self.session))
            }
            _ => Answer::new(404, NOT_FOUND),
        }
    }
}
