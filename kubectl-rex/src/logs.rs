//! `kubectl rex logs`: the logs of all pods of an execution, of whatever runner, found by their owners.

use std::{collections::BTreeSet, time::Duration};

use futures::{AsyncBufReadExt, StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::LogParams, core::DynamicObject};
use runner_controller::{
    client::{ClientError, Executions, Outcome},
    submit::{Exit, Failure},
};
use serde_json::Value;

use crate::{
    cli::{Logs, Scope},
    describe::pods_of,
    scope::Opened,
    terminal,
};

/// How often new pods are looked for while following.
const LOOK: Duration = Duration::from_secs(1);
/// The containers that Argo adds to every pod of its own; their logs are not the work's.
pub(crate) const ARGOS_OWN: [&str; 2] = ["init", "wait"];

pub(crate) async fn logs(scope: &Scope, options: &Logs) -> Result<(), Failure> {
    let opened = scope.open().await?;
    let executions = opened.executions();
    let mut begun: BTreeSet<(String, String)> = BTreeSet::new();
    let mut printing = FuturesUnordered::new();
    loop {
        let execution = executions.get(&options.name).await?;
        let finished = Outcome::of(&execution).is_some();
        let found = containers(&pods_of(&opened, &execution).await, options.container.as_deref());
        let several = found.len() > 1 || !begun.is_empty();
        for (pod, container) in found {
            if begun.insert((pod.clone(), container.clone())) {
                let prefix = if several { format!("[{pod} {container}] ") } else { String::new() };
                printing.push(print(opened.api(), pod, container, prefix, options.follow));
            }
        }
        if finished || !options.follow {
            break;
        }
        let look = tokio::time::sleep(LOOK);
        tokio::pin!(look);
        loop {
            tokio::select! {
                () = &mut look => break,
                Some(printed) = printing.next() => report(printed),
            }
        }
    }
    if begun.is_empty() {
        return Err(nothing(&opened, &executions, options).await);
    }
    while let Some(printed) = printing.next().await {
        report(printed);
    }
    Ok(())
}

/// A pod whose log cannot be read does not hide the logs of the others.
fn report(printed: Result<(), String>) {
    if let Err(words) = printed {
        terminal::complain(&words);
    }
}

/// The containers that have begun, whose logs can be read.
fn containers(pods: &[DynamicObject], only: Option<&str>) -> Vec<(String, String)> {
    let begun = |status: &Value| {
        ["/state/running", "/state/terminated", "/lastState/terminated"]
            .iter()
            .any(|path| status.pointer(path).is_some())
    };
    let mut found = Vec::new();
    for pod in pods {
        let is_argos = pod.labels().contains_key("workflows.argoproj.io/workflow");
        for field in ["/status/initContainerStatuses", "/status/containerStatuses"] {
            let statuses = pod.data.pointer(field).and_then(Value::as_array);
            for status in statuses.into_iter().flatten().filter(|status| begun(status)) {
                let name = status.get("name").and_then(Value::as_str).unwrap_or_default();
                let wanted = match only {
                    Some(only) => only == name,
                    None => !(is_argos && ARGOS_OWN.contains(&name)),
                };
                if wanted {
                    found.push((pod.name_any(), name.to_owned()));
                }
            }
        }
    }
    found
}

async fn print(
    pods: Api<Pod>,
    pod: String,
    container: String,
    prefix: String,
    follow: bool,
) -> Result<(), String> {
    let params = LogParams { container: Some(container.clone()), follow, ..LogParams::default() };
    let broken = |error: &dyn std::error::Error| format!("log of {pod} {container}: {error}");
    let stream = pods.log_stream(&pod, &params).await.map_err(|error| broken(&error))?;
    let (mut stream, mut line) = (std::pin::pin!(stream), Vec::new());
    // Not by lines of text: a log may hold anything.
    while stream.read_until(b'\n', &mut line).await.map_err(|error| broken(&error))? > 0 {
        let text = String::from_utf8_lossy(&line);
        terminal::print(&format!("{prefix}{}\n", text.trim_end_matches(['\r', '\n'])));
        line.clear();
    }
    Ok(())
}

/// Why there is no log, in the execution's own words.
async fn nothing(opened: &Opened, executions: &Executions, options: &Logs) -> Failure {
    let message = match executions.get(&options.name).await {
        Ok(execution) => execution.status.and_then(|status| status.message).unwrap_or_default(),
        Err(error) => return ClientError::into(error),
    };
    let words = format!(
        "no container of {} has begun in namespace {}: {}",
        options.name,
        opened.namespace,
        runner_controller::progress::plain(&message)
    );
    Failure { exit: Exit::Failed, words }
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::json;

    use super::containers;

    fn pod(name: &str, labels: &serde_json::Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "status": {
                "initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [
                    {"name": "main", "state": {"running": {}}},
                    {"name": "wait", "state": {"running": {}}},
                    {"name": "late", "state": {"waiting": {"reason": "ErrImagePull"}}},
                ],
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_has_begun_is_read_but_what_argo_adds() {
        let argo = [pod("a", &json!({"workflows.argoproj.io/workflow": "a"}))];
        let names = |pods: &[DynamicObject], only| -> Vec<String> {
            containers(pods, only).into_iter().map(|(_, container)| container).collect()
        };
        assert_eq!(names(&argo, None), ["main"]);
        assert_eq!(names(&argo, Some("wait")), ["wait"]);
        assert_eq!(names(&[pod("a", &json!({}))], None), ["init", "main", "wait"]);
    }
}
