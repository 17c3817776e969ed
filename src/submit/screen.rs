//! Where a run is shown while it is followed: one line that is drawn anew on a terminal, else a line a change.
//! Writes to standard error; what is shown is made by [`crate::progress`].

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use crate::{
    crd::RunnerExecution,
    progress::{self, Colour},
};

/// Where a run is shown.
pub struct Screen {
    form: Form,
    colour: Colour,
}

enum Form {
    Live { frame: usize },
    Lines { last: String },
}

impl Screen {
    /// Standard error, as a terminal if it is one that can draw.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = io::stderr().is_terminal() && !dumb;
        let form = if live { Form::Live { frame: 0 } } else { Form::Lines { last: String::new() } };
        Self { form, colour: if live { colour() } else { Colour::Never } }
    }

    /// Whether the line is drawn anew, and a person may be asked.
    pub fn is_live(&self) -> bool {
        matches!(self.form, Form::Live { .. })
    }

    /// Shows the execution as it is.
    pub fn show(&mut self, execution: &RunnerExecution, elapsed: Duration) {
        match &mut self.form {
            Form::Live { frame } => {
                *frame += 1;
                let line = progress::live_line(execution, elapsed, *frame, width(), self.colour);
                write(&format!("\r\u{1b}[2K{line}"));
            }
            Form::Lines { last } => {
                let line = progress::log_line(execution);
                if *last != line {
                    write(&format!("{line}\n"));
                    *last = line;
                }
            }
        }
    }

    /// Says something beside it.
    pub fn say(&self, text: &str) {
        self.clear();
        write(&format!("{text}\n"));
    }

    /// Takes the drawn line away.
    pub fn clear(&self) {
        if self.is_live() {
            write("\r\u{1b}[2K");
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether to colour what goes to a terminal: <https://no-color.org>.
pub fn colour() -> Colour {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if refused { Colour::Never } else { Colour::Ansi }
}

/// The columns of the terminal; one less than there are, since some wrap a full line.
fn width() -> usize {
    rustix::termios::tcgetwinsize(io::stderr())
        .map_or(79, |size| usize::from(size.ws_col).saturating_sub(1))
        .max(20)
}

/// A terminal that has gone away must not end the following.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
