//! What is done to a child: create it, read it, release and stop it, remove one that never ran.

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::core::params::Preconditions;
use serde_json::Value;

use super::identity;
use crate::{
    controller::{
        admit::Plan,
        api::CallError,
        child::{self, Entry},
        decide::{Child, Seen, Uid},
        error::Error,
        impersonate::Identity,
        looks::Waiting,
        memory::later,
        reconcile::{Next, Pass},
        render,
    },
    runners::{Evidence, Glance, Observation},
};

impl Pass<'_> {
    pub(super) async fn create(&mut self, plan: &Plan) -> Result<Next, Error> {
        let made = match render::manifests(&self.cx.api, &self.execution, plan, self.patience_ends()).await? {
            Ok(made) => made,
            Err(refusal) => return Ok(Next::Again(Seen::Refused(refusal))),
        };
        if let Some(input) = &made.input
            && let Some(next) = self.provide_input(plan, input).await?
        {
            return Ok(next);
        }
        let execution = Arc::clone(&self.execution);
        let identity = identity(&execution, plan);
        match self.cx.api.create(&plan.kind, identity, execution.namespace(), &made.child).await {
            Ok(meta) => {
                let seen = self.take_child(&meta, &Value::Null);
                if let Some(entry) = &self.entry {
                    self.cx.memory.wrote_child(execution.key(), entry);
                }
                Ok(Next::Again(seen.map_or(Seen::Foreign, Seen::Child)))
            }
            Err(error) if error.code() == Some(409) => self.who_has_the_name(plan).await,
            Err(error) => self.refused(error, "create", "create the child", plan).await,
        }
    }

    /// Keeps a child that this pass made.
    pub(super) fn take_child(&mut self, meta: &ObjectMeta, status: &Value) -> Option<Child> {
        let entry = Entry::read(meta, status, &self.cx.registry)?;
        let seen = entry.seen(&self.execution);
        self.entry = Some(entry);
        Some(seen)
    }

    /// Finds out whose the object is that has our child's name.
    pub(super) async fn who_has_the_name(&mut self, plan: &Plan) -> Result<Next, Error> {
        let doing = "read the object that has the child's name";
        let (namespace, name) =
            (self.execution.namespace().to_owned(), self.execution.child_name().to_owned());
        let found = self
            .cx
            .api
            .get(&plan.kind, Identity::Controller, Some(&namespace), &name)
            .await
            .map_err(|source| Error::Call { doing, source })?;
        let Some(object) = found else { return Ok(Next::Again(Seen::Absent { ended: None })) };
        if child::is_leaving(&object) {
            return Ok(Next::Again(Seen::Leaving));
        }
        let entry = Entry::read_whole(&object, &self.cx.registry);
        if let Some(entry) = entry.filter(|e| e.execution == self.execution.key()) {
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

    pub(super) async fn dry_run(&mut self, plan: &Plan) -> Result<Next, Error> {
        let made = match render::manifests(&self.cx.api, &self.execution, plan, self.patience_ends()).await? {
            Ok(made) => made,
            Err(refusal) => return Ok(Next::Again(Seen::Refused(refusal))),
        };
        let result = self
            .cx
            .api
            .dry_run(&plan.kind, identity(&self.execution, plan), self.execution.namespace(), &made.child)
            .await;
        match result {
            Ok(stored) => {
                self.rendered = Some(stored);
                Ok(Next::Again(Seen::DryRun))
            }
            Err(error) if error.code() == Some(409) => self.who_has_the_name(plan).await,
            Err(error) => self.refused(error, "create", "dry-run the child", plan).await,
        }
    }

    /// Reads the child in full, and what explains it.
    pub(super) async fn look(&mut self, plan: &Plan) -> Result<Next, Error> {
        // What has ended, or is not to be seen, is read at once: its outcome depends on it.
        let goes_on = self.entry.as_ref().is_some_and(|entry| !matches!(entry.glance, Glance::Ended { .. }));
        let _room = if goes_on {
            let now = Timestamp::now();
            let Some(room) = self.cx.memory.room_for_look(self.execution.key(), now) else {
                // One that is past has been acted upon.
                return Ok(self.rest(self.execution.deadline().filter(|deadline| *deadline > now)));
            };
            Some(room)
        } else {
            None
        };
        let doing = "read the child";
        let call = |source| Error::Call { doing, source };
        let namespace = self.execution.namespace().to_owned();
        let found = self
            .cx
            .api
            .get(&plan.kind, Identity::Controller, Some(&namespace), self.execution.child_name())
            .await
            .map_err(call)?;
        let Some(object) = found else {
            let recorded = self.execution.recorded_child().map(|c| c.uid.as_str());
            let glimpsed = self.entry.as_ref().filter(|entry| Some(&*entry.uid) == recorded);
            let ended = glimpsed.and_then(|entry| match entry.glance {
                Glance::Ended { succeeded } => Some(succeeded),
                Glance::Underway | Glance::Doubtful => None,
            });
            return Ok(Next::Again(Seen::Absent { ended }));
        };
        let entry =
            Entry::read_whole(&object, &self.cx.registry).filter(|e| e.execution == self.execution.key());
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

    pub(super) fn interpret(&mut self, entry: Entry, evidence: &Evidence, plan: &Plan) -> Seen {
        let now = Timestamp::now();
        let observation = plan.runner.interpret(evidence);
        let told = match &observation {
            Observation::Waiting { since, .. } => Some(since.as_ref().map(|t| t.0)),
            Observation::Underway { .. } | Observation::Succeeded { .. } | Observation::Failed { .. } => None,
        };
        let over = matches!(observation, Observation::Succeeded { .. } | Observation::Failed { .. });
        let mut child = entry.seen(&self.execution);
        let key = self.execution.key();
        let waits = told.map(|since| {
            let since = self.cx.memory.waiting_since(key, since, now);
            Waiting { since, ends: later(since, self.cx.start_grace) }
        });
        self.cx.memory.looked(key, entry.glance, waits, now);
        child.grace_ends = waits.map(|waits| waits.ends);
        child.unheard = child.released && plan.runner.is_unheard(evidence);
        let leaving = entry.deleting && !over;
        child.observation = Some(observation);
        self.entry = Some(entry);
        if leaving { Seen::Leaving } else { Seen::Child(child) }
    }

    /// Patches the child, which the patch names by uid; `then` is the effect on what is known of it.
    pub(super) async fn patch_child(
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
                &plan.kind,
                identity(&execution, plan),
                execution.namespace(),
                execution.child_name(),
                patch,
            )
            .await;
        match result {
            Ok(meta) => {
                let glance = self.entry.as_ref().map(|e| e.glance);
                if let Some(entry) = Entry::read(&meta, &Value::Null, &self.cx.registry) {
                    self.entry = Some(Entry { glance: glance.unwrap_or(entry.glance), ..entry });
                }
                if let Some(entry) = &mut self.entry {
                    then(entry);
                    self.cx.memory.wrote_child(execution.key(), entry);
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
    pub(super) async fn discard(&mut self, plan: &Plan, uid: Uid) -> Result<Next, Error> {
        let version = self
            .entry
            .as_ref()
            .filter(|e| *e.uid == *uid)
            .map(|e| e.version)
            .filter(|version| *version > 0)
            .map(|version| version.to_string());
        let only = Preconditions { uid: Some(uid), resource_version: version };
        let execution = Arc::clone(&self.execution);
        let result = self
            .cx
            .api
            .delete(
                &plan.kind,
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

    pub(super) async fn restore(&mut self, plan: &Plan, uid: &str) -> Result<Next, Error> {
        let execution = Arc::clone(&self.execution);
        let found = self
            .cx
            .api
            .get(&plan.kind, Identity::Controller, Some(execution.namespace()), execution.child_name())
            .await;
        let Some(object) = found.map_err(|source| Error::Call { doing: "read the child", source })? else {
            return Ok(Next::Again(Seen::Absent { ended: None }));
        };
        let patch = child::restore_patch(uid, &object);
        self.patch_child(plan, "apply what was held back of the child", &patch, |entry| {
            entry.held_back = false;
        })
        .await
    }
}

/// Whether a patch was refused since it names another uid or version than the object has.
fn is_another_object(error: &CallError) -> bool {
    match error {
        CallError::Status(status) => status.code == 409 || status.message.contains("metadata.uid"),
        CallError::Timeout | CallError::Transport(_) => false,
    }
}
