//! What a person sees while waiting: lines on stderr, each step with the time it took.

use std::time::Instant;

/// One line.
pub(crate) fn say(line: &str) {
    eprintln!("devcluster: {line}");
}

/// A step under way. Its line is written when it ends, or when it starts if it may be long.
pub(crate) struct Step {
    what: String,
    since: Instant,
}

impl Step {
    pub(crate) fn start(what: impl Into<String>) -> Self {
        Self { what: what.into(), since: Instant::now() }
    }

    /// Announces the step first, since a person would wonder before it ends.
    pub(crate) fn announce(what: impl Into<String>, note: &str) -> Self {
        let step = Self::start(what);
        say(&format!("{} ({note}) ...", step.what));
        step
    }

    pub(crate) fn done(self) {
        say(&format!("{} ... {:.1} s", self.what, self.since.elapsed().as_secs_f64()));
    }
}
