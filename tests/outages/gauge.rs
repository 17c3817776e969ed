//! What a controller process uses, at most: descriptors, memory, requests. I/O: `/proc`, the audit log.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::common::house::{House, is_controllers};

/// How often it is measured.
const EVERY: Duration = Duration::from_millis(100);

/// What a process used at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    pub(crate) descriptors: usize,
    pub(crate) rss_mib: f64,
}

impl Use {
    fn rise_to(&mut self, now: Self) {
        self.descriptors = self.descriptors.max(now.descriptors);
        self.rss_mib = self.rss_mib.max(now.rss_mib);
    }
}

/// Measures a process until dropped.
pub(crate) struct Gauge {
    most: Arc<Mutex<Use>>,
    _task: JoinSet<()>,
}

impl Gauge {
    pub(crate) fn of(pid: u32) -> Self {
        let most = Arc::new(Mutex::new(Use::default()));
        let kept = Arc::clone(&most);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            // It ends with the process, whose end the test notices elsewhere.
            while let Ok(now) = measure(pid) {
                kept.lock().unwrap().rise_to(now);
                ticks.tick().await;
            }
        });
        Self { most, _task: task }
    }

    /// The most since this was last asked.
    pub(crate) fn take(&self) -> Use {
        std::mem::take(&mut *self.most.lock().unwrap())
    }
}

fn measure(pid: u32) -> Result<Use> {
    let of = PathBuf::from(format!("/proc/{pid}"));
    let status = std::fs::read_to_string(of.join("status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = kib.trim().trim_end_matches("kB").trim().parse()?;
    Ok(Use { descriptors: std::fs::read_dir(of.join("fd"))?.count(), rss_mib: kib / 1024.0 })
}

/// What the API server was asked by the controller of a namespace, from one audited request on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) all: usize,
    /// The most in one second.
    pub(crate) a_second: usize,
    /// The most in one second about one object.
    pub(crate) a_second_of_one: usize,
    /// How often all objects of a watched kind were listed: a watch could not go on from where it was.
    pub(crate) relists: usize,
}

/// Counts them; `skip` is how many audited requests were counted before. Also tells how many there are now.
pub(crate) async fn requests(house: &House, namespace: &str, skip: usize) -> Result<(Requests, usize)> {
    let audit = house.audit().await?;
    let mut seconds: BTreeMap<String, usize> = BTreeMap::new();
    let mut seconds_of_one: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut told = Requests::default();
    let ours = audit.iter().skip(skip).filter(|event| {
        // A watch is told twice, at its start and at its end.
        is_controllers(event)
            && event["objectRef"]["namespace"] == namespace
            && event["stage"] == "ResponseComplete"
    });
    for event in ours {
        let second: String =
            event["requestReceivedTimestamp"].as_str().unwrap_or_default().chars().take(19).collect();
        told.all += 1;
        let watched = matches!(
            event["objectRef"]["resource"].as_str(),
            Some("runnerexecutions" | "jobs" | "workflows")
        );
        told.relists += usize::from(event["verb"] == "list" && watched);
        if let Some(name) = event["objectRef"]["name"].as_str() {
            *seconds_of_one.entry((name.to_owned(), second.clone())).or_default() += 1;
        }
        *seconds.entry(second).or_default() += 1;
    }
    told.a_second = seconds.into_values().max().unwrap_or_default();
    told.a_second_of_one = seconds_of_one.into_values().max().unwrap_or_default();
    Ok((told, audit.len()))
}
