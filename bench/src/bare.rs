//! The bare clients: the least that any controller can do. Each runs as a process of its own.
//!
//! - *blind*: knows everything at the start by one list, and issues the four writes of each execution one after
//!   the other, without looking at anything: the ceiling of any throughput.
//! - *reactive*: does the same driven by raw watch lines, and reads the child once: the floor of any latency.
//! - *stream*: only receives what there is, as a controller must at its start, and ends.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    actors::at_once,
    http::{Answer, Call, Http},
    line::{Line, Object},
    payload::{self, Known},
    target::Target,
};

const MARKED: &str = "labelSelector=core.projectvoltron.dev%2Fexecution-uid";
const FROM_THE_START: &str = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

/// A bare client.
#[derive(Clone)]
pub struct Bare {
    http: Http,
    target: Arc<Target>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    resource_version: String,
}

#[derive(Deserialize)]
struct Spec {
    args: Args,
}

#[derive(Deserialize)]
struct Args {
    workflow: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    start_time: Option<String>,
}

impl From<Execution> for Known {
    fn from(execution: Execution) -> Self {
        let Metadata { name, uid, resource_version } = execution.metadata;
        Self { name, uid, version: resource_version, workflow: execution.spec.args.workflow }
    }
}

impl Bare {
    /// A client of that identity.
    pub fn new(target: Target, http2: bool) -> Result<Self> {
        let http = Http::new(&target, "peer-bare-client", http2)?;
        Ok(Self { http, target: Arc::new(target) })
    }

    /// Four writes for everything there is and has not begun.
    pub async fn blind(&self, concurrency: usize) -> Result<()> {
        at_once(concurrency, self.new_executions().await?, |mut execution| async move {
            self.begin(&mut execution).await?;
            self.conclude(&execution).await
        })
        .await
    }

    /// The first three writes for everything there is and has not begun.
    pub async fn begin_all(&self, concurrency: usize) -> Result<()> {
        let begin = |mut execution| async move { self.begin(&mut execution).await };
        at_once(concurrency, self.new_executions().await?, begin).await
    }

    async fn new_executions(&self) -> Result<Vec<Known>> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Execution>,
        }
        let list: List = serde_json::from_slice(&self.http.get(&payload::executions(&self.target)).await?)?;
        let new = list.items.into_iter().filter(|execution| execution.status.start_time.is_none());
        Ok(new.map(Known::from).collect())
    }

    /// Serves what the watches show until it is ended.
    pub async fn reactive(self, concurrency: usize) -> Result<()> {
        let slots = Arc::new(Semaphore::new(concurrency));
        let running: Arc<Mutex<HashMap<String, Known>>> = Arc::default();
        let (to_begin, mut new) = mpsc::unbounded_channel();
        let (to_conclude, mut ended) = mpsc::unbounded_channel();
        let watching = tokio::spawn(self.clone().watch_executions(to_begin));
        let following = tokio::spawn(self.clone().watch_children(to_conclude));
        loop {
            tokio::select! {
                Some(mut execution) = new.recv() => {
                    let (bare, running, slots) = (self.clone(), Arc::clone(&running), Arc::clone(&slots));
                    tokio::spawn(async move {
                        let Ok(_slot) = slots.acquire().await else { return };
                        match bare.begin(&mut execution).await {
                            Ok(()) => drop(lock(&running).insert(execution.name.clone(), execution)),
                            Err(error) => complain("begin", &error),
                        }
                    });
                }
                Some(name) = ended.recv() => {
                    let (bare, running, slots) = (self.clone(), Arc::clone(&running), Arc::clone(&slots));
                    tokio::spawn(async move {
                        let execution = taken(&running, &name).await;
                        let Ok(_slot) = slots.acquire().await else { return };
                        if let Err(error) = bare.read_and_conclude(&execution).await {
                            complain("conclude", &error);
                        }
                    });
                }
                else => break,
            }
        }
        watching.await??;
        following.await?
    }

    async fn watch_executions(self, begin: mpsc::UnboundedSender<Known>) -> Result<()> {
        #[derive(Deserialize)]
        struct Added {
            object: Execution,
        }
        let path = payload::executions(&self.target);
        let mut taken = HashSet::new();
        loop {
            // From the start each time: what was taken is known, and initial events come in no order to resume from.
            let mut lines = self.http.watch(&path, FROM_THE_START, Answer::Whole).await?;
            while let Some((_, bytes)) = lines.next().await {
                let Some(line) = Line::read(&bytes) else { break };
                if line.kind == "ADDED" && taken.insert(line.object.metadata.uid.into_owned()) {
                    let execution = serde_json::from_slice::<Added>(&bytes)?.object;
                    if execution.status.start_time.is_none() {
                        begin.send(execution.into())?;
                    }
                }
            }
        }
    }

    async fn watch_children(self, conclude: mpsc::UnboundedSender<String>) -> Result<()> {
        let path = payload::workflows(&self.target);
        let query = format!("{FROM_THE_START}&{MARKED}");
        let mut taken = HashSet::new();
        loop {
            let mut lines = self.http.watch(&path, &query, Answer::Metadata).await?;
            while let Some((_, bytes)) = lines.next().await {
                let Some(line) = Line::read(&bytes) else { break };
                let metadata = &line.object.metadata;
                if line.object.is_completed_workflow() && taken.insert(metadata.uid.clone().into_owned()) {
                    conclude.send(metadata.name.clone().into_owned())?;
                }
            }
        }
    }

    /// Creates the child suspended, records it, releases it.
    async fn begin(&self, execution: &mut Known) -> Result<()> {
        let children = payload::workflows(&self.target);
        let body = payload::child(&self.target, execution);
        let (child_uid, _) = self.write(Method::POST, &children, body, true).await?;
        let body = payload::running(&self.target, execution, &child_uid, &payload::now());
        (_, execution.version) = self.write(Method::PATCH, &self.status_of(execution), body, false).await?;
        let child = format!("{children}/{}", execution.name);
        self.write(Method::PATCH, &child, payload::release(&child_uid), true).await.map(drop)
    }

    async fn read_and_conclude(&self, execution: &Known) -> Result<()> {
        self.http.get(&format!("{}/{}", payload::workflows(&self.target), execution.name)).await?;
        self.conclude(execution).await
    }

    /// Records the outcome.
    async fn conclude(&self, execution: &Known) -> Result<()> {
        let body = payload::succeeded(execution, &payload::now());
        self.write(Method::PATCH, &self.status_of(execution), body, false).await.map(drop)
    }

    fn status_of(&self, execution: &Known) -> String {
        format!("{}/{}/status", payload::executions(&self.target), execution.name)
    }

    /// One write; its answer's uid and version.
    async fn write(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        impersonate: bool,
    ) -> Result<(String, String)> {
        let what = format!("{method} {path}");
        let call = Call { method, path, body, answer: Answer::Metadata, impersonate };
        let answer = self.http.send(call).await?.good(&what)?;
        let object: Object<'_> = serde_json::from_slice(&answer)?;
        Ok((object.metadata.uid.into_owned(), object.metadata.resource_version.into_owned()))
    }

    /// Receives all executions and all children's metadata, and ends.
    pub async fn stream(&self) -> Result<()> {
        let children = format!("{FROM_THE_START}&{MARKED}");
        let executions = payload::executions(&self.target);
        let workflows = payload::workflows(&self.target);
        tokio::try_join!(
            self.receive(&executions, FROM_THE_START, Answer::Whole),
            self.receive(&workflows, &children, Answer::Metadata),
        )
        .map(drop)
    }

    async fn receive(&self, path: &str, query: &str, answer: Answer) -> Result<()> {
        let mut lines = self.http.watch(path, query, answer).await?;
        while let Some((_, line)) = lines.next().await {
            if line.starts_with(br#"{"type":"BOOKMARK""#) {
                return Ok(());
            }
        }
        bail!("{path} ended before all of it was received")
    }
}

fn lock(map: &Mutex<HashMap<String, Known>>) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The execution of that name, once its beginning is through: a child can end before the answer to its release
/// is there.
async fn taken(begun: &Mutex<HashMap<String, Known>>, name: &str) -> Known {
    loop {
        if let Some(found) = lock(begun).remove(name) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

fn complain(what: &str, error: &anyhow::Error) {
    eprintln!("peer: cannot {what}: {error:#}");
}
