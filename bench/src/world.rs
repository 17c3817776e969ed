//! One run: a control plane, its recorder and actor, a peer, and the figures that every scenario takes.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use devcluster::Cluster;
use serde::Deserialize;
use std::collections::HashMap;
use tokio::sync::mpsc;

use crate::{
    actors::{Actor, Generator},
    http::Http,
    payload,
    peers::{Peer, Programs, Running, Tuning},
    proc::{self, Readings},
    recorder::{Counts, Marks, Recorder, Subject},
    results::{Outcome, float},
    rig::{Rig, Storage},
};

/// What all runs share.
#[derive(Clone, Debug)]
pub struct Bench {
    /// What is measured.
    pub programs: Programs,
    /// How bare clients are run.
    pub tuning: Tuning,
    /// The folder of all control planes.
    pub dir: PathBuf,
    /// etcd syncs.
    pub fsync: bool,
}

impl Bench {
    /// Takes down every control plane that is still up: after an error, or an interruption.
    pub async fn clean_up(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("run-") {
                Cluster::down(&entry.path()).await?;
            }
        }
        Ok(())
    }
}

/// One control plane with all that is at work in it but the peer.
pub struct World {
    /// The control plane.
    pub rig: Rig,
    /// Who sees everything.
    pub recorder: Recorder,
    /// Who creates.
    pub generator: Generator,
    actor: Actor,
    subject: Subject,
}

/// How a world is.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// About how large arguments are, in bytes.
    pub args_bytes: usize,
    /// How long children take.
    pub takes: Duration,
    /// Requests are counted.
    pub audit: bool,
}

impl World {
    /// Brings one up.
    pub async fn up(bench: &Bench, subject: Subject, setting: Setting) -> Result<Self> {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let dir = bench.dir.join(format!("run-{}", RUNS.fetch_add(1, Ordering::Relaxed)));
        let rig = Rig::up(&dir, Storage { fsync: bench.fsync, audit: setting.audit, argo: false }).await?;
        let (released, to_work_on) = mpsc::unbounded_channel();
        let recorder = Recorder::start(&rig.admin, subject, released).await?;
        let actor = Actor::start(&rig.admin, subject, setting.takes, to_work_on)?;
        let generator = Generator::new(&rig.admin, subject, setting.args_bytes)?;
        Ok(Self { rig, recorder, generator, actor, subject })
    }

    /// Takes it down.
    pub async fn down(self) -> Result<()> {
        self.actor.stop();
        self.rig.down().await
    }

    /// From now on children are taken up, and go on for ever.
    pub fn hold_children(&self) {
        self.actor.hold();
    }

    /// Starts a peer in it.
    pub fn start(&self, bench: &Bench, peer: Peer) -> Result<Running> {
        peer.start(&self.rig, &bench.programs, bench.tuning)
    }

    /// Waits until the counts are as wanted, or the peer has died.
    pub async fn until(
        &self,
        peer: &mut Running,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Counts) -> bool,
    ) -> Result<()> {
        let outcome = tokio::select! {
            outcome = self.recorder.until(what, limit, is_so) => outcome,
            error = peer.died() => Err(error),
        };
        outcome.map_err(|error| anyhow::anyhow!("{error:#}; it last said: {}", peer.last_words()))
    }

    /// What all processes have cost so far.
    pub fn readings(&self, peer: &Running) -> Readings {
        let mut processes = vec![("peer".to_owned(), peer.pid), ("harness".to_owned(), std::process::id())];
        processes.extend(self.rig.servers().into_iter().map(|(name, pid)| (name.to_owned(), pid)));
        proc::readings(&processes)
    }

    /// Why what happened to the first so many is not what must happen, if so.
    pub async fn fault(&self, count: usize) -> Result<Option<String>> {
        let marks = self.recorder.marks();
        let of = |bad: fn(&&Marks) -> bool| marks.iter().take(count).filter(bad).count();
        let lost = count.saturating_sub(marks.len()) + of(|m| m.finished.is_none());
        let failed = of(|m| m.finished.is_some() && !m.succeeded);
        let doubled = of(|m| m.children > 1);
        if lost + failed + doubled > 0 {
            return Ok(Some(format!("{lost} lost, {failed} not succeeded, {doubled} with a second child")));
        }
        match self.subject {
            Subject::Jobs => Ok(None),
            Subject::Executions => self.wrong_objects().await,
        }
    }

    /// Compares what is stored with what must be stored: every peer has to leave the same behind.
    async fn wrong_objects(&self) -> Result<Option<String>> {
        let http = Http::new(&self.rig.admin, "bench-check", false)?;
        let executions: List = read(&http, &payload::executions(&self.rig.admin)).await?;
        let children: List = read(&http, &payload::workflows(&self.rig.admin)).await?;
        let uids: HashMap<_, _> =
            children.items.into_iter().map(|child| (child.metadata.name, child.metadata.uid)).collect();
        let is_wrong = |execution: &&Item| {
            let status = &execution.status;
            let recorded = status.resources.first().map(|child| &child.uid);
            let finished = status.completion_time.is_some();
            finished
                && (recorded.is_none()
                    || recorded != uids.get(&execution.metadata.name)
                    || status.conditions.len() != 5
                    || status.output.get("answer").map(String::as_str) != Some("42"))
        };
        let wrong = executions.items.iter().filter(is_wrong).count();
        Ok((wrong > 0).then(|| format!("{wrong} finished executions are not as they must be")))
    }
}

async fn read<T: serde::de::DeserializeOwned>(http: &Http, path: &str) -> Result<T> {
    serde_json::from_slice(&http.get(path).await?).with_context(|| format!("{path} is not understood"))
}

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    completion_time: Option<String>,
    resources: Vec<Recorded>,
    conditions: Vec<serde::de::IgnoredAny>,
    output: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Recorded {
    uid: String,
}

/// Takes what processes cost between two readings, for so many executions.
pub fn costs(outcome: &mut Outcome, before: &Readings, after: &Readings, executions: usize) {
    let cpu = |name: &str| {
        let at = |readings: &Readings| readings.get(name).map_or(0.0, |reading| reading.cpu);
        at(after) - at(before)
    };
    let per_1000 = 1000.0 / float(executions.max(1));
    let servers = cpu("etcd") + cpu("apiserver");
    outcome.set("cpu", cpu("peer") * per_1000);
    outcome.set("cpu_apiserver", cpu("apiserver") * per_1000);
    outcome.set("cpu_etcd", cpu("etcd") * per_1000);
    outcome.set("cpu_harness", cpu("harness") * per_1000);
    let all = servers + cpu("peer") + cpu("harness");
    if all > 0.0 {
        outcome.set("harness_share", 100.0 * cpu("harness") / all);
    }
    let machine = cpu(proc::MACHINE);
    if machine > 0.0 {
        outcome.set("others_share", 100.0 * (machine - all).max(0.0) / machine);
    }
    if let Some(peer) = after.get("peer") {
        outcome.set("rss", peer.rss);
        outcome.set("pss", peer.pss);
        outcome.set("peak", peer.peak);
        outcome.set("sockets", peer.sockets);
    }
    if let Some(server) = after.get("apiserver") {
        outcome.set("apiserver_rss", server.rss);
    }
}
