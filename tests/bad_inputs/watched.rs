//! What the API server tells of executions, by one watch for all who wait. Specs are skipped unread: here they may
//! nest deeper than a parser goes.

use std::{
    borrow::Cow,
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use runner_controller::crd::{RunnerExecution, RunnerExecutionSpec, RunnerExecutionStatus};
use serde::{Deserialize, Deserializer};
use tokio::{sync::watch, task::JoinHandle};

use crate::common::has_condition;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// An execution without its spec.
#[derive(Clone, Debug, Deserialize)]
struct Told {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<RunnerExecutionStatus>,
}

/// Without managed fields, which nest as deep as the arguments.
fn slim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        uid: Option<String>,
        generation: Option<i64>,
        resource_version: Option<String>,
    }
    let Slim { name, uid, generation, resource_version } = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta { name, uid, generation, resource_version, ..ObjectMeta::default() })
}

impl Resource for Told {
    type DynamicType = ();
    type Scope = <RunnerExecution as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        RunnerExecution::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        RunnerExecution::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        RunnerExecution::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        RunnerExecution::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The last that was told of one execution.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    /// Metadata and status; the spec is empty.
    pub(crate) rex: RunnerExecution,
    /// It is no longer there.
    pub(crate) gone: bool,
    /// When it was first told to be finished.
    pub(crate) finished: Option<Instant>,
}

type ByName = HashMap<String, Last>;

/// All executions of a namespace.
pub(crate) struct Watched {
    namespace: String,
    last: watch::Receiver<ByName>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watched {
    /// Watches until dropped.
    pub(crate) fn namespace(client: Client, namespace: &str) -> Self {
        let api = Api::<Told>::namespaced(client, namespace);
        let (sender, last) = watch::channel(ByName::new());
        let task = tokio::spawn(async move {
            let mut events = watcher::watcher(api, watcher::Config::default()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(told) | Event::InitApply(told)) => {
                        sender.send_modify(|all| keep(all, told, false));
                    }
                    Ok(Event::Delete(told)) => sender.send_modify(|all| keep(all, told, true)),
                    Ok(Event::Init | Event::InitDone) | Err(_) => {}
                }
            }
        });
        Self { namespace: namespace.to_owned(), last, task }
    }

    /// Waits until an execution is as wanted, also by its last word before it went.
    pub(crate) async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Last) -> bool) -> Result<Last> {
        let mut last = self.last.clone();
        let found = last.wait_for(|all| all.get(name).is_some_and(&wanted));
        if let Ok(found) = tokio::time::timeout(PATIENCE, found).await {
            return Ok(found?[name].clone());
        }
        let now = self.last.borrow().get(name).cloned();
        bail!("{}/{name} never came to be {what}; it is {:?}", self.namespace, now.map(|l| l.rex.status))
    }

    /// Waits until it has finished.
    pub(crate) async fn end(&self, name: &str) -> Result<RunnerExecution> {
        self.until(name, "finished", |last| last.finished.is_some()).await.map(|last| last.rex)
    }
}

fn keep(all: &mut ByName, told: Told, gone: bool) {
    let name = told.metadata.name.clone().unwrap_or_default();
    let rex = RunnerExecution {
        metadata: told.metadata,
        spec: RunnerExecutionSpec::default(),
        status: told.status,
    };
    let before = all.get(&name).filter(|last| last.rex.metadata.uid == rex.metadata.uid);
    let finished = before
        .and_then(|last| last.finished)
        .or_else(|| has_condition(&rex, "Finished", "True").then(Instant::now));
    all.insert(name, Last { rex, gone, finished });
}
