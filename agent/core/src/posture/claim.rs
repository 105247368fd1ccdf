//! The sentences of Typhoon's security page, one by one, and what a node can do about each. The output is grouped by them, so
//! that what a node cannot prove is said beside what it can, and never shown as good.

use serde::{Deserialize, Serialize};

/// What a node can do about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The agent makes it so, and proves it.
    Enforce,
    /// The agent can tell true from false.
    Verify,
    /// The agent shows what it sees; the claim itself is decided elsewhere.
    Report,
    /// Nothing on a node says anything about it.
    OutOfScope,
}

impl Reach {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Verify => "verify",
            Self::Report => "report",
            Self::OutOfScope => "out-of-scope",
        }
    }
}

/// One sentence of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// kebab-case; stays.
    pub id: &'static str,
    /// The page's part: `Kubernetes`, `Hosts`, `Platform`, `Precautions`, `Container Images`, `Disclosures`; `Beyond the page` for our own.
    pub part: &'static str,
    /// The page's own words.
    pub sentence: &'static str,
    /// What a node can do about it.
    pub reach: Reach,
    /// What a node cannot prove of it, and who could.
    pub beyond: &'static str,
}

const KUBERNETES: &str = "Kubernetes";
const HOSTS: &str = "Hosts";
const PLATFORM: &str = "Platform";
const PRECAUTIONS: &str = "Precautions";
const IMAGES: &str = "Container Images";
const OURS: &str = "Beyond the page";

/// etcd.
pub const ETCD_TLS: Claim = Claim {
    id: "etcd-tls",
    part: KUBERNETES,
    sentence: "etcd with peer-to-peer and client-auth TLS",
    reach: Reach::Verify,
    beyond: "A worker sees nothing of etcd. Its metrics port 2381 is plain HTTP by design.",
};
/// The kubelet's client certificate.
pub const KUBELET_CERTIFICATES: Claim = Claim {
    id: "kubelet-certificates",
    part: KUBERNETES,
    sentence: "Kubelets TLS bootstrap certificates (72 hours)",
    reach: Reach::Enforce,
    beyond: "How long the signer signs for is seen only in what it issues. Whoever has the bootstrap token can get a certificate of any node's name.",
};
/// `admin.conf`.
pub const ADMIN_KUBECONFIG: Claim = Claim {
    id: "admin-kubeconfig",
    part: KUBERNETES,
    sentence: "Generated TLS certificate (365 days) for admin `kubeconfig`",
    reach: Reach::Report,
    beyond: "Copies that people hold are not seen from here, and a certificate cannot be revoked.",
};
/// NodeRestriction.
pub const NODE_RESTRICTION: Claim = Claim {
    id: "node-restriction",
    part: KUBERNETES,
    sentence: "NodeRestriction is enabled to limit Kubelet authorization",
    reach: Reach::Report,
    beyond: "A controller's manifest shows the flag; no node can prove what another controller's API server does.",
};
/// RBAC.
pub const RBAC: Claim = Claim {
    id: "rbac",
    part: KUBERNETES,
    sentence: "Role-Based Access Control is enabled. Apps must define RBAC policies for API access",
    reach: Reach::Report,
    beyond: "Which roles are bound to whom is the cluster's, not the node's.",
};
/// The controllers' taint.
pub const CONTROLLER_TAINT: Claim = Claim {
    id: "controller-taint",
    part: KUBERNETES,
    sentence: "Workloads run on worker nodes only, unless they tolerate the master taint",
    reach: Reach::Verify,
    beyond: "Who may write a toleration is the cluster's. The taint is called `node-role.kubernetes.io/controller` since Typhoon v1.18.4.",
};
/// NetworkPolicy.
pub const NETWORK_POLICY: Claim = Claim {
    id: "network-policy",
    part: KUBERNETES,
    sentence: "Kubernetes Network Policy and Calico NetworkPolicy support",
    reach: Reach::OutOfScope,
    beyond: "The cluster's network enforces it (Cilium since 2024). Try a policy between two pods.",
};
/// OS updates.
pub const AUTO_UPDATES: Claim = Claim {
    id: "auto-updates",
    part: HOSTS,
    sentence: "Container Linux auto-updates are enabled",
    reach: Reach::Enforce,
    beyond: "Whether the vendor has published what it should is seen at the vendor.",
};
/// Logins.
pub const SSH_KEYS_ONLY: Claim = Claim {
    id: "ssh-keys-only",
    part: HOSTS,
    sentence: "Hosts limit logins to SSH key-based auth (user \"core\")",
    reach: Reach::Verify,
    beyond: "Who holds the private keys is not seen from here, nor who reaches the console of the machine or of the cloud.",
};
/// SELinux.
pub const SELINUX: Claim = Claim {
    id: "selinux",
    part: HOSTS,
    sentence: "SELinux enforcing mode (enforcing on Fedora CoreOS, permissive on Flatcar Linux)",
    reach: Reach::Verify,
    beyond: "That the policy itself is a good one is its authors' claim.",
};
/// Firewalls.
pub const FIREWALLS: Claim = Claim {
    id: "cloud-firewalls",
    part: PLATFORM,
    sentence: "Cloud firewalls limit access to ssh, kube-apiserver, and ingress",
    reach: Reach::Report,
    beyond: "The rule is outside of the machine: only what listens is seen from here. Read the provider's rules, or scan from outside. On bare metal there is no firewall at all.",
};
/// Matchbox.
pub const MATCHBOX: Claim = Claim {
    id: "matchbox",
    part: PLATFORM,
    sentence: "No cluster credentials are stored in Matchbox (used for bare-metal)",
    reach: Reach::OutOfScope,
    beyond: "Matchbox is another machine, and an installed node keeps no trace of it. Read what it serves.",
};
/// DigitalOcean's metadata.
pub const METADATA_DIGITALOCEAN: Claim = Claim {
    id: "metadata-digitalocean",
    part: PLATFORM,
    sentence: "No cluster credentials are stored in Digital Ocean metadata",
    reach: Reach::Verify,
    beyond: "What the provider's console keeps is not seen from here.",
};
/// AWS's metadata.
pub const METADATA_AWS: Claim = Claim {
    id: "metadata-aws",
    part: PLATFORM,
    sentence: "Cluster credentials are stored in AWS metadata (for ASGs)",
    reach: Reach::Verify,
    beyond: "Who may read the launch template is the account's.",
};
/// Azure's metadata.
pub const METADATA_AZURE: Claim = Claim {
    id: "metadata-azure",
    part: PLATFORM,
    sentence: "Cluster credentials are stored in Azure metadata (for scale sets)",
    reach: Reach::Verify,
    beyond: "Who may read the scale set's model is the subscription's.",
};
/// Google Cloud's metadata.
pub const METADATA_GOOGLE_CLOUD: Claim = Claim {
    id: "metadata-google-cloud",
    part: PLATFORM,
    sentence: "Cluster credentials are stored in Google Cloud metadata (for managed instance groups)",
    reach: Reach::Verify,
    beyond: "Who may read the instance template is the project's.",
};
/// DigitalOcean account credentials.
pub const ACCOUNT_DIGITALOCEAN: Claim = Claim {
    id: "account-digitalocean",
    part: PLATFORM,
    sentence: "No account credentials are available to Digital Ocean droplets",
    reach: Reach::Report,
    beyond: "DigitalOcean's metadata offers no account credentials that we know of: none offered is not the same as proved.",
};
/// AWS account credentials.
pub const ACCOUNT_AWS: Claim = Claim {
    id: "account-aws",
    part: PLATFORM,
    sentence: "No account credentials are available to AWS EC2 instances (no IAM permissions)",
    reach: Reach::Verify,
    beyond: "A role can be attached at any moment: this holds for the moment of the look.",
};
/// Azure account credentials.
pub const ACCOUNT_AZURE: Claim = Claim {
    id: "account-azure",
    part: PLATFORM,
    sentence: "No account credentials are available to Azure instances (no IAM permissions)",
    reach: Reach::Verify,
    beyond: "An identity can be attached at any moment: this holds for the moment of the look.",
};
/// Google Cloud account credentials.
pub const ACCOUNT_GOOGLE_CLOUD: Claim = Claim {
    id: "account-google-cloud",
    part: PLATFORM,
    sentence: "No account credentials are available to Google Cloud instances (no IAM permissions)",
    reach: Reach::Verify,
    beyond: "A service account can be attached at any stop and start: this holds for the moment of the look.",
};
/// What people must do themselves.
pub const CONDUCT: Claim = Claim {
    id: "operators-conduct",
    part: PRECAUTIONS,
    sentence: "Do not run untrusted images, do not give untrusted users a shell behind your firewall, define network policies for your namespaces",
    reach: Reach::OutOfScope,
    beyond: "People do this or do not; no machine proves it.",
};
/// The kubelet's binary.
pub const UPSTREAM_KUBELET: Claim = Claim {
    id: "upstream-kubelet",
    part: IMAGES,
    sentence: "Typhoon packages the upstream Kubelet as a container image. Builds fetch the upstream Kubelet binary and verify its checksum",
    reach: Reach::Verify,
    beyond: "The image is not signed and names no build: what happened at its making is not seen from here.",
};
/// The kubelet's image reference.
pub const KUBELET_IMAGE: Claim = Claim {
    id: "kubelet-image",
    part: IMAGES,
    sentence: "The Kubelet image is published to Quay.io (official) and Dockerhub (fallback); tag styles indicate the build strategy used",
    reach: Reach::Enforce,
    beyond: "What a registry serves under a tag tomorrow is the registry's: only a digest holds it.",
};
/// flannel-cni.
pub const FLANNEL_CNI: Claim = Claim {
    id: "flannel-cni",
    part: IMAGES,
    sentence: "Typhoon packages the flannel-cni container image to provide security patches",
    reach: Reach::OutOfScope,
    beyond: "It runs in the cluster, by the cluster's manifests. Read the DaemonSet.",
};
/// Terraform providers.
pub const TERRAFORM_PROVIDERS: Claim = Claim {
    id: "terraform-providers",
    part: IMAGES,
    sentence: "Typhoon publishes Terraform providers to the Terraform Registry, GPG signed by 0x8F515AD1602065C8",
    reach: Reach::OutOfScope,
    beyond: "Terraform verifies them on the workstation that runs it.",
};
/// Where to tell of a hole.
pub const DISCLOSURES: Claim = Claim {
    id: "disclosures",
    part: "Disclosures",
    sentence: "If you find security issues, please email `security@psdn.io`",
    reach: Reach::OutOfScope,
    beyond: "It is an address, and nothing of a node.",
};
/// What the page does not say of the kubelet, and the CIS benchmark asks for.
pub const KUBELET: Claim = Claim {
    id: "kubelet",
    part: OURS,
    sentence: "The kubelet answers only those whom the API server lets, and is set up as it was installed",
    reach: Reach::Verify,
    beyond: "What the API server lets whom is the cluster's, not the node's.",
};
/// What the page does not claim, and a node should still hold.
pub const SECRETS_ON_DISK: Claim = Claim {
    id: "secrets-on-disk",
    part: OURS,
    sentence: "Secrets on the node's disk are readable by root only, and drift from what was installed is seen",
    reach: Reach::Verify,
    beyond: "Backups and snapshots of the disk are not seen from here.",
};
/// The agent itself.
pub const OWN_SANDBOX: Claim = Claim {
    id: "own-sandbox",
    part: OURS,
    sentence: "The agent runs with no more rights than its unit gives it",
    reach: Reach::Verify,
    beyond: "Root can change the agent itself: what it says then is root's word.",
};

/// Every claim, in the order of the page.
pub const CLAIMS: [&Claim; 29] = [
    &ETCD_TLS,
    &KUBELET_CERTIFICATES,
    &ADMIN_KUBECONFIG,
    &NODE_RESTRICTION,
    &RBAC,
    &CONTROLLER_TAINT,
    &NETWORK_POLICY,
    &AUTO_UPDATES,
    &SSH_KEYS_ONLY,
    &SELINUX,
    &FIREWALLS,
    &MATCHBOX,
    &METADATA_DIGITALOCEAN,
    &METADATA_AWS,
    &METADATA_AZURE,
    &METADATA_GOOGLE_CLOUD,
    &ACCOUNT_DIGITALOCEAN,
    &ACCOUNT_AWS,
    &ACCOUNT_AZURE,
    &ACCOUNT_GOOGLE_CLOUD,
    &CONDUCT,
    &UPSTREAM_KUBELET,
    &KUBELET_IMAGE,
    &FLANNEL_CNI,
    &TERRAFORM_PROVIDERS,
    &DISCLOSURES,
    &KUBELET,
    &SECRETS_ON_DISK,
    &OWN_SANDBOX,
];
