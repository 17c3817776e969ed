//! Carrying out one step of the decision: one effect, and what it showed. All I/O of a pass goes through here.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::{core::params::Preconditions, runtime::controller::Action};
use serde_json::{Value, json};

use super::{
    admit::Plan,
    api::CallError,
    child::{self, Entry},
    decide::{Ending, Halt, Patience, Refusal, Report, Seen, Step, Uid},
    error::{self, Attempt, Error},
    execution::Execution,
    impersonate::Identity,
    memory::later,
    metrics::{OutcomeLabels, StepLabel},
    reconcile::{Next, Pass, jitter},
    render, status,
};
use crate::{
    crd::{ResourceRef, RunnerExecutionStatus},
    reason::Reason,
    runners::{Evidence, Glance, Observation},
};

/// After so many failures in a row the status tells of them.
const TELL_AFTER: u32 = 3;

/// What became of a status write.
enum Written {
    /// It is stored, or there was nothing to change.
    Done,
    /// The execution had changed; this pass now holds it as it is.
    Conflict,
    /// The execution is gone.
    Gone,
}

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
                    return Ok(Next::Rest(Action::await_change()));
                };
                self.act(step, seen, &plan).await
            }
        }
    }

    /// The steps that concern a child.
    async fn act(&mut self, step: Step, seen: Seen, plan: &Plan) -> Result<Next, Error> {
        match step {
            Step::SetOwner => self.set_owner(plan).await,
            Step::DryRun => self.dry_run(plan).await,
            Step::Create => self.create(plan).await,
            Step::Record(uid) => self.record(uid, plan).await,
            Step::Release(uid) => {
                let patch = child::release_patch(&uid);
                self.patch_child(plan, "release the child", &patch, |entry| entry.released = true).await
            }
            Step::Look => self.look(plan).await,
            Step::RecordHalt(halt) => self.record_halt(halt, &seen).await,
            Step::Stop(uid, how) => {
                let halt = status::recorded_halt(&self.execution.status).unwrap_or(Halt::Cancelled);
                let patch = child::stop_patch(&uid, halt, plan.runner.stop(how));
                self.patch_child(plan, "stop the child", &patch, |entry| entry.stopped = true).await
            }
            Step::Discard(uid) => self.discard(plan, uid).await,
            Step::RestoreHeldBack(uid) => self.restore(plan, &uid).await,
            Step::Wait(_) | Step::Report(_) | Step::Finish(_) | Step::Expire => Ok(Next::Again(seen)),
        }
    }

    async fn create(&mut self, plan: &Plan) -> Result<Next, Error> {
        let manifest =
            match render::manifest(&self.cx.api, &self.execution, plan, self.patience_ends()).await? {
                Ok(manifest) => manifest,
                Err(refusal) => return Ok(Next::Again(Seen::Refused(refusal))),
            };
        let kind = plan.runner.child();
        let execution = Arc::clone(&self.execution);
        match self.cx.api.create(&kind, identity(&execution, plan), execution.namespace(), &manifest).await {
            Ok(meta) => {
                Ok(Next::Again(self.take_child(&meta, &Value::Null, plan).map_or(Seen::Foreign, Seen::Child)))
            }
            Err(error) if error.code() == Some(409) => self.who_has_the_name(plan).await,
            Err(error) => self.refused(error, "create", "create the child", plan).await,
        }
    }

    /// Finds out whose the object is that has our child's name.
    async fn who_has_the_name(&mut self, plan: &Plan) -> Result<Next, Error> {
        let doing = "read the object that has the child's name";
        let kind = plan.runner.child();
        let (namespace, name) =
            (self.execution.namespace().to_owned(), self.execution.child_name().to_owned());
        let found = self
            .cx
            .api
            .get(&kind, Identity::Controller, Some(&namespace), &name)
            .await
            .map_err(|source| Error::Call { doing, source })?;
        let Some(object) = found else { return Ok(Next::Again(Seen::Absent { ended: None })) };
        if child::is_leaving(&object) {
            return Ok(Next::Again(Seen::Leaving));
        }
        let entry = Entry::read_whole(&object, &kind.plural, &self.cx.registry);
        if let Some(entry) = entry.filter(|e| e.execution_uid == self.execution.uid()) {
            let seen = entry.seen(&self.execution);
            self.entry = Some(entry);
            return Ok(Next::Again(Seen::Child(seen)));
        }
        // Of an execution that is gone: the garbage collector is about to remove it.
        if let Some((owner, uid)) = child::controlling_execution(&object) {
            let owner = self
                .cx
                .api
                .execution(&namespace, owner, uid)
                .await
                .map_err(|source| Error::Call { doing, source })?;
            if owner.is_none() {
                return Ok(Next::Again(Seen::Leaving));
            }
        }
        Ok(Next::Again(Seen::Foreign))
    }

    async fn dry_run(&mut self, plan: &Plan) -> Result<Next, Error> {
        let manifest =
            match render::manifest(&self.cx.api, &self.execution, plan, self.patience_ends()).await? {
                Ok(manifest) => manifest,
                Err(refusal) => return Ok(Next::Again(Seen::Refused(refusal))),
            };
        let result = self
            .cx
            .api
            .dry_run(
                &plan.runner.child(),
                identity(&self.execution, plan),
                self.execution.namespace(),
                &manifest,
            )
            .await;
        match result {
            Ok(mut stored) => {
                if let Some(metadata) = stored.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("managedFields");
                }
                self.rendered = Some(stored);
                Ok(Next::Again(Seen::DryRun))
            }
            Err(error) if error.code() == Some(409) => self.who_has_the_name(plan).await,
            Err(error) => self.refused(error, "create", "dry-run the child", plan).await,
        }
    }

    async fn record(&mut self, uid: Uid, plan: &Plan) -> Result<Next, Error> {
        let kind = plan.runner.child();
        let child = ResourceRef {
            api_version: kind.api_version,
            kind: kind.kind,
            namespace: self.execution.namespace().into(),
            name: self.execution.child_name().into(),
            uid,
        };
        let new = status::started(&self.execution, child, plan.timeout, Timestamp::now());
        match self.write(new).await? {
            // After a conflict the decision is made anew on the execution as it is now: if another child is
            // recorded there, ours is discarded.
            Written::Done | Written::Conflict => Ok(self.again()),
            Written::Gone => Ok(Next::Rest(Action::await_change())),
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
            Written::Gone => Ok(Next::Rest(Action::await_change())),
        }
    }

    /// Reads the child in full, and what explains it.
    async fn look(&mut self, plan: &Plan) -> Result<Next, Error> {
        let doing = "read the child";
        let call = |source| Error::Call { doing, source };
        let kind = plan.runner.child();
        let namespace = self.execution.namespace().to_owned();
        let found = self
            .cx
            .api
            .get(&kind, Identity::Controller, Some(&namespace), self.execution.child_name())
            .await
            .map_err(call)?;
        let Some(object) = found else {
            let recorded = self.execution.recorded_child().map(|c| c.uid.as_str());
            let glimpsed = self.entry.as_ref().filter(|entry| Some(entry.uid.as_str()) == recorded);
            let ended = glimpsed.and_then(|entry| match entry.glance {
                Glance::Ended { succeeded } => Some(succeeded),
                Glance::Underway | Glance::Doubtful => None,
            });
            return Ok(Next::Again(Seen::Absent { ended }));
        };
        let entry = Entry::read_whole(&object, &kind.plural, &self.cx.registry)
            .filter(|e| e.execution_uid == self.execution.uid());
        let Some(entry) = entry else { return Ok(Next::Again(Seen::Foreign)) };
        let mut evidence = Evidence { child: object, ..Evidence::default() };
        let succeeded = entry.glance == Glance::Ended { succeeded: true };
        if plan.runner.wants_pods() && entry.released && !succeeded {
            evidence.pods = self.cx.api.pods(&namespace, &entry.uid).await.map_err(call)?;
            if evidence.pods.is_empty() {
                evidence.events = self.cx.api.events(&namespace, &entry.uid).await.map_err(call)?;
            }
        }
        Ok(Next::Again(self.interpret(entry, &evidence, plan)))
    }

    fn interpret(&mut self, entry: Entry, evidence: &Evidence, plan: &Plan) -> Seen {
        let now = Timestamp::now();
        let observation = plan.runner.interpret(evidence);
        let told = match &observation {
            Observation::Waiting { since, .. } => Some(since.as_ref().map(|t| t.0)),
            Observation::Underway { .. } | Observation::Succeeded { .. } | Observation::Failed { .. } => None,
        };
        let over = matches!(observation, Observation::Succeeded { .. } | Observation::Failed { .. });
        let mut child = entry.seen(&self.execution);
        let uid = self.execution.uid();
        self.cx.memory.looked(uid, entry.glance, told.is_some(), now);
        child.grace_ends =
            told.map(|since| later(self.cx.memory.waiting_since(uid, since, now), self.cx.start_grace));
        let leaving = entry.deleting && !over;
        child.observation = Some(observation);
        self.entry = Some(entry);
        if leaving { Seen::Leaving } else { Seen::Child(child) }
    }

    /// Patches the child, which the patch names by uid; `then` is the effect on what is known of it.
    async fn patch_child(
        &mut self,
        plan: &Plan,
        doing: &'static str,
        patch: &Value,
        then: impl FnOnce(&mut Entry),
    ) -> Result<Next, Error> {
        let execution = Arc::clone(&self.execution);
        let result = self
            .cx
            .api
            .patch(
                &plan.runner.child(),
                identity(&execution, plan),
                execution.namespace(),
                execution.child_name(),
                patch,
            )
            .await;
        match result {
            Ok(meta) => {
                let glance = self.entry.as_ref().map(|e| e.glance);
                if let Some(entry) =
                    Entry::read(&meta, &Value::Null, &plan.runner.child().plural, &self.cx.registry)
                {
                    self.entry = Some(Entry { glance: glance.unwrap_or(entry.glance), ..entry });
                }
                if let Some(entry) = &mut self.entry {
                    then(entry);
                    self.cx.memory.wrote_child(execution.uid(), entry);
                }
                Ok(self.again())
            }
            Err(error) if error.code() == Some(404) => Ok(Next::Again(Seen::Absent { ended: None })),
            // Another uid by that name, or changed meanwhile: look again.
            Err(error) if matches!(error.code(), Some(409 | 422)) && is_another_object(&error) => {
                Ok(Next::Again(Seen::Unknown))
            }
            Err(error) => self.refused(error, "patch", doing, plan).await,
        }
    }

    /// Deletes a child that never ran.
    async fn discard(&mut self, plan: &Plan, uid: Uid) -> Result<Next, Error> {
        let version = self
            .entry
            .as_ref()
            .filter(|e| e.uid == uid)
            .map(|e| e.resource_version.clone())
            .filter(|v| !v.is_empty());
        let only = Preconditions { uid: Some(uid), resource_version: version };
        let execution = Arc::clone(&self.execution);
        let result = self
            .cx
            .api
            .delete(
                &plan.runner.child(),
                identity(&execution, plan),
                execution.namespace(),
                execution.child_name(),
                only,
            )
            .await;
        self.entry = None;
        match result {
            Ok(()) => Ok(Next::Again(Seen::Absent { ended: None })),
            Err(error) if error.code() == Some(409) => Ok(Next::Again(Seen::Unknown)),
            Err(error) => self.refused(error, "delete", "delete the child that never ran", plan).await,
        }
    }

    async fn restore(&mut self, plan: &Plan, uid: &str) -> Result<Next, Error> {
        let execution = Arc::clone(&self.execution);
        let found = self
            .cx
            .api
            .get(
                &plan.runner.child(),
                Identity::Controller,
                Some(execution.namespace()),
                execution.child_name(),
            )
            .await;
        let Some(object) = found.map_err(|source| Error::Call { doing: "read the child", source })? else {
            return Ok(Next::Again(Seen::Absent { ended: None }));
        };
        let patch = child::restore_patch(uid, &object);
        self.patch_child(plan, "apply what was held back of the child", &patch, |entry| {
            entry.held_back = false
        })
        .await
    }

    async fn set_owner(&mut self, plan: &Plan) -> Result<Next, Error> {
        let execution = Arc::clone(&self.execution);
        let Some(owner) = execution.spec.as_ref().ok().and_then(|s| s.context.platform.owner_ref.as_ref())
        else {
            return Ok(Next::Again(Seen::Unknown));
        };
        let found = match self.cx.api.owner(identity(&execution, plan), execution.namespace(), owner).await {
            Ok(found) => found,
            Err(error) if error.code() == Some(403) => {
                return Ok(Next::Again(Seen::Refused(Refusal {
                    reason: Reason::Forbidden,
                    message: format!(
                        "ServiceAccount {} may not get the {} that spec.context.platform.ownerRef names; grant it that, or leave ownerRef out.",
                        plan.service_account, owner.kind
                    ),
                    patience: Patience::Until(self.patience_ends()),
                })));
            }
            Err(source) => return Err(Error::Call { doing: "read the owner", source }),
        };
        let uid = found.as_ref().and_then(|o| o.pointer("/metadata/uid")).and_then(Value::as_str);
        if uid != Some(owner.uid.as_str()) {
            let what = if uid.is_some() {
                "has another uid"
            } else {
                "does not exist in this namespace or cluster-wide"
            };
            return Ok(Next::Again(Seen::Refused(Refusal {
                reason: Reason::OwnerNotFound,
                message: format!("spec.context.platform.ownerRef: {} {} {what}.", owner.kind, owner.name),
                patience: Patience::None,
            })));
        }
        let mut owners = execution.metadata.owner_references.clone().unwrap_or_default();
        owners.push(OwnerReference {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            controller: owner.controller,
            block_owner_deletion: owner.block_owner_deletion,
        });
        match self.cx.api.set_owners(&execution, &json!(owners)).await {
            Ok(meta) => {
                self.update(|execution| execution.metadata.owner_references = Some(owners), &meta);
                Ok(Next::Again(Seen::Unknown))
            }
            Err(error) if error.code() == Some(409) => Ok(self
                .refresh()
                .await?
                .map_or(Next::Rest(Action::await_change()), |()| Next::Again(Seen::Unknown))),
            Err(source) => Err(Error::Call { doing: "set the owner", source }),
        }
    }

    async fn finish(&mut self, ending: Ending) -> Result<Next, Error> {
        let new = status::finished(&self.execution, ending, self.rendered.take(), Timestamp::now());
        let reason = new.reason.map_or("", Reason::as_str);
        match self.write(new).await? {
            Written::Done => {
                let runner = self.plan.as_ref().map_or("unknown", |plan| plan.runner.name());
                tracing::info!(reason, "finished");
                self.cx.metrics.finished.get_or_create(&OutcomeLabels { runner, reason }).inc();
                self.cx.memory.settle(self.execution.uid());
                Ok(self.again())
            }
            Written::Conflict => Ok(Next::Again(Seen::Unknown)),
            Written::Gone => Ok(Next::Rest(Action::await_change())),
        }
    }

    async fn report(&mut self, report: Report, seen: Seen) -> Result<Next, Error> {
        let new = status::reported(&self.execution, &report, Timestamp::now());
        match self.write(new).await? {
            Written::Done => {}
            Written::Conflict => return Ok(Next::Again(Seen::Unknown)),
            Written::Gone => return Ok(Next::Rest(Action::await_change())),
        }
        Ok(match report {
            Report::Suspended => Next::Rest(Action::await_change()),
            Report::NameInUse => Next::Rest(self.retry(None)),
            Report::Refused(Refusal { reason: Reason::RunnerNotFound, .. }) => {
                Next::Rest(Action::await_change())
            }
            Report::Refused(Refusal { patience, .. }) => Next::Rest(self.retry(Some(patience))),
            Report::Observed => Next::Rest(self.rest_action(self.execution.expires())),
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
                let deadline = self.execution.status.deadline.as_ref().map(|d| d.0);
                self.rest(grace_ends.into_iter().chain(deadline).min())
            }
        })
    }

    async fn expire(&mut self) -> Result<Next, Error> {
        match self.cx.api.delete_execution(&self.execution).await {
            Ok(()) => {
                tracing::info!("deleted: its ttlSecondsAfterFinished has passed");
                Ok(Next::Rest(Action::await_change()))
            }
            Err(error) if error.code() == Some(409) => Ok(self
                .refresh()
                .await?
                .map_or(Next::Rest(Action::await_change()), |()| Next::Again(Seen::Unknown))),
            Err(source) => Err(Error::Call { doing: "delete the expired execution", source }),
        }
    }

    /// A refused call: what it means, or the error if it only says to try again.
    async fn refused(
        &mut self,
        error: CallError,
        verb: &'static str,
        doing: &'static str,
        plan: &Plan,
    ) -> Result<Next, Error> {
        let (namespace, account) = (self.execution.namespace().to_owned(), plan.service_account.clone());
        let kind = plan.runner.child();
        let attempt = Attempt {
            verb,
            kind: &kind,
            service_account: &account,
            namespace: &namespace,
            patience_ends: self.patience_ends(),
        };
        let Some(mut refusal) = error::refusal(&error, attempt) else {
            return self.tell_of_failure(error, doing);
        };
        let has_secrets = self.execution.spec.as_ref().is_ok_and(|s| !s.args_from.is_empty());
        if has_secrets && refusal.reason == Reason::Rejected {
            refusal.message = error::without_values(&error);
        }
        if refusal.reason == Reason::Forbidden
            && !self.cx.api.service_account_exists(&namespace, &account).await.unwrap_or(true)
        {
            refusal.reason = Reason::ServiceAccountNotFound;
            refusal.message = format!(
                "ServiceAccount {account} does not exist in namespace {namespace}; create it, with the right to create, patch and delete {}.{}.",
                kind.plural, kind.group
            );
        }
        Ok(Next::Again(Seen::Refused(refusal)))
    }

    /// Failures in a row are told in the status of an execution that has not started.
    fn tell_of_failure(&self, error: CallError, doing: &'static str) -> Result<Next, Error> {
        let (failures, _) = self.cx.memory.failed(self.execution.uid(), jitter());
        if failures < TELL_AFTER || self.execution.recorded_child().is_some() {
            return Err(Error::Call { doing, source: error });
        }
        let message = format!("Cannot {doing}: {error}. It is tried again.");
        Ok(Next::Again(Seen::Refused(Refusal {
            reason: Reason::Retrying,
            message,
            patience: Patience::Endless,
        })))
    }

    /// Writes a status on exactly the version that was decided on; nothing is written where nothing changes.
    async fn write(&mut self, new: RunnerExecutionStatus) -> Result<Written, Error> {
        let Some(patch) = status::patch(&self.execution, &new) else { return Ok(Written::Done) };
        match self.cx.api.patch_status(&self.execution, &patch).await {
            Ok(meta) => {
                self.cx.events.tell(&self.execution, &new, Timestamp::now());
                self.update(|execution| execution.status = new, &meta);
                Ok(Written::Done)
            }
            Err(error) if error.code() == Some(404) => Ok(Written::Gone),
            Err(error) if error.code() == Some(409) => {
                Ok(self.refresh().await?.map_or(Written::Gone, |()| Written::Conflict))
            }
            Err(source) => {
                // An object stored past the schema may take no status at all; then an event tells of it, once.
                if source.code() == Some(422) && self.cx.memory.failures(self.execution.uid()) == 0 {
                    self.cx.events.tell(&self.execution, &new, Timestamp::now());
                }
                Err(Error::Call { doing: "write the status", source })
            }
        }
    }

    /// Takes over our own write, so that the next decision does not wait for the watch to show it.
    fn update(&mut self, change: impl FnOnce(&mut Execution), meta: &ObjectMeta) {
        let execution = Arc::make_mut(&mut self.execution);
        change(execution);
        execution.metadata.resource_version.clone_from(&meta.resource_version);
        execution.metadata.generation = meta.generation;
        self.cx.memory.wrote(&self.execution);
        self.cx.memory.succeeded(self.execution.uid());
    }

    /// Reads the execution as it is now; `None` if it is gone.
    async fn refresh(&mut self) -> Result<Option<()>, Error> {
        let (namespace, name, uid) =
            (self.execution.namespace(), self.execution.name(), self.execution.uid());
        let fresh = self
            .cx
            .api
            .execution(namespace, name, uid)
            .await
            .map_err(|source| Error::Call { doing: "read the execution", source })?;
        Ok(fresh.map(|fresh| {
            self.execution = Arc::new(fresh);
            self.plan = super::admit::admit(&self.execution, &self.cx.registry);
            self.cx.memory.wrote(&self.execution);
        }))
    }

    /// Keeps a child that this pass made.
    fn take_child(&mut self, meta: &ObjectMeta, status: &Value, plan: &Plan) -> Option<super::decide::Child> {
        let entry = Entry::read(meta, status, &plan.runner.child().plural, &self.cx.registry)?;
        let seen = entry.seen(&self.execution);
        self.entry = Some(entry);
        Some(seen)
    }

    /// Decide again on the child as this pass knows it.
    fn again(&self) -> Next {
        Next::Again(
            self.entry.as_ref().map_or(Seen::Unknown, |entry| Seen::Child(entry.seen(&self.execution))),
        )
    }

    fn rest(&self, until: Option<Timestamp>) -> Next {
        let look = if self.execution.is_finished() || self.execution.recorded_child().is_none() {
            None
        } else {
            self.cx.memory.next_look(self.execution.uid())
        };
        Next::Rest(self.rest_action(until.into_iter().chain(look).min()))
    }

    fn rest_action(&self, until: Option<Timestamp>) -> Action {
        until.map_or_else(Action::await_change, |until| {
            let wait = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
            Action::requeue(wait.max(Duration::from_millis(10)))
        })
    }

    fn retry(&self, patience: Option<Patience>) -> Action {
        let (_, delay) = self.cx.memory.failed(self.execution.uid(), jitter());
        let left = match patience {
            Some(Patience::Until(end)) => {
                Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
            }
            Some(Patience::None | Patience::Endless) | None => delay,
        };
        let wait = delay.min(left).max(Duration::from_millis(10));
        self.cx.memory.retry_at(
            self.execution.uid(),
            self.execution.version(),
            later(Timestamp::now(), wait),
        );
        Action::requeue(wait)
    }

    fn patience_ends(&self) -> Timestamp {
        self.cx.memory.patience_ends(self.execution.uid(), Timestamp::now())
    }

    fn count(&self, step: &Step) {
        let name = match step {
            Step::SetOwner => "set_owner",
            Step::DryRun => "dry_run",
            Step::Create => "create",
            Step::Record(_) => "record",
            Step::Release(_) => "release",
            Step::Look => "look",
            Step::RecordHalt(_) => "record_halt",
            Step::Stop(..) => "stop",
            Step::Discard(_) => "discard",
            Step::RestoreHeldBack(_) => "restore_held_back",
            Step::Finish(_) => "finish",
            Step::Report(_) => "report",
            Step::Expire => "expire",
            Step::Wait(_) => return,
        };
        tracing::debug!(step = name, "taking a step");
        self.cx.metrics.steps.get_or_create(&StepLabel { step: name }).inc();
    }
}

/// The identity that a run's requests are made with.
pub(super) fn identity<'a>(execution: &'a Execution, plan: &'a Plan) -> Identity<'a> {
    Identity::ServiceAccount { namespace: execution.namespace(), name: &plan.service_account }
}

/// Whether a patch was refused since it names another uid or version than the object has.
fn is_another_object(error: &CallError) -> bool {
    match error {
        CallError::Status(status) => status.code == 409 || status.message.contains("metadata.uid"),
        CallError::Timeout | CallError::Transport(_) => false,
    }
}
