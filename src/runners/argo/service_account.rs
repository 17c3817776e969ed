//! The ServiceAccount of a run, in every place where a WorkflowSpec can name one.
//!
//! In: a WorkflowSpec, and the name. Out: the spec with that name in all of these places, or problems where
//! that cannot be done. Pure.
//!
//! Names are forced at any depth and under any spelling of the key that Go's JSON decoder takes for
//! `serviceAccountName`: Argo decodes parts of a Workflow (steps, inline templates, and all of it when a
//! parameter is a number) by that decoder, and the API server keeps unknown keys there. A walk over all of it is
//! thus safer than a list of places; a test compares it with the CRD of Argo.
//!
//! What this cannot reach, because it is not in the spec:
//! - Stored templates (`templateRef`, `workflowTemplateRef`) that name a ServiceAccount themselves: Argo prefers
//!   a template's own name over the Workflow's. Who may write WorkflowTemplates in the namespace decides there,
//!   and admission policies if that is not enough. A stored template that names none runs as the run's.
//! - Executor plugins, which run under `<plugin>-executor-plugin` as Argo's operator configured them. The agent
//!   pod itself, for `http` and `plugin` templates, runs under the Workflow's.
//! - Manifests of `resource` templates: they are applied with the run's rights, so whatever they name is
//!   something that the run's ServiceAccount may create.

use serde_json::{Map, Value, json};

use super::{
    document::{Findings, Path, fold, is_same_key},
    pod_spec_patch,
};

/// Fields whose keys are the user's own words, in every type of Argo's and Kubernetes' that has such a field.
/// Below `withItems` and `plugin` anything may stand; none of it is ever read as a template.
const FREE_FORM: [&str; 8] = [
    "annotations",
    "labels",
    "labelsFrom",
    "matchLabels",
    "nodeSelector",
    "plugin",
    "volumeAttributes",
    "withItems",
];

/// Puts the name wherever the spec can hold one.
pub(super) fn force(spec: &mut Map<String, Value>, name: &str) {
    let mut collects_artifacts = false;
    overwrite(spec, name, &mut collects_artifacts);
    if collects_artifacts {
        force_artifact_gc(spec, name);
    }
    spec.insert("serviceAccountName".to_owned(), json!(name));
}

/// Overwrites every name that is there; tells whether anything may start a pod that deletes artifacts.
fn overwrite(fields: &mut Map<String, Value>, name: &str, collects_artifacts: &mut bool) {
    for (key, value) in fields.iter_mut() {
        if FREE_FORM.contains(&key.as_str()) {
            continue;
        }
        match (fold(key).as_str(), &mut *value) {
            ("serviceaccountname", value) => *value = json!(name),
            // The keys are names of hooks, and such a name may be one of the free-form fields'.
            ("hooks", Value::Object(hooks)) => {
                hooks.values_mut().for_each(|hook| overwrite_within(hook, name, collects_artifacts));
            }
            ("artifactgc" | "templateref" | "workflowtemplateref", value) => {
                *collects_artifacts = true;
                overwrite_within(value, name, collects_artifacts);
            }
            (_, value) => overwrite_within(value, name, collects_artifacts),
        }
    }
}

fn overwrite_within(value: &mut Value, name: &str, collects_artifacts: &mut bool) {
    match value {
        Value::Object(fields) => overwrite(fields, name, collects_artifacts),
        Value::Array(items) => {
            for item in items {
                overwrite_within(item, name, collects_artifacts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Pods that delete artifacts run under the namespace's `default` unless told otherwise here; the Workflow's own
/// ServiceAccount does not apply to them. Without a strategy this field does nothing.
fn force_artifact_gc(spec: &mut Map<String, Value>, name: &str) {
    let artifact_gc = spec.entry("artifactGC").or_insert_with(|| json!({}));
    if artifact_gc.is_null() {
        *artifact_gc = json!({});
    }
    if let Value::Object(fields) = artifact_gc {
        fields.insert("serviceAccountName".to_owned(), json!(name));
    }
}

/// Reports pod spec patches that name another ServiceAccount, or of which that cannot be told.
pub(super) fn check_patches(spec: &Value, name: &str, at: &Path, findings: &mut Findings) {
    let mut patches = Vec::new();
    collect_patches(spec, at, &mut patches);
    if patches.is_empty() {
        return;
    }
    let literals = pod_spec_patch::Literals::of(spec);
    for (patch, at) in patches {
        if let Err(objection) = pod_spec_patch::check(patch, &literals, name) {
            findings.add(&at, || objection.to_string());
        }
    }
}

/// Hooks hold no templates, so a hook that is called like a free-form field hides no patch.
fn collect_patches<'a>(value: &'a Value, at: &Path, patches: &mut Vec<(&'a str, Path)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| !FREE_FORM.contains(&key.as_str())) {
                let at = at.field(key);
                match value.as_str() {
                    Some(patch) if is_same_key(key, "podSpecPatch") => patches.push((patch, at)),
                    Some(_) => {}
                    None => collect_patches(value, &at, patches),
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect_patches(item, &at.index(i), patches);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
