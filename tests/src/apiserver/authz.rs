//! Who may do what: `--authorization-mode=Node,RBAC`. The Node authorizer's half is in `node_authorizer.rs`.

use super::authn::Identity;
use super::node_authorizer;
use super::refusal::Refusal;
use super::route::Attributes;
use super::store::Store;

/// A group or user that has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Everybody in the group.
    Group(String),
    /// One user.
    User(String),
}

/// One rule of a role together with one of its bindings. `*` stands for everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The role's name; [`super::ApiServer::revoke_role`] takes all rules of that name away.
    pub role: String,
    /// Who has it.
    pub subject: Subject,
    /// Verbs, as RBAC names them.
    pub verbs: Vec<String>,
    /// API group; empty is the core group.
    pub group: String,
    /// Plural names, `nodes` or `nodes/status`.
    pub resources: Vec<String>,
    /// Limits the rule to these names; empty is all.
    pub names: Vec<String>,
    /// A `RoleBinding`'s namespace; `None` is a `ClusterRoleBinding`.
    pub namespace: Option<String>,
}

impl Rule {
    /// A rule for everybody in `group_of_users`, on all names and in all namespaces.
    pub fn new(role: &str, group_of_users: &str, verbs: &[&str], group: &str, resources: &[&str]) -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self {
            role: role.to_owned(),
            subject: Subject::Group(group_of_users.to_owned()),
            verbs: owned(verbs),
            group: group.to_owned(),
            resources: owned(resources),
            names: Vec::new(),
            namespace: None,
        }
    }

    /// The same in one namespace only.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The same for these names only.
    #[must_use]
    pub fn named(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn allows(&self, who: &Identity, what: &Attributes) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|entry| entry == "*" || entry == value);
        let resource = full_resource(what);
        let subject = match &self.subject {
            Subject::Group(group) => who.in_group(group),
            Subject::User(user) => who.username == *user,
        };
        subject
            && has(&self.verbs, &what.verb)
            && (self.group == "*" || self.group == what.group)
            && has(&self.resources, &resource)
            && (self.names.is_empty() || self.names.contains(&what.name))
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == what.namespace)
    }
}

/// What a fresh cluster binds, and Typhoon's three bindings for bootstrapping (terraform-render-bootstrap).
pub(super) fn default_rules() -> Vec<Rule> {
    let csr = "certificatesigningrequests";
    let (certificates, authorization) = ("certificates.k8s.io", "authorization.k8s.io");
    let nodeclient = ["certificatesigningrequests/nodeclient"];
    let selfnodeclient = ["certificatesigningrequests/selfnodeclient"];
    let bootstrapper = ["create", "get", "list", "watch"];
    vec![
        Rule::new("cluster-admin", "system:masters", &["*"], "*", &["*"]),
        Rule::new("system:node-bootstrapper", "system:bootstrappers", &bootstrapper, certificates, &[csr]),
        Rule::new("nodeclient", "system:bootstrappers", &["create"], certificates, &nodeclient),
        Rule::new("selfnodeclient", "system:nodes", &["create"], certificates, &selfnodeclient),
        Rule::new(
            "system:basic-user",
            "system:authenticated",
            &["create"],
            authorization,
            &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        ),
        Rule::new(
            "system:basic-user",
            "system:authenticated",
            &["create"],
            "authentication.k8s.io",
            &["selfsubjectreviews"],
        ),
    ]
}

/// Typhoon's `kubelet-delete` role, which the recorded cluster did not have: a node may delete its Node object and
/// read the owners of its pods.
pub fn typhoon_kubelet_delete() -> Vec<Rule> {
    let owners = ["deployments", "daemonsets", "statefulsets"];
    vec![
        Rule::new("kubelet-delete", "system:nodes", &["delete"], "", &["nodes"]),
        Rule::new("kubelet-delete", "system:nodes", &["get", "list"], "apps", &owners),
        Rule::new("kubelet-delete", "system:nodes", &["create"], "", &["pods/eviction"]),
    ]
}

/// What the authorizers say together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) allowed: bool,
    /// Why not, where an authorizer has a word to say.
    pub(super) reason: String,
}

/// Asks both authorizers; one that allows is enough.
pub(super) fn decide(who: &Identity, what: &Attributes, rules: &[Rule], store: &Store) -> Decision {
    let node = node_authorizer::decide(who, what, store);
    let allowed = node.is_ok() || rules.iter().any(|rule| rule.allows(who, what));
    Decision { allowed, reason: node.err().unwrap_or_default() }
}

/// The 403 of a request for a resource.
pub(super) fn forbidden(who: &Identity, what: &Attributes, reason: &str) -> Refusal {
    let whither = if what.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", what.namespace)
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let why = format!(
        "User {:?} cannot {} resource {:?} in API group {:?} {whither}{reason}",
        who.username,
        what.verb,
        full_resource(what),
        what.group,
    );
    Refusal::forbidden(&what.group, &what.resource, &what.name, &why)
}

/// Paths that are no resource: health and version are for everybody, the rest for those we know.
pub(super) fn path_allowed(who: &Identity, path: &str) -> Result<(), Refusal> {
    let head = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let public = matches!(head, "readyz" | "livez" | "healthz" | "version");
    if public || who.in_group("system:authenticated") {
        Ok(())
    } else {
        let why = format!("User {:?} cannot get path {path:?}", who.username);
        Err(Refusal::forbidden("", "", "", &why))
    }
}

fn full_resource(what: &Attributes) -> String {
    if what.subresource.is_empty() { what.resource.clone() } else { format!("{}/{}", what.resource, what.subresource) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::resources::PODS;
    use super::*;

    fn who(name: &str, group: &str) -> Identity {
        Identity::of_request(&json!({"spec": {"username": name, "groups": [group, "system:authenticated"]}}))
    }

    /// `verb group/resource[/subresource] [in=namespace] [name=name] [on=node]`
    fn what(text: &str) -> Attributes {
        let mut words = text.split(' ');
        let mut attributes = Attributes { verb: words.next().unwrap().to_owned(), ..Attributes::default() };
        let mut path = words.next().unwrap().split('/');
        attributes.group = path.next().unwrap().to_owned();
        attributes.resource = path.next().unwrap().to_owned();
        attributes.subresource = path.next().unwrap_or_default().to_owned();
        for word in words {
            let (key, value) = word.split_once('=').unwrap();
            match key {
                "in" => attributes.namespace = value.to_owned(),
                "name" => attributes.name = value.to_owned(),
                "on" => attributes.field_selector = vec![("spec.nodeName".to_owned(), value.to_owned())],
                _ => panic!("{word}"),
            }
        }
        attributes
    }

    #[test]
    fn who_may_do_what() {
        let mut store = Store::new();
        let volumes = json!([{"configMap": {"name": "used"}}]);
        let spec = json!({"nodeName": "a", "volumes": volumes});
        store.put(&PODS, json!({"metadata": {"namespace": "default", "name": "mine"}, "spec": spec}));
        let mut rules = default_rules();
        let slots = Rule::new("slots", "system:nodes", &["patch"], "", &["configmaps"]);
        rules.push(slots.in_namespace("kube-system").named(&["reboot-workers"]));
        let node = || who("system:node:a", "system:nodes");
        let token = || who("system:bootstrap:abcdef", "system:bootstrappers");
        let csrs = "certificates.k8s.io/certificatesigningrequests";
        for (who, asked, allowed, reason) in [
            (node(), "get /nodes name=a", true, ""),
            (node(), "list /nodes", false, "node 'a' cannot read all nodes, only its own Node object"),
            (node(), "patch /nodes/status name=b", true, ""),
            (node(), "delete /nodes name=a", false, ""),
            (node(), "get /pods in=default name=mine", true, ""),
            (node(), "get /pods in=default name=gone", false, "no relationship found between node 'a' and this object"),
            (node(), "list /pods on=a", true, ""),
            (node(), "watch /pods on=b", false, "can only list/watch pods with spec.nodeName field selector"),
            (node(), "create /pods/eviction in=default name=x", true, ""),
            (node(), "create /pods/exec in=default name=mine", false, ""),
            (node(), "get /configmaps in=default name=used", true, ""),
            (
                node(),
                "get /configmaps in=default name=other",
                false,
                "no relationship found between node 'a' and this object",
            ),
            (node(), "list /configmaps in=default", false, "No Object name found"),
            (node(), "list /configmaps", false, "can only read namespaced object of this type"),
            (
                node(),
                "patch /configmaps in=kube-system name=reboot-workers",
                true,
                "can only read resources of this type",
            ),
            (node(), "patch /configmaps in=default name=reboot-workers", false, "can only read resources of this type"),
            (node(), "patch /configmaps in=kube-system name=other", false, "can only read resources of this type"),
            (node(), "update coordination.k8s.io/leases in=kube-node-lease name=a", true, ""),
            (
                node(),
                "watch coordination.k8s.io/leases in=kube-node-lease name=a",
                false,
                "can only get, create, update, patch, or delete a node lease",
            ),
            (node(), &format!("create {csrs}"), true, ""),
            (node(), &format!("delete {csrs} name=x"), false, ""),
            (node(), &format!("update {csrs}/approval name=x"), false, ""),
            (token(), &format!("watch {csrs} name=x"), true, ""),
            (token(), "get /nodes name=a", false, ""),
            (who("system:node:a", "developers"), "get /nodes name=a", false, ""),
            (who("admin", "system:masters"), "delete /anything in=there name=x", true, ""),
        ] {
            let decision = decide(&who, &what(asked), &rules, &store);
            let want = Decision { allowed, reason: reason.to_owned() };
            assert_eq!(decision, want, "{} {asked}", who.username);
        }
    }
}
