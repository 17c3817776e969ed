//! Real outages: servers of a real control plane are stopped, killed, frozen, set back, one after the other, while a
//! controller process is at work. After each the controller must be at work again within seconds; over all of them
//! its descriptors, its memory and its requests stay bounded; and what the API server stored from first to last shows
//! that nothing ran twice, nothing was lost, and no outcome changed.
//!
//! `CRASH_MATRIX=full` takes each outage as often and as long as it is meant; otherwise a part that fits into CI.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(unreachable_pub, reason = "a test has no public surface")]

mod clock;
#[path = "../common/mod.rs"]
mod common;
mod gauge;
mod network;
mod outage;
mod stage;
mod table;

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};

use crate::{
    common::{full, house::House},
    outage::Outage,
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_goes_down_the_controller_is_back_within_seconds_and_runs_everything_once() -> Result<()> {
    let house = Arc::new(House::open("outages").await?);
    let stage = Stage::set(Arc::clone(&house), house.controller.clone(), Vec::new()).await?;
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for outage in Outage::ALL.into_iter().filter(|outage| full() || !outage.only_in_full()) {
        let began = Instant::now();
        match stage.trial(outage).await {
            Ok(row) => rows.push(row),
            Err(error) => {
                println!("{}: {error:#}", outage.name());
                failed.push(format!("{}: {error:#}", outage.name()));
                outage::end_all(&house.cluster).await?;
            }
        }
        println!("{}: {} s", outage.name(), began.elapsed().as_secs());
    }
    println!("{}", table::print(&rows));
    for (row, problem) in rows.iter().flat_map(|row| row.problems().into_iter().map(move |p| (row, p))) {
        failed.push(format!("{}: {problem}", row.outage));
    }
    house.check_audit().await?;
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clock_that_is_wrong_changes_when_a_timeout_fires_and_nothing_else() -> Result<()> {
    let house = Arc::new(House::open("outages").await?);
    clock::ahead(&house).await?;
    clock::behind(&house).await?;
    clock::jumping(&house).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_swallow_everything_without_a_word_are_given_up() -> Result<()> {
    network::swallows(&Arc::new(House::open("outages").await?)).await
}
