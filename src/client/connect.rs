//! A client as the person or the pod is set up for: KUBECONFIG, `~/.kube/config`, or the pod's own ServiceAccount.

use std::time::Duration;

use http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config, config::KubeConfigOptions};

use super::transport;

/// How long a connection may take to come about; a wrong address is then known soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client, and the namespace that is meant where none is named.
#[derive(Clone)]
pub struct Connection {
    /// It does not retry by itself.
    pub client: Client,
    /// Of the kubeconfig's context, or the pod's own.
    pub default_namespace: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing says where a cluster is.
    #[error(
        "There is no cluster to talk to: set KUBECONFIG, or run in a pod with a ServiceAccount token ({0})"
    )]
    NoCluster(String),
    /// The context that was asked for.
    #[error("The context {context} cannot be used: {why}")]
    Context {
        /// Its name.
        context: String,
        /// The reason.
        why: String,
    },
}

/// Reads the configuration; no request is made yet.
///
/// # Errors
/// If there is no configuration, or it lacks the context.
pub async fn connect(context: Option<&str>) -> Result<Connection, ConnectError> {
    let no_cluster = |error: &dyn std::error::Error| ConnectError::NoCluster(error.to_string());
    let mut config = match context {
        None => Config::infer().await.map_err(|error| no_cluster(&error))?,
        Some(context) => {
            let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
            Config::from_kubeconfig(&options).await.map_err(|error| ConnectError::Context {
                context: context.to_owned(),
                why: error.to_string(),
            })?
        }
    };
    // What to do about a failure is decided by who asked; a hidden retry would only delay that.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.headers.extend(user_agent().map(|agent| (USER_AGENT, agent)));
    let default_namespace = config.default_namespace.clone();
    let client = transport::client(config).map_err(|error| no_cluster(&error))?;
    Ok(Connection { client, default_namespace })
}

/// What the API server's audit log and metrics call this program, in client-go's form; kube sends nothing.
fn user_agent() -> Option<HeaderValue> {
    let program = std::env::current_exe().ok()?;
    let program = program.file_name()?.to_str()?;
    let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    HeaderValue::try_from(format!("{program}/{version} ({os}/{arch})")).ok()
}
