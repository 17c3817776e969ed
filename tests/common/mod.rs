//! What the tests on a real cluster share: a cluster, a namespace of one's own, and a controller that serves it
//! with the rights of `config/rbac`, no more.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses its own part")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests do I/O")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod history;
pub mod house;
pub mod kubelet;
pub mod process;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use devcluster::{Cluster, Level, Options};
use kube::{Api, Client, runtime::wait::await_condition};
use runner_controller::{
    controller,
    crd::{Phase, RunnerExecution},
    reason::Reason,
    runners::{Registry, Settings},
};
use serde_json::{Value, json};
pub use testhouse::cluster::{audit, controller_access, folder, install, kubectl};
use testhouse::{
    PATIENCE,
    cluster::{client_config, kubectl_output, tenant},
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// The image that pods of this project run in the tests; a cluster has it where a test puts it there.
pub const EXEC_IMAGE: &str = "localhost/runner-controller:test";

/// A namespace of a real cluster, with a ServiceAccount `deployer` that may do what runs need.
pub struct Env {
    pub cluster: &'static Cluster,
    pub client: Client,
    pub namespace: String,
    controllers: Vec<CancellationToken>,
}

/// A cluster of that level, with the CRD and the RBAC of `config/` installed.
pub async fn cluster(level: Level) -> Result<&'static Cluster> {
    static CLUSTERS: [OnceCell<Cluster>; 3] = [const { OnceCell::const_new() }; 3];
    let cell = match level {
        Level::ControlPlane => &CLUSTERS[0],
        Level::Argo => &CLUSTERS[1],
        Level::Pods => &CLUSTERS[2],
    };
    cell.get_or_try_init(|| async {
        let cluster = Cluster::ensure(&Options::new(folder(level.name()), level)).await?;
        install(&cluster).await?;
        Ok(cluster)
    })
    .await
}

/// Whether more is tried, and for longer, than fits into every test run.
pub fn full() -> bool {
    std::env::var("CRASH_MATRIX").is_ok_and(|value| value == "full")
}

/// For a client with the rights of the controller's ServiceAccount.
pub async fn controller_config(cluster: &Cluster) -> Result<kube::Config> {
    client_config(controller_access(cluster).await?).await
}

impl Env {
    /// A new namespace with a controller of its own.
    pub async fn new(level: Level) -> Result<Self> {
        Self::with_options(level, |_| ()).await
    }

    /// The same with other options of the controller.
    pub async fn with_options(level: Level, change: impl FnOnce(&mut controller::Options)) -> Result<Self> {
        let mut env = Self::without_controller(cluster(level).await?).await?;
        env.start_controller(change).await?;
        Ok(env)
    }

    /// A new namespace that no controller serves.
    pub async fn without_controller(cluster: &'static Cluster) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let client = cluster.client().await?;
        let namespace = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let env = Self { cluster, client, namespace, controllers: Vec::new() };
        env.apply(&tenant(&env.namespace)).await?;
        Ok(env)
    }

    /// Starts a controller for the namespace, in this process.
    pub async fn start_controller(&mut self, change: impl FnOnce(&mut controller::Options)) -> Result<()> {
        let mut options =
            controller::Options { namespace: Some(self.namespace.clone()), ..controller::Options::default() };
        change(&mut options);
        let stop = CancellationToken::new();
        let settings = Settings {
            pod_defaults: json!({"hostNetwork": true}),
            exec_image: Some(EXEC_IMAGE.to_owned()),
            exec_log: None,
        };
        let registry = Registry::built_in(&settings);
        tokio::spawn(controller::run(
            Client::try_from(controller_config(self.cluster).await?)?,
            registry,
            options,
            stop.clone(),
        ));
        self.controllers.push(stop);
        Ok(())
    }

    /// Starts one more, which knows nothing of the others.
    pub async fn start_another_controller(&mut self) -> Result<()> {
        self.start_controller(|_| ()).await
    }

    /// Stops all controllers gracefully.
    pub fn stop_controller(&mut self) {
        self.controllers.drain(..).for_each(|stop| stop.cancel());
    }

    /// kubectl in this namespace, which must succeed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        kubectl(self.cluster, &[&["-n", self.namespace.as_str()], args].concat(), None).await
    }

    /// kubectl in this namespace, which must fail: its words.
    pub async fn kubectl_refuses(&self, args: &[&str]) -> Result<String> {
        let output =
            kubectl_output(self.cluster, &[&["-n", self.namespace.as_str()], args].concat(), None).await?;
        ensure!(!output.status.success(), "kubectl {} succeeded", args.join(" "));
        Ok(String::from_utf8(output.stderr)?)
    }

    /// `kubectl apply` of a text.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        kubectl(self.cluster, &["-n", &self.namespace, "apply", "-f", "-"], Some(yaml)).await
    }

    /// `kubectl apply` of a text that must be refused: its words.
    pub async fn apply_refuses(&self, yaml: &str) -> Result<String> {
        let output =
            kubectl_output(self.cluster, &["-n", &self.namespace, "apply", "-f", "-"], Some(yaml)).await?;
        ensure!(!output.status.success(), "it was accepted");
        Ok(String::from_utf8(output.stderr)?)
    }

    /// Applies an execution of that runner.
    pub async fn run(
        &self,
        name: &str,
        runner: &str,
        args: Value,
        change: impl FnOnce(&mut Value),
    ) -> Result<()> {
        self.apply(&execution(name, runner, args, change).to_string()).await.map(drop)
    }

    pub fn executions(&self) -> Api<RunnerExecution> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the execution is as wanted.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&RunnerExecution) -> bool,
    ) -> Result<RunnerExecution> {
        let condition = |object: Option<&RunnerExecution>| object.is_some_and(&wanted);
        let found = await_condition(self.executions(), name, condition);
        if let Ok(found) = tokio::time::timeout(PATIENCE, found).await {
            return found?.context("it is gone");
        }
        let now = self.executions().get_opt(name).await?;
        bail!("{name} never came to be {what}; it is {:#?}", now.map(|n| n.status));
    }

    /// Waits for the end, which must be this one.
    pub async fn ends(&self, name: &str, phase: Phase, reason: Reason) -> Result<RunnerExecution> {
        let end = self.until(name, "finished", |rex| has_condition(rex, "Finished", "True")).await?;
        let status = end.status.clone().unwrap_or_default();
        ensure!(
            (status.phase, status.reason) == (Some(phase), Some(reason)),
            "{name} ended otherwise: {status:#?}"
        );
        check_consistency(&end)?;
        Ok(end)
    }

    /// Waits until a child is released: a controller that is stopped earlier leaves that to the next one.
    pub async fn released(&self, resource: &str, name: &str) -> Result<()> {
        let label = r"jsonpath={.metadata.labels.core\.projectvoltron\.dev/released}=true";
        self.comes_to(&format!("{resource}/{name}"), label).await
    }

    /// Waits until an object is there, and then for a condition of it, as after `--for=`. `kubectl wait` itself fails
    /// for an object that is not there yet.
    pub async fn comes_to(&self, object: &str, condition: &str) -> Result<()> {
        for condition in ["create", condition] {
            self.kubectl(&["wait", &format!("--for={condition}"), "--timeout=60s", object]).await?;
        }
        Ok(())
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, resource: &str, name: &str) -> Result<()> {
        self.kubectl(&["wait", "--for=delete", "--timeout=80s", &format!("{resource}/{name}")])
            .await
            .map(drop)
    }

    /// Whether an object exists.
    pub async fn exists(&self, resource: &str, name: &str) -> Result<bool> {
        Ok(!self.kubectl(&["get", resource, name, "--ignore-not-found", "-o", "name"]).await?.is_empty())
    }

    /// An object as JSON.
    pub async fn get(&self, resource: &str, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", resource, name, "-o", "json"]).await?)?)
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        self.stop_controller();
    }
}

/// An execution as a manifest.
pub fn execution(name: &str, runner: &str, args: Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "apiVersion": "core.projectvoltron.dev/v1alpha1",
        "kind": "RunnerExecution",
        "metadata": {"name": name},
        "spec": {"runner": runner, "context": {"platform": {"serviceAccountName": "deployer"}}},
    });
    object["spec"]["args"] = args;
    change(&mut object["spec"]);
    object
}

/// Whether a condition has that status.
pub fn has_condition(rex: &RunnerExecution, type_: &str, status: &str) -> bool {
    rex.status.iter().flat_map(|s| &s.conditions).any(|c| c.type_ == type_ && c.status == status)
}

/// The message of a status.
pub fn message(rex: &RunnerExecution) -> String {
    rex.status.as_ref().and_then(|s| s.message.clone()).unwrap_or_default()
}

/// Phase, conditions and times of a status never disagree.
pub fn check_consistency(rex: &RunnerExecution) -> Result<()> {
    let status = rex.status.clone().unwrap_or_default();
    let of = |type_: &str| {
        status.conditions.iter().find(|c| c.type_ == type_).map(|c| c.status.clone()).unwrap_or_default()
    };
    let finished = status.phase.is_some_and(Phase::is_final);
    ensure!((of("Finished") == "True") == finished, "Finished disagrees with the phase: {status:#?}");
    ensure!((of("Reconciling") == "True") != finished, "Reconciling disagrees with the phase: {status:#?}");
    ensure!(
        (of("Succeeded") == "True") == (status.phase == Some(Phase::Succeeded)),
        "Succeeded disagrees: {status:#?}"
    );
    ensure!(
        (of("Stalled") == "True") == (finished && status.phase != Some(Phase::Succeeded)),
        "Stalled disagrees: {status:#?}"
    );
    ensure!(status.completion_time.is_some() == finished, "completionTime disagrees: {status:#?}");
    ensure!(
        status.observed_generation == rex.metadata.generation,
        "observedGeneration is behind: {status:#?}"
    );
    Ok(())
}
