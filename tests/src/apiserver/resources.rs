//! The kinds of object the stand-in keeps, and what differs between them.

/// One kind of object and the rules that the API server has for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    /// A PUT may leave `resourceVersion` out, and then overwrites (`AllowUnconditionalUpdate`).
    pub(super) unconditional_update: bool,
    /// A PUT of a name that is not there makes it (`AllowCreateOnUpdate`).
    pub(super) create_on_update: bool,
    /// `status` is written only through `/status`, and `/status` writes nothing of `spec`.
    pub(super) has_status: bool,
}

impl Resource {
    /// `apiVersion` of its objects.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

const BASE: Resource = Resource {
    group: "",
    version: "v1",
    plural: "",
    kind: "",
    namespaced: true,
    unconditional_update: true,
    create_on_update: false,
    has_status: false,
};

pub(super) static CSRS: Resource = Resource {
    group: "certificates.k8s.io",
    plural: "certificatesigningrequests",
    kind: "CertificateSigningRequest",
    namespaced: false,
    has_status: true,
    ..BASE
};
pub(super) static NODES: Resource =
    Resource { plural: "nodes", kind: "Node", namespaced: false, has_status: true, ..BASE };
pub(super) static NAMESPACES: Resource =
    Resource { plural: "namespaces", kind: "Namespace", namespaced: false, has_status: true, ..BASE };
pub(super) static PODS: Resource = Resource { plural: "pods", kind: "Pod", has_status: true, ..BASE };
pub(super) static CONFIG_MAPS: Resource = Resource { plural: "configmaps", kind: "ConfigMap", ..BASE };
pub(super) static EVENTS: Resource = Resource { plural: "events", kind: "Event", create_on_update: true, ..BASE };
pub(super) static LEASES: Resource = Resource {
    group: "coordination.k8s.io",
    plural: "leases",
    kind: "Lease",
    unconditional_update: false,
    create_on_update: true,
    ..BASE
};
pub(super) static BUDGETS: Resource = Resource {
    group: "policy",
    plural: "poddisruptionbudgets",
    kind: "PodDisruptionBudget",
    unconditional_update: false,
    has_status: true,
    ..BASE
};
static DAEMON_SETS: Resource =
    Resource { group: "apps", plural: "daemonsets", kind: "DaemonSet", has_status: true, ..BASE };

static ALL: [&Resource; 9] =
    [&CSRS, &NODES, &NAMESPACES, &PODS, &CONFIG_MAPS, &EVENTS, &LEASES, &BUDGETS, &DAEMON_SETS];

/// The resource a path names, if the stand-in keeps it.
pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.into_iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The resource of that plural name, of whatever group.
pub(super) fn by_plural(plural: &str) -> Option<&'static Resource> {
    ALL.into_iter().find(|r| r.plural == plural)
}

/// The resource of that kind.
pub(super) fn by_kind(kind: &str) -> Option<&'static Resource> {
    ALL.into_iter().find(|r| r.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plural_name_names_one_resource() {
        for resource in ALL {
            assert_eq!(by_plural(resource.plural), Some(resource), "{}", resource.plural);
            assert_eq!(find(resource.group, "v1", resource.plural), Some(resource), "{}", resource.plural);
        }
    }
}
