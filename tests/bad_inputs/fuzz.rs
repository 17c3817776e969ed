//! Random specs against the real API server and the real controller: each is refused, or comes to an end with a
//! reason, or starts (and is then cancelled, so that it ends as well). None is left without a condition.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use devcluster::Cluster;
use futures::{StreamExt, stream};
use kube::api::{Patch, PatchParams};
use proptest::{
    strategy::{BoxedStrategy, Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
use serde_json::{Value, json};

use crate::{
    common::{Env, full, has_condition},
    generate,
    process::Controller,
    schema::{self, LENIENT},
    watched::{Last, Watched},
};

/// How many are under way at the same time.
const AT_ONCE: usize = 64;

/// Where the specs of a run come from.
struct Source {
    seed: u64,
    specs: BoxedStrategy<Value>,
}

impl Source {
    /// The spec of that number: each has a seed of its own, so that one can be repeated alone.
    fn spec(&self, number: u64) -> Value {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&number.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        self.specs.new_tree(&mut runner).unwrap().current()
    }
}

/// Tries as many as the environment asks for.
pub(crate) async fn run(cluster: &'static Cluster) -> Result<()> {
    let began = Instant::now();
    let env = Env::without_controller(cluster).await?;
    let seed = number("FUZZ_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs())
    });
    let count = number("FUZZ_COUNT").unwrap_or_else(|| if full() { 10_000 } else { 1_500 });
    println!("fuzz: {count} specs, FUZZ_SEED={seed}");
    let source = Source { seed, specs: generate::specs(&env.namespace) };
    let watched = Watched::namespace(env.client.clone(), &env.namespace);
    let mut controller = Controller::start(cluster, Some(&env.namespace)).await?;
    let results: Vec<(u64, Result<String>)> = stream::iter(0..count)
        .map(|number| {
            let spec = source.spec(number);
            let (env, watched) = (&env, &watched);
            async move { (number, try_one(env, watched, &format!("f{number}"), spec).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    controller.check().await?;
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = 0;
    for (number, result) in results {
        match result {
            Ok(word) => *tally.entry(word).or_default() += 1,
            Err(error) => {
                failed += 1;
                let spec: String = source.spec(number).to_string().chars().take(2000).collect();
                println!("FAILED spec {number} of FUZZ_SEED={seed}: {error:#}\n  {spec}");
            }
        }
    }
    for (word, count) in &tally {
        println!("{word:<40} {count:>6}");
    }
    println!(
        "fuzz: {count} specs of FUZZ_SEED={seed}, {failed} failed, 0 panics, 0 restarts, {} MiB at most, {} s",
        controller.peak_memory()?,
        began.elapsed().as_secs()
    );
    ensure!(failed == 0, "{failed} of {count} specs failed");
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// What became of it, in a few words.
async fn try_one(env: &Env, watched: &Watched, name: &str, mut spec: Value) -> Result<String> {
    // Clean-up after a cancel may take for ever, and only a timeout ends it.
    let cleans_up = ["onExit", "hooks"].iter().any(|field| !spec["args"]["workflow"][field].is_null());
    if let Some(context) = spec.get_mut("context").and_then(Value::as_object_mut).filter(|_| cleans_up) {
        context.insert("timeout".into(), json!("20s"));
    }
    let foreign = spec["managedBy"].as_str().is_some_and(|by| by != runner_controller::crd::MANAGED_BY);
    let body = json!({
        "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution", "metadata": {"name": name}, "spec": spec,
    });
    match schema::create(env, &body.to_string(), LENIENT).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            return Ok(format!("refused by the API server: {}", status.code));
        }
        Err(error) => return Err(error).context("the API server neither took nor refused it"),
    }
    let last = watched.until(name, "settled", |last| foreign || is_settled(last)).await?;
    has_conditions(&last.rex)?;
    if foreign {
        return Ok("left to another controller".to_owned());
    }
    if last.finished.is_some() || last.gone {
        return Ok(end_of(&last.rex));
    }
    let stood = reason_of(&last.rex);
    let cancel = Patch::Merge(json!({"spec": {"cancel": true}}));
    match env.executions().patch_metadata(name, &PatchParams::default(), &cancel).await {
        // It may have ended meanwhile, and gone with its time to live.
        Ok(_) | Err(kube::Error::Api(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let ended = tokio::time::timeout(Duration::from_secs(90), watched.end(name)).await;
    let end = ended.with_context(|| format!("{stood}, then cancelled, and never ended"))??;
    has_conditions(&end)?;
    Ok(format!("{stood}, then cancelled"))
}

/// Nothing more happens by itself, or only when its work does something.
fn is_settled(last: &Last) -> bool {
    let status = last.rex.status.clone().unwrap_or_default();
    last.gone
        || last.finished.is_some()
        || matches!(status.phase, Some(Phase::Running | Phase::Suspended))
        || status.reason == Some(Reason::RunnerNotFound)
}

fn reason_of(rex: &RunnerExecution) -> String {
    rex.status.as_ref().and_then(|s| s.reason).map_or_else(|| "nothing".into(), |reason| reason.to_string())
}

fn end_of(rex: &RunnerExecution) -> String {
    let phase = rex.status.as_ref().and_then(|s| s.phase);
    format!("{phase:?} {}", reason_of(rex)).trim_start_matches("Some(").replacen(')', ":", 1)
}

fn has_conditions(rex: &RunnerExecution) -> Result<()> {
    let told = has_condition(rex, "Finished", "True") || has_condition(rex, "Finished", "False");
    ensure!(
        told && rex.status.as_ref().is_some_and(|s| s.reason.is_some()),
        "no condition: {:?}",
        rex.status
    );
    Ok(())
}
