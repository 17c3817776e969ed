//! One point of the matrix: a namespace, a proxy and a controller process of its own, and one run through it all.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use faultproxy::{EventRecord, FaultProxy, Plan, Trace, Verb};
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::ApiResource,
    runtime::wait::await_condition,
};
use runner_controller::{
    crd::{Phase, RunnerExecution},
    runners::{Registry, Settings},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    common::{
        self,
        history::{self, History},
        house::House,
        kubelet::{self, stand_in_for_kubelet},
    },
    process::Process,
    scenario::{Scenario, Story},
};

/// In the words of a failure that means the outcome never came.
pub(crate) const LOST: &str = "never finished";
/// How long a run may take, whatever goes wrong in it.
const PATIENCE: Duration = Duration::from_secs(90);

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
        let registry = Registry::built_in(&Settings {
            exec_image: Some(common::EXEC_IMAGE.to_owned()),
            ..Settings::default()
        });
        let kind = registry.get(scenario.runner).context("no such runner")?.child();
        Ok(Self { house, scenario, namespace, kind, plan })
    }

    /// Runs the scenario through whatever goes wrong, and checks its end and its whole history.
    pub(crate) async fn through(self) -> Result<Shown> {
        let client = self.house.client.clone();
        let executions_kind = ApiResource::erase::<RunnerExecution>(&());
        let executions = History::record(client.clone(), &self.namespace, &executions_kind).await?;
        let children = History::record(client.clone(), &self.namespace, &self.kind).await?;
        let mut nodes = JoinSet::new();
        nodes.spawn(stand_in_for_kubelet(client, self.namespace.clone(), self.scenario.pods));
        let waits = waits_for_bookmarks(&self.plan);
        let resync = if waits { "10m" } else { "4s" };
        let mut process = Process::start(&self.house, &self.namespace, self.plan.clone(), resync).await?;
        let proxy = Arc::clone(&process.proxy);
        watching(&proxy).await?;
        if waits {
            bookmarks_withheld(&proxy).await?;
        }
        let told = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                told = self.tell_the_story() => told,
                error = process.keep_alive() => Err(error),
            }
        })
        .await;
        let checked = match told {
            Err(_) => Err(anyhow::anyhow!("{LOST}: {}", last_words(&proxy, &executions, &children))),
            Ok(Err(error)) => Err(error),
            // The process must still live while leftovers are swept.
            Ok(Ok(())) => tokio::select! {
                checked = self.settle(&proxy, &executions, &children) => checked,
                error = process.keep_alive() => Err(error),
            },
        };
        let _ = process.kill().await;
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
        if self.scenario.tells_output() {
            ensure!(status.output == Some(kubelet::output()), "its output is lost: {status:?}");
        }
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
                return history::check(executions, &[children]);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!(
            "a child that is not recorded was left behind: {:?}",
            children.alive().iter().map(|c| c["metadata"].clone()).collect::<Vec<_>>()
        )
    }
}

/// Waits until the controller watches executions: what is made only then comes to it by an event, which may go wrong.
async fn watching(proxy: &FaultProxy) -> Result<()> {
    let watches = |trace: &Trace| {
        trace.requests.iter().any(|r| {
            r.call.key.verb == Verb::Watch && r.call.key.resource == "runnerexecutions" && r.took_us.is_some()
        })
    };
    ensure!(proxy.wait(PATIENCE, watches).await, "the controller never watches executions");
    Ok(())
}

/// Whether the plan is about bookmarks, which an API server sends once a minute.
fn waits_for_bookmarks(plan: &Plan) -> bool {
    plan.events.iter().any(|rule| rule.matching.types == ["BOOKMARK"])
}

/// Waits until a bookmark of every watch was withheld.
async fn bookmarks_withheld(proxy: &FaultProxy) -> Result<()> {
    let withheld = |trace: &Trace| {
        let watched =
            |watch: u64| trace.requests.iter().find(|r| r.seq == watch).map(|r| &r.call.key.resource);
        let withheld = |event: &&EventRecord| event.event == "BOOKMARK" && event.fault.is_some();
        let of: BTreeSet<_> = trace.events.iter().filter(withheld).filter_map(|e| watched(e.watch)).collect();
        trace
            .requests
            .iter()
            .filter(|r| r.call.key.verb == Verb::Watch)
            .all(|r| of.contains(&r.call.key.resource))
    };
    ensure!(proxy.wait(PATIENCE, withheld).await, "the API server sent no bookmark");
    Ok(())
}

fn last_words(proxy: &FaultProxy, executions: &History, children: &History) -> String {
    let status = executions.alive().first().map(|e| e["status"].to_string()).unwrap_or_default();
    let children = Value::Array(children.alive());
    format!("{status}; after {} requests; its children: {children}", proxy.trace().requests.len())
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
        // Those of the input are named by the execution's uid.
        if rule.matching.resource.as_deref() == Some("secrets") {
            rule.matching.name = None;
        }
    }
    for rule in &mut plan.events {
        if rule.matching.namespace.is_some() {
            rule.matching.namespace = Some(namespace.to_owned());
        }
        if rule.matching.watch.namespace.as_deref().is_some_and(|n| !n.is_empty()) {
            rule.matching.watch.namespace = Some(namespace.to_owned());
        }
    }
    plan
}
