//! The controller as a process of its own, with the rights of its own ServiceAccount: to be killed, and to be read.

use std::fs;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    common::{
        controller_access,
        process::{Launch, Process},
    },
    stage::Stage,
};

/// A controller that serves one namespace. What it logs, its pods log.
pub struct Controller {
    process: Process,
    log: NamedTempFile,
    _pod_defaults: NamedTempFile,
}

impl Controller {
    /// Starts one that logs that much.
    pub async fn start(stage: &Stage, log_level: &str) -> Result<Self> {
        let kubeconfig = NamedTempFile::new()?;
        serde_json::to_writer(kubeconfig.as_file(), &controller_access(stage.cluster).await?)?;
        let pod_defaults = NamedTempFile::new()?;
        fs::write(pod_defaults.path(), "hostNetwork: true")?;
        let log = NamedTempFile::new()?;
        let process = Process::start(Launch {
            kubeconfig,
            namespace: stage.namespace.clone(),
            resync: "5m",
            environment: vec![
                ("RUST_LOG".to_owned(), log_level.to_owned()),
                ("RUNNER_POD_DEFAULTS".to_owned(), pod_defaults.path().display().to_string()),
            ],
            log: Some(log.path().to_owned()),
        })?;
        Ok(Self { process, log, _pod_defaults: pod_defaults })
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it anew.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.ensure_alive().map(drop)
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.log.path())?)
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Result<String> {
        let log = self.log()?;
        let line = log.lines().find(|line| line.contains("serving probes and metrics"));
        let line: serde_json::Value = serde_json::from_str(line.context("it does not say where")?)?;
        let mut stream = TcpStream::connect(line["address"].as_str().context("no address")?).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}
