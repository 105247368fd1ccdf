//! The checks, a file for each family.

pub mod selinux;

use super::Check;

/// Every family's checks. A new family is a file here and its line.
pub static FAMILIES: &[&[Check]] = &[selinux::CHECKS];
