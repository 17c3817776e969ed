//! The world around the decision, as small as it can be, and how it may go on. Pure.

use super::super::*;

/// What the tool has made of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Work {
    Idle,
    Running,
    Succeeded,
    Failed,
}

/// The child as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stored {
    uid: u8,
    released: bool,
    stopped: bool,
    work: Work,
}

/// What a status records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Recorded {
    pub(super) child: Option<u8>,
    halt: Option<Halt>,
    pub(super) outcome: Option<Outcome>,
    /// resourceVersion: every write of the execution, by whomever, changes it.
    pub(super) version: u8,
    cancel: bool,
    pub(super) suspend: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
}

/// One controller: what it has read, and the write it has under way, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Controller {
    execution: Recorded,
    child: View,
    /// A request that left the controller and has not arrived: it may yet, even after the controller died.
    in_flight: Option<Request>,
}

/// What a controller knows of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum View {
    Unknown,
    Absent(Option<bool>),
    /// Seen; the flag tells a full read from a glimpse.
    Seen(Stored, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Request {
    Create,
    Record { uid: u8, version: u8 },
    Release(u8),
    RecordHalt { halt: Halt, version: u8 },
    Stop(u8),
    Discard(u8),
    Finish { outcome: Outcome, version: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) execution: Recorded,
    child: Option<Stored>,
    pub(super) next_uid: u8,
    late: bool,
    /// History: which uids were ever released, and which succeeded.
    released: u8,
    succeeded: u8,
    pub(super) controllers: [Controller; 2],
    /// How many more faults there may be: a bound that keeps the walk finite.
    faults: u8,
}

pub(super) const MAX_UIDS: u8 = 3;
const FAULTS: u8 = 2;
pub(super) const VERSIONS: u8 = 8;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl World {
    pub(super) fn start() -> Self {
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

    pub(super) fn check(&self) -> Result<(), String> {
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

/// The worlds that may follow one. The flag tells progress from faults and whims.
struct Moves {
    from: World,
    next: Vec<(World, bool)>,
}

impl Moves {
    fn add(&mut self, progress: bool, change: impl Fn(&mut World)) {
        let mut after = self.from;
        change(&mut after);
        if after != self.from && after.execution.version < VERSIONS {
            self.next.push((after, progress));
        }
    }
}

/// Every world that may follow.
pub(super) fn successors(world: &World) -> Vec<(World, bool)> {
    let mut moves = Moves { from: *world, next: Vec::new() };
    for i in 0..2 {
        requests(&mut moves, i);
        reads(&mut moves, i);
    }
    work(&mut moves);
    whims_and_faults(&mut moves);
    moves.next
}

/// A request is sent, arrives and is answered, arrives though its sender has died, or never arrives.
fn requests(moves: &mut Moves, i: usize) {
    let world = moves.from;
    let me = world.controllers[i];
    let Some(request) = me.in_flight else {
        if let Some(request) = me.request(world.late) {
            moves.add(true, |w| w.controllers[i].in_flight = Some(request));
        }
        return;
    };
    moves.add(true, |w| answer(w, i, request));
    if world.faults > 0 {
        for arrives in [true, false] {
            moves.add(false, |w| {
                w.faults -= 1;
                if arrives {
                    w.apply(request);
                }
                w.controllers[i].in_flight = None;
                restart(w, i);
            });
        }
    }
}

/// It arrives and is answered. A status write is followed by the fresh execution, read or returned.
fn answer(world: &mut World, i: usize, request: Request) {
    let view = world.apply(request);
    let fresh = world.execution;
    let me = &mut world.controllers[i];
    me.in_flight = None;
    match request {
        Request::Record { .. } | Request::RecordHalt { .. } | Request::Finish { .. } => me.execution = fresh,
        Request::Discard(_) if matches!(view, View::Seen(..)) => me.child = View::Unknown,
        Request::Create | Request::Release(_) | Request::Stop(_) | Request::Discard(_) => me.child = view,
    }
}

/// The watch catches up, or the child is read in full. Not reading is staleness.
fn reads(moves: &mut Moves, i: usize) {
    moves.add(true, |w| w.controllers[i].execution = w.execution);
    moves.add(true, |w| {
        let recorded = w.controllers[i].execution.child;
        let ended = match w.controllers[i].child {
            View::Seen(Stored { work, uid, .. }, _) if Some(uid) == recorded => match work {
                Work::Succeeded => Some(true),
                Work::Failed => Some(false),
                Work::Idle | Work::Running => None,
            },
            View::Seen(..) | View::Unknown => None,
            View::Absent(ended) => ended,
        };
        w.controllers[i].child = w.child.map_or(View::Absent(ended), |c| View::Seen(c, true));
    });
}

/// The tool works on what is released.
fn work(moves: &mut Moves) {
    let Some(child) = moves.from.child.filter(|c| c.released) else { return };
    match child.work {
        Work::Idle if child.stopped => moves.add(true, |w| set_work(w, Work::Failed)),
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

/// Time passes, the user cancels or suspends, somebody deletes the child.
fn whims_and_faults(moves: &mut Moves) {
    moves.add(false, |w| w.late = true);
    if !moves.from.execution.cancel {
        moves.add(false, |w| {
            w.execution.cancel = true;
            w.execution.version += 1;
        });
    }
    if moves.from.faults > 0 {
        moves.add(false, |w| {
            w.faults -= 1;
            w.execution.suspend = !w.execution.suspend;
            w.execution.version += 1;
        });
        moves.add(false, |w| {
            w.faults -= 1;
            w.child = None;
        });
    }
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
