//! For an Engine, or whoever creates executions: create one, follow it to its end, learn the outcome.
//!
//! Input: a [`RunnerExecution`] and a client with the rights to `create`, `get`, `list`, `watch` and, to cancel,
//! `patch` executions of a namespace. Output: the object as it goes on, and a typed [`Outcome`]. All requests to the
//! API server are made in this file; [`outcome`] and [`same`] are pure.
//!
//! ```no_run
//! # async fn demo(client: kube::Client) -> Result<(), runner_controller::client::ClientError> {
//! use runner_controller::{
//!     client::{Executions, Verdict},
//!     crd::{Context, Platform, RunnerExecution, RunnerExecutionSpec},
//! };
//!
//! let platform = Platform { service_account_name: "deployer".into(), ..Platform::default() };
//! let hello = RunnerExecution::new(
//!     "hello",
//!     RunnerExecutionSpec {
//!         runner: "job".into(),
//!         context: Context { platform, ..Context::default() },
//!         args: serde_json::json!({"image": "busybox:1", "command": ["echo", "hello"]}),
//!         ..RunnerExecutionSpec::default()
//!     },
//! );
//! let executions = Executions::new(client, "team-a");
//! let started = executions.create(&hello).await?.into_execution();
//! let outcome = executions.completion(&started).await?;
//! if outcome.verdict == Verdict::Failed {
//!     eprintln!("{}: {}", outcome.reason, outcome.message);
//! }
//! # Ok(()) }
//! ```

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

mod connect;
mod error;
pub mod outcome;
pub mod same;
mod transport;

pub use self::{
    connect::{ConnectError, Connection, connect},
    error::ClientError,
    outcome::{Outcome, Verdict},
};
use crate::crd::RunnerExecution;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a call is made whose reply is lost, or that the API server has no time for.
const TRIES: usize = 4;
/// Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Who writes, in managed fields.
const FIELD_MANAGER: &str = "runner-controller-client";

/// The executions of one namespace.
#[derive(Clone)]
pub struct Executions {
    api: Api<RunnerExecution>,
    namespace: String,
}

/// What [`Executions::create`] found.
#[derive(Clone, Debug)]
pub enum Created {
    /// The execution is new.
    New(Box<RunnerExecution>),
    /// The same run was there already, under way or finished.
    Adopted(Box<RunnerExecution>),
}

impl Created {
    /// The execution as it is stored.
    pub fn into_execution(self) -> RunnerExecution {
        match self {
            Self::New(execution) | Self::Adopted(execution) => *execution,
        }
    }
}

/// What following an execution brings.
#[derive(Clone, Debug)]
pub enum Update {
    /// The execution as it is now.
    Seen(Box<RunnerExecution>),
    /// The API server does not answer at the moment, in its words; it is asked again.
    Disturbed(String),
}

impl Executions {
    /// The executions of that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// Creates the execution, or adopts the one of its name if that is the same run: see [`same::differences`].
    /// So a creation may be repeated, whether or not an earlier one came through; hence the name must be given, not
    /// left to the API server by `generateName`.
    ///
    /// # Errors
    /// [`ClientError::AnotherRun`] if the name is taken by another run; the rest as they say.
    pub async fn create(&self, execution: &RunnerExecution) -> Result<Created, ClientError> {
        if execution.metadata.name.is_none() {
            return Err(ClientError::Refused(
                "metadata.name is missing; without it a repeated creation would run twice".into(),
            ));
        }
        let mut is_repeated = false;
        let created = (|| self.create_once(execution))
            .retry(pauses())
            .when(ClientError::is_transient)
            .notify(|_, _| is_repeated = true)
            .await;
        match created {
            // It may be an earlier one, whose reply was lost, that a quota has no more room beside.
            Err(refused @ ClientError::Refused(_)) if is_repeated => {
                self.adopt(execution).await.map_err(|_| refused)
            }
            created => created,
        }
    }

    async fn create_once(&self, execution: &RunnerExecution) -> Result<Created, ClientError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match timely(self.api.create(&params, execution)).await {
            Ok(new) => Ok(Created::New(Box::new(new))),
            // Any other 409 passes, such as that of a quota that many want a share of.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                match self.adopt(execution).await {
                    Err(ClientError::Gone(name)) => {
                        Err(ClientError::Unreachable(format!("the execution {name} is just being replaced")))
                    }
                    result => result,
                }
            }
            Err(error) => Err(ClientError::of(error, "create", &self.namespace)),
        }
    }

    async fn adopt(&self, wanted: &RunnerExecution) -> Result<Created, ClientError> {
        let name = wanted.name_any();
        let there = self.get(&name).await?;
        let fields = same::differences(wanted, &there);
        if !fields.is_empty() {
            return Err(ClientError::AnotherRun { name, fields });
        }
        if there.metadata.deletion_timestamp.is_some() {
            return Err(ClientError::BeingDeleted(name));
        }
        Ok(Created::Adopted(Box::new(there)))
    }

    /// The execution as it is.
    ///
    /// # Errors
    /// [`ClientError::Gone`] if there is none of that name.
    pub async fn get(&self, name: &str) -> Result<RunnerExecution, ClientError> {
        match timely(self.api.get_opt(name)).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(ClientError::Gone(name.to_owned())),
            Err(error) => Err(ClientError::of(error, "get", &self.namespace)),
        }
    }

    /// Follows this very execution until it has finished: the last item is the finished one, or an error.
    ///
    /// The stream outlives restarts of the API server, which it reports as [`Update::Disturbed`].
    ///
    /// # Errors
    /// [`ClientError::Gone`] if the execution is deleted, and also if another one takes its name; missing rights.
    pub fn follow(
        &self,
        execution: &RunnerExecution,
    ) -> impl Stream<Item = Result<Update, ClientError>> + Send + use<> {
        let (name, uid) = (execution.name_any(), execution.uid());
        let namespace = self.namespace.clone();
        let watched = watcher::watch_object(self.api.clone(), &name).default_backoff();
        let updates = watched.map(move |seen| match seen {
            Ok(Some(now)) if now.uid() == uid => Ok(Update::Seen(Box::new(now))),
            Ok(_) => Err(ClientError::Gone(name.clone())),
            Err(error) => {
                let error = ClientError::of_watch(error, &namespace);
                if error.is_transient() { Ok(Update::Disturbed(error.to_string())) } else { Err(error) }
            }
        });
        // Ends after the last item, not at it.
        updates.scan(false, |ended, update| {
            let item = (!*ended).then(|| {
                *ended = match &update {
                    Ok(Update::Seen(now)) => Outcome::of(now).is_some(),
                    Ok(Update::Disturbed(_)) => false,
                    Err(_) => true,
                };
                update
            });
            std::future::ready(item)
        })
    }

    /// Waits until this very execution has finished, however long that takes.
    ///
    /// # Errors
    /// As [`Executions::follow`].
    pub async fn completion(&self, execution: &RunnerExecution) -> Result<Outcome, ClientError> {
        let mut updates = std::pin::pin!(self.follow(execution));
        while let Some(update) = updates.try_next().await? {
            if let Update::Seen(now) = update
                && let Some(outcome) = Outcome::of(&now)
            {
                return Ok(outcome);
            }
        }
        Err(ClientError::Gone(execution.name_any()))
    }

    /// Asks for this very execution to be stopped. It ends as cancelled once its work has really stopped.
    ///
    /// # Errors
    /// [`ClientError::Gone`] if it has been deleted.
    pub async fn cancel(&self, execution: &RunnerExecution) -> Result<(), ClientError> {
        let patch = json!({"metadata": {"uid": execution.uid()}, "spec": {"cancel": true}});
        self.patch(execution, &patch).await
    }

    /// Lets this very execution start that `spec.suspend` holds back.
    ///
    /// # Errors
    /// [`ClientError::Gone`] if it has been deleted.
    pub async fn approve(&self, execution: &RunnerExecution) -> Result<(), ClientError> {
        let patch = json!({"metadata": {"uid": execution.uid()}, "spec": {"suspend": false}});
        self.patch(execution, &patch).await
    }

    async fn patch(&self, execution: &RunnerExecution, patch: &serde_json::Value) -> Result<(), ClientError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let (name, patch) = (execution.name_any(), Patch::Merge(patch));
        let patched = || async {
            match timely(self.api.patch_metadata(&name, &params, &patch)).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => Err(ClientError::Gone(name.clone())),
                Err(error) => Err(ClientError::of(error, "patch", &self.namespace)),
            }
        };
        patched.retry(pauses()).when(ClientError::is_transient).await
    }
}

/// The pauses between the tries of a call that may be repeated.
fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_times(TRIES - 1)
}

/// A call, or that no answer came in time.
async fn timely<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let late = |_| kube::Error::Service(format!("no answer within {} s", CALL_TIMEOUT.as_secs()).into());
    tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(late)?
}
