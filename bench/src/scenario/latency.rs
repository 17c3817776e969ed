//! How long an execution waits for its controller when there is nothing to wait for: an open loop at an easy rate.

use std::time::Duration;

use anyhow::Result;

use super::Sizes;
use crate::{
    peers::Peer,
    results::Outcome,
    world::{Bench, Setting, World, costs},
};

pub(super) async fn run(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let count = (f64::from(sizes.latency_seconds) * sizes.latency_rate).round() as usize;
    let setting = Setting { args_bytes: sizes.args_bytes, takes: Duration::from_millis(200), audit: false };
    let world = World::up(bench, peer.subject(), setting).await?;
    let mut running = world.start(bench, peer)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = world.readings(&running);
    world.generator.poisson(0..count, sizes.latency_rate).await?;
    let waited = world.until(&mut running, "all finished", sizes.limit(), |c| c.finished >= count).await;
    let after = world.readings(&running);
    let mut outcome =
        Outcome::new("latency", format!("{} s at {}/s", sizes.latency_seconds, sizes.latency_rate), peer);
    let marks = world.recorder.marks();
    outcome.set_latency("start", &marks, |m| m.created, |m| m.child);
    outcome.set_latency("release", &marks, |m| m.child, |m| m.released);
    outcome.set_latency("finish", &marks, |m| m.done, |m| m.finished);
    costs(&mut outcome, &before, &after, count);
    outcome.disqualified = match waited {
        Ok(()) => world.fault(count).await?,
        Err(error) => Some(format!("{error:#}")),
    };
    outcome.set("breaks", f64::from(world.recorder.breaks()));
    running.stop().await?;
    world.down().await?;
    Ok(vec![outcome])
}
