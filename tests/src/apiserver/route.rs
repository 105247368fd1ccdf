//! What a request asks for: method, path and query as apiserver's `RequestInfo` reads them.

use hyper::{Method, Uri};

/// What the rules of authorization look at. Strings are empty where the request has nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) field_selector: Vec<(String, String)>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Under `/api/v1` or `/apis`, to a resource.
    Resource(Attributes),
    /// Anywhere else, such as `/readyz`.
    Path,
}

/// The query of a list or watch, and of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) watch: bool,
    pub(super) resource_version: Option<String>,
    pub(super) bookmarks: bool,
    pub(super) initial_events: bool,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) grace_period_seconds: Option<u64>,
    /// Everything is judged and nothing is stored.
    pub(super) dry_run: bool,
    pub(super) field_selector: Vec<(String, String)>,
    pub(super) label_selector: Vec<(String, String)>,
}

impl Query {
    pub(super) fn parse(uri: &Uri) -> Self {
        let mut query = Self::default();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decoded(value);
            let truth = matches!(value.as_str(), "true" | "1" | "");
            match key {
                "watch" => query.watch = truth,
                "resourceVersion" => query.resource_version = Some(value).filter(|v| !v.is_empty()),
                "allowWatchBookmarks" => query.bookmarks = truth,
                "sendInitialEvents" => query.initial_events = truth,
                "timeoutSeconds" => query.timeout_seconds = value.parse().ok().filter(|seconds| *seconds > 0),
                "gracePeriodSeconds" => query.grace_period_seconds = value.parse().ok(),
                "dryRun" => query.dry_run = value == "All",
                "fieldSelector" => query.field_selector = selector(&value),
                "labelSelector" => query.label_selector = selector(&value),
                _ => {}
            }
        }
        query
    }
}

impl Route {
    pub(super) fn parse(method: &Method, uri: &Uri, query: &Query) -> Self {
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Self::Path,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            other => ("", other),
        };
        let mut attributes = Attributes {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: percent_decoded(namespace),
            resource: rest.first().copied().unwrap_or_default().to_owned(),
            name: rest.get(1).map(|name| percent_decoded(name)).unwrap_or_default(),
            subresource: rest.get(2..).unwrap_or_default().join("/"),
            field_selector: query.field_selector.clone(),
            ..Attributes::default()
        };
        let named = !attributes.name.is_empty();
        attributes.verb = match (method.as_str(), named) {
            ("GET" | "HEAD", true) => "get",
            ("GET" | "HEAD", false) if query.watch => "watch",
            ("GET" | "HEAD", false) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "delete",
            ("DELETE", false) => "deletecollection",
            _ => "",
        }
        .to_owned();
        // A list of the one object of that name counts as a request for that name, so a role may be limited to it.
        if matches!(attributes.verb.as_str(), "list" | "watch")
            && let Some((_, name)) = query.field_selector.iter().find(|(field, _)| field == "metadata.name")
        {
            attributes.name.clone_from(name);
        }
        Self::Resource(attributes)
    }
}

/// `a=b,c==d`; terms with other operators are left out, so they select nothing away.
fn selector(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .filter_map(|term| term.split_once('='))
        .filter(|(field, _)| !field.ends_with('!'))
        .map(|(field, value)| (field.trim().to_owned(), value.trim_start_matches('=').trim().to_owned()))
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match (first, digits.and_then(|d| u8::from_str_radix(d, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_api_server_does() {
        let csrs = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        for (method, uri, want) in [
            ("GET", "/readyz", "path"),
            ("GET", "/apis", "path"),
            ("POST", csrs, "create certificates.k8s.io/certificatesigningrequests"),
            ("GET", &format!("{csrs}/x"), "get certificates.k8s.io/certificatesigningrequests name=x"),
            (
                "PUT",
                &format!("{csrs}/x/approval"),
                "update certificates.k8s.io/certificatesigningrequests/approval name=x",
            ),
            (
                "GET",
                &format!("{csrs}?fieldSelector=metadata.name%3Dx"),
                "list certificates.k8s.io/certificatesigningrequests name=x",
            ),
            ("GET", &format!("{csrs}?watch=1"), "watch certificates.k8s.io/certificatesigningrequests"),
            ("GET", "/api/v1/nodes/a?watch=true", "get /nodes name=a"),
            ("PATCH", "/api/v1/nodes/a/status", "patch /nodes/status name=a"),
            ("GET", "/api/v1/namespaces/kube-system", "get /namespaces name=kube-system"),
            ("POST", leases, "create coordination.k8s.io/leases in=kube-node-lease"),
            ("DELETE", leases, "deletecollection coordination.k8s.io/leases in=kube-node-lease"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let method: Method = method.parse().unwrap();
            let got = match Route::parse(&method, &uri, &Query::parse(&uri)) {
                Route::Path => "path".to_owned(),
                Route::Resource(a) => {
                    let mut text = format!("{} {}/{}", a.verb, a.group, a.resource);
                    for (before, value) in [("/", a.subresource), (" in=", a.namespace), (" name=", a.name)] {
                        if !value.is_empty() {
                            text += before;
                            text += &value;
                        }
                    }
                    text
                }
            };
            assert_eq!(got, want, "{method} {uri}");
        }
    }

    #[test]
    fn a_query_is_decoded() {
        let uri: Uri =
            "/x?watch=true&resourceVersion=7&timeoutSeconds=5&fieldSelector=a%3Db,c%3D%3Dd,e!%3Df&resourceVersion="
                .parse()
                .unwrap();
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let want = Query {
            watch: true,
            resource_version: None,
            timeout_seconds: Some(5),
            field_selector: pairs(&[("a", "b"), ("c", "d")]),
            ..Query::default()
        };
        assert_eq!(Query::parse(&uri), want);
        for (text, want) in [("a%2Fb", "a/b"), ("a%", "a%"), ("%zz", "%zz"), ("a+b", "a b"), ("%e2%82%ac", "€")] {
            assert_eq!(percent_decoded(text), want, "{text}");
        }
    }
}
