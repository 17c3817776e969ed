//! Executions as a table. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use runner_controller::{
    crd::RunnerExecution,
    progress::{self, Colour, fit, plain, span},
};

/// How the table is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// A column with the namespaces.
    pub(crate) namespaces: bool,
    /// The columns message and resource as well.
    pub(crate) wide: bool,
    /// Progress as bars.
    pub(crate) bars: bool,
    /// The columns of the terminal; `None` cuts nothing.
    pub(crate) width: Option<usize>,
    /// Whether phases are coloured.
    pub(crate) colour: Colour,
}

/// What is left out where the terminal is too narrow, in this order.
const DISPENSABLE: [&str; 2] = ["RUNNER", "REASON"];

/// The table, header first; nothing for no executions.
pub(crate) fn table<'a>(
    executions: impl IntoIterator<Item = &'a RunnerExecution>,
    now: Timestamp,
    style: Style,
) -> Vec<String> {
    let executions: Vec<&RunnerExecution> = executions.into_iter().collect();
    let mut rows = vec![header(style)];
    rows.extend(executions.iter().map(|execution| row(execution, now, style)));
    if let Some(width) = style.width {
        make_fit(&mut rows, width);
    }
    let widths = widths(&rows);
    let phase_column = column(&rows, "PHASE").unwrap_or(0);
    let lines = rows.iter().enumerate().map(|(index, row)| {
        let line = join(row, &widths);
        let line = match style.width {
            Some(width) => fit(&line, width),
            None => line,
        };
        match index.checked_sub(1).and_then(|index| executions.get(index)) {
            Some(execution) if style.colour == Colour::Ansi => {
                let before: usize = widths.iter().take(phase_column).map(|width| width + GAP).sum();
                coloured(&line, before, execution, style.colour)
            }
            _ => line,
        }
    });
    if executions.is_empty() { Vec::new() } else { lines.collect() }
}

/// The widths of the columns.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    (0..columns).map(|column| width(column).unwrap_or(0)).collect()
}

fn column(rows: &[Vec<String>], name: &str) -> Option<usize> {
    rows.first()?.iter().position(|cell| cell == name)
}

/// Leaves columns out until the others fit, or none may be left out any more. A message may be cut.
fn make_fit(rows: &mut [Vec<String>], width: usize) {
    for name in DISPENSABLE {
        let message = column(rows, "MESSAGE");
        let widths = widths(rows).into_iter().enumerate().filter(|(column, _)| Some(*column) != message);
        let needed: usize = widths.map(|(_, width)| width + GAP).sum();
        if needed <= width + GAP {
            return;
        }
        if let Some(column) = column(rows, name) {
            for row in rows.iter_mut() {
                row.remove(column);
            }
        }
    }
}

/// How many letters a bar has in a table.
const BAR: usize = 10;
/// The blanks between columns, as kubectl's.
const GAP: usize = 3;

fn header(style: Style) -> Vec<String> {
    let names = ["NAME", "RUNNER", "PHASE", "PROGRESS", "REASON", "AGE"];
    let namespace = style.namespaces.then_some("NAMESPACE");
    let more: &[&str] = if style.wide { &["TOOK", "RESOURCE", "MESSAGE"] } else { &[] };
    namespace.iter().chain(&names).chain(more).map(|name| (*name).to_owned()).collect()
}

fn row(execution: &RunnerExecution, now: Timestamp, style: Style) -> Vec<String> {
    let status = execution.status.clone().unwrap_or_default();
    let progress = status.progress.map(|progress| plain(&progress)).unwrap_or_default();
    let bar = style.bars.then(|| progress::bar(&progress, BAR)).flatten();
    let age = execution.metadata.creation_timestamp.as_ref().map(|time| since(time.0, now));
    let mut cells = Vec::new();
    if style.namespaces {
        cells.push(execution.namespace().unwrap_or_default());
    }
    cells.extend([
        execution.name_any(),
        execution.spec.runner.clone(),
        format!("{:?}", progress::phase(execution)),
        bar.unwrap_or(progress),
        status.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        age.map(span).unwrap_or_default(),
    ]);
    if style.wide {
        let end = status.completion_time.as_ref().map_or(now, |time| time.0);
        cells.extend([
            status.start_time.as_ref().map(|start| span(since(start.0, end))).unwrap_or_default(),
            status.resources.first().map(|made| format!("{}/{}", made.kind, made.name)).unwrap_or_default(),
            plain(&status.message.unwrap_or_default()),
        ]);
    }
    cells
}

/// From one time to another; none if the clocks disagree.
pub(crate) fn since(start: Timestamp, end: Timestamp) -> Duration {
    end.duration_since(start).try_into().unwrap_or_default()
}

fn join(row: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join(&" ".repeat(GAP)).trim_end().to_owned()
}

/// Colours the phase, which begins after so many letters, unless it was cut.
fn coloured(line: &str, before: usize, execution: &RunnerExecution, colour: Colour) -> String {
    let phase = progress::phase(execution);
    let word = format!("{phase:?}");
    let head: String = line.chars().take(before).collect();
    match line.get(head.len()..).and_then(|rest| rest.strip_prefix(word.as_str())) {
        Some(rest) => format!("{head}{}{rest}", colour.phase(phase)),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use expect_test::expect;
    use runner_controller::{crd::RunnerExecution, progress::Colour};

    use super::{Style, table};
    use crate::describe::recorded;

    const PLAIN: Style =
        Style { namespaces: false, wide: false, bars: false, width: None, colour: Colour::Never };

    fn shown(style: Style) -> String {
        static RECORDED: LazyLock<Vec<RunnerExecution>> =
            LazyLock::new(|| recorded::ALL.iter().map(|name| recorded::read(name).execution).collect());
        table(RECORDED.iter(), recorded::now(), style).join("\n") + "\n"
    }

    #[test]
    fn executions_are_a_table_as_of_kubectl() {
        expect![[r"
            NAME                     RUNNER          PHASE       PROGRESS   REASON            AGE
            job-succeeded            job             Succeeded   1/1        Succeeded         31s
            job-failed               job             Failed      0/1        ContainerFailed   31s
            job-image-missing        job             Failed                 ImagePullFailed   31s
            workflow-succeeded       argo-workflow   Succeeded   2/2        Succeeded         31s
            workflow-failed          argo-workflow   Failed      1/2        WorkflowFailed    31s
            workflow-image-missing   argo-workflow   Failed                 ImagePullFailed   31s
            suspended                job             Suspended              Suspended         31s
            cancelled                job             Cancelled   0/1        Cancelled         31s
        "]]
        .assert_eq(&shown(PLAIN));
        expect![[r#"
            NAMESPACE   NAME                     RUNNER          PHASE       PROGRESS   REASON            AGE   TOOK   RESOURCE                          MESSAGE
            team-a      job-succeeded            job             Succeeded   1/1        Succeeded         31s   5s     Job/job-succeeded                 The work succeeded.
            team-a      job-failed               job             Failed      0/1        ContainerFailed   31s   4s     Job/job-failed                    container main of pod job-failed-h4c5h exited with code 3; see: kubectl logs -n team-a job-failed-h4c5h -c main
            team-a      job-image-missing        job             Failed                 ImagePullFailed   31s   29s    Job/job-image-missing             pod job-image-missing-rqcp7: the image of container main cannot be pulled (ImagePullBackOff): Back-off pulling image "localhost/missing:1": ErrImagePull: failed to pull and unpack image "localhost/missing:1": failed to resolve reference "localhost/missing:1": failed to do request: Head "http://localhost/v2/missing/manifests/1": dial tcp 127.0.0.1:80: connect: connection refused; check the image's name, and that the node may pull it (registry, imagePullSecrets)
            team-a      workflow-succeeded       argo-workflow   Succeeded   2/2        Succeeded         31s   15s    Workflow/workflow-succeeded       The work succeeded.
            team-a      workflow-failed          argo-workflow   Failed      1/2        WorkflowFailed    31s   11s    Workflow/workflow-failed          step `install` failed: main: Error (exit code 7); see `kubectl logs workflow-failed-bad-220251640 -n team-a -c main`
            team-a      workflow-image-missing   argo-workflow   Failed                 ImagePullFailed   31s   30s    Workflow/workflow-image-missing   step `workflow-image-missing` (pod workflow-image-missing -n team-a) cannot start: ImagePullBackOff: Back-off pulling image "localhost/missing:1": ErrImagePull: failed to pull and unpack image "localhost/missing:1": failed to resolve reference "localhost/missing:1": failed to do request: Head "http://localhost/v2/missing/manifests/1": dial tcp 127.0.0.1:80: connect: connection refused; check the image's name, and that imagePullSecrets let it be pulled
            team-a      suspended                job             Suspended              Suspended         31s                                            Held back by spec.suspend; set it to false to start.
            team-a      cancelled                job             Cancelled   0/1        Cancelled         31s   4s     Job/cancelled                     Cancelled; Job cancelled has stopped.
        "#]].assert_eq(&shown(Style { namespaces: true, wide: true, ..PLAIN }));
    }

    #[test]
    fn on_a_terminal_there_are_bars_and_no_line_is_longer() {
        let live = Style { bars: true, width: Some(80), ..PLAIN };
        expect![[r"
            NAME                     PHASE       PROGRESS           REASON            AGE
            job-succeeded            Succeeded   [##########] 1/1   Succeeded         31s
            job-failed               Failed      [----------] 0/1   ContainerFailed   31s
            job-image-missing        Failed                         ImagePullFailed   31s
            workflow-succeeded       Succeeded   [##########] 2/2   Succeeded         31s
            workflow-failed          Failed      [#####-----] 1/2   WorkflowFailed    31s
            workflow-image-missing   Failed                         ImagePullFailed   31s
            suspended                Suspended                      Suspended         31s
            cancelled                Cancelled   [----------] 0/1   Cancelled         31s
        "]]
        .assert_eq(&shown(live));
        for width in 20..120 {
            let lines = shown(Style { wide: true, width: Some(width), ..live });
            assert!(lines.lines().all(|line| line.chars().count() <= width), "{lines}");
        }
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let coloured = shown(Style { colour: Colour::Ansi, ..PLAIN });
        assert!(coloured.contains("\u{1b}[31mFailed\u{1b}[0m"), "{coloured}");
        let stripped = ["31", "32", "33", "36", "0"]
            .iter()
            .fold(coloured, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
        assert_eq!(stripped, shown(PLAIN));
    }

    #[test]
    fn nothing_is_no_table() {
        assert_eq!(table(&[], recorded::now(), PLAIN), Vec::<String>::new());
    }
}
