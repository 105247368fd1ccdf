//! The checks, a file for each family.

pub mod selinux;
pub mod ssh;

use super::Check;

/// Every family's checks. A new family is a file here and its line.
pub static FAMILIES: &[&[Check]] = &[selinux::CHECKS, ssh::CHECKS];
