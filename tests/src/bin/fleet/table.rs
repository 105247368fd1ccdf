//! What was measured, beside the aims and what the peers do.

use std::time::Duration;

use eyewall_core::reboot::slots::watch_lasts;

use crate::tally::Counts;
use crate::{Idle, Run};

/// A watch lasts 5-10 minutes. An idle fleet that was looked at for less than a few of them says nothing about requests an hour.
const WHOLE_HOUR: Duration = Duration::from_secs(3_600);

/// All of it.
#[derive(Debug)]
pub struct Measured {
    /// What it ran against.
    pub of: &'static str,
    /// How many nodes.
    pub nodes: usize,
    /// How many raced.
    pub racers: usize,
    /// How many slots they shared.
    pub limit: u32,
    /// At rest.
    pub idle: Idle,
    /// Hand-overs with reboots between them.
    pub timed: Run,
    /// Hand-overs as fast as they go.
    pub rush: Run,
    /// Hand-overs that all nodes try for at once.
    pub race: Run,
}

impl Measured {
    /// The counts of all parts.
    pub fn runs(&self) -> impl Iterator<Item = &Counts> {
        [&self.idle.counts, &self.timed.counts, &self.rush.counts, &self.race.counts].into_iter()
    }
}

/// Prints the table. What the peers need follows from how often they ask, by their sources: a Zincati that its FleetLock server refused asks again
/// after 300 s and up to 10 % (`DEFAULT_STEADY_INTERVAL_SECS`, and the jitter of its update agent); kured looks every `--period`, 1 h. Nothing tells
/// them that a slot is free. So one that waits comes half of that later, and the first of `n` an `n+1`st of it.
pub fn print(measured: &Measured) {
    let Measured { of, nodes, racers, limit, idle, timed, rush, race } = measured;
    let waiting = *nodes as f64;
    let (zincati, kured) = ([300.0, 330.0], [3_600.0, 3_600.0]);
    let polled = |[least, most]: [f64; 2]| {
        let mean = f64::midpoint(least, most);
        format!("one waits: {:.0} s, {most:.0} at most; {nodes} wait: {:.1} s", mean / 2.0, mean / (waiting + 1.0))
    };
    let polled_rate = |[least, most]: [f64; 2]| {
        let mean = f64::midpoint(least, most);
        format!("one waits: {:.4}; {nodes} wait: {:.1}", 2.0 / mean, (waiting + 1.0) / mean)
    };
    let each = |count: u64, counts: &Counts| format!("{:.1}", count as f64 / counts.grants.max(1) as f64);
    let rate = |count: u64, span: Duration| count as f64 / span.as_secs_f64();
    let per_node_hour = |count: u64, span: Duration| rate(count, span) * 3_600.0 / waiting;
    let watches_an_hour = |draw: f64| 3_600.0 / watch_lasts(draw).as_secs_f64();
    let by_length = format!("{:.0} by a watch's length, {:.0} at most", watches_an_hour(0.5), watches_an_hour(0.0));
    let requests = [idle.counts.watches, idle.counts.takes, idle.counts.keeps, idle.counts.nodes];
    let idle_requests = if idle.span >= WHOLE_HOUR {
        format!("{:.1}", per_node_hour(requests.iter().sum(), idle.span))
    } else {
        let other: u64 = requests.iter().skip(1).sum();
        format!("{by_length}; beside the watch {other} in {} s of {nodes} nodes", idle.span.as_secs())
    };
    let open = idle.open.map_or_else(|| "not told".to_owned(), |open| format!("{:.2}", open as f64 / waiting));
    let tried = &race.counts;

    println!("\n{nodes} nodes, {limit} slots, against {of}\n");
    println!("| measured | aim | got | Zincati, FleetLock | kured |\n|---|---|---|---|---|");
    let row = |what: &str, aim: &str, got: &str, zincati: &str, kured: &str| {
        println!("| {what} | {aim} | {got} | {zincati} | {kured} |");
    };
    row("freed slot to next grant", "median <= 250 ms", &spread(&timed.counts.waits), &polled(zincati), &polled(kured));
    row("PATCHes for a grant, refused ones too", "", &each(timed.counts.takes, &timed.counts), "", "");
    row("PATCHes for the rest of a hand-over", "", &each(timed.counts.keeps, &timed.counts), "", "");
    row("Node reads for a hand-over, by all that wait", "", &each(timed.counts.nodes, &timed.counts), "", "");
    row(
        "hand-overs a second, reboots of no time",
        "",
        &format!("{:.1} (freed to granted: {})", rate(rush.counts.grants, rush.took), spread(&rush.counts.waits)),
        &polled_rate(zincati),
        &polled_rate(kured),
    );
    row("requests of an idle node in an hour", "<= 12", &idle_requests, "11-12, for updates", "1 look");
    row("open connections of an idle node", "<= 1", &open, "0", "0");
    row(
        &format!("double grants, {racers} nodes that all try at once"),
        "0",
        &format!("{} in {} tries, {} granted", tried.doubles, tried.takes, tried.grants),
        "",
        "",
    );
    let doubles: u64 = measured.runs().map(|counts| counts.doubles).sum();
    let failures: u64 = measured.runs().map(|counts| counts.failures).sum();
    let tries: u64 = measured.runs().map(|counts| counts.takes).sum();
    row("double grants in all of it", "0", &format!("{doubles} in {tries} tries"), "", "");
    println!("\nConnections that did not come about: {failures}.");
    println!(
        "A hand-over is timed from before the PATCH that frees is sent until the PATCH that takes is answered, 20 ms of rest included."
    );
}

/// Median, where nine of ten lie, the hundredth that took longest, and the longest.
fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let at = |share: f64| {
        let index = (times.len().saturating_sub(1) as f64 * share).round() as usize;
        times.get(index).copied().unwrap_or_default().as_millis()
    };
    format!(
        "median {} ms (5-95 %: {}-{}, p99 {}, worst {}, n = {})",
        at(0.5),
        at(0.05),
        at(0.95),
        at(0.99),
        at(1.0),
        times.len()
    )
}
