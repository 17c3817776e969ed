//! A controller as a process, behind a fault proxy of its own.

use std::{process::Stdio, sync::Arc};

use anyhow::{Context, Result};
use faultproxy::{FaultProxy, Plan};
use tokio::process::{Child, Command};

use crate::point::House;

/// A controller process and what stands between it and the API server.
pub(crate) struct Process {
    pub(crate) proxy: Arc<FaultProxy>,
    kubeconfig: tempfile::NamedTempFile,
    namespace: String,
    child: Child,
}

impl Process {
    /// Starts one that serves that namespace, with the rights of the controller's own ServiceAccount.
    pub(crate) async fn start(house: &House, namespace: &str, plan: Plan) -> Result<Self> {
        let proxy = Arc::new(FaultProxy::start(house.as_controller.clone()).await?);
        let kubeconfig = tempfile::NamedTempFile::new()?;
        proxy.write_kubeconfig(kubeconfig.path())?;
        proxy.set_plan(plan);
        let child = spawn(&proxy, &kubeconfig, namespace)?;
        Ok(Self { proxy, kubeconfig, namespace: namespace.to_owned(), child })
    }

    /// Starts it anew if it has ended.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            self.child = spawn(&self.proxy, &self.kubeconfig, &self.namespace)?;
        }
        Ok(())
    }

    /// Starts it anew whenever it ends. Returns only if that fails.
    pub(crate) async fn keep_alive(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.child.wait().await {
                return error.into();
            }
            if let Err(error) = self.ensure_alive() {
                return error;
            }
        }
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn spawn(proxy: &FaultProxy, kubeconfig: &tempfile::NamedTempFile, namespace: &str) -> Result<Child> {
    let child = Command::new(env!("CARGO_BIN_EXE_runner-controller"))
        .args(["run", "--namespace", namespace, "--listen", "127.0.0.1:0", "--resync", "4s"])
        .env("KUBECONFIG", kubeconfig.path())
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    proxy.kill_pid(child.id().context("it ended at once")?);
    Ok(child)
}
