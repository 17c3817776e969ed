//! How an execution is shown to people who wait for it: one line on a terminal, lines in a log. Pure.

use std::time::Duration;

use crate::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};

/// How many letters the bar has between its brackets, where it has a line of its own.
pub const BAR: usize = 16;
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Not at all: no terminal, or NO_COLOR is set.
    Never,
    /// By escape codes.
    Ansi,
}

impl Colour {
    /// The word of a phase in its colour.
    pub fn phase(self, phase: Phase) -> String {
        let code = match phase {
            Phase::Succeeded => "32",
            Phase::Failed => "31",
            Phase::Cancelled | Phase::Cancelling | Phase::Suspended => "33",
            Phase::Pending | Phase::Running => "36",
        };
        match self {
            Self::Never => format!("{phase:?}"),
            Self::Ansi => format!("\u{1b}[{code}m{phase:?}\u{1b}[0m"),
        }
    }
}

/// The phase of an execution; one that nobody has looked at yet is Pending.
pub fn phase(execution: &RunnerExecution) -> Phase {
    execution.status.as_ref().and_then(|s| s.phase).unwrap_or(Phase::Pending)
}

/// The reason in brackets after a word, unless it is the same word.
pub fn because(word: &str, reason: Option<Reason>) -> String {
    match reason {
        Some(reason) if reason.as_str() != word => format!("{word} ({reason})"),
        Some(_) | None => word.to_owned(),
    }
}

/// A bar of steps done and steps in all, such as `[########--------] 3/6`; nothing if the text is no such pair.
pub fn bar(progress: &str, cells: usize) -> Option<String> {
    let (done, all) = progress.split_once('/')?;
    let (done, all): (u64, u64) = (done.trim().parse().ok()?, all.trim().parse().ok()?);
    let share = usize::try_from(done.min(all).saturating_mul(cells as u64).checked_div(all)?).ok()?;
    Some(format!("[{}{}] {progress}", "#".repeat(share), "-".repeat(cells.saturating_sub(share))))
}

/// A text on one line that cannot steer a terminal.
pub fn plain(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many letters of a text, the last one an ellipsis where some are missing.
pub fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "…" }
}

/// A time span as `kubectl` writes ages: `42s`, `3m12s`, `2h5m`, `3d4h`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0..=1) if seconds < 120 => format!("{seconds}s"),
        (0, 0, _) if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        (0, 0..=2, _) if minutes < 180 => format!("{minutes}m"),
        (0, _, _) if hours < 8 => two(hours, "h", minutes % 60, "m"),
        (0 | 1, _, _) => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

/// The line of a terminal: what spins, the name, the phase, a bar, the time, and as much as fits of the message.
pub fn live_line(
    execution: &RunnerExecution,
    elapsed: Duration,
    frame: usize,
    width: usize,
    colour: Colour,
) -> String {
    let status = execution.status.clone().unwrap_or_default();
    let phase = phase(execution);
    let spinner = SPINNER.get(frame % SPINNER.len()).copied().unwrap_or(' ');
    let name = fit(execution.metadata.name.as_deref().unwrap_or_default(), width / 3);
    let bar = status
        .progress
        .as_deref()
        .and_then(|p| bar(p, BAR))
        .map_or_else(String::new, |bar| format!(" {bar}"));
    let (before, word) = (format!("{spinner} {name} "), format!("{phase:?}"));
    let rest = format!("{bar} {} {}", span(elapsed), plain(&status.message.unwrap_or_default()));
    let left = width.saturating_sub(before.chars().count() + word.len());
    format!("{before}{}{}", colour.phase(phase), fit(rest.trim_end(), left))
}

/// The line of a log, written whenever it differs from the one before.
pub fn log_line(execution: &RunnerExecution) -> String {
    let status = execution.status.clone().unwrap_or_default();
    let name = execution.metadata.name.as_deref().unwrap_or_default();
    let progress = status.progress.map_or_else(String::new, |p| format!(" {}", plain(&p)));
    let message = status.message.map_or_else(String::new, |m| format!(": {}", plain(&m)));
    format!("{name} {:?}{progress}{message}", phase(execution))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use serde_json::json;

    use super::{Colour, bar, fit, live_line, log_line, plain, span};
    use crate::crd::RunnerExecution;

    fn running() -> RunnerExecution {
        serde_json::from_value(json!({
            "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution",
            "metadata": {"name": "install-jira"},
            "spec": {"runner": "job", "context": {"platform": {"serviceAccountName": "a"}}},
            "status": {"phase": "Running", "progress": "3/6", "message": "Started Workflow\ninstall-jira.\u{1b}[31m"},
        }))
        .unwrap()
    }

    #[test]
    fn a_terminal_gets_one_line_that_fits() {
        let line = |width, colour| live_line(&running(), Duration::from_secs(12), 1, width, colour);
        assert_eq!(
            line(100, Colour::Never),
            "/ install-jira Running [########--------] 3/6 12s Started Workflow install-jira. [31m"
        );
        assert_eq!(line(60, Colour::Never), "/ install-jira Running [########--------] 3/6 12s Started W…");
        assert!(line(60, Colour::Ansi).contains("\u{1b}[36mRunning\u{1b}[0m"));
        for width in 0..90 {
            assert!(width < 20 || line(width, Colour::Never).chars().count() <= width, "{width}");
        }
    }

    #[test]
    fn a_log_gets_plain_lines() {
        assert_eq!(log_line(&running()), "install-jira Running 3/6: Started Workflow install-jira. [31m");
    }

    #[rstest]
    #[case("0/4", Some("[----------------] 0/4"))]
    #[case("1/4", Some("[####------------] 1/4"))]
    #[case("9/4", Some("[################] 9/4"))]
    #[case("0/0", None)]
    #[case("all", None)]
    #[case("a/b", None)]
    fn steps_become_a_bar(#[case] progress: &str, #[case] expected: Option<&str>) {
        assert_eq!(bar(progress, 16).as_deref(), expected);
    }

    #[rstest]
    #[case(5, "5s")]
    #[case(119, "119s")]
    #[case(192, "3m12s")]
    #[case(660, "11m")]
    #[case(7500, "125m")]
    #[case(4 * 3600 + 300, "4h5m")]
    #[case(9 * 3600, "9h")]
    #[case(3 * 86400 + 4 * 3600, "3d4h")]
    #[case(30 * 86400, "30d")]
    fn time_spans_read_as_those_of_kubectl(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(span(Duration::from_secs(seconds)), expected);
    }

    #[test]
    fn texts_are_cut_by_letters_and_cannot_steer_a_terminal() {
        assert_eq!(
            (fit("üüüü", 3).as_str(), fit("üüü", 3).as_str(), fit("a", 0).as_str()),
            ("üü…", "üüü", "")
        );
        assert_eq!(plain("a\r\n\tb\u{9b}2J"), "a b 2J");
    }
}
