//! Another program, run to its end. I/O: that program; what it writes is held in memory.

use std::{ffi::OsStr, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::reason::Reason;

/// What a program left.
#[derive(Debug)]
pub(super) struct Finished {
    /// It exited with 0.
    pub(super) ok: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program. Once `stop` is cancelled it is asked to end, by SIGTERM, and still waited for: it may have to
/// tidy up.
///
/// # Errors
/// If it cannot be started.
pub(super) async fn run<S: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
    stop: &CancellationToken,
) -> Result<Finished, Failure> {
    listen(program, args, std::iter::empty(), stop, &mut async |_: &str| (), &mut async |_: &str| ()).await
}

/// The same with more in its environment, and with an ear for each line of its standard output, and one for each of
/// its standard error, as they come.
///
/// # Errors
/// If it cannot be started.
pub(super) async fn listen<'a, S: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
    env: impl IntoIterator<Item = (&'a str, &'a str)>,
    stop: &CancellationToken,
    hears: &mut impl AsyncFnMut(&str),
    hears_errors: &mut impl AsyncFnMut(&str),
) -> Result<Finished, Failure> {
    let failure = |error: &std::io::Error| {
        let message = format!("{program} cannot be run ({error}); it must be in the image of --exec-image");
        Failure::new(Reason::InternalError, message)
    };
    let mut command = Command::new(program);
    command.args(args).envs(env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| failure(&error))?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async { tokio::join!(heard(stdout, hears), heard(stderr, hears_errors), child.wait()) };
    tokio::pin!(ended);
    let (stdout, stderr, status) = tokio::select! {
        all = &mut ended => all,
        () = stop.cancelled() => {
            if let Some(pid) = pid {
                // It may just have ended.
                let _ = kill_process(pid, Signal::TERM);
            }
            ended.await
        }
    };
    let ok = status.map_err(|error| failure(&error))?.success();
    Ok(Finished { ok, stdout, stderr })
}

/// All that comes out of a pipe.
async fn heard(pipe: Option<impl AsyncRead + Unpin>, hears: &mut impl AsyncFnMut(&str)) -> String {
    let mut all = String::new();
    let Some(pipe) = pipe else { return all };
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while matches!(pipe.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line).into_owned();
        hears(text.trim_end()).await;
        all.push_str(&text);
        line.clear();
    }
    all
}

/// What a program says at its end on standard error, on one line: from its last `Error:` on, or its last line.
pub(super) fn last_error(stderr: &str) -> String {
    let from = stderr.rfind("Error: ").map(|at| at + "Error: ".len());
    let told = match from {
        Some(from) => stderr.get(from..).unwrap_or_default(),
        None => stderr.lines().rev().find(|line| is_told(line)).unwrap_or_default(),
    };
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line is meant for people.
fn is_told(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("level=DEBUG ")
}

#[cfg(test)]
mod tests {
    use super::last_error;

    #[test]
    fn the_last_error_is_on_one_line() {
        let told = "level=WARN msg=slow\nError: INSTALLATION FAILED: first\n  second\n";
        assert_eq!(last_error(told), "INSTALLATION FAILED: first second");
        assert_eq!(last_error("some\nwords\nlevel=DEBUG msg=x\n\n"), "words");
        assert_eq!(last_error(""), "");
    }
}
