//! Everything is created while no controller runs; then it is started. The generator is idle meanwhile.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::Sizes;
use crate::{
    peers::{Peer, Tuning},
    recorder::Marks,
    results::{Outcome, float},
    world::{Bench, Setting, World, costs},
};

/// A drain of one size.
pub(super) async fn run(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    Ok(vec![one(bench, sizes, peer, "drain", (sizes.drain_executions, sizes.args_bytes)).await?])
}

/// A drain of each size that was asked for.
pub(super) async fn sweep(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for &size in &sizes.size_cases {
        outcomes.push(one(bench, sizes, peer, "sizes", (size.executions, size.args_bytes)).await?);
    }
    Ok(outcomes)
}

/// A drain by the bare client at each concurrency and with each version of HTTP.
pub(super) async fn floor(bench: &Bench, sizes: &Sizes) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for floor_http2 in [false, true] {
        for floor_concurrency in [8, 16, 32, 64, 128] {
            let mut bench = bench.clone();
            bench.tuning = Tuning { floor_concurrency, floor_http2 };
            let size = (sizes.floor_executions, sizes.args_bytes);
            let mut outcome = one(&bench, sizes, Peer::Floor, "floor", size).await?;
            outcome.case =
                format!("{floor_concurrency} at once, HTTP/{}", if floor_http2 { "2" } else { "1.1" });
            outcome.set("concurrency", float(floor_concurrency));
            outcome.set("http2", f64::from(u8::from(floor_http2)));
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

async fn one(
    bench: &Bench,
    sizes: &Sizes,
    peer: Peer,
    scenario: &str,
    (count, args_bytes): (usize, usize),
) -> Result<Outcome> {
    let setting = Setting { args_bytes, takes: Duration::ZERO, audit: false };
    let world = World::up(bench, peer.subject(), setting).await?;
    world.generator.burst(0..count).await?;
    world.recorder.until("all created", sizes.limit(), |c| c.created >= count).await?;
    let start = Instant::now();
    let mut running = world.start(bench, peer)?;
    let before = world.readings(&running);
    let all_through = |c: &crate::recorder::Counts| c.finished >= count && c.done >= count;
    let waited = world.until(&mut running, "all finished", sizes.limit(), all_through).await;
    let after = world.readings(&running);
    let mut outcome = Outcome::new(scenario, format!("{count} of {args_bytes} B"), peer);
    rates(&mut outcome, &world.recorder.marks(), start);
    costs(&mut outcome, &before, &after, count);
    outcome.disqualified = match waited {
        Ok(()) => world.fault(count).await?,
        Err(error) => Some(format!("{error:#}")),
    };
    outcome.set("breaks", f64::from(world.recorder.breaks()));
    running.stop().await?;
    world.down().await?;
    Ok(outcome)
}

fn rates(outcome: &mut Outcome, marks: &[Marks], start: Instant) {
    let children = || marks.iter().filter_map(|m| m.child);
    let ends = || marks.iter().filter_map(|m| Some(m.finished?.max(m.done?)));
    let (Some(first), Some(last_start), Some(last)) = (children().min(), children().max(), ends().max())
    else {
        return;
    };
    let seconds = |from: Instant, to: Instant| (to - from).as_secs_f64().max(1e-6);
    outcome.set("rate", float(ends().count()) / seconds(first, last));
    outcome.set("rate_from_start", float(ends().count()) / seconds(start, last));
    outcome.set("rate_started", float(children().count()) / seconds(first, last_start));
    outcome.set("first_child", seconds(start, first) * 1000.0);
    outcome.set("order", order(marks));
    outcome.set_latency("finish", marks, |m| m.done, |m| m.finished);
}

/// How well the order of starts keeps the order of creations: Spearman's correlation of ranks.
fn order(marks: &[Marks]) -> f64 {
    let ranks = |of: fn(&Marks) -> Option<Instant>| {
        let mut at: Vec<(Instant, usize)> =
            marks.iter().enumerate().filter_map(|(i, m)| Some((of(m)?, i))).collect();
        at.sort_unstable();
        let mut ranks = vec![0.0; marks.len()];
        for (rank, (_, i)) in at.into_iter().enumerate() {
            if let Some(slot) = ranks.get_mut(i) {
                *slot = float(rank);
            }
        }
        ranks
    };
    let (created, started) = (ranks(|m| m.created), ranks(|m| m.child));
    let n = float(marks.len());
    let squares: f64 = created.iter().zip(&started).map(|(a, b): (&f64, &f64)| (a - b).powi(2)).sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0)).max(1.0)
}
