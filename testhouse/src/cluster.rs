//! A cluster that tests share, with what the controller needs installed in it. Does I/O.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context, Result, bail};
use devcluster::Cluster;
use kube::{
    Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::PATIENCE;

/// The folder of a shared cluster. Short, since sockets lie in it.
pub fn folder(name: &str) -> PathBuf {
    std::env::var_os("RUNNER_TEST_CLUSTERS")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("rex-{name}"))
}

/// Installs what the controller needs, except the controller.
///
/// # Errors
/// With kubectl's words.
pub async fn install(cluster: &Cluster) -> Result<()> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    for (flag, part) in [("-f", "manager/namespace.yaml"), ("-k", "crd"), ("-k", "rbac")] {
        let part = config.join(part).display().to_string();
        kubectl(cluster, &["apply", "--server-side", "--force-conflicts", flag, &part], None).await?;
    }
    let crd = "crd/runnerexecutions.core.projectvoltron.dev";
    kubectl(cluster, &["wait", "--for=condition=Established", "--timeout=60s", crd], None).await.map(drop)
}

/// A namespace with a ServiceAccount `deployer` that may do what runs need, as a manifest.
pub fn tenant(namespace: &str) -> String {
    let named = json!({"name": "deployer", "namespace": namespace});
    let rules = json!([
        {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create", "patch", "delete"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "patch", "delete"]},
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
        {"apiGroups": ["core.projectvoltron.dev"], "resources": ["actions"], "verbs": ["get"]},
    ]);
    let version = "rbac.authorization.k8s.io/v1";
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"});
    let items = json!([
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {"apiVersion": version, "kind": "Role", "metadata": named, "rules": rules},
        {
            "apiVersion": version, "kind": "RoleBinding", "metadata": named, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
        },
    ]);
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// The access of a ServiceAccount, by its token.
///
/// # Errors
/// If there is no such account.
pub async fn access(cluster: &Cluster, account: &str, namespace: &str) -> Result<Kubeconfig> {
    let token = ["create", "token", account, "-n", namespace, "--duration=8h"];
    let token = kubectl(cluster, &token, None).await?;
    let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    for user in &mut kubeconfig.auth_infos {
        user.auth_info =
            Some(AuthInfo { token: Some(token.trim().to_owned().into()), ..AuthInfo::default() });
    }
    Ok(kubeconfig)
}

/// The access of the controller's ServiceAccount.
///
/// # Errors
/// If it is not [installed](install).
pub async fn controller_access(cluster: &Cluster) -> Result<Kubeconfig> {
    access(cluster, "runner-controller", "runner-system").await
}

/// For a client that tries nothing again by itself.
///
/// # Errors
/// If the kubeconfig is not understood.
pub async fn client_config(kubeconfig: Kubeconfig) -> Result<Config> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(config)
}

/// Every answered request so far, as the API server's audit log tells it.
///
/// # Errors
/// If there is no audit log.
pub async fn audit(cluster: &Cluster) -> Result<Vec<Value>> {
    let log = tokio::fs::read_to_string(cluster.audit_log()).await.context("no audit log")?;
    // The last line may be half written.
    Ok(log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Runs kubectl as the administrator.
///
/// # Errors
/// With kubectl's words.
pub async fn kubectl(cluster: &Cluster, args: &[&str], stdin: Option<&str>) -> Result<String> {
    let output = kubectl_output(cluster, args, stdin).await?;
    if !output.status.success() {
        bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The same, however it ends.
///
/// # Errors
/// If it cannot be run, or does not end.
pub async fn kubectl_output(cluster: &Cluster, args: &[&str], stdin: Option<&str>) -> Result<Output> {
    let mut command = Command::from(cluster.kubectl());
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    pipe.write_all(stdin.unwrap_or_default().as_bytes()).await?;
    drop(pipe);
    Ok(tokio::time::timeout(PATIENCE, child.wait_with_output()).await??)
}
