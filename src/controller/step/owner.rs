//! The owner that `spec.context.platform.ownerRef` names: checked live, as the ServiceAccount, then set.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::identity;
use crate::{
    controller::{
        admit::Plan,
        api::CallError,
        decide::{Patience, Refusal, Seen},
        error::Error,
        reconcile::{Next, Pass},
    },
    reason::Reason,
};

impl Pass<'_> {
    pub(super) async fn set_owner(&mut self, plan: &Plan) -> Result<Next, Error> {
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
            Err(error) if error.code() == Some(409) => {
                Ok(self.refresh().await?.map_or(Next::Rest(None), |()| Next::Again(Seen::Unknown)))
            }
            Err(CallError::Status(status)) if matches!(status.code, 400 | 403 | 422) => {
                Ok(Next::Again(Seen::Refused(Refusal {
                    reason: Reason::InvalidSpec,
                    message: format!(
                        "spec.context.platform.ownerRef: the API server refused it: {}",
                        status.message
                    ),
                    patience: Patience::None,
                })))
            }
            Err(source) => Err(Error::Call { doing: "set the owner", source }),
        }
    }
}
