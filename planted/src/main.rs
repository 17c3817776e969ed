//! Would the tests notice? Bugs that somebody could write are planted in a copy of the project, one at a time, and
//! the checks are run on it, cheapest first, until one fails. A bug that no check catches is a hole in the tests.
//!
//! [`bugs`] the table; [`check`] what may catch one; [`tree`] where they are planted; [`report`] what is told.
//! I/O: runs cargo and git, writes below `target/planted`. Fails if a bug is missed, or does not fit the code any
//! more, or does not compile: so the table cannot rot.
#![allow(clippy::print_stdout, reason = "the output of a command for people")]
#![allow(
    clippy::disallowed_methods,
    reason = "it tells how long things took; the list guards the controller's core"
)]

mod bugs;
mod check;
mod report;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::{
    bugs::Bug,
    check::{Check, Clusters, Outcome},
    report::{Finding, Report},
    tree::Tree,
};

/// Plant bugs in a copy of the project, one at a time, and tell which check catches which.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Only bugs whose name holds this text; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Only bugs that a pure test catches, and only that test: what fits into every test run.
    #[arg(long)]
    bounded: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) if report.all_caught() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("planted: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report> {
    let began = Instant::now();
    let chosen = chosen(arguments);
    ensure!(!chosen.is_empty(), "no bug has such a name");
    let project = project()?;
    println!("Copying the project ...");
    let tree = Tree::copy(&project, &target(&project))?;
    let clusters = every_check(&chosen).iter().any(Check::needs_cluster).then(Clusters::new).transpose()?;
    pass_without_bugs(&chosen, &tree, clusters.as_ref())?;
    let mut findings = Vec::new();
    for (number, (bug, checks)) in chosen.iter().enumerate() {
        println!("[{}/{}] {}", number + 1, chosen.len(), bug.name);
        let now = Instant::now();
        let result = try_bug(bug, checks, &tree, clusters.as_ref());
        let finding = Finding { bug: bug.name, result, took: now.elapsed() };
        println!("  {finding}");
        findings.push(finding);
    }
    let report = Report { findings, took: began.elapsed() };
    println!("\n{report}");
    Ok(report)
}

/// The bugs that were asked for, with what each is tried on.
fn chosen(arguments: &Arguments) -> Vec<(&'static Bug, Vec<Check>)> {
    let wanted = |name: &str| arguments.only.iter().any(|text| name.contains(text.as_str()));
    bugs::all()
        .filter(|bug| arguments.only.is_empty() || wanted(bug.name))
        .map(|bug| (bug, bug.checks(arguments.bounded)))
        .filter(|(_, checks)| !checks.is_empty())
        .collect()
}

/// A check that fails anyway catches nothing.
fn pass_without_bugs(chosen: &[(&Bug, Vec<Check>)], tree: &Tree, clusters: Option<&Clusters>) -> Result<()> {
    println!("Without any bug, every check must pass:");
    for check in every_check(chosen) {
        let now = Instant::now();
        match check.run(tree, clusters)? {
            Outcome::Passed => println!("  {check}: passed, {} s", now.elapsed().as_secs()),
            Outcome::Failed(what) => bail!("{check} fails without any bug: {what}"),
        }
    }
    Ok(())
}

/// The first check to fail with the bug, and what of it; none if all pass. Fails if the bug does not fit or compile.
fn try_bug(
    bug: &Bug,
    checks: &[Check],
    tree: &Tree,
    clusters: Option<&Clusters>,
) -> Result<Option<(Check, String)>> {
    let planted = tree.plant(bug)?;
    let mut caught = None;
    for check in checks {
        if let Outcome::Failed(what) = check.run(tree, clusters)? {
            caught = Some((check.clone(), what));
            break;
        }
    }
    planted.remove()?;
    Ok(caught)
}

/// Each check that is needed, once.
fn every_check(chosen: &[(&Bug, Vec<Check>)]) -> Vec<Check> {
    let mut all: Vec<Check> = chosen.iter().flat_map(|(_, checks)| checks.clone()).collect();
    all.sort();
    all.dedup();
    all
}

/// Where the project lies.
fn project() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("the crate lies nowhere")?.to_owned())
}

/// Where the project's own builds are.
fn target(project: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from)
}
