//! Rows 19 to 42: the runner's name, dry runs, the platform and the owner.

use anyhow::{Result, ensure};
use futures::FutureExt;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{
    common::{Env, execution},
    row::{
        Case, Expected, Input, Row, each, endless, field, not_applicable, plain, row, set, story, without,
    },
    schema::{self, STRICT},
};

const INVALID: Expected = Expected::Failed(&[Reason::InvalidSpec], "spec.");
const NAMESPACE: &str = "/context/platform/namespace";
const ACCOUNT: &str = "/context/platform/serviceAccountName";
const OWNER: &str = "/context/platform/ownerRef";
/// A uid that no object has.
const NOBODY: &str = "3826a747-cfac-49c7-a81e-1d48cc23096f";

fn refused_and_invalid(
    path: &'static str,
    words: &'static str,
    values: impl IntoIterator<Item = Value>,
) -> Vec<Case> {
    each(path, values).map(|input| input.refused_and_stored(words, INVALID)).collect()
}

fn owner(kind: &str, name: &str, uid: Value) -> Input {
    field(OWNER, json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}))
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = runners();
    rows.extend(platforms());
    rows.extend(owners());
    rows
}

fn runners() -> Vec<Row> {
    let long = json!("a".repeat(10_000));
    vec![
        row(
            19,
            "an unknown runner",
            [field("/runner", json!("jobs"))
                .is(Expected::Waits(Reason::RunnerNotFound, "argo-workflow, job"))],
        )
        .and(|env| corrected(env).boxed())
        .differs("somebody else's controller may serve it, so it waits and can be corrected"),
        row(
            20,
            "a runner in other case",
            each("/runner", [json!("Job"), json!("JOB")]).map(|i| i.is(Expected::Refused("spec.runner"))),
        )
        .differs("capitals are refused at once; nothing is folded"),
        row(
            21,
            "runners that are no names",
            refused_and_invalid(
                "/runner",
                "spec.runner",
                [json!(""), json!("../helm"), json!("a".repeat(64)), long, json!(7)],
            ),
        )
        .differs("a name may have 63 characters, not 30"),
        row(
            22,
            "dryRun of another type",
            refused_and_invalid("/context/dryRun", "spec.context.dryRun", [json!("true"), json!(1)]),
        ),
        row(23, "dryRun null", [field("/context/dryRun", Value::Null).is(Expected::Starts)]),
        not_applicable(
            24,
            "a dry run of a runner without one",
            "every runner has dry runs: the core does them",
        ),
    ]
}

fn platforms() -> Vec<Row> {
    let injected = json!("a\r\nImpersonate-Group: system:masters");
    let mut rows = vec![
        row(
            25,
            "no platform",
            [
                without("/context/platform").refused_and_stored("spec.context.platform", INVALID),
                field("/context/platform", json!({})).refused_and_stored("serviceAccountName", INVALID),
            ],
        ),
        row(26, "a namespace that does not exist", [field(NAMESPACE, json!("nowhere")).is(INVALID)])
            .differs("any namespace but the execution's own is refused, naming the field"),
        story(27, "a namespace that is being deleted", |env| terminating(env).boxed())
            .differs("the API server itself takes nothing new there"),
        row(
            28,
            "a namespace of the cluster's or the controller's",
            each(NAMESPACE, [json!("kube-system"), json!("runner-system")]).map(|i| i.is(INVALID)),
        )
        .differs("CEL does not see metadata.namespace, so the controller refuses it"),
        row(
            29,
            "a namespace with a header in it",
            refused_and_invalid(NAMESPACE, "platform.namespace", [injected.clone()]),
        ),
        row(
            30,
            "namespaces that are no names",
            refused_and_invalid(
                NAMESPACE,
                "platform.namespace",
                [json!("*"), json!("_"), json!(".."), json!("a".repeat(64))],
            ),
        ),
        row(31, "no ServiceAccount", [without(ACCOUNT).refused_and_stored("serviceAccountName", INVALID)]),
        row(
            32,
            "a ServiceAccount that does not exist",
            [field(ACCOUNT, json!("nobody"))
                .is(Expected::Failed(&[Reason::ServiceAccountNotFound], "nobody"))],
        ),
        row(
            33,
            "ServiceAccounts that are none",
            refused_and_invalid(
                ACCOUNT,
                "serviceAccountName",
                [json!("system:admin"), json!("ns:sa"), json!("../x"), json!("a".repeat(254)), injected],
            ),
        ),
        row(
            34,
            "a ServiceAccount without rights",
            [field(ACCOUNT, json!("default"))
                .is(Expected::Failed(&[Reason::Forbidden], "default may not create jobs.batch"))],
        ),
    ];
    rows.push(
        story(35, "a requester without the right to the ServiceAccount", |env| strangers(env).boxed())
            .differs("the right to create executions is granted by name, and is the right to all ServiceAccounts there"),
    );
    rows
}

fn owners() -> Vec<Row> {
    const NOT_FOUND: Expected = Expected::Failed(&[Reason::OwnerNotFound], "ownerRef");
    vec![
        row(36, "an owner that is deleted", [owner("ConfigMap", "deleted", json!(NOBODY)).is(NOT_FOUND)])
            .differs("the reason is OwnerNotFound"),
        row(
            37,
            "an owner in another namespace",
            [owner("ConfigMap", "elsewhere", json!(NOBODY)).is(NOT_FOUND)],
        )
        .differs("the reason is OwnerNotFound"),
        row(
            38,
            "a cluster-scoped owner",
            [owner("Namespace", "kube-system", json!(NOBODY))
                .is(Expected::Failed(&[Reason::Forbidden], "ownerRef"))],
        )
        .and(|env| cluster_scoped_owner(env).boxed())
        .differs("it is allowed where the ServiceAccount may get it"),
        row(
            39,
            "an owner of another uid or kind",
            [
                owner("ConfigMap", "action", json!(NOBODY)).is(NOT_FOUND),
                owner("Action", "action", json!(NOBODY)).is(NOT_FOUND),
            ],
        )
        .differs("the reason is OwnerNotFound"),
        story(40, "an owner with blockOwnerDeletion, or next to another controller", |env| {
            owner_flags(env).boxed()
        })
        .differs(
            "the flag is set as written: the controller may; what the API server refuses fails by its field",
        ),
        row(
            41,
            "owners that are none",
            [
                owner("ConfigMap", "deleted", json!("u".repeat(10_000)))
                    .refused_and_stored("ownerRef.uid", NOT_FOUND),
                owner("ConfigMap", "deleted", Value::Null).refused_and_stored("ownerRef.uid", INVALID),
                owner("ConfigMap", "../secrets/texts", json!(NOBODY))
                    .refused_and_stored("ownerRef.name", INVALID),
                field(OWNER, Value::Null).is(Expected::Starts),
            ],
        ),
        row(
            42,
            "unknown fields",
            [
                field("/unknown", json!(1)).is(Expected::Refused("unknown")),
                field("/context/platform/impersonate", json!("system:masters"))
                    .is(Expected::Refused("unknown")),
                field("/unknown", json!(1)).lenient().is(Expected::StartsSo(|execution, _| {
                    ensure!(execution["spec"]["unknown"].is_null(), "it is kept");
                    Ok(())
                })),
            ],
        ),
    ]
}

fn is_running(rex: &runner_controller::crd::RunnerExecution) -> bool {
    rex.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Running))
}

async fn corrected(env: &Env) -> Result<()> {
    env.run("a", "jobs", endless(), |_| ()).await?;
    let reported =
        |s: &runner_controller::crd::RunnerExecutionStatus| s.reason == Some(Reason::RunnerNotFound);
    env.until("a", "reported", |rex| rex.status.as_ref().is_some_and(reported)).await?;
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"runner":"job"}}"#]).await?;
    env.until("a", "running", is_running).await.map(drop)
}

async fn terminating(env: &Env) -> Result<()> {
    env.kubectl(&["create", "configmap", "holds"]).await?;
    let hold = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}}).to_string();
    env.kubectl(&["patch", "configmap", "holds", "-p", &hold(json!(["example.org/hold"]))]).await?;
    env.kubectl(&["delete", "namespace", &env.namespace, "--wait=false"]).await?;
    let body = execution("a", "job", endless(), |_| ()).to_string();
    let refused = schema::create(env, &body, STRICT).await.err().map(|e| e.to_string()).unwrap_or_default();
    env.kubectl(&["patch", "configmap", "holds", "-p", &hold(Value::Null)]).await?;
    ensure!(refused.contains("being terminated"), "{refused}");
    Ok(())
}

/// Whoever has the cluster's own roles view and edit cannot create executions.
async fn strangers(env: &Env) -> Result<()> {
    for role in ["view", "edit"] {
        env.kubectl(&[
            "create",
            "rolebinding",
            role,
            &format!("--clusterrole={role}"),
            &format!("--user={role}er"),
        ])
        .await?;
        let allowed =
            env.kubectl_refuses(&["auth", "can-i", "create", "rex", &format!("--as={role}er")]).await;
        ensure!(allowed.is_ok(), "{role} may create executions");
    }
    Ok(())
}

/// Lets the ServiceAccount read what it needs for an owner; the uid of that.
async fn may_get(env: &Env, resource: &str, name: &str) -> Result<Value> {
    let role = format!("{}-{resource}", env.namespace);
    env.kubectl(&["create", "clusterrole", &role, "--verb=get", &format!("--resource={resource}")]).await?;
    let account = format!("--serviceaccount={}:deployer", env.namespace);
    env.kubectl(&["create", "clusterrolebinding", &role, &format!("--clusterrole={role}"), &account]).await?;
    Ok(env.get(resource.trim_end_matches('s'), name).await?["metadata"]["uid"].clone())
}

async fn cluster_scoped_owner(env: &Env) -> Result<()> {
    let uid = may_get(env, "namespaces", &env.namespace).await?;
    let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": env.namespace, "uid": uid});
    env.run("a", "job", endless(), |spec| set(spec, OWNER, owner)).await?;
    let rex = env.until("a", "running", is_running).await?;
    ensure!(rex.metadata.owner_references.unwrap()[0].uid == uid, "the owner was not set");
    Ok(())
}

async fn owner_flags(env: &Env) -> Result<()> {
    env.kubectl(&["create", "configmap", "action"]).await?;
    let uid = may_get(env, "configmaps", "action").await?;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "action", "uid": uid, "controller": true, "blockOwnerDeletion": true});
    env.run("blocks", "job", endless(), |spec| set(spec, OWNER, owner.clone())).await?;
    let rex = env.until("blocks", "running", is_running).await?;
    ensure!(
        rex.metadata.owner_references.unwrap()[0].block_owner_deletion == Some(true),
        "the flag was not set"
    );

    let mut contested = plain();
    contested["metadata"] = json!({"name": "contested", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": NOBODY, "controller": true}]});
    // An owner that exists, or the garbage collector would take the execution away.
    env.kubectl(&["create", "configmap", "other"]).await?;
    contested["metadata"]["ownerReferences"][0]["uid"] =
        env.get("configmap", "other").await?["metadata"]["uid"].clone();
    set(&mut contested["spec"], OWNER, owner);
    env.apply(&contested.to_string()).await?;
    let end = env.ends("contested", Phase::Failed, Reason::InvalidSpec).await?;
    let words = crate::common::message(&end);
    ensure!(words.contains("spec.context.platform.ownerRef"), "{words}");
    Ok(())
}
