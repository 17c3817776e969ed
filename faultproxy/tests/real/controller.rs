//! A controller to be killed: this test program itself, in another role. It makes what a "spec" asks for in
//! several writes, and can be started again after any of them.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use serde_json::json;

use crate::stage::map;

/// The variable that makes it one: the namespace.
pub(crate) const ROLE: &str = "FAULTPROXY_TEST_CONTROLLER";

/// The program as a controller.
pub(crate) fn command(kubeconfig: &std::path::Path, namespace: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, namespace).env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// Exits with 0 once all is as it ought to be.
pub(crate) fn main() -> ExitCode {
    let work = async {
        let namespace = std::env::var(ROLE)?;
        let config = Kubeconfig::read_from(std::env::var("KUBECONFIG")?)?;
        let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        reconcile(&Api::namespaced(Client::try_from(config)?, &namespace)).await
    };
    match tokio::runtime::Runtime::new().unwrap().block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn reconcile(maps: &Api<ConfigMap>) -> Result<()> {
    match maps.create(&PostParams::default(), &map("child", "suspended")).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error.into()),
    }
    let child = maps.get("child").await?;
    let record = map("record", child.metadata.uid.as_deref().context("no uid")?);
    maps.patch("record", &PatchParams::apply("test").force(), &Patch::Apply(record)).await?;
    let release = Patch::Merge(json!({"data": {"value": "released"}}));
    maps.patch("child", &PatchParams::default(), &release).await?;
    Ok(())
}

/// Fails unless all is as it ought to be.
pub(crate) async fn check(maps: &Api<ConfigMap>) -> Result<()> {
    let (child, record) = (maps.get("child").await?, maps.get("record").await?);
    ensure!(child.data.context("no data")?["value"] == "released");
    ensure!(Some(&record.data.context("no data")?["value"]) == child.metadata.uid.as_ref());
    Ok(())
}
