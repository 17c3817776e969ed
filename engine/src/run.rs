//! The Engine's loop: wakes on Actions and on executions, asks [`crate::decide`], does one thing.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
    runtime::{
        controller::{Action as Next, Config, Controller},
        reflector::ObjectRef,
        watcher,
    },
};
use runner_controller::{
    client::{ClientError, Executions},
    crd::RunnerExecution,
};
use serde_json::json;

use crate::{
    action::{Action, ActionPhase, ActionStatus},
    decide::{Step, decide},
};

/// How soon a failure is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Why a pass did not come through.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Execution(#[from] ClientError),
    #[error("the status cannot be written: {0}")]
    Status(#[source] kube::Error),
}

/// Serves the Actions of a namespace, or of all, until SIGTERM.
pub(crate) async fn run(client: Client, namespace: Option<&str>) {
    // Of executions only metadata: one whose arguments nest too deep to be read would else hide the ends of all others.
    let (actions, executions): (Api<Action>, Api<PartialObjectMeta<RunnerExecution>>) = match namespace {
        Some(namespace) => {
            (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace))
        }
        None => (Api::all(client.clone()), Api::all(client.clone())),
    };
    Controller::new(actions, watcher::Config::default())
        // By name, which is its Action's; owner references are set by whoever runs it, a moment later.
        .watches(executions, watcher::Config::default(), |execution| {
            Some(ObjectRef::new(&execution.name_any()).within(&execution.namespace()?))
        })
        .with_config(Config::default().concurrency(16))
        .shutdown_on_signal()
        .run(reconcile, |_, error, _| retry(error), Arc::new(client))
        .for_each(|_| std::future::ready(()))
        .await;
}

fn retry(error: &Error) -> Next {
    tracing::warn!(%error, "will try again");
    Next::requeue(RETRY)
}

async fn reconcile(action: Arc<Action>, client: Arc<Client>) -> Result<Next, Error> {
    let namespace = action.namespace().unwrap_or_default();
    let executions = Executions::new(Client::clone(&client), &namespace);
    let execution = match executions.get(&action.name_any()).await {
        Ok(execution) => Some(execution),
        Err(ClientError::Gone(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match (decide(&action, execution.as_ref()), &execution) {
        (Step::Create(wanted), _) => match executions.create(&wanted).await {
            Ok(_) => tracing::info!(action = action.name_any(), namespace, "created its execution"),
            Err(ClientError::Refused(why)) => {
                let status = ActionStatus {
                    phase: Some(ActionPhase::Failed),
                    message: Some(format!("The API server refuses its execution: {why}")),
                    observed_generation: action.metadata.generation,
                    ..ActionStatus::default()
                };
                tell(&client, &action, &status).await?;
            }
            Err(error) => return Err(error.into()),
        },
        (Step::Cancel, Some(execution)) => executions.cancel(execution).await?,
        (Step::Tell(status), _) => tell(&client, &action, &status).await?,
        (Step::Rest | Step::Cancel, _) => {}
    }
    Ok(Next::await_change())
}

/// Writes the status of exactly the Action that was decided on; on a newer one it is decided anew.
async fn tell(client: &Client, action: &Action, status: &ActionStatus) -> Result<(), Error> {
    let api: Api<Action> = Api::namespaced(client.clone(), &action.namespace().unwrap_or_default());
    let mut whole = json!(status);
    // A merge patch takes away only what it names.
    for (field, is_absent) in [
        ("reason", status.reason.is_none()),
        ("message", status.message.is_none()),
        ("progress", status.progress.is_none()),
        ("output", status.output.is_none()),
    ] {
        if is_absent && let Some(fields) = whole.as_object_mut() {
            fields.insert(field.to_owned(), serde_json::Value::Null);
        }
    }
    let metadata = json!({"uid": action.uid(), "resourceVersion": action.resource_version()});
    let patch = Patch::Merge(json!({"metadata": metadata, "status": whole}));
    match api.patch_status(&action.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => {
            tracing::info!(action = action.name_any(), phase = ?status.phase, "told");
            Ok(())
        }
        // It has changed or is gone: the watch brings it again.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Error::Status(error)),
    }
}
