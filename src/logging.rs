//! How the process logs: JSON at info on stdout, or, with `RUNNER_LOGGER_DEV_MODE`, human-friendly at debug and
//! above on standard error (the original document's rule).

use tracing_subscriber::{EnvFilter, filter::Directive};

/// The original's environment variable.
pub const DEV_MODE: &str = "RUNNER_LOGGER_DEV_MODE";

/// Whether [`DEV_MODE`] is set.
pub fn is_dev_mode() -> bool {
    std::env::var(DEV_MODE).is_ok_and(|value| matches!(value.as_str(), "1" | "true" | "TRUE" | "True"))
}

/// Sets up logging for the whole process. `RUST_LOG` narrows or widens what is logged.
pub fn init() {
    let dev = is_dev_mode();
    let default =
        if dev { "debug,hyper=info,hyper_util=info,rustls=info,tower=info,h2=info" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // kube logs whole answers when one cannot be decoded, and those may hold secrets: never let it.
    let filter = ["kube_client::client=error", "kube_client::client::builder=warn"]
        .iter()
        .filter_map(|directive| directive.parse::<Directive>().ok())
        .fold(filter, EnvFilter::add_directive);
    let format = tracing_subscriber::fmt().with_env_filter(filter);
    if dev {
        format.with_writer(std::io::stderr).init();
    } else {
        format.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
    }
}
