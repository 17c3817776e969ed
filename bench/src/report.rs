//! What people read: tables in the terminal, and the same as JSON.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::{
    machine::Machine,
    peers::{Peer, Tuning},
    results::{Outcome, Summary, summary},
};

/// The columns of a scenario's table: figure, heading, decimals.
type Columns = &'static [(&'static str, &'static str, usize)];

const ACCOUNTING: Columns = &[
    ("writes", "writes", 3),
    ("reads", "reads", 3),
    ("events", "events", 3),
    ("conflicts", "409s", 3),
    ("other_errors", "other errors", 3),
    ("no_ops", "changing nothing", 3),
];
const LATENCY: Columns = &[
    ("start_p50", "create → child P50 ms", 2),
    ("start_p90", "P90", 2),
    ("start_p99", "P99", 2),
    ("start_max", "max", 1),
    ("finish_p50", "child's end → status P50 ms", 2),
    ("finish_p90", "P90", 2),
    ("finish_p99", "P99", 2),
    ("finish_max", "max", 1),
    ("cpu", "CPU s per 1,000", 2),
    ("others_share", "others' CPU %", 0),
];
const DRAIN: Columns = &[
    ("rate", "executions/s", 1),
    ("cpu", "CPU s per 1,000", 2),
    ("peak", "peak MiB", 1),
    ("sockets", "sockets", 0),
    ("cpu_apiserver", "API server CPU s", 2),
    ("cpu_etcd", "etcd CPU s", 2),
    ("harness_share", "harness CPU %", 1),
    ("others_share", "others' CPU %", 0),
    ("first_child", "first child ms", 0),
    ("order", "order kept", 3),
];

const FLOOR: Columns =
    &[("rate", "executions/s", 1), ("cpu", "CPU s per 1,000", 2), ("sockets", "sockets", 0)];
const RAMP: Columns = &[
    ("max_rate", "most executions/s", 0),
    ("p99_at_max", "create → child P99 ms there", 1),
    ("rate_breached", "breached at", 0),
];
const STATE: Columns = &[
    ("stream", "bare stream ms", 0),
    ("up_ready", "start → reconciling ms", 0),
    ("up_cpu", "CPU s", 2),
    ("idle_cpu", "idle CPU s/min", 4),
    ("idle_requests", "requests/min", 1),
    ("idle_switches", "switches/s", 1),
    ("rss", "RSS MiB", 1),
    ("pss", "PSS MiB", 1),
    ("peak", "peak MiB", 1),
    ("again_ready", "restart → reconciling ms", 0),
    ("again_cpu", "CPU s", 2),
    ("again_writes", "writes", 0),
];
const NOISE: Columns = &[
    ("per_event", "µs CPU per update", 1),
    ("rate", "updates/s", 0),
    ("requests", "requests", 0),
    ("rss_growth", "RSS growth MiB", 2),
    ("rss", "RSS MiB", 1),
];
const ARGO: Columns = &[
    ("direct_p50", "created directly → ended P50 ms", 1),
    ("direct_p99", "P99", 1),
    ("through_p50", "as an execution P50 ms", 1),
    ("through_p99", "P99", 1),
    ("added_p50", "added P50 ms", 1),
];
const SOAK: Columns = &[
    ("rss_first", "RSS MiB, first", 1),
    ("rss_last", "last", 1),
    ("rss_per_hour", "MiB per hour", 2),
    ("first_p99", "create → child P99 ms, first quarter", 1),
    ("last_p99", "last quarter", 1),
    ("sockets", "sockets", 0),
];

/// The columns of a scenario.
pub fn columns(scenario: &str) -> Columns {
    match scenario {
        "accounting" => ACCOUNTING,
        "latency" => LATENCY,
        "drain" | "sizes" => DRAIN,
        "floor" => FLOOR,
        "ramp" => RAMP,
        "state" => STATE,
        "noise" => NOISE,
        "soak" => SOAK,
        "argo" => ARGO,
        _ => &[],
    }
}

/// How the bare client did best, by its median.
pub fn best_floor(outcomes: &[Outcome]) -> Option<Tuning> {
    let rate = |case: &&str| {
        let runs = outcomes.iter().filter(|o| o.scenario == "floor" && o.case == **case);
        summary(runs, "rate").map_or(0.0, |rate| rate.median)
    };
    let of_floor =
        cases(outcomes).into_iter().filter(|(scenario, _)| *scenario == "floor").map(|(_, case)| case);
    let best = of_floor.max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let run = outcomes.iter().find(|o| o.scenario == "floor" && o.case == best)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let floor_concurrency = *run.figures.get("concurrency")? as usize;
    Some(Tuning { floor_concurrency, floor_http2: *run.figures.get("http2")? > 0.0 })
}

/// Outcomes of one scenario and case, by peer in their order.
pub fn by_peer<'a>(outcomes: &'a [Outcome], scenario: &str, case: &str) -> BTreeMap<Peer, Vec<&'a Outcome>> {
    let mut peers: BTreeMap<Peer, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|o| o.scenario == scenario && o.case == case) {
        peers.entry(outcome.peer).or_default().push(outcome);
    }
    peers
}

/// The scenarios and cases there are, in the order of running.
pub fn cases(outcomes: &[Outcome]) -> Vec<(&str, &str)> {
    let mut cases = Vec::new();
    for outcome in outcomes {
        let case = (outcome.scenario.as_str(), outcome.case.as_str());
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    cases
}

/// All tables as text.
pub fn tables(outcomes: &[Outcome]) -> String {
    let tables = cases(outcomes).into_iter().map(|(scenario, case)| {
        let peers = by_peer(outcomes, scenario, case);
        format!("\n{scenario}: {case}\n{}\n{}", table(scenario, &peers), disqualified(&peers))
    });
    tables.collect()
}

fn disqualified(peers: &BTreeMap<Peer, Vec<&Outcome>>) -> String {
    let line = |run: &&Outcome| {
        let why = run.disqualified.as_deref()?;
        Some(format!("disqualified: {}, run {}: {why}\n", run.peer.name(), run.repeat))
    };
    peers.values().flatten().filter_map(line).collect()
}

fn table(scenario: &str, peers: &BTreeMap<Peer, Vec<&Outcome>>) -> Table {
    let columns = columns(scenario);
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let ratio = matches!(scenario, "drain" | "sizes").then(|| {
        let floor = peers.get(&Peer::Floor)?;
        summary(floor.iter().copied(), "rate").map(|rate| rate.median)
    });
    let mut heading = vec!["peer".to_owned(), "runs".to_owned()];
    heading.extend(columns.iter().map(|(_, title, _)| (*title).to_owned()));
    if ratio.is_some() {
        heading.push("of the floor".into());
    }
    table.set_header(heading);
    for (peer, runs) in peers {
        let mut row = vec![peer.name().to_owned(), runs.len().to_string()];
        row.extend(
            columns
                .iter()
                .map(|(figure, _, decimals)| cell(summary(runs.iter().copied(), figure), *decimals)),
        );
        if let Some(floor) = ratio {
            let own = summary(runs.iter().copied(), "rate").map(|rate| rate.median);
            row.push(own.zip(floor).map_or_else(|| "–".into(), |(own, floor)| format!("{:.2}", own / floor)));
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cell(summary: Option<Summary>, decimals: usize) -> String {
    match summary {
        None => "–".into(),
        Some(Summary { median, least, greatest }) if least.total_cmp(&greatest).is_eq() => {
            format!("{median:.decimals$}")
        }
        Some(Summary { median, least, greatest }) => {
            format!("{median:.decimals$}\n({least:.decimals$}–{greatest:.decimals$})")
        }
    }
}

/// The requests of each peer, per execution, as text.
pub fn requests(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes.iter().filter(|o| !o.requests.is_empty() && o.repeat == 1) {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["verb", "resource", "as", "program", "code", "count"]);
        for request in &outcome.requests {
            let identity = if request.impersonated { "ServiceAccount" } else { "itself" };
            let (code, count) = (request.code.to_string(), request.count.to_string());
            table.add_row([&request.verb, &request.resource, identity, &request.agent, &code, &count]);
        }
        let (peer, case, scenario) = (outcome.peer.name(), &outcome.case, &outcome.scenario);
        text += &["\nrequests of ", peer, " for ", case, " (", scenario, ")\n", &table.to_string(), "\n"]
            .concat();
    }
    text
}

/// Writes everything as JSON.
pub fn write_json(path: &Path, machine: &Machine, outcomes: &[Outcome]) -> Result<()> {
    #[derive(Serialize)]
    struct Report<'a> {
        machine: &'a Machine,
        outcomes: &'a [Outcome],
    }
    let text = serde_json::to_string_pretty(&Report { machine, outcomes })?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
