//! The decision, walked exhaustively against a small model of everything around it: an API server, two controllers
//! that both believe they lead, crashes at any point, lost replies, stale reads, a user who cancels, suspends and
//! deletes, somebody who deletes the child, and time. The real `decide` is walked, not a copy.
//!
//! It is walked over one execution, and, within narrower bounds, over two that want the same name for their child.
//! Executions of different names share nothing that could be decided on.
//!
//! Safety, in every state: at most one child of an execution is ever released; an outcome never changes; Succeeded
//! only if the recorded child succeeded; a child that is not recorded, or another's, is never released; what was
//! held back of a child is applied only after its result is recorded. Liveness: from every state, once faults
//! stop, every execution finishes.

mod moves;
mod process;
mod world;

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use indexmap::IndexSet;

use self::{
    moves::successors,
    process::Decisions,
    world::{Bounds, Recorded, World},
};

/// Within bounds that are walked in seconds, so that what is plainly wrong is seen at once.
#[test]
fn two_controllers_and_one_fault_come_to_one_end() {
    let bounds = Bounds { controllers: [2, 0], uids: 2, faults: 1, whims: false };
    assert!(walk(&bounds) >= 1_000);
}

#[test]
fn at_most_one_child_is_ever_released_and_every_execution_finishes() {
    let whims = Bounds { controllers: [2, 0], uids: 3, faults: 1, whims: true };
    let faults = Bounds { controllers: [2, 0], uids: 3, faults: 2, whims: false };
    assert!(walk(&whims) + walk(&faults) >= 1_000_000);
}

#[test]
fn two_executions_that_want_the_same_name_each_come_to_one_end() {
    // Everything at once is out of reach: either one of them has two controllers, or there are faults.
    let stale = Bounds { controllers: [2, 1], uids: 3, faults: 0, whims: false };
    let faulty = Bounds { controllers: [1, 1], uids: 3, faults: 2, whims: false };
    assert!(walk(&stale) + walk(&faulty) >= 1_000_000);
}

type Worlds = IndexSet<World, FixedState>;

/// Walks every world; tells how many there are.
fn walk(bounds: &Bounds) -> usize {
    let mut worlds = Worlds::default();
    worlds.insert(World::start(bounds));
    let mut decisions = Decisions::default();
    // Reversed steps of progress: (to, from).
    let mut progress_to: Vec<(u32, u32)> = Vec::new();
    let mut current = 0;
    while let Some(world) = worlds.get_index(current).copied() {
        world.check().unwrap();
        for (mut after, progress) in successors(&world, bounds, &mut decisions) {
            world.check_step(&after).unwrap();
            // The two controllers are alike: which of them is which makes no difference.
            for (controllers, count) in after.controllers.iter_mut().zip(bounds.controllers) {
                controllers[..count].sort_unstable();
            }
            let (id, _) = worlds.insert_full(after);
            if progress {
                progress_to.push((number(id), number(current)));
            }
        }
        current += 1;
    }
    println!("model: {} states, {} steps of progress, {bounds:?}", worlds.len(), progress_to.len());
    check_liveness(&worlds, progress_to, bounds);
    worlds.len()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap()
}

/// From every state the end can be reached without a fault or a whim, so under fair scheduling it is.
fn check_liveness(worlds: &Worlds, mut progress_to: Vec<(u32, u32)>, bounds: &Bounds) {
    let over = |execution: &Recorded| execution.outcome.is_some() || execution.gone;
    progress_to.sort_unstable();
    let mut live: Vec<bool> = worlds
        .iter()
        .map(|w| w.executions.iter().zip(bounds.controllers).all(|(e, some)| some == 0 || over(e)))
        .collect();
    let mut queue: VecDeque<u32> = (0..live.len()).filter(|i| live[*i]).map(number).collect();
    while let Some(current) = queue.pop_front() {
        let first = progress_to.partition_point(|(to, _)| *to < current);
        for (_, from) in progress_to[first..].iter().take_while(|(to, _)| *to == current) {
            if !std::mem::replace(&mut live[*from as usize], true) {
                queue.push_back(*from);
            }
        }
    }
    // Held back by the user, or out of the model's bounds, is no failure to finish.
    let stuck = worlds.iter().zip(&live).find(|(w, live)| {
        let held = |e: &Recorded| e.suspend && e.child.is_none();
        !**live && w.next_uid < bounds.uids && !w.executions.iter().any(held)
    });
    assert!(stuck.is_none(), "it never finishes: {stuck:#?}");
}
