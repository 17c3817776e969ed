//! The whole controller on one screen: what to do next with an execution. Pure.
//!
//! Inputs: what its own object says ([`State`]), what is known of its child ([`Seen`]), the time. Output: one
//! [`Step`], which the shell in [`super::reconcile`] carries out before it asks again.
//!
//! The protocol, per execution: **create** the child suspended, **record** its uid, **release** it. A child is
//! released only after its uid is recorded, and only by that uid; so at most one ever runs, whatever dies or is
//! slow, with any number of controllers. A child that vanishes before it was recorded has done nothing and is
//! created again; one that vanishes later is lost, and never created again.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use k8s_openapi::jiff::Timestamp;

use crate::{
    reason::Reason,
    runners::{Glance, Observation, Stop},
};

/// The uid of a child.
pub type Uid = String;

/// What an execution's own object says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct State {
    /// How far it has come.
    pub stage: Stage,
    /// `spec.suspend`.
    pub suspend: bool,
    /// `spec.cancel`.
    pub cancel: bool,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `spec.context.dryRun`.
    pub dry_run: bool,
    /// `spec.context.platform.ownerRef` is not yet set on the object.
    pub owner_missing: bool,
    /// Why it cannot be run at all, if so.
    pub refusal: Option<Refusal>,
}

/// How far an execution has come. Derived from facts in `.status` that are each written once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Nothing of it is recorded.
    New,
    /// Its child is recorded.
    Started {
        /// The recorded child.
        child: Uid,
        /// When the work must be stopped.
        deadline: Option<Timestamp>,
        /// Why the work is being stopped, once that is recorded.
        halt: Option<Halt>,
    },
    /// Its outcome is recorded.
    Finished {
        /// The recorded child, if it had one.
        child: Option<Uid>,
        /// When the object is to be deleted.
        expires: Option<Timestamp>,
        /// The status speaks of an older generation of the spec.
        outdated: bool,
    },
}

/// Why work is stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Halt {
    /// On request.
    Cancelled,
    /// The deadline has passed.
    TimedOut,
    /// It waited longer than the grace for something of the cluster's.
    CannotStart(Reason),
}

impl Halt {
    /// How hard to stop.
    pub const fn stop(self) -> Stop {
        match self {
            Self::Cancelled => Stop::Cancel,
            Self::TimedOut | Self::CannotStart(_) => Stop::Terminate,
        }
    }
}

/// What was said no to, and whether that may change by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// Why, in one word.
    pub reason: Reason,
    /// Why, and what to do.
    pub message: String,
    /// How long to go on trying.
    pub patience: Patience,
}

/// How long a refusal is put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Patience {
    /// Not at all: it would be refused for ever.
    None,
    /// Until then: what it needs may be just about to be created, for example by the same `kubectl apply`.
    Until(Timestamp),
    /// For ever: somebody else may serve it, or the cluster be completed.
    Endless,
}

/// What is known of the child.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nothing: it was not looked for.
    Unknown,
    /// An attempt to create or check something was refused.
    Refused(Refusal),
    /// The server would accept it.
    DryRun,
    /// It is not there. `ended` is what a glimpse had told before.
    Absent {
        /// How the child had ended according to the last glimpse of it.
        ended: Option<bool>,
    },
    /// The name is taken by an object that is not this execution's.
    Foreign,
    /// The name is taken by an object that is on its way out.
    Leaving,
    /// It is there.
    Child(Child),
}

/// A child of this execution.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Child {
    /// Its uid.
    pub uid: Uid,
    /// It was rendered from the present generation of the spec.
    pub current: bool,
    /// It was released.
    pub released: bool,
    /// A full read shows no sign that its own controller has heard of the release.
    pub unheard: bool,
    /// How hard it was asked to stop, if it was.
    pub stopped: Option<Stop>,
    /// Settings of it are held back until its result is recorded.
    pub held_back: bool,
    /// What a glimpse of it tells.
    pub glance: Glance,
    /// What a full read of it tells, if it was just read.
    pub observation: Option<Observation>,
    /// It is time to read it in full even without need.
    pub look_due: bool,
    /// When the present waiting turns into failure, if it waits.
    pub grace_ends: Option<Timestamp>,
}

/// The one thing to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Check the owner and set it on the execution.
    SetOwner,
    /// Ask the server whether it would accept the child.
    DryRun,
    /// Create the child, suspended.
    Create,
    /// Record the child.
    Record(Uid),
    /// Release the recorded child.
    Release(Uid),
    /// Read the child in full.
    Look,
    /// Record that the work is being stopped.
    RecordHalt(Halt),
    /// Ask the released child to stop.
    Stop(Uid, Stop),
    /// Delete a child that never ran: it was not released.
    Discard(Uid),
    /// Apply what was held back of the child.
    RestoreHeldBack(Uid),
    /// Record the outcome.
    Finish(Ending),
    /// Tell in the status why it does not go on, or how far it is.
    Report(Report),
    /// Delete the execution.
    Expire,
    /// Nothing until something changes, or until then.
    Wait(Option<Timestamp>),
}

impl Step {
    /// One word for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SetOwner => "set_owner",
            Self::DryRun => "dry_run",
            Self::Create => "create",
            Self::Record(_) => "record",
            Self::Release(_) => "release",
            Self::Look => "look",
            Self::RecordHalt(_) => "record_halt",
            Self::Stop(..) => "stop",
            Self::Discard(_) => "discard",
            Self::RestoreHeldBack(_) => "restore_held_back",
            Self::Finish(_) => "finish",
            Self::Report(_) => "report",
            Self::Expire => "expire",
            Self::Wait(_) => "wait",
        }
    }
}

/// An outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// What the child itself came to.
    Observed(Observation),
    /// The child came to an end, was glimpsed so, and then vanished with all details.
    Glimpsed {
        /// With success.
        succeeded: bool,
    },
    /// The server would accept the child.
    DryRunSucceeded,
    /// It was stopped.
    Halted(Halt),
    /// The child vanished before its result was known.
    Lost,
    /// The child's name belongs to somebody else.
    NameTaken,
    /// It cannot be run.
    Refused(Refusal),
}

/// What the status tells of an execution that has not finished.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Held back by `spec.suspend`.
    Suspended,
    /// The child's name is not free yet.
    NameInUse,
    /// Something was refused, and is tried again.
    Refused(Refusal),
    /// The work is under way, or waits; see the observation.
    Progress(Observation),
    /// The status speaks of the present generation, and nothing else changed.
    Observed,
}

/// What to do next.
pub fn decide(state: &State, seen: &Seen, now: Timestamp) -> Step {
    match &state.stage {
        Stage::New => decide_new(state, seen, now),
        Stage::Started { child, deadline, halt } => {
            let halt_due = if state.cancel || state.deleting {
                Some(Halt::Cancelled)
            } else if deadline.is_some_and(|deadline| deadline <= now) {
                Some(Halt::TimedOut)
            } else {
                None
            };
            decide_started(child, *deadline, *halt, halt_due, seen, now)
        }
        Stage::Finished { child, expires, outdated } => {
            decide_finished(child.as_ref(), *expires, *outdated, state.deleting, seen, now)
        }
    }
}

fn decide_new(state: &State, seen: &Seen, now: Timestamp) -> Step {
    // Whatever was created and not recorded never ran; a change of mind just removes it.
    if let Seen::Child(child) = seen
        && (!child.current || state.cancel || state.deleting || state.suspend)
    {
        return Step::Discard(child.uid.clone());
    }
    if state.deleting {
        return Step::Wait(None);
    }
    if state.cancel {
        return Step::Finish(Ending::Halted(Halt::Cancelled));
    }
    if let Some(refusal) = &state.refusal {
        return refused(refusal, now);
    }
    if state.suspend {
        return Step::Report(Report::Suspended);
    }
    match seen {
        Seen::Refused(refusal) => refused(refusal, now),
        Seen::Foreign => Step::Finish(Ending::NameTaken),
        Seen::Leaving => Step::Report(Report::NameInUse),
        Seen::DryRun => Step::Finish(Ending::DryRunSucceeded),
        Seen::Child(child) => Step::Record(child.uid.clone()),
        Seen::Unknown | Seen::Absent { .. } if state.owner_missing => Step::SetOwner,
        Seen::Unknown | Seen::Absent { .. } if state.dry_run => Step::DryRun,
        Seen::Unknown | Seen::Absent { .. } => Step::Create,
    }
}

fn refused(refusal: &Refusal, now: Timestamp) -> Step {
    match refusal.patience {
        Patience::None => Step::Finish(Ending::Refused(refusal.clone())),
        Patience::Until(end) if end <= now => Step::Finish(Ending::Refused(refusal.clone())),
        Patience::Until(_) | Patience::Endless => Step::Report(Report::Refused(refusal.clone())),
    }
}

fn decide_started(
    recorded: &Uid,
    deadline: Option<Timestamp>,
    halt: Option<Halt>,
    halt_due: Option<Halt>,
    seen: &Seen,
    now: Timestamp,
) -> Step {
    match seen {
        Seen::Child(child) if child.uid == *recorded => decide_followed(child, deadline, halt, halt_due, now),
        // A child of ours that is not the recorded one: made by a controller that lost the race to record.
        Seen::Child(child) => Step::Discard(child.uid.clone()),
        Seen::Absent { .. } | Seen::Foreign | Seen::Leaving => Step::Finish(gone(seen, halt)),
        Seen::Unknown => Step::Look,
        Seen::Refused(refusal) => match refusal.patience {
            // The child can be neither released nor stopped, for good: tell it, and do not forget the child.
            Patience::None | Patience::Until(_) | Patience::Endless => {
                Step::Report(Report::Refused(refusal.clone()))
            }
        },
        Seen::DryRun => Step::Wait(deadline),
    }
}

/// The outcome when the recorded child is no longer there.
fn gone(seen: &Seen, halt: Option<Halt>) -> Ending {
    match (seen, halt) {
        (Seen::Absent { ended: Some(true) }, _) => Ending::Glimpsed { succeeded: true },
        (_, Some(halt)) => Ending::Halted(halt),
        (Seen::Absent { ended: Some(false) }, None) => Ending::Glimpsed { succeeded: false },
        (_, None) => Ending::Lost,
    }
}

fn decide_followed(
    child: &Child,
    deadline: Option<Timestamp>,
    halt: Option<Halt>,
    halt_due: Option<Halt>,
    now: Timestamp,
) -> Step {
    match (&child.observation, halt) {
        (Some(done @ Observation::Succeeded { .. }), _) | (Some(done @ Observation::Failed { .. }), None) => {
            return Step::Finish(Ending::Observed(done.clone()));
        }
        (Some(Observation::Failed { .. }), Some(halt)) => return Step::Finish(Ending::Halted(halt)),
        (Some(Observation::Underway { .. } | Observation::Waiting { .. }) | None, _) => {}
    }
    match child.glance {
        Glance::Ended { .. } if child.observation.is_none() => return Step::Look,
        Glance::Ended { .. } | Glance::Underway | Glance::Doubtful => {}
    }
    if let Some(halt) = halt {
        return decide_halted(child, halt, deadline, now);
    }
    if let Some(halt) = halt_due {
        return Step::RecordHalt(halt);
    }
    if !child.released || child.unheard {
        return Step::Release(child.uid.clone());
    }
    match &child.observation {
        Some(Observation::Waiting { reason, .. }) if child.grace_ends.is_some_and(|end| end <= now) => {
            Step::RecordHalt(Halt::CannotStart(*reason))
        }
        Some(seen) => Step::Report(Report::Progress(seen.clone())),
        None if child.look_due => Step::Look,
        None => Step::Wait(deadline),
    }
}

fn decide_halted(child: &Child, halt: Halt, deadline: Option<Timestamp>, now: Timestamp) -> Step {
    if !child.released {
        return Step::Discard(child.uid.clone());
    }
    // The clean-up that a cancel leaves time for ends with the deadline.
    let (how, next) = match deadline {
        Some(deadline) if deadline <= now => (Stop::Terminate, None),
        Some(_) | None => (halt.stop(), deadline),
    };
    // One that goes on though it was asked to stop is asked again: its own controller may have missed that.
    if child.stopped < Some(how) || child.observation.is_some() {
        return Step::Stop(child.uid.clone(), how);
    }
    if child.look_due { Step::Look } else { Step::Wait(next) }
}

fn decide_finished(
    recorded: Option<&Uid>,
    expires: Option<Timestamp>,
    outdated: bool,
    deleting: bool,
    seen: &Seen,
    now: Timestamp,
) -> Step {
    if let Seen::Child(child) = seen {
        if recorded != Some(&child.uid) {
            // Left over from a lost race, or from a cancel between create and record. It never ran.
            return Step::Discard(child.uid.clone());
        }
        if child.held_back {
            return Step::RestoreHeldBack(child.uid.clone());
        }
    }
    if deleting {
        return Step::Wait(None);
    }
    if expires.is_some_and(|expires| expires <= now) {
        return Step::Expire;
    }
    if outdated {
        return Step::Report(Report::Observed);
    }
    Step::Wait(expires)
}

#[cfg(test)]
#[path = "decide_model/mod.rs"]
mod model;

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
