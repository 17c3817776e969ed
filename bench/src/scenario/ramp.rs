//! How many a second, until waiting gets too long: an open loop in steps.

use std::time::Duration;

use anyhow::Result;

use super::Sizes;
use crate::{
    peers::Peer,
    results::{Outcome, percentile},
    world::{Bench, Setting, World},
};

/// The longest P99 from an execution to its child that is put up with, in ms.
const LIMIT: f64 = 250.0;
/// Each step's rate is so much more than the one before.
const STEP: f64 = 1.25;

pub(super) async fn run(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    let setting = Setting { args_bytes: sizes.args_bytes, takes: Duration::from_millis(100), audit: false };
    let world = World::up(bench, peer.subject(), setting).await?;
    let mut running = world.start(bench, peer)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut outcome = Outcome::new("ramp", format!("steps of {} s", sizes.ramp_seconds), peer);
    let (mut first, mut rate) = (0, sizes.ramp_from);
    while rate <= sizes.ramp_to {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        let last = first + (rate * f64::from(sizes.ramp_seconds)).round().max(1.0) as usize;
        world.generator.poisson(first..last, rate).await?;
        // What has not caught up long after its step was too much.
        let caught_up =
            world.until(&mut running, "caught up", Duration::from_secs(30), |c| c.finished >= last).await;
        let p99 = p99(&world, first, last);
        outcome.set("p99_last", p99);
        if caught_up.is_err() || p99 > LIMIT {
            outcome.set("rate_breached", rate);
            break;
        }
        outcome.set("max_rate", rate);
        outcome.set("p99_at_max", p99);
        (first, rate) = (last, rate * STEP);
    }
    outcome.disqualified = world.fault(first).await?;
    running.stop().await?;
    world.down().await?;
    Ok(vec![outcome])
}

fn p99(world: &World, first: usize, last: usize) -> f64 {
    let marks = world.recorder.marks();
    let step = marks.get(first..last.min(marks.len())).unwrap_or_default();
    let mut waits: Vec<f64> = step
        .iter()
        .filter_map(|m| Some(m.child?.saturating_duration_since(m.created?).as_secs_f64() * 1000.0))
        .collect();
    waits.sort_by(f64::total_cmp);
    percentile(&waits, 0.99).unwrap_or(f64::INFINITY)
}
