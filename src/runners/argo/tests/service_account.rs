//! The ServiceAccount is the run's, wherever Argo's own schema lets a Workflow name one.

use std::fs;

use rstest::rstest;
use serde_json::{Value, json};

use super::{ACCOUNT, argo_source, problems, render};

/// A spec with one value put into it, after the ServiceAccount was forced.
fn forced(at: &str, value: Value) -> Value {
    let mut spec =
        json!({"templates": [{"name": "main", "steps": [[{"name": "a"}]]}, {"container": {"image": "x"}}]});
    put(&mut spec, at, value);
    let Value::Object(mut fields) = spec else { unreachable!() };
    super::super::service_account::force(&mut fields, ACCOUNT);
    Value::Object(fields)
}

/// Puts a value at a path, making what is not there; a number is a list's index.
fn put(root: &mut Value, at: &str, value: Value) {
    let mut here = root;
    for segment in at.split('.') {
        if let Ok(index) = segment.parse::<usize>() {
            if !here.is_array() {
                *here = json!([]);
            }
            let items = here.as_array_mut().unwrap();
            while items.len() <= index {
                items.push(json!({}));
            }
            here = &mut items[index];
        } else {
            if !here.is_object() {
                *here = json!({});
            }
            here = here.as_object_mut().unwrap().entry(segment).or_insert(Value::Null);
        }
    }
    *here = value;
}

fn at<'a>(root: &'a Value, at: &str) -> &'a Value {
    at.split('.').fold(root, |here, segment| match segment.parse::<usize>() {
        Ok(index) => &here[index],
        Err(_) => &here[segment],
    })
}

#[rstest]
#[case("serviceAccountName")]
#[case("executor.serviceAccountName")]
#[case("artifactGC.serviceAccountName")]
#[case("templateDefaults.serviceAccountName")]
#[case("templateDefaults.executor.serviceAccountName")]
#[case("templates.1.serviceAccountName")]
#[case("templates.1.executor.serviceAccountName")]
#[case("templates.1.outputs.artifacts.0.artifactGC.serviceAccountName")]
#[case("templates.1.SERVICEACCOUNTNAME")]
#[case("templates.1.Executor.ſerviceAccountName")]
#[case("templates.0.steps.0.0.inline.serviceAccountName")]
#[case("templates.0.steps.0.0.Inline.ServiceAccountName")]
#[case("templates.0.steps.0.0.inline.dag.tasks.0.inline.executor.serviceAccountName")]
#[case("templates.1.dag.tasks.0.inline.serviceAccountName")]
#[case("templates.1.dag.tasks.0.inline.steps.0.0.inline.outputs.artifacts.0.artifactGC.serviceAccountName")]
fn whoever_is_named_the_run_is_used(#[case] path: &str) {
    assert_eq!(at(&forced(path, json!("somebody-else")), path), ACCOUNT);
}

#[rstest]
#[case("podMetadata.labels.serviceAccountName")]
#[case("templates.1.metadata.annotations.serviceAccountName")]
#[case("templates.1.nodeSelector.serviceAccountName")]
#[case("templates.0.steps.0.0.withItems.0.serviceAccountName")]
fn what_only_looks_like_it_is_left_alone(#[case] path: &str) {
    assert_eq!(at(&forced(path, json!("mine")), path), "mine");
}

#[test]
fn pods_that_delete_artifacts_do_not_run_as_the_default_account() {
    let plain = forced("parallelism", json!(1));
    assert!(plain.get("artifactGC").is_none());
    let spec = forced("artifactGC.strategy", json!("OnWorkflowDeletion"));
    assert_eq!(spec["artifactGC"], json!({"strategy": "OnWorkflowDeletion", "serviceAccountName": ACCOUNT}));
    let artifact = json!({"name": "a", "path": "/a", "artifactGC": {"strategy": "OnWorkflowCompletion"}});
    let spec = forced("templates.1.outputs.artifacts.0", artifact);
    assert_eq!(spec["artifactGC"], json!({"serviceAccountName": ACCOUNT}));
    let stored = render(&json!({"workflow": {"workflowTemplateRef": {"name": "stored"}}})).unwrap().spec;
    assert_eq!(stored["artifactGC"], json!({"serviceAccountName": ACCOUNT}));
    assert_eq!(stored["serviceAccountName"], ACCOUNT);
}

#[rstest]
#[case("podSpecPatch")]
#[case("templateDefaults.podSpecPatch")]
#[case("artifactGC.podSpecPatch")]
#[case("templates.1.podSpecPatch")]
#[case("templates.1.PodSpecPatch")]
fn a_patch_that_changes_the_account_is_refused_with_its_path(#[case] path: &str) {
    let mut spec = json!({"entrypoint": "other", "templates": [
        {"name": "unused", "container": {"image": "x"}}, {"name": "other", "container": {"image": "x"}}]});
    put(&mut spec, path, json!("serviceAccountName: secret-name"));
    let problems = problems(&spec);
    let wanted = path.replace("templates.1", "templates[1]");
    assert!(
        problems
            .iter()
            .any(|p| p.starts_with(&format!("spec.args.workflow.{wanted}: the patch must not name"))),
        "{problems:?}"
    );
    assert!(problems.iter().all(|p| !p.contains("secret-name")));
}

/// Walks Argo's full schema of a Workflow's spec. What lies below fields of any shape (inline templates, plugins)
/// cannot be seen in it; those that hold templates are tested above.
#[test]
fn every_place_in_argos_schema_that_names_an_account_is_forced() {
    let Some(source) = argo_source() else { return };
    let crd = fs::read_to_string(source.join("manifests/base/crds/full/argoproj.io_workflows.yaml")).unwrap();
    let crd: Value = serde_yaml::from_str(&crd).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut paths = Vec::new();
    walk(schema, "", &mut paths);
    for path in &paths {
        // Where a key is the user's own, it may be the name of a field that is left alone elsewhere.
        for key in ["any", "labels", "annotations", "plugin", "withItems", "hooks"] {
            let path = path.replace(".any.", &format!(".{key}."));
            assert_eq!(at(&forced(&path, json!("somebody-else")), &path), ACCOUNT, "{path}");
        }
    }
    println!("{} places forced:\n{}", paths.len(), paths.join("\n"));
    assert!(paths.len() >= 12, "the schema was not read: {paths:?}");
}

/// Collects every path whose last segment names a ServiceAccount.
fn walk(schema: &Value, at: &str, paths: &mut Vec<String>) {
    let deeper = |segment: &str| if at.is_empty() { segment.to_owned() } else { format!("{at}.{segment}") };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if ["serviceaccountname", "serviceaccount"].contains(&name.to_lowercase().as_str()) {
            paths.push(deeper(name));
        }
        walk(property, &deeper(name), paths);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &deeper("0"), paths);
    }
    if schema["additionalProperties"].is_object() {
        walk(&schema["additionalProperties"], &deeper("any"), paths);
    }
}
