//! What happens within the pods of the runners that work in one: `runner-controller exec TOOL`.
//!
//! Input: the [input file](crate::runners::input), and whose pod it is, by environment ([`pod`]). Output: progress and
//! a report on the pod's own Job, for the controller ([`crate::runners::report`]); the exit code; and the last words
//! in the pod's termination message, for people. Everything is done as the run's ServiceAccount. I/O: all of this,
//! and whatever the tool does.

use std::process::ExitCode;

use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::pod::Pod;
use crate::{
    logging,
    reason::Reason,
    runners::{
        Rejection,
        input::{InputFile, PATH_VARIABLE},
        report::Report,
    },
};

mod additional;
pub mod helm;
pub mod http;
pub mod pod;
mod program;
mod redact;
pub mod terraform;

/// The outputs that may go into the status, in bytes of JSON; larger ones go into a Secret.
const MAX_INLINE: usize = 8 * 1024;
/// The plan of a dry run that may go into the status, in bytes of JSON; a larger one is left out.
const MAX_PLAN: usize = 128 * 1024;
/// What a shell tells of a process that SIGTERM ended.
const TERMINATED: u8 = 143;

/// What there is to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// Releases of charts.
    Helm,
    /// Requests over HTTP.
    Http,
    /// Modules of OpenTofu.
    Terraform,
}

/// What the work gave back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// One sentence.
    pub message: String,
    /// By name.
    pub output: Map<String, Value>,
    /// Whether the output is secret.
    pub sensitive: bool,
}

/// Why the work failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// In one word.
    pub reason: Reason,
    /// By the name of what failed, and what to do. Holds no value of an argument that may be secret.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// A file of the pod's own cannot be written.
    fn unwritten(what: &str, error: &std::io::Error) -> Self {
        Self::new(Reason::InternalError, format!("{what} cannot be written ({error})"))
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::new(Reason::InvalidArgs, rejection.to_string())
    }
}

/// Works until it is done, or until SIGTERM: then nothing is reported, since whoever sent it knows why.
pub async fn run(tool: Tool) -> ExitCode {
    logging::init();
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return ExitCode::FAILURE };
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        stopped.cancel();
    });
    let pod = match Pod::from_environment() {
        Ok(pod) => pod,
        Err(error) => {
            pod::last_words(&error);
            return ExitCode::FAILURE;
        }
    };
    let (dry_run, result) = match read_input() {
        Ok(input) => (input.context.dry_run, work(tool, &input, &pod, &stop).await),
        Err(failure) => (false, Err(failure)),
    };
    // Nobody reads it any more, and of a dry run nothing may be left behind once its outcome is told.
    pod.tidy_up().await;
    if stop.is_cancelled() { ExitCode::from(TERMINATED) } else { finish(&pod, dry_run, result).await }
}

/// Returns once it is done, or once it has stopped in good order after `stop`.
async fn work(tool: Tool, input: &InputFile, pod: &Pod, stop: &CancellationToken) -> Result<Done, Failure> {
    match tool {
        Tool::Helm => helm::run(input, pod, stop).await,
        Tool::Terraform => terraform::run(input, pod, stop).await,
        Tool::Http => {
            tokio::select! {
                result = http::run(&input.args, pod) => result,
                () = stop.cancelled() => Ok(Done::default()),
            }
        }
    }
}

fn read_input() -> Result<InputFile, Failure> {
    let unreadable = |what: &str| {
        let message = format!("the input file at {PATH_VARIABLE} {what}; it is the controller's to write");
        Failure::new(Reason::InternalError, message)
    };
    let path = std::env::var_os(PATH_VARIABLE).ok_or_else(|| unreadable("is not named"))?;
    let text =
        std::fs::read(path).map_err(|error| unreadable(&format!("cannot be read ({})", error.kind())))?;
    // Its problems would repeat its content.
    serde_json::from_slice(&text).map_err(|_| unreadable("is not understood"))
}

/// Tells what came of it, everywhere where somebody looks.
async fn finish(pod: &Pod, dry_run: bool, result: Result<Done, Failure>) -> ExitCode {
    let result = match result {
        Ok(done) if dry_run => Ok(plan_of(pod, done)),
        Ok(done) => report_of(pod, done).await,
        Err(failure) => Err(failure),
    };
    let (report, message, code) = match result {
        Ok((report, message)) => (report, message, ExitCode::SUCCESS),
        Err(Failure { reason, message }) => {
            (Report::Failed { reason, message: message.clone() }, message, ExitCode::FAILURE)
        }
    };
    pod::last_words(&message);
    match pod.report(&report).await {
        Ok(()) => code,
        Err(error) => {
            tracing::error!(%error, "the outcome cannot be reported");
            code
        }
    }
}

/// What a dry run shows, unless it may hold arguments from a Secret. It goes into no Secret, since nothing may be left
/// behind.
fn plan_of(pod: &Pod, done: Done) -> (Report, String) {
    let plan = Some(Value::Object(done.output))
        .filter(|plan| !pod.secret_args && plan.to_string().len() <= MAX_PLAN);
    (Report::Succeeded { message: done.message.clone(), output: plan, output_ref: None }, done.message)
}

async fn report_of(pod: &Pod, done: Done) -> Result<(Report, String), Failure> {
    let Done { message, output, sensitive } = done;
    let size = Value::Object(output.clone()).to_string().len();
    let (output, output_ref) = if output.is_empty() {
        (None, None)
    } else if sensitive || size > MAX_INLINE {
        (None, Some(pod.keep(&output).await?))
    } else {
        (Some(Value::Object(output)), None)
    };
    Ok((Report::Succeeded { message: message.clone(), output, output_ref }, message))
}
