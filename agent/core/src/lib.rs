//! The decisions of eyewall. Values in, values out: this crate reads no clock, no file and no socket,
//! and its manifest holds nothing that could. What it decides is carried out by `agent/daemon`.
//!
//! A newcomer reads [`status`] (what the agent knows), then [`rotation`] (the certificate's one decision) and its table.

pub mod backoff;
pub mod cert;
pub mod config;
pub mod csr;
pub mod event;
pub mod hostname;
pub mod kubeconfig;
pub mod kubelet;
pub mod metrics;
pub mod os;
pub mod posture;
pub mod proof;
pub mod reboot;
pub mod report;
pub mod rotation;
pub mod screen;
pub mod secret;
pub mod serving;
pub mod status;
pub mod time;
