//! The scenarios, one a file. They share one program, because linking is slow, and go one after the other.
//!
//! `cargo test -p vm-tests -- --nocapture` shows what is being done and how long it takes.

mod certificate;
mod clock;
mod coordinated;
mod expect;
mod expiry;
mod first_boot;
mod posture;
mod posture_selinux;
mod posture_ssh;
mod posture_ways;
mod power_cut;
mod reboot;
mod recovery;
mod renewals;
mod switch_over;
