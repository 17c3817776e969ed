//! The decision, walked exhaustively against a small model of everything around it: an API server with one
//! name, two controllers that both believe they lead, crashes at any point, lost replies, stale reads, a user who
//! cancels, suspends and deletes, somebody who deletes the child, and time. The real [`decide`] is walked, not a
//! copy.
//!
//! Safety, in every state: at most one child is ever released; an outcome never changes; Succeeded only if the
//! recorded child succeeded; a child that is not recorded is never released. Liveness: from every state, once
//! faults stop, the execution finishes.

mod world;

use std::collections::VecDeque;

use indexmap::IndexSet;

use self::world::{MAX_UIDS, VERSIONS, World, successors};

#[test]
fn at_most_one_child_is_ever_released_and_every_execution_finishes() {
    let mut worlds: IndexSet<World> = IndexSet::from([World::start()]);
    // Reversed steps of progress: (to, from).
    let mut progress_to: Vec<(u32, u32)> = Vec::new();
    let mut current = 0;
    while let Some(world) = worlds.get_index(current).copied() {
        world.check().unwrap();
        for (mut after, progress) in successors(&world) {
            if let Some(before) = world.execution.outcome {
                assert_eq!(after.execution.outcome, Some(before), "an outcome changed: {after:#?}");
            }
            // The two controllers are alike: which of them is which makes no difference.
            after.controllers.sort_unstable();
            let (id, _) = worlds.insert_full(after);
            if progress {
                progress_to.push((number(id), number(current)));
            }
        }
        current += 1;
    }
    println!("model: {} states, {} steps of progress", worlds.len(), progress_to.len());
    check_liveness(&worlds, progress_to);
    assert!(worlds.len() >= 1_000_000, "only {} states", worlds.len());
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap()
}

/// From every state the end can be reached without a fault or a whim, so under fair scheduling it is.
fn check_liveness(worlds: &IndexSet<World>, mut progress_to: Vec<(u32, u32)>) {
    progress_to.sort_unstable();
    let mut live: Vec<bool> = worlds.iter().map(|w| w.execution.outcome.is_some()).collect();
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
        let bounded = w.execution.version + 4 >= VERSIONS || w.next_uid == MAX_UIDS;
        let held = w.execution.suspend && w.execution.child.is_none();
        !**live && !bounded && !held
    });
    assert!(stuck.is_none(), "it never finishes: {stuck:#?}");
}
