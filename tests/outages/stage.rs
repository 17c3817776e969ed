//! A namespace in which executions are created all the time, served by one controller process that is watched from
//! all sides. I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::Kubeconfig,
    core::{ApiResource, GroupVersionKind},
};
use runner_controller::crd::{EXECUTION_UID_LABEL, RunnerExecution};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    common::{
        execution,
        history::{self, Breach, History, Version},
        house::House,
        kubelet::{Pods, stand_in_for_kubelet},
        process::{Launch, Process},
    },
    gauge::{self, Gauge},
    outage::{Outage, signal},
    table::Row,
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a Workflow of a second may take before Argo is taken to have forgotten it.
const ARGO_FORGETS: Duration = Duration::from_secs(10);
/// How soon a request is tried again that the API server did not take.
const AGAIN: Duration = Duration::from_millis(50);
/// How far apart executions are created.
const PACE: Duration = Duration::from_millis(400);

pub(crate) struct Stage {
    pub(crate) house: Arc<House>,
    pub(crate) namespace: String,
    executions: History,
    jobs: History,
    workflows: History,
    pub(crate) controller: Process,
    gauge: Gauge,
    _kubelet: JoinSet<()>,
}

impl Stage {
    /// A new namespace with a controller of that access and environment.
    pub(crate) async fn set(
        house: Arc<House>,
        access: Kubeconfig,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let namespace = house.namespace().await?;
        let client = house.client.clone();
        let record = |kind: ApiResource| {
            let (client, namespace) = (client.clone(), namespace.clone());
            async move { History::record(client, &namespace, &kind).await }
        };
        let executions = record(ApiResource::erase::<RunnerExecution>(&())).await?;
        let (jobs, workflows) =
            (record(ApiResource::erase::<Job>(&())).await?, record(workflow_kind()).await?);
        let mut kubelet = JoinSet::new();
        kubelet.spawn(stand_in_for_kubelet(client, namespace.clone(), Pods::Succeed));
        let controller = start_controller(&house, &access, &namespace, environment)?;
        let gauge = Gauge::of(controller.pid().context("the controller ended at once")?);
        Ok(Self { house, namespace, executions, jobs, workflows, controller, gauge, _kubelet: kubelet })
    }

    /// One outage, as often as it comes, while executions are created and run.
    pub(crate) async fn trial(&self, outage: Outage) -> Result<Row> {
        let before = self.finished();
        let (_, audited) = gauge::requests(&self.house, &self.namespace, 0).await?;
        self.gauge.take();
        let (mut released, mut overs) = (Vec::new(), Vec::new());
        let is_over = CancellationToken::new();
        let suffer = async {
            let _over = is_over.clone().drop_guard();
            for time in 0..outage.times() {
                tokio::time::sleep(PACE * 3).await;
                outage.come(self, time).await?;
                overs.push(Instant::now());
                released.push(self.back(&format!("{}probe-{time}", outage.prefix())).await?);
            }
            Ok::<(), anyhow::Error>(())
        };
        let (suffered, ()) = tokio::join!(suffer, self.create_many(outage, &is_over));
        suffered?;
        let all_finished = self.until_all_finished().await;
        let (requests, _) = gauge::requests(&self.house, &self.namespace, audited).await?;
        let breaches = self.breaches().await?;
        let count = |fits: fn(&Breach) -> bool| breaches.iter().filter(|breach| fits(breach)).count();
        let alive = self.executions.alive();
        let finished = self.finished();
        if outage == Outage::HistoryCompacted {
            ensure!(requests.relists > 0, "every watch could go on from where it was");
        }
        let woken = all_finished.unwrap_or_else(|unfinished| {
            println!("{}: {unfinished:#}", outage.name());
            0
        });
        ensure!(self.controller.pid().is_some(), "the controller ended");
        Ok(Row {
            outage: outage.name(),
            told: self.told(&overs)?,
            released,
            used: self.gauge.take(),
            requests,
            executions: finished - before,
            woken,
            doubles: count(|breach| matches!(breach, Breach::Double(_) | Breach::NotRecorded { .. })),
            lost: alive.len() - finished,
            regressions: count(|breach| matches!(breach, Breach::TakenBack(_) | Breach::FalseSuccess)),
        })
    }

    /// One after another, until the outage is over; none is left half created.
    async fn create_many(&self, outage: Outage, is_over: &CancellationToken) {
        for number in 0.. {
            if is_over.is_cancelled() {
                return;
            }
            let runner = if number % 2 == 0 { "job" } else { "argo-workflow" };
            self.create(&format!("{}{number}", outage.prefix()), runner, |_| ()).await;
            tokio::time::sleep(PACE).await;
        }
    }

    /// Creates an execution; an API server that is away is waited for.
    pub(crate) async fn create(&self, name: &str, runner: &str, change: impl FnOnce(&mut Value)) {
        let args = match runner {
            "job" => json!({"image": "busybox:1"}),
            _ => workflow(Some("1")),
        };
        create(&self.house.client, &self.namespace, execution(name, runner, args, change)).await;
    }

    /// How long it takes from now until a new execution's child is released.
    async fn back(&self, name: &str) -> Result<Duration> {
        let over = Instant::now();
        self.create(name, "job", |_| ()).await;
        let released = |jobs: &[&Value]| {
            jobs.iter().any(|job| job["metadata"]["name"] == name && job["spec"]["suspend"] != true)
        };
        ensure!(self.jobs.until(PATIENCE, released).await, "{name} was not released within {PATIENCE:?}");
        Ok(over.elapsed())
    }

    /// Waits until an execution's status is as wanted.
    pub(crate) async fn until_status(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let came = |executions: &[&Value]| {
            executions.iter().any(|e| e["metadata"]["name"] == name && wanted(&e["status"]))
        };
        ensure!(self.executions.until(PATIENCE, came).await, "{name} never came to be {what}");
        Ok(())
    }

    /// Creates an execution and waits until it has succeeded.
    pub(crate) async fn runs_to_its_end(&self, name: &str, runner: &str) -> Result<()> {
        self.create(name, runner, |_| ()).await;
        self.until_status(name, "Succeeded", |status| status["phase"] == "Succeeded").await
    }

    /// Changes one object of each kind, none of which is a run, and waits until that is recorded; tells the oldest
    /// of these changes' revisions.
    pub(crate) async fn mark(&self, name: &str) -> Result<u64> {
        let marker = json!({"metadata": {"name": name}, "spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1"}],
        }}}});
        let client = &self.house.client;
        create(client, &self.namespace, with_type("batch/v1", "Job", marker)).await;
        let marker = json!({"metadata": {"name": name}, "spec": {"suspend": true, "entrypoint": "main", "templates": []}});
        create(client, &self.namespace, with_type("argoproj.io/v1alpha1", "Workflow", marker)).await;
        self.create(name, "job", |_| ()).await;
        let mut oldest = u64::MAX;
        for history in [&self.executions, &self.jobs, &self.workflows] {
            let seen = |objects: &[&Value]| objects.iter().any(|o| o["metadata"]["name"] == name);
            ensure!(history.until(PATIENCE, seen).await, "{name} is not recorded");
            oldest = oldest.min(history.revision()?);
        }
        Ok(oldest)
    }

    /// One more controller of the namespace.
    pub(crate) fn another_controller(&self) -> Result<Process> {
        start_controller(&self.house, &self.house.controller, &self.namespace, Vec::new())
    }

    /// Sends a signal to the controller.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        signal(self.controller.pid().context("the controller ended")?, name)
    }

    /// An execution's status.
    pub(crate) fn status(&self, name: &str) -> Result<Value> {
        let found = self.executions.alive().into_iter().find(|e| e["metadata"]["name"] == name);
        Ok(found.with_context(|| format!("there is no {name}"))?["status"].clone())
    }

    /// Cancels what has not finished.
    pub(crate) async fn cancel_all(&self) -> Result<()> {
        let api: Api<RunnerExecution> = Api::namespaced(self.house.client.clone(), &self.namespace);
        for execution in self.executions.alive().iter().filter(|e| !is_finished(e)) {
            let name = execution["metadata"]["name"].as_str().unwrap_or_default();
            let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
            api.patch(name, &PatchParams::default(), &cancel).await?;
        }
        Ok(())
    }

    /// Where the invariants do not hold, over everything that was ever stored.
    pub(crate) async fn breaches(&self) -> Result<Vec<Breach>> {
        let children = [self.jobs.versions()?, self.workflows.versions()?].concat();
        let labelled = |v: &&Version| v.object["metadata"]["labels"][EXECUTION_UID_LABEL].is_string();
        let seen: BTreeSet<&str> =
            children.iter().filter(labelled).filter_map(|v| v.object["metadata"]["uid"].as_str()).collect();
        let created = self.house.children_created(&self.namespace).await?;
        // An API server that is killed may have stored one without telling.
        ensure!(seen.len() >= created, "{created} children were created, {} were seen", seen.len());
        history::breaches(&self.executions, &[&self.jobs, &self.workflows])
    }

    /// The executions that tell an end which their child has not come to.
    pub(crate) fn ended_without_their_child(&self) -> Vec<String> {
        let executions = self.executions.alive();
        let children = [self.jobs.alive(), self.workflows.alive()].concat();
        let running = |execution: &&Value| {
            is_finished(execution)
                && children.iter().any(|child| is_child(child, execution) && !has_ended(child))
        };
        executions.iter().filter(running).map(|e| e["metadata"]["name"].to_string()).collect()
    }

    fn finished(&self) -> usize {
        self.executions.alive().iter().filter(|e| is_finished(e)).count()
    }

    /// Waits until everything has finished; tells how many Workflows Argo had to be woken for.
    pub(crate) async fn until_all_finished(&self) -> Result<usize> {
        // What is recorded here comes by a watch, which an outage may have set back as well.
        let api: Api<RunnerExecution> = Api::namespaced(self.house.client.clone(), &self.namespace);
        let there = api.list_metadata(&ListParams::default()).await?.items.len();
        let finished =
            |executions: &[&Value]| executions.len() >= there && executions.iter().all(|e| is_finished(e));
        if self.executions.until(ARGO_FORGETS, finished).await {
            return Ok(0);
        }
        let woken = self.wake_argo().await?;
        if self.executions.until(PATIENCE, finished).await {
            return Ok(woken);
        }
        let left: Vec<Value> = self.executions.alive().into_iter().filter(|e| !is_finished(e)).collect();
        let children = [self.jobs.alive(), self.workflows.alive()].concat();
        let of = |e: &Value| children.iter().filter(|c| is_child(c, e)).cloned().collect::<Vec<_>>();
        let left = left.iter().map(|e| json!({"execution": e, "children": of(e)})).collect();
        anyhow::bail!("not finished after {PATIENCE:?}: {}", Value::Array(left))
    }

    /// Argo 3.7 does not repeat an update of a Workflow that the API server did not take, and looks again by itself
    /// only after 20 min. Any change makes it look at once.
    async fn wake_argo(&self) -> Result<usize> {
        let executions = self.executions.alive();
        let waiting = |workflow: &Value| {
            !has_ended(workflow) && executions.iter().any(|e| !is_finished(e) && is_child(workflow, e))
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.house.client.clone(), &self.namespace, &workflow_kind());
        let workflows: Vec<Value> = self.workflows.alive().into_iter().filter(waiting).collect();
        for workflow in &workflows {
            let name = workflow["metadata"]["name"].as_str().unwrap_or_default();
            let touch = Patch::Merge(json!({"metadata": {"annotations": {"outages/woken": "true"}}}));
            api.patch(name, &PatchParams::default(), &touch).await?;
        }
        Ok(workflows.len())
    }

    /// After each end of an outage, until the next: the longest that an execution took to tell the end of its child,
    /// counted from the end of the outage if that was later.
    fn told(&self, overs: &[Instant]) -> Result<Vec<Duration>> {
        let mut ends = BTreeMap::new();
        for version in [self.jobs.versions()?, self.workflows.versions()?].concat() {
            if has_ended(&version.object) {
                ends.entry(execution_uid(&version.object)).or_insert(version.at);
            }
        }
        let mut told = BTreeMap::new();
        for version in self.executions.versions()?.into_iter().filter(|v| is_finished(&v.object)) {
            told.entry(version.object["metadata"]["uid"].clone().to_string()).or_insert(version.at);
        }
        let longest = |(index, over): (usize, &Instant)| {
            let next = overs.get(index + 1);
            let late = told.iter().filter(|(_, at)| **at >= *over && next.is_none_or(|next| **at < *next));
            late.filter_map(|(uid, at)| Some(at.saturating_duration_since(*ends.get(uid)?.max(over)))).max()
        };
        Ok(overs.iter().enumerate().filter_map(longest).collect())
    }
}

fn workflow_kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"))
}

fn start_controller(
    house: &House,
    access: &Kubeconfig,
    namespace: &str,
    environment: Vec<(String, String)>,
) -> Result<Process> {
    let mut kubeconfig = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&mut kubeconfig, access)?;
    Process::start(Launch {
        kubeconfig,
        namespace: namespace.to_owned(),
        // Longer than any test, so that it is not by beginning anew that watches come back.
        resync: "1h",
        environment,
        log: Some(house.cluster.folder().logs().join(format!("controller-{namespace}.log"))),
    })
}

/// Creates an object; an API server that is away is waited for.
async fn create(client: &Client, namespace: &str, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).expect("the manifest is an object");
    let types = object.types.as_ref().expect("the manifest has a kind");
    let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(types).expect("the manifest has a version"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    loop {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => return,
            // It was created though the reply was lost.
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

fn with_type(api_version: &str, kind: &str, mut object: Value) -> Value {
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object
}

/// The arguments of a workflow that takes so long; none: for ever.
pub(crate) fn workflow(duration: Option<&str>) -> Value {
    let suspend = duration.map_or_else(|| json!({}), |duration| json!({"duration": duration}));
    json!({"workflow": {"entrypoint": "main", "templates": [{"name": "main", "suspend": suspend}]}})
}

fn execution_uid(child: &Value) -> String {
    child["metadata"]["labels"][EXECUTION_UID_LABEL].to_string()
}

fn is_child(child: &Value, execution: &Value) -> bool {
    child["metadata"]["labels"][EXECUTION_UID_LABEL] == execution["metadata"]["uid"]
}

fn is_finished(execution: &Value) -> bool {
    execution["status"]["completionTime"].is_string()
}

fn has_ended(child: &Value) -> bool {
    let ended =
        |c: &Value| matches!(c["type"].as_str(), Some("Complete" | "Failed")) && c["status"] == "True";
    child["metadata"]["labels"]["workflows.argoproj.io/completed"] == "true"
        || child["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(ended))
}
