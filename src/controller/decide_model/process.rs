//! What one controller knows of one execution, and the request that the real [`decide`] makes it send. Pure.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use k8s_openapi::jiff::Timestamp;

use super::{
    super::*,
    world::{Outcome, Recorded, Stored, Work},
};

/// One controller's work on one execution: what it has read, and the write it has under way, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Process {
    pub(super) execution: Recorded,
    pub(super) child: View,
    /// A request that left the controller and has not arrived: it may yet, even after the controller died.
    pub(super) in_flight: Option<Request>,
}

/// What a controller knows of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum View {
    Unknown,
    Absent(Option<bool>),
    /// Another execution's.
    Foreign,
    /// Of an execution that is gone.
    Leaving,
    /// Seen; the flag tells a full read from a glimpse.
    Seen(Stored, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Request {
    Create,
    Record { uid: u8, version: u8 },
    Release(u8),
    RecordHalt { halt: Halt, version: u8 },
    Stop(u8, Stop),
    Discard(u8),
    Restore(u8),
    Finish { outcome: Outcome, version: u8 },
}

/// What was decided so far: the same is asked very often.
#[derive(Default)]
pub(super) struct Decisions(HashMap<(Process, bool), Option<Request>, FixedState>);

impl Decisions {
    /// What that controller sends next, if anything.
    pub(super) fn request(&mut self, process: &Process, late: bool) -> Option<Request> {
        *self.0.entry((*process, late)).or_insert_with(|| process.request(late))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl Process {
    /// Takes in the execution as it is now. There is nothing to do for one that is gone.
    pub(super) fn read(&mut self, execution: Recorded) {
        if execution.gone {
            self.child = View::Unknown;
            self.execution = Recorded { gone: true, ..Recorded::NEW };
        } else {
            self.execution = execution;
        }
    }

    /// How the child that was last seen had ended, if it was the recorded one.
    pub(super) fn glimpsed_end(&self) -> Option<bool> {
        match self.child {
            View::Seen(Stored { work, uid, .. }, _) if Some(uid) == self.execution.child => match work {
                Work::Succeeded => Some(true),
                Work::Failed => Some(false),
                Work::Idle | Work::Running => None,
            },
            View::Seen(..) | View::Unknown | View::Foreign | View::Leaving => None,
            View::Absent(ended) => ended,
        }
    }

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
            View::Foreign => Seen::Foreign,
            View::Leaving => Seen::Leaving,
            View::Seen(child, whole) => Seen::Child(shown(child, whole)),
        }
    }

    /// The request that the decision asks for; `None` for reading and waiting.
    fn request(&self, late: bool) -> Option<Request> {
        let version = self.execution.version;
        if self.execution.gone {
            return None;
        }
        let number = |uid: Uid| uid.parse().unwrap();
        match decide(&self.state(late), &self.seen(), at(2)) {
            Step::Create => Some(Request::Create),
            Step::Record(uid) => Some(Request::Record { uid: number(uid), version }),
            Step::Release(uid) => Some(Request::Release(number(uid))),
            Step::RecordHalt(halt) => Some(Request::RecordHalt { halt, version }),
            Step::Stop(uid, how) => Some(Request::Stop(number(uid), how)),
            Step::Discard(uid) => Some(Request::Discard(number(uid))),
            Step::RestoreHeldBack(uid) => Some(Request::Restore(number(uid))),
            Step::Finish(ending) => Some(Request::Finish { outcome: outcome(&ending), version }),
            Step::Look | Step::Wait(_) | Step::Report(_) => None,
            Step::SetOwner | Step::DryRun | Step::Expire => panic!("not in this model"),
        }
    }
}

fn shown(child: Stored, whole: bool) -> Child {
    let (glance, observation) = match child.work {
        Work::Idle | Work::Running => (Glance::Underway, Observation::Underway { progress: None }),
        Work::Succeeded => (
            Glance::Ended { succeeded: true },
            Observation::Succeeded { progress: None, output: None, message: String::new() },
        ),
        Work::Failed => (
            Glance::Ended { succeeded: false },
            Observation::Failed { reason: Reason::JobFailed, message: String::new(), progress: None },
        ),
    };
    Child {
        uid: child.uid.to_string(),
        current: true,
        released: child.released,
        unheard: whole && child.missed && child.work == Work::Idle,
        stopped: child.stopped,
        held_back: child.held_back,
        glance,
        observation: whole.then_some(observation),
        look_due: false,
        grace_ends: None,
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
