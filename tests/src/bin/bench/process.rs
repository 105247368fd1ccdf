//! What the kernel says of a process.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Resident memory, in words.
pub fn memory(pid: u32) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let (all, own) = (of("VmRSS:").context("VmRSS")?, of("RssAnon:").context("RssAnon")?);
    Ok(format!("{:.2} MB ({:.2} MB anonymous)", all / 1024.0, own / 1024.0))
}

/// Voluntary and other context switches of all threads.
pub fn switches(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        for line in status.lines().filter(|line| line.contains("ctxt_switches")) {
            sum += line.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Time on a processor.
#[derive(Clone, Copy)]
pub struct Cpu {
    /// As the kernel accounts it: hundredths of a second.
    pub ticks: u64,
    /// As its scheduler counts it: nanoseconds.
    pub run: Duration,
}

/// Of all threads since the start.
pub fn cpu(pid: u32) -> Result<Cpu> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; utime and stime are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')').context("stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let mut run = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedule = std::fs::read_to_string(task?.path().join("schedstat"))?;
        run += schedule.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Cpu { ticks, run: Duration::from_nanos(run) })
}
