//! The work of the runner `http`: a request until it is answered as wanted, then others until the work behind it is
//! done, then the outputs.
//!
//! Input: [`Args`]. Output: what is asked of the answers. What to do about an answer is decided in [`verdict`], purely;
//! requests are made in [`call`].

use serde_json::{Map, Value};

use self::{
    call::{Caller, Target},
    verdict::{Pace, Verdict},
};
use super::{Done, Failure, pod::Pod};
use crate::{
    reason::Reason,
    runners::http::{
        args::{Args, Poll},
        condition::{self, Answer},
    },
};

mod call;
mod verdict;

/// Does the work.
///
/// # Errors
/// If the arguments are wrong, or an answer is.
pub async fn run(args: &Value, pod: &Pod) -> Result<Done, Failure> {
    let args = Args::read(args)?;
    let caller = Caller::new(&args, pod.secret_args)?;
    let first = request(&caller, &args).await?;
    let last = match &args.poll {
        Some(poll) => {
            pod.progress("1/2").await;
            follow(&caller, &args, poll, &first).await?
        }
        None => first.clone(),
    };
    let steps = if args.poll.is_some() { "2/2" } else { "1/1" };
    pod.progress(steps).await;
    Ok(Done {
        message: format!("{} was answered with {}.", args.method.as_str(), last.status),
        output: outputs(&args, &last.answer, &first.answer, caller.is_quiet())?,
        sensitive: args.sensitive,
    })
}

/// Makes the request, again where it may be made again.
async fn request(caller: &Caller<'_>, args: &Args) -> Result<call::Reply, Failure> {
    let mut pace = Pace::new(args.retry.attempts);
    loop {
        let result = caller.call(&Target::Request).await;
        let why = match verdict::of_request(args, &result) {
            Verdict::Done => return result.map_err(|trouble| failed(trouble.words(caller.is_quiet()))),
            Verdict::Failed(why) => return Err(failed(tell(&why, &result, caller))),
            Verdict::Again(why) => why,
        };
        wait(&mut pace, &why, &result, caller).await?;
    }
}

/// Asks until the work behind the request is done.
async fn follow(
    caller: &Caller<'_>,
    args: &Args,
    poll: &Poll,
    first: &call::Reply,
) -> Result<call::Reply, Failure> {
    let target = match (&poll.url, &poll.url_from) {
        (Some(url), _) => Target::Url(url.clone()),
        (None, Some(expression)) => match condition::value(expression, &first.answer, &first.answer) {
            Ok(Value::String(url)) => Target::Url(url),
            Ok(_) => return Err(failed("spec.args.poll.urlFrom gives no text".to_owned())),
            Err(error) => return Err(expression_failed("poll.urlFrom", &error, caller.is_quiet())),
        },
        (None, None) => Target::Url(caller.url().to_owned()),
    };
    let mut pace = Pace::new(args.retry.attempts);
    loop {
        tokio::time::sleep(poll.pause()).await;
        let result = caller.call(&target).await;
        match verdict::of_poll(poll, &result, &first.answer) {
            Verdict::Done => return result.map_err(|trouble| failed(trouble.words(caller.is_quiet()))),
            Verdict::Failed(why) => return Err(failed(tell(&why, &result, caller))),
            Verdict::Again(why) if why.is_trouble() => wait(&mut pace, &why, &result, caller).await?,
            Verdict::Again(_) => pace = Pace::new(args.retry.attempts),
        }
    }
}

/// Waits for the next try, if there is to be one.
async fn wait(
    pace: &mut Pace,
    why: &verdict::Why,
    result: &Result<call::Reply, call::Trouble>,
    caller: &Caller<'_>,
) -> Result<(), Failure> {
    let asked = result.as_ref().ok().and_then(|reply| reply.retry_after);
    let told = tell(why, result, caller);
    let Some(pause) = pace.next(asked) else {
        return Err(failed(format!("{told}; it was tried {} times", pace.tried())));
    };
    tracing::info!(pause = ?pause, "it is tried again");
    tokio::time::sleep(pause).await;
    Ok(())
}

fn outputs(args: &Args, last: &Answer, first: &Answer, quiet: bool) -> Result<Map<String, Value>, Failure> {
    args.output
        .iter()
        .map(|(name, expression)| match condition::value(expression, last, first) {
            Ok(value) => Ok((name.clone(), value)),
            Err(error) => Err(expression_failed(&format!("output.{name}"), &error, quiet)),
        })
        .collect()
}

fn failed(message: String) -> Failure {
    Failure::new(Reason::RequestFailed, message)
}

fn expression_failed(field: &str, error: &str, quiet: bool) -> Failure {
    let error = if quiet { "it cannot be asked of this answer" } else { error };
    failed(format!("spec.args.{field}: {error}"))
}

/// What went wrong, in words.
fn tell(why: &verdict::Why, result: &Result<call::Reply, call::Trouble>, caller: &Caller<'_>) -> String {
    let quiet = caller.is_quiet();
    match result {
        Ok(reply) => format!("the request was answered with {}{}", reply.words(quiet), why.words(quiet)),
        Err(trouble) => format!("{}{}", trouble.words(quiet), why.words(quiet)),
    }
}
