//! A steady load for long, with old objects deleted so that the state keeps its size: what grows is a leak.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::Sizes;
use crate::{
    actors::at_once,
    http::Http,
    payload,
    peers::Peer,
    proc::Reading,
    recorder::Recorder,
    results::{Outcome, float},
    target::Target,
    world::{Bench, Setting, World},
};

/// How many finished executions are kept.
const KEPT: usize = 500;
/// One after another they would be made faster than they go.
const DELETED_AT_ONCE: usize = 8;

pub(super) async fn run(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let count = (f64::from(sizes.soak_seconds) * sizes.soak_rate).round() as usize;
    let setting = Setting { args_bytes: sizes.args_bytes, takes: Duration::from_millis(500), audit: false };
    let world = World::up(bench, peer.subject(), setting).await?;
    let mut running = world.start(bench, peer)?;
    let deleting = tokio::spawn(delete_old(world.rig.admin.clone(), world.recorder.clone(), count));
    let samples: Arc<Mutex<Vec<(f64, Reading)>>> = Arc::default();
    let sampling = tokio::spawn(sample(running.pid, Arc::clone(&samples)));
    world.generator.poisson(0..count, sizes.soak_rate).await?;
    let waited = world.until(&mut running, "all finished", sizes.limit(), |c| c.finished >= count).await;
    sampling.abort();
    ensure!(!deleting.is_finished(), "old executions could not be deleted: {:?}", deleting.await);
    deleting.abort();
    let marks = world.recorder.marks();
    let mut outcome =
        Outcome::new("soak", format!("{} s at {}/s", sizes.soak_seconds, sizes.soak_rate), peer);
    let quarter = marks.len() / 4;
    outcome.set_latency("first", marks.get(..quarter).unwrap_or_default(), |m| m.created, |m| m.child);
    outcome.set_latency(
        "last",
        marks.get(marks.len() - quarter..).unwrap_or_default(),
        |m| m.created,
        |m| m.child,
    );
    let samples = samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
    grown(&mut outcome, &samples);
    outcome.disqualified = waited.err().map(|error| format!("{error:#}"));
    running.stop().await?;
    world.down().await?;
    Ok(vec![outcome])
}

/// Reads a process every two seconds, with the time in hours.
async fn sample(pid: u32, samples: Arc<Mutex<Vec<(f64, Reading)>>>) {
    let start = Instant::now();
    loop {
        sleep(Duration::from_secs(2)).await;
        let reading = (start.elapsed().as_secs_f64() / 3600.0, Reading::of(pid));
        samples.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
    }
}

/// What grew, after the first third: until then everything is being used for the first time.
fn grown(outcome: &mut Outcome, samples: &[(f64, Reading)]) {
    let settled = samples.get(samples.len() / 3..).unwrap_or_default();
    let points: Vec<_> = settled.iter().map(|(hour, reading)| (*hour, reading.rss)).collect();
    outcome.set("rss_per_hour", slope(&points));
    if let (Some((_, first)), Some((_, last))) = (settled.first(), settled.last()) {
        outcome.set("rss_first", first.rss);
        outcome.set("rss_last", last.rss);
        outcome.set("sockets", last.sockets);
    }
}

/// Deletes what finished long ago, as a time to live would.
async fn delete_old(target: Target, recorder: Recorder, count: usize) -> Result<()> {
    let http = Http::new(&target, "bench-deleter", false)?;
    let mut next = 0;
    while next < count {
        sleep(Duration::from_millis(200)).await;
        let finished = recorder.counts().finished;
        // Not by their number alone: on a busy machine they end in another order.
        let is_old = |number: &usize| number + KEPT < finished && recorder.has_finished(*number);
        let old: Vec<usize> = (next..count).take_while(is_old).collect();
        next += old.len();
        at_once(DELETED_AT_ONCE, old, |number| {
            let [workflow, execution] = [payload::workflows(&target), payload::executions(&target)]
                .map(|collection| format!("{collection}/{}", payload::name(number)));
            let http = &http;
            async move {
                http.delete(&workflow).await?;
                http.delete(&execution).await.map(drop)
            }
        })
        .await?;
    }
    Ok(())
}

/// The slope of a line through points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = float(points.len()).max(1.0);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let below: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let above: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }
}
