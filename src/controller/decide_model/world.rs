//! The world around the decision, as small as it can be: an API server with the executions and one name for their
//! children, and what happened so far. Pure.

use super::{
    super::{Halt, Stop},
    process::{Process, Request, View},
};

/// How far the walk goes: what keeps it finite, and what it covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many controllers are at work on each execution. The second, if there is one, wants the same name for its
    /// child.
    pub(super) controllers: [usize; 2],
    /// How many children may be made in all.
    pub(super) uids: u8,
    /// How many crashes, lost requests and interferences there may be.
    pub(super) faults: u8,
    /// Time passes, the tool misses what it was asked for, and the user cancels, suspends and resumes.
    pub(super) whims: bool,
}

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
    pub(super) uid: u8,
    /// The execution it was made for.
    pub(super) of: u8,
    pub(super) released: bool,
    pub(super) stopped: Option<Stop>,
    pub(super) held_back: bool,
    /// The tool has missed what it was last asked for, to begin or to stop.
    pub(super) missed: bool,
    pub(super) work: Work,
}

/// An execution as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Recorded {
    pub(super) child: Option<u8>,
    pub(super) halt: Option<Halt>,
    pub(super) outcome: Option<Outcome>,
    /// resourceVersion: every write of the execution, by whomever, changes it.
    pub(super) version: u8,
    pub(super) cancel: bool,
    pub(super) suspend: bool,
    /// The user deleted it.
    pub(super) gone: bool,
}

impl Recorded {
    pub(super) const NEW: Self = Self {
        child: None,
        halt: None,
        outcome: None,
        version: 0,
        cancel: false,
        suspend: false,
        gone: false,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The second one stands for nothing where the bounds know but one.
    pub(super) executions: [Recorded; 2],
    pub(super) child: Option<Stored>,
    pub(super) next_uid: u8,
    /// Every deadline has passed.
    pub(super) late: bool,
    /// History, by bits of uids: made for the second execution, ever released, succeeded.
    made_for_second: u8,
    released: u8,
    pub(super) succeeded: u8,
    /// For each execution, two controllers that both believe they lead. What one knows of an execution has no bearing on
    /// what it does with the other, so that it makes no difference which of one's two is of the same controller.
    pub(super) controllers: [[Process; 2]; 2],
    /// How many more faults there may be.
    pub(super) faults: u8,
}

impl World {
    pub(super) fn start(bounds: &Bounds) -> Self {
        let process = Process { execution: Recorded::NEW, child: View::Unknown, in_flight: None };
        Self {
            executions: [Recorded::NEW; 2],
            child: None,
            next_uid: 0,
            late: false,
            made_for_second: 0,
            released: 0,
            succeeded: 0,
            controllers: [[process; 2]; 2],
            faults: bounds.faults,
        }
    }

    /// What a live read of the name shows to somebody who works on that execution.
    pub(super) fn look(&self, of: usize, ended: Option<bool>) -> View {
        match self.child {
            None => View::Absent(ended),
            Some(child) if usize::from(child.of) == of => View::Seen(child, true),
            // The garbage collector is about to remove what an execution that is gone has left.
            Some(child) if self.executions[usize::from(child.of)].gone => View::Leaving,
            Some(_) => View::Foreign,
        }
    }

    fn write(&mut self, of: usize, version: u8, change: impl FnOnce(&mut Recorded)) {
        let execution = &mut self.executions[of];
        if execution.version == version && !execution.gone {
            change(execution);
            execution.version += 1;
        }
    }

    fn named(&mut self, uid: u8) -> Option<&mut Stored> {
        self.child.as_mut().filter(|child| child.uid == uid)
    }

    /// The API server takes a request that is about that execution.
    pub(super) fn apply(&mut self, of: usize, request: Request, bounds: &Bounds) {
        match request {
            Request::Create => {
                if self.child.is_none() && self.next_uid < bounds.uids {
                    self.child = Some(Stored {
                        uid: self.next_uid,
                        of: u8::from(of == 1),
                        released: false,
                        stopped: None,
                        held_back: true,
                        missed: false,
                        work: Work::Idle,
                    });
                    self.made_for_second |= u8::from(of == 1) << self.next_uid;
                    self.next_uid += 1;
                }
            }
            Request::Record { uid, version } => self.write(of, version, |e| e.child = Some(uid)),
            Request::Release(uid) => {
                if let Some(child) = self.named(uid) {
                    child.released = true;
                    child.missed = false;
                    self.released |= 1 << uid;
                }
            }
            Request::RecordHalt { halt, version } => self.write(of, version, |e| e.halt = Some(halt)),
            Request::Stop(uid, how) => {
                if let Some(child) = self.named(uid) {
                    child.stopped = Some(how);
                    child.missed = false;
                }
            }
            // By uid and by the version seen: refused once the child was released.
            Request::Discard(uid) => {
                if self.named(uid).is_some_and(|child| !child.released) {
                    self.child = None;
                }
            }
            Request::Restore(uid) => {
                if let Some(child) = self.named(uid) {
                    child.held_back = false;
                }
            }
            Request::Finish { outcome, version } => self.write(of, version, |e| e.outcome = Some(outcome)),
        }
    }

    /// What must hold in every state.
    pub(super) fn check(&self) -> Result<(), String> {
        let made_for = [!self.made_for_second, self.made_for_second];
        for (execution, made_for) in self.executions.iter().zip(made_for) {
            let released = self.released & made_for;
            if released.count_ones() > 1 {
                return Err(format!("two children of one execution were released: {self:#?}"));
            }
            if released != 0 && execution.child.is_none_or(|uid| released != 1 << uid) {
                return Err(format!("a child that is not recorded was released: {self:#?}"));
            }
            if execution.child.is_some_and(|uid| made_for & (1 << uid) == 0) {
                return Err(format!("a child of another was recorded: {self:#?}"));
            }
            if execution.outcome == Some(Outcome::Succeeded)
                && execution.child.is_none_or(|uid| self.succeeded & (1 << uid) == 0)
            {
                return Err(format!("Succeeded without success: {self:#?}"));
            }
        }
        match self.child {
            Some(child) if !child.held_back && self.executions[usize::from(child.of)].outcome.is_none() => {
                Err(format!("restored before the result was recorded: {self:#?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What must hold from one state to the next.
    pub(super) fn check_step(&self, after: &Self) -> Result<(), String> {
        for (before, after) in self.executions.iter().zip(&after.executions) {
            if before.outcome.is_some() && before.outcome != after.outcome {
                return Err(format!("an outcome changed: {before:#?} to {after:#?}"));
            }
            if before.child.is_some() && before.child != after.child {
                return Err(format!("the recorded child changed: {before:#?} to {after:#?}"));
            }
        }
        Ok(())
    }
}
