//! Seeing to it that the Secret with a run's input is there before the child is.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::core::ApiResource;
use serde_json::Value;

use super::identity;
use crate::{
    controller::{
        admit::Plan,
        decide::{Patience, Refusal, Seen},
        error::Error,
        input,
        reconcile::{Next, Pass},
    },
    reason::Reason,
};

impl Pass<'_> {
    /// Creates the Secret unless it is there; otherwise what to go on with.
    pub(super) async fn provide_input(&mut self, plan: &Plan, wanted: &Value) -> Result<Option<Next>, Error> {
        let doing = "create the Secret with the input";
        let execution = Arc::clone(&self.execution);
        let (namespace, kind) = (execution.namespace(), ApiResource::erase::<Secret>(&()));
        match self.cx.api.create(&kind, identity(&execution, plan), namespace, wanted).await {
            Ok(_) => return Ok(None),
            Err(error) if error.code() == Some(409) => {}
            Err(error) => return self.refused_of(&kind, error, "create", doing, plan).await.map(Some),
        }
        // Made by an earlier try, if it is the same.
        let name = input::name(&execution);
        match self.cx.api.secret(identity(&execution, plan), namespace, &name).await {
            Ok(Some(found)) if input::is_same(&found, wanted) => Ok(None),
            Ok(Some(_)) => Ok(Some(Next::Again(Seen::Refused(Refusal {
                reason: Reason::AlreadyExists,
                message: format!(
                    "Secret {name} is there and holds something else than this run's input, for example since a \
                     Secret of spec.argsFrom has just changed; nothing was started. Create another RunnerExecution."
                ),
                patience: Patience::None,
            })))),
            Ok(None) => Ok(Some(Next::Again(Seen::Unknown))),
            Err(error) => self.refused_of(&kind, error, "get", doing, plan).await.map(Some),
        }
    }
}
