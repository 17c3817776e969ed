//! What an answer, or its absence, means: whether it is what was wanted, a failure, or a reason to try again. Pure.
//!
//! A request is repeated only where that cannot do the work twice: if it surely was not carried out (nothing was
//! reached; 429; 503), or if its method is idempotent.

use std::time::Duration;

use super::call::{Reply, Trouble};
use crate::runners::http::{
    args::{Args, Poll},
    condition,
};

/// The pause before the second try; doubled for each further one.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(10);

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is what was wanted.
    Done,
    /// It is not, and will not be.
    Failed(Why),
    /// It is not yet.
    Again(Why),
}

/// Why an answer is not what was wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Why {
    /// There is nothing to add to the answer.
    Answer,
    /// The work behind it goes on.
    NotYet,
    /// `failure` holds.
    Failure,
    /// An expression cannot be asked of it: the field, and why.
    Expression(&'static str, String),
    /// Nobody knows whether the request was carried out, and twice would be one too many.
    Doubt,
}

impl Why {
    /// Whether trying again needs an end of its own.
    pub(super) fn is_trouble(&self) -> bool {
        !matches!(self, Self::NotYet)
    }

    /// What is added to the answer.
    pub(super) fn words(&self, quiet: bool) -> String {
        match self {
            Self::Answer | Self::NotYet => String::new(),
            Self::Failure => ", for which `failure` holds".to_owned(),
            Self::Expression(field, _) if quiet => format!("; {field} cannot be asked of it"),
            Self::Expression(field, error) => format!("; {field} cannot be asked of it: {error}"),
            Self::Doubt => {
                "; whether it took effect is unknown, so it is not tried again: look at the server".to_owned()
            }
        }
    }
}

/// Judges the answer to the request itself.
pub(super) fn of_request(args: &Args, result: &Result<Reply, Trouble>) -> Verdict {
    let reply = match result {
        Ok(reply) => reply,
        Err(Trouble::Unreachable(_)) => return Verdict::Again(Why::Answer),
        Err(Trouble::TooLarge) => return Verdict::Failed(Why::Answer),
        Err(Trouble::Timeout | Trouble::Broken(_)) if args.method.is_idempotent() => {
            return Verdict::Again(Why::Answer);
        }
        Err(Trouble::Timeout | Trouble::Broken(_)) => return Verdict::Failed(Why::Doubt),
    };
    match asked(args.failure.as_deref(), "failure", reply, reply) {
        Ok(Some(true)) => return Verdict::Failed(Why::Failure),
        Ok(Some(false) | None) => {}
        Err(why) => return Verdict::Failed(why),
    }
    let success = match asked(args.success.as_deref(), "success", reply, reply) {
        Ok(success) => success.unwrap_or_else(|| (200..300).contains(&reply.status)),
        Err(why) => return Verdict::Failed(why),
    };
    match reply.status {
        _ if success => Verdict::Done,
        429 | 503 => Verdict::Again(Why::Answer),
        408 | 500 | 502 | 504 if args.method.is_idempotent() => Verdict::Again(Why::Answer),
        408 | 500 | 502 | 504 => Verdict::Failed(Why::Doubt),
        _ => Verdict::Failed(Why::Answer),
    }
}

/// Judges an answer of the work behind the request.
pub(super) fn of_poll(poll: &Poll, result: &Result<Reply, Trouble>, initial: &condition::Answer) -> Verdict {
    let reply = match result {
        Ok(reply) => reply,
        Err(Trouble::TooLarge) => return Verdict::Failed(Why::Answer),
        Err(Trouble::Unreachable(_) | Trouble::Timeout | Trouble::Broken(_)) => {
            return Verdict::Again(Why::Answer);
        }
    };
    let answered = (200..300).contains(&reply.status);
    let ask =
        |field: &'static str, expression: &str| match condition::holds(expression, &reply.answer, initial) {
            Ok(holds) => Ok(holds),
            // Another form is no surprise where the status tells of another thing.
            Err(_) if !answered => Ok(false),
            Err(error) => Err(Why::Expression(field, error)),
        };
    match poll.failure.as_deref().map(|failure| ask("poll.failure", failure)) {
        Some(Ok(true)) => return Verdict::Failed(Why::Failure),
        Some(Err(why)) => return Verdict::Failed(why),
        Some(Ok(false)) | None => {}
    }
    match ask("poll.until", &poll.until) {
        Ok(true) => Verdict::Done,
        Ok(false) if matches!(reply.status, 408 | 429 | 500..) => Verdict::Again(Why::Answer),
        Ok(false) if matches!(reply.status, 401 | 403) => Verdict::Failed(Why::Answer),
        Ok(false) => Verdict::Again(Why::NotYet),
        Err(why) => Verdict::Failed(why),
    }
}

fn asked(
    expression: Option<&str>,
    field: &'static str,
    reply: &Reply,
    initial: &Reply,
) -> Result<Option<bool>, Why> {
    expression
        .map(|expression| condition::holds(expression, &reply.answer, &initial.answer))
        .transpose()
        .map_err(|error| Why::Expression(field, error))
}

/// How often, and how soon, it is tried again.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    attempts: u32,
    tried: u32,
}

impl Pace {
    pub(super) fn new(attempts: u32) -> Self {
        Self { attempts, tried: 1 }
    }

    /// How often it was tried.
    pub(super) fn tried(&self) -> u32 {
        self.tried
    }

    /// The pause before the next try, which the server may ask to be longer; none if there is to be no further one.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.tried >= self.attempts {
            return None;
        }
        let own = PAUSE.saturating_mul(1 << (self.tried - 1).min(16)).min(LONGEST_PAUSE);
        self.tried += 1;
        Some(own.max(asked.unwrap_or_default().min(LONGEST_ASKED)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use serde_json::{Map, Value, json};

    use super::{Pace, Verdict, Why, of_poll, of_request};
    use crate::{
        exec::http::call::{Reply, Trouble},
        runners::http::{args::Args, condition::Answer},
    };

    #[allow(clippy::unnecessary_wraps, reason = "it stands for what a call returns")]
    fn reply(status: u16, body: &str) -> Result<Reply, Trouble> {
        Ok(Reply {
            status,
            answer: Answer::new(status, &Map::new(), body),
            retry_after: None,
            body: body.into(),
        })
    }

    fn args(over: Value) -> Args {
        let mut args = json!({"url": "http://a"});
        crate::runners::args::merge(&mut args, over);
        Args::read(&args).unwrap()
    }

    #[rstest]
    #[case("GET", reply(200, ""), Verdict::Done)]
    #[case("POST", reply(204, ""), Verdict::Done)]
    #[case("GET", reply(404, ""), Verdict::Failed(Why::Answer))]
    #[case("GET", reply(500, ""), Verdict::Again(Why::Answer))]
    #[case("POST", reply(500, ""), Verdict::Failed(Why::Doubt))]
    #[case("POST", reply(503, ""), Verdict::Again(Why::Answer))]
    #[case("POST", reply(429, ""), Verdict::Again(Why::Answer))]
    #[case("PUT", Err(Trouble::Timeout), Verdict::Again(Why::Answer))]
    #[case("POST", Err(Trouble::Timeout), Verdict::Failed(Why::Doubt))]
    #[case("POST", Err(Trouble::Unreachable(String::new())), Verdict::Again(Why::Answer))]
    #[case("GET", Err(Trouble::TooLarge), Verdict::Failed(Why::Answer))]
    fn only_what_cannot_be_done_twice_is_tried_again(
        #[case] method: &str,
        #[case] result: Result<Reply, Trouble>,
        #[case] expected: Verdict,
    ) {
        assert_eq!(of_request(&args(json!({ "method": method })), &result), expected);
    }

    #[rstest]
    #[case(404, "", Verdict::Done)]
    #[case(200, r#"{"error": 1}"#, Verdict::Failed(Why::Failure))]
    #[case(200, "{}", Verdict::Failed(Why::Answer))]
    fn what_is_wanted_can_be_said(#[case] status: u16, #[case] body: &str, #[case] expected: Verdict) {
        let wanted =
            json!({"success": "response.status == 404", "failure": r#"response.body.contains("error")"#});
        assert_eq!(of_request(&args(wanted), &reply(status, body)), expected);
    }

    #[rstest]
    #[case(200, r#"{"state": "done"}"#, Verdict::Done)]
    #[case(200, r#"{"state": "working"}"#, Verdict::Again(Why::NotYet))]
    #[case(200, r#"{"state": "broken"}"#, Verdict::Failed(Why::Failure))]
    #[case(404, "not yet", Verdict::Again(Why::NotYet))]
    #[case(502, "", Verdict::Again(Why::Answer))]
    #[case(403, "", Verdict::Failed(Why::Answer))]
    fn the_work_behind_a_request_is_followed(
        #[case] status: u16,
        #[case] body: &str,
        #[case] expected: Verdict,
    ) {
        let poll = json!({"until": r#"response.json.state == "done""#, "failure": r#"response.json.state == "broken""#});
        let args = args(json!({ "poll": poll }));
        let initial = Answer::new(202, &Map::new(), "");
        assert_eq!(of_poll(&args.poll.unwrap(), &reply(status, body), &initial), expected);
    }

    #[test]
    fn an_expression_that_fails_on_a_good_answer_fails_the_run() {
        let args = args(json!({"poll": {"until": "response.json.state == 1"}}));
        let verdict = of_poll(&args.poll.unwrap(), &reply(200, "{}"), &Answer::new(202, &Map::new(), ""));
        assert!(matches!(verdict, Verdict::Failed(Why::Expression("poll.until", _))), "{verdict:?}");
    }

    #[test]
    fn pauses_grow_heed_the_server_and_come_to_an_end() {
        let mut pace = Pace::new(4);
        let asked = [None, Some(Duration::from_secs(7)), Some(Duration::from_secs(1)), None];
        let pauses: Vec<_> = asked.into_iter().map(|asked| pace.next(asked).map(|it| it.as_secs())).collect();
        assert_eq!(pauses, [Some(1), Some(7), Some(4), None]);
        assert_eq!(pace.tried(), 4);
    }
}
