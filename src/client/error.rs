//! Why a call of a client brought nothing, in words for the person who made it. Pure.

use kube::{core::Status, runtime::watcher};

/// Why nothing came of it. The texts are whole sentences; they never repeat arguments.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer, or none that helps: whether something was done is unknown.
    #[error("The API server cannot be reached: {0}")]
    Unreachable(String),
    /// The API server does not accept the credentials.
    #[error("The API server does not accept the credentials: {0}")]
    Unauthorized(String),
    /// The caller may not do that.
    #[error(
        "No right to {verb} runnerexecutions.core.projectvoltron.dev in namespace {namespace}; bind the ClusterRole runner-controller-executor there. The API server says: {message}"
    )]
    Forbidden {
        /// The verb of the request.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// The API server's words.
        message: String,
    },
    /// The cluster does not know the kind.
    #[error(
        "The cluster does not know RunnerExecutions: install the controller first, with kubectl apply -k config/default"
    )]
    NotInstalled,
    /// The namespace does not exist.
    #[error("The namespace {0} does not exist")]
    NoNamespace(String),
    /// The name belongs to another run.
    #[error(
        "The execution {name} exists already and is another run: it differs in {}. Choose another name, or delete it first",
        fields.join(", ")
    )]
    AnotherRun {
        /// The execution's name.
        name: String,
        /// In which fields, from the root of the object.
        fields: Vec<&'static str>,
    },
    /// The execution of that name is on its way out.
    #[error("The execution {0} is just being deleted: try again once it is gone")]
    BeingDeleted(String),
    /// The execution is no more.
    #[error("The execution {0} does not exist, or has been deleted")]
    Gone(String),
    /// The API server does not take the object.
    #[error("The API server refuses it: {0}")]
    Refused(String),
    /// The answer is no RunnerExecution as this version knows it.
    #[error("The API server's answer is not understood; is the installed CRD of another version than this?")]
    Unintelligible,
}

impl ClientError {
    /// Whether the same call may well succeed a moment later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::NotInstalled
            | Self::NoNamespace(_)
            | Self::AnotherRun { .. }
            | Self::BeingDeleted(_)
            | Self::Gone(_)
            | Self::Refused(_)
            | Self::Unintelligible => false,
        }
    }

    /// What a call that failed means; the verb and the namespace are for the words.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are failures of the transport")]
    pub fn of(error: kube::Error, verb: &'static str, namespace: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(*status, verb, namespace),
            // A decode error repeats the answer's content.
            kube::Error::SerdeError(_) => Self::Unintelligible,
            other => Self::Unreachable(innermost(&other)),
        }
    }

    /// What a disturbance of a watch means; the namespace is for the words.
    pub fn of_watch(error: watcher::Error, namespace: &str) -> Self {
        match error {
            watcher::Error::InitialListFailed(error) => Self::of(error, "list", namespace),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Self::of(error, "watch", namespace)
            }
            // 410 and the like: the watch begins anew.
            watcher::Error::WatchError(status) => Self::Unreachable(status.message),
            watcher::Error::NoResourceVersion => Self::Unintelligible,
        }
    }

    fn of_status(status: Status, verb: &'static str, namespace: &str) -> Self {
        let about = status.details.as_ref().map(|d| d.kind.as_str()).unwrap_or_default();
        match status.code {
            401 => Self::Unauthorized(status.message),
            403 if status.message.contains("is forbidden: User ") => {
                Self::Forbidden { verb, namespace: namespace.to_owned(), message: status.message }
            }
            404 if about == "namespaces" => Self::NoNamespace(namespace.to_owned()),
            404 => Self::NotInstalled,
            // Without those words a 403 is a quota's, a policy's, or that of a namespace that is being deleted.
            400 | 403 | 413 | 415 | 422 => Self::Refused(status.message),
            _ => Self::Unreachable(status.message),
        }
    }
}

/// The cause at the bottom of an error, which says most: `Connection refused` rather than `client error`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::ClientError;

    fn of(code: u16, kind: &str, message: &str) -> ClientError {
        let status = json!({"code": code, "message": message, "details": {"kind": kind}});
        let status = serde_json::from_value(status).unwrap();
        ClientError::of(kube::Error::Api(Box::new(status)), "create", "team-a")
    }

    #[rstest]
    #[case(401, "", "Unauthorized", "does not accept the credentials")]
    #[case(
        403,
        "runnerexecutions",
        "a is forbidden: User \"b\" cannot",
        "No right to create runnerexecutions"
    )]
    #[case(403, "runnerexecutions", "a is forbidden: exceeded quota", "refuses it: a is forbidden")]
    #[case(404, "", "not found", "does not know RunnerExecutions")]
    #[case(404, "namespaces", "not found", "namespace team-a does not exist")]
    #[case(422, "RunnerExecution", "bad", "refuses it: bad")]
    #[case(413, "", "too large", "refuses it: too large")]
    fn a_refusal_is_told_in_a_sentence_and_not_repeated(
        #[case] code: u16,
        #[case] kind: &str,
        #[case] message: &str,
        #[case] words: &str,
    ) {
        let error = of(code, kind, message);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_transient());
    }

    #[rstest]
    fn what_passes_is_tried_again(#[values(429, 500, 503, 504)] code: u16) {
        assert!(of(code, "", "").is_transient());
    }
}
