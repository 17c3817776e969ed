//! All that is known of an execution, as a text for people. Pure.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use runner_controller::{
    client::Outcome,
    crd::{Phase, RunnerExecution},
    progress::{self, Colour, fit, plain, span},
};

use super::{Known, timeline, tree};
use crate::table::since;

/// The text; on a terminal no line of it is longer than the terminal is wide, but for the cause, which is wrapped.
pub(super) fn text(known: &Known, now: Timestamp, width: Option<usize>, colour: Colour) -> String {
    let mut lines = head(&known.execution, now, width, colour);
    let cut = |line: String| match width {
        Some(width) => fit(&line, width),
        None => line,
    };
    lines.push(String::new());
    lines.push("Timeline:".to_owned());
    lines.extend(happened(known).into_iter().map(cut));
    lines.push(String::new());
    lines.push("Made:".to_owned());
    lines.extend(tree::lines(known).into_iter().map(|line| cut(format!("  {line}"))));
    for unread in &known.unread {
        lines.push(format!("(not read: {})", plain(unread)));
    }
    lines.join("\n") + "\n"
}

fn head(execution: &RunnerExecution, now: Timestamp, width: Option<usize>, colour: Colour) -> Vec<String> {
    let status = execution.status.clone().unwrap_or_default();
    let phase = progress::phase(execution);
    let line = |name: &str, value: &str| format!("{name:<11} {value}");
    let account = &execution.spec.context.platform.service_account_name;
    let mut lines = vec![
        line("Name:", &execution.name_any()),
        line("Namespace:", &execution.namespace().unwrap_or_default()),
        line("Runner:", &format!("{} as {account}", execution.spec.runner)),
    ];
    for owner in execution.owner_references() {
        lines.push(line("Owner:", &plain(&format!("{}/{}", owner.kind, owner.name))));
    }
    let word = format!("{phase:?}");
    let because = progress::because(&word, status.reason);
    let reason = because.strip_prefix(&word).unwrap_or_default();
    let took = status.start_time.as_ref().map_or_else(String::new, |start| {
        let end = status.completion_time.as_ref();
        let word = if end.is_some() { "after" } else { "for" };
        format!(" {word} {}", span(since(start.0, end.map_or(now, |time| time.0))))
    });
    lines.push(line("Phase:", &format!("{}{reason}{took}", colour.phase(phase))));
    if let Some(progress) = &status.progress {
        lines.push(line(
            "Progress:",
            &progress::bar(progress, progress::BAR).unwrap_or_else(|| plain(progress)),
        ));
    }
    if let (Some(deadline), None) = (&status.deadline, &status.completion_time) {
        lines.push(line("Deadline:", &format!("in {}", span(since(now, deadline.0)))));
    }
    if let Some(message) = &status.message {
        let name = match phase {
            Phase::Failed | Phase::Cancelled => "Cause:",
            Phase::Pending | Phase::Suspended | Phase::Running | Phase::Cancelling | Phase::Succeeded => {
                "Message:"
            }
        };
        lines.extend(wrapped(name, &plain(message), width));
    }
    if let Some(next) = next(execution) {
        lines.push(line("Next:", &next));
    }
    lines
}

/// What a person may do next, as a command.
fn next(execution: &RunnerExecution) -> Option<String> {
    let name = execution.name_any();
    match (progress::phase(execution), Outcome::of(execution).and_then(|outcome| outcome.output)) {
        (Phase::Suspended, _) => Some(format!("kubectl rex approve {name}")),
        (Phase::Running | Phase::Cancelling, _) => Some(format!("kubectl rex logs -f {name}")),
        (Phase::Succeeded, Some(_)) => Some(format!("kubectl rex outputs {name}")),
        (Phase::Failed, _) => Some(format!("kubectl rex logs {name}")),
        (Phase::Succeeded | Phase::Pending | Phase::Cancelled, _) => None,
    }
}

/// A value of several lines, indented below its name.
fn wrapped(name: &str, text: &str, width: Option<usize>) -> Vec<String> {
    const INDENT: usize = 12;
    let width = width.map_or(usize::MAX, |width| width.saturating_sub(INDENT).max(20));
    let mut rows: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match rows.last_mut() {
            Some(row) if row.chars().count() + 1 + word.chars().count() <= width => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    let named = |(index, row): (usize, &String)| {
        format!("{:<INDENT$}{row}", if index == 0 { name } else { "" }).trim_end().to_owned()
    };
    rows.iter().enumerate().map(named).collect()
}

/// The timeline, with times counted from the creation.
fn happened(known: &Known) -> Vec<String> {
    let start = known.execution.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    timeline::entries(known)
        .into_iter()
        .map(|entry| {
            let object = if entry.object.is_empty() { String::new() } else { format!("{} ", entry.object) };
            let times = if entry.times > 1 { format!(" (×{})", entry.times) } else { String::new() };
            format!("  +{:<7} {object}{}{times}", span(since(start, entry.at)), entry.what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{ExpectFile, expect_file};
    use rstest::rstest;
    use runner_controller::progress::Colour;

    use super::text;
    use crate::describe::recorded;

    #[rstest]
    #[case("job-succeeded", expect_file!["./snapshots/job-succeeded.txt"])]
    #[case("job-failed", expect_file!["./snapshots/job-failed.txt"])]
    #[case("job-image-missing", expect_file!["./snapshots/job-image-missing.txt"])]
    #[case("workflow-succeeded", expect_file!["./snapshots/workflow-succeeded.txt"])]
    #[case("workflow-failed", expect_file!["./snapshots/workflow-failed.txt"])]
    #[case("workflow-image-missing", expect_file!["./snapshots/workflow-image-missing.txt"])]
    #[case("suspended", expect_file!["./snapshots/suspended.txt"])]
    #[case("cancelled", expect_file!["./snapshots/cancelled.txt"])]
    fn a_recorded_execution_is_described(#[case] name: &str, #[case] expected: ExpectFile) {
        expected.assert_eq(&text(&recorded::read(name), recorded::now(), None, Colour::Never));
    }

    #[rstest]
    fn in_80_columns_no_line_is_longer(
        #[values(20, 40, 80, 120)] width: usize,
        #[values("job-image-missing", "workflow-failed", "suspended")] name: &str,
    ) {
        let shown = text(&recorded::read(name), recorded::now(), Some(width), Colour::Never);
        let too_long: Vec<&str> = shown.lines().filter(|line| line.chars().count() > width.max(60)).collect();
        assert!(too_long.is_empty(), "{too_long:#?}");
    }
}
