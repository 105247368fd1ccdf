//! Readers of what a host gives: text and bytes of others' making become typed values. Each is total (whatever the input, it returns), bounded, and
//! says in one sentence why something is not what it should be; none tells anything of the content, which may hold a secret.
//!
//! What a reader returns is either judged at once, or it is a record of evidence: then it has `Serialize` and `Deserialize`, and no field for a secret.

pub mod accounts;
pub mod argv;
pub mod audit;
pub mod authorized_keys;
pub mod cgroup;
pub mod cluster;
pub mod cni;
pub mod container;
pub mod deployments;
pub mod exposition;
mod fault;
pub mod inhibitor;
pub mod kernel_line;
pub mod kubelet_configuration;
pub mod manifest;
pub mod metadata;
pub mod probe;
pub mod process;
pub mod public;
pub mod sandbox;
pub mod selinux;
pub mod selinux_netlink;
pub mod selinux_policy;
pub mod sock_diag;
pub mod sshd;
pub mod sudoers;
pub mod update_engine;
pub mod user_data;
pub mod zincati;

pub use fault::ReadFault;
