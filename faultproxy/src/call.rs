//! What a request asks of the API server. Pure.
//!
//! Inputs: method, path, query, headers and, for a create, the body (the name is nowhere else). Output: a
//! [`Call`], in the words of Kubernetes' own RequestInfo. No I/O.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// What is done, as RBAC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// GET of one object, or of a path that is no resource.
    Get,
    /// GET of a collection.
    List,
    /// GET of a collection with `watch=true`.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, server-side apply as well.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// Any other method.
    Other,
}

impl Verb {
    /// Whether the call may change something, dry runs included.
    pub fn is_mutating(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }

    /// The word of RBAC.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other => "other",
        }
    }
}

/// What a call is about. The n-th call of one key is the same step of a controller in every run of it, however
/// its calls about other objects interleave; so faults are addressed by key and number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// What is done.
    pub verb: Verb,
    /// The API group; empty for the core.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The plural; empty for a path that is no resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// E.g. `status`; empty for the object itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// Empty for cluster-scoped resources and for all namespaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The object's name, the `generateName` of a create without a name, the path where there is no resource;
    /// empty for collections, and for a create whose body is not JSON.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether it asks for a dry run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb.name())?;
        if !self.resource.is_empty() {
            write!(f, " {}", self.resource)?;
        }
        for (sign, part) in [(".", &self.group), ("/", &self.subresource), (" ", &self.namespace)] {
            if !part.is_empty() {
                write!(f, "{sign}{part}")?;
            }
        }
        let sign = if self.namespace.is_empty() { " " } else { "/" };
        if !self.name.is_empty() {
            write!(f, "{sign}{}", self.name)?;
        }
        if self.dry_run { f.write_str(" (dry run)") } else { Ok(()) }
    }
}

/// A request, understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What it is about.
    #[serde(flatten)]
    pub key: Key,
    /// `User-Agent`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// `Impersonate-User`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub impersonate: String,
}

impl Call {
    /// Understands a request; what it cannot make sense of becomes a path without a resource.
    pub fn parse(head: &Parts, body: &Bytes) -> Self {
        let header = |name: &str| text(&head.headers, name);
        Self {
            key: key(&head.method, head.uri.path(), head.uri.query().unwrap_or_default(), body),
            user_agent: header(header::USER_AGENT.as_str()),
            impersonate: header("impersonate-user"),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn key(method: &Method, path: &str, query: &str, body: &Bytes) -> Key {
    let query = Query::parse(query);
    let Some(target) = Target::parse(path) else {
        let verb = if method == Method::GET { Verb::Get } else { Verb::Other };
        let (group, resource, subresource, namespace) = Default::default();
        let (name, dry_run) = (path.to_owned(), query.dry_run);
        return Key { verb, group, resource, subresource, namespace, name, dry_run };
    };
    let Target { group, resource, subresource, namespace, mut name } = target;
    let verb = match (method.as_str(), name.is_empty()) {
        ("GET", true) if query.watch => Verb::Watch,
        ("GET", true) => Verb::List,
        ("GET", false) => Verb::Get,
        ("POST", _) => Verb::Create,
        ("PUT", _) => Verb::Update,
        ("PATCH", _) => Verb::Patch,
        ("DELETE", true) => Verb::DeleteCollection,
        ("DELETE", false) => Verb::Delete,
        (_, _) => Verb::Other,
    };
    if name.is_empty() {
        name = if verb == Verb::Create { name_in(body) } else { query.name };
    }
    Key { verb, group, resource, subresource, namespace, name, dry_run: query.dry_run }
}

/// What a path points at.
#[derive(Default)]
struct Target {
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

impl Target {
    fn parse(path: &str) -> Option<Self> {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // A namespace's own subresources, and not collections in it.
            ["namespaces", _, "status" | "finalize"] | ["namespaces", _] => ("", rest),
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [] => return None,
            [resource] => (*resource, "", String::new()),
            [resource, name, subresource @ ..] => (*resource, *name, subresource.join("/")),
        };
        let [group, resource, namespace, name] = [group, resource, namespace, name].map(str::to_owned);
        Some(Self { group, resource, subresource, namespace, name })
    }
}

/// What of the query matters.
#[derive(Default)]
struct Query {
    watch: bool,
    dry_run: bool,
    /// From `fieldSelector=metadata.name=…`, as the API server reads it.
    name: String,
}

impl Query {
    fn parse(query: &str) -> Self {
        let mut found = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "watch" => found.watch = matches!(value.as_ref(), "true" | "1"),
                "dryRun" => found.dry_run = !value.is_empty(),
                "fieldSelector" => {
                    let name = value.split(',').find_map(|term| term.strip_prefix("metadata.name="));
                    found.name = name.map(|name| name.trim_start_matches('=').to_owned()).unwrap_or_default();
                }
                _ => {}
            }
        }
        found
    }
}

fn name_in(body: &Bytes) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Metadata {
        name: Option<String>,
        generate_name: Option<String>,
    }
    #[derive(Default, Deserialize)]
    struct Object {
        #[serde(default)]
        metadata: Metadata,
    }
    let Metadata { name, generate_name } =
        serde_json::from_slice::<Object>(body).unwrap_or_default().metadata;
    name.filter(|name| !name.is_empty()).or(generate_name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, uri: &str, body: &str) -> String {
        let head = http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0;
        Call::parse(&head, &Bytes::copy_from_slice(body.as_bytes())).key.to_string()
    }

    #[test]
    fn requests_are_understood_as_the_api_server_does() {
        let named = r#"{"metadata":{"name":"a"}}"#;
        let generated = r#"{"metadata":{"generateName":"a-"}}"#;
        for (method, uri, body, expected) in [
            ("GET", "/api/v1/namespaces/n/configmaps/a", "", "get configmaps n/a"),
            ("GET", "/api/v1/namespaces/n/configmaps", "", "list configmaps n"),
            ("GET", "/api/v1/configmaps?watch=true&x=y", "", "watch configmaps"),
            ("GET", "/api/v1/configmaps?watch=1&fieldSelector=metadata.name%3Da", "", "watch configmaps a"),
            ("POST", "/api/v1/namespaces/n/configmaps", named, "create configmaps n/a"),
            ("POST", "/api/v1/namespaces/n/configmaps", generated, "create configmaps n/a-"),
            ("POST", "/api/v1/namespaces/n/configmaps", "\u{0}protobuf", "create configmaps n"),
            ("POST", "/api/v1/namespaces?dryRun=All", named, "create namespaces a (dry run)"),
            ("PUT", "/api/v1/namespaces/n/finalize", "", "update namespaces/finalize n"),
            ("DELETE", "/api/v1/namespaces/n", "", "delete namespaces n"),
            ("DELETE", "/apis/batch/v1/namespaces/n/jobs", "", "deletecollection jobs.batch n"),
            ("PATCH", "/apis/batch/v1/namespaces/n/jobs/a/status", "", "patch jobs.batch/status n/a"),
            ("POST", "/api/v1/namespaces/n/pods/a/eviction", "", "create pods/eviction n/a"),
            ("GET", "/apis/rbac/v1/clusterroles/system%3Anode", "", "get clusterroles.rbac system:node"),
            ("GET", "/version", "", "get /version"),
            ("GET", "/apis/batch/v1", "", "get /apis/batch/v1"),
            ("GET", "/apis", "", "get /apis"),
        ] {
            assert_eq!(read(method, uri, body), expected, "{method} {uri}");
        }
    }
}
