//! The arguments of the runner `http`, as a person writes them and as the pod carries them out. Pure.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::condition;
use crate::{
    crd::SecretKeyRef,
    duration,
    names::is_key,
    runners::{
        Problem, Rejection,
        exec::read::{problem, read},
    },
};

/// A request may take this long unless its arguments say otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// So long is waited between two looks at the work behind a request, unless its arguments say otherwise.
const INTERVAL: Duration = Duration::from_secs(5);
/// A request is tried so often in all unless its arguments say otherwise.
const ATTEMPTS: u32 = 4;
const MAX_ATTEMPTS: u32 = 20;
const MAX_OUTPUTS: usize = 32;
/// What can be asked of the first answer, and of later ones.
const FIRST: &[&str] = &[condition::RESPONSE];
const LATER: &[&str] = &[condition::RESPONSE, condition::INITIAL];

/// What to request, and what to make of the answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Args {
    /// The method; GET unless given.
    #[serde(default)]
    pub method: Method,
    /// Where to, beginning with `http://` or `https://`.
    pub url: String,
    /// Added to the URL's own query.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers in addition to those of HTTP itself.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A text is sent as it is, anything else as JSON.
    #[serde(default)]
    pub body: Option<Value>,
    /// How to prove who asks.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// How long one request may take, as a Go duration.
    #[serde(default)]
    pub timeout: Option<String>,
    /// How often a request is tried that may be tried again.
    #[serde(default)]
    pub retry: Retry,
    /// CEL on `response`: whether it is a success; any status from 200 to 299 unless given.
    #[serde(default)]
    pub success: Option<String>,
    /// CEL on `response`: whether it is a failure that no further try can heal.
    #[serde(default)]
    pub failure: Option<String>,
    /// What to ask until the work behind the request is done.
    #[serde(default)]
    pub poll: Option<Poll>,
    /// CEL on the last `response` (and `initial`, the first one), by the name of the output.
    #[serde(default)]
    pub output: BTreeMap<String, String>,
    /// The output is secret: it goes into a Secret and not into the status.
    #[serde(default)]
    pub sensitive: bool,
    /// Certificates in PEM form that are trusted in place of the public ones.
    #[serde(default)]
    pub ca_bundle: Option<String>,
}

/// The methods there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Read.
    #[default]
    Get,
    /// Read without the content.
    Head,
    /// Make or do.
    Post,
    /// Set.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
    /// Ask what is possible.
    Options,
}

impl Method {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Whether to do it twice is to do it once (RFC 9110, 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options => true,
            Self::Post | Self::Patch => false,
        }
    }
}

/// How to prove who asks. The Secrets are mounted: whoever runs this needs no right to read them by the API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer`, with the content of a Secret's key.
    Bearer {
        /// Where the token is.
        secret_key_ref: SecretKeyRef,
    },
    /// `Authorization: Basic`, with the keys `username` and `password` of a Secret.
    Basic {
        /// The Secret, for example one of type kubernetes.io/basic-auth.
        secret_ref: SecretRef,
    },
}

/// A Secret of the execution's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    pub name: String,
}

/// How often a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// In all; 1 for no second try.
    pub attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS }
    }
}

/// What to ask until the work behind the request is done.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Poll {
    /// Where to ask, with GET; the request's own URL unless given.
    #[serde(default)]
    pub url: Option<String>,
    /// CEL on the first `response`: where to ask, for example `response.headers["location"]`.
    #[serde(default)]
    pub url_from: Option<String>,
    /// How long to wait between two requests, as a Go duration.
    #[serde(default)]
    pub interval: Option<String>,
    /// CEL on `response`: whether the work is done.
    pub until: String,
    /// CEL on `response`: whether the work has failed.
    #[serde(default)]
    pub failure: Option<String>,
}

impl Args {
    /// Reads and checks arguments.
    ///
    /// # Errors
    /// Everything that is wrong, by field and without values.
    pub fn read(args: &Value) -> Result<Self, Rejection> {
        read(args, Self::check)
    }

    /// How long one request may take.
    pub fn call_timeout(&self) -> Duration {
        duration::or_default(self.timeout.as_deref(), TIMEOUT)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        check_url("url", &self.url, problems);
        check_duration("timeout", self.timeout.as_deref(), problems);
        if !(1..=MAX_ATTEMPTS).contains(&self.retry.attempts) {
            problems.push(problem("retry.attempts", format!("must be within 1 and {MAX_ATTEMPTS}")));
        }
        for (name, value) in &self.headers {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err()
                || http::HeaderValue::from_str(value).is_err()
            {
                problems.push(problem("headers", "each must be a header's name and a text of one line"));
                break;
            }
        }
        if self.body.is_some() && matches!(self.method, Method::Get | Method::Head) {
            problems.push(problem("body", "goes with POST, PUT, PATCH, DELETE or OPTIONS; set method"));
        }
        if let Some(auth) = &self.auth {
            auth.check(problems);
        }
        self.check_conditions(problems);
        if self.output.len() > MAX_OUTPUTS {
            problems.push(problem("output", format!("has more than {MAX_OUTPUTS} entries")));
        }
    }

    fn check_conditions(&self, problems: &mut Vec<Problem>) {
        for (field, text) in [("success", &self.success), ("failure", &self.failure)] {
            if let Some(text) = text {
                check_condition(field, text, FIRST, problems);
            }
        }
        for (name, text) in &self.output {
            if is_key(name, 63) {
                check_condition(&format!("output.{name}"), text, LATER, problems);
            } else {
                problems.push(problem("output", "each name must be 1 to 63 of letters, digits, -, _ and ."));
            }
        }
        if let Some(poll) = &self.poll {
            poll.check(problems);
        }
    }
}

impl Poll {
    /// How long to wait between two requests.
    pub fn pause(&self) -> Duration {
        duration::or_default(self.interval.as_deref(), INTERVAL)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        check_condition("poll.until", &self.until, LATER, problems);
        if let Some(failure) = &self.failure {
            check_condition("poll.failure", failure, LATER, problems);
        }
        if let Some(url) = &self.url_from {
            check_condition("poll.urlFrom", url, FIRST, problems);
        }
        check_duration("poll.interval", self.interval.as_deref(), problems);
        match (&self.url, &self.url_from) {
            (Some(_), Some(_)) => problems.push(problem("poll", "takes url or urlFrom, not both")),
            (Some(url), None) => check_url("poll.url", url, problems),
            (None, Some(_) | None) => {}
        }
    }
}

impl Auth {
    fn check(&self, problems: &mut Vec<Problem>) {
        let (field, name, key) = match self {
            Self::Bearer { secret_key_ref: SecretKeyRef { name, key } } => {
                ("auth.bearer.secretKeyRef", name, key.as_str())
            }
            Self::Basic { secret_ref } => ("auth.basic.secretRef", &secret_ref.name, "password"),
        };
        if !is_key(name, 253) || !is_key(key, 253) {
            problems.push(problem(field, "must name a Secret of the same namespace, and a key of it"));
        }
    }
}

fn check_condition(field: &str, text: &str, known: &[&str], problems: &mut Vec<Problem>) {
    if let Err(what) = condition::check(text, known) {
        problems.push(problem(field, what));
    }
}

fn check_url(field: &str, url: &str, problems: &mut Vec<Problem>) {
    let right = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !right {
        problems.push(problem(field, "must be a URL that begins with http:// or https:// and names a host"));
    } else if url.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@')) {
        problems.push(problem(field, "must not hold a user name or password; write auth instead"));
    }
}

fn check_duration(field: &str, text: Option<&str>, problems: &mut Vec<Problem>) {
    match text.map(duration::parse) {
        None | Some(Ok(Some(_))) => {}
        Some(Ok(None)) => problems.push(problem(field, "must be at least 1s")),
        Some(Err(error)) => problems.push(problem(field, error.to_string())),
    }
}
