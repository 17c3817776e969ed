//! Figures: one outcome per run, and what several runs say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{audit::Kind, peers::Peer, recorder::Marks};

/// What one run of one peer showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario.
    pub scenario: String,
    /// Which of its sizes.
    pub case: String,
    /// Who.
    pub peer: Peer,
    /// Which repeat, from 1.
    pub repeat: usize,
    /// Why its figures do not count.
    pub disqualified: Option<String>,
    /// Figures by name.
    pub figures: BTreeMap<String, f64>,
    /// Requests of the peer, where they were counted.
    pub requests: Vec<Requests>,
}

/// Requests of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are called what they are")]
pub struct Requests {
    pub verb: String,
    pub resource: String,
    pub impersonated: bool,
    pub agent: String,
    pub code: u16,
    pub count: u32,
}

impl Requests {
    /// Requests of that kind.
    pub fn new(kind: Kind, count: u32) -> Self {
        let Kind { user: _, impersonated, agent, verb, resource, code } = kind;
        Self { verb, resource, impersonated, agent, code, count }
    }
}

impl Outcome {
    /// An outcome without figures.
    pub fn new(scenario: &str, case: String, peer: Peer) -> Self {
        Self {
            scenario: scenario.to_owned(),
            case,
            peer,
            repeat: 0,
            disqualified: None,
            figures: BTreeMap::new(),
            requests: Vec::new(),
        }
    }

    /// Sets a figure.
    pub fn set(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Sets median, 90th, 99th percentile and maximum of times between two marks, in ms.
    pub fn set_latency(
        &mut self,
        name: &str,
        marks: &[Marks],
        from: impl Fn(&Marks) -> Option<Instant>,
        to: impl Fn(&Marks) -> Option<Instant>,
    ) {
        let times = marks
            .iter()
            // Two watches may show things in the other order: that is no time at all.
            .filter_map(|marks| {
                Some(to(marks)?.saturating_duration_since(from(marks)?).as_secs_f64() * 1000.0)
            })
            .collect();
        self.set_percentiles(name, times);
    }

    /// Sets median, 90th, 99th percentile and maximum of these.
    pub fn set_percentiles(&mut self, name: &str, mut values: Vec<f64>) {
        values.sort_by(f64::total_cmp);
        for (suffix, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            if let Some(value) = percentile(&values, share) {
                self.set(&format!("{name}_{suffix}"), value);
            }
        }
    }
}

/// The value below which that share of sorted values lies.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index, in range")]
    let index = (share * float(sorted.len())).ceil() as usize;
    sorted.get(index.saturating_sub(1).min(last)).copied()
}

/// A count as a number to calculate with.
pub fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

/// Sums up one figure over repeats; disqualified runs do not count.
pub fn summary<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>, figure: &str) -> Option<Summary> {
    let of = |outcome: &'a Outcome| outcome.figures.get(figure).copied();
    let mut values: Vec<f64> =
        outcomes.into_iter().filter(|outcome| outcome.disqualified.is_none()).filter_map(of).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    let median = if values.len().is_multiple_of(2) {
        (upper + values.get(middle.checked_sub(1)?)?) / 2.0
    } else {
        upper
    };
    Some(Summary { median, least: *values.first()?, greatest: *values.last()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let at = |share| percentile(&values, share).unwrap();
        assert_eq!((at(0.5), at(0.9), at(0.99), at(1.0)), (50.0, 90.0, 99.0, 100.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn summaries_leave_out_the_disqualified() {
        let run = |value, disqualified: Option<&str>| {
            let mut outcome = Outcome::new("drain", "1".into(), Peer::Ours);
            outcome.set("rate", value);
            outcome.disqualified = disqualified.map(str::to_owned);
            outcome
        };
        let runs = [run(3.0, None), run(1.0, None), run(9.0, Some("lost 1"))];
        assert_eq!(summary(&runs, "rate"), Some(Summary { median: 2.0, least: 1.0, greatest: 3.0 }));
        assert_eq!(summary(&runs, "other"), None);
    }
}
