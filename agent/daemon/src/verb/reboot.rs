//! `eyewall reboot`: may this host reboot, and why (not); and the orders `reboot request`, `hold`, `release` and `force`.

use std::process::ExitCode;

use eyewall_core::reboot::orders::Why;
use eyewall_core::screen;
use eyewall_core::status::{Health, RebootStatus};
use eyewall_core::time::Time;

use super::Global;
use super::terminal::{Terminal, print};
use crate::orders::Orders;
use crate::query::{Client, QueryError, runtime, sentence};

/// The flags of `eyewall reboot`.
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
    /// Ask for a reboot of this host when it is its turn (root only)
    Request {
        /// For whoever finds it so
        #[arg(long, value_name = "TEXT", value_parser = why)]
        why: Option<String>,
    },
}

/// The flags of `eyewall hold` and `eyewall force`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// For whoever finds this host so; it is shown wherever the reason is
    #[arg(long, value_name = "TEXT", value_parser = why)]
    why: String,
}

fn why(text: &str) -> Result<String, String> {
    Why::new(text).map(|why| why.as_str().to_owned()).map_err(|fault| fault.to_string())
}

/// `eyewall reboot`.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    match &args.verb {
        None => ended("reboot", ask(global, async |client| show(client, args.json).await)),
        Some(Verb::Request { why }) => order(global, "reboot request", "/v1/reboot/request", why.as_deref()),
    }
}

/// `eyewall hold`.
pub fn hold(global: &Global, args: &WhyArgs) -> ExitCode {
    order(global, "hold", "/v1/reboot/hold", Some(&args.why))
}

/// `eyewall release`.
pub fn release(global: &Global) -> ExitCode {
    order(global, "release", "/v1/reboot/release", None)
}

/// `eyewall force`.
pub fn force(global: &Global, args: &WhyArgs) -> ExitCode {
    order(global, "force", "/v1/reboot/force", Some(&args.why))
}

async fn show(client: &Client, json: bool) -> Result<Health, QueryError> {
    let document = client.document("/v1/reboot").await?;
    let part: RebootStatus = client.read(&document)?;
    if json {
        print(&String::from_utf8_lossy(&document));
    } else {
        let terminal = Terminal::of_stdout();
        let now = Time(crate::clock::now());
        print(&screen::render_reboot(&part, now, terminal.size().0, terminal.color));
    }
    Ok(part.health)
}

fn order(global: &Global, verb: &str, target: &str, why: Option<&str>) -> ExitCode {
    let body = why.map_or_else(Vec::new, |why| serde_json::json!({ "why": why }).to_string().into_bytes());
    let given = ask(global, async |client| {
        let taken = client.post_json(target, body, Orders::patience()).await?;
        print(&format!("{}\n", taken.message));
        Ok(Health::Good)
    });
    ended(verb, given)
}

fn ask(global: &Global, question: impl AsyncFnOnce(&Client) -> Result<Health, QueryError>) -> anyhow::Result<Health> {
    let client = Client::new(&global.socket_path());
    Ok(runtime()?.block_on(question(&client))?)
}

fn ended(verb: &str, result: anyhow::Result<Health>) -> ExitCode {
    match result {
        Ok(Health::Good) => ExitCode::SUCCESS,
        Ok(Health::Bad | Health::Unknown) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("eyewall {verb}: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}
