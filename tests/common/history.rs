//! What the API server stored of a namespace, from its first revision on, and what must hold of it.
//!
//! A history outlives its API server: a watch that cannot go on from where it was is made up for by reading the
//! namespace as it was at each revision in between. I/O: watches and lists.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, VersionMatch, WatchEvent, WatchParams},
    core::ApiResource,
};
use runner_controller::crd::EXECUTION_UID_LABEL;
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

/// In the words of a failure that means the work ran twice.
pub const DOUBLE: &str = "released twice";
/// How soon a watch that broke is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// Every version of every object of one kind in a namespace.
pub struct History {
    seen: watch::Receiver<Seen>,
    _recorder: JoinSet<()>,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    versions: Vec<Version>,
    /// The latest version of each object that still exists, by uid.
    latest: BTreeMap<String, Value>,
    /// Why the rest cannot be seen.
    gap: Option<String>,
}

/// An object as it once was.
#[derive(Clone)]
pub struct Version {
    /// When it was seen.
    pub at: Instant,
    pub object: Value,
}

impl History {
    /// Records until dropped. The namespace must still be empty.
    pub async fn record(client: Client, namespace: &str, kind: &ApiResource) -> Result<Self> {
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, kind);
        let list = api.list(&ListParams::default()).await?;
        ensure!(list.items.is_empty(), "the namespace is not empty");
        let at = list.metadata.resource_version.unwrap_or_default();
        let (told, seen) = watch::channel(Seen::default());
        let mut recorder = JoinSet::new();
        recorder.spawn(async move {
            let mut recorder = Recorder { api, at, seen: told };
            let Err(error) = recorder.record().await;
            recorder.seen.send_modify(|seen| seen.gap = Some(format!("{error:#}")));
        });
        Ok(Self { seen, _recorder: recorder })
    }

    /// The latest version of each object that still exists.
    pub fn alive(&self) -> Vec<Value> {
        self.seen.borrow().latest.values().cloned().collect()
    }

    /// Waits until the objects that exist are as wanted; tells whether they came to be.
    pub async fn until(&self, limit: Duration, wanted: impl Fn(&[&Value]) -> bool) -> bool {
        let mut seen = self.seen.clone();
        let came = seen.wait_for(|seen| wanted(&seen.latest.values().collect::<Vec<_>>()));
        matches!(tokio::time::timeout(limit, came).await, Ok(Ok(_)))
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Result<u64> {
        let last = self.versions()?.pop().context("nothing has changed yet")?;
        Ok(last.object["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse()?)
    }

    /// All versions so far. Fails if some were missed.
    pub fn versions(&self) -> Result<Vec<Version>> {
        let seen = self.seen.borrow();
        match &seen.gap {
            Some(gap) => Err(anyhow::anyhow!("the history has a gap: {gap}")),
            None => Ok(seen.versions.clone()),
        }
    }
}

struct Recorder {
    api: Api<DynamicObject>,
    /// The revision up to which everything is recorded.
    at: String,
    seen: watch::Sender<Seen>,
}

impl Recorder {
    /// Records for ever. Fails only if something happened that can no longer be read.
    async fn record(&mut self) -> Result<Infallible> {
        loop {
            match self.api.watch(&WatchParams::default().timeout(280), &self.at).await {
                Ok(watch) => {
                    let mut watch = watch.boxed();
                    while let Ok(Some(event)) = watch.try_next().await {
                        if self.take(event) {
                            self.catch_up().await?;
                            break;
                        }
                    }
                }
                Err(kube::Error::Api(status)) if status.code == 410 => self.catch_up().await?,
                // The API server is down, or just coming back.
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether the watch cannot go on from where it is.
    fn take(&mut self, event: WatchEvent<DynamicObject>) -> bool {
        let (deleted, object) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (false, object),
            WatchEvent::Deleted(object) => (true, object),
            WatchEvent::Bookmark(_) => return false,
            WatchEvent::Error(status) => return status.code == 410,
        };
        self.at = object.metadata.resource_version.clone().unwrap_or_default();
        self.push(deleted, serde_json::to_value(object).unwrap_or_default());
        false
    }

    fn push(&self, deleted: bool, object: Value) {
        self.seen.send_modify(|seen| {
            seen.versions.push(Version { at: Instant::now(), object: object.clone() });
            let uid = uid(&object);
            if deleted {
                seen.latest.remove(&uid);
            } else {
                seen.latest.insert(uid, object);
            }
        });
    }

    /// Reads the namespace as it was at every revision since the last one recorded. One revision changes one object.
    async fn catch_up(&mut self) -> Result<()> {
        let Ok(now) = self.api.list(&ListParams::default().limit(1)).await else { return Ok(()) };
        let now: u64 = now.metadata.resource_version.unwrap_or_default().parse()?;
        let first = self.at.parse::<u64>()? + 1;
        for revision in first..=now {
            let exactly = ListParams::default().at(&revision.to_string()).matching(VersionMatch::Exact);
            let list = match self.api.list(&exactly).await {
                Ok(list) => list,
                Err(kube::Error::Api(status)) if status.code == 410 => {
                    return Err(kube::Error::Api(status)).context(format!("revision {revision}"));
                }
                // Down again: the rest is read later.
                Err(_) => return Ok(()),
            };
            let objects = list.items.into_iter().filter_map(|object| serde_json::to_value(object).ok());
            self.compare(objects.map(|object| (uid(&object), object)).collect());
            self.at = revision.to_string();
        }
        Ok(())
    }

    /// Records what is different from the latest versions.
    fn compare(&self, objects: BTreeMap<String, Value>) {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let (gone, changed): (Vec<Value>, Vec<Value>) = {
            let seen = self.seen.borrow();
            let gone = seen.latest.iter().filter(|(uid, _)| !objects.contains_key(*uid));
            let gone = gone.map(|(_, object)| object.clone()).collect();
            let unchanged = |(uid, object): &(String, Value)| {
                seen.latest.get(uid).is_some_and(|l| version(l) == version(object))
            };
            let changed = objects.into_iter().filter(|object| !unchanged(object)).map(|(_, object)| object);
            (gone, changed.collect())
        };
        gone.into_iter().for_each(|object| self.push(true, object));
        changed.into_iter().for_each(|object| self.push(false, object));
    }
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// What is wrong with the history of an execution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Two children ran.
    #[error("{DOUBLE}: {0}")]
    Double(String),
    /// A child ran that is not the recorded one.
    #[error("released {released}, recorded {recorded}")]
    NotRecorded { released: String, recorded: String },
    /// Something that was told was taken back.
    #[error("{0}")]
    TakenBack(String),
    /// A success was told that was none.
    #[error("Succeeded, but the child did not")]
    FalseSuccess,
}

/// The invariants I1, I2 and I5, over everything that was ever stored of each execution: where they do not hold.
pub fn breaches(executions: &History, children: &[&History]) -> Result<Vec<Breach>> {
    let mut by_execution: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for version in executions.versions()? {
        by_execution.entry(uid(&version.object)).or_default().0.push(version.object);
    }
    for history in children {
        for Version { object: child, .. } in history.versions()? {
            let uid = child["metadata"]["labels"][EXECUTION_UID_LABEL].as_str().unwrap_or_default();
            if let Some((_, children)) = by_execution.get_mut(uid) {
                children.push(child);
            }
        }
    }
    Ok(by_execution.values().filter_map(|(versions, children)| check_one(versions, children).err()).collect())
}

/// The same, as an error at the first breach.
pub fn check(executions: &History, children: &[&History]) -> Result<()> {
    breaches(executions, children)?.into_iter().next().map_or(Ok(()), |breach| Err(breach.into()))
}

fn check_one(versions: &[Value], children: &[Value]) -> Result<(), Breach> {
    let last = versions.last().unwrap_or(&Value::Null);
    let recorded = &last["status"]["resources"][0]["uid"];
    let mut released: Vec<&str> = children
        .iter()
        .filter(|c| c["spec"]["suspend"] != true)
        .filter_map(|c| c["metadata"]["uid"].as_str())
        .collect();
    released.sort_unstable();
    released.dedup();
    match released.as_slice() {
        [] => {}
        [one] if *one == *recorded => {}
        [one] => {
            return Err(Breach::NotRecorded { released: (*one).to_owned(), recorded: recorded.to_string() });
        }
        more => return Err(Breach::Double(format!("{more:?}"))),
    }
    check_order(versions)?;
    let succeeded = last["status"]["phase"] == "Succeeded" && last["status"]["reason"] == "Succeeded";
    let really = children.iter().any(|c| c["metadata"]["uid"] == *recorded && has_succeeded(c));
    if succeeded && !really { Err(Breach::FalseSuccess) } else { Ok(()) }
}

/// A phase never goes back, and an outcome never changes.
fn check_order(versions: &[Value]) -> Result<(), Breach> {
    let mut rank = 0;
    let mut end: Option<Value> = None;
    for version in versions {
        let status = &version["status"];
        let now = match status["phase"].as_str() {
            None | Some("Pending" | "Suspended") => 0,
            Some("Running") => 1,
            Some("Cancelling") => 2,
            Some(_) => 3,
        };
        if now < rank {
            return Err(Breach::TakenBack(format!("the phase went back: {status}")));
        }
        rank = now;
        let fields = ["phase", "reason", "completionTime", "resources", "output"];
        let outcome: Value = fields.iter().map(|field| status[*field].clone()).collect();
        match &end {
            Some(end) if *end != outcome => {
                return Err(Breach::TakenBack(format!("an outcome changed from {end} to {outcome}")));
            }
            None if now == 3 => end = Some(outcome),
            Some(_) | None => {}
        }
    }
    Ok(())
}

fn has_succeeded(child: &Value) -> bool {
    let complete = |c: &Value| c["type"] == "Complete" && c["status"] == "True";
    child["status"]["phase"] == "Succeeded"
        || child["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(complete))
}
