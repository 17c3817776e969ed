//! What Ctrl-C and SIGTERM mean while a run is followed. The decision is pure; signals and the question are I/O.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
};

use futures::{Stream, stream};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// What an interruption does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnInterrupt {
    /// Ask on the terminal; without one, detach.
    Ask,
    /// Cancel the run and wait until it has stopped.
    Cancel,
    /// Let the run go on and stop following it.
    Detach,
}

/// What interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// Somebody ends the process, for example because its pod is deleted.
    Terminate,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Ask,
    Cancel,
    Detach,
}

/// What to do about a signal. A second one always lets the person go; one that ends the process never asks.
pub(super) fn react(policy: OnInterrupt, signal: Signal, can_ask: bool, is_first: bool) -> Reaction {
    match (policy, signal) {
        (OnInterrupt::Cancel, _) if is_first => Reaction::Cancel,
        (OnInterrupt::Ask, Signal::Interrupt) if is_first && can_ask => Reaction::Ask,
        (OnInterrupt::Ask | OnInterrupt::Cancel | OnInterrupt::Detach, _) => Reaction::Detach,
    }
}

/// What an answer means; anything unclear lets the run go on.
fn answer(line: &str) -> Reaction {
    match line.trim().to_lowercase().as_str() {
        "c" | "cancel" | "y" | "yes" => Reaction::Cancel,
        _ => Reaction::Detach,
    }
}

/// The signals, from now on.
pub(super) fn signals() -> std::io::Result<impl Stream<Item = Signal>> {
    let both = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(stream::unfold(both, |(mut interrupt, mut terminate)| async move {
        let signal = tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
        };
        Some((signal, (interrupt, terminate)))
    }))
}

/// Asks on the terminal itself, since standard input may be the file. On a thread of its own, which ends with
/// the process: nobody may ever answer.
pub(super) fn ask(question: &str) -> oneshot::Receiver<Reaction> {
    let (send, receive) = oneshot::channel();
    let question = question.to_owned();
    std::thread::spawn(move || {
        let reaction = put(&question).map_or(Reaction::Detach, |line| answer(&line));
        // Nobody waits for it any more once the run has ended.
        let _ = send.send(reaction);
    });
    receive
}

fn put(question: &str) -> std::io::Result<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    write!(terminal, "{question} ")?;
    let mut line = String::new();
    BufReader::new(terminal).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{OnInterrupt, Reaction, Signal, answer, react};

    #[rstest]
    #[case(OnInterrupt::Ask, Signal::Interrupt, true, true, Reaction::Ask)]
    #[case(OnInterrupt::Ask, Signal::Interrupt, false, true, Reaction::Detach)]
    #[case(OnInterrupt::Ask, Signal::Terminate, true, true, Reaction::Detach)]
    #[case(OnInterrupt::Cancel, Signal::Interrupt, true, true, Reaction::Cancel)]
    #[case(OnInterrupt::Cancel, Signal::Terminate, false, true, Reaction::Cancel)]
    #[case(OnInterrupt::Detach, Signal::Interrupt, true, true, Reaction::Detach)]
    #[case(OnInterrupt::Cancel, Signal::Interrupt, true, false, Reaction::Detach)]
    fn an_interruption_does_what_was_asked_for(
        #[case] policy: OnInterrupt,
        #[case] signal: Signal,
        #[case] can_ask: bool,
        #[case] is_first: bool,
        #[case] reaction: Reaction,
    ) {
        assert_eq!(react(policy, signal, can_ask, is_first), reaction);
    }

    #[rstest]
    #[case("c\n", Reaction::Cancel)]
    #[case(" Cancel ", Reaction::Cancel)]
    #[case("\n", Reaction::Detach)]
    #[case("", Reaction::Detach)]
    #[case("what?", Reaction::Detach)]
    fn only_a_clear_answer_cancels(#[case] line: &str, #[case] reaction: Reaction) {
        assert_eq!(answer(line), reaction);
    }
}
