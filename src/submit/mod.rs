//! `runner-controller submit`: what an Engine's container per action did, with the same file and environment.
//!
//! Input: the original's file (see [`source`]), the command line, a cluster. Output: progress on standard error, the
//! outcome on standard output, an [`Exit`] code. Only the wiring is here:
//!
//! ```text
//! source ─text─▶ crate::input ─execution─▶ crate::client ─updates─▶ screen, outcome ─▶ exit
//! ```

use std::{io::Write, path::PathBuf, pin::Pin, time::Duration};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::{
    sync::oneshot,
    time::{Interval, MissedTickBehavior, interval},
};

pub mod exit;
mod interrupt;
pub mod screen;
pub mod source;

use self::interrupt::{Reaction, Signal, ask, react};
pub use self::{
    exit::{Exit, Failure},
    interrupt::OnInterrupt,
    screen::Screen,
};
use crate::{
    client::{ClientError, Created, Executions, Outcome, Update, connect},
    crd::RunnerExecution,
    input::Given,
    progress,
};

/// How often the line of a terminal is drawn anew.
const FRAME: Duration = Duration::from_millis(150);

/// Run one execution from the original runners' input file and follow it to its end.
///
/// The input comes from --file, RUNNER_INPUT_PATH, RUNNER_CONTEXT_PATH with RUNNER_ARGS_PATH, or standard input.
/// If the same run exists already, it is followed instead of started again.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit codes:\n  \
    0 succeeded   1 failed   2 cancelled   3 timed out   4 deleted meanwhile\n  \
    64 bad input   69 no cluster   73 the name belongs to another run\n  \
    75 detached, the run goes on   76 answer not understood\n  \
    77 missing rights   78 RunnerExecutions are not installed")]
pub struct Settings {
    /// Which runner does the work, for example argo-workflow or job.
    #[arg(long, env = "RUNNER_NAME")]
    runner: Option<String>,
    /// A file with context and args, or with a RunnerExecution; - is standard input.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The original's input file.
    #[arg(long, env = "RUNNER_INPUT_PATH", hide = true)]
    input_path: Option<PathBuf>,
    /// The content of context, in a file of its own.
    #[arg(long, env = "RUNNER_CONTEXT_PATH", hide = true)]
    context_path: Option<PathBuf>,
    /// The content of args, in a file of its own.
    #[arg(long, env = "RUNNER_ARGS_PATH", hide = true)]
    args_path: Option<PathBuf>,
    /// The namespace to run in, where the file does not say.
    #[arg(long, short)]
    namespace: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
    /// What Ctrl-C and SIGTERM do; a second one detaches.
    #[arg(long, value_enum, default_value = "ask")]
    on_interrupt: OnInterrupt,
}

/// Runs it and tells how it ended.
pub async fn run(settings: Settings) -> Exit {
    match submit(settings).await {
        Ok(exit) => exit,
        Err(Failure { exit, words }) => {
            Screen::new().say(&format!("runner-controller submit: {words}"));
            exit
        }
    }
}

async fn submit(settings: Settings) -> Result<Exit, Failure> {
    let bad_input = |words: String| Failure { exit: Exit::BadInput, words };
    let named = source::Named {
        file: settings.file,
        input: settings.input_path,
        context: settings.context_path,
        args: settings.args_path,
    };
    let input = source::read(named).map_err(bad_input)?;
    let mut screen = Screen::new();
    for warning in &input.warnings {
        screen.say(&format!("warning: {warning}"));
    }
    // Whatever can be said without a cluster is said before one is asked.
    let given = |default_namespace| Given {
        runner: settings.runner.as_deref(),
        namespace: settings.namespace.as_deref(),
        default_namespace,
    };
    input.clone().into_execution(&given("default")).map_err(|e| bad_input(e.to_string()))?;
    let connection = connect(settings.context.as_deref()).await?;
    let wanted = input
        .into_execution(&given(&connection.default_namespace))
        .map_err(|mismatch| bad_input(mismatch.to_string()))?;

    let executions = Executions::new(connection.client, &wanted.namespace().unwrap_or_default());
    create_and_follow(executions, &wanted, settings.on_interrupt, &mut screen).await
}

/// Creates the execution or adopts the same run, follows it on the screen, and prints the outcome.
///
/// # Errors
/// If it cannot be created, or is deleted meanwhile.
pub async fn create_and_follow(
    executions: Executions,
    wanted: &RunnerExecution,
    policy: OnInterrupt,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    // From before the creation, so that no signal is lost that comes during it.
    let signals = interrupt::signals().map_err(|error| Failure {
        exit: Exit::NotUnderstood,
        words: format!("cannot wait for signals: {error}"),
    })?;
    let mut signals: Signals = Box::pin(signals);
    let mut before = None;
    let created = tokio::select! {
        // What is known is told, whatever came with it.
        biased;
        created = executions.create(wanted) => created?,
        () = given_up(&mut signals, &mut before, wanted, screen) => {
            let (name, namespace) = (wanted.name_any(), wanted.namespace().unwrap_or_default());
            screen.say(&format!(
                "{name} may have been created, and goes on then; to see it: kubectl get rex {name} -n {namespace}"
            ));
            return Ok(Exit::Detached);
        }
    };
    if let Created::Adopted(there) = &created {
        let state =
            if Outcome::of(there).is_some() { "has finished already" } else { "is under way already" };
        screen.say(&format!("{}: the same run {state} and is not started again", there.name_any()));
    }
    let execution = created.into_execution();
    let follower =
        Follower { executions, policy, execution, question: None, interrupted: false, disturbed: false };
    follower.follow(screen, Box::pin(stream::iter(before).chain(signals))).await
}

type Signals = Pin<Box<dyn Stream<Item = Signal>>>;

/// Waits until whoever asked for the creation waits for it no longer, which a second signal says. The first is kept: it
/// is about what is created.
async fn given_up(
    signals: &mut Signals,
    before: &mut Option<Signal>,
    wanted: &RunnerExecution,
    screen: &mut Screen,
) {
    while let Some(signal) = signals.next().await {
        if before.replace(signal).is_some() {
            return;
        }
        screen.say(&format!("{} is being created; interrupt again not to wait for that", wanted.name_any()));
    }
    std::future::pending::<()>().await;
}

/// Follows one execution, and does what interruptions ask for.
struct Follower {
    executions: Executions,
    policy: OnInterrupt,
    /// As last seen.
    execution: RunnerExecution,
    /// What a person is being asked.
    question: Option<oneshot::Receiver<Reaction>>,
    interrupted: bool,
    disturbed: bool,
}

impl Follower {
    async fn follow(mut self, screen: &mut Screen, mut signals: Signals) -> Result<Exit, Failure> {
        let mut updates = Box::pin(self.executions.follow(&self.execution));
        let mut frames = frames();
        loop {
            tokio::select! {
                update = updates.next() => match update {
                    Some(update) => {
                        if let Some(exit) = self.hear(update?, screen) {
                            return Ok(exit);
                        }
                    }
                    None => return Err(ClientError::Gone(self.execution.name_any()).into()),
                },
                Some(signal) = signals.next() => {
                    let reaction = react(self.policy, signal, screen.is_live(), !self.interrupted);
                    self.interrupted = true;
                    if let Some(exit) = self.act(reaction, screen).await {
                        return Ok(exit);
                    }
                }
                reaction = answered(&mut self.question) => {
                    self.question = None;
                    if let Some(exit) = self.act(reaction, screen).await {
                        return Ok(exit);
                    }
                }
                _ = frames.tick() => if screen.is_live() && self.question.is_none() {
                    screen.show(&self.execution, elapsed(&self.execution));
                },
            }
        }
    }

    /// The exit code, once it has finished.
    fn hear(&mut self, update: Update, screen: &mut Screen) -> Option<Exit> {
        match update {
            Update::Disturbed(words) => {
                if !std::mem::replace(&mut self.disturbed, true) {
                    screen.say(&format!("{words}; trying again"));
                }
                None
            }
            Update::Seen(now) => {
                self.disturbed = false;
                self.execution = *now;
                let outcome = Outcome::of(&self.execution);
                if self.question.is_none() && (outcome.is_none() || !screen.is_live()) {
                    screen.show(&self.execution, elapsed(&self.execution));
                }
                let outcome = outcome?;
                screen.clear();
                print(&told(&self.execution.name_any(), &outcome));
                Some(outcome.verdict.into())
            }
        }
    }

    /// The exit code, if nobody follows any longer.
    async fn act(&mut self, reaction: Reaction, screen: &Screen) -> Option<Exit> {
        let name = self.execution.name_any();
        match reaction {
            Reaction::Ask => {
                screen.clear();
                let question = format!("Cancel {name} (c), or detach and let it go on (d)? [d]");
                self.question = Some(ask(&question));
                None
            }
            Reaction::Cancel => {
                match self.executions.cancel(&self.execution).await {
                    Ok(()) => screen.say(&format!("{name}: cancelling; waiting until the work has stopped")),
                    Err(error) => screen.say(&format!("{name}: cannot be cancelled: {error}")),
                }
                None
            }
            Reaction::Detach => {
                let namespace = self.execution.namespace().unwrap_or_default();
                screen.say(&format!(
                    "{name} goes on; to see it: kubectl get rex {name} -n {namespace} --watch"
                ));
                Some(Exit::Detached)
            }
        }
    }
}

fn frames() -> Interval {
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    frames
}

/// Waits for the answer, for ever if nothing was asked.
async fn answered(question: &mut Option<oneshot::Receiver<Reaction>>) -> Reaction {
    match question {
        Some(answer) => answer.await.unwrap_or(Reaction::Detach),
        None => std::future::pending().await,
    }
}

/// How long the execution has been under way.
fn elapsed(execution: &RunnerExecution) -> Duration {
    let status = execution.status.as_ref();
    let start = status.and_then(|s| s.start_time.as_ref()).or(execution.metadata.creation_timestamp.as_ref());
    start.and_then(|start| Timestamp::now().duration_since(start.0).try_into().ok()).unwrap_or_default()
}

/// The outcome, for people.
fn told(name: &str, outcome: &Outcome) -> String {
    let took = outcome.took.map_or_else(String::new, |took| format!(" after {}", progress::span(took)));
    let output = outcome.output.as_ref().map_or_else(String::new, |output| {
        // JSON escapes only some of the letters that steer a terminal.
        format!("output: {}\n", output.to_string().replace(char::is_control, " "))
    });
    format!(
        "{name} ended{took}: {}\n{}\n{output}",
        progress::because(&format!("{:?}", outcome.verdict), Some(outcome.reason)),
        progress::plain(&outcome.message)
    )
}

/// Standard output may be closed by whoever reads it; the exit code still tells the outcome.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
