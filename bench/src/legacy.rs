//! The design this replaces, as the requests it was counted to make for one action: an engine that makes a
//! ServiceAccount, a binding, a Secret and a Job; the Job controller; scheduler and kubelet; and a runner process
//! with a fresh client of its own. All replayed by one client, without the time that pods and processes take to
//! start, which flatters it. The execution stands in for the action that the engine kept its status in.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::{
    actors::at_once,
    http::{Answer, Call, Http},
    line::Line,
    payload,
    target::Target,
};

/// The replaying client.
pub struct Legacy {
    http: Http,
    target: Target,
}

/// One action under way.
struct Action<'a> {
    legacy: &'a Legacy,
    name: String,
    execution: Value,
    core: String,
    since: String,
}

impl Legacy {
    /// A client of that identity.
    pub fn new(target: Target) -> Result<Self> {
        Ok(Self { http: Http::new(&target, "peer-legacy", false)?, target })
    }

    /// Replays everything for all executions there are.
    pub async fn run(&self, concurrency: usize) -> Result<()> {
        let list: Value = serde_json::from_slice(&self.http.get(&payload::executions(&self.target)).await?)?;
        let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        at_once(concurrency, items, |execution| async move {
            let name = text(&execution, "/metadata/name").to_owned();
            let core = format!("/api/v1/namespaces/{}", self.target.namespace);
            Action { legacy: self, name, execution, core, since: payload::now() }.replay().await
        })
        .await
    }

    async fn call(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Value> {
        let what = format!("{method} {path}");
        let call = Call { method, path, body: body.into(), answer: Answer::Whole, impersonate: false };
        let answer = self.http.send(call).await?.good(&what)?;
        serde_json::from_slice(&answer).with_context(|| format!("{what}: an answer that is no JSON"))
    }

    async fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.call(Method::POST, path, object.to_string()).await
    }
}

impl Action<'_> {
    async fn replay(mut self) -> Result<()> {
        let (core, name) = (self.core.clone(), self.name.clone());
        self.engine_status("the engine has taken it").await?;
        self.engine_creates().await?;
        self.engine_status("its Job is made").await?;
        let pod = self.job_and_pod().await?;
        self.event("Created").await?;
        self.engine_status("its Job runs").await?;
        let child = self.runner().await?;
        self.end_of_pod(&pod).await?;
        self.engine_ends(&child).await?;
        let binding = format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/legacy-{name}");
        self.legacy.call(Method::DELETE, &binding, "").await?;
        self.legacy.http.get(&format!("{core}/secrets/{name}")).await.map(drop)
    }

    /// One PUT of the action's status.
    async fn engine_status(&mut self, message: &str) -> Result<()> {
        let now = payload::now();
        self.put_status(json!({"phase": "Pending", "message": message, "startTime": now})).await
    }

    async fn put_status(&mut self, status: Value) -> Result<()> {
        let path = format!("{}/{}/status", payload::executions(&self.legacy.target), self.name);
        if let Some(object) = self.execution.as_object_mut() {
            object.insert("apiVersion".into(), "core.projectvoltron.dev/v1alpha1".into());
            object.insert("kind".into(), "RunnerExecution".into());
            object.insert("status".into(), status);
        }
        self.execution = self.legacy.call(Method::PUT, &path, self.execution.to_string()).await?;
        Ok(())
    }

    async fn engine_creates(&self) -> Result<()> {
        let (name, core, namespace) = (&self.name, &self.core, &self.legacy.target.namespace);
        let account = json!({"metadata": {"name": format!("legacy-{name}")}});
        self.legacy.post(&format!("{core}/serviceaccounts"), &account).await?;
        let binding = json!({
            "metadata": {"name": format!("legacy-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": format!("legacy-{name}")}],
        });
        self.legacy.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
        let input = self.execution.get("spec").cloned().unwrap_or_default().to_string();
        let secret = json!({"metadata": {"name": name}, "stringData": {"input.yaml": input}});
        self.legacy.post(&format!("{core}/secrets"), &secret).await?;
        let job: Value = serde_json::from_slice(&payload::job(payload::number(name).unwrap_or(0), 0))?;
        self.legacy.post(&payload::jobs(&self.legacy.target), &job).await.map(drop)
    }

    /// What the Job controller, the scheduler and the kubelet write until the pod runs.
    async fn job_and_pod(&self) -> Result<Value> {
        let (name, core) = (&self.name, &self.core);
        let pod = json!({
            "metadata": {"name": name, "labels": {"job-name": name}, "finalizers": ["batch.kubernetes.io/job-tracking"]},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "runner"}]},
        });
        let pod = self.legacy.post(&format!("{core}/pods"), &pod).await?;
        self.job_status(json!({"active": 1, "ready": 0})).await?;
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "node"}});
        self.legacy.post(&format!("{core}/pods/{name}/binding"), &binding).await?;
        self.event("Scheduled").await?;
        for phase in ["Pending", "Running"] {
            self.pod_status(json!({"phase": phase, "message": "on its way"})).await?;
        }
        for reason in ["Pulled", "Created", "Started"] {
            self.event(reason).await?;
        }
        self.job_status(json!({"active": 1, "ready": 1})).await?;
        Ok(pod)
    }

    async fn end_of_pod(&self, pod: &Value) -> Result<()> {
        let path = format!("{}/pods/{}", self.core, self.name);
        self.pod_status(json!({"phase": "Succeeded"})).await?;
        self.job_status(json!({
            "active": 0, "ready": 0, "uncountedTerminatedPods": {"succeeded": [pod.pointer("/metadata/uid")]},
        }))
        .await?;
        self.legacy.call(Method::PATCH, &path, json!({"metadata": {"finalizers": null}}).to_string()).await?;
        self.job_status(json!({"succeeded": 1, "active": 0, "uncountedTerminatedPods": {}})).await?;
        self.event("Completed").await
    }

    async fn pod_status(&self, status: Value) -> Result<()> {
        let path = format!("{}/pods/{}/status", self.core, self.name);
        self.legacy.call(Method::PATCH, &path, json!({"status": status}).to_string()).await.map(drop)
    }

    async fn job_status(&self, mut status: Value) -> Result<()> {
        if let Some(status) = status.as_object_mut() {
            status.insert("startTime".into(), self.since.as_str().into());
        }
        let path = format!("{}/{}/status", payload::jobs(&self.legacy.target), self.name);
        self.legacy.call(Method::PATCH, &path, json!({"status": status}).to_string()).await.map(drop)
    }

    async fn event(&self, reason: &str) -> Result<()> {
        let namespace = &self.legacy.target.namespace;
        let event = json!({
            "metadata": {"generateName": format!("{}.", self.name)},
            "involvedObject": {"kind": "Pod", "name": self.name, "namespace": namespace},
            "reason": reason, "type": "Normal", "message": "told by an event",
        });
        self.legacy.post(&format!("{}/events", self.core), &event).await.map(drop)
    }

    /// The runner's process: a client of its own, discovery, one Workflow, a watch of it, and the report. Returns
    /// the Workflow.
    async fn runner(&self) -> Result<Value> {
        let target = &self.legacy.target;
        let own = Legacy::new(target.clone())?;
        own.http.get("/apis/argoproj.io/v1alpha1").await?;
        let workflows = payload::workflows(target);
        let mut spec = self.execution.pointer("/spec/args/workflow").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("suspend".into(), false.into());
            spec.insert("serviceAccountName".into(), target.account.as_str().into());
        }
        let workflow = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": self.name}, "spec": spec,
        });
        let workflow = own.post(&workflows, &workflow).await?;
        let query = format!("fieldSelector=metadata.name%3D{}", self.name);
        let list: Value = serde_json::from_slice(&own.http.get(&format!("{workflows}?{query}")).await?)?;
        let version = text(&list, "/metadata/resourceVersion");
        let ended = list.pointer("/items/0/metadata/labels/workflows.argoproj.io~1completed").is_some();
        if !ended {
            let query = format!("{query}&resourceVersion={version}");
            let mut lines = own.http.watch(&workflows, &query, Answer::Whole).await?;
            loop {
                let Some((_, bytes)) = lines.next().await else { bail!("the runner's watch has ended") };
                if Line::read(&bytes).is_some_and(|line| line.object.is_completed_workflow()) {
                    break;
                }
            }
        }
        let secret = format!("{}/secrets/{}", self.core, self.name);
        let report = json!({"metadata": {"name": self.name}, "stringData": {"status": "done"}});
        own.call(Method::PUT, &secret, report.to_string()).await?;
        Ok(workflow)
    }

    /// The engine's last status, which is the same as everybody else's.
    async fn engine_ends(&mut self, child: &Value) -> Result<()> {
        let known = payload::Known {
            name: self.name.clone(),
            uid: String::new(),
            version: String::new(),
            workflow: Value::Null,
        };
        let now = payload::now();
        let outcome: Value = serde_json::from_slice(&payload::succeeded(&known, &now))?;
        let mut status = outcome.get("status").cloned().unwrap_or_default();
        if let Some(status) = status.as_object_mut() {
            status.insert("startTime".into(), now.into());
            status.insert("observedGeneration".into(), 1.into());
            status.insert(
                "resources".into(),
                json!([{
                    "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": self.name,
                    "namespace": self.legacy.target.namespace, "uid": child.pointer("/metadata/uid"),
                }]),
            );
        }
        self.put_status(status).await
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
