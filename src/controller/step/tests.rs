//! What goes over the wire where two controllers meet, against an API server that answers by a script.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    controller::{
        Others,
        api::Api,
        cache::Children,
        courtesy::Courtesy,
        events::Events,
        execution::Execution,
        key::Key,
        memory::Failing,
        metrics::Metrics,
        reconcile::{Context, reconcile},
    },
    runners::{Registry, Settings},
};

/// An API server that gives its answers in turn, whatever it is asked, and keeps that.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<(u16, Value)>>,
    asked: Mutex<Vec<(String, Value)>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = (u16, Value)>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() })
    }

    fn client(self: &Arc<Self>) -> Client {
        let script = Arc::clone(self);
        let serve = move |request: Request<Body>| {
            let script = Arc::clone(&script);
            async move { Ok::<_, Infallible>(script.answer(request).await) }
        };
        Client::new(tower::service_fn(serve), "n")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let line = format!("{} {}", request.method(), request.uri().path());
        let body = request.into_body().collect_bytes().await.unwrap();
        self.asked.lock().unwrap().push((line, serde_json::from_slice(&body).unwrap_or_default()));
        let (code, answer) = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| (500, json!({})));
        Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap()
    }

    /// What a controller works with that has seen nothing yet.
    fn context(self: &Arc<Self>) -> Context {
        let (api, metrics) = (Api::new(self.client()), Metrics::default());
        let (events, _) = Events::new(api.clone(), metrics.clone());
        Context {
            api,
            registry: Registry::built_in(&Settings::default()),
            executions: Arc::default(),
            children: Children::default(),
            memory: Arc::default(),
            timers: Arc::default(),
            courtesy: Courtesy::default(),
            events,
            metrics,
            start_grace: Duration::from_mins(2),
            others: Others::Tell,
            stop: CancellationToken::new(),
        }
    }

    /// One pass of a controller that has seen nothing but this execution: what it asked for, and whether another comes
    /// though nothing changes.
    async fn pass(self: &Arc<Self>, execution: &Value) -> (Vec<(String, Value)>, bool) {
        let cx = self.context();
        let execution: Execution = serde_json::from_str(&execution.to_string()).unwrap();
        let key = execution.key();
        reconcile(Arc::new(execution), &cx).await;
        (self.asked.lock().unwrap().clone(), cx.timers.is_set(key))
    }
}

fn execution() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "10", "generation": 1},
        "spec": {
            "runner": "job",
            "context": {"platform": {"serviceAccountName": "s"}},
            "args": {"image": "busybox:1"},
        },
    })
}

fn child(version: &str) -> Value {
    json!({"metadata": {
        "name": "a", "namespace": "n", "uid": "ours", "resourceVersion": version,
        "labels": {"core.projectvoltron.dev/execution-uid": "u", "core.projectvoltron.dev/runner": "job"},
        "annotations": {"core.projectvoltron.dev/generation": "1"},
        "ownerReferences": [{"apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution", "name": "a", "uid": "u", "controller": true}],
    }})
}

#[tokio::test]
async fn a_child_is_looked_at_though_nothing_is_ever_heard_of_it() {
    let recorded = json!({"metadata": {"resourceVersion": "12", "generation": 1}});
    let script = Script::new([(201, child("11")), (200, recorded), (200, child("13"))]);

    let (asked, is_timed) = script.pass(&execution()).await;

    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(is_timed);
}

#[tokio::test]
async fn whoever_loses_the_race_to_record_deletes_its_own_child_and_only_as_it_was_seen() {
    let mut execution = execution();
    let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "conflict", "reason": "Conflict", "code": 409});
    let first = execution.clone();
    execution["metadata"]["resourceVersion"] = json!("12");
    execution["status"] = json!({"phase": "Running", "reason": "Running", "resources": [
        {"apiVersion": "batch/v1", "kind": "Job", "namespace": "n", "name": "a", "uid": "another"}]});
    let written = json!({"metadata": {"resourceVersion": "13", "generation": 1}});
    let script = Script::new([
        (201, child("11")),
        (409, conflict),
        (200, execution),
        (200, json!({})),
        (200, written),
    ]);

    let (asked, _) = script.pass(&first).await;

    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
    let (jobs, executions) = (
        "/apis/batch/v1/namespaces/n/jobs",
        "/apis/core.projectvoltron.dev/v1alpha1/namespaces/n/runnerexecutions/a",
    );
    assert_eq!(
        lines,
        [
            format!("POST {jobs}"),
            format!("PATCH {executions}/status"),
            format!("GET {executions}"),
            format!("DELETE {jobs}/a"),
            format!("PATCH {executions}/status"),
        ]
    );
    assert_eq!(asked[3].1["preconditions"], json!({"uid": "ours", "resourceVersion": "11"}));
    assert_eq!(asked[4].1["status"]["reason"], "ResourceLost");
}

#[tokio::test]
async fn a_webhook_that_never_answers_is_asked_ever_more_rarely_also_once_that_is_told() {
    let busy = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "failed calling webhook", "reason": "ServiceUnavailable", "code": 503});
    let busy = || (503, busy.clone());
    let told = (200, json!({"metadata": {"resourceVersion": "11", "generation": 1}}));
    let script = Script::new([busy(), busy(), busy(), told, busy(), busy(), busy()]);
    let cx = script.context();
    let execution: Arc<Execution> = Arc::new(serde_json::from_str(&execution().to_string()).unwrap());
    for times in 1..=6 {
        reconcile(Arc::clone(&execution), &cx).await;
        assert_eq!(
            cx.memory.failures_before(Key::of("u"), Failing::Unanswered),
            times,
            "{:?}",
            script.asked.lock().unwrap()
        );
        cx.memory.retry_all();
    }
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|(line, _)| line.starts_with("PATCH")).count(), 1, "told once: {asked:?}");
}
