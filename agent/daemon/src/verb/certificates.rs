//! `eyewall certificates`: the kubelet's certificate; `renew` asks for a new one; `needs-renewal` answers scripts by its
//! exit code, also where no daemon runs.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use eyewall_core::cert::{CertFault, CertView, bundle};
use eyewall_core::config::{parse_duration, spell};
use eyewall_core::rotation::{schedule, wish};
use eyewall_core::screen;
use eyewall_core::status::{CertificatesStatus, Health, RenewalAnswer};
use eyewall_core::time::{Time, human};
use zeroize::Zeroizing;

use super::Global;
use super::terminal::{Terminal, print};
use crate::query::{Client, QueryError, runtime, sentence};

/// The link to the PEM in force, as the kubelet names it.
const CURRENT: &str = "kubelet-client-current.pem";
/// The largest PEM that is read; a chain of three and its key have less than a tenth of it.
const LARGEST: u64 = 1024 * 1024;

/// The flags of `eyewall certificates`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The document as the socket serves it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Renew now (root only). With --at-least only if less is left, and the exit code says whether so much is left then
    Renew {
        /// Make sure that so much of its life is left, as before a reboot: 24h
        #[arg(long, value_name = "TIME", value_parser = span(&wish::AT_LEAST))]
        at_least: Option<Duration>,
        /// How long the answer may take [default: 2m]
        #[arg(long, value_name = "TIME", requires = "at_least", value_parser = span(&wish::WAIT))]
        wait: Option<Duration>,
    },
    /// Is it due? Exit code 0: yes, 1: no, 2: no such file, 255: it cannot be told
    NeedsRenewal {
        /// A PEM file; by default the one in force
        file: Option<PathBuf>,
    },
}

/// Runs the verb.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    let result = match &args.verb {
        Some(Verb::NeedsRenewal { file }) => return needs_renewal(global, file.as_deref()),
        Some(Verb::Renew { at_least: None, .. }) => ask(global, renew),
        Some(Verb::Renew { at_least: Some(left), wait }) => {
            ask(global, async |client| at_least(client, *left, wait.unwrap_or(wish::USUAL_WAIT)).await)
        }
        None => ask(global, async |client| show(client, args.json).await),
    };
    match result {
        Ok(Health::Good) => ExitCode::SUCCESS,
        Ok(Health::Bad | Health::Unknown) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("eyewall certificates: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn ask(global: &Global, question: impl AsyncFnOnce(&Client) -> Result<Health, QueryError>) -> anyhow::Result<Health> {
    let client = Client::new(&global.socket_path());
    Ok(runtime()?.block_on(question(&client))?)
}

async fn renew(client: &Client) -> Result<Health, QueryError> {
    let accepted = client.post("/v1/certificates/renew").await?;
    print(&format!("{}\n", accepted.message));
    Ok(Health::Good)
}

/// Good if so much is left when the daemon answers.
async fn at_least(client: &Client, left: Duration, wait: Duration) -> Result<Health, QueryError> {
    let target = format!("/v1/certificates/renew?at_least={}&wait={}", spell(left), spell(wait));
    let answer: RenewalAnswer = client.post_within(&target, wait).await?;
    let told = format!("{} [{}]\n", answer.reason.message, answer.reason.kind);
    if answer.holds {
        print(&told);
        Ok(Health::Good)
    } else {
        eprint!("eyewall certificates: {told}");
        Ok(Health::Bad)
    }
}

/// Reads a span within `bounds`.
fn span(bounds: &'static RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        parse_duration(text).filter(|span| bounds.contains(span)).ok_or_else(|| {
            format!(
                "a time from {} to {} is needed, like 90s, 10m or 2h30m",
                spell(*bounds.start()),
                spell(*bounds.end())
            )
        })
    }
}

async fn show(client: &Client, json: bool) -> Result<Health, QueryError> {
    let document = client.document("/v1/certificates").await?;
    let part: CertificatesStatus = client.read(&document)?;
    if json {
        print(&String::from_utf8_lossy(&document));
    } else {
        let terminal = Terminal::of_stdout();
        let now = Time(crate::clock::now());
        print(&screen::render_certificates(&part, now, terminal.size().0, terminal.color));
    }
    Ok(part.health)
}

/// The verdicts of `step certificate needs-renewal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Due,
    NotDue,
    NoFile,
    CannotTell,
}

impl Verdict {
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Due => 0,
            Self::NotDue => 1,
            Self::NoFile => 2,
            Self::CannotTell => 255,
        })
    }
}

fn needs_renewal(global: &Global, file: Option<&Path>) -> ExitCode {
    let config = match global.load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("eyewall certificates: {error:#}");
            return Verdict::CannotTell.code();
        }
    };
    let path = file.map_or_else(|| config.certificates.directory.join(CURRENT), Path::to_path_buf);
    let now = Time(crate::clock::now());
    let (verdict, told) = judge(&path, config.certificates.renew_at, now);
    match verdict {
        Verdict::Due | Verdict::NotDue => {
            print(&format!("{told}\n"));
        }
        Verdict::NoFile | Verdict::CannotTell => eprintln!("eyewall certificates: {told}"),
    }
    verdict.code()
}

/// By the same point as the daemon's, which is drawn from the serial.
fn judge(path: &Path, renew_at: [f64; 2], now: Time) -> (Verdict, String) {
    let place = path.display();
    let (text, installed) = match read(path) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return (Verdict::NoFile, format!("there is no {place}"));
        }
        Err(error) => {
            return (Verdict::CannotTell, format!("{place} cannot be read: {error}"));
        }
    };
    let leaf = bundle(&text).and_then(|bundle| {
        let leaf = bundle.chain.first().ok_or(CertFault::NoCertificate)?;
        CertView::from_der(leaf)
    });
    let leaf = match leaf {
        Ok(leaf) => leaf,
        Err(fault) => {
            return (Verdict::CannotTell, format!("{place} is of no use: {fault}"));
        }
    };
    let due = schedule(&leaf, installed, renew_at).renew_at;
    let span = |from: Time, to: Time| human(to.0.duration_since(from.0).unwrap_or_default());
    if now >= due {
        let sentence = format!("due since {due}, {} ago", span(due, now));
        (Verdict::Due, sentence)
    } else {
        let sentence = format!("not due before {due}, in {}", span(now, due));
        (Verdict::NotDue, sentence)
    }
}

fn read(path: &Path) -> std::io::Result<(Zeroizing<String>, Time)> {
    use std::io::Read as _;
    let file = std::fs::File::open(path)?;
    let installed = Time(file.metadata()?.modified()?);
    // The file has the key beside the certificate: what is read is wiped.
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok((text, installed))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

    use super::*;

    /// 2026-11-24T02:15:08Z.
    const START: u64 = 1_795_486_508;
    const DAY: u64 = 86_400;

    /// A PEM of a hundred days from START, with its key, installed at its start.
    fn pem() -> String {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.not_before = at(START).0.into();
        params.not_after = at(START + 100 * DAY).0.into();
        let certificate = params.self_signed(&key).expect("signed");
        certificate.pem() + &key.serialize_pem()
    }

    fn at(seconds: u64) -> Time {
        Time::from_unix(seconds)
    }

    #[test]
    fn the_verdicts_of_step() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::write(&path, text).expect("written");
            let file = File::options().append(true).open(&path).expect("there");
            file.set_modified(at(START).0).expect("dated");
            path
        };
        let good = write("good.pem", &pem());
        let key = write("key.pem", &KeyPair::generate().expect("a key").serialize_pem());
        let half = write("half.pem", &pem()[..300]);
        let empty = write("empty.pem", "");
        let binary = root.path().join("binary.pem");
        std::fs::write(&binary, [0xff, 0xfe, 0x00]).expect("written");
        let missing = root.path().join("missing.pem");
        let directory = root.path().to_path_buf();
        for (name, path, days, want) in [
            ("young", &good, 10, Verdict::NotDue),
            ("just before", &good, 59, Verdict::NotDue),
            ("just after", &good, 68, Verdict::Due),
            ("expired", &good, 200, Verdict::Due),
            ("missing", &missing, 10, Verdict::NoFile),
            ("a key alone", &key, 10, Verdict::CannotTell),
            ("half of it", &half, 10, Verdict::CannotTell),
            ("empty", &empty, 10, Verdict::CannotTell),
            ("not text", &binary, 10, Verdict::CannotTell),
            ("a directory", &directory, 10, Verdict::CannotTell),
        ] {
            let (got, sentence) = judge(path, [0.60, 0.67], at(START + days * DAY));
            assert_eq!(got, want, "{name}: {sentence}");
            assert!(!sentence.contains("PRIVATE"), "{name}: {sentence}");
        }
    }
}
