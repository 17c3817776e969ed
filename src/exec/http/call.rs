//! One request and its answer, of bounded size and time. I/O: that request; reads the mounted credentials.

use std::{error::Error, path::Path, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use k8s_openapi::jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Certificate, Client, Response, Url, redirect};
use serde_json::{Map, Value};

use crate::{
    exec::Failure,
    message::cut,
    reason::Reason,
    runners::http::{
        AUTH_FOLDER,
        args::{Args, Auth, Method},
        condition::Answer,
    },
};

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// How much of an answer a message may repeat, in bytes.
const MAX_QUOTE: usize = 200;
const MAX_REDIRECTS: usize = 5;

/// Makes the requests of one run.
pub(super) struct Caller<'a> {
    args: &'a Args,
    /// For the request itself.
    client: Client,
    /// For all that is asked afterwards.
    polls: Client,
    url: Url,
    /// What only the server of the request itself may see.
    headers: HeaderMap,
    quiet: bool,
}

/// What to ask.
pub(super) enum Target {
    /// The request itself.
    Request,
    /// A GET of that URL.
    Url(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) answer: Answer,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing was sent.
    Unreachable(String),
    /// It took too long.
    Timeout,
    /// It broke off.
    Broken(String),
    /// It is larger than what is read.
    TooLarge,
}

impl Trouble {
    pub(super) fn words(&self, quiet: bool) -> String {
        let detail = |text: &str| if quiet || text.is_empty() { String::new() } else { format!(": {text}") };
        match self {
            Self::Unreachable(why) => format!("the server cannot be reached{}", detail(why)),
            Self::Timeout => "no whole answer came within spec.args.timeout (30s unless given)".to_owned(),
            Self::Broken(why) => format!("the connection broke{}", detail(why)),
            Self::TooLarge => {
                format!("the answer is larger than {} KiB, the most that is read", MAX_ANSWER / 1024)
            }
        }
    }
}

impl Reply {
    pub(super) fn words(&self, quiet: bool) -> String {
        let body = self.body.split_whitespace().collect::<Vec<_>>().join(" ");
        if quiet || body.is_empty() {
            self.status.to_string()
        } else {
            format!("{}: {}", self.status, cut(&body, MAX_QUOTE))
        }
    }
}

impl<'a> Caller<'a> {
    /// For those arguments; `secret_args` if some of them must not be repeated.
    pub(super) fn new(args: &'a Args, secret_args: bool) -> Result<Self, Failure> {
        let invalid = |what: &str| Failure::new(Reason::InvalidArgs, what);
        let mut url = Url::parse(&args.url).map_err(|_| invalid("spec.args.url: must be a URL"))?;
        if !args.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&args.query);
        }
        // Somebody may have set it before; there is one in either case.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = trusted(args)?;
        let client = |redirects: redirect::Policy| {
            Client::builder()
                .user_agent(concat!("runner-controller/", env!("CARGO_PKG_VERSION")))
                .redirect(redirects)
                .referer(false)
                .https_only(url.scheme() == "https")
                .timeout(args.call_timeout())
                .tls_certs_only(trusted.clone())
                .build()
                .map_err(|_| invalid("spec.args.caBundle: must be certificates in PEM form"))
        };
        let polls = client(within_the_server(false))?;
        let client =
            if args.method.is_idempotent() { polls.clone() } else { client(within_the_server(true))? };
        let quiet = secret_args || args.sensitive || args.auth.is_some();
        Ok(Self { args, client, polls, url, headers: headers(args)?, quiet })
    }

    /// What is asked.
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Whether nothing that the server said may be repeated, since it may echo what is secret.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Makes one request.
    pub(super) async fn call(&self, target: &Target) -> Result<Reply, Trouble> {
        let began = Timestamp::now();
        let request = match target {
            Target::Request => {
                let method =
                    reqwest::Method::from_bytes(self.args.method.as_str().as_bytes()).unwrap_or_default();
                let request = self.client.request(method, self.url.clone()).headers(self.headers.clone());
                match &self.args.body {
                    None => request,
                    Some(Value::String(text)) => request.body(text.clone()),
                    Some(json) => request.body(json.to_string()),
                }
            }
            Target::Url(url) => {
                let url = self.url.join(url).map_err(|_| Trouble::Unreachable("it is no URL".to_owned()))?;
                let same = url.origin() == self.url.origin();
                let request = self.polls.get(url);
                if same { request.headers(self.for_polls()) } else { request }
            }
        };
        let result = match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => Err(trouble(&error)),
        };
        let status = result.as_ref().map_or(0, |reply| reply.status);
        let took = Timestamp::now().duration_since(began).as_millis();
        tracing::info!(method = method_of(target, self.args).as_str(), status, took, "asked");
        result
    }

    /// What is said again with each look at the work: all but what describes the request's own body.
    fn for_polls(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in [header::CONTENT_TYPE, IDEMPOTENCY_KEY] {
            headers.remove(name);
        }
        headers
    }
}

/// Redirects are followed as long as they stay with the server that was asked: headers, body and query are for it alone.
/// With `only_repeats` also only those that ask for the very same elsewhere: behind another one the work may be done, so
/// that trouble there is no reason to do it again. Any other redirect is the answer.
fn within_the_server(only_repeats: bool) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let asked = attempt.previous().first().map(Url::origin);
        let repeats = matches!(attempt.status().as_u16(), 307 | 308);
        if asked != Some(attempt.url().origin()) || (only_repeats && !repeats) {
            attempt.stop()
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

fn method_of(target: &Target, args: &Args) -> Method {
    match target {
        Target::Request => args.method,
        Target::Url(_) => Method::Get,
    }
}

fn trusted(args: &Args) -> Result<Vec<Certificate>, Failure> {
    let unreadable =
        |_| Failure::new(Reason::InvalidArgs, "spec.args.caBundle: must be certificates in PEM form");
    match &args.ca_bundle {
        Some(bundle) => Certificate::from_pem_bundle(bundle.as_bytes()).map_err(unreadable),
        None => webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .map(|root| Certificate::from_der(root).map_err(unreadable))
            .collect(),
    }
}

fn headers(args: &Args) -> Result<HeaderMap, Failure> {
    let invalid = |what: &str| Failure::new(Reason::InvalidArgs, what);
    let mut headers = HeaderMap::new();
    if let Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) =
        args.body
    {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if !args.method.is_idempotent()
        && let Ok(key) = std::env::var("RUNNER_EXECUTION_UID")
        && let Ok(key) = HeaderValue::from_str(&key)
    {
        // A server that knows the header takes a request that comes twice for one.
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    for (name, value) in &args.headers {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("spec.args.headers: a bad name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| invalid("spec.args.headers: a bad value"))?;
        headers.insert(name, value);
    }
    if let Some(auth) = &args.auth {
        headers.insert(header::AUTHORIZATION, credentials(auth, Path::new(AUTH_FOLDER))?);
    }
    Ok(headers)
}

/// The header that proves who asks, from the mounted Secret.
fn credentials(auth: &Auth, folder: &Path) -> Result<HeaderValue, Failure> {
    let read = |key: &str| {
        std::fs::read_to_string(folder.join(key))
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|_| {
                Failure::new(Reason::InvalidArgs, format!("spec.args.auth: the Secret's {key} is no text"))
            })
    };
    let text = match auth {
        Auth::Bearer { .. } => format!("Bearer {}", read("token")?),
        Auth::Basic { .. } => {
            let both = format!("{}:{}", read("username")?, read("password")?);
            // As JSON writes bytes: the one encoder that is here already.
            let encoded =
                serde_json::to_value(k8s_openapi::ByteString(both.into_bytes())).unwrap_or_default();
            format!("Basic {}", encoded.as_str().unwrap_or_default())
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        Failure::new(Reason::InvalidArgs, "spec.args.auth: the Secret's text must be one line")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(mut response: Response) -> Result<Reply, Trouble> {
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_insert(Value::String(value));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| trouble(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Trouble::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Reply { status, answer: Answer::new(status, &headers, &body), retry_after, body })
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::parse(text.trim()).ok()?.timestamp();
    Duration::try_from(until.duration_since(Timestamp::now())).ok()
}

fn trouble(error: &reqwest::Error) -> Trouble {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let why = deepest.to_string();
    if error.is_timeout() && !error.is_connect() {
        Trouble::Timeout
    } else if error.is_connect() {
        Trouble::Unreachable(why)
    } else {
        Trouble::Broken(why)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        Router,
        http::{StatusCode, header},
        routing::any,
    };
    use rstest::rstest;
    use serde_json::json;

    use super::{Args, Caller, Target, credentials, retry_after};
    use crate::runners::http::args::{Auth, SecretRef};

    #[test]
    fn a_server_may_say_when_in_seconds_or_by_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        let soon = retry_after("Tue, 31 Dec 2199 23:59:59 GMT").unwrap();
        assert!(soon > Duration::from_hours(24));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(retry_after("soon"), None);
    }

    /// A server that redirects `/303` and `/307` to its own `/end`, and `/away` to another server's.
    async fn server(other: &str) -> String {
        let to = |status: StatusCode, location: String| {
            any(move || std::future::ready((status, [(header::LOCATION, location.clone())])))
        };
        let paths = Router::new()
            .route("/303", to(StatusCode::SEE_OTHER, "/end".into()))
            .route("/307", to(StatusCode::TEMPORARY_REDIRECT, "/end".into()))
            .route("/away", to(StatusCode::TEMPORARY_REDIRECT, format!("{other}/end")))
            .route("/end", any(|| std::future::ready(StatusCode::OK)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, paths).await });
        format!("http://{address}")
    }

    #[rstest]
    #[case::the_same_elsewhere("POST", "/307", 200)]
    #[case::something_else_after_work("POST", "/303", 303)]
    #[case::something_else("GET", "/303", 200)]
    #[case::another_server("GET", "/away", 307)]
    #[case::another_server_after_work("POST", "/away", 307)]
    #[tokio::test]
    async fn redirects_stay_with_the_server_and_do_no_work_twice(
        #[case] method: &str,
        #[case] path: &str,
        #[case] status: u16,
    ) {
        let server = server(&server("").await).await;
        let args = Args::read(&json!({"url": format!("{server}{path}"), "method": method})).unwrap();
        let caller = Caller::new(&args, false).unwrap();
        assert_eq!(caller.call(&Target::Request).await.unwrap().status, status);
    }

    #[test]
    fn credentials_are_read_from_the_mounted_secret_and_shown_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("username"), "Aladdin").unwrap();
        std::fs::write(folder.path().join("password"), "open sesame\n").unwrap();
        let basic = Auth::Basic { secret_ref: SecretRef { name: "door".into() } };
        let header = credentials(&basic, folder.path()).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
