//! Carrying out one step of the decision: one effect, and what it showed. All I/O of a pass goes through here.
//!
//! [`child`] what is done to a child; [`input`] what its pods read; [`owner`] the check of the owner; [`write`] how a status gets written, and
//! what refused calls mean; [`rest`] when the next pass is due.

mod child;
mod input;
mod owner;
mod rest;
#[cfg(test)]
mod tests;
mod write;

use k8s_openapi::jiff::Timestamp;

use self::{rest::wait_until, write::Written};
use super::{
    admit::Plan,
    child::{release_patch, stop_patch},
    courtesy::{self, Leave},
    decide::{Ending, Halt, Patience, Refusal, Report, Seen, Step, Uid},
    error::Error,
    execution::Execution,
    impersonate::Identity,
    metrics::{OutcomeLabels, StepLabel},
    reconcile::{Next, Pass},
    status,
};
use crate::{crd::ResourceRef, reason::Reason, runners::Observation};

impl Pass<'_> {
    /// Carries out one step; `seen` is what it was decided on.
    pub(super) async fn take(&mut self, step: Step, seen: Seen) -> Result<Next, Error> {
        self.count(&step);
        match step {
            Step::Wait(until) => Ok(self.rest(until)),
            Step::Report(report) => self.report(report, seen).await,
            Step::Finish(ending) => self.finish(ending).await,
            Step::Expire => self.expire().await,
            Step::SetOwner
            | Step::DryRun
            | Step::Create
            | Step::Record(_)
            | Step::Release(_)
            | Step::Look
            | Step::RecordHalt(_)
            | Step::Stop(..)
            | Step::Discard(_)
            | Step::RestoreHeldBack(_) => {
                let Ok(plan) = self.plan.clone() else {
                    // Started by a controller that served this runner, which this one does not.
                    return Ok(Next::Rest(None));
                };
                // These are done anew in each pass until what they showed is recorded.
                let lasting = !matches!(step, Step::Create | Step::DryRun | Step::Look);
                let next = self.act(step, seen, &plan).await;
                if let Ok(Next::Again(seen)) = &next
                    && lasting
                    && !matches!(seen, Seen::Refused(_) | Seen::Leaving)
                {
                    self.cx.memory.succeeded(self.execution.key());
                }
                next
            }
        }
    }

    /// The steps that concern a child.
    async fn act(&mut self, step: Step, seen: Seen, plan: &Plan) -> Result<Next, Error> {
        match step {
            // Whether a bulky one gets that far is open.
            Step::Create if courtesy::is_bulky(self.execution.bulk) => {}
            Step::Create | Step::Record(_) | Step::Release(_) => self.cx.courtesy.starting(Timestamp::now()),
            Step::SetOwner
            | Step::DryRun
            | Step::Look
            | Step::RecordHalt(_)
            | Step::Stop(..)
            | Step::Discard(_)
            | Step::RestoreHeldBack(_)
            | Step::Wait(_)
            | Step::Report(_)
            | Step::Finish(_)
            | Step::Expire => {}
        }
        match step {
            Step::SetOwner => self.set_owner(plan).await,
            Step::DryRun => self.dry_run(plan).await,
            Step::Create => self.create(plan).await,
            Step::Record(uid) => self.record(uid, plan).await,
            Step::Release(uid) => {
                let patch = release_patch(&uid, Timestamp::now());
                self.patch_child(plan, "release the child", &patch, |entry| entry.released = true).await
            }
            Step::Look => self.look(plan).await,
            Step::RecordHalt(halt) => self.record_halt(halt, &seen).await,
            Step::Stop(uid, how) => {
                let patch = stop_patch(&uid, how, plan.runner.stop(how), Timestamp::now());
                self.patch_child(plan, "stop the child", &patch, |entry| entry.stopped = Some(how)).await
            }
            Step::Discard(uid) => self.discard(plan, uid).await,
            Step::RestoreHeldBack(uid) => self.restore(plan, &uid).await,
            Step::Wait(_) | Step::Report(_) | Step::Finish(_) | Step::Expire => Ok(Next::Again(seen)),
        }
    }

    async fn record(&mut self, uid: Uid, plan: &Plan) -> Result<Next, Error> {
        let child = ResourceRef {
            api_version: plan.kind.api_version.clone(),
            kind: plan.kind.kind.clone(),
            namespace: self.execution.namespace().into(),
            name: self.execution.child_name().into(),
            uid,
        };
        let new = status::started(&self.execution, child, plan.timeout, Timestamp::now());
        match self.write(new).await? {
            // After a conflict the decision is made anew on the execution as it is now: if another child is
            // recorded there, ours is discarded.
            Written::Done | Written::Conflict => Ok(self.again()),
            Written::Gone => Ok(Next::Rest(None)),
        }
    }

    async fn record_halt(&mut self, halt: Halt, seen: &Seen) -> Result<Next, Error> {
        let why = match seen {
            Seen::Child(child) => match &child.observation {
                Some(Observation::Waiting { message, .. }) => Some(message.as_str()),
                Some(
                    Observation::Underway { .. } | Observation::Succeeded { .. } | Observation::Failed { .. },
                )
                | None => None,
            },
            Seen::Unknown
            | Seen::Refused(_)
            | Seen::DryRun
            | Seen::Absent { .. }
            | Seen::Foreign
            | Seen::Leaving => None,
        };
        let new = status::halting(&self.execution, halt, why, Timestamp::now());
        match self.write(new).await? {
            Written::Done | Written::Conflict => Ok(self.again()),
            Written::Gone => Ok(Next::Rest(None)),
        }
    }

    async fn finish(&mut self, ending: Ending) -> Result<Next, Error> {
        let _leave = match &ending {
            Ending::Refused(refusal) => match self.leave_to_refuse(refusal) {
                Leave::Now(leave) => leave,
                Leave::Later(wait) => return Ok(Next::Rest(Some(wait))),
            },
            Ending::Observed(_)
            | Ending::Glimpsed { .. }
            | Ending::DryRunSucceeded
            | Ending::Halted(_)
            | Ending::Lost
            | Ending::NameTaken => None,
        };
        let new = status::finished(&self.execution, ending, self.rendered.take(), Timestamp::now());
        let reason = new.reason.map_or("", Reason::as_str);
        match self.write(new).await? {
            Written::Done => {
                let runner = self.plan.as_ref().map_or("unknown", |plan| plan.runner.name());
                tracing::info!(reason, "finished");
                self.cx.metrics.finished.get_or_create(&OutcomeLabels { runner, reason }).inc();
                self.cx.memory.settle(self.execution.key());
                Ok(self.again())
            }
            Written::Conflict => Ok(Next::Again(Seen::Unknown)),
            Written::Gone => Ok(Next::Rest(None)),
        }
    }

    async fn report(&mut self, report: Report, seen: Seen) -> Result<Next, Error> {
        let new = status::reported(&self.execution, &report, Timestamp::now());
        match self.write(new).await? {
            Written::Done => {}
            Written::Conflict => return Ok(Next::Again(Seen::Unknown)),
            Written::Gone => return Ok(Next::Rest(None)),
        }
        Ok(match report {
            Report::Suspended | Report::Refused(Refusal { reason: Reason::RunnerNotFound, .. }) => {
                Next::Rest(None)
            }
            Report::NameInUse => Next::Rest(Some(self.retry(None))),
            Report::Refused(Refusal { patience, .. }) => {
                if matches!(patience, Patience::Until(_)) {
                    self.cx.memory.refused(self.execution.key(), Timestamp::now());
                }
                Next::Rest(Some(self.retry(Some(patience))))
            }
            Report::Observed => Next::Rest(self.execution.expires().map(wait_until)),
            Report::Progress(_) => {
                let grace_ends = match &seen {
                    Seen::Child(child) => child.grace_ends,
                    Seen::Unknown
                    | Seen::Refused(_)
                    | Seen::DryRun
                    | Seen::Absent { .. }
                    | Seen::Foreign
                    | Seen::Leaving => None,
                };
                self.rest(grace_ends.into_iter().chain(self.execution.deadline()).min())
            }
        })
    }

    async fn expire(&mut self) -> Result<Next, Error> {
        match self.cx.api.delete_execution(&self.execution).await {
            Ok(()) => {
                tracing::info!("deleted: its ttlSecondsAfterFinished has passed");
                Ok(Next::Rest(None))
            }
            Err(error) if error.code() == Some(409) => {
                Ok(self.refresh().await?.map_or(Next::Rest(None), |()| Next::Again(Seen::Unknown)))
            }
            Err(source) => Err(Error::Call { doing: "delete the expired execution", source }),
        }
    }

    fn count(&self, step: &Step) {
        if !matches!(step, Step::Wait(_)) {
            tracing::debug!(step = step.name(), "taking a step");
            self.cx.metrics.steps.get_or_create(&StepLabel { step: step.name() }).inc();
        }
    }
}

/// The identity that a run's requests are made with.
pub(super) fn identity<'a>(execution: &'a Execution, plan: &'a Plan) -> Identity<'a> {
    Identity::ServiceAccount { namespace: execution.namespace(), name: &plan.service_account }
}
