//! Posture on the host: looks where the checks of core want to know something, and nowhere else.

pub mod actor;
pub mod capture;
pub mod cluster;
pub mod command;
pub mod docker;
pub mod files;
pub mod host;
pub mod http;
pub mod look;
pub mod netlink;
pub mod once;
pub mod pace;
pub mod probes;
pub mod sandbox;
pub mod saved;
pub mod selinux;
pub mod signals;
pub mod ssh;
pub mod sshd;
pub mod sweep;
pub mod task;
pub mod units;

pub use task::Posture;
