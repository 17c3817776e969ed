//! Rows 1 to 18: names and timeouts.

use anyhow::{Result, ensure};
use futures::FutureExt;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{
    common::Env,
    row::{Expected, Input, Row, each, endless, field, plain, row, story, whole},
};

const INVALID: Expected = Expected::Failed(&[Reason::InvalidSpec], "spec.context");

/// A name of 253 characters that ends so.
fn longest(end: &str) -> String {
    let labels = ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".");
    format!("{labels}.{}{end}", "d".repeat(61 - end.len()))
}

fn long_name(end: &str, child: &str) -> Input {
    field("/context/name", json!(child)).named(longest(end))
}

/// Each of these timeouts is refused, and fails where it was stored past the schema.
fn bad_timeouts(number: u8, what: &'static str, timeouts: &[&str]) -> Row {
    let values = timeouts.iter().map(|timeout| json!(timeout));
    row(
        number,
        what,
        each("/context/timeout", values).map(|i| i.refused_and_stored("spec.context.timeout", INVALID)),
    )
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = names();
    rows.extend(timeouts());
    rows
}

fn names() -> Vec<Row> {
    let mut generated = plain();
    generated["metadata"] = json!({"generateName": "r5-generated-"});
    vec![
        row(1, "a name of one character", [whole("x".into(), plain()).named("x").is(Expected::Starts)]),
        row(
            2,
            "a name of 253 characters",
            [
                whole("without context.name".into(), plain())
                    .named(longest("0"))
                    .is(Expected::Refused("spec.context.name")),
                long_name("0", "r2-child").is(Expected::Starts),
            ],
        )
        .differs("the child is named context.name, which such an execution must give"),
        row(
            3,
            "two long names that differ at the end",
            [long_name("1", "r3-one").is(Expected::Starts), long_name("2", "r3-two").is(Expected::Starts)],
        ),
        story(4, "the same name again while the former child still runs", |env| same_name_again(env).boxed()),
        row(5, "a generated name", [whole("generateName".into(), generated).is(Expected::Starts)]),
        row(
            6,
            "names of digits",
            ["0123456789", "r6-0"].map(|name| whole(name.into(), plain()).named(name).is(Expected::Starts)),
        ),
        row(
            7,
            "names that are none",
            each(
                "/context/name",
                [
                    json!(""),
                    json!("a".repeat(64)),
                    json!("Upper"),
                    json!("ñ"),
                    json!("🦀"),
                    json!("\u{202e}abc"),
                    json!("--"),
                    json!("..."),
                ],
            )
            .map(|input| input.refused_and_stored("spec.context.name", INVALID)),
        ),
        row(
            8,
            "another name for the child",
            [field("/context/name", json!("r8-child")).is(Expected::StartsSo(|execution, child| {
                ensure!(
                    child["metadata"]["name"] == "r8-child",
                    "the child is {}",
                    child["metadata"]["name"]
                );
                ensure!(execution["status"]["resources"][0]["name"] == "r8-child", "not in the status");
                Ok(())
            }))],
        ),
    ]
}

fn timeouts() -> Vec<Row> {
    vec![
        row(9, "no timeout", [field("/suspend", json!(false)).is(Expected::StartsSo(no_deadline))])
            .differs("there is no default timeout, hence none is shown"),
        row(
            10,
            "timeouts of nothing",
            each("/context/timeout", [json!("0"), json!("0s")])
                .map(|input| input.is(Expected::StartsSo(no_deadline)))
                .chain(
                    each("/context/timeout", [json!("-5s"), json!("-0")])
                        .map(|input| input.refused_and_stored("spec.context.timeout", INVALID)),
                ),
        )
        .differs("zero means no timeout"),
        bad_timeouts(11, "timeouts that panic kube's parser", &["5s-3s", "1h-1m"]),
        bad_timeouts(
            12,
            "timeouts beyond all numbers",
            &["99999999999999999999999999h", "18446744073709551615s1s"],
        ),
        bad_timeouts(13, "timeouts of other languages", &["1d", "5", "1h30", "1e9s", "+-5s", "--5s"]),
        bad_timeouts(14, "timeouts with odd characters", &["", " 30s", "30s\n", "٣٠s"]),
        row(
            15,
            "timeouts below a second",
            each("/context/timeout", [json!("0.0000000001s"), json!("0.5s"), json!("999ms")])
                .map(|input| input.is(Expected::Refused("spec.context.timeout"))),
        ),
        row(
            16,
            "timeouts above the maximum",
            [
                field("/context/timeout", json!("8761h")).is(Expected::Starts),
                field("/context/timeout", json!("87601h")).is(Expected::Refused("at most 87600h")),
                field("/context/timeout", json!("100000h")).is(Expected::Refused("at most 87600h")),
            ],
        )
        .differs("the maximum is 87600h, ten years"),
        row(
            17,
            "a timeout that is a number",
            [field("/context/timeout", json!(30))
                .refused_and_stored("spec.context.timeout", Expected::OnlyEvent(Reason::InvalidSpec))],
        ),
        row(
            18,
            "a timeout of 10,000 characters",
            [field("/context/timeout", json!("s".repeat(10_000)))
                .refused_and_stored("spec.context.timeout", INVALID)],
        ),
    ]
}

fn no_deadline(execution: &Value, _: &Value) -> Result<()> {
    ensure!(execution["status"]["deadline"].is_null(), "it has a deadline: {}", execution["status"]);
    Ok(())
}

async fn same_name_again(env: &Env) -> Result<()> {
    let running = async || {
        let is =
            |status: &runner_controller::crd::RunnerExecutionStatus| status.phase == Some(Phase::Running);
        env.until("a", "running", |rex| rex.status.as_ref().is_some_and(is)).await
    };
    env.run("a", "job", endless(), |_| ()).await?;
    let first = running().await?.status.unwrap().resources[0].uid.clone();
    env.kubectl(&["delete", "rex", "a", "--cascade=background"]).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    let second = running().await?.status.unwrap().resources[0].uid.clone();
    ensure!(first != second, "the former Job was taken over");
    ensure!(
        env.get("job", "a").await?["metadata"]["uid"] == second.as_str(),
        "the former Job is still there"
    );
    Ok(())
}
