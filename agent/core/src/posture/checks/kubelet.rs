//! The kubelet: whom it answers, how it is set up, from which image it runs, and what of it lies on the disk.
//!
//! The settings judged are those of the *running* process: its command line names the file and overrides it. A file that cannot be read makes a
//! check unknown, never a pass: "not set" is only said of a file that was read.
//!
//! The items of the CIS Kubernetes benchmark (v1.12, section 4) are named on the checks that cover them. 4.1.3 and 4.1.4 (kube-proxy's
//! kubeconfig) and 4.3.1 (kube-proxy's metrics) are about files and a process that a Typhoon node does not have: kube-proxy, where there is
//! one, runs in the cluster with a service account. 4.2.7 (no hostname override) is wrong for bare metal and DigitalOcean, where it is by design.

mod access;
mod certificates;
mod drift;
mod files;
mod image;
mod limits;
mod node;
mod running;

pub use access::CHECKS as ACCESS_CHECKS;
pub use certificates::CHECKS as CERTIFICATE_CHECKS;
pub use drift::CHECKS as DRIFT_CHECKS;
pub use files::CHECKS as FILE_CHECKS;
pub use image::CHECKS as IMAGE_CHECKS;
pub use limits::CHECKS as LIMIT_CHECKS;
pub use node::CHECKS as NODE_CHECKS;

pub(super) use certificates::certificate;
pub(super) use files::{Fault as FileFault, readable_by_others};
pub(super) use node::PODS;

use crate::posture::claim;
use crate::posture::{Accepts, Check, Judged, Severity, Worth, nothing_promised};

/// What the checks of this family have in common.
const BASE: Check = Check {
    id: "",
    title: "",
    claim: &claim::KUBELET,
    severity: Severity::Medium,
    reads: &[],
    judge: |_| Ok(Judged::unknown("not-judged", "This check has no judge: report it as a fault of eyewall.")),
    worth: Worth::Proves(""),
    not: "",
    cis: &[],
    expects: Accepts::Nothing,
    promised: nothing_promised,
};

#[cfg(test)]
mod tests;
