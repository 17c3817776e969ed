//! How a world may go on: progress, faults, and what users and others do. Pure.

use super::{
    process::{Decisions, Request, View},
    world::{Bounds, Recorded, Stored, Work, World},
};

/// The worlds that may follow one. The flag tells progress from faults and whims.
struct Moves<'a> {
    from: World,
    bounds: &'a Bounds,
    decisions: &'a mut Decisions,
    next: Vec<(World, bool)>,
}

impl Moves<'_> {
    fn add(&mut self, progress: bool, change: impl Fn(&mut World)) {
        let mut after = self.from;
        change(&mut after);
        if after != self.from {
            self.next.push((after, progress));
        }
    }
}

/// Every world that may follow.
pub(super) fn successors(world: &World, bounds: &Bounds, decisions: &mut Decisions) -> Vec<(World, bool)> {
    let mut moves = Moves { from: *world, bounds, decisions, next: Vec::new() };
    for (of, controllers) in bounds.controllers.into_iter().enumerate().filter(|(_, some)| *some > 0) {
        for i in 0..controllers {
            requests(&mut moves, i, of);
            reads(&mut moves, i, of);
        }
        users(&mut moves, of);
    }
    tool(&mut moves);
    time_and_others(&mut moves);
    moves.next
}

/// A request is sent, arrives and is answered, arrives though its sender has died, or never arrives.
fn requests(moves: &mut Moves<'_>, i: usize, of: usize) {
    let (world, bounds) = (moves.from, *moves.bounds);
    let me = world.controllers[of][i];
    let Some(request) = me.in_flight else {
        if let Some(request) = moves.decisions.request(&me, world.late) {
            moves.add(true, |w| w.controllers[of][i].in_flight = Some(request));
        }
        return;
    };
    moves.add(true, |w| answer(w, i, of, request, &bounds));
    if world.faults > 0 {
        for arrives in [true, false] {
            moves.add(false, |w| {
                w.faults -= 1;
                if arrives {
                    w.apply(of, request, &bounds);
                }
                // A controller that comes up anew has read the execution, and knows nothing of the child.
                let me = &mut w.controllers[of][i];
                (me.child, me.in_flight) = (View::Unknown, None);
                me.read(w.executions[of]);
            });
        }
    }
}

/// It arrives and is answered. A status write is followed by the fresh execution, read or returned.
fn answer(world: &mut World, i: usize, of: usize, request: Request, bounds: &Bounds) {
    world.apply(of, request, bounds);
    let fresh = world.executions[of];
    let view = match world.look(of, None) {
        // What a write returns is no full read.
        View::Seen(child, _) => View::Seen(child, false),
        other @ (View::Unknown | View::Absent(_) | View::Foreign | View::Leaving) => other,
    };
    let me = &mut world.controllers[of][i];
    me.in_flight = None;
    match request {
        Request::Record { .. } | Request::RecordHalt { .. } | Request::Finish { .. } => me.read(fresh),
        Request::Discard(_) if matches!(view, View::Seen(..)) => me.child = View::Unknown,
        Request::Create
        | Request::Release(_)
        | Request::Stop(..)
        | Request::Discard(_)
        | Request::Restore(_) => me.child = view,
    }
}

/// The watch catches up, or the child is read in full. Not reading is staleness.
fn reads(moves: &mut Moves<'_>, i: usize, of: usize) {
    moves.add(true, |w| w.controllers[of][i].read(w.executions[of]));
    if moves.from.controllers[of][i].execution.gone {
        return;
    }
    moves.add(true, |w| {
        let view = w.look(of, w.controllers[of][i].glimpsed_end());
        w.controllers[of][i].child = view;
    });
}

/// The user cancels, suspends, resumes or deletes.
fn users(moves: &mut Moves<'_>, of: usize) {
    let (Recorded { cancel, gone, .. }, faults) = (moves.from.executions[of], moves.from.faults);
    if gone {
        return;
    }
    if moves.bounds.whims && !cancel {
        moves.add(false, |w| {
            w.executions[of].cancel = true;
            w.executions[of].version += 1;
        });
    }
    moves.add(false, |w| w.executions[of].gone = true);
    if moves.bounds.whims && faults > 0 {
        moves.add(false, |w| {
            w.faults -= 1;
            w.executions[of].suspend = !w.executions[of].suspend;
            w.executions[of].version += 1;
        });
    }
}

/// The tool works on what is released, unless it has missed what it was asked for.
fn tool(moves: &mut Moves<'_>) {
    let Some(child) = moves.from.child.filter(|c| c.released && !c.missed) else { return };
    if moves.bounds.whims && moves.from.faults > 0 && (child.work == Work::Idle || child.stopped.is_some()) {
        moves.add(false, |w| {
            w.faults -= 1;
            w.child = Some(Stored { missed: true, ..child });
        });
    }
    match child.work {
        Work::Idle if child.stopped.is_some() => moves.add(true, |w| set_work(w, Work::Failed)),
        Work::Idle => moves.add(true, |w| set_work(w, Work::Running)),
        Work::Running => {
            moves.add(true, |w| set_work(w, Work::Failed));
            moves.add(true, |w| {
                set_work(w, Work::Succeeded);
                w.succeeded |= 1 << child.uid;
            });
        }
        Work::Succeeded | Work::Failed => {}
    }
}

fn set_work(world: &mut World, work: Work) {
    if let Some(child) = &mut world.child {
        child.work = work;
    }
}

/// Time passes; the child is deleted by somebody, or after its execution by the garbage collector, or expires.
fn time_and_others(moves: &mut Moves<'_>) {
    if moves.bounds.whims {
        moves.add(false, |w| w.late = true);
    }
    let world = moves.from;
    let Some(child) = world.child else { return };
    if world.executions[usize::from(child.of)].gone {
        moves.add(true, |w| w.child = None);
    } else if world.faults > 0 {
        moves.add(false, |w| {
            w.faults -= 1;
            w.child = None;
        });
    }
}
