//! A controller as a process of its own, as it runs in a cluster.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

/// How a controller process is started.
pub struct Launch {
    /// Its access to the API server.
    pub kubeconfig: NamedTempFile,
    /// The namespace it serves.
    pub namespace: String,
    /// How often its watches begin anew, as on its command line.
    pub resync: &'static str,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
    /// Where its log goes; nowhere if absent.
    pub log: Option<std::path::PathBuf>,
}

/// A controller process.
pub struct Process {
    launch: Launch,
    child: Child,
}

impl Process {
    /// Starts one.
    pub fn start(launch: Launch) -> Result<Self> {
        let child = spawn(&launch)?;
        Ok(Self { launch, child })
    }

    /// Its process id, while it lives.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Starts it anew if it has ended; tells whether it had.
    pub fn ensure_alive(&mut self) -> Result<bool> {
        let ended = self.child.try_wait()?.is_some();
        if ended {
            self.child = spawn(&self.launch)?;
        }
        Ok(ended)
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> Result<()> {
        self.child.wait().await?;
        Ok(())
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn spawn(launch: &Launch) -> Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_runner-controller"))
        .args(["run", "--listen", "127.0.0.1:0"])
        .args(["--namespace", &launch.namespace, "--resync", launch.resync])
        .env("KUBECONFIG", launch.kubeconfig.path())
        .env("RUNNER_EXEC_IMAGE", super::EXEC_IMAGE)
        .env("RUST_LOG", "warn")
        .envs(launch.environment.iter().map(|(key, value)| (key, value)))
        .stdout(launch.log.as_deref().map_or_else(|| Ok(Stdio::null()), append)?)
        .stderr(launch.log.as_deref().map_or_else(|| Ok(Stdio::null()), append)?)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the controller")
}

fn append(log: &Path) -> Result<Stdio> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    Ok(file.with_context(|| format!("cannot write {}", log.display()))?.into())
}
