//! The original runners' input file: `context` and `args`, at the path that `RUNNER_INPUT_PATH` holds.
//!
//! A runner asks for it by [`Rendered::input`](super::Rendered::input) and mounts it with [`mount`]; the controller
//! writes it into a Secret of the execution. So a container that was written for the original finds what it looks
//! for, and so do the pods of this project. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::crd::Context;

/// The environment variable that holds the file's path.
pub const PATH_VARIABLE: &str = "RUNNER_INPUT_PATH";
/// The key of the Secret.
pub const KEY: &str = "input.yaml";
/// Where the Secret is mounted.
const FOLDER: &str = "/var/run/runner/input";
const VOLUME: &str = "runner-input";

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputFile {
    /// `spec.context`, with its defaults filled in.
    pub context: Context,
    /// The arguments.
    #[serde(default)]
    pub args: Value,
}

/// The file's text: JSON, which every reader of YAML reads.
pub fn text(context: &Context, args: &Value) -> String {
    let file = json!({ "context": context, "args": args });
    format!("{file:#}\n")
}

/// Mounts the file into every container of a pod spec and points [`PATH_VARIABLE`] at it, unless a container sets
/// that itself.
pub fn mount(pod: &mut Map<String, Value>, secret: &str) {
    push(pod, "volumes", json!({"name": VOLUME, "secret": {"secretName": secret}}));
    for list in ["initContainers", "containers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            push(container, "volumeMounts", json!({"name": VOLUME, "mountPath": FOLDER, "readOnly": true}));
            let set = container.get("env").and_then(Value::as_array).is_some_and(|env| {
                env.iter().any(|it| it.get("name").and_then(Value::as_str) == Some(PATH_VARIABLE))
            });
            if !set {
                push(container, "env", json!({"name": PATH_VARIABLE, "value": format!("{FOLDER}/{KEY}")}));
            }
        }
    }
}

/// Adds to a list, which is made where it is missing.
pub(super) fn push(object: &mut Map<String, Value>, field: &str, item: Value) {
    match object.get_mut(field) {
        Some(Value::Array(list)) => list.push(item),
        Some(_) | None => {
            object.insert(field.to_owned(), Value::Array(vec![item]));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{InputFile, mount, text};
    use crate::crd::{Context, Platform};

    #[test]
    fn the_file_reads_as_the_originals_does() {
        let platform = Platform {
            namespace: Some("k8s-ns-name".into()),
            service_account_name: "sa-name".into(),
            owner_ref: None,
        };
        let context = Context {
            name: Some("action-name".into()),
            dry_run: true,
            timeout: Some("10m".into()),
            platform,
        };
        let args = json!({"answer": "no", "list": [1, "two"]});
        let text = text(&context, &args);
        let read: InputFile = serde_yaml::from_str(&text).unwrap();
        assert_eq!(read, InputFile { context, args });
    }

    #[test]
    fn every_container_finds_it_and_one_that_says_where_is_left_alone() {
        let mut pod = json!({
            "initContainers": [{"name": "first"}],
            "containers": [{"name": "main", "env": [{"name": "RUNNER_INPUT_PATH", "value": "/own"}]}, {"name": "side"}],
        });
        mount(pod.as_object_mut().unwrap(), "the-secret");
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "the-secret");
        let at = |pointer: &str| pod.pointer(pointer).cloned().unwrap_or(Value::Null);
        for container in ["/initContainers/0", "/containers/0", "/containers/1"] {
            assert_eq!(at(&format!("{container}/volumeMounts/0/name")), "runner-input");
        }
        assert_eq!(at("/containers/0/env"), json!([{"name": "RUNNER_INPUT_PATH", "value": "/own"}]));
        assert_eq!(at("/containers/1/env/0/value"), "/var/run/runner/input/input.yaml");
    }
}
