//! A large quiet state: what it costs to come up on it, to hold it, and to come up again after a kill.
//!
//! The state is made once by a bare client; then each peer gets its turn on it. A peer is taken to reconcile once an
//! execution that was created as it was started has its child; the writes for these probes are not counted.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::Sizes;
use crate::{
    audit,
    bare::Bare,
    payload,
    peers::{Peer, Running, bare},
    proc,
    recorder::Subject,
    results::{Outcome, Requests, float},
    rig::CONTROLLER,
    world::{Bench, Setting, World},
};

/// How little CPU a process at rest uses within a tenth of a second, in seconds.
const QUIET: f64 = 0.002;

/// One turn of each peer on one state.
pub(super) async fn run(bench: &Bench, sizes: &Sizes, peers: &[Peer]) -> Result<Vec<Outcome>> {
    let setting = Setting { args_bytes: sizes.args_bytes, takes: Duration::ZERO, audit: true };
    let world = World::up(bench, Subject::Executions, setting).await?;
    seed(&world, sizes).await?;
    let mut state = State { bench, sizes, world: &world, next: sizes.state_finished + sizes.state_running };
    let stream = state.stream().await?;
    let mut outcomes = Vec::new();
    for &peer in peers {
        let mut outcome = Outcome::new("state", case(sizes), peer);
        outcome.set("stream", stream);
        state.turn(&mut outcome).await?;
        outcomes.push(outcome);
    }
    world.down().await?;
    Ok(outcomes)
}

fn case(sizes: &Sizes) -> String {
    format!("{} finished, {} running", sizes.state_finished, sizes.state_running)
}

async fn seed(world: &World, sizes: &Sizes) -> Result<()> {
    let (finished, all) = (sizes.state_finished, sizes.state_finished + sizes.state_running);
    let client = Bare::new(world.rig.controller.clone(), false)?;
    world.generator.burst(0..finished).await?;
    client.blind(32).await?;
    world
        .recorder
        .until("the past is made", sizes.limit(), |c| c.finished >= finished && c.done >= finished)
        .await?;
    world.hold_children();
    world.generator.burst(finished..all).await?;
    client.begin_all(32).await?;
    world.recorder.until("the present is made", sizes.limit(), |c| c.running.min(c.taken_up) >= all).await
}

struct State<'a> {
    bench: &'a Bench,
    sizes: &'a Sizes,
    world: &'a World,
    next: usize,
}

impl State<'_> {
    /// How long a bare client needs to receive all of it, in ms.
    async fn stream(&self) -> Result<f64> {
        let mut command = bare("stream", &self.world.rig, self.bench.tuning)?;
        let start = Instant::now();
        ensure!(command.status().await?.success(), "the stream broke");
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    }

    async fn turn(&mut self, outcome: &mut Outcome) -> Result<()> {
        let log = self.world.rig.audit_log();
        let (running, _) = self.come_up(outcome, "up").await?;
        let (before, from) = (self.world.readings(&running), audit::end(&log)?);
        sleep(Duration::from_secs(self.sizes.state_idle_seconds.into())).await;
        let after = self.world.readings(&running);
        let asked: u32 = audit::count(&log, from, CONTROLLER, &BTreeSet::new())?.values().sum();
        let minutes = f64::from(self.sizes.state_idle_seconds) / 60.0;
        outcome.set("idle_requests", f64::from(asked) / minutes);
        if let (Some(before), Some(after)) = (before.get("peer"), after.get("peer")) {
            outcome.set("idle_cpu", (after.cpu - before.cpu) / minutes);
            outcome.set("idle_switches", (after.switches - before.switches) / minutes / 60.0);
            outcome.set("rss", after.rss);
            outcome.set("pss", after.pss);
            outcome.set("peak", after.peak);
            outcome.set("sockets", after.sockets);
        }
        running.kill().await?;
        let from = audit::end(&log)?;
        let (running, probes) = self.come_up(outcome, "again").await?;
        sleep(Duration::from_secs(5)).await;
        let counts = audit::count(&log, from, CONTROLLER, &probes)?;
        let writes: u32 = counts
            .iter()
            .filter(|(kind, _)| kind.is_write() && kind.resource != "events")
            .map(|(_, count)| count)
            .sum();
        outcome.set("again_writes", f64::from(writes));
        outcome.requests = counts.into_iter().map(|(kind, count)| Requests::new(kind, count)).collect();
        if writes > 0 {
            outcome.disqualified =
                Some(format!("{writes} writes after a restart on which nothing had changed"));
        }
        running.stop().await
    }

    /// Starts the peer with a probe, and takes how long it needs to reconcile and to come to rest.
    async fn come_up(&mut self, outcome: &mut Outcome, name: &str) -> Result<(Running, BTreeSet<String>)> {
        let probe = self.next;
        self.next += 1;
        self.world.generator.create(probe).await?;
        let start = Instant::now();
        let mut running = self.world.start(self.bench, outcome.peer)?;
        self.world.until(&mut running, "reconciling", self.sizes.limit(), |c| c.child > probe).await?;
        let child = self.world.recorder.marks().get(probe).and_then(|marks| marks.child);
        let ready = child.map_or(f64::INFINITY, |time| time.saturating_duration_since(start).as_secs_f64());
        outcome.set(&format!("{name}_ready"), ready * 1000.0);
        let (cpu, quiet) = until_quiet(running.pid, start).await;
        outcome.set(&format!("{name}_cpu"), cpu);
        outcome.set(&format!("{name}_quiet"), quiet * 1000.0);
        outcome.set(&format!("{name}_peak"), proc::Reading::of(running.pid).peak);
        Ok((running, BTreeSet::from([payload::name(probe)])))
    }
}

/// Waits until a process has been at rest for a second; what it had used, and when it came to rest.
async fn until_quiet(pid: u32, start: Instant) -> (f64, f64) {
    let (mut used, mut at) = (proc::cpu(pid).unwrap_or(0.0), Instant::now());
    for _ in 0..1200 {
        sleep(Duration::from_millis(100)).await;
        let now = proc::cpu(pid).unwrap_or(used);
        if now - used > QUIET {
            (used, at) = (now, Instant::now());
        } else if at.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    (used, at.saturating_duration_since(start).as_secs_f64())
}

/// What watching large children costs that change in ways that do not matter.
pub(super) async fn noise(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    let setting = Setting { args_bytes: 1024, takes: Duration::ZERO, audit: true };
    let world = World::up(bench, Subject::Executions, setting).await?;
    world.hold_children();
    world.generator.burst(0..sizes.noise_children).await?;
    Bare::new(world.rig.controller.clone(), false)?.begin_all(16).await?;
    world
        .recorder
        .until("running", sizes.limit(), |c| c.running.min(c.taken_up) >= sizes.noise_children)
        .await?;
    let churn = Churn::new(&world, sizes)?;
    churn.enlarge().await?;
    let running = world.start(bench, peer)?;
    until_quiet(running.pid, Instant::now()).await;
    let seconds = Duration::from_secs(sizes.noise_seconds.into());
    let rest = proc::cpu(running.pid).unwrap_or(0.0);
    sleep(seconds).await;
    let (rest, from) = (proc::cpu(running.pid).unwrap_or(0.0) - rest, audit::end(&world.rig.audit_log())?);
    let before = proc::Reading::of(running.pid);
    let count = churn.run(seconds).await?;
    let after = proc::Reading::of(running.pid);
    let asked = audit::count(&world.rig.audit_log(), from, CONTROLLER, &BTreeSet::new())?;
    let case = format!("{} children of {} B", sizes.noise_children, sizes.noise_bytes);
    let mut outcome = Outcome::new("noise", case, peer);
    outcome.set("per_event", (after.cpu - before.cpu - rest) / float(count) * 1e6);
    outcome.set("rate", float(count) / seconds.as_secs_f64());
    outcome.set("requests", f64::from(asked.values().sum::<u32>()));
    outcome.set("rss_growth", after.rss - before.rss);
    outcome.set("rss", after.rss);
    running.stop().await?;
    world.down().await?;
    Ok(vec![outcome])
}

/// Changes children in ways that matter to nobody.
struct Churn {
    http: crate::http::Http,
    collection: String,
    children: usize,
    bytes: usize,
    rate: f64,
}

impl Churn {
    fn new(world: &World, sizes: &Sizes) -> Result<Self> {
        Ok(Self {
            http: crate::http::Http::new(&world.rig.admin, "bench-churn", false)?,
            collection: payload::workflows(&world.rig.admin),
            children: sizes.noise_children,
            bytes: sizes.noise_bytes,
            rate: sizes.noise_rate,
        })
    }

    async fn enlarge(&self) -> Result<()> {
        let body = serde_json::json!({"status": {"nodes": {"filler": "x".repeat(self.bytes)}}}).to_string();
        for child in 0..self.children {
            let path = format!("{}/{}", self.collection, payload::name(child));
            self.http.patch(&path, body.clone()).await?;
        }
        Ok(())
    }

    /// How many there were: an open loop, with a few under way at most.
    async fn run(&self, time: Duration) -> Result<usize> {
        let start = Instant::now();
        let due = stream::iter(0..).then(|count: usize| async move {
            tokio::time::sleep_until(start + Duration::from_secs_f64(float(count) / self.rate)).await;
            count
        });
        let mut done = std::pin::pin!(
            due.take_while(|_| std::future::ready(start.elapsed() < time))
                .map(|count| self.change(count))
                .buffer_unordered(8)
        );
        let mut changed = 0;
        while let Some(outcome) = done.next().await {
            outcome?;
            changed += 1;
        }
        Ok(changed)
    }

    async fn change(&self, count: usize) -> Result<()> {
        let path = format!("{}/{}", self.collection, payload::name(count % self.children.max(1)));
        self.http.patch(&path, format!(r#"{{"status":{{"estimatedDuration":{count}}}}}"#)).await.map(drop)
    }
}
