//! A real systemd host for the real binary: Debian 13 with SELinux enforcing, provisioned by the real Ignition, under QEMU.
//!
//! From the ground up: [`Cache`] keeps what is slow to make, [`root`] makes the host's file system, [`KubeletImage`] the
//! kubelet's container image, [`provision`] applies the Ignition config to a copy and makes the disk, [`qemu`] is the
//! machine, [`Guest`] the way in (ssh), and [`Vm`] all of it together, as a scenario wants it.
//!
//! It must not know how eyewall decides: it reads what anyone can read (socket, journal, files) and cuts the power.

pub mod binaries;
mod cache;
mod guest;
mod image;
mod lab;
mod program;
mod progress;
pub mod provision;
pub mod qemu;
pub mod root;
pub mod scene;
pub mod selinux;
mod vm;

pub use cache::{Cache, Entry, Key, WorkDirectory};
pub use guest::{Guest, JournalEntry, Output};
pub use image::KubeletImage;
pub use lab::Lab;
pub use progress::Progress;
pub use provision::{MadeBy, NodeSpec, Runtime};
pub use scene::Scene;
pub use vm::Vm;
