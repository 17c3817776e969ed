//! Standard output and standard error. A reader that has gone away is no error: `kubectl rex list | head`.

use std::io::{self, IsTerminal, Write};

use runner_controller::{progress::Colour, submit::screen};

/// Whether standard output is a terminal that can draw.
pub(crate) fn is_live() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !dumb
}

/// Whether standard output is coloured.
pub(crate) fn colour() -> Colour {
    if is_live() { screen::colour() } else { Colour::Never }
}

/// The columns and lines of the terminal; `None` if standard output is none.
pub(crate) fn size() -> Option<(usize, usize)> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some((usize::from(size.ws_col).max(20), usize::from(size.ws_row).max(4)))
}

/// Prints a result.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Says why something was not done.
pub(crate) fn complain(words: &str) {
    let _ = writeln!(io::stderr(), "kubectl rex: {words}");
}
