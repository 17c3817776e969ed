//! What a level needs inside the cluster, beside its servers. Doing it again changes nothing.
//! I/O: the API server.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::core::PartialObjectMeta;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::ready::{Watched, condition, get};
use crate::servers::ARGO_CONFIG;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ARGO: &str = "/apis/argoproj.io/v1alpha1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// The namespace `default` can take pods and workflows.
pub(crate) async fn default_service_account(client: &Client, watched: &Watched<'_>) -> Result<()> {
    watched
        .until("the default ServiceAccount exists", async || {
            get(client, "/api/v1/namespaces/default/serviceaccounts/default").await.map(drop)
        })
        .await
}

/// Creates Argo's kinds in a running cluster.
pub(crate) async fn argo_crds(client: &Client, crds: &Path) -> Result<()> {
    let mut creations = JoinSet::new();
    // All at once: the API server builds its description of all kinds anew for each it notices.
    for name in names(crds)? {
        creations.spawn(create(client.clone(), CRDS, fs::read(crds.join(format!("{name}.json")))?));
    }
    while let Some(outcome) = creations.join_next().await {
        outcome??;
    }
    Ok(())
}

/// Argo's kinds are established and served; its namespace and configuration; what its pods may do.
pub(crate) async fn argo(client: &Client, crds: &Path, watched: &Watched<'_>) -> Result<()> {
    let names = names(crds)?;
    let plurals: Vec<&str> = names.iter().filter_map(|name| name.split('.').next()).collect();
    // What is established is listed there; reading the CRDs themselves takes a second each.
    watched.until("Argo's CRDs are established", async || established(client, &plurals).await).await?;
    for (path, object) in argo_objects() {
        apply(client, &path, object.to_string().into()).await?;
    }
    for plural in plurals {
        let list = format!("{ARGO}/{plural}?limit=1");
        watched.until(&format!("{plural} are served"), async || get(client, &list).await.map(drop)).await?;
    }
    Ok(())
}

fn names(crds: &Path) -> Result<Vec<String>> {
    let files = fs::read_dir(crds).with_context(|| format!("Argo's CRDs are not in {}", crds.display()))?;
    let name = |file: fs::DirEntry| Some(file.path().file_stem()?.to_str()?.to_owned());
    Ok(files.flatten().filter_map(name).collect())
}

async fn established(client: &Client, plurals: &[&str]) -> Result<()> {
    let kinds = get(client, ARGO).await?;
    let listed = |plural: &&&str| {
        let resources = kinds.pointer("/resources").and_then(Value::as_array);
        resources.into_iter().flatten().any(|resource| resource["name"] == ***plural)
    };
    match plurals.iter().find(|plural| !listed(plural)) {
        Some(plural) => bail!("{plural} are not"),
        None => Ok(()),
    }
}

fn argo_objects() -> Vec<(String, Value)> {
    let (namespace, config) = ARGO_CONFIG;
    let role = "devcluster-argo-executor";
    vec![
        (
            format!("/api/v1/namespaces/{namespace}"),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        ),
        (
            format!("/api/v1/namespaces/{namespace}/configmaps/{config}"),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": config},
                "data": {
                    // It would listen on all addresses of the machine.
                    "metricsConfig": "enabled: false\n",
                    "telemetryConfig": "enabled: false\n",
                    // There is no other network.
                    "workflowDefaults": "spec:\n  hostNetwork: true\n",
                },
            }),
        ),
        // Each workflow pod reports its results as the workflow's ServiceAccount.
        (
            format!("{RBAC}/clusterroles/{role}"),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role},
                "rules": [{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}],
            }),
        ),
        (
            format!("{RBAC}/clusterrolebindings/{role}"),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"}],
            }),
        ),
    ]
}

/// The node takes pods.
pub(crate) async fn node_ready(client: &Client, name: &str, watched: &Watched<'_>) -> Result<()> {
    let path = format!("/api/v1/nodes/{name}");
    watched.until("the node is Ready", || condition(client, &path, "Ready")).await
}

async fn apply(client: &Client, path: &str, object: Vec<u8>) -> Result<()> {
    let request = http::Request::patch(format!("{path}?fieldManager=devcluster&force=true"))
        .header("content-type", "application/apply-patch+yaml") // JSON is YAML
        .body(object)?;
    client.request::<Value>(request).await.map(drop).with_context(|| format!("cannot apply {path}"))
}

/// POSTs an object; fine if it exists.
async fn create(client: Client, path: &'static str, object: Vec<u8>) -> Result<()> {
    let request = http::Request::post(format!("{path}?fieldManager=devcluster"))
        .header("content-type", "application/json");
    match client.request::<PartialObjectMeta>(request.body(object)?).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot create an object in {path}")),
    }
}
