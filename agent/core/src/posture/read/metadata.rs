//! A cloud's metadata service: which requests are made on which platform, and what each answer means. Nothing here makes one.
//!
//! No body outlives its reading: an answer becomes a [`Finding`], which has no field for one. On bare metal, and on a platform that is not
//! known, there are no requests at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::kernel_line::KernelLine;
use super::user_data::{self, Contents};

/// The one address of all four services. The daemon connects nowhere else for this, follows no redirect and uses no proxy.
pub const ADDRESS: &str = "169.254.169.254:80";

/// Where the host runs, by the word on its kernel command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Amazon EC2.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Compute Engine.
    Gcp,
    /// DigitalOcean.
    Digitalocean,
    /// A machine of one's own.
    Metal,
    /// Another one, of which nothing is known; the word.
    Other(String),
}

impl Platform {
    /// By `ignition.platform.id=`, or `flatcar.oem.id=` of an older Flatcar. `None`: the line has neither.
    pub fn of(line: &KernelLine) -> Option<Self> {
        line.value("ignition.platform.id").or_else(|| line.value("flatcar.oem.id")).map(Self::named)
    }

    /// By the word of either argument.
    pub fn named(word: &str) -> Self {
        match word {
            "aws" | "ec2" => Self::Aws,
            "azure" => Self::Azure,
            "gcp" | "gce" => Self::Gcp,
            "digitalocean" => Self::Digitalocean,
            "metal" | "pxe" => Self::Metal,
            other => Self::Other(other.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect()),
        }
    }

    /// As people write it.
    pub fn name(&self) -> &str {
        match self {
            Self::Aws => "AWS",
            Self::Azure => "Azure",
            Self::Gcp => "Google Cloud",
            Self::Digitalocean => "DigitalOcean",
            Self::Metal => "bare metal",
            Self::Other(word) => word,
        }
    }

    /// The requests, in the order in which they are made. Empty: none may be made.
    pub fn requests(&self) -> &'static [Request] {
        match self {
            Self::Aws => &AWS,
            Self::Azure => &AZURE,
            Self::Gcp => &GCP,
            Self::Digitalocean => &DIGITALOCEAN,
            Self::Metal | Self::Other(_) => &[],
        }
    }
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// AWS: a session token for the requests after it ([`Request::with_session`]). The one answer whose body is used.
    Session,
    /// AWS: does the service answer without a session token (IMDSv1)?
    WithoutSession,
    /// Elsewhere: something that only the platform's own service answers, so that a stranger at its address is told from it.
    Service,
    /// The user data.
    UserData,
    /// Credentials of the cloud account.
    Account,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks.
    pub question: Question,
    /// `GET`, or `PUT` for AWS' session token.
    pub method: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// Headers beside `Host`.
    pub headers: &'static [(&'static str, &'static str)],
    /// Also send `X-aws-ec2-metadata-token` with the body of the answer to [`Question::Session`], if there was one.
    pub with_session: bool,
}

/// The header that carries AWS' session token.
pub const SESSION_HEADER: &str = "x-aws-ec2-metadata-token";

const AWS: [Request; 4] = [
    Request {
        question: Question::Session,
        method: "PUT",
        path: "/latest/api/token",
        headers: &[("x-aws-ec2-metadata-token-ttl-seconds", "60")],
        with_session: false,
    },
    Request { question: Question::WithoutSession, ..get("/latest/meta-data/") },
    Request { question: Question::UserData, with_session: true, ..get("/latest/user-data") },
    Request { question: Question::Account, with_session: true, ..get("/latest/meta-data/iam/security-credentials/") },
];

const AZURE: [Request; 3] = [
    Request { question: Question::Service, headers: &[("metadata", "true")], ..get("/metadata/versions") },
    Request {
        question: Question::UserData,
        headers: &[("metadata", "true")],
        ..get("/metadata/instance/compute/userData?api-version=2021-01-01&format=text")
    },
    Request {
        question: Question::Account,
        headers: &[("metadata", "true")],
        ..get("/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/")
    },
];

const GCP: [Request; 3] = [
    Request {
        question: Question::Service,
        headers: &[("metadata-flavor", "Google")],
        ..get("/computeMetadata/v1/instance/id")
    },
    Request {
        question: Question::UserData,
        headers: &[("metadata-flavor", "Google")],
        ..get("/computeMetadata/v1/instance/attributes/user-data")
    },
    Request {
        question: Question::Account,
        headers: &[("metadata-flavor", "Google")],
        ..get("/computeMetadata/v1/instance/service-accounts/")
    },
];

// It has no endpoint for account credentials to ask.
const DIGITALOCEAN: [Request; 2] =
    [Request { question: Question::Service, ..get("/metadata/v1/id") }, get("/metadata/v1/user-data")];

const fn get(path: &'static str) -> Request {
    Request { question: Question::UserData, method: "GET", path, headers: &[], with_session: false }
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// A status and a body, of at most [`user_data::LARGEST`] bytes (the daemon stops reading there).
    Http {
        /// The status code.
        status: u16,
        /// The body.
        body: &'a [u8],
    },
    /// The body went on past the limit.
    TooLong,
    /// No connection, or no answer in time.
    Silence,
}

/// What an answer means. This is what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The session token was given.
    Session,
    /// The service answers without a session token.
    Open,
    /// It wants a session token.
    Closed,
    /// It is the platform's own service.
    Recognised,
    /// The user data, looked through. There may be none in it ([`user_data::Form::None`]).
    UserData(Contents),
    /// The user data is there and could not be read; the fault's word.
    Unreadable(String),
    /// No credential of the cloud account is offered.
    NoAccount,
    /// So many identities of the cloud account are offered.
    Account(usize),
    /// The service gave another answer than is known for this question; its status.
    Unclear(u16),
    /// It did not answer.
    Silence,
}

/// A question with what its answer meant; evidence is a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What was asked.
    pub question: Question,
    /// What the answer meant.
    pub finding: Finding,
}

/// All that a platform's service said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Whose service was asked.
    pub platform: Platform,
    /// What was asked; empty where nothing may be.
    pub asked: Vec<Asked>,
}

impl Metadata {
    /// What the answer to `question` meant; `None` if it was not asked.
    pub fn finding(&self, question: Question) -> Option<&Finding> {
        self.asked.iter().find(|asked| asked.question == question).map(|asked| &asked.finding)
    }

    /// Did the platform's own service answer? Anybody at its address may say 404 to everything, which reads as "there is none". On AWS a
    /// session is the sign: the service gives one whatever its options are.
    pub fn is_recognised(&self) -> bool {
        match self.platform {
            Platform::Aws => self.finding(Question::Session) == Some(&Finding::Session),
            _ => self.finding(Question::Service) == Some(&Finding::Recognised),
        }
    }
}

/// Reads an answer.
pub fn read(platform: &Platform, question: Question, answer: Answer<'_>) -> Finding {
    let (status, body) = match answer {
        Answer::Silence => return Finding::Silence,
        Answer::TooLong if question == Question::UserData => return Finding::Unreadable("too-large".to_owned()),
        // Longer than any known answer.
        Answer::TooLong => return Finding::Unclear(0),
        Answer::Http { status, body } => (status, body),
    };
    match question {
        Question::Session if status == 200 && is_header_value(body) => Finding::Session,
        Question::WithoutSession if status == 200 => Finding::Open,
        Question::WithoutSession if status == 401 => Finding::Closed,
        Question::Service if status == 200 && is_service(platform, body) => Finding::Recognised,
        Question::Session | Question::WithoutSession | Question::Service => Finding::Unclear(status),
        Question::UserData => user_data(platform, status, body),
        Question::Account => account(platform, status, body),
    }
}

/// DigitalOcean and Google number their machines, Azure lists the versions of its service.
fn is_service(platform: &Platform, body: &[u8]) -> bool {
    let number = body.trim_ascii();
    match platform {
        Platform::Digitalocean | Platform::Gcp => {
            (1..=20).contains(&number.len()) && number.iter().all(u8::is_ascii_digit)
        }
        Platform::Azure => serde_json::from_slice::<AzureVersions>(body).is_ok_and(|list| !list.versions.is_empty()),
        Platform::Aws | Platform::Metal | Platform::Other(_) => false,
    }
}

#[derive(Deserialize)]
struct AzureVersions {
    #[serde(rename = "apiVersions")]
    versions: Vec<String>,
}

/// AWS and Google say 404 where there is none, Azure an empty 200 or 404.
fn user_data(platform: &Platform, status: u16, body: &[u8]) -> Finding {
    if status == 404 {
        return Finding::UserData(Contents::default());
    }
    if status != 200 {
        return Finding::Unclear(status);
    }
    let looked = if *platform == Platform::Azure {
        let compact =
            zeroize::Zeroizing::new(body.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<u8>>());
        match STANDARD.decode(compact.as_slice()).map(zeroize::Zeroizing::new) {
            Ok(decoded) => user_data::look(&decoded),
            Err(_) => return Finding::Unreadable("not-base64".to_owned()),
        }
    } else {
        user_data::look(body)
    };
    looked.map_or_else(|fault| Finding::Unreadable(fault.kind().to_owned()), Finding::UserData)
}

fn account(platform: &Platform, status: u16, body: &[u8]) -> Finding {
    let text = String::from_utf8_lossy(body);
    let entries = text.lines().filter(|line| !line.trim().is_empty()).count();
    match (platform, status) {
        // A list of role names; 404 where no role is attached.
        (Platform::Aws, 404) => Finding::NoAccount,
        (Platform::Aws, 200) if entries > 0 => Finding::Account(entries),
        // A list of service accounts, empty where there is none.
        (Platform::Gcp, 404) => Finding::NoAccount,
        (Platform::Gcp, 200) if entries == 0 => Finding::NoAccount,
        (Platform::Gcp, 200) => Finding::Account(entries),
        // 200 mints a real token. It is dropped with the body, and was never looked at.
        (Platform::Azure, 200) => Finding::Account(1),
        (Platform::Azure, 400) if says_no_identity(&text) => Finding::NoAccount,
        _ => Finding::Unclear(status),
    }
}

#[derive(Deserialize)]
struct AzureError {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Azure's answer where no identity is assigned. Several identities without a chosen one are 400 too, and mean the contrary.
fn says_no_identity(text: &str) -> bool {
    serde_json::from_str::<AzureError>(text).is_ok_and(|said| {
        said.error == "invalid_request" && said.error_description.trim().eq_ignore_ascii_case("identity not found")
    })
}

/// The session token goes into a header of the next request.
fn is_header_value(body: &[u8]) -> bool {
    !body.is_empty() && body.len() <= 1024 && body.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests;
