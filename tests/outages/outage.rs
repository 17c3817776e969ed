//! The outages. I/O: signals to servers, etcd's HTTP gateway.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use devcluster::{Cluster, Server};
use http::Request;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::{common::full, stage::Stage};

/// What goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Nothing: to compare with.
    Nothing,
    ApiServerStopped,
    ApiServerKilled,
    /// Five times within a minute, with no time to recover.
    ApiServerFlapsStopped,
    ApiServerFlapsKilled,
    EtcdRestarted,
    EtcdHangs,
    /// Compacted in etcd beyond what the controller, frozen meanwhile, has seen.
    HistoryCompacted,
    ControllerManagerStopped,
    ArgoStopped,
    /// Longer than any lease is held, while another controller is at work; then both are.
    ControllerFrozen,
}

impl Outage {
    pub(crate) const ALL: [Self; 11] = [
        Self::Nothing,
        Self::ApiServerStopped,
        Self::ApiServerKilled,
        Self::ApiServerFlapsStopped,
        Self::ApiServerFlapsKilled,
        Self::EtcdRestarted,
        Self::EtcdHangs,
        Self::HistoryCompacted,
        Self::ControllerManagerStopped,
        Self::ArgoStopped,
        Self::ControllerFrozen,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::ApiServerStopped => "API server restarted (SIGTERM)",
            Self::ApiServerKilled => "API server restarted (SIGKILL)",
            Self::ApiServerFlapsStopped => "API server flaps 5x (SIGTERM)",
            Self::ApiServerFlapsKilled => "API server flaps 5x (SIGKILL)",
            Self::EtcdRestarted => "etcd restarted (SIGKILL)",
            Self::EtcdHangs => "etcd hangs for 15 s",
            Self::HistoryCompacted => "history compacted",
            Self::ControllerManagerStopped => "controller-manager down",
            Self::ArgoStopped => "workflow-controller down",
            Self::ControllerFrozen => "controller frozen, another works",
        }
    }

    /// Whether it is left out of CI, which has others like it.
    pub(crate) fn only_in_full(self) -> bool {
        match self {
            Self::ApiServerFlapsStopped => true,
            Self::Nothing
            | Self::ApiServerStopped
            | Self::ApiServerKilled
            | Self::ApiServerFlapsKilled
            | Self::EtcdRestarted
            | Self::EtcdHangs
            | Self::HistoryCompacted
            | Self::ControllerManagerStopped
            | Self::ArgoStopped
            | Self::ControllerFrozen => false,
        }
    }

    pub(crate) fn times(self) -> usize {
        match self {
            Self::ApiServerStopped | Self::ApiServerKilled => {
                if full() {
                    10
                } else {
                    2
                }
            }
            Self::EtcdRestarted | Self::HistoryCompacted => {
                if full() {
                    5
                } else {
                    1
                }
            }
            Self::Nothing
            | Self::ApiServerFlapsStopped
            | Self::ApiServerFlapsKilled
            | Self::EtcdHangs
            | Self::ControllerManagerStopped
            | Self::ArgoStopped
            | Self::ControllerFrozen => 1,
        }
    }

    /// Returns when it is over: when every server says that it is well.
    pub(crate) async fn come(self, stage: &Stage, time: usize) -> Result<()> {
        let cluster = &stage.house.cluster;
        let name = |what: &str| format!("{}{time}-{what}", self.prefix());
        match self {
            Self::Nothing => Ok(()),
            Self::ApiServerStopped => restart(cluster, Server::ApiServer, Ending::Stop).await,
            Self::ApiServerKilled => restart(cluster, Server::ApiServer, Ending::Kill).await,
            Self::ApiServerFlapsStopped => flap(cluster, Ending::Stop).await,
            Self::ApiServerFlapsKilled => flap(cluster, Ending::Kill).await,
            Self::EtcdRestarted => restart(cluster, Server::Etcd, Ending::Kill).await,
            Self::EtcdHangs => {
                cluster.pause_server(Server::Etcd)?;
                tokio::time::sleep(Duration::from_secs(15)).await;
                cluster.resume_server(Server::Etcd)?;
                cluster.start_server(Server::ApiServer).await
            }
            Self::HistoryCompacted => {
                // What a frozen process was sent before would still reach it, hence the restart.
                stage.signal("STOP")?;
                restart(cluster, Server::ApiServer, Ending::Kill).await?;
                let oldest_change = stage.mark(&name("marker")).await?;
                compact(cluster, oldest_change).await?;
                stage.signal("CONT")
            }
            Self::ControllerManagerStopped => {
                without(stage, Server::ControllerManager, "job", &name("")).await
            }
            Self::ArgoStopped => without(stage, Server::WorkflowController, "argo-workflow", &name("")).await,
            Self::ControllerFrozen => {
                let _other = stage.another_controller()?;
                stage.signal("STOP")?;
                stage.runs_to_its_end(&name("meanwhile"), "job").await?;
                stage.runs_to_its_end(&name("as-well"), "argo-workflow").await?;
                tokio::time::sleep(Duration::from_secs(20)).await;
                stage.signal("CONT")?;
                // Both are at work for a while.
                stage.runs_to_its_end(&name("by-either"), "job").await
            }
        }
    }

    /// What the names of its executions begin with.
    pub(crate) fn prefix(self) -> String {
        let index = Self::ALL.iter().position(|outage| *outage == self).unwrap_or_default();
        format!("o{index}-")
    }
}

/// Sees to it that every server is well, whatever an outage left.
pub(crate) async fn end_all(cluster: &Cluster) -> Result<()> {
    for server in [Server::Etcd, Server::ApiServer, Server::ControllerManager, Server::WorkflowController] {
        // One that does not run cannot be frozen.
        let _ = cluster.resume_server(server);
        cluster.start_server(server).await?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Ending {
    Stop,
    Kill,
}

async fn restart(cluster: &Cluster, server: Server, ending: Ending) -> Result<()> {
    match ending {
        Ending::Stop => cluster.stop_server(server).await?,
        Ending::Kill => cluster.kill_server(server).await?,
    }
    cluster.start_server(server).await?;
    // etcd is well again before the API server has noticed.
    cluster.start_server(Server::ApiServer).await
}

async fn flap(cluster: &Cluster, ending: Ending) -> Result<()> {
    for _ in 0..5 {
        restart(cluster, Server::ApiServer, ending).await?;
    }
    Ok(())
}

/// Takes away who runs the children of a runner. What was released stays Running, and a timeout fires all the same.
async fn without(stage: &Stage, server: Server, runner: &str, name: &str) -> Result<()> {
    let cluster = &stage.house.cluster;
    cluster.stop_server(server).await?;
    let (steady, late) = (format!("{name}steady"), format!("{name}late"));
    stage.create(&steady, runner, |_| ()).await;
    stage.create(&late, runner, |spec| spec["context"]["timeout"] = json!("2s")).await;
    stage.until_status(&late, "stopped for its timeout", |status| status["reason"] == "TimedOut").await?;
    tokio::time::sleep(Duration::from_secs(if full() { 120 } else { 5 })).await;
    stage.until_status(&steady, "Running", |status| status["phase"] == "Running").await?;
    let early = stage.ended_without_their_child();
    ensure!(early.is_empty(), "told to be at their end while nobody ran them: {early:?}");
    cluster.start_server(server).await
}

/// Makes etcd forget what was before a revision, by its HTTP gateway.
async fn compact(cluster: &Cluster, revision: u64) -> Result<()> {
    let gateway = format!("http://{}:2379", cluster.network().address());
    let etcd = Client::try_from(Config::new(gateway.parse()?))?;
    let body = json!({"revision": revision.to_string(), "physical": true}).to_string();
    etcd.request::<Value>(Request::post("/v3/kv/compaction").body(body.into_bytes())?).await?;
    Ok(())
}

/// Sends a signal by its name.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status()?;
    ensure!(status.success(), "kill -{name} {pid} failed");
    Ok(())
}
