//! What the API server saw of a namespace, from its first revision on, and what must hold of it.

use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    core::ApiResource,
};
use runner_controller::crd::EXECUTION_UID_LABEL;
use serde_json::Value;

/// In the words of a failure that means the work ran twice.
pub(crate) const DOUBLE: &str = "released twice";

/// Every version of every object of one kind in a namespace.
#[derive(Clone, Default)]
pub(crate) struct History {
    versions: Arc<Mutex<Vec<(bool, Value)>>>,
}

impl History {
    /// Records until dropped with its task. The namespace must still be empty.
    pub(crate) async fn record(
        client: Client,
        namespace: &str,
        kind: &ApiResource,
    ) -> Result<(Self, tokio::task::JoinHandle<()>)> {
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, kind);
        let list = api.list(&ListParams::default()).await?;
        ensure!(list.items.is_empty(), "the namespace is not empty");
        let mut version = list.metadata.resource_version.unwrap_or_default();
        let history = Self::default();
        let versions = Arc::clone(&history.versions);
        let task = tokio::spawn(async move {
            loop {
                let Ok(watch) = api.watch(&WatchParams::default().timeout(280), &version).await else {
                    return;
                };
                let mut watch = watch.boxed();
                while let Ok(Some(event)) = watch.try_next().await {
                    let (deleted, object) = match event {
                        WatchEvent::Added(object) | WatchEvent::Modified(object) => (false, object),
                        WatchEvent::Deleted(object) => (true, object),
                        WatchEvent::Bookmark(_) => continue,
                        WatchEvent::Error(_) => return,
                    };
                    version = object.metadata.resource_version.clone().unwrap_or_default();
                    versions
                        .lock()
                        .unwrap()
                        .push((deleted, serde_json::to_value(&object).unwrap_or_default()));
                }
            }
        });
        Ok((history, task))
    }

    /// The latest version of each object that still exists.
    pub(crate) fn alive(&self) -> Vec<Value> {
        let mut alive: Vec<Value> = Vec::new();
        for (deleted, object) in self.versions.lock().unwrap().iter() {
            alive.retain(|a| a["metadata"]["uid"] != object["metadata"]["uid"]);
            if !deleted {
                alive.push(object.clone());
            }
        }
        alive
    }

    fn all(&self) -> Vec<Value> {
        self.versions.lock().unwrap().iter().map(|(_, object)| object.clone()).collect()
    }
}

/// The invariants I1, I2 and I5, over everything that was ever stored of each execution.
pub(crate) fn check(executions: &History, children: &History) -> Result<()> {
    let (executions, children) = (executions.all(), children.all());
    let mut uids: Vec<&str> = executions.iter().filter_map(|e| e["metadata"]["uid"].as_str()).collect();
    uids.sort_unstable();
    uids.dedup();
    for uid in uids {
        let versions: Vec<&Value> = executions.iter().filter(|e| e["metadata"]["uid"] == uid).collect();
        let children: Vec<&Value> =
            children.iter().filter(|c| c["metadata"]["labels"][EXECUTION_UID_LABEL] == uid).collect();
        check_one(&versions, &children)?;
    }
    Ok(())
}

fn check_one(versions: &[&Value], children: &[&Value]) -> Result<()> {
    let last = versions.last().copied().unwrap_or(&Value::Null);
    let recorded = &last["status"]["resources"][0]["uid"];
    let mut released: Vec<&str> = children
        .iter()
        .filter(|c| c["spec"]["suspend"] != true)
        .filter_map(|c| c["metadata"]["uid"].as_str())
        .collect();
    released.sort_unstable();
    released.dedup();
    ensure!(released.len() <= 1, "{DOUBLE}: {released:?}");
    ensure!(
        released.first().is_none_or(|uid| *uid == *recorded),
        "released {released:?}, recorded {recorded}"
    );
    check_order(versions)?;
    let succeeded = last["status"]["phase"] == "Succeeded" && last["status"]["reason"] == "Succeeded";
    let really = children.iter().any(|c| c["metadata"]["uid"] == *recorded && has_succeeded(c));
    ensure!(!succeeded || really, "Succeeded, but the child did not");
    Ok(())
}

/// A phase never goes back, and an outcome never changes.
fn check_order(versions: &[&Value]) -> Result<()> {
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
        ensure!(now >= rank, "the phase went back: {status}");
        rank = now;
        let fields = ["phase", "reason", "completionTime", "resources", "output"];
        let outcome: Value = fields.iter().map(|field| status[*field].clone()).collect();
        match &end {
            Some(end) => ensure!(*end == outcome, "an outcome changed from {end} to {outcome}"),
            None if now == 3 => end = Some(outcome),
            None => {}
        }
    }
    Ok(())
}

fn has_succeeded(child: &Value) -> bool {
    let complete = |c: &Value| c["type"] == "Complete" && c["status"] == "True";
    child["status"]["phase"] == "Succeeded"
        || child["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(complete))
}
