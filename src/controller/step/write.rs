//! How a status gets written, how our own writes are taken over, and what refused calls mean.

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::core::ApiResource;

use crate::{
    controller::{
        admit::{self, Plan},
        api::CallError,
        courtesy::{self, Leave},
        decide::{Patience, Refusal, Report, Seen},
        error::{self, Attempt, Error},
        execution::Execution,
        patch::patch,
        reconcile::{Next, Pass},
        status,
    },
    crd::RunnerExecutionStatus,
    reason::Reason,
};

/// After so many failures in a row the status tells of them.
const TELL_AFTER: u32 = 3;

/// What became of a status write.
pub(super) enum Written {
    /// It is stored, or there was nothing to change.
    Done,
    /// The execution had changed; this pass now holds it as it is.
    Conflict,
    /// The execution is gone.
    Gone,
}

impl<'a> Pass<'a> {
    /// Whether it may be written now that this execution is refused for good.
    pub(super) fn leave_to_refuse(&self, refusal: &Refusal) -> Leave<'a> {
        let (execution, cx) = (&self.execution, self.cx);
        if !courtesy::is_bulky(execution.bulk) {
            return Leave::Now(None);
        }
        let now = Timestamp::now();
        let since = cx.memory.put_off(execution.key(), execution.version(), refusal, now);
        let leave = cx.courtesy.leave(since, now);
        match leave {
            Leave::Now(_) => cx.memory.put_off_no_more(execution.key()),
            Leave::Later(_) => {}
        }
        leave
    }
}

impl Pass<'_> {
    /// A refused call about the child: what it means, or the error if it only says to try again.
    pub(super) async fn refused(
        &mut self,
        error: CallError,
        verb: &'static str,
        doing: &'static str,
        plan: &Plan,
    ) -> Result<Next, Error> {
        self.refused_of(&plan.kind, error, verb, doing, plan).await
    }

    /// The same about an object of another kind.
    pub(super) async fn refused_of(
        &mut self,
        kind: &ApiResource,
        error: CallError,
        verb: &'static str,
        doing: &'static str,
        plan: &Plan,
    ) -> Result<Next, Error> {
        let (namespace, account) = (self.execution.namespace().to_owned(), plan.service_account.clone());
        let attempt = Attempt {
            verb,
            kind,
            service_account: &account,
            namespace: &namespace,
            patience_ends: self.patience_ends(),
        };
        let Some(mut refusal) = error::refusal(&error, attempt) else {
            return self.tell_of_failure(error, doing);
        };
        if self.execution.has_secret_args() && error::may_repeat_values(&error) {
            refusal.message = error::without_values(&error);
        }
        if refusal.reason == Reason::Forbidden
            && !self.cx.api.service_account_exists(&namespace, &account).await.unwrap_or(true)
        {
            refusal.reason = Reason::ServiceAccountNotFound;
            refusal.message = format!(
                "ServiceAccount {account} does not exist in namespace {namespace}; create it, with the right to create, patch and delete {}.",
                error::resource(&plan.kind)
            );
        }
        Ok(Next::Again(Seen::Refused(refusal)))
    }

    /// Failures in a row are told in the status of an execution that has not started.
    pub(super) fn tell_of_failure(&self, error: CallError, doing: &'static str) -> Result<Next, Error> {
        let error = if self.execution.has_secret_args() { error::quiet(error) } else { error };
        let before = self.cx.memory.failures_before(self.execution.key(), error::failing(&error));
        let has_begun = self.execution.is_finished() || self.execution.recorded_child().is_some();
        if before + 1 < TELL_AFTER || has_begun {
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
    pub(super) async fn write(&mut self, new: RunnerExecutionStatus) -> Result<Written, Error> {
        let Some(patch) = patch(&self.execution, &new) else { return Ok(Written::Done) };
        match self.cx.api.patch_status(&self.execution, &patch).await {
            Ok(meta) => {
                self.cx.events.tell(&self.execution, &new, Timestamp::now());
                self.update(|execution| execution.set_status(new), &meta);
                Ok(Written::Done)
            }
            Err(error) if error.code() == Some(404) => Ok(Written::Gone),
            Err(error) if error.code() == Some(409) => {
                Ok(self.refresh().await?.map_or(Written::Gone, |()| Written::Conflict))
            }
            Err(source) => {
                self.tell_of_unwritten(&new, &source);
                Err(Error::Call { doing: "write the status", source })
            }
        }
    }

    /// What no status can tell, an event does, once: an object stored past the schema may take none at all, and one
    /// nearly as large as etcd allows has no room for it.
    fn tell_of_unwritten(&self, new: &RunnerExecutionStatus, error: &CallError) {
        let now = Timestamp::now();
        let before = self.cx.memory.failures_before(self.execution.key(), error::failing(error));
        match (error.code(), before) {
            (Some(422), 0) => self.cx.events.tell(&self.execution, new, now),
            (Some(code), TELL_AFTER) if code != 422 => {
                let message = format!("Cannot write the status: {error}. It is tried again.");
                let refusal = Refusal { reason: Reason::Retrying, message, patience: Patience::Endless };
                let told = status::reported(&self.execution, &Report::Refused(refusal), now);
                self.cx.events.tell(&self.execution, &told, now);
            }
            (Some(_) | None, _) => {}
        }
    }

    /// Takes over our own write, so that the next decision does not wait for the watch to show it.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut Execution), meta: &ObjectMeta) {
        let execution = Arc::make_mut(&mut self.execution);
        change(execution);
        execution.metadata.resource_version.clone_from(&meta.resource_version);
        execution.metadata.generation = meta.generation;
        self.cx.memory.wrote(&self.execution);
    }

    /// Reads the execution as it is now; `None` if it is gone.
    pub(super) async fn refresh(&mut self) -> Result<Option<()>, Error> {
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
            self.plan = admit::admit(&self.execution, &self.cx.registry);
            self.cx.memory.wrote(&self.execution);
        }))
    }
}
