//! What a host says of its reboots, read: the release it runs, what waits to be booted, who keeps it up, and why it refused.
//!
//! Everything here is text or rows in, values out. Who asks (D-Bus, files, deadlines) is the daemon's `reboot`.

pub mod flatcar;
pub mod login;
pub mod ostree;
pub mod release;

pub use flatcar::{Coordinator, Phase, Update, update};
pub use login::{Inhibitor, LogindError, Semantics, delay_drift, systemd_version};
pub use ostree::{Deployment, FinalizeError, Next, next};
pub use release::{coreos, flatcar as flatcar_release, generic, required};
