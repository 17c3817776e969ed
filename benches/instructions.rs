//! What the paths cost that are taken for every execution and every watch event, in instructions and allocations:
//! figures that no noise changes, each with a limit that a change must not exceed unnoticed.
//!
//! The limits are a tenth above what was measured; a change that needs more says why and sets them anew. Runs in
//! Valgrind, by `cargo bench --bench instructions`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark may panic; its macros write undocumented items"
)]

use std::hint::black_box;

use gungraun::{
    Callgrind, Dhat, DhatMetric, EventKind, LibraryBenchmarkConfig, library_benchmark,
    library_benchmark_group, main,
};
use k8s_openapi::jiff::Timestamp;
use kube::core::WatchEvent;
use runner_controller::{
    controller::{
        child::{Entry, Watched},
        decide::{Ending, Seen, Stage, State, Step, decide},
        execution::Execution,
        packed::Packed,
        patch::patch,
        received::Received,
        status,
    },
    crd::ResourceRef,
    runners::{Observation, Registry, Rendered, Run, Runner as _, Settings, argo::ArgoWorkflow},
};
use serde_json::{Value, json, value::RawValue};

/// An execution that has just been created, with 1 KiB of arguments.
const EXECUTION: &str = include_str!("recorded/execution.json");
/// One that runs.
const RUNNING: &str = include_str!("recorded/running.json");
/// The metadata of a Workflow that was released, as its watch sends it.
const WORKFLOW: &str = include_str!("recorded/workflow-metadata.json");
/// A Job with its pod at work.
const JOB: &str = include_str!("recorded/job.json");

fn limits(instructions: u64, allocations: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)])).tool(
        Dhat::default()
            // Whether an allocation is the function's own is told from its stack, and decoding nests deep.
            .args(["num-callers=200"])
            .hard_limits([(DhatMetric::TotalBlocks, allocations)]),
    );
    config
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn event(object: &str) -> String {
    format!(r#"{{"type":"MODIFIED","object":{object}}}"#)
}

fn read(object: &str) -> Execution {
    let execution: Execution = serde_json::from_str(object).unwrap();
    assert!(execution.spec.is_ok(), "the recorded execution is of another form");
    execution
}

fn registry() -> Registry {
    Registry::built_in(&Settings::default())
}

fn running_state() -> (State, Seen) {
    let state = State {
        stage: Stage::Started { child: "u".into(), deadline: Some(Timestamp::MAX), halt: None },
        suspend: false,
        cancel: false,
        deleting: false,
        dry_run: false,
        owner_missing: false,
        refusal: None,
    };
    let event: WatchEvent<Watched<true>> = serde_json::from_str(&event(WORKFLOW)).unwrap();
    let WatchEvent::Modified(watched) = event else { unreachable!() };
    let entry = Entry::from_watched(&watched, &registry()).unwrap();
    let mut child = entry.seen(&read(RUNNING));
    child.uid = "u".into();
    (state, Seen::Child(child))
}

#[library_benchmark(config = limits(502, 0))]
#[bench::running(running_state())]
fn decision((state, seen): (State, Seen)) -> Step {
    black_box(decide(black_box(&state), black_box(&seen), now()))
}

#[library_benchmark(config = limits(208_000, 130))]
#[bench::created(event(EXECUTION))]
#[bench::running(event(RUNNING))]
fn decode_execution(event: String) -> WatchEvent<Execution> {
    black_box(serde_json::from_str(black_box(&event)).unwrap())
}

// What our own last write costs when the watch shows it.
#[library_benchmark(config = limits(79_700, 8))]
#[bench::running(event(RUNNING))]
fn receive_execution(event: String) -> WatchEvent<Received> {
    black_box(serde_json::from_str(black_box(&event)).unwrap())
}

#[library_benchmark(config = limits(34_700, 26))]
#[bench::workflow_metadata(event(WORKFLOW), registry())]
fn decode_metadata(event: String, registry: Registry) -> Option<Entry> {
    let event: WatchEvent<Watched<true>> = serde_json::from_str(black_box(&event)).unwrap();
    let WatchEvent::Modified(watched) = event else { return None };
    black_box(Entry::from_watched(&watched, &registry))
}

#[library_benchmark(config = limits(61_600, 32))]
#[bench::job(event(JOB), registry())]
fn decode_job(event: String, registry: Registry) -> Option<Entry> {
    let event: WatchEvent<Watched<false>> = serde_json::from_str(black_box(&event)).unwrap();
    let WatchEvent::Modified(watched) = event else { return None };
    black_box(Entry::from_watched(&watched, &registry))
}

#[library_benchmark(config = limits(61_400, 15))]
#[bench::running(read(RUNNING))]
fn pack(execution: Execution) -> Packed {
    black_box(Packed::of(black_box(&execution)))
}

#[library_benchmark(config = limits(36_900, 22))]
#[bench::running(Packed::of(&read(RUNNING)))]
fn unpack(packed: Packed) -> Option<Execution> {
    black_box(black_box(&packed).unpack())
}

fn child() -> ResourceRef {
    ResourceRef {
        api_version: "argoproj.io/v1alpha1".into(),
        kind: "Workflow".into(),
        namespace: "team".into(),
        name: "hello".into(),
        uid: "0f1d3c5e-7a9b-4c2d-8e6f-1a3b5c7d9e0f".into(),
    }
}

#[library_benchmark(config = limits(68_700, 56))]
#[bench::started(read(EXECUTION))]
fn encode_started(execution: Execution) -> Option<Box<RawValue>> {
    let new = status::started(&execution, child(), None, now());
    black_box(patch(&execution, &new))
}

#[library_benchmark(config = limits(57_800, 60))]
#[bench::succeeded(read(RUNNING))]
fn encode_finished(execution: Execution) -> Option<Box<RawValue>> {
    let seen = Observation::Succeeded { progress: Some("1/1".into()), output: None, message: String::new() };
    let new = status::finished(&execution, Ending::Observed(seen), None, now());
    black_box(patch(&execution, &new))
}

/// A dag of a thousand tasks in a row, each with a value from the one before, that run a template with a thousand inputs:
/// what takes a time that grows with the square of its size shows here.
fn large_workflow() -> Value {
    let inputs: Vec<Value> = (0..1000).map(|i| json!({"name": format!("p{i}"), "default": "x"})).collect();
    let tasks: Vec<Value> = (0..1000)
        .map(|i| {
            let value =
                if i == 0 { String::new() } else { format!("{{{{tasks.t{}.outputs.result}}}}", i - 1) };
            let depends = if i == 0 { String::new() } else { format!("t{}", i - 1) };
            let arguments = json!({"parameters": [{"name": "p0", "value": value}]});
            json!({"name": format!("t{i}"), "template": "leaf", "depends": depends, "arguments": arguments})
        })
        .collect();
    json!({"workflow": {"entrypoint": "main", "templates": [
        {"name": "main", "dag": {"tasks": tasks}},
        {"name": "leaf", "inputs": {"parameters": inputs}, "container": {"image": "x"}},
    ]}})
}

#[library_benchmark(config = limits(116_000_000, 148_000))]
#[bench::dag(large_workflow())]
fn check_workflow(args: Value) -> Rendered {
    black_box(ArgoWorkflow.render(&Run::example(black_box(&args))).unwrap())
}

library_benchmark_group!(
    name = paths;
    benchmarks = decision, decode_execution, receive_execution, decode_metadata, decode_job, pack, unpack, encode_started,
        encode_finished, check_workflow
);
main!(library_benchmark_groups = paths);
