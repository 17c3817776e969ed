//! Exact requests per execution, by verb, resource, program and code, from the audit log.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;

use super::Sizes;
use crate::{
    audit,
    peers::Peer,
    results::{Outcome, Requests, float},
    rig::CONTROLLER,
    world::{Bench, Setting, World},
};

/// How long a peer may be at work after the last execution has finished.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn run(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    let count = sizes.accounting_executions;
    let setting = Setting { args_bytes: sizes.args_bytes, takes: Duration::from_millis(100), audit: true };
    let world = World::up(bench, peer.subject(), setting).await?;
    let mut running = world.start(bench, peer)?;
    // What it asks at its start is not of any execution.
    tokio::time::sleep(SETTLE).await;
    world.generator.poisson(0..count, sizes.accounting_rate).await?;
    let waited = world.until(&mut running, "all finished", sizes.limit(), |c| c.finished >= count).await;
    tokio::time::sleep(SETTLE).await;
    running.stop().await?;
    let mut outcome = Outcome::new("accounting", count.to_string(), peer);
    let counts = audit::count(&world.rig.audit_log(), 0, CONTROLLER, &BTreeSet::new())?;
    let per_execution = |matches: &dyn Fn(&audit::Kind) -> bool| {
        let total: u32 = counts.iter().filter(|(kind, _)| matches(kind)).map(|(_, count)| count).sum();
        f64::from(total) / float(count)
    };
    let is_event = |kind: &audit::Kind| kind.resource == "events";
    let of = |kind: &audit::Kind| kind.is_of_an_execution() && !is_event(kind);
    let writes = per_execution(&|kind| of(kind) && kind.is_write());
    let good_writes = per_execution(&|kind| of(kind) && kind.is_write() && kind.code < 300);
    outcome.set("writes", writes);
    outcome.set("reads", per_execution(&|kind| of(kind) && !kind.is_write()));
    outcome.set("events", per_execution(&is_event));
    outcome.set("conflicts", per_execution(&|kind| of(kind) && kind.code == 409));
    outcome.set("other_errors", per_execution(&|kind| of(kind) && kind.code >= 400 && kind.code != 409));
    outcome.set("no_ops", good_writes - changes(&world, count));
    outcome.requests = counts.into_iter().map(|(kind, count)| Requests::new(kind, count)).collect();
    outcome.disqualified = match waited {
        Ok(()) => world.fault(count).await?,
        Err(error) => Some(format!("{error:#}")),
    };
    world.down().await?;
    Ok(vec![outcome])
}

/// How many changes of an execution and its child were seen, per execution, but for the actor's and the
/// generator's. A write that changes nothing is answered like any other, and no watch shows it.
fn changes(world: &World, count: usize) -> f64 {
    let total: u32 = world.recorder.marks().iter().map(|m| m.changes + m.children + m.child_changes).sum();
    f64::from(total) / float(count) - 1.0
}
