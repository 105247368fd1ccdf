//! "SELinux enforcing mode": enforcing is a conjunction, so each part of it is a check with evidence of its own. `getenforce` sees one of
//! them, and a checker that reads only `/etc/selinux/config` sees another.

pub mod boot;
pub mod domains;
pub mod mode;
pub mod policy;
pub mod transitions;

use crate::os::Os;
use crate::posture::boot::{CMDLINE, ENTRIES, ENTRY, OEM_GRUB};
use crate::posture::claim;
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Worth, also, needs, nothing_promised};

pub use domains::{CONTEXTS, ContainerContext, Contexts, DENIALS, DenialView, Denials, POD_CONTEXTS, PodContexts};
pub use mode::{CONFIG, ENFORCE, FILESYSTEMS, LSM, SELINUXFS, SelinuxFs};
pub use policy::{FileHash, PERMISSIVE_TYPES, POLICY, POLICY_FILES, PermissiveTypes, PolicyFiles};
pub use transitions::{STATUS, WATCH};

fn promised(os: &Os) -> Option<&'static str> {
    os.selinux.expected()
}

/// Fedora CoreOS ships a few programs of its own that run permissive until their rules are written (manifests/selinux-workaround.yaml).
fn permissive_as_shipped(os: &Os) -> Option<&'static str> {
    (os.id == crate::os::FCOS.id).then_some("afterburn_t,bootupd_t,coreos_installer_t")
}

const MODES: Accepts = Accepts::OneOf(&["enforcing", "permissive"]);

/// The check whose expectation says which mode the host promises; the others follow it.
const MODE: &Check = &Check {
    id: "selinux-mode",
    title: "SELinux is in the mode the host promises, now",
    claim: &claim::SELINUX,
    severity: Severity::High,
    reads: &[needs(&ENFORCE), needs(&FILESYSTEMS)],
    judge: mode::now,
    worth: Worth::Proves("It is the kernel's own word for the mode at this moment."),
    not: "That the policy confines anything: see selinux-policy and selinux-permissive-domains.",
    cis: &[],
    expects: MODES,
    promised,
};

/// The family.
pub const CHECKS: &[Check] = &[
    *MODE,
    Check {
        id: "selinux-genuine",
        title: "What says so is the kernel's own SELinux",
        claim: &claim::SELINUX,
        severity: Severity::High,
        reads: &[needs(&SELINUXFS), needs(&LSM)],
        judge: mode::genuine,
        worth: Worth::Proves(
            "The file that says the mode lies on the kernel's selinuxfs, and SELinux is among the active security modules.",
        ),
        not: "That the kernel itself is the one the OS shipped.",
        cis: &[],
        expects: Accepts::Nothing,
        promised: nothing_promised,
    },
    Check {
        id: "selinux-config",
        title: "The configuration keeps the mode at the next boot",
        claim: &claim::SELINUX,
        severity: Severity::Medium,
        reads: &[needs(&CONFIG)],
        judge: mode::config,
        worth: Worth::Proves("/etc/selinux/config asks for the mode and for the policy of the OS."),
        not: "The mode now, nor that no kernel argument overrides the file.",
        cis: &[],
        expects: MODES,
        promised,
    },
    Check {
        id: "selinux-kernel-arguments",
        title: "No argument of this boot turns SELinux off",
        claim: &claim::SELINUX,
        severity: Severity::Medium,
        reads: &[needs(&CMDLINE)],
        judge: boot::this_boot,
        worth: Worth::Proves("This boot was not told to leave SELinux out or to be permissive."),
        not: "What the next boot is told.",
        cis: &[],
        expects: Accepts::Nothing,
        promised: nothing_promised,
    },
    Check {
        id: "selinux-next-boot",
        title: "No boot loader entry turns SELinux off",
        claim: &claim::SELINUX,
        severity: Severity::Medium,
        reads: &[needs(&ENTRIES).or_absent(), needs(&ENTRY).or_none(), needs(&OEM_GRUB).or_absent().whatever_it_says()],
        judge: boot::next_boot,
        worth: Worth::Proves("No entry that may be booted next leaves SELinux out or makes it permissive."),
        not: "What somebody types at the console of the boot loader.",
        cis: &[],
        expects: Accepts::Nothing,
        promised: nothing_promised,
    },
    Check {
        id: "selinux-policy",
        title: "A policy is loaded",
        claim: &claim::SELINUX,
        severity: Severity::High,
        reads: &[needs(&POLICY), needs(&CONTEXTS)],
        judge: policy::loaded,
        worth: Worth::Proves("The kernel holds a policy, and processes are labelled by it."),
        not: "That it is the policy of the OS: see selinux-policy-origin.",
        cis: &[],
        expects: Accepts::Nothing,
        promised: nothing_promised,
    },
    Check {
        id: "selinux-permissive-domains",
        title: "No domain is exempt from the policy",
        claim: &claim::SELINUX,
        severity: Severity::High,
        reads: &[needs(&POLICY), also(&PERMISSIVE_TYPES)],
        judge: policy::permissive_domains,
        worth: Worth::Proves("The policy that the kernel holds has no permissive domain but those that are allowed."),
        not: "That every domain is well confined: unconfined domains are part of the policy.",
        cis: &[],
        expects: Accepts::Names("the domains that may be permissive, in the place of those that the OS ships so"),
        promised: permissive_as_shipped,
    },
    Check {
        id: "selinux-policy-origin",
        title: "The policy is the one of the OS",
        claim: &claim::SELINUX,
        severity: Severity::Medium,
        reads: &[needs(&POLICY_FILES)],
        judge: policy::origin,
        worth: Worth::Proves("The policy file in /etc is the one that the OS shipped: no module was added."),
        not: "That the loaded policy was not replaced without the file.",
        cis: &[],
        expects: Accepts::Nothing,
        promised: nothing_promised,
    },
    Check {
        id: "selinux-transitions",
        title: "Nobody switched SELinux off for a moment",
        claim: &claim::SELINUX,
        severity: Severity::Medium,
        reads: &[needs(&WATCH), needs(&STATUS)],
        judge: transitions::judge,
        worth: Worth::Proves("The kernel counts its changes, and none lately left the mode or went unseen."),
        not: "What was before the agent first ran in this boot.",
        cis: &[],
        expects: Accepts::Span("how long a change is held against the host"),
        promised: nothing_promised,
    },
    Check {
        id: "selinux-own-domain",
        title: "The agent and systemd run in domains of the policy",
        claim: &claim::SELINUX,
        severity: Severity::Low,
        reads: &[needs(&CONTEXTS)],
        judge: domains::own,
        worth: Worth::Reports("The agent left systemd's own domain when it was started."),
        not: "That the domain is a narrow one: without a policy module of its own the agent runs as an unconfined service.",
        cis: &[],
        expects: Accepts::Nothing,
        promised: nothing_promised,
    },
    Check {
        id: "selinux-runtime-domain",
        title: "The container runtime runs in the domain that confines its containers",
        claim: &claim::SELINUX,
        severity: Severity::Medium,
        reads: &[needs(&CONTEXTS)],
        judge: domains::runtime,
        worth: Worth::Proves("containerd runs in the domain from which the policy lets it start confined containers."),
        not: "That each pod is confined: see selinux-pod-domains.",
        cis: &[],
        expects: Accepts::Names("further domains that containerd may run in"),
        promised: nothing_promised,
    },
    Check {
        id: "selinux-pod-domains",
        title: "Pods outside of kube-system are confined",
        claim: &claim::SELINUX,
        severity: Severity::Low,
        reads: &[needs(&POD_CONTEXTS).or_empty()],
        judge: domains::pods,
        worth: Worth::Proves("No pod outside of kube-system runs in an unconfined domain at this moment."),
        not: "What pods of kube-system may do: cilium and kube-proxy are privileged by design.",
        cis: &[],
        expects: Accepts::Names("further namespaces whose pods may be unconfined"),
        promised: nothing_promised,
    },
    Check {
        id: "selinux-denials",
        title: "Denials are heard, and none was let through",
        claim: &claim::SELINUX,
        severity: Severity::Low,
        reads: &[needs(&DENIALS)],
        judge: domains::denials,
        worth: Worth::Reports("The stream of denials is read, and no denial in it was only a warning."),
        not: "That there was nothing to deny, nor that rules marked dontaudit were not hit.",
        cis: &[],
        expects: Accepts::Nothing,
        promised: nothing_promised,
    },
];

/// The mode that the host promises; `None` on a host that promises nothing.
fn mode_promised<'e>(seen: &Seen<'e>) -> Option<&'e str> {
    seen.expect.of(MODE)
}

/// The verdict where the host promises nothing.
fn nothing_to_judge() -> Judged {
    Judged::not_applicable(
        "nothing-promised",
        "A host of this kind promises nothing about SELinux: declare selinux-mode in [posture] expect if it should.",
    )
}

/// The verdict where the host promises permissive: what only matters when it enforces is not judged.
fn permissive_by_design() -> Judged {
    Judged::not_applicable(
        "permissive-by-design",
        "This host promises permissive, so nothing is confined by SELinux anyway.",
    )
}

/// `mode` against what is expected of the check.
fn compare(seen: &Seen<'_>, mode: &str, grade: Grade) -> Judged {
    match seen.expected() {
        Some(expected) if expected == mode => {
            Judged::pass(grade, "as-promised", format!("SELinux is {mode}, as this host promises."))
        }
        Some("permissive") if mode == "enforcing" => Judged::pass(
            grade,
            "stricter-than-declared",
            "SELinux is enforcing where permissive is declared: that is stricter, and can break pods. Declare it in [posture] \
             expect if it is meant.",
        ),
        Some(expected) => {
            let kind = match mode {
                "permissive" => "permissive",
                _ => "disabled",
            };
            Judged::fail(
                kind,
                format!(
                    "SELinux is {mode}, and this host promises {expected}: find out who changed it, and set it back."
                ),
            )
        }
        None => nothing_to_judge(),
    }
}
