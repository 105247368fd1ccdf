//! The checks, a file for each family.

pub mod cloud;
pub mod etcd;
pub mod kubelet;
pub mod listeners;
pub mod sandbox;
pub mod selinux;
mod span;
pub mod ssh;
pub mod updates;

use super::Check;

/// Every family's checks. A new family is a file here and its line.
pub static FAMILIES: &[&[Check]] = &[
    selinux::CHECKS,
    ssh::CHECKS,
    updates::ZINCATI_CHECKS,
    updates::FCOS_CHECKS,
    updates::FLATCAR_CHECKS,
    kubelet::ACCESS_CHECKS,
    kubelet::CERTIFICATE_CHECKS,
    kubelet::DRIFT_CHECKS,
    kubelet::FILE_CHECKS,
    kubelet::IMAGE_CHECKS,
    kubelet::LIMIT_CHECKS,
    kubelet::NODE_CHECKS,
    etcd::CHECKS,
    etcd::CONTROL_PLANE_CHECKS,
    cloud::CHECKS,
    listeners::CHECKS,
    sandbox::CHECKS,
];
