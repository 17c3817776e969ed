//! The table that is printed at the end.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;

use crate::row::{Expected, Proof, Row};

/// What came of one trial.
pub(crate) struct Outcome {
    pub(crate) row: u8,
    pub(crate) what: String,
    pub(crate) kind: Kind,
    pub(crate) result: Result<()>,
}

/// What had to come of it, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Refused,
    Failed,
    Waits,
    Event,
    Starts,
    Story,
}

impl Kind {
    pub(crate) fn of(expected: &Expected) -> Self {
        match expected {
            Expected::Refused(_) => Self::Refused,
            Expected::Failed(..) | Expected::NoPod(_) | Expected::Ends(..) => Self::Failed,
            Expected::Waits(..) => Self::Waits,
            Expected::OnlyEvent(_) => Self::Event,
            Expected::Starts | Expected::StartsSo(_) => Self::Starts,
        }
    }
}

/// Prints a line for each row, then what was left out and where the contract won, then the sums.
pub(crate) fn report(rows: &[Row], outcomes: &[Outcome], took: Duration) {
    let mut by_row: BTreeMap<u8, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        by_row.entry(outcome.row).or_default().push(outcome);
    }
    println!(
        "{:>3} {:<62} {:>6} {:>6} {:>7} {:>6} {:>6}",
        "row", "what", "trials", "passed", "refused", "failed", "starts"
    );
    for row in rows.iter().filter(|row| !matches!(row.proof, Proof::NotApplicable(_))) {
        let tried = by_row.get(&row.number).map_or(&[][..], Vec::as_slice);
        let count = |kind| tried.iter().filter(|outcome| outcome.kind == kind).count();
        println!(
            "{:>3} {:<62} {:>6} {:>6} {:>7} {:>6} {:>6}",
            row.number,
            row.what,
            tried.len(),
            passed(tried.iter().copied()),
            count(Kind::Refused),
            count(Kind::Failed),
            count(Kind::Starts),
        );
    }
    for row in rows {
        if let Proof::NotApplicable(why) = row.proof {
            println!("not applicable {:>2} {}: {why}", row.number, row.what);
        }
    }
    for row in rows {
        if let Some(why) = row.differs {
            println!("differs {:>2} {}: {why}", row.number, row.what);
        }
    }
    for outcome in outcomes {
        if let Err(error) = &outcome.result {
            println!("FAILED row {} | {}: {error:#}", outcome.row, outcome.what);
        }
    }
    sums(rows, outcomes, took);
}

fn sums(rows: &[Row], outcomes: &[Outcome], took: Duration) {
    let of = |kind| outcomes.iter().filter(|outcome| outcome.kind == kind).count();
    let not_applicable = rows.iter().filter(|row| matches!(row.proof, Proof::NotApplicable(_))).count();
    println!(
        "bad inputs: {} rows, {} tested, {not_applicable} not applicable, {} differing from the reference",
        rows.len(),
        rows.len() - not_applicable,
        rows.iter().filter(|row| row.differs.is_some()).count(),
    );
    println!(
        "bad inputs: {} trials, {} passed: {} refused at admission, {} failed with a reason, {} waiting with a reason, {} told by an event, {} started, {} stories; {} s",
        outcomes.len(),
        passed(outcomes.iter()),
        of(Kind::Refused),
        of(Kind::Failed),
        of(Kind::Waits),
        of(Kind::Event),
        of(Kind::Starts),
        of(Kind::Story),
        took.as_secs(),
    );
}

fn passed<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> usize {
    outcomes.filter(|outcome| outcome.result.is_ok()).count()
}
