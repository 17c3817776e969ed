//! How `submit` ends, as a number for scripts. I/O: [`command_line`] reads the command line.

use std::process::ExitCode;

use clap::Parser;

use crate::client::{ClientError, ConnectError, Verdict};

/// The exit codes of `submit`. From 64 on they are those of sysexits.h, which Engines and shells know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The work succeeded.
    Succeeded = 0,
    /// The work failed.
    Failed = 1,
    /// The work was stopped on request.
    Cancelled = 2,
    /// The work was stopped since its time was over.
    TimedOut = 3,
    /// The execution was deleted before its outcome was known.
    Deleted = 4,
    /// The input is wrong; nothing was created.
    BadInput = 64,
    /// There is no cluster, or it does not answer; nothing is known to have been created.
    NoCluster = 69,
    /// The cluster answers in a way that is not understood.
    NotUnderstood = 76,
    /// The name belongs to another run; nothing was created.
    AnotherRun = 73,
    /// Somebody stopped following; the run goes on.
    Detached = 75,
    /// The rights do not suffice.
    NoRights = 77,
    /// RunnerExecutions are not installed in the cluster.
    NotInstalled = 78,
}

/// Reads the process's command line. What is wrong with it is told, and so is `--help`: then there is nothing left to
/// do but to end with that code. It is not clap's own, which means cancelled.
///
/// # Errors
/// The code to end with.
pub fn command_line<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        // Nobody may be there to read it; the exit code tells as much.
        let _ = error.print();
        if error.use_stderr() { Exit::BadInput.into() } else { ExitCode::SUCCESS }
    })
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Succeeded => Self::Succeeded,
            Verdict::Failed => Self::Failed,
            Verdict::Cancelled => Self::Cancelled,
            Verdict::TimedOut => Self::TimedOut,
        }
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Unreachable(_) => Self::NoCluster,
            ClientError::Unauthorized(_) | ClientError::Forbidden { .. } => Self::NoRights,
            ClientError::NotInstalled => Self::NotInstalled,
            ClientError::NoNamespace(_) | ClientError::Refused(_) => Self::BadInput,
            ClientError::AnotherRun { .. } | ClientError::BeingDeleted(_) => Self::AnotherRun,
            ClientError::Gone(_) => Self::Deleted,
            ClientError::Unintelligible => Self::NotUnderstood,
        }
    }
}

/// Why there is no outcome, in a sentence.
#[derive(Debug)]
pub struct Failure {
    /// How to exit.
    pub exit: Exit,
    /// What to say.
    pub words: String,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { exit: Exit::from(&error), words: error.to_string() }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match error {
            ConnectError::NoCluster(_) => Exit::NoCluster,
            ConnectError::Context { .. } => Exit::BadInput,
        };
        Self { exit, words: error.to_string() }
    }
}
