//! The way up: goes through the servers and the objects that a level needs, in order, and does what is not
//! yet so. The caller holds the folder's lock. I/O: everything the parts do.

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, geteuid};

use crate::addons;
use crate::build::{Binaries, Program};
use crate::cleanup;
use crate::folder::Folder;
use crate::images;
use crate::network::Network;
use crate::options::{Image, Level, Options};
use crate::pki;
use crate::process::{Process, spawn, tail};
use crate::progress::{self, Step};
use crate::ready::{Watched, client, healthy};
use crate::seed;
use crate::servers::{Server, Setup, api_server_url, etcd_url, ports};
use crate::state::{Condition, Record, State};

/// Clears the folder and makes what a new cluster begins with. Nothing runs yet.
pub(crate) async fn new(folder: &Folder, options: &Options, binaries: &Binaries) -> Result<State> {
    if folder.join("state.json").exists() {
        progress::say("what was here is dead or half made; clearing it (its logs go to logs.old)");
    }
    cleanup::down(folder).await?;
    folder.set_logs_aside()?;
    let port = if geteuid().is_root() { 443 } else { 6443 };
    let network = Network::claim(folder, &ports(port)).await?;
    let state = State::new(network, port, options.audit, options.etcd_fsync, binaries.path(Program::Kubectl));
    state.save(folder)?;
    pki::write(folder, network, &api_server_url(network, port))?;
    Ok(state)
}

/// The way up.
pub(crate) struct Rise {
    setup: Setup,
    pub(crate) state: State,
    /// Whether the cluster was born with Argo's CRDs.
    seeded: bool,
}

impl Rise {
    pub(crate) fn new(setup: Setup, state: State) -> Self {
        Self { setup, state, seeded: false }
    }

    /// Returns when the level is ready.
    pub(crate) async fn to(&mut self, level: Level, images: &[Image]) -> Result<()> {
        self.control_plane(level >= Level::Argo).await?;
        if level >= Level::Argo || self.has(Level::Argo) {
            self.argo().await?;
        }
        if level >= Level::Pods || self.has(Level::Pods) {
            self.pods(images).await?;
        }
        Ok(())
    }

    fn has(&self, level: Level) -> bool {
        self.state.level >= Some(level)
    }

    fn reached(&mut self, level: Level) -> Result<()> {
        if self.has(level) {
            return Ok(());
        }
        self.state.level = Some(level);
        self.state.save(&self.setup.folder)
    }

    async fn control_plane(&mut self, with_argo: bool) -> Result<()> {
        self.server(Server::Etcd).await?;
        if with_argo && !self.state.servers.contains_key(&Server::ApiServer) {
            let url = etcd_url(self.setup.network).parse()?;
            let etcd = client(&self.setup.folder.kubeconfig(), Some(&url), None).await?;
            seed::crds(&etcd, &self.setup.binaries.argo_crds()).await?;
            self.seeded = true;
        }
        self.server(Server::ApiServer).await?;
        let watched = self.server(Server::ControllerManager).await?;
        if !self.has(Level::ControlPlane) {
            let client = client(&self.setup.folder.kubeconfig(), None, None).await?;
            let step = Step::start("default ServiceAccount");
            addons::default_service_account(&client, &self.watched(Server::ControllerManager, watched))
                .await?;
            step.done();
        }
        self.reached(Level::ControlPlane)
    }

    async fn argo(&mut self) -> Result<()> {
        if !self.has(Level::Argo) {
            let client = client(&self.setup.folder.kubeconfig(), None, None).await?;
            let step = Step::start("Argo's CRDs, namespace and configuration");
            let api_server = self.running(Server::ApiServer)?;
            let crds = self.setup.binaries.argo_crds();
            if !self.seeded {
                addons::argo_crds(&client, &crds).await?;
            }
            addons::argo(&client, &crds, &self.watched(Server::ApiServer, api_server)).await?;
            step.done();
        }
        self.server(Server::WorkflowController).await?;
        self.reached(Level::Argo)
    }

    async fn pods(&mut self, images: &[Image]) -> Result<()> {
        self.server(Server::Scheduler).await?;
        self.server(Server::Containerd).await?;
        images::load(&self.setup, images, &mut self.state.images).await?;
        self.state.save(&self.setup.folder)?;
        let kubelet = self.server(Server::Kubelet).await?;
        if !self.has(Level::Pods) {
            let client = client(&self.setup.folder.kubeconfig(), None, None).await?;
            let step = Step::start("node Ready");
            let node = self.setup.network.address().to_string();
            addons::node_ready(&client, &node, &self.watched(Server::Kubelet, kubelet)).await?;
            step.done();
        }
        self.reached(Level::Pods)
    }

    /// Sees to it that a server runs and is well.
    async fn server(&mut self, server: Server) -> Result<Process> {
        let folder = self.setup.folder.clone();
        let condition = self.state.condition(server);
        let step = Step::start(server.name());
        match condition {
            Condition::Running => {}
            Condition::Paused => {
                progress::say(&format!("{server} was paused; letting it go on"));
                self.running(server)?.signal(Signal::CONT)?;
            }
            Condition::Stopped => restart(&folder, &mut self.state, server)?,
            Condition::Died => {
                progress::say(&format!(
                    "{server} had died, starting it again; {}",
                    tail(&folder.log(server))
                ));
                restart(&folder, &mut self.state, server)?;
            }
            Condition::NeverStarted => {
                let launch = server.launch(&self.setup)?;
                let process = spawn(&launch, &folder.log(server), &folder)?;
                self.state.servers.insert(server, Record { process, launch, stopped: false });
                self.state.save(&folder)?;
            }
        }
        wait_healthy(&folder, &self.state, server).await?;
        if condition != Condition::Running {
            step.done();
        }
        self.running(server)
    }

    fn running(&self, server: Server) -> Result<Process> {
        match self.state.process(server) {
            Some(process) => Ok(process),
            None => bail!("{server} has just died; {}", tail(&self.setup.folder.log(server))),
        }
    }

    fn watched(&self, server: Server, process: Process) -> Watched<'_> {
        Watched { folder: &self.setup.folder, server, process }
    }
}

/// Starts a dead server as it was started before. The caller holds the lock.
pub(crate) fn restart(folder: &Folder, state: &mut State, server: Server) -> Result<()> {
    if state.process(server).is_some() {
        return Ok(());
    }
    let record = state.servers.get_mut(&server).with_context(|| format!("{server} was never started"))?;
    record.process = spawn(&record.launch, &folder.log(server), folder)?;
    record.stopped = false;
    state.save(folder)
}

/// Returns when a started server says that it is well.
pub(crate) async fn wait_healthy(folder: &Folder, state: &State, server: Server) -> Result<()> {
    let process = state.servers.get(&server).with_context(|| format!("{server} was never started"))?.process;
    let (network, port) = (state.network, state.port);
    let watched = Watched { folder, server, process };
    watched.until(&format!("{server} is ready"), || healthy(server, folder, network, port)).await
}
