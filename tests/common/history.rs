//! What the API server stored of a namespace, from its first revision on, and what must hold of it.
//!
//! A history outlives its API server: a watch that cannot go on from where it was is made up for by reading what
//! changed as it was at earlier revisions. I/O: watches and lists.

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
        Ok(revision(&self.versions()?.pop().context("nothing has changed yet")?.object))
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

    /// Reads what happened since the last recorded revision: of each object that is different now, one version
    /// after the other, from the latest back to the one that is known.
    async fn catch_up(&mut self) -> Result<()> {
        let Some(missed) = self.missed().await? else { return Ok(()) };
        let Missed { now, versions } = missed;
        for (deleted, object) in versions {
            self.push(deleted, object);
        }
        self.at = now.to_string();
        Ok(())
    }

    /// None if the API server is away again: then it is read later. An object that came and went is not seen; see
    /// [`super::house::House::children_created`].
    async fn missed(&self) -> Result<Option<Missed>> {
        let Ok(list) = self.api.list(&ListParams::default()).await else { return Ok(None) };
        let now: u64 = list.metadata.resource_version.unwrap_or_default().parse()?;
        let objects = list.items.into_iter().filter_map(|object| serde_json::to_value(object).ok());
        let there: BTreeMap<String, Value> = objects.map(|object| (uid(&object), object)).collect();
        let known = self.seen.borrow().latest.clone();
        let mut versions = Vec::new();
        for (uid, object) in &there {
            let until = known.get(uid).map_or(0, revision);
            let Some(back) = self.versions_back(object.clone(), until).await? else { return Ok(None) };
            versions.extend(back.into_iter().map(|object| (false, object)));
        }
        for (uid, object) in known.iter().filter(|(uid, _)| !there.contains_key(*uid)) {
            let Some(end) = self.last_version(uid, object, now).await? else { return Ok(None) };
            let Some(back) = self.versions_back(end.clone(), revision(object)).await? else {
                return Ok(None);
            };
            versions.extend(back.into_iter().map(|object| (false, object)));
            versions.push((true, end));
        }
        Ok(Some(Missed { now, versions }))
    }

    /// All versions of an object after that revision up to this one, in order.
    async fn versions_back(&self, mut object: Value, until: u64) -> Result<Option<Vec<Value>>> {
        let mut versions = Vec::new();
        while revision(&object) > until {
            let before = self.exactly(&object, revision(&object) - 1).await;
            versions.push(object);
            match before? {
                At::There(before) => object = before,
                At::Absent => break,
                At::Away => return Ok(None),
            }
        }
        versions.reverse();
        Ok(Some(versions))
    }

    /// The last version of an object that is gone now.
    async fn last_version(&self, uid: &str, known: &Value, now: u64) -> Result<Option<Value>> {
        let (mut last, mut there, mut gone) = (known.clone(), revision(known), now);
        while gone - there > 1 {
            let middle = there.midpoint(gone);
            match self.exactly(known, middle).await? {
                At::There(object) if self::uid(&object) == uid => (last, there) = (object, middle),
                At::There(_) | At::Absent => gone = middle,
                At::Away => return Ok(None),
            }
        }
        Ok(Some(last))
    }

    /// The object of that name as it was at a revision.
    async fn exactly(&self, object: &Value, revision: u64) -> Result<At> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let exactly = ListParams::default()
            .fields(&format!("metadata.name={name}"))
            .at(&revision.to_string())
            .matching(VersionMatch::Exact);
        match self.api.list(&exactly).await {
            Ok(list) => Ok(match list.items.into_iter().next() {
                Some(object) => At::There(serde_json::to_value(object)?),
                None => At::Absent,
            }),
            Err(kube::Error::Api(status)) if status.code == 410 => {
                Err(kube::Error::Api(status)).context(format!("{name} at revision {revision}"))
            }
            Err(_) => Ok(At::Away),
        }
    }
}

struct Missed {
    now: u64,
    /// Whether it was deleted, and its version.
    versions: Vec<(bool, Value)>,
}

/// An object at a revision.
enum At {
    There(Value),
    Absent,
    /// The API server could not tell.
    Away,
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
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
    /// A child ran before the status told of it.
    #[error("released at revision {released}, recorded only at {recorded}")]
    Early { released: u64, recorded: u64 },
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
    // Revisions are the store's own, so they order the writes of any two objects.
    let released = children.iter().filter(|c| c["spec"]["suspend"] != true).map(revision).min();
    let tells = |version: &&Value| version["status"]["resources"][0]["uid"] == *recorded;
    let recorded_at = versions.iter().find(tells).map(revision);
    if let (Some(released), Some(recorded)) = (released, recorded_at)
        && released < recorded
    {
        return Err(Breach::Early { released, recorded });
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
