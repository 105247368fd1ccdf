//! `eyewall status`: the node on one screen, once or alive. Exit code 0 if the node is good.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use eyewall_core::screen;
use eyewall_core::status::{Health, Status};
use eyewall_core::time::Time;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::Global;
use super::terminal::{Canvas, Terminal, print, reader_gone};
use crate::query::{Client, QueryError, runtime, sentence};

/// How often `--watch` looks and draws.
const TICK: Duration = Duration::from_secs(1);

/// The flags of `eyewall status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stay and draw it about once a second; Ctrl-C ends it
    #[arg(long)]
    watch: bool,
    /// The document as the socket serves it; with --watch one line for each change
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    let client = Client::new(&global.socket_path());
    let result = runtime().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            if args.watch { watch(&client, args.json).await } else { Ok(once(&client, args.json).await?) }
        })
    });
    match result {
        Ok(Health::Good) => ExitCode::SUCCESS,
        Ok(Health::Bad | Health::Unknown) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("eyewall status: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

async fn once(client: &Client, json: bool) -> Result<Health, QueryError> {
    let document = client.document("/v1/status").await?;
    let status: Status = client.read(&document)?;
    if json {
        print(&String::from_utf8_lossy(&document));
    } else {
        print(&draw(&status, Terminal::of_stdout()));
    }
    Ok(status.health)
}

fn draw(status: &Status, terminal: Terminal) -> String {
    let (width, _) = terminal.size();
    screen::render(status, Time(crate::clock::now()), width, terminal.color)
}

/// What was last seen.
#[derive(Debug)]
enum Seen {
    Status(Bytes, Box<Status>),
    Gone(String),
}

/// Where `--watch` writes to: a screen that is drawn over, or lines that are added when something changed.
#[derive(Debug)]
enum Output {
    Canvas(Canvas),
    Pages,
    Json,
}

/// Looks until a signal ends it or nobody reads any more; the result is how it last was.
async fn watch(client: &Client, json: bool) -> anyhow::Result<Health> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

    // A fault that waiting does not heal is told at once, and not from inside the canvas.
    let mut last = match look(client).await {
        Ok(seen) => seen,
        Err(error @ QueryError::NotPermitted { .. }) => return Err(error.into()),
        Err(error) => Seen::Gone(error.to_string()),
    };
    let terminal = Terminal::of_stdout();
    let output = match (json, terminal.interactive) {
        (true, _) => Output::Json,
        (false, true) => Output::Canvas(Canvas::enter()),
        (false, false) => Output::Pages,
    };
    let mut gone = std::pin::pin!(reader_gone());
    let mut changed = true;
    let mut health = Health::Unknown;
    loop {
        if let Seen::Status(_, status) = &last {
            health = status.health;
        }
        if !show(&output, &last, terminal, changed) {
            return Ok(health);
        }
        tokio::select! {
            _ = tick.tick() => {}
            _ = interrupt.recv() => return Ok(health),
            _ = terminate.recv() => return Ok(health),
            _ = hangup.recv() => return Ok(health),
            () = &mut gone => return Ok(health),
        }
        let seen = match look(client).await {
            Ok(seen) => seen,
            Err(error) => Seen::Gone(error.to_string()),
        };
        changed = !same(&seen, &last);
        last = seen;
    }
}

async fn look(client: &Client) -> Result<Seen, QueryError> {
    let document = client.document("/v1/status").await?;
    let status = client.read(&document)?;
    Ok(Seen::Status(document, Box::new(status)))
}

fn same(a: &Seen, b: &Seen) -> bool {
    match (a, b) {
        (Seen::Status(a, _), Seen::Status(b, _)) => a == b,
        (Seen::Gone(a), Seen::Gone(b)) => a == b,
        _ => false,
    }
}

/// False when nobody reads any more.
fn show(output: &Output, seen: &Seen, terminal: Terminal, changed: bool) -> bool {
    match (output, seen) {
        // Ages and the bar move, so a canvas is drawn each time.
        (Output::Canvas(canvas), Seen::Status(_, status)) => canvas.draw(&draw(status, terminal), terminal.size().1),
        (Output::Canvas(canvas), Seen::Gone(why)) => {
            let (width, rows) = terminal.size();
            canvas.draw(&screen::notice(&gone(why), width, terminal.color), rows)
        }
        (_, _) if !changed => true,
        (Output::Pages, Seen::Status(_, status)) => print(&format!("{}\n", draw(status, terminal))),
        (Output::Json, Seen::Status(document, _)) => print(&String::from_utf8_lossy(document)),
        (Output::Pages | Output::Json, Seen::Gone(why)) => {
            eprintln!("eyewall status: {}", gone(why));
            true
        }
    }
}

fn gone(why: &str) -> String {
    format!("{why}. Looking again every second.")
}
