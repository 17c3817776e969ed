//! Several controllers at once with no lease, random kills and a quarter of all requests failing, for a while; then
//! calm. Everything must have run exactly once and be told, whoever did it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use faultproxy::{Plan, Random};
use kube::{Api, core::ApiResource};
use runner_controller::crd::RunnerExecution;
use serde_json::{Value, json};

use crate::{
    common,
    history::{self, History},
    point::{House, stand_in_for_kubelet},
    process::Process,
    scenario::Pods,
};

/// How it blows.
pub(crate) struct Storm {
    pub(crate) controllers: usize,
    pub(crate) executions: usize,
    pub(crate) lasts: Duration,
    pub(crate) calms: Duration,
    pub(crate) seed: u64,
}

/// Blows, and checks what came of it.
pub(crate) async fn blow(house: Arc<House>, storm: &Storm) -> Result<()> {
    let began = Instant::now();
    let namespace = house.namespace().await?;
    let client = house.client.clone();
    let kind = ApiResource::erase::<k8s_openapi::api::batch::v1::Job>(&());
    let (executions, first) =
        History::record(client.clone(), &namespace, &ApiResource::erase::<RunnerExecution>(&())).await?;
    let (children, second) = History::record(client.clone(), &namespace, &kind).await?;
    let kubelet = tokio::spawn(stand_in_for_kubelet(client.clone(), namespace.clone(), Pods::Succeed));
    let mut processes = Vec::new();
    for number in 0..storm.controllers {
        let seed = storm.seed + number as u64;
        let plan = Plan { random: Some(Random::new(seed, 0.25, 10)), ..Plan::none() };
        processes.push(Process::start(&house, &namespace, plan).await?);
    }
    let api: Api<RunnerExecution> = Api::namespaced(client, &namespace);
    for number in 0..storm.executions {
        let execution =
            common::execution(&format!("a{number}"), "job", json!({"image": "busybox:1"}), |_| ());
        house.create(api.clone(), execution).await?;
    }
    let kills = rage(&mut processes, storm).await?;
    let faults: usize = processes.iter().map(|p| p.proxy.trace().faults()).sum();
    for process in &mut processes {
        process.proxy.set_plan(Plan::none());
        process.ensure_alive()?;
    }
    let finished = until_all_finished(&executions, storm, &mut processes).await;
    println!(
        "storm: {} controllers, {} executions, {kills} kills, {faults} faults seen, {finished} finished, {} s",
        storm.controllers,
        storm.executions,
        began.elapsed().as_secs()
    );
    let checked = history::check(&executions, &children);
    for task in [first, second, kubelet] {
        task.abort();
    }
    ensure!(finished == storm.executions, "{} never finished", storm.executions - finished);
    checked
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
