//! Rows 57 to 62: Workflows.

use anyhow::{Result, ensure};
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::row::{Expected, Input, Row, not_applicable, row, workflow};

const INVALID: Expected = Expected::Failed(&[Reason::InvalidArgs], "spec.args.workflow");
const NOT_FOUND: Expected = Expected::Ends(Phase::Failed, Reason::WorkflowError);

/// A Workflow that pauses, with these fields as well.
fn with(fields: Value) -> Input {
    let mut spec = json!({"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}]});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    workflow(spec)
}

pub(crate) fn rows() -> Vec<Row> {
    let other = |name: &str| json!({"serviceAccountName": name});
    let everywhere = json!({
        "serviceAccountName": "admin", "executor": other("admin"), "artifactGC": other("admin"), "entrypoint": "main",
        "templates": [
            {"name": "main", "suspend": {}},
            {"name": "other", "serviceAccountName": "admin", "executor": other("admin"),
             "container": {"image": "busybox:1"}, "inputs": {"artifacts": [{"name": "a", "path": "/a", "artifactGC": other("admin")}]}},
        ],
    });
    let risky = json!({"name": "risky", "container": {"image": "busybox:1", "securityContext": {"privileged": true}},
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}]});
    let circle = |name: &str, next: &str| json!({"name": name, "depends": next, "template": "main"});
    let manifest = |metadata: Value| workflow(json!({"metadata": metadata, "spec": {}}));
    vec![
        row(57, "another ServiceAccount in every place", [workflow(everywhere).is(Expected::StartsSo(one_account))])
            .differs("it is overridden, not refused"),
        row(
            58,
            "host network, host paths, privileges, patches of the pod",
            [
                with(json!({"hostNetwork": true, "templates": [{"name": "main", "suspend": {}}, risky]})).is(Expected::Starts),
                with(json!({"podSpecPatch": "hostNetwork: true"})).is(Expected::Starts),
                with(json!({"podSpecPatch": "serviceAccountName: admin"})).is(INVALID),
            ],
        )
        .differs("what a pod may do is for the namespace's own policy; only another ServiceAccount is refused"),
        row(
            59,
            "metadata in the arguments",
            [json!({"name": "other"}), json!({"namespace": "kube-system"}), json!({"ownerReferences": []})]
                .map(|metadata| manifest(metadata).is(INVALID)),
        )
        .differs("the reason is InvalidArgs"),
        row(
            60,
            "Workflows that Argo would refuse",
            [
                workflow(json!({"templates": [{"name": "main", "suspend": {}}]})).is(INVALID),
                workflow(json!({"entrypoint": "other", "templates": [{"name": "main", "suspend": {}}]})).is(INVALID),
                with(json!({"entrypoint": "circle", "templates": [{"name": "main", "suspend": {}},
                    {"name": "circle", "dag": {"tasks": [circle("a", "b"), circle("b", "a")]}}]}))
                .is(INVALID),
            ],
        ),
        row(
            61,
            "stored templates that do not exist",
            [
                workflow(json!({"workflowTemplateRef": {}})).is(INVALID),
                workflow(json!({"workflowTemplateRef": {"name": "nowhere"}})).is(NOT_FOUND),
                workflow(json!({"workflowTemplateRef": {"name": "nowhere", "clusterScope": true}})).is(NOT_FOUND),
            ],
        )
        .differs("only Argo knows which there are, so the Workflow starts and ends in Argo's words; no policy on clusterScope"),
        not_applicable(
            62,
            "Argo's kinds are not installed",
            "tested in tests/argo.rs, on a cluster without them: a_runner_whose_kind_is_installed_late_starts_by_itself",
        ),
        not_applicable(63, "Helm: release names", "there is no runner for Helm"),
        not_applicable(64, "Helm: cluster-scoped objects in a chart", "there is no runner for Helm"),
        not_applicable(65, "Helm: values that look like flags", "there is no runner for Helm"),
        not_applicable(66, "Helm: lookup of Secrets in a dry run", "there is no runner for Helm"),
        not_applicable(67, "Helm: a release of somebody else", "there is no runner for Helm"),
        not_applicable(68, "Terraform: backends, local-exec, file modules", "there is no runner for Terraform"),
        not_applicable(69, "Terraform: a state that is locked", "there is no runner for Terraform"),
    ]
}

/// No other ServiceAccount is named anywhere.
fn one_account(_: &Value, child: &Value) -> Result<()> {
    let spec = child["spec"].to_string();
    ensure!(!spec.contains("admin"), "another ServiceAccount is left: {spec}");
    ensure!(child["spec"]["serviceAccountName"] == "deployer", "{spec}");
    Ok(())
}
