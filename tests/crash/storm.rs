//! Several controllers at once with no lease, random kills and a quarter of all requests failing, for a while; then
//! calm. Everything must have run exactly once and be told, whoever did it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use faultproxy::{Plan, Random};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{Api, core::ApiResource};
use runner_controller::crd::RunnerExecution;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    common::{
        self,
        history::{self, Breach, History},
        house::House,
        kubelet::{Pods, stand_in_for_kubelet},
    },
    process::Process,
};

/// How many executions are created at the same time.
const AT_ONCE: usize = 8;

/// How it blows.
pub(crate) struct Storm {
    pub(crate) controllers: usize,
    pub(crate) executions: usize,
    pub(crate) lasts: Duration,
    pub(crate) calms: Duration,
    /// How often each controller begins its watches anew; with each time it gets everything again.
    pub(crate) resync: &'static str,
    pub(crate) seed: u64,
}

/// Blows, and checks what came of it.
pub(crate) async fn blow(house: Arc<House>, storm: &Storm) -> Result<()> {
    let began = Instant::now();
    let namespace = house.namespace().await?;
    let client = house.client.clone();
    let kind = ApiResource::erase::<k8s_openapi::api::batch::v1::Job>(&());
    let executions =
        History::record(client.clone(), &namespace, &ApiResource::erase::<RunnerExecution>(&())).await?;
    let children = History::record(client.clone(), &namespace, &kind).await?;
    let mut kubelet = JoinSet::new();
    kubelet.spawn(stand_in_for_kubelet(client, namespace.clone(), Pods::Succeed));
    let mut processes = Vec::new();
    for number in 0..storm.controllers {
        let seed = storm.seed + number as u64;
        let plan = Plan { random: Some(Random::new(seed, 0.25, 10)), ..Plan::none() };
        processes.push(Process::start(&house, &namespace, plan, storm.resync).await?);
    }
    let (created, kills) =
        tokio::join!(create(&house, &namespace, storm.executions), rage(&mut processes, storm));
    created?;
    let kills = kills?;
    let faults: usize = processes.iter().map(|p| p.proxy.trace().faults()).sum();
    for process in &mut processes {
        process.proxy.set_plan(Plan::none());
        process.ensure_alive()?;
    }
    let finished = until_all_finished(&executions, storm, &mut processes).await;
    let breaches = history::breaches(&executions, &[&children])?;
    let count = |fits: fn(&Breach) -> bool| breaches.iter().filter(|breach| fits(breach)).count();
    println!(
        "{:<11} {:>10} {:>6} {:>7} {:>8} {:>5} {:>11} {:>8}",
        "controllers", "executions", "kills", "faults", "doubles", "lost", "regressions", "seconds"
    );
    println!(
        "{:<11} {:>10} {kills:>6} {faults:>7} {:>8} {:>5} {:>11} {:>8}",
        storm.controllers,
        storm.executions,
        count(|breach| matches!(breach, Breach::Double(_) | Breach::NotRecorded { .. })),
        storm.executions - finished,
        count(|breach| matches!(breach, Breach::TakenBack(_) | Breach::FalseSuccess)),
        began.elapsed().as_secs()
    );
    ensure!(breaches.is_empty(), "{breaches:#?}");
    ensure!(finished == storm.executions, "{} never finished", storm.executions - finished);
    Ok(())
}

/// Creates all executions while it blows.
async fn create(house: &House, namespace: &str, executions: usize) -> Result<()> {
    let api: Api<RunnerExecution> = Api::namespaced(house.client.clone(), namespace);
    stream::iter(0..executions)
        .map(|number| {
            let execution =
                common::execution(&format!("a{number}"), "job", json!({"image": "busybox:1"}), |_| ());
            house.create(api.clone(), execution)
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}

/// Kills one of the controllers every so often.
async fn rage(processes: &mut [Process], storm: &Storm) -> Result<usize> {
    let began = Instant::now();
    let (mut kills, mut dice) = (0, storm.seed);
    while began.elapsed() < storm.lasts {
        // A small linear congruential generator: enough to pick a victim, and the same for the same seed.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(500 + (dice >> 33) % 2500)).await;
        let victim = usize::try_from(dice >> 40)? % processes.len();
        let process = processes.get_mut(victim).context("no such process")?;
        process.kill().await?;
        process.ensure_alive()?;
        kills += 1;
    }
    Ok(kills)
}

async fn until_all_finished(executions: &History, storm: &Storm, processes: &mut [Process]) -> usize {
    let done = |execution: &Value| execution["status"]["completionTime"].is_string();
    let began = Instant::now();
    loop {
        let finished = executions.alive().iter().filter(|e| done(e)).count();
        if finished == storm.executions || began.elapsed() > storm.calms {
            return finished;
        }
        for process in processes.iter_mut() {
            // One that ended by itself is a failure of its own, but must not hide what else there is.
            let _ = process.ensure_alive();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
