//! Rows 70 to 74: Jobs, and arguments from Secrets.

use anyhow::{Result, ensure};
use runner_controller::reason::Reason;
use serde_json::{Value, json};

use crate::row::{Case, Expected, Input, Row, args_from, field, job, row};

const INVALID: Expected = Expected::Failed(&[Reason::InvalidArgs], "spec.args");
const MISSING: Expected = Expected::Failed(&[Reason::SecretNotFound], "spec.argsFrom[0].secretKeyRef");
const FROM: Expected = Expected::Failed(&[Reason::InvalidArgs], "spec.argsFrom[0].secretKeyRef");

/// A Job with these fields of its spec, of its pod's and of its container.
fn spec(own: Value, pod: Value, container: Value) -> Input {
    let mut main = json!({"name": "main", "image": "busybox:1"});
    merge(&mut main, container);
    let mut pod_spec = json!({"containers": [main]});
    merge(&mut pod_spec, pod);
    let mut spec = json!({"template": {"spec": pod_spec}});
    merge(&mut spec, own);
    job(spec)
}

fn merge(base: &mut Value, over: Value) {
    runner_controller::runners::args::merge(base, over);
}

fn guarded(pod: Value, container: Value) -> Case {
    spec(json!({}), pod, container).is(Expected::NoPod("PodSecurity"))
}

pub(crate) fn rows() -> Vec<Row> {
    let security = |context: Value| json!({"securityContext": context});
    vec![
        row(
            70,
            "privileges under a restricted namespace",
            [
                guarded(json!({}), security(json!({"privileged": true}))),
                guarded(json!({}), security(json!({"runAsUser": 0}))),
                guarded(json!({"hostPID": true}), json!({})),
                guarded(json!({}), security(json!({"capabilities": {"add": ["SYS_ADMIN"]}}))),
            ],
        )
        .differs("Pod Security is the namespace's own; the Job is told to have no pods (PodCreationFailed)"),
        row(
            71,
            "more pods, more tries, one's own selector",
            [
                spec(
                    json!({"completions": 5, "backoffLimit": 10}),
                    json!({"restartPolicy": "OnFailure"}),
                    json!({}),
                )
                .is(Expected::StartsSo(as_written)),
                spec(
                    json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}}),
                    json!({}),
                    json!({}),
                )
                .is(INVALID),
            ],
        )
        .differs("what the user wrote holds, but for what would defeat the controller"),
        row(72, "an image by its tag", [job(json!({"image": "busybox:1"})).is(Expected::Starts)])
            .differs("there is no policy on digests"),
        row(
            73,
            "Secrets that are not there",
            [args_from("missing", "a").is(MISSING), args_from("texts", "missing").is(MISSING)],
        ),
        row(
            74,
            "Secrets that are too large, no text, or no names",
            [
                args_from("huge", "args").is(FROM),
                args_from("texts", "binary").is(FROM),
                field("/argsFrom", json!([{"secretKeyRef": {"name": "../configmaps/action", "key": "a"}}]))
                    .refused_and_stored(
                        "spec.argsFrom[0].secretKeyRef.name",
                        Expected::Failed(&[Reason::InvalidSpec], "spec.argsFrom[0].secretKeyRef.name"),
                    ),
            ],
        )
        .differs("the reason is InvalidArgs, and the limit 256 KiB"),
    ]
}

fn as_written(_: &Value, child: &Value) -> Result<()> {
    let spec = &child["spec"];
    ensure!(
        spec["completions"] == 5
            && spec["backoffLimit"] == 10
            && spec["template"]["spec"]["restartPolicy"] == "OnFailure",
        "rewritten: {spec}"
    );
    Ok(())
}
