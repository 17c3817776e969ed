//! Plots as SVG: for each scenario its most telling figures as bars, the median with the range of all repeats.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use svg::{
    Document,
    node::element::{Line, Rectangle, Text},
};

use crate::{
    peers::Peer,
    report::{by_peer, cases},
    results::{Outcome, Summary, float, summary},
};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 20.0;
const ROW: f64 = 30.0;
const TOP: f64 = 46.0;

/// What is worth a plot: scenario, figure, title.
const PLOTS: &[(&str, &str, &str)] = &[
    ("drain", "rate", "Backlog drain: executions per second (more is better)"),
    ("drain", "cpu", "Backlog drain: CPU seconds of the peer per 1,000 executions (less is better)"),
    ("drain", "peak", "Backlog drain: peak memory of the peer, MiB (less is better)"),
    ("latency", "start_p99", "Unloaded: create → child, P99 in ms (less is better)"),
    ("latency", "finish_p99", "Unloaded: child's end → status, P99 in ms (less is better)"),
    ("ramp", "max_rate", "Most executions per second with P99 ≤ 250 ms (more is better)"),
    ("state", "rss", "At rest on a large state: resident MiB (less is better)"),
    ("state", "again_ready", "After a kill: ms until it reconciles (less is better)"),
    ("noise", "per_event", "An update that does not matter: µs of CPU (less is better)"),
];

/// Writes the plots of all scenarios that were run.
pub fn write(out: &Path, outcomes: &[Outcome]) -> Result<()> {
    for (scenario, case) in cases(outcomes) {
        let peers = by_peer(outcomes, scenario, case);
        for (_, figure, title) in PLOTS.iter().filter(|(of, _, _)| *of == scenario) {
            let bars = bars(&peers, figure);
            if bars.is_empty() {
                continue;
            }
            let path = out.join(format!("{scenario}-{figure}.svg"));
            let text = plot(&format!("{title} — {case}"), &bars).to_string();
            fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn bars(peers: &BTreeMap<Peer, Vec<&Outcome>>, figure: &str) -> Vec<(&'static str, Summary)> {
    let bar =
        |(peer, runs): (&Peer, &Vec<&Outcome>)| Some((peer.name(), summary(runs.iter().copied(), figure)?));
    peers.iter().filter_map(bar).collect()
}

fn plot(title: &str, bars: &[(&'static str, Summary)]) -> Document {
    let greatest = bars.iter().map(|(_, s)| s.greatest).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| LEFT + value.max(0.0) / greatest * (WIDTH - LEFT - RIGHT);
    let height = TOP + ROW * float(bars.len()) + 10.0;
    let mut document = Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, height))
        .set("font-family", "sans-serif")
        .set("font-size", 13)
        .add(Rectangle::new().set("width", WIDTH).set("height", height).set("fill", "white"))
        .add(Text::new(title).set("x", 10).set("y", 24).set("font-size", 15));
    for (index, (name, Summary { median, least, greatest })) in bars.iter().enumerate() {
        let y = TOP + ROW * float(index);
        let middle = y + BAR / 2.0;
        let color = if *name == "ours" { "#d9480f" } else { "#868e96" };
        let label = |text: String, x: f64| Text::new(text).set("x", x).set("y", middle + 5.0);
        document = document
            .add(label((*name).to_owned(), LEFT - 8.0).set("text-anchor", "end"))
            .add(
                Rectangle::new()
                    .set("x", LEFT)
                    .set("y", y)
                    .set("width", scale(*median) - LEFT)
                    .set("height", BAR)
                    .set("fill", color),
            )
            .add(
                Line::new()
                    .set("x1", scale(*least))
                    .set("x2", scale(*greatest))
                    .set("y1", middle)
                    .set("y2", middle)
                    .set("stroke", "black"),
            )
            .add(label(short(*median), scale(*greatest) + 6.0));
    }
    document
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
