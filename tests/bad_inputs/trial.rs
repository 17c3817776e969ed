//! Putting one object to the test: it is sent, and what comes of it is compared with what must come of it.

use anyhow::{Context, Result, bail, ensure};
use http::Request;
use kube::{Api, Client, api::DynamicObject, core::ApiResource, runtime::wait::await_condition};
use runner_controller::{
    crd::{Phase, ResourceRef, RunnerExecution},
    reason::Reason,
};
use serde_json::Value;
use std::time::Duration;

use crate::{
    common::{Env, check_consistency, has_condition, message},
    row::{Case, Expected, Input},
    schema::{self, LENIENT, STRICT},
    watched::Watched,
};

/// The label that a released child has.
pub(crate) const RELEASED: &str = "core.projectvoltron.dev/released";

/// A namespace and what is told of its executions.
pub(crate) struct Place {
    pub(crate) env: Env,
    pub(crate) watched: Watched,
}

/// Where objects go, by what must come of them.
pub(crate) struct Places {
    /// Nothing is ever made here.
    pub(crate) quiet: Place,
    /// Everything starts here.
    pub(crate) busy: Place,
    /// Pod Security lets next to nothing in here.
    pub(crate) guarded: Place,
}

impl Places {
    fn of(&self, expected: &Expected) -> &Place {
        match expected {
            Expected::Refused(_) | Expected::Failed(..) | Expected::Waits(..) | Expected::OnlyEvent(_) => {
                &self.quiet
            }
            Expected::Starts | Expected::StartsSo(_) | Expected::Ends(..) => &self.busy,
            Expected::NoPod(_) => &self.guarded,
        }
    }

    /// Sends the object and waits for what must come of it.
    pub(crate) async fn try_case(&self, case: &Case, name: &str) -> Result<()> {
        let place = self.of(&case.expected);
        let query = if case.input.lenient { LENIENT } else { STRICT };
        let sent = schema::create(&place.env, &case.input.body(name), query).await;
        let found = match (sent, case.expected) {
            (Err(error), Expected::Refused(words)) => {
                return refused(place, &case.input, name, &error, words).await;
            }
            (Ok(_), Expected::Refused(_)) => bail!("it was taken"),
            // The client tries again what the API server was too slow to answer, though it may have stored it.
            (Err(kube::Error::Api(status)), _) if status.is_already_exists() => {
                case.input.name.as_deref().unwrap_or(name).to_owned()
            }
            (Err(error), _) => return Err(error).context("it was refused"),
            // A generated name is known only now.
            (Ok(answer), _) => name_in(&answer).context("the answer holds no name")?,
        };
        place.meets(&found, case.expected).await
    }

    /// What must come of an object that was stored past the schema.
    pub(crate) async fn try_stored(&self, expected: Expected, name: &str) -> Result<()> {
        self.quiet.meets(name, expected).await
    }
}

/// The name in a created object, found without reading what is nested deep.
fn name_in(answer: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize)]
    struct Metadata {
        name: String,
    }
    serde_json::from_str::<Answer>(answer).ok().map(|answer| answer.metadata.name)
}

async fn refused(place: &Place, input: &Input, name: &str, error: &kube::Error, words: &str) -> Result<()> {
    let kube::Error::Api(status) = error else { bail!("no answer of the API server's: {error}") };
    ensure!(status.message.contains(words), "other words: {}", status.message);
    let name = input.name.as_deref().unwrap_or(name);
    ensure!(place.env.executions().get_opt(name).await?.is_none(), "it is stored all the same");
    Ok(())
}

impl Place {
    async fn meets(&self, name: &str, expected: Expected) -> Result<()> {
        match expected {
            Expected::Refused(_) => bail!("the API server was to refuse it"),
            Expected::Failed(reasons, words) => {
                let end = self.watched.end(name).await?;
                ends(&end, Phase::Failed, reasons, words)
            }
            Expected::Waits(reason, words) => {
                let waits =
                    |rex: &RunnerExecution| rex.status.as_ref().is_some_and(|s| s.reason == Some(reason));
                let last = self.watched.until(name, "waiting", |last| waits(&last.rex)).await?;
                ensure!(message(&last.rex).contains(words), "other words: {}", message(&last.rex));
                ensure!(has_condition(&last.rex, "Finished", "False"), "it has finished");
                Ok(())
            }
            Expected::OnlyEvent(reason) => self.told_by_event(name, reason).await,
            Expected::Starts => self.started(name).await.map(drop),
            Expected::StartsSo(check) => {
                let (execution, child) = self.started(name).await?;
                check(&execution, &child)
            }
            Expected::Ends(phase, reason) => ends(&self.watched.end(name).await?, phase, &[reason], ""),
            Expected::NoPod(words) => {
                ends(&self.watched.end(name).await?, Phase::Failed, &[Reason::PodCreationFailed], words)
            }
        }
    }

    /// Waits until what it makes is released: the execution and that, as the API server has them.
    async fn started(&self, name: &str) -> Result<(Value, Value)> {
        let recorded = |rex: &RunnerExecution| rex.status.as_ref().is_some_and(|s| !s.resources.is_empty());
        let over = |rex: &RunnerExecution| has_condition(rex, "Finished", "True");
        let last = self.watched.until(name, "started", |last| recorded(&last.rex) || over(&last.rex)).await?;
        ensure!(recorded(&last.rex), "it did not start: {}", message(&last.rex));
        check_consistency(&last.rex)?;
        let child = last.rex.status.unwrap_or_default().resources.swap_remove(0);
        let kind = kind_of(&child);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.env.client.clone(), &self.env.namespace, &kind);
        let children = api.resource_url().to_owned();
        let released = |object: Option<&DynamicObject>| {
            object
                .and_then(|o| o.metadata.labels.as_ref())
                .is_some_and(|labels| labels.contains_key(RELEASED))
        };
        tokio::time::timeout(Duration::from_mins(1), await_condition(api, &child.name, released))
            .await
            .context("it is never released")??;
        let execution = format!("{}/{name}", self.env.executions().resource_url());
        Ok((
            read(&self.env.client, &execution).await?,
            read(&self.env.client, &format!("{children}/{}", child.name)).await?,
        ))
    }

    async fn told_by_event(&self, name: &str, reason: Reason) -> Result<()> {
        let selector = format!("--field-selector=reason={reason},involvedObject.name={name}");
        for _ in 0..300 {
            let told = self.env.kubectl(&["get", "events", &selector, "-o", "name"]).await?;
            if !told.trim().is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("no event tells of it")
    }
}

/// The kind of a recorded child.
fn kind_of(child: &ResourceRef) -> ApiResource {
    let (group, version) = child.api_version.split_once('/').unwrap_or(("", &child.api_version));
    let kind = kube::core::GroupVersionKind::gvk(group, version, &child.kind);
    ApiResource::from_gvk_with_plural(&kind, &format!("{}s", child.kind.to_lowercase()))
}

async fn read(client: &Client, path: &str) -> Result<Value> {
    Ok(client.request(Request::get(path).body(Vec::new())?).await?)
}

fn ends(end: &RunnerExecution, phase: Phase, reasons: &[Reason], words: &str) -> Result<()> {
    let status = end.status.clone().unwrap_or_default();
    ensure!(
        status.phase == Some(phase) && status.reason.is_some_and(|reason| reasons.contains(&reason)),
        "it ended otherwise: {:?} {:?} {}",
        status.phase,
        status.reason,
        message(end)
    );
    ensure!(message(end).contains(words), "other words: {}", message(end));
    ensure!(
        !message(end).chars().any(|c| c.is_control() && c != '\n'),
        "control characters: {:?}",
        message(end)
    );
    check_consistency(end)
}
