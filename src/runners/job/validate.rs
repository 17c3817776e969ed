//! What a JobSpec must be beyond its shape.
//!
//! Input: what the user wrote. Output: problems. Pure. Only what a person gets wrong, what the API server would
//! explain badly, and what would break the promises of the controller is checked here; the API server checks
//! the rest when the Job is created, or at a dry run. Reads leniently: wrong types are the shape's to report.

use serde_json::{Map, Value};

use super::words;
use crate::{names::is_dns_label, runners::Problem};

/// How arguments may look.
pub(super) const TWO_FORMS: &str = "write either `image`, `command`, `args`, `env`, `envFrom`, `resources` and \
                                    `workingDir` of a single container, or a JobSpec with `template`";

/// Advice for a field that is right, but elsewhere.
pub(super) fn misplaced(key: &str, of_short_form: bool) -> Option<&'static str> {
    match key {
        "apiVersion" | "kind" | "metadata" | "status" | "spec" => {
            Some("belongs to a whole Job; write only what stands under its `spec`")
        }
        "containers" | "initContainers" | "volumes" | "restartPolicy" | "nodeSelector" | "tolerations" => {
            Some("belongs to the pod; write it under template.spec")
        }
        "serviceAccountName" | "serviceAccount" => {
            Some("is not set here; the ServiceAccount is that of spec.context.platform.serviceAccountName")
        }
        _ if of_short_form => Some(
            "belongs to the short form and cannot stand next to `template`; move it to template.spec.containers[0]",
        ),
        _ => None,
    }
}

/// A JobSpec.
pub(super) fn job_spec(spec: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    forbidden(spec, path, problems);
    for field in
        ["completions", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"]
    {
        at_least(spec, field, 0, path, "", problems);
    }
    at_least(spec, "parallelism", 1, path, "; to hold the start back write spec.suspend: true", problems);
    at_least(spec, "activeDeadlineSeconds", 1, path, "; leave it out for no limit", problems);
    let Some(template) = spec.get("template").filter(|template| !template.is_null()) else {
        return;
    };
    let path = format!("{path}.template.spec");
    match template.get("spec") {
        Some(Value::Object(pod)) => pod_spec(pod, &path, problems),
        None | Some(Value::Null) => problems.push(words::problem(&path, "is required: the pod's containers")),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {}
    }
}

/// Fields of a JobSpec that would take the Job, or its pods, out of our sight.
fn forbidden(spec: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    const SELECTED: &str =
        "must not be set: Kubernetes chooses the selector, and by that the pods; remove it";
    const MANAGED: &str = "must not be set: another controller would not honour the timeout and the cancelling of \
                           this one; remove it";
    for (field, why) in [("selector", SELECTED), ("manualSelector", SELECTED), ("managedBy", MANAGED)] {
        if spec.get(field).is_some_and(|value| !value.is_null()) {
            problems.push(words::problem(&format!("{path}.{field}"), why));
        }
    }
}

fn pod_spec(pod: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    restart_policy(pod, path, problems);
    at_least(pod, "activeDeadlineSeconds", 1, path, "; leave it out for no limit", problems);
    at_least(pod, "terminationGracePeriodSeconds", 0, path, "", problems);
    if pod.get("containers").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        problems.push(words::problem(&format!("{path}.containers"), "needs at least one container"));
    }
    let mut names = std::collections::BTreeSet::new();
    for list in ["initContainers", "containers"] {
        let containers = pod.get(list).and_then(Value::as_array);
        for (index, one) in containers.into_iter().flatten().enumerate() {
            let Some(one) = one.as_object() else { continue };
            let path = format!("{path}.{list}[{index}]");
            if let Some(name) = one.get("name").and_then(Value::as_str) {
                container_name(name, names.insert(name), &format!("{path}.name"), problems);
            }
            container(one, &path, problems);
        }
    }
}

/// A pod of a Job must be able to come to an end.
pub(super) fn restart_policy(pod: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    let what = match pod.get("restartPolicy").and_then(Value::as_str) {
        None | Some("Never" | "OnFailure") => return,
        Some("Always") => {
            "Always is not possible for a Job: it must come to an end; write Never (run once, the default) or OnFailure"
        }
        Some(_) => "must be Never (run once, the default) or OnFailure",
    };
    problems.push(words::problem(&format!("{path}.restartPolicy"), what));
}

fn container_name(name: &str, is_new: bool, path: &str, problems: &mut Vec<Problem>) {
    if !is_dns_label(name, 63) {
        problems.push(words::problem(
            path,
            "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
        ));
    } else if !is_new {
        problems.push(words::problem(path, "is the name of another container already; each needs its own"));
    }
}

/// What a container needs in either form.
pub(super) fn container(container: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    let image_path = format!("{path}.image");
    match container.get("image") {
        None | Some(Value::Null) => {
            problems.push(words::problem(&image_path, "is required: the image that holds the program"));
        }
        Some(Value::String(image)) if image.is_empty() || image.trim() != image => {
            problems.push(words::problem(&image_path, "must not be empty, nor begin or end with a space"));
        }
        Some(_) => {}
    }
    for (index, env) in container.get("env").and_then(Value::as_array).into_iter().flatten().enumerate() {
        environment(env, &format!("{path}.env[{index}]"), problems);
    }
}

fn environment(env: &Value, path: &str, problems: &mut Vec<Problem>) {
    let named = env.get("name").and_then(Value::as_str);
    let printable = |c: char| c.is_ascii_graphic() || c == ' ';
    if named.is_some_and(|name| name.is_empty() || name.contains('=') || !name.chars().all(printable)) {
        problems.push(words::problem(
            &format!("{path}.name"),
            "must be a variable's name: printable ASCII characters, at least one, without `=`",
        ));
    }
    let set = |field| env.get(field).is_some_and(|value: &Value| !value.is_null());
    if set("valueFrom") && env.get("value").and_then(Value::as_str).is_some_and(|value| !value.is_empty()) {
        problems.push(words::problem(path, "must have `value` or `valueFrom`, not both"));
    }
}

fn at_least(
    object: &Map<String, Value>,
    field: &str,
    least: i64,
    path: &str,
    advice: &str,
    problems: &mut Vec<Problem>,
) {
    if object.get(field).and_then(Value::as_i64).is_some_and(|number| number < least) {
        problems
            .push(words::problem(&format!("{path}.{field}"), format!("must be at least {least}{advice}")));
    }
}
