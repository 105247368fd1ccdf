//! `eyewall events`: what happened since the agent started, and with `--follow` what happens. The journal has the rest:
//! `journalctl -t eyewall`.

use std::process::ExitCode;
use std::time::Duration;

use eyewall_core::screen::event_line;
use eyewall_core::status::{EventRecord, Story};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::Global;
use super::terminal::{Terminal, print, reader_gone};
use crate::query::{Client, QueryError, runtime, sentence};

/// Between two tries to find a daemon that went away.
const PAUSE: Duration = Duration::from_secs(1);

/// The flags of `eyewall events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stay and print what happens; Ctrl-C ends it
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    let client = Client::new(&global.socket_path());
    let mut teller = Teller { json: args.json, terminal: Terminal::of_stdout(), last: None };
    let result = runtime().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            if args.follow {
                follow(&client, &mut teller).await
            } else {
                let story: Story = client.get("/v1/events").await?;
                let _ = story.events.iter().all(|record| teller.tell(record));
                Ok(())
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eyewall events: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// Prints records, each once.
#[derive(Debug)]
struct Teller {
    json: bool,
    terminal: Terminal,
    last: Option<u64>,
}

impl Teller {
    /// False when nobody reads any more.
    fn tell(&mut self, record: &EventRecord) -> bool {
        let missed = missed(self.last, record.sequence);
        self.last = Some(record.sequence);
        if missed > 0 {
            eprintln!("eyewall events: {missed} events came too fast and are only in the journal");
        }
        if self.json {
            json_line(record).is_none_or(|line| print(&line))
        } else {
            print(&format!("{}\n", event_line(record, self.terminal.color)))
        }
    }
}

fn json_line(record: &impl Serialize) -> Option<String> {
    serde_json::to_string(record).ok().map(|line| line + "\n")
}

fn missed(last: Option<u64>, next: u64) -> u64 {
    last.map_or(0, |last| next.saturating_sub(last.saturating_add(1)))
}

/// Until a signal; over restarts of the daemon.
async fn follow(client: &Client, teller: &mut Teller) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = stream(client, teller) => Ok(result?),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = reader_gone() => Ok(()),
    }
}

async fn stream(client: &Client, teller: &mut Teller) -> Result<(), QueryError> {
    let mut connected = false;
    loop {
        match client.follow("/v1/events?follow=1").await {
            Ok(mut lines) => {
                connected = true;
                // Another start of the daemon counts from 1 again. If it is the same one, what was told is told once more.
                teller.last = None;
                while let Some(line) = lines.next().await? {
                    if !teller.tell(&client.read(&line)?) {
                        return Ok(());
                    }
                }
                eprintln!("eyewall events: eyewall ended the stream; waiting for it to come back");
            }
            // The first try tells its fault; later ones wait for the daemon to come back.
            Err(error) if !connected => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted() {
        for (last, next, want) in [(None, 7, 0), (Some(7), 8, 0), (Some(7), 11, 3), (Some(7), 1, 0)] {
            assert_eq!(missed(last, next), want, "{last:?} {next}");
        }
    }
}
