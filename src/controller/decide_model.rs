//! The decision, walked exhaustively against a small model of everything around it: an API server with one
//! name, two controllers that both believe they lead, crashes at any point, lost replies, stale reads, a user who
//! cancels, suspends and deletes, somebody who deletes the child, and time. The real [`decide`] is walked, not a
//! copy.
//!
//! Safety, in every state: at most one child is ever released; an outcome never changes; Succeeded only if the
//! recorded child succeeded; a child that is not recorded is never released. Liveness: from every state, once
//! faults stop, the execution finishes.

use std::collections::VecDeque;

use indexmap::IndexSet;

use super::*;

/// What the tool has made of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Work {
    Idle,
    Running,
    Succeeded,
    Failed,
}

/// The child as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Stored {
    uid: u8,
    released: bool,
    stopped: bool,
    work: Work,
}

/// What a status records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Recorded {
    child: Option<u8>,
    halt: Option<Halt>,
    outcome: Option<Outcome>,
    /// resourceVersion: every write of the execution, by whomever, changes it.
    version: u8,
    cancel: bool,
    suspend: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
}

/// One controller: what it has read, and the write it has under way, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Controller {
    execution: Recorded,
    child: View,
    /// A request that left the controller and has not arrived: it may yet, even after the controller died.
    in_flight: Option<Request>,
}

/// What a controller knows of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum View {
    Unknown,
    Absent(Option<bool>),
    /// Seen; the flag tells a full read from a glimpse.
    Seen(Stored, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Request {
    Create,
    Record { uid: u8, version: u8 },
    Release(u8),
    RecordHalt { halt: Halt, version: u8 },
    Stop(u8),
    Discard(u8),
    Finish { outcome: Outcome, version: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct World {
    execution: Recorded,
    child: Option<Stored>,
    next_uid: u8,
    late: bool,
    /// History: which uids were ever released, and which succeeded.
    released: u8,
    succeeded: u8,
    controllers: [Controller; 2],
    /// How many more faults there may be: a bound that keeps the walk finite.
    faults: u8,
}

const MAX_UIDS: u8 = 3;
const FAULTS: u8 = 2;
const VERSIONS: u8 = 8;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl World {
    fn start() -> Self {
        let execution =
            Recorded { child: None, halt: None, outcome: None, version: 0, cancel: false, suspend: false };
        let controller = Controller { execution, child: View::Unknown, in_flight: None };
        Self {
            execution,
            child: None,
            next_uid: 0,
            late: false,
            released: 0,
            succeeded: 0,
            controllers: [controller; 2],
            faults: FAULTS,
        }
    }

    fn write(&mut self, version: u8, change: impl FnOnce(&mut Recorded)) -> bool {
        if self.execution.version != version {
            return false;
        }
        change(&mut self.execution);
        self.execution.version += 1;
        true
    }

    /// The API server takes a request; what the sender would learn from the reply.
    fn apply(&mut self, request: Request) -> View {
        let seen = |child: Option<Stored>| child.map_or(View::Absent(None), |c| View::Seen(c, false));
        match request {
            Request::Create => {
                if self.child.is_none() && self.next_uid < MAX_UIDS {
                    self.child = Some(Stored {
                        uid: self.next_uid,
                        released: false,
                        stopped: false,
                        work: Work::Idle,
                    });
                    self.next_uid += 1;
                }
            }
            Request::Record { uid, version } => {
                self.write(version, |e| e.child = Some(uid));
            }
            Request::Release(uid) => {
                if let Some(child) = self.child.as_mut().filter(|c| c.uid == uid) {
                    child.released = true;
                    self.released |= 1 << uid;
                }
            }
            Request::RecordHalt { halt, version } => {
                self.write(version, |e| e.halt = Some(halt));
            }
            Request::Stop(uid) => {
                if let Some(child) = self.child.as_mut().filter(|c| c.uid == uid) {
                    child.stopped = true;
                }
            }
            // By uid and by the version seen: refused once the child was released.
            Request::Discard(uid) => {
                if self.child.is_some_and(|c| c.uid == uid && !c.released) {
                    self.child = None;
                }
            }
            Request::Finish { outcome, version } => {
                self.write(version, |e| e.outcome = Some(outcome));
            }
        }
        seen(self.child)
    }

    fn check(&self) -> Result<(), String> {
        if self.released.count_ones() > 1 {
            return Err(format!("two children were released: {self:#?}"));
        }
        if self.released != 0 && self.execution.child.is_none_or(|c| self.released != 1 << c) {
            return Err(format!("a child that is not recorded was released: {self:#?}"));
        }
        if self.execution.outcome == Some(Outcome::Succeeded)
            && self.execution.child.is_none_or(|c| self.succeeded & (1 << c) == 0)
        {
            return Err(format!("Succeeded without success: {self:#?}"));
        }
        Ok(())
    }
}

impl Controller {
    fn state(&self, late: bool) -> State {
        let e = &self.execution;
        let stage = if e.outcome.is_some() {
            Stage::Finished { child: e.child.map(|c| c.to_string()), expires: None, outdated: false }
        } else if let Some(child) = e.child {
            Stage::Started { child: child.to_string(), deadline: late.then(|| at(1)), halt: e.halt }
        } else {
            Stage::New
        };
        State {
            stage,
            suspend: e.suspend,
            cancel: e.cancel,
            deleting: false,
            dry_run: false,
            owner_missing: false,
            refusal: None,
        }
    }

    fn seen(&self) -> Seen {
        match self.child {
            View::Unknown => Seen::Unknown,
            View::Absent(ended) => Seen::Absent { ended },
            View::Seen(child, whole) => {
                let underway = Observation::Underway { progress: None };
                let (glance, observation) = match child.work {
                    Work::Idle | Work::Running => (Glance::Underway, underway),
                    Work::Succeeded => (
                        Glance::Ended { succeeded: true },
                        Observation::Succeeded { progress: None, output: None, message: String::new() },
                    ),
                    Work::Failed => (
                        Glance::Ended { succeeded: false },
                        Observation::Failed {
                            reason: Reason::JobFailed,
                            message: String::new(),
                            progress: None,
                        },
                    ),
                };
                Seen::Child(Child {
                    uid: child.uid.to_string(),
                    current: true,
                    released: child.released,
                    stopped: child.stopped,
                    held_back: false,
                    glance,
                    observation: whole.then_some(observation),
                    look_due: false,
                    grace_ends: None,
                })
            }
        }
    }

    /// The request that the decision asks for; `None` for reading and waiting.
    fn request(&self, late: bool) -> Option<Request> {
        let version = self.execution.version;
        let number = |uid: Uid| uid.parse().unwrap();
        match decide(&self.state(late), &self.seen(), at(2)) {
            Step::Create => Some(Request::Create),
            Step::Record(uid) => Some(Request::Record { uid: number(uid), version }),
            Step::Release(uid) => Some(Request::Release(number(uid))),
            Step::RecordHalt(halt) => Some(Request::RecordHalt { halt, version }),
            Step::Stop(uid, Stop::Cancel | Stop::Terminate) => Some(Request::Stop(number(uid))),
            Step::Discard(uid) => Some(Request::Discard(number(uid))),
            Step::Finish(ending) => Some(Request::Finish { outcome: outcome(&ending), version }),
            Step::Look | Step::Wait(_) | Step::Report(_) => None,
            Step::SetOwner | Step::DryRun | Step::RestoreHeldBack(_) | Step::Expire => {
                panic!("not in this model")
            }
        }
    }
}

fn outcome(ending: &Ending) -> Outcome {
    match ending {
        Ending::Observed(Observation::Succeeded { .. }) | Ending::Glimpsed { succeeded: true } => {
            Outcome::Succeeded
        }
        Ending::Halted(Halt::Cancelled) => Outcome::Cancelled,
        Ending::Observed(_)
        | Ending::Glimpsed { succeeded: false }
        | Ending::Halted(_)
        | Ending::Lost
        | Ending::NameTaken
        | Ending::Refused(_)
        | Ending::DryRunSucceeded => Outcome::Failed,
    }
}

/// Every world that may follow. The flag tells progress from faults and whims.
fn successors(world: &World) -> Vec<(World, bool)> {
    let mut next = Vec::new();
    let mut push = |change: &dyn Fn(&mut World), progress: bool| {
        let mut after = *world;
        change(&mut after);
        if after != *world && after.execution.version < VERSIONS {
            next.push((after, progress));
        }
    };
    for i in 0..2 {
        let me = world.controllers[i];
        match me.in_flight {
            None => {
                if let Some(request) = me.request(world.late) {
                    push(&|w| w.controllers[i].in_flight = Some(request), true);
                }
            }
            Some(request) => {
                // It arrives and is answered. A status write is followed by the fresh execution, read or returned.
                push(
                    &|w| {
                        let before = w.controllers[i].child;
                        let view = w.apply(request);
                        let me = &mut w.controllers[i];
                        me.in_flight = None;
                        match request {
                            Request::Record { .. } | Request::RecordHalt { .. } | Request::Finish { .. } => {
                                me.execution = w.execution;
                                me.child = before;
                            }
                            Request::Discard(_) if matches!(view, View::Seen(..)) => me.child = View::Unknown,
                            Request::Create
                            | Request::Release(_)
                            | Request::Stop(_)
                            | Request::Discard(_) => me.child = view,
                        }
                    },
                    true,
                );
                // The controller dies or gives up; the request arrives later, or never.
                if world.faults > 0 {
                    push(
                        &|w| {
                            w.faults -= 1;
                            w.apply(request);
                            w.controllers[i].in_flight = None;
                            restart(w, i);
                        },
                        false,
                    );
                    push(
                        &|w| {
                            w.faults -= 1;
                            w.controllers[i].in_flight = None;
                            restart(w, i);
                        },
                        false,
                    );
                }
            }
        }
        // Reading: the watch catches up, or a full read of the child. Not reading is staleness.
        push(&|w| w.controllers[i].execution = w.execution, true);
        push(
            &|w| {
                let last = match w.controllers[i].child {
                    View::Seen(Stored { work: Work::Succeeded, .. }, _) => Some(true),
                    View::Seen(Stored { work: Work::Failed, .. }, _) => Some(false),
                    View::Seen(..) | View::Unknown => None,
                    View::Absent(ended) => ended,
                };
                // A child's name may hold another child now; only the same one's end is remembered.
                w.controllers[i].child = w.child.map_or(View::Absent(last), |c| View::Seen(c, true));
            },
            true,
        );
    }
    // The tool works on what is released.
    if let Some(child) = world.child.filter(|c| c.released) {
        match child.work {
            Work::Idle if child.stopped => push(&|w| set_work(w, Work::Failed), true),
            Work::Idle => push(&|w| set_work(w, Work::Running), true),
            Work::Running => {
                push(&|w| set_work(w, Work::Failed), true);
                push(
                    &|w| {
                        set_work(w, Work::Succeeded);
                        w.succeeded |= 1 << child.uid;
                    },
                    true,
                );
            }
            Work::Succeeded | Work::Failed => {}
        }
    }
    // Whims and faults.
    if !world.late {
        push(&|w| w.late = true, false);
    }
    if !world.execution.cancel {
        push(
            &|w| {
                w.execution.cancel = true;
                w.execution.version += 1;
            },
            false,
        );
    }
    if world.faults > 0 {
        push(
            &|w| {
                w.faults -= 1;
                w.execution.suspend = !w.execution.suspend;
                w.execution.version += 1;
            },
            false,
        );
        push(
            &|w| {
                w.faults -= 1;
                w.child = None;
            },
            false,
        );
    }
    next
}

fn set_work(world: &mut World, work: Work) {
    if let Some(child) = &mut world.child {
        child.work = work;
    }
}

/// A controller that comes up anew has read the execution, and knows nothing of the child.
fn restart(world: &mut World, i: usize) {
    world.controllers[i].execution = world.execution;
    world.controllers[i].child = View::Unknown;
}

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
