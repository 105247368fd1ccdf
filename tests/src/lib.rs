//! What the tests of the real binary stand on: stand-ins that speak the real protocols.

pub mod apiserver;
pub mod bus;
pub mod client;
pub mod container;
pub mod cut_points;
pub mod host_clock;
pub mod kubelet;
pub mod metadata;
pub mod namespace;
pub mod node;
pub mod os_standin;
pub mod serving;
pub mod sshd;
pub mod trust;
