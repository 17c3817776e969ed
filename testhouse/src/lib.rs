//! What the tests of the other workspace members share: a namespace of a real cluster in which everything of
//! `config/` is installed, a ServiceAccount `deployer` that may do what runs need, and the controller if wanted.
//!
//! It shares its clusters with the tests of the controller itself: `RUNNER_TEST_CLUSTERS` says where they lie.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests do I/O")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use devcluster::{Cluster, Level, Options};
use futures::StreamExt;
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use runner_controller::{
    client::{Executions, Update},
    controller,
    crd::{Phase, RunnerExecution},
    runners::{Registry, Settings},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A namespace of a real cluster.
pub struct House {
    /// The cluster.
    pub cluster: Cluster,
    /// The administrator's client.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    kubeconfigs: tempfile::TempDir,
}

impl House {
    /// Opens a new namespace of that name, to which the process id is added.
    ///
    /// # Errors
    /// If the cluster does not come up, or does not take what is installed.
    pub async fn open(level: Level, namespace: &str) -> Result<Self> {
        let folder = std::env::var_os("RUNNER_TEST_CLUSTERS").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = folder.join(format!("rex-{}", level.name()));
        let cluster = Cluster::ensure(&Options::new(folder, level)).await?;
        let house = Self {
            client: cluster.client().await?,
            cluster,
            namespace: format!("{namespace}-{}", std::process::id()),
            kubeconfigs: tempfile::tempdir()?,
        };
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        house.apply(&std::fs::read_to_string(config.join("manager/namespace.yaml"))?).await?;
        for part in ["crd", "rbac"] {
            let part = config.join(part).display().to_string();
            house.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &part], None).await?;
        }
        let crd = "crd/runnerexecutions.core.projectvoltron.dev";
        house.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", crd], None).await?;
        house.apply(&house.tenant()).await?;
        Ok(house)
    }

    /// The namespace and its ServiceAccount.
    fn tenant(&self) -> String {
        let named = json!({"name": "deployer", "namespace": self.namespace});
        let rules = json!([
            {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create", "patch", "delete"]},
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "patch", "delete"]},
            {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
            {"apiGroups": ["core.projectvoltron.dev"], "resources": ["actions"], "verbs": ["get"]},
        ]);
        let version = "rbac.authorization.k8s.io/v1";
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"});
        let items = json!([
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
            {"apiVersion": version, "kind": "Role", "metadata": named, "rules": rules},
            {
                "apiVersion": version, "kind": "RoleBinding", "metadata": named, "roleRef": role,
                "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": self.namespace}],
            },
        ]);
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    }

    /// Lets the ServiceAccount read Secrets, for `argsFrom`.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn let_read_secrets(&self) -> Result<()> {
        let namespace = self.namespace.as_str();
        let role = ["create", "role", "secrets", "-n", namespace, "--verb=get", "--resource=secrets"];
        self.kubectl(&role, None).await?;
        let account = format!("--serviceaccount={namespace}:deployer");
        let binding = ["create", "rolebinding", "secrets", "-n", namespace, "--role=secrets", &account];
        self.kubectl(&binding, None).await.map(drop)
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn apply(&self, manifest: &str) -> Result<()> {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.kubectl(&args, Some(manifest)).await.map(drop)
    }

    /// Runs kubectl as the administrator, in no namespace.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> Result<String> {
        let mut command = Command::from(self.cluster.kubectl());
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut pipe = child.stdin.take().context("no stdin")?;
        pipe.write_all(stdin.unwrap_or_default().as_bytes()).await?;
        drop(pipe);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
        if !output.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// An object of the namespace.
    ///
    /// # Errors
    /// If there is none.
    pub async fn get(&self, resource: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", resource, name, "-n", &self.namespace, "-o", "json"], None).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A kubeconfig with the rights of a ServiceAccount, by its token.
    ///
    /// # Errors
    /// If there is no such account.
    pub async fn access(&self, account: &str, namespace: &str) -> Result<PathBuf> {
        let token =
            self.kubectl(&["create", "token", account, "-n", namespace, "--duration=8h"], None).await?;
        let path = self.kubeconfigs.path().join(account);
        std::fs::copy(self.cluster.kubeconfig(), &path)?;
        let (token, file) = (format!("--token={}", token.trim()), format!("--kubeconfig={}", path.display()));
        self.kubectl(&["config", "set-credentials", "admin", &token, &file], None).await?;
        Ok(path)
    }

    /// Starts the project's controller for the namespace, in this process but with its own rights. It stops when
    /// the guard is dropped.
    ///
    /// # Errors
    /// If it cannot be given access.
    pub async fn start_controller(&self, start_grace: Duration) -> Result<DropGuard> {
        let access = Kubeconfig::read_from(self.access("runner-controller", "runner-system").await?)?;
        let mut config = Config::from_custom_kubeconfig(access, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        let options = controller::Options {
            namespace: Some(self.namespace.clone()),
            start_grace,
            ..controller::Options::default()
        };
        let registry = Registry::built_in(&Settings {
            pod_defaults: json!({"hostNetwork": true}),
            ..Settings::default()
        });
        let stop = CancellationToken::new();
        tokio::spawn(controller::run(Client::try_from(config)?, registry, options, stop.clone()));
        Ok(stop.drop_guard())
    }

    /// The executions of the namespace, as an Engine sees them.
    pub fn executions(&self) -> Executions {
        Executions::new(self.client.clone(), &self.namespace)
    }

    /// Creates an execution as `deployer`; `change` may change its spec.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn run(
        &self,
        name: &str,
        runner: &str,
        args: Value,
        change: impl FnOnce(&mut RunnerExecution),
    ) -> Result<RunnerExecution> {
        let mut execution: RunnerExecution = serde_json::from_value(json!({
            "apiVersion": "core.projectvoltron.dev/v1alpha1",
            "kind": "RunnerExecution",
            "metadata": {"name": name},
            "spec": {"runner": runner, "context": {"platform": {"serviceAccountName": "deployer"}}, "args": args},
        }))?;
        change(&mut execution);
        let api: Api<RunnerExecution> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.create(&PostParams::default(), &execution).await?)
    }

    /// Waits until an execution is as wanted.
    ///
    /// # Errors
    /// If it never is.
    pub async fn until(
        &self,
        execution: &RunnerExecution,
        wanted: impl Fn(&RunnerExecution) -> bool,
    ) -> Result<RunnerExecution> {
        let mut updates = std::pin::pin!(self.executions().follow(execution));
        let mut last = None;
        let wait = async {
            while let Some(update) = updates.next().await {
                if let Update::Seen(now) = update? {
                    if wanted(&now) {
                        return anyhow::Ok(Some(*now));
                    }
                    last.clone_from(&now.status);
                }
            }
            Ok(None)
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        match found {
            Ok(found) => found?.with_context(|| format!("it ended otherwise: {last:#?}")),
            Err(_) => bail!("it never came to be so; it is {last:#?}"),
        }
    }

    /// Waits until an execution is in that phase.
    ///
    /// # Errors
    /// If it never is.
    pub async fn until_phase(&self, execution: &RunnerExecution, phase: Phase) -> Result<RunnerExecution> {
        self.until(execution, |now| now.status.as_ref().and_then(|s| s.phase) == Some(phase)).await
    }

    /// Who wrote the status of an execution, in order, as the audit log tells it.
    ///
    /// # Errors
    /// If there is no audit log.
    pub fn writers(&self, name: &str) -> Result<Vec<String>> {
        let audit = std::fs::read_to_string(self.cluster.audit_log())?;
        let text = |event: &Value, path: &str| {
            event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let events: Vec<Value> = audit.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        ensure!(!events.is_empty(), "the audit log is empty");
        let wrote = |event: &&Value| {
            text(event, "/objectRef/resource") == "runnerexecutions"
                && text(event, "/objectRef/subresource") == "status"
                && text(event, "/objectRef/namespace") == self.namespace
                && text(event, "/objectRef/name") == name
        };
        Ok(events.iter().filter(wrote).map(|event| text(event, "/user/username")).collect())
    }
}
