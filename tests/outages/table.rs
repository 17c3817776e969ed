//! What an outage came to, and what is too much. Pure.

use std::{fmt::Write, time::Duration};

use crate::gauge::{Requests, Use};

/// The bounds: F17 and I14.
const MOST_DESCRIPTORS: usize = 128;
const MOST_RSS_MIB: f64 = 96.0;
/// Of one execution: create, record, release, finish, and a few that are repeated.
const MOST_A_SECOND_OF_ONE: usize = 10;
/// Twice what the slowest retry of a watch takes.
const LONGEST_RECOVERY: Duration = Duration::from_secs(15);

/// One outage, as often as it came.
pub(crate) struct Row {
    pub(crate) outage: &'static str,
    /// From the end of the outage until a new execution's child was released.
    pub(crate) released: Vec<Duration>,
    /// From the end of a child, or of the outage if that was later, until the execution told it.
    pub(crate) told: Vec<Duration>,
    pub(crate) used: Use,
    pub(crate) requests: Requests,
    pub(crate) executions: usize,
    /// The Workflows that Argo had to be woken for.
    pub(crate) woken: usize,
    pub(crate) doubles: usize,
    pub(crate) lost: usize,
    pub(crate) regressions: usize,
}

impl Row {
    /// What must not be.
    pub(crate) fn problems(&self) -> Vec<String> {
        let slowest = self.released.iter().chain(&self.told).max().copied().unwrap_or_default();
        let of_one = self.requests.a_second_of_one;
        [
            (self.used.descriptors > MOST_DESCRIPTORS, format!("{} descriptors", self.used.descriptors)),
            (self.used.rss_mib > MOST_RSS_MIB, format!("{:.0} MiB of memory", self.used.rss_mib)),
            (of_one > MOST_A_SECOND_OF_ONE, format!("{of_one} requests a second about one object")),
            (slowest > LONGEST_RECOVERY, format!("{:.1} s until it was back", slowest.as_secs_f64())),
            (self.doubles > 0, format!("{} ran twice", self.doubles)),
            (self.lost > 0, format!("{} never finished", self.lost)),
            (self.regressions > 0, format!("of {} what was told was taken back", self.regressions)),
        ]
        .into_iter()
        .filter_map(|(bad, what)| bad.then_some(what))
        .collect()
    }
}

/// The table.
pub(crate) fn print(rows: &[Row]) -> String {
    let mut table = format!(
        "\n{:<32} {:>5} {:>15} {:>15} {:>4} {:>8} {:>9} {:>7} {:>6} {:>10} {:>7} {:>5} {:>11} {:>10}\n",
        "outage",
        "times",
        "new released, s",
        "ends told, s",
        "FDs",
        "RSS, MiB",
        "requests",
        "most/s",
        "of one",
        "executions",
        "doubles",
        "lost",
        "regressions",
        "Argo woken"
    );
    for row in rows {
        let _ = writeln!(
            table,
            "{:<32} {:>5} {:>15} {:>15} {:>4} {:>8.1} {:>9} {:>7} {:>6} {:>10} {:>7} {:>5} {:>11} {:>10}",
            row.outage,
            row.released.len(),
            median_and_most(&row.released),
            median_and_most(&row.told),
            row.used.descriptors,
            row.used.rss_mib,
            row.requests.all,
            row.requests.a_second,
            row.requests.a_second_of_one,
            row.executions,
            row.doubles,
            row.lost,
            row.regressions,
            row.woken
        );
    }
    table + "(seconds: median / most; requests: at the API server; of one: most in a second about one object)"
}

fn median_and_most(durations: &[Duration]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let of = |at: usize| sorted.get(at).map_or_else(|| "-".to_owned(), |d| format!("{:.2}", d.as_secs_f64()));
    format!("{} / {}", of(sorted.len() / 2), of(sorted.len().saturating_sub(1)))
}
