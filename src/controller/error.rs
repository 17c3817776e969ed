//! What an API server's "no" means for an execution. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::{ApiResource, Status};

use super::{
    api::CallError,
    decide::{Patience, Refusal},
    memory::Failing,
};
use crate::reason::Reason;

/// Why a pass ended early. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed in a way that time may heal.
    #[error("cannot {doing}: {source}")]
    Call {
        /// What was to be done.
        doing: &'static str,
        /// What came back.
        source: CallError,
    },
    /// The controller's own fault.
    #[error("the controller panicked; please report it with the log line before this one")]
    Panic,
}

/// How soon it is tried again, at the latest, while the API server cannot answer: what waits is to go on soon after it
/// can again, however long it could not.
const LAST_RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);
/// How soon at the earliest after the API server found the object wrong in itself: only a change of it heals that, which
/// a watch tells of, or one of the schema.
const RETRY_INVALID: Duration = Duration::from_mins(1);

impl Error {
    /// When to try again, given how long to wait after so many failures, and a number within 0 and 1 that spreads
    /// retries.
    pub fn retry_in(&self, delay: Duration, jitter: f64) -> Duration {
        let Self::Call { source, .. } = self else { return delay };
        let spread = |by: Duration| by.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0);
        let delay = match (failing(source), source.code()) {
            (Failing::Unanswered, _) => delay.min(spread(LAST_RETRY_UNAVAILABLE)),
            (Failing::Answered, Some(422)) => delay.max(spread(RETRY_INVALID)),
            (Failing::Answered, _) => delay,
        };
        source.retry_after().map_or(delay, |asked| delay.max(asked.min(Duration::from_secs(30))))
    }

    /// How it failed.
    pub fn failing(&self) -> Failing {
        match self {
            Self::Call { source, .. } => failing(source),
            Self::Panic => Failing::Answered,
        }
    }

    /// One word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Call { source: CallError::Status(_), .. } => "status",
            Self::Call { source: CallError::Timeout, .. } => "timeout",
            Self::Call { source: CallError::Transport(_), .. } => "transport",
            Self::Panic => "panic",
        }
    }
}

/// How a call failed.
pub fn failing(error: &CallError) -> Failing {
    match error.code() {
        None | Some(503) => Failing::Unanswered,
        Some(_) => Failing::Answered,
    }
}

/// Whom and what a refused call was about.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// What was to be done, as a verb of Kubernetes.
    pub verb: &'static str,
    /// To which kind.
    pub kind: &'a ApiResource,
    /// As which ServiceAccount.
    pub service_account: &'a str,
    /// In which namespace.
    pub namespace: &'a str,
    /// Until when a refusal is put up with that may have to do with order of creation.
    pub patience_ends: Timestamp,
}

/// The refusal that an error stands for; `None` if it only says to try again.
pub fn refusal(error: &CallError, attempt: Attempt<'_>) -> Option<Refusal> {
    let CallError::Status(status) = error else { return None };
    let told = &status.message;
    let Attempt { verb, kind, service_account, namespace, patience_ends } = attempt;
    let (reason, message, patience) = match status.code {
        403 if told.contains("exceeded quota") => (
            Reason::QuotaExceeded,
            format!("{told} It is tried again until there is room."),
            Patience::Endless,
        ),
        403 => (
            Reason::Forbidden,
            format!(
                "ServiceAccount {service_account} may not {verb} {} in namespace {namespace}; grant it that by a Role and a RoleBinding. The API server says: {told}",
                resource(kind)
            ),
            Patience::Until(patience_ends),
        ),
        404 if verb == "create" => (
            Reason::RunnerUnavailable,
            format!(
                "The cluster does not serve {} ({}); install it, and the execution starts by itself.",
                kind.kind, kind.api_version
            ),
            Patience::Endless,
        ),
        400 | 405 | 413 | 415 | 422 => {
            (Reason::Rejected, format!("The API server refused it: {told}"), Patience::None)
        }
        _ => return None,
    };
    Some(Refusal { reason, message, patience })
}

/// A kind as RBAC names it: `jobs.batch`, or `secrets`.
pub fn resource(kind: &ApiResource) -> String {
    let dot = if kind.group.is_empty() { "" } else { "." };
    format!("{}{dot}{}", kind.plural, kind.group)
}

/// Whether a refusal's words may repeat what was sent, as those of validation and of admission policies do; those of
/// RBAC and of quotas tell only who, what and how many.
pub fn may_repeat_values(error: &CallError) -> bool {
    match error {
        CallError::Status(status) if status.code == 403 => {
            let told = &status.message;
            ["is forbidden: User \"", "exceeded quota", "because it is being terminated"]
                .iter()
                .all(|words| !told.contains(words))
        }
        CallError::Status(status) => !matches!(status.code, 401 | 404 | 429 | 503 | 504),
        CallError::Timeout | CallError::Transport(_) => false,
    }
}

/// The error without words that may repeat what was sent.
pub fn quiet(error: CallError) -> CallError {
    let message = may_repeat_values(&error).then(|| without_values(&error));
    match (error, message) {
        (CallError::Status(status), Some(message)) => {
            CallError::Status(Box::new(Status { message, ..*status }))
        }
        (error, _) => error,
    }
}

/// What a refusal says without repeating anything that was sent: for arguments that come from a Secret.
pub fn without_values(error: &CallError) -> String {
    let fields: Vec<&str> = match error {
        CallError::Status(status) => status
            .details
            .iter()
            .flat_map(|d| &d.causes)
            .map(|c| c.field.as_str())
            .filter(|f| !f.is_empty())
            .collect(),
        CallError::Timeout | CallError::Transport(_) => Vec::new(),
    };
    let of = if fields.is_empty() { "it".to_owned() } else { fields.join(", ") };
    format!("The API server refused {of}. Its words are left out, since arguments come from a Secret.")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::{api::batch::v1::Job, jiff::Timestamp};
    use kube::core::{ApiResource, Status};
    use rstest::rstest;

    use super::{Attempt, CallError, Error, may_repeat_values, refusal};
    use crate::controller::decide::Patience;

    fn answered(code: u16) -> CallError {
        said(code, "")
    }

    fn said(code: u16, message: &str) -> CallError {
        CallError::Status(Box::new(Status { code, message: message.into(), ..Status::default() }))
    }

    #[rstest]
    #[case::nobody_there(CallError::Transport(String::new()), true)]
    #[case::no_answer_in_time(CallError::Timeout, true)]
    #[case::shutting_down(answered(503), true)]
    #[case::refused(answered(500), false)]
    fn after_an_outage_of_any_length_what_failed_goes_on_within_seconds(
        #[case] source: CallError,
        #[case] soon: bool,
    ) {
        let error = Error::Call { doing: "write", source };
        let delay = error.retry_in(Duration::from_mins(1), 1.0);
        assert_eq!(delay <= Duration::from_secs(7), soon, "{delay:?}");
    }

    #[rstest]
    #[case::malformed(400, "", Some(Patience::None))]
    #[case::too_large(413, "", Some(Patience::None))]
    #[case::invalid(422, "", Some(Patience::None))]
    #[case::not_allowed_yet(403, "", Some(Patience::Until(Timestamp::MAX)))]
    #[case::no_room_yet(403, "exceeded quota: q", Some(Patience::Endless))]
    #[case::not_installed_yet(404, "", Some(Patience::Endless))]
    #[case::busy(429, "", None)]
    #[case::broken(500, "", None)]
    fn only_what_time_can_heal_is_waited_for(
        #[case] code: u16,
        #[case] message: &str,
        #[case] patience: Option<Patience>,
    ) {
        let attempt = Attempt {
            verb: "create",
            kind: &ApiResource::erase::<Job>(&()),
            service_account: "s",
            namespace: "n",
            patience_ends: Timestamp::MAX,
        };
        assert_eq!(refusal(&said(code, message), attempt).map(|refusal| refusal.patience), patience);
    }

    #[rstest]
    #[case::no_right(403, r#"jobs.batch is forbidden: User "u" cannot create resource "jobs""#, false)]
    #[case::no_room(403, "exceeded quota: q", false)]
    #[case::a_policy(403, "admission webhook denied the request: image hunter2 is not allowed", true)]
    #[case::invalid(422, r#"Invalid value: "hunter2""#, true)]
    #[case::a_webhook_that_fails(500, "failed calling webhook: hunter2", true)]
    fn words_that_may_repeat_what_was_sent_are_known(
        #[case] code: u16,
        #[case] message: &str,
        #[case] may_repeat: bool,
    ) {
        assert_eq!(may_repeat_values(&said(code, message)), may_repeat);
    }

    #[test]
    fn what_the_schema_refuses_is_not_tried_again_within_the_minute() {
        let error = Error::Call { doing: "write the status", source: answered(422) };
        assert!(error.retry_in(Duration::from_millis(500), 0.0) >= Duration::from_secs(45));
    }
}
