//! Rows 43 to 56: arguments of any shape, depth and size.

use anyhow::{Result, bail, ensure};
use futures::FutureExt;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{
    common::{Env, execution},
    row::{Expected, Input, Row, args_from, each, endless, job, raw_args, row, story, without, workflow},
    schema::{self, STRICT},
};

const INVALID: Expected = Expected::Failed(&[Reason::InvalidArgs], "spec.args");
const TOO_DEEP: Expected = Expected::Failed(&[Reason::InvalidArgs], "100 levels");
const FROM: Expected = Expected::Failed(&[Reason::InvalidArgs], "spec.argsFrom[0].secretKeyRef");

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = shapes();
    rows.extend(sizes());
    rows.extend(texts());
    rows
}

/// Objects within each other.
fn nested(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

/// A Workflow whose arguments nest so deep: in a template that is never called, which may hold anything.
fn deep_workflow(levels: usize) -> Input {
    let plugin = nested(levels - 4);
    raw_args(
        "argo-workflow",
        &format!(
            r#"{{"workflow":{{"entrypoint":"main","templates":[{{"name":"main","suspend":{{}}}},{{"name":"deep","plugin":{plugin}}}]}}}}"#
        ),
    )
}

/// A Workflow that pauses, with this in a template that is never called.
fn with_plugin(content: &str) -> Input {
    raw_args(
        "argo-workflow",
        &format!(
            r#"{{"workflow":{{"entrypoint":"main","templates":[{{"name":"main","suspend":{{}}}},{{"name":"any","plugin":{content}}}]}}}}"#
        ),
    )
}

fn shapes() -> Vec<Row> {
    let null = raw_args("job", "null");
    vec![
        row(
            43,
            "no arguments",
            [
                without("/args").is(INVALID),
                null.is(INVALID),
                job(json!({})).is(INVALID),
                raw_args("argo-workflow", "{}").is(INVALID),
            ],
        ),
        row(
            44,
            "arguments that are no object",
            each("/args", [json!("text"), json!([1]), json!([]), json!(true), json!(1)])
                .map(|input| input.refused_and_stored("spec.args", INVALID)),
        ),
        row(
            45,
            "arguments that nest deep",
            [64, 65, 100].map(|levels| deep_workflow(levels).is(Expected::Starts)).into_iter().chain(
                [101, 123, 124, 125, 126, 200].map(|levels| raw_args("job", &nested(levels)).is(TOO_DEEP)),
            ),
        )
        .differs("up to 100 levels are taken; the reason is InvalidArgs"),
        row(46, "arguments as deep as the API server takes", [raw_args("job", &nested(9_900)).is(TOO_DEEP)])
            .differs("the reason is InvalidArgs"),
    ]
}

/// A job with so long a text in its environment.
fn long_job(length: usize) -> Value {
    let mut args = endless();
    args["env"] = json!([{"name": "LONG", "value": "x".repeat(length)}]);
    args
}

fn keys(count: usize) -> Input {
    job((0..count).map(|i| (format!("k{i}"), json!(0))).collect())
}

fn sizes() -> Vec<Row> {
    vec![
        story(47, "arguments of 240 KiB by kubectl apply", |env| applied_by_kubectl(env).boxed()),
        row(48, "arguments of 1.4 MiB", [job(long_job(1_400 << 10)).is(Expected::Starts)])
            .and(|env| no_room_for_a_status(env).boxed())
            .differs("it fits and runs; where no status fits in any more, an event tells of it and nothing is started"),
        row(
            49,
            "arguments larger than etcd or the API server takes",
            [job(long_job(1_600 << 10)).is(Expected::Refused("")), job(long_job(3_100 << 10)).is(Expected::Refused(""))],
        ),
        row(50, "100,000 keys", [keys(100_000).is(INVALID)]),
    ]
}

fn texts() -> Vec<Row> {
    let list = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(10_000), "*a,".repeat(10_000));
    let patched = |patch: &str| {
        workflow(
            json!({"entrypoint": "main", "podSpecPatch": patch, "templates": [{"name": "main", "suspend": {}}]}),
        )
    };
    let odd = "\u{0}\u{1b}[31mred\u{202e}\u{7f}";
    let mut key = serde_json::Map::new();
    key.insert(odd.to_owned(), json!(1));
    vec![
        row(
            51,
            "YAML that becomes huge",
            [
                args_from("texts", "bomb").is(FROM),
                patched(&list).is(INVALID),
                patched(&list.repeat(20)).is(INVALID),
            ],
        ),
        row(
            52,
            "YAML with keys twice, tabs, tags",
            ["twice", "tab", "tag", "list", "documents"]
                .map(|key| args_from("texts", key).is(FROM))
                .into_iter()
                .chain([
                    patched("a: 1\na: 2").is(INVALID),
                    args_from("texts", "anchor").is(Expected::Starts),
                ]),
        )
        .differs("an anchor within measure is read"),
        row(
            53,
            "numbers at the edges",
            [with_plugin(
                r#"{"a":9007199254740993,"b":9223372036854775807,"c":18446744073709551616,"d":1.0,"e":-0}"#,
            )
            .is(Expected::StartsSo(same_numbers))],
        ),
        row(
            54,
            "numbers that are none",
            ["1e400", "NaN", "Infinity"]
                .map(|n| with_plugin(&format!(r#"{{"a":{n}}}"#)).is(Expected::Refused(""))),
        ),
        row(
            55,
            "control characters and halves of characters",
            [
                raw_args(
                    "job",
                    r#"{"image":"busybox:1","env":[{"name":"A","value":"\u0000\u001b[31m\u202e"}]}"#,
                )
                .is(Expected::Starts),
                raw_args("job", r#"{"image":"busybox:1","env":[{"name":"A","value":"\ud800"}]}"#)
                    .is(Expected::Starts),
                job(Value::Object(key)).is(INVALID),
            ],
        ),
        row(
            56,
            "templates of other languages",
            [job(json!({"image": "busybox:1", "args": literal()})).is(Expected::StartsSo(|_, child| {
                let args = &child["spec"]["template"]["spec"]["containers"][0]["args"];
                ensure!(*args == literal(), "not literally: {args}");
                Ok(())
            }))],
        ),
    ]
}

fn literal() -> Value {
    json!(["{{workflow.name}}", "${x}", "$(id)", "%s", "`id`", "$((1+1))", "--flag=$HOME"])
}

fn same_numbers(execution: &Value, child: &Value) -> Result<()> {
    let (asked, made) = (
        &execution["spec"]["args"]["workflow"]["templates"][1]["plugin"],
        &child["spec"]["templates"][1]["plugin"],
    );
    ensure!(asked == made && asked["a"] == 9_007_199_254_740_993_i64, "{asked} became {made}");
    Ok(())
}

async fn applied_by_kubectl(env: &Env) -> Result<()> {
    env.run("a", "job", long_job(240 << 10), |_| ()).await?;
    env.until("a", "running", |rex| rex.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Running)))
        .await?;
    Ok(())
}

/// The largest execution that etcd takes has no room for a status.
async fn no_room_for_a_status(env: &Env) -> Result<()> {
    let mut length = 1_536 << 10;
    while let Err(error) = {
        let body = execution("a", "job", long_job(length), |_| ()).to_string();
        schema::create(env, &body, STRICT).await
    } {
        length -= 256;
        ensure!(length > 1_500 << 10, "{error}");
    }
    for _ in 0..300 {
        let told = env.kubectl(&["get", "events", "-o", "jsonpath={.items[*].involvedObject.name}"]).await?;
        if told.contains('a') {
            let released = env
                .kubectl(&["get", "jobs", "-l", "core.projectvoltron.dev/released=true", "-o", "name"])
                .await?;
            ensure!(released.is_empty(), "it was released without being recorded");
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    bail!("nobody was told: {}", env.kubectl(&["get", "rex,jobs"]).await?)
}
