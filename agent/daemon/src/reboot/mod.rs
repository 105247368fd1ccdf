//! Reboots: the host's side (logind, rpm-ostree, update_engine, files) and the cluster's, acting for `eyewall_core::reboot`.

pub mod announce;
pub mod backend;
pub mod bus;
pub mod cluster_side;
pub mod delay;
pub mod drain;
pub mod fcos;
pub mod flatcar;
pub mod fleetlock;
pub mod generic;
pub mod host_side;
pub mod kept;
pub mod ledger;
pub mod lock;
pub mod logind;
pub mod node;
pub mod reach;
pub mod rights;
pub mod rpm_ostree;
pub mod slots;
pub mod task;
#[cfg(test)]
mod testing;
pub mod view;
pub mod zone;

#[cfg(test)]
mod host_tests;
