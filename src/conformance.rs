//! A test kit for the authors of runners: what every runner has to hold to, tried on a real cluster.
//!
//! Input: a [`Subject`], that is a runner, a namespace that no other controller serves, and arguments. Output: what
//! was checked, or the first thing that does not hold. The kit runs the controller itself, in this process.
//!
//! ```no_run
//! # async fn demo(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use runner_controller::{conformance::{Subject, check}, runners::job::Job};
//! use serde_json::json;
//!
//! let subject = Subject {
//!     client,
//!     namespace: "conformance".into(),
//!     service_account: "deployer".into(),
//!     runner: Arc::new(Job::default()),
//!     endless: json!({"image": "busybox:1", "command": ["sleep", "100000"]}),
//!     refused: json!({"imag": "busybox:1"}),
//! };
//! for checked in check(&subject).await? {
//!     println!("ok: {checked}");
//! }
//! # Ok(()) }
//! ```

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    client::{ClientError, Executions, Outcome, Update, Verdict},
    controller::{self, Options, Others},
    crd::{ArgsSource, EXECUTION_UID_LABEL, Phase, RunnerExecution, RunnerExecutionSpec, SecretKeyRef},
    reason::Reason,
    runners::{Registry, Run, Runner},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Stands in arguments where a secret would.
const CANARY: &str = "canary-7f3a9c";

/// What is tried.
#[derive(Clone)]
pub struct Subject {
    /// An administrator's client: the kit creates executions and Secrets, and runs the controller with it.
    pub client: Client,
    /// A namespace that no other controller serves.
    pub namespace: String,
    /// A ServiceAccount there that may do what the runner needs, and get Secrets.
    pub service_account: String,
    /// The runner.
    pub runner: Arc<dyn Runner>,
    /// Arguments of a run that goes on until it is stopped.
    pub endless: Value,
    /// Arguments that the runner refuses.
    pub refused: Value,
}

/// What does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {what}")]
pub struct Violation {
    /// What was tried.
    pub check: &'static str,
    /// What was seen.
    pub what: String,
}

type Seen = Result<(), String>;

/// Tries everything, one after the other. Executions and Secrets named `conformance-…` are left behind for a look.
///
/// # Errors
/// The first thing that does not hold.
pub async fn check(subject: &Subject) -> Result<Vec<&'static str>, Violation> {
    let mut done = Vec::new();
    let mut note = |check: &'static str, seen: Seen| match seen {
        Ok(()) => {
            done.push(check);
            Ok(())
        }
        Err(what) => Err(Violation { check, what }),
    };
    note("the same arguments always render the same", subject.renders_the_same())?;
    note("a refusal names its path and repeats no value", subject.refuses_well())?;
    note("a dry run shows what would be stored and leaves nothing", subject.dry_runs().await)?;
    note("refused arguments fail as InvalidArgs, and nothing is made", subject.fails_refused().await)?;
    note("two controllers and a restart start one child", subject.starts_once().await)?;
    note("a cancelled run really stops", subject.cancels().await)?;
    note("a run that takes too long really stops", subject.times_out().await)?;
    note(
        "arguments from a Secret appear nowhere in the execution or its events",
        subject.keeps_secrets().await,
    )?;
    Ok(done)
}

impl Subject {
    fn render(&self, args: &Value) -> Result<crate::runners::Rendered, crate::runners::Rejection> {
        let (namespace, service_account) = (&self.namespace, &self.service_account);
        self.runner.render(&Run { namespace, service_account, ..Run::example(args) })
    }

    fn renders_the_same(&self) -> Seen {
        let (one, other) = (self.render(&self.endless), self.render(&self.endless));
        let one = one.map_err(|rejection| format!("it refuses the arguments: {rejection}"))?;
        if other.is_ok_and(|other| other == one) { Ok(()) } else { Err("it rendered something else".into()) }
    }

    fn refuses_well(&self) -> Seen {
        let Err(rejection) = self.render(&self.refused) else {
            return Err("it takes the arguments that it should refuse".into());
        };
        let misplaced = rejection.problems.iter().find(|problem| !problem.path.starts_with("spec.args"));
        if let Some(problem) = misplaced {
            return Err(format!("the path {} is not one within spec.args", problem.path));
        }
        let mut texts = Vec::new();
        texts_of(&self.refused, &mut texts);
        let words = rejection.to_string();
        match texts.into_iter().filter(|text| text.len() > 8).find(|text| words.contains(*text)) {
            Some(_) => Err(format!("a value of the arguments is repeated: {words}")),
            None => Ok(()),
        }
    }

    async fn dry_runs(&self) -> Seen {
        let _controller = self.start();
        let execution = self.create("dry-run", &self.endless, |spec| spec.context.dry_run = true).await?;
        let outcome = self.outcome(&execution).await?;
        expect(&outcome, Verdict::Succeeded, Reason::DryRunSucceeded)?;
        self.children(&execution).await?.is_empty().then_some(()).ok_or_else(|| "something was made".into())
    }

    async fn fails_refused(&self) -> Seen {
        let _controller = self.start();
        let execution = self.create("refused", &self.refused, |_| ()).await?;
        expect(&self.outcome(&execution).await?, Verdict::Failed, Reason::InvalidArgs)?;
        self.children(&execution).await?.is_empty().then_some(()).ok_or_else(|| "something was made".into())
    }

    async fn starts_once(&self) -> Seen {
        let controllers = (self.start(), self.start());
        let execution = self.create("once", &self.endless, |_| ()).await?;
        self.until(&execution, Phase::Running).await?;
        let before = self.only_child(&execution).await?;
        drop(controllers);
        let _controller = self.start();
        // The new controller has come by once it has stopped the child.
        self.executions().cancel(&execution).await.map_err(words)?;
        expect(&self.outcome(&execution).await?, Verdict::Cancelled, Reason::Cancelled)?;
        let after = self.only_child(&execution).await?;
        if before == after { Ok(()) } else { Err("the child is another one after the restart".into()) }
    }

    async fn cancels(&self) -> Seen {
        let _controller = self.start();
        let execution = self.create("cancelled", &self.endless, |_| ()).await?;
        self.until(&execution, Phase::Running).await?;
        self.executions().cancel(&execution).await.map_err(words)?;
        expect(&self.outcome(&execution).await?, Verdict::Cancelled, Reason::Cancelled)?;
        self.only_child(&execution).await.map(drop)
    }

    async fn times_out(&self) -> Seen {
        let _controller = self.start();
        let execution = self
            .create("timed-out", &self.endless, |spec| spec.context.timeout = Some("2s".to_owned()))
            .await?;
        expect(&self.outcome(&execution).await?, Verdict::TimedOut, Reason::TimedOut)
    }

    async fn keeps_secrets(&self) -> Seen {
        let mut secret = Secret { type_: Some("Opaque".into()), ..Secret::default() };
        secret.metadata.name = Some("conformance-args".into());
        // Whatever the runner makes of an unknown field, its name and its value are as secret as any.
        let args = json!({"conformance-canary": CANARY}).to_string();
        secret.data = Some(BTreeMap::from([("args".to_owned(), ByteString(args.into_bytes()))]));
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let _ = secrets.delete("conformance-args", &DeleteParams::default()).await;
        secrets.create(&PostParams::default(), &secret).await.map_err(words)?;
        let _controller = self.start();
        let source = ArgsSource {
            secret_key_ref: SecretKeyRef { name: "conformance-args".into(), key: "args".into() },
        };
        let execution = self.create("secret", &self.endless, |spec| spec.args_from = vec![source]).await?;
        // It may take the field or refuse it; either way it must be told without its value.
        let execution = self.until_settled(&execution).await?;
        let shown = serde_json::to_string(&execution).map_err(words)?;
        let events: Api<k8s_openapi::api::core::v1::Event> =
            Api::namespaced(self.client.clone(), &self.namespace);
        let told = events.list(&ListParams::default()).await.map_err(words)?;
        let told = serde_json::to_string(&told).map_err(words)?;
        if shown.contains(CANARY) || told.contains(CANARY) {
            return Err("a value from the Secret is shown".into());
        }
        if Outcome::of(&execution).is_none() {
            self.executions().cancel(&execution).await.map_err(words)?;
            self.outcome(&execution).await?;
        }
        Ok(())
    }

    /// A controller for the runner alone; it stops when the guard is dropped.
    fn start(&self) -> DropGuard {
        let stop = CancellationToken::new();
        let options =
            Options { namespace: Some(self.namespace.clone()), others: Others::Ignore, ..Options::default() };
        let registry = Registry::new().with_shared(Arc::clone(&self.runner));
        tokio::spawn(controller::run(self.client.clone(), registry, options, stop.clone()));
        stop.drop_guard()
    }

    fn executions(&self) -> Executions {
        Executions::new(self.client.clone(), &self.namespace)
    }

    async fn create(
        &self,
        name: &str,
        args: &Value,
        change: impl FnOnce(&mut RunnerExecutionSpec),
    ) -> Result<RunnerExecution, String> {
        let mut spec = RunnerExecutionSpec {
            runner: self.runner.name().to_owned(),
            args: args.clone(),
            ..RunnerExecutionSpec::default()
        };
        spec.context.platform.service_account_name.clone_from(&self.service_account);
        change(&mut spec);
        let execution = RunnerExecution::new(&format!("conformance-{name}"), spec);
        let api: Api<RunnerExecution> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &execution).await.map_err(words)
    }

    async fn outcome(&self, execution: &RunnerExecution) -> Result<Outcome, String> {
        let completion = self.executions();
        let completion = completion.completion(execution);
        let ended = tokio::time::timeout(PATIENCE, completion).await;
        ended.map_err(|_| format!("{} never ends", execution.name_any()))?.map_err(words)
    }

    async fn until(&self, execution: &RunnerExecution, phase: Phase) -> Result<RunnerExecution, String> {
        self.seen(execution, |now| now.status.as_ref().and_then(|s| s.phase) == Some(phase)).await
    }

    /// Once it has been started or refused.
    async fn until_settled(&self, execution: &RunnerExecution) -> Result<RunnerExecution, String> {
        self.seen(execution, |now| {
            now.status.as_ref().and_then(|s| s.phase).is_some_and(|p| p == Phase::Running || p.is_final())
        })
        .await
    }

    async fn seen(
        &self,
        execution: &RunnerExecution,
        wanted: impl Fn(&RunnerExecution) -> bool,
    ) -> Result<RunnerExecution, String> {
        let mut updates = std::pin::pin!(self.executions().follow(execution));
        let wait = async {
            while let Some(update) = updates.next().await {
                match update {
                    Ok(Update::Seen(now)) if wanted(&now) => return Ok(*now),
                    Ok(Update::Seen(_) | Update::Disturbed(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(ClientError::Gone(execution.name_any()))
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.map_err(|_| format!("{} never comes so far", execution.name_any()))?.map_err(words)
    }

    async fn children(&self, execution: &RunnerExecution) -> Result<Vec<DynamicObject>, String> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &self.runner.child());
        let uid = execution.uid().unwrap_or_default();
        let made = ListParams::default().labels(&format!("{EXECUTION_UID_LABEL}={uid}"));
        Ok(api.list(&made).await.map_err(words)?.items)
    }

    async fn only_child(&self, execution: &RunnerExecution) -> Result<Option<String>, String> {
        match self.children(execution).await?.as_slice() {
            [child] => Ok(child.uid()),
            children => Err(format!("there are {} children instead of one", children.len())),
        }
    }
}

fn expect(outcome: &Outcome, verdict: Verdict, reason: Reason) -> Seen {
    if (outcome.verdict, outcome.reason) == (verdict, reason) {
        Ok(())
    } else {
        Err(format!("it ended as {:?} ({}): {}", outcome.verdict, outcome.reason, outcome.message))
    }
}

fn texts_of<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, texts)),
        Value::Object(fields) => fields.values().for_each(|item| texts_of(item, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
