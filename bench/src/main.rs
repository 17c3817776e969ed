//! The command line of the benchmark.
#![allow(clippy::print_stdout, reason = "a command line prints its result")]
#![allow(clippy::disallowed_methods, reason = "this crate measures time")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use bench::{
    bare::Bare,
    legacy::Legacy,
    machine::Machine,
    peers::{self, Peer, Tuning},
    plots, report,
    results::Outcome,
    scenario::{Scenario, Sizes},
    target::Target,
    world::Bench,
};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

/// Measures runner-controller against its peers.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Internal>,
    #[command(flatten)]
    run: Run,
}

#[derive(clap::Args)]
struct Run {
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    scenario: Vec<Scenario>,
    /// Whom to compare.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "floor,reactive,ours,go-tuned,go-default"
    )]
    peers: Vec<Peer>,
    /// How often.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Where results are written; by default nowhere, or docs/benchmarks if all scenarios are run.
    #[arg(long)]
    out: Option<PathBuf>,
    /// A remark that is kept with the results, such as "on a busy machine".
    #[arg(long, default_value = "")]
    note: String,
    /// How many executions the bare clients work on at once.
    #[arg(long, default_value_t = 32)]
    floor_concurrency: usize,
    /// The bare clients speak HTTP/2.
    #[arg(long)]
    floor_http2: bool,
    /// etcd syncs each write to disk.
    #[arg(long)]
    fsync: bool,
    /// Where the control planes live; a temporary folder if absent.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The controller's binary; built if absent.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// The Go peer's binary; built if absent.
    #[arg(long)]
    go: Option<PathBuf>,
    #[command(flatten)]
    sizes: Sizes,
}

#[derive(Subcommand)]
enum Internal {
    /// A bare client, started by the benchmark itself.
    #[command(hide = true)]
    Peer {
        #[arg(value_enum)]
        mode: Mode,
        #[arg(long)]
        target: PathBuf,
        #[arg(long, default_value_t = 32)]
        concurrency: usize,
        #[arg(long)]
        http2: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Blind,
    Reactive,
    Stream,
    Legacy,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Internal::Peer { mode, target, concurrency, http2 }) => {
            peer(mode, target, concurrency, http2).await
        }
        None => measure(cli.run).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn peer(mode: Mode, target: PathBuf, concurrency: usize, http2: bool) -> Result<()> {
    let target = Target::read(&target)?;
    let bare = Bare::new(target.clone(), http2)?;
    match mode {
        Mode::Legacy => {
            Legacy::new(target)?.run(concurrency).await?;
            std::future::pending().await
        }
        Mode::Blind => {
            bare.blind(concurrency).await?;
            // The harness still wants to read what this process cost.
            std::future::pending().await
        }
        Mode::Reactive => bare.reactive(concurrency).await,
        Mode::Stream => bare.stream().await,
    }
}

async fn measure(run: Run) -> Result<()> {
    let machine = Machine::look(run.fsync, run.note.clone());
    let programs = peers::build(run.ours.as_deref(), run.go.as_deref()).await?;
    let tuning = Tuning { floor_concurrency: run.floor_concurrency, floor_http2: run.floor_http2 };
    let temporary = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let dir = run.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let mut bench = Bench { programs, tuning, dir, fsync: run.fsync };
    let mut outcomes = Vec::new();
    let ended = tokio::select! {
        ended = all(&mut bench, &run, &machine, &mut outcomes) => ended,
        stopped = stopped() => stopped,
    };
    bench.clean_up().await?;
    // What is there is told even if not everything is.
    println!("{}{}", report::requests(&outcomes), report::tables(&outcomes));
    ended
}

/// Ctrl-C, or what `timeout` sends.
async fn stopped() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupt = tokio::signal::ctrl_c() => interrupt?,
    }
    anyhow::bail!("interrupted; nothing of it is left running")
}

/// Writes what is known so far.
fn publish(run: &Run, machine: &Machine, outcomes: &[Outcome]) -> Result<()> {
    let published = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
    let out = run.out.clone().or_else(|| run.scenario.contains(&Scenario::All).then(published));
    let Some(out) = out else { return Ok(()) };
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    report::write_json(&out.join("results.json"), machine, outcomes)?;
    plots::write(&out, outcomes)
}

/// Everything that was asked for: within each repeat the peers take turns, every other repeat the other way round.
async fn all(bench: &mut Bench, run: &Run, machine: &Machine, outcomes: &mut Vec<Outcome>) -> Result<()> {
    let scenarios: Vec<Scenario> = run.scenario.iter().flat_map(|scenario| scenario.each()).collect();
    let bar = ProgressBar::new((scenarios.len() * run.repeats).try_into()?);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}")?);
    for scenario in scenarios {
        let mut peers = scenario.suited(&run.peers);
        for repeat in 1..=run.repeats {
            let tell = |peer: Peer| {
                bar.set_message(format!("{} {repeat}/{}: {}", scenario.name(), run.repeats, peer.name()));
            };
            let new = scenario.run(bench, &run.sizes, &peers, tell).await?;
            outcomes.extend(new.into_iter().map(|outcome| Outcome { repeat, ..outcome }));
            publish(run, machine, outcomes)?;
            peers.reverse();
            bar.inc(1);
        }
        if scenario == Scenario::Floor {
            bench.tuning = report::best_floor(outcomes).unwrap_or(bench.tuning);
        }
    }
    bar.finish_and_clear();
    Ok(())
}
