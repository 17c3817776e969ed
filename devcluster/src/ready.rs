//! Real readiness: asks until the answer is yes, and gives up at once when a server involved has died.
//! I/O: HTTP to the servers, containerd's socket.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::folder::Folder;
use crate::network::Network;
use crate::process::{Process, tail};
use crate::servers::{Server, containerd_socket, health_url};

/// Longest for a server to be ready; on a loaded machine of 2 cores the slowest needed a tenth of it.
const LIMIT: Duration = Duration::from_mins(3);

/// A server being waited for.
pub(crate) struct Watched<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) server: Server,
    pub(crate) process: Process,
}

impl Watched<'_> {
    /// Repeats a check until it passes; its last error is in the message if it never does.
    pub(crate) async fn until<F>(&self, what: &str, mut check: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let deadline = Instant::now() + LIMIT;
        loop {
            let Err(error) = check().await else { return Ok(()) };
            let log = self.folder.log(self.server);
            if !self.process.is_alive() {
                bail!("{} died while we waited until {what}; {}", self.server, tail(&log));
            }
            if Instant::now() >= deadline {
                let seconds = LIMIT.as_secs();
                bail!("not after {seconds} s: {what} ({error:#}); {}", tail(&log));
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
}

/// Whether a server says that it is well.
pub(crate) async fn healthy(server: Server, folder: &Folder, network: Network, port: u16) -> Result<()> {
    match health_url(server, network, port) {
        Some(url) => probe(folder, &url).await,
        None => containerd_answers(folder).await,
    }
}

async fn probe(folder: &Folder, url: &str) -> Result<()> {
    let url: http::Uri = url.parse()?;
    let client = client(&folder.kubeconfig(), Some(&url), Some(Duration::from_secs(3))).await?;
    get_text(&client, url.path()).await.map(drop)
}

async fn containerd_answers(folder: &Folder) -> Result<()> {
    ctr(folder, &["version"]).await.map(drop)
}

/// Runs containerd's own client in the namespace of Kubernetes.
pub(crate) async fn ctr(folder: &Folder, arguments: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::new("ctr");
    command.arg("--address").arg(containerd_socket(folder)).args(["--namespace", "k8s.io"]);
    let output = command.args(arguments).stdin(Stdio::null()).output().await.context("cannot run ctr")?;
    if !output.status.success() {
        bail!("ctr {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A client with a kubeconfig's credentials and CA, for its own URL or another one.
pub(crate) async fn client(
    kubeconfig: &Path,
    url: Option<&http::Uri>,
    limit: Option<Duration>,
) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("cannot read the cluster's kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    if let Some(url) = url {
        // Requests bring their own paths.
        let mut base = url.clone().into_parts();
        base.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        config.cluster_url = http::Uri::from_parts(base)?;
    }
    if limit.is_some() {
        // Retries would hide what we ask for.
        config.default_retry = false;
        (config.connect_timeout, config.read_timeout, config.write_timeout) = (limit, limit, limit);
    }
    Client::try_from(config).context("cannot make a client of the cluster's kubeconfig")
}

/// GETs a path that answers with text.
pub(crate) async fn get_text(client: &Client, path: &str) -> Result<String> {
    Ok(client.request_text(http::Request::get(path).body(Vec::new())?).await?)
}

/// GETs a path that answers with JSON.
pub(crate) async fn get(client: &Client, path: &str) -> Result<Value> {
    Ok(client.request(http::Request::get(path).body(Vec::new())?).await?)
}

/// Whether an object has a condition with status True.
pub(crate) async fn condition(client: &Client, path: &str, kind: &str) -> Result<()> {
    let object = get(client, path).await?;
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    match found {
        Some(condition) if condition["status"] == "True" => Ok(()),
        Some(condition) => bail!("{kind} is {}: {}", condition["status"], condition["message"]),
        None => bail!("no condition {kind} yet"),
    }
}
