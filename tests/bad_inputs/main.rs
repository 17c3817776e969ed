//! Bad inputs on a real API server, with the real controller as a process: the reference's table row by row, random
//! specs from the CRD's own schema, and poison among good executions.
//!
//! `CRASH_MATRIX=full` takes more random specs and more poison; `FUZZ_SEED` and `FUZZ_COUNT` repeat them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests do I/O")]
#![allow(unreachable_pub, reason = "a test has no public surface")]
#![allow(clippy::needless_pass_by_value, reason = "a json! literal reads better without a reference")]

#[path = "../common/mod.rs"]
mod common;
mod etcd;
mod fuzz;
mod generate;
mod poison;
mod process;
mod report;
mod row;
mod rows;
mod schema;
mod trial;
mod watched;

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{
    common::Env,
    process::Controller,
    report::{Kind, Outcome, report},
    row::{Expected, Row, endless},
    trial::{Place, Places},
    watched::Watched,
};

/// How many objects are on trial at the same time.
const AT_ONCE: usize = 48;
/// More memory than a controller may take, in MiB, whatever it is fed.
const MOST_MEMORY: u64 = 512;

#[test]
fn every_row_of_the_table_is_tested_or_listed_with_a_reason() {
    let numbers: Vec<u8> = rows::all().iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=rows::LAST).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_bad_input_of_the_table_is_refused_or_fails_with_a_reason() -> Result<()> {
    let began = Instant::now();
    let places = open().await?;
    let rows = rows::all();
    // The last one disturbs everybody, so it comes last.
    let (last, others): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.number == rows::LAST);
    let bodies = stored_bodies(&rows).into_iter().map(|body| (&places.quiet.env, body));
    schema::store_past(&bodies.collect::<Vec<_>>()).await?;
    let cluster = places.quiet.env.cluster;
    let mut controller = Controller::start(cluster, None).await?;
    places.try_good("good").await?;
    let mut outcomes: Vec<Outcome> = try_all(others.iter().flat_map(|row| trials(&places, row))).await;
    controller.check().await?;
    let memory = controller.peak_memory()?;

    // All of it is listed again by a new process.
    drop(controller);
    let mut controller = Controller::start(cluster, None).await?;
    places.try_good("good-again").await?;
    outcomes.extend(try_all(last.iter().flat_map(|row| trials(&places, row))).await);
    controller.check().await?;
    let memory = memory.max(controller.peak_memory()?);

    report(&rows, &outcomes, began.elapsed());
    println!("the controller took {memory} MiB at most");
    ensure!(memory < MOST_MEMORY, "the controller took {memory} MiB");
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    ensure!(failed == 0, "{failed} of {} trials failed", outcomes.len());
    nothing_was_made(&places.quiet.env).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_spec_is_refused_or_fails_with_a_reason_or_starts() -> Result<()> {
    fuzz::run(schema::cluster().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn poison_among_good_executions_does_not_hold_them_up() -> Result<()> {
    poison::run(schema::cluster().await?).await
}

/// One object, or one story, on trial.
struct Trial<'a> {
    row: u8,
    what: String,
    kind: Kind,
    run: BoxFuture<'a, Result<()>>,
}

async fn try_all<'a>(trials: impl Iterator<Item = Trial<'a>>) -> Vec<Outcome> {
    stream::iter(trials)
        .map(|Trial { row, what, kind, run }| async move {
            let result = std::panic::AssertUnwindSafe(run).catch_unwind().await;
            let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("the test itself panicked")));
            Outcome { row, what, kind, result }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// Everything that a row asks for.
fn trials<'a>(places: &'a Places, row: &'a Row) -> Vec<Trial<'a>> {
    let number = row.number;
    let mut trials = Vec::new();
    for (index, case) in row.cases().iter().enumerate() {
        let name = format!("r{number}-{index}");
        let run = async move { places.try_case(case, &name).await }.boxed();
        trials.push(Trial {
            row: number,
            what: case.input.what.clone(),
            kind: Kind::of(&case.expected),
            run,
        });
        if let Some(stored) = case.stored {
            let name = stored_name(number, index);
            let run = async move { places.try_stored(stored, &name).await }.boxed();
            trials.push(Trial {
                row: number,
                what: format!("stored: {}", case.input.what),
                kind: Kind::of(&stored),
                run,
            });
        }
    }
    if let Some(story) = row.story() {
        let cluster = places.quiet.env.cluster;
        let run = async move { story(&Env::without_controller(cluster).await?).await }.boxed();
        trials.push(Trial { row: number, what: row.what.to_owned(), kind: Kind::Story, run });
    }
    trials
}

fn stored_name(row: u8, index: usize) -> String {
    format!("stored-{row}-{index}")
}

fn stored_bodies(rows: &[Row]) -> Vec<String> {
    let cases = rows
        .iter()
        .flat_map(|row| row.cases().iter().enumerate().map(|(index, case)| (row.number, index, case)));
    cases
        .filter(|(_, _, case)| case.stored.is_some())
        .map(|(row, index, case)| case.input.body(&stored_name(row, index)))
        .collect()
}

impl Places {
    /// The controller is alive and well.
    async fn try_good(&self, name: &str) -> Result<()> {
        let good = row::job(endless()).named(name).is(Expected::Starts);
        self.try_case(&good, name).await
    }
}

/// The namespaces of the table, with what its rows refer to.
async fn open() -> Result<Places> {
    let place = async || -> Result<Place> {
        let env = Env::without_controller(schema::cluster().await?).await?;
        env.kubectl(&["create", "role", "reads", "--verb=get", "--resource=configmaps,secrets"]).await?;
        let account = format!("--serviceaccount={}:deployer", env.namespace);
        env.kubectl(&["create", "rolebinding", "reads", "--role=reads", &account]).await?;
        secrets(&env).await?;
        let watched = Watched::namespace(env.client.clone(), &env.namespace);
        Ok(Place { env, watched })
    };
    let places = Places { quiet: place().await?, busy: place().await?, guarded: place().await? };
    places.quiet.env.kubectl(&["create", "configmap", "action"]).await?;
    places.busy.env.kubectl(&["create", "configmap", "elsewhere"]).await?;
    let namespace = &places.guarded.env.namespace;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    places.guarded.env.kubectl(&["label", "namespace", namespace, restricted]).await?;
    Ok(places)
}

async fn secrets(env: &Env) -> Result<()> {
    let bomb = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(50_000), "*a,".repeat(50_000));
    let texts = json!({
        "bomb": bomb, "twice": "image: a\nimage: b\n", "tab": "image:\n\t- a\n", "tag": "image: !secret {a: b}\n",
        "list": "[1]", "documents": "a: 1\n---\nb: 2\n", "anchor": "env: &e [{name: A, value: b}]\n",
    });
    let binary = serde_json::to_value(k8s_openapi::ByteString(vec![0xff, 0xfe, 0x00]))?;
    let huge = json!({"args": "x".repeat(1_000_000)});
    let api = Api::<Secret>::namespaced(env.client.clone(), &env.namespace);
    for secret in [
        json!({"metadata": {"name": "texts"}, "stringData": texts, "data": {"binary": binary}}),
        json!({"metadata": {"name": "huge"}, "stringData": huge}),
    ] {
        api.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    }
    Ok(())
}

/// By the audit log, since what was made may be gone again.
async fn nothing_was_made(env: &Env) -> Result<()> {
    let mut made = common::audit(env.cluster).await?;
    made.retain(|event| {
        event["verb"] == "create"
            && event["objectRef"]["namespace"] == env.namespace.as_str()
            && matches!(event["objectRef"]["resource"].as_str(), Some("jobs" | "workflows"))
            && event["responseStatus"]["code"] == 201
    });
    ensure!(made.is_empty(), "something was made where nothing may be: {made:?}");
    Ok(())
}
