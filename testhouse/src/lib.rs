//! What the tests of the other workspace members share: a namespace of a real cluster in which everything of
//! `config/` is installed, a ServiceAccount `deployer` that may do what runs need, and the controller if wanted.
//!
//! It shares its clusters with the tests of the controller itself: `RUNNER_TEST_CLUSTERS` says where they lie.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests do I/O")]

pub mod cluster;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use cluster::{access, audit, client_config, controller_access, folder, install, kubectl, tenant};
use devcluster::{Cluster, Level, Options};
use futures::StreamExt;
use kube::{Api, Client, api::PostParams};
use runner_controller::{
    client::{Executions, Update},
    controller,
    crd::{Phase, RunnerExecution},
    runners::{Registry, Settings},
};
use serde_json::{Value, json};
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
        let cluster = Cluster::ensure(&Options::new(folder(level.name()), level)).await?;
        install(&cluster).await?;
        let house = Self {
            client: cluster.client().await?,
            cluster,
            namespace: format!("{namespace}-{}", std::process::id()),
            kubeconfigs: tempfile::tempdir()?,
        };
        house.apply(&tenant(&house.namespace)).await?;
        Ok(house)
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
        kubectl(&self.cluster, args, stdin).await
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
        let kubeconfig = access(&self.cluster, account, namespace).await?;
        let path = self.kubeconfigs.path().join(account);
        std::fs::write(&path, serde_json::to_vec(&kubeconfig)?)?;
        Ok(path)
    }

    /// Starts the project's controller for the namespace, in this process but with its own rights. It stops when
    /// the guard is dropped.
    ///
    /// # Errors
    /// If it cannot be given access.
    pub async fn start_controller(&self, start_grace: Duration) -> Result<DropGuard> {
        let config = client_config(controller_access(&self.cluster).await?).await?;
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
    pub async fn writers(&self, name: &str) -> Result<Vec<String>> {
        let events = audit(&self.cluster).await?;
        let text = |event: &Value, path: &str| {
            event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
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
