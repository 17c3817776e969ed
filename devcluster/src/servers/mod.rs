//! The servers of a cluster: in which order they run, and how each is started.
//!
//! Input: a [`Setup`]. Output: a [`Launch`](crate::process::Launch). I/O: the servers' configuration
//! files below the cluster's folder. Whether they are ready is the business of `ready`.

mod apiserver;
mod containerd;
mod controller_manager;
mod etcd;
mod kubelet;
mod scheduler;
mod workflow_controller;

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::build::packages::Packages;
use crate::build::{Binaries, Program};
use crate::folder::Folder;
use crate::network::Network;
use crate::options::Level;
use crate::process::Launch;

/// A server, in the order of starting; stopping is the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Server {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Containerd,
    Kubelet,
    WorkflowController,
}

/// What servers are started from.
pub(crate) struct Setup {
    pub(crate) folder: Folder,
    pub(crate) network: Network,
    pub(crate) port: u16,
    pub(crate) audit: bool,
    pub(crate) etcd_fsync: bool,
    pub(crate) binaries: Binaries,
    /// Present on the pods level.
    pub(crate) packages: Option<Packages>,
}

impl Server {
    /// All, in the order of starting.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Containerd,
        Self::Kubelet,
        Self::WorkflowController,
    ];

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::WorkflowController => "workflow-controller",
        }
    }

    /// The first level on which it runs.
    pub fn level(self) -> Level {
        match self {
            Self::Etcd | Self::ApiServer | Self::ControllerManager => Level::ControlPlane,
            Self::WorkflowController => Level::Argo,
            Self::Scheduler | Self::Containerd | Self::Kubelet => Level::Pods,
        }
    }

    /// How long it may take to stop before it is killed.
    pub(crate) fn grace(self) -> Duration {
        Duration::from_secs(match self {
            Self::ApiServer => 10,
            Self::Etcd
            | Self::ControllerManager
            | Self::Scheduler
            | Self::Containerd
            | Self::Kubelet
            | Self::WorkflowController => 5,
        })
    }

    /// Writes the server's configuration files and tells how to start it.
    pub(crate) fn launch(self, setup: &Setup) -> Result<Launch> {
        match self {
            Self::Etcd => Ok(etcd::launch(setup)),
            Self::ApiServer => apiserver::launch(setup),
            Self::ControllerManager => Ok(controller_manager::launch(setup)),
            Self::Scheduler => Ok(scheduler::launch(setup)),
            Self::Containerd => containerd::launch(setup),
            Self::Kubelet => kubelet::launch(setup),
            Self::WorkflowController => workflow_controller::launch(setup),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The ports a cluster's servers listen on, all on the cluster's one address.
pub(crate) fn ports(api: u16) -> [u16; 8] {
    let [etcd, peers] = etcd::PORTS;
    let [kubelet, kubelet_health] = kubelet::PORTS;
    [
        etcd,
        peers,
        api,
        controller_manager::PORT,
        scheduler::PORT,
        kubelet,
        kubelet_health,
        workflow_controller::PORT,
    ]
}

/// Where etcd answers.
pub(crate) fn etcd_url(network: Network) -> String {
    let [port, _] = etcd::PORTS;
    format!("http://{}:{port}", network.address())
}

/// Where the API server answers.
pub(crate) fn api_server_url(network: Network, port: u16) -> String {
    match port {
        443 => format!("https://{}", network.address()),
        port => format!("https://{}:{port}", network.address()),
    }
}

/// Where a server says that it is well, if it says so over HTTP.
pub(crate) fn health_url(server: Server, network: Network, api: u16) -> Option<String> {
    let address = network.address();
    let [_, kubelet] = kubelet::PORTS;
    match server {
        Server::Etcd => Some(format!("{}/readyz", etcd_url(network))),
        Server::ApiServer => Some(format!("{}/readyz", api_server_url(network, api))),
        Server::ControllerManager => Some(format!("https://{address}:{}/healthz", controller_manager::PORT)),
        Server::Scheduler => Some(format!("https://{address}:{}/readyz", scheduler::PORT)),
        Server::Containerd => None,
        Server::Kubelet => Some(format!("http://{address}:{kubelet}/healthz")),
        Server::WorkflowController => Some(format!("http://{address}:{}/healthz", workflow_controller::PORT)),
    }
}

impl Setup {
    /// The start of a program of ours with `--flag=value` for each pair.
    fn start(&self, program: Program, flags: &[(&str, String)]) -> Launch {
        let args = flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        Launch { program: self.binaries.path(program), args, env: Vec::new() }
    }

    pub(crate) fn packages(&self) -> Result<&Packages> {
        self.packages.as_ref().context("containerd was not looked for")
    }

    fn address(&self) -> String {
        self.network.address().to_string()
    }

    fn pki(&self, file: &str) -> String {
        self.folder.text(&format!("pki/{file}"))
    }

    /// The flags that Kubernetes' servers share: where to listen, with which certificate.
    fn serving(&self, port: u16) -> [(&'static str, String); 4] {
        [
            ("bind-address", self.address()),
            ("secure-port", port.to_string()),
            ("tls-cert-file", self.pki("server.crt")),
            ("tls-private-key-file", self.pki("server.key")),
        ]
    }

    /// The flags that Kubernetes' controllers share: who they are, how fast they may be.
    fn controlling(&self, name: &str) -> [(&'static str, String); 6] {
        let config = self.pki(&format!("{name}.kubeconfig"));
        [
            ("kubeconfig", config.clone()),
            ("authentication-kubeconfig", config.clone()),
            ("authorization-kubeconfig", config),
            ("leader-elect", "false".into()),
            // The defaults, 20 requests a second, would be what is measured.
            ("kube-api-qps", "1000".into()),
            ("kube-api-burst", "2000".into()),
        ]
    }
}

/// The socket of a cluster's containerd.
pub(crate) fn containerd_socket(folder: &Folder) -> String {
    folder.text(containerd::SOCKET)
}

/// The name pods' pause image has on the machine.
pub(crate) const PAUSE_IMAGE: &str = "localhost/pause:devcluster";

/// The name of the image that Argo adds to each of its pods.
pub(crate) fn executor_image() -> Result<String> {
    Ok(format!("localhost/argoexec:{}", Binaries::argo_version()?))
}

/// The namespace and the name of Argo's configuration.
pub(crate) const ARGO_CONFIG: (&str, &str) = ("argo", "workflow-controller-configmap");
