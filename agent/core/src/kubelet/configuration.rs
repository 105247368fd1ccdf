//! The KubeletConfiguration, for a host that has none: Typhoon's, with one owner of the certificate.

use std::fmt::Write as _;
use std::path::Path;

use super::Host;
use crate::config::{Config, Owner};
use crate::os::Selinux;

/// The text of the file. `authority` is where the kubelet finds the CA of those who may ask it something.
pub(super) fn configuration(config: &Config, host: &Host, authority: &Path) -> String {
    // A JSON string is a YAML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut dns = String::new();
    for address in &config.cluster.dns {
        let _ = write!(dns, "\n  - {}", quoted(&address.to_string()));
    }
    if dns.is_empty() {
        dns.push_str(" []");
    }
    let authority = quoted(&authority.display().to_string());
    let domain = quoted(&config.cluster.domain);
    // The upstream servers, not resolved's stub on the loopback, which no pod can reach.
    let resolver = if host.resolved || host.os.selinux != Selinux::AsFound {
        "/run/systemd/resolve/resolv.conf"
    } else {
        "/etc/resolv.conf"
    };
    let rotate = config.certificates.owner == Owner::Kubelet;
    format!(
        "# Written by eyewall because there was none. It is never changed again: edit it, and restart the kubelet.\n\
         apiVersion: kubelet.config.k8s.io/v1beta1\n\
         kind: KubeletConfiguration\n\
         authentication:\n  \
           anonymous:\n    enabled: false\n  \
           webhook:\n    enabled: true\n  \
           x509:\n    clientCAFile: {authority}\n\
         authorization:\n  mode: Webhook\n\
         cgroupDriver: systemd\n\
         clusterDNS:{dns}\n\
         clusterDomain: {domain}\n\
         healthzPort: 0\n\
         readOnlyPort: 0\n\
         resolvConf: {resolver}\n\
         rotateCertificates: {rotate}\n\
         serializeImagePulls: false\n\
         shutdownGracePeriod: 45s\n\
         shutdownGracePeriodCriticalPods: 30s\n\
         staticPodPath: /etc/kubernetes/manifests\n\
         volumePluginDir: /var/lib/kubelet/volumeplugins\n"
    )
}
