//! A controller as a process, behind a fault proxy of its own.

use std::sync::Arc;

use anyhow::{Context, Result};
use faultproxy::{FaultProxy, Plan};

use crate::{
    common::house::House,
    common::process::{self, Launch},
};

/// A controller process and what stands between it and the API server.
pub(crate) struct Process {
    pub(crate) proxy: Arc<FaultProxy>,
    controller: process::Process,
}

impl Process {
    /// Starts one that serves that namespace, with the rights of the controller's own ServiceAccount, and begins its
    /// watches anew that often.
    pub(crate) async fn start(
        house: &House,
        namespace: &str,
        plan: Plan,
        resync: &'static str,
    ) -> Result<Self> {
        let proxy = Arc::new(FaultProxy::start(house.as_controller().await?).await?);
        let kubeconfig = tempfile::NamedTempFile::new()?;
        proxy.write_kubeconfig(kubeconfig.path())?;
        proxy.set_plan(plan);
        let controller = process::Process::start(Launch {
            kubeconfig,
            namespace: namespace.to_owned(),
            resync,
            environment: Vec::new(),
            log: None,
        })?;
        let process = Self { proxy, controller };
        process.point_out()?;
        Ok(process)
    }

    /// Starts it anew if it has ended.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        if self.controller.ensure_alive()? {
            self.point_out()?;
        }
        Ok(())
    }

    /// Starts it anew whenever it ends. Returns only if that fails.
    pub(crate) async fn keep_alive(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.controller.ended().await {
                return error;
            }
            if let Err(error) = self.ensure_alive() {
                return error;
            }
        }
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.controller.kill().await
    }

    /// Tells the proxy whom to kill.
    fn point_out(&self) -> Result<()> {
        self.proxy.kill_pid(self.controller.pid().context("it ended at once")?);
        Ok(())
    }
}
