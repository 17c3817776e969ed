//! One point of the matrix: a namespace, a proxy and a controller process of its own, and one run through it all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use devcluster::{Cluster, Level, Options};
use faultproxy::{FaultProxy, Plan, Trace};
use futures::TryStreamExt;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    core::ApiResource,
    runtime::{WatchStreamExt, wait::await_condition, watcher},
};
use runner_controller::{
    crd::{Phase, RunnerExecution},
    runners::{Registry, Settings},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    common,
    history::{self, History},
    process::Process,
    scenario::{Pods, Scenario, Story},
};

/// In the words of a failure that means the outcome never came.
pub(crate) const LOST: &str = "never finished";
/// How long a run may take, whatever goes wrong in it.
const PATIENCE: Duration = Duration::from_secs(90);

/// The cluster of all points.
pub(crate) struct House {
    cluster: Cluster,
    pub(crate) client: Client,
    /// With the rights of the controller's own ServiceAccount.
    pub(crate) as_controller: Config,
}

impl House {
    pub(crate) async fn open() -> Result<Self> {
        let cluster = Cluster::ensure(&Options::new(common::folder("crash"), Level::Argo)).await?;
        common::install(&cluster).await?;
        let as_controller = common::controller_config(&cluster).await?;
        Ok(Self { client: cluster.client().await?, cluster, as_controller })
    }

    /// Invariant I4 over the whole audit log: whatever the controller wrote of a run, it wrote as the run's
    /// ServiceAccount, in its namespace.
    pub(crate) async fn check_audit(&self) -> Result<()> {
        let log = tokio::fs::read_to_string(self.cluster.audit_log()).await?;
        for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let ours = event["user"]["username"] == "system:serviceaccount:runner-system:runner-controller";
            let writes = matches!(event["verb"].as_str(), Some("create" | "update" | "patch" | "delete"));
            let resource = event["objectRef"]["resource"].as_str().unwrap_or_default();
            if ours && writes && !matches!(resource, "runnerexecutions" | "events") {
                let namespace = event["objectRef"]["namespace"].as_str().unwrap_or_default();
                let expected = format!("system:serviceaccount:{namespace}:deployer");
                ensure!(
                    event["impersonatedUser"]["username"] == expected.as_str(),
                    "not as the ServiceAccount: {event}"
                );
            }
        }
        Ok(())
    }

    /// A new namespace with a ServiceAccount `deployer` that may do what runs need.
    pub(crate) async fn namespace(&self) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("p{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let client = self.client.clone();
        self.create(Api::<Namespace>::all(client.clone()), json!({"metadata": {"name": namespace}})).await?;
        let named = json!({"name": "deployer"});
        self.create(
            Api::<ServiceAccount>::namespaced(client.clone(), &namespace),
            json!({"metadata": named}),
        )
        .await?;
        let rules = json!([{"apiGroups": ["argoproj.io", "batch"], "resources": ["workflows", "jobs"], "verbs": ["create", "patch", "delete"]}]);
        self.create(
            Api::<Role>::namespaced(client.clone(), &namespace),
            json!({"metadata": named, "rules": rules}),
        )
        .await?;
        let binding = json!({
            "metadata": named,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
        });
        self.create(Api::<RoleBinding>::namespaced(client, &namespace), binding).await?;
        Ok(namespace)
    }

    pub(crate) async fn create<K>(&self, api: Api<K>, object: Value) -> Result<K>
    where
        K: kube::Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
    {
        Ok(api.create(&PostParams::default(), &serde_json::from_value(object)?).await?)
    }
}

/// What a run showed.
pub(crate) struct Shown {
    pub(crate) trace: Trace,
}

/// One run.
pub(crate) struct Run {
    house: Arc<House>,
    scenario: &'static Scenario,
    namespace: String,
    kind: ApiResource,
    plan: Plan,
}

impl Run {
    pub(crate) async fn new(house: Arc<House>, scenario: &'static Scenario, plan: Plan) -> Result<Self> {
        let namespace = house.namespace().await?;
        let plan = portable(plan, &namespace);
        let registry = Registry::built_in(&Settings::default());
        let kind = registry.get(scenario.runner).context("no such runner")?.child();
        Ok(Self { house, scenario, namespace, kind, plan })
    }

    /// Runs the scenario through whatever goes wrong, and checks its end and its whole history.
    pub(crate) async fn through(self) -> Result<Shown> {
        let client = self.house.client.clone();
        let executions_kind = ApiResource::erase::<RunnerExecution>(&());
        let (executions, first) = History::record(client.clone(), &self.namespace, &executions_kind).await?;
        let (children, second) = History::record(client.clone(), &self.namespace, &self.kind).await?;
        let kubelet =
            tokio::spawn(stand_in_for_kubelet(client.clone(), self.namespace.clone(), self.scenario.pods));
        let mut process = Process::start(&self.house, &self.namespace, self.plan.clone()).await?;
        let proxy = Arc::clone(&process.proxy);
        let told = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                told = self.tell_the_story() => told,
                error = process.keep_alive() => Err(error),
            }
        })
        .await;
        let checked = match told {
            Err(_) => Err(anyhow::anyhow!("{LOST}: {}", last_words(&proxy, &executions))),
            Ok(Err(error)) => Err(error),
            // The process must still live while leftovers are swept.
            Ok(Ok(())) => tokio::select! {
                checked = self.settle(&proxy, &executions, &children) => checked,
                error = process.keep_alive() => Err(error),
            },
        };
        let _ = process.kill().await;
        for task in [first, second, kubelet] {
            task.abort();
        }
        checked?;
        Ok(Shown { trace: proxy.trace() })
    }

    async fn tell_the_story(&self) -> Result<()> {
        let api: Api<RunnerExecution> = Api::namespaced(self.house.client.clone(), &self.namespace);
        let execution =
            common::execution("a", self.scenario.runner, (self.scenario.args)(), |spec| {
                match self.scenario.story {
                    Story::Timeout => spec["context"]["timeout"] = json!("3s"),
                    Story::DryRun => spec["context"]["dryRun"] = json!(true),
                    Story::ReleaseOnceSuspended => spec["suspend"] = json!(true),
                    Story::Nothing | Story::CancelOnceRunning => {}
                }
            });
        self.house.create(api.clone(), execution).await?;
        let (until, change) = match self.scenario.story {
            Story::CancelOnceRunning => (Some(Phase::Running), json!({"spec": {"cancel": true}})),
            Story::ReleaseOnceSuspended => (Some(Phase::Suspended), json!({"spec": {"suspend": false}})),
            Story::Nothing | Story::Timeout | Story::DryRun => (None, Value::Null),
        };
        if let Some(phase) = until {
            let reached = move |object: Option<&RunnerExecution>| {
                object.and_then(|o| o.status.as_ref()).is_some_and(|s| s.phase == Some(phase))
            };
            await_condition(api.clone(), "a", reached).await?;
            api.patch("a", &PatchParams::default(), &Patch::Merge(change)).await?;
        }
        let finished = |object: Option<&RunnerExecution>| {
            object.is_some_and(|o| common::has_condition(o, "Finished", "True"))
        };
        let end = await_condition(api, "a", finished).await?.context("it is gone")?;
        let status = end.status.clone().unwrap_or_default();
        let (phase, reason) = self.scenario.end;
        ensure!(
            (status.phase, status.reason) == (Some(phase), Some(reason)),
            "it ended otherwise: {status:?}"
        );
        common::check_consistency(&end)
    }

    /// Waits until nothing is left that was not recorded, then checks everything that was ever stored.
    async fn settle(&self, proxy: &FaultProxy, executions: &History, children: &History) -> Result<()> {
        let recorded = |execution: &Value| execution["status"]["resources"][0]["uid"].clone();
        for _ in 0..100 {
            let alive = children.alive();
            let uid = executions.alive().first().map(recorded).unwrap_or_default();
            // A request that was held back may still arrive.
            let late =
                proxy.trace().requests.iter().any(|r| r.took_us.is_none() && r.call.key.verb.is_mutating());
            if !late && alive.iter().all(|child| child["metadata"]["uid"] == uid) {
                return history::check(executions, children);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!(
            "a child that is not recorded was left behind: {:?}",
            children.alive().iter().map(|c| c["metadata"].clone()).collect::<Vec<_>>()
        )
    }
}

fn last_words(proxy: &FaultProxy, executions: &History) -> String {
    let status = executions.alive().first().map(|e| e["status"].to_string()).unwrap_or_default();
    format!("{status}; after {} requests", proxy.trace().requests.len())
}

/// A plan that was learned in another namespace, for this one.
fn portable(mut plan: Plan, namespace: &str) -> Plan {
    for rule in &mut plan.requests {
        if rule.matching.namespace.as_deref().is_some_and(|n| !n.is_empty()) {
            rule.matching.namespace = Some(namespace.to_owned());
        }
        if rule.matching.impersonate.as_deref().is_some_and(|i| !i.is_empty()) {
            rule.matching.impersonate = Some(format!("system:serviceaccount:{namespace}:deployer"));
        }
    }
    for rule in &mut plan.events {
        rule.matching.namespace = Some(namespace.to_owned());
        if rule.matching.watch.namespace.as_deref().is_some_and(|n| !n.is_empty()) {
            rule.matching.watch.namespace = Some(namespace.to_owned());
        }
    }
    plan
}

/// Marks pods as ended, as a kubelet would.
pub(crate) async fn stand_in_for_kubelet(client: Client, namespace: String, pods: Pods) {
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let (phase, code, reason) = match pods {
        Pods::Succeed => ("Succeeded", 0, "Completed"),
        Pods::Fail => ("Failed", 3, "Error"),
        Pods::Stay => return,
    };
    let events = watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects();
    let _ = events
        .try_for_each(|pod| {
            let api = api.clone();
            async move {
                let pending = pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Pending"));
                if let Some(name) = pod.metadata.name.filter(|_| pending) {
                    let ended = json!({"exitCode": code, "reason": reason, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"});
                    let container = json!({"name": "main", "image": "busybox:1", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": ended}});
                    let patch = json!({"status": {"phase": phase, "containerStatuses": [container]}});
                    let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
                }
                Ok(())
            }
        })
        .await;
}
