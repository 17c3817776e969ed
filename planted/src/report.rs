//! What is told: one line for each bug, and the sum. Pure.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Result;

use crate::check::Check;

/// What became of one bug.
pub(crate) struct Finding {
    pub(crate) bug: &'static str,
    /// The check that failed, and what of it; or why the bug could not be tried.
    pub(crate) result: Result<Option<(Check, String)>>,
    pub(crate) took: Duration,
}

impl Finding {
    /// The layer that caught it, or a word in capitals; and what there is to say.
    fn told(&self) -> (&'static str, String) {
        match &self.result {
            Ok(Some((check, what))) => (check.layer(), what.clone()),
            Ok(None) => ("MISSED", String::new()),
            Err(error) => ("NOT TRIED", format!("{error:#}")),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layer, what) = self.told();
        write!(f, "{layer}: {what} ({} s)", self.took.as_secs())
    }
}

/// What became of all of them.
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn all_caught(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.result, Ok(Some(_))))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.findings.iter().map(|finding| finding.bug.chars().count()).max().unwrap_or(0);
        writeln!(f, "{:<widest$}  {:<13}  {:>4}  failing test", "bug", "caught by", "s")?;
        let mut by_layer: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in &self.findings {
            let (layer, what) = finding.told();
            *by_layer.entry(layer).or_default() += 1;
            // The compiler's words are told above; here they would break the table.
            let what = what.lines().next().unwrap_or_default();
            writeln!(f, "{:<widest$}  {layer:<13}  {:>4}  {what}", finding.bug, finding.took.as_secs())?;
        }
        let [missed, not_tried] =
            ["MISSED", "NOT TRIED"].map(|word| by_layer.remove(word).unwrap_or_default());
        let parts: Vec<String> = by_layer.iter().map(|(layer, count)| format!("{layer} {count}")).collect();
        let all = self.findings.len();
        write!(
            f,
            "planted bugs: {all}, caught {} ({}), missed {missed}, not tried {not_tried}, {} s",
            all - missed - not_tried,
            parts.join(", "),
            self.took.as_secs()
        )
    }
}
