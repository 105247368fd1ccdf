//! Reboots: the host's side (logind, rpm-ostree, update_engine, files) and the cluster's, acting for `eyewall_core::reboot`.

pub mod backend;
pub mod bus;
pub mod delay;
pub mod fcos;
pub mod flatcar;
pub mod generic;
pub mod logind;
pub mod rpm_ostree;

#[cfg(test)]
mod host_tests;
