//! A cluster: bringing it up, attaching to it, breaking parts of it on purpose, taking it down.
//!
//! There is one way up. It goes through the servers and the objects that a level needs, in order, and does
//! what is not yet so; a healthy cluster is therefore attached to, a lower one raised, a new one made.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, geteuid};
use tokio::task::spawn_blocking;

use crate::addons;
use crate::build::{Binaries, Program, build, packages};
use crate::cleanup;
use crate::folder::Folder;
use crate::images;
use crate::network::Network;
use crate::options::{Image, Level, Options};
use crate::process::{Process, spawn, tail};
use crate::progress::{self, Step};
use crate::ready::{Watched, client, healthy};
use crate::seed;
use crate::servers::{Server, Setup, etcd_url, ports};
use crate::state::{Condition, Record, State};

/// A cluster that is up. It goes on when this is dropped, and when the program ends.
#[derive(Clone, Debug)]
pub struct Cluster {
    folder: Folder,
    network: Network,
    port: u16,
    kubectl: PathBuf,
}

impl Cluster {
    /// Attaches to the cluster in the folder, raises its level, or brings it up, whichever is needed.
    /// Builds what is missing first, which takes minutes the first time ever. Safe to call at once from
    /// several tasks and processes. Says on stderr what it does.
    pub async fn ensure(options: &Options) -> Result<Self> {
        check(options)?;
        let level = options.level;
        let (binaries, packages) = spawn_blocking(move || -> Result<_> {
            Ok((build(level)?, if level >= Level::Pods { Some(packages::ensure()?) } else { None }))
        })
        .await??;
        let folder = Folder::create(&options.dir)?;
        let _lock = folder.lock().await?;
        let state = match State::load(&folder) {
            Ok(Some(state)) if state.level.is_some() && state.any_alive() => state,
            Ok(_) | Err(_) => new(&folder, options, &binaries).await?,
        };
        suits(&state, &folder, options)?;
        let (network, port) = (state.network, state.port);
        let (audit, etcd_fsync) = (state.audit, state.etcd_fsync);
        let setup = Setup { folder: folder.clone(), network, port, audit, etcd_fsync, binaries, packages };
        let mut rise = Rise { setup, state, seeded: false };
        if let Err(error) = rise.to(level, &options.images).await {
            if rise.state.level.is_none() {
                progress::say("giving up; stopping what was started");
                cleanup::down(&folder).await?;
            }
            return Err(error);
        }
        Ok(Self::of(folder, &rise.state))
    }

    /// The cluster in a folder, as it is; nothing is started or changed.
    pub fn attach(dir: &Path) -> Result<Self> {
        let folder = Folder::open(dir)?;
        let state = State::load(&folder)?.filter(|state| state.level.is_some());
        let state = state.with_context(|| format!("no cluster is up in {}", dir.display()))?;
        Ok(Self::of(folder, &state))
    }

    /// Stops the cluster in a folder and removes all of it but the logs. Fine if there is none.
    pub async fn down(dir: &Path) -> Result<()> {
        if !dir.exists() {
            return Ok(());
        }
        let folder = Folder::open(dir)?;
        let _lock = folder.lock().await?;
        cleanup::down(&folder).await
    }

    fn of(folder: Folder, state: &State) -> Self {
        Self { folder, network: state.network, port: state.port, kubectl: state.kubectl.clone() }
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.kubeconfig()
    }

    /// The certificate by which the API server is to be recognised.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// Where the API server answers.
    pub fn api_server_url(&self) -> String {
        api_server_url(self.network, self.port)
    }

    /// One JSON line per answered request, written before the answer; a watch has a second line, at its
    /// start. Empty of file when auditing is off.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.audit_log()
    }

    /// The loopback network of the cluster.
    pub fn network(&self) -> Network {
        self.network
    }

    /// A new client, with connections of its own, as user `admin`.
    pub async fn client(&self) -> Result<kube::Client> {
        client(&self.kubeconfig(), None, None).await
    }

    /// `kubectl`, the one built for this cluster, as user `admin`.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// The process of a server, if it lives.
    pub fn pid(&self, server: Server) -> Option<u32> {
        let process = self.state().ok()?.process(server)?;
        u32::try_from(process.pid).ok()
    }

    /// Stops a server as a restart of its machine would, and waits until it is gone.
    pub async fn stop_server(&self, server: Server) -> Result<()> {
        self.end(server, |process| async move { process.stop(server.grace()).await }).await
    }

    /// Kills a server (SIGKILL), and waits until it is gone.
    pub async fn kill_server(&self, server: Server) -> Result<()> {
        self.end(server, |process| async move {
            process.signal(Signal::KILL)?;
            process.stop(server.grace()).await
        })
        .await
    }

    async fn end<F: Future<Output = Result<()>>>(
        &self,
        server: Server,
        how: impl FnOnce(Process) -> F,
    ) -> Result<()> {
        let _lock = self.folder.lock().await?;
        let mut state = self.state()?;
        let record = state.servers.get_mut(&server).with_context(|| format!("{server} was never started"))?;
        record.stopped = true;
        state.save(&self.folder)?;
        match state.process(server) {
            Some(process) => how(process).await,
            None => Ok(()),
        }
    }

    /// Starts a server again, with the arguments and the data it had, and waits until it is ready.
    pub async fn start_server(&self, server: Server) -> Result<()> {
        let _lock = self.folder.lock().await?;
        let mut state = self.state()?;
        restart(&self.folder, &mut state, server)?;
        wait_healthy(&self.folder, &state, server).await
    }

    /// Freezes a server (SIGSTOP): connections stay, answers do not come.
    pub fn pause_server(&self, server: Server) -> Result<()> {
        self.alive(server)?.signal(Signal::STOP)
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn resume_server(&self, server: Server) -> Result<()> {
        self.alive(server)?.signal(Signal::CONT)
    }

    fn alive(&self, server: Server) -> Result<Process> {
        self.state()?.process(server).with_context(|| format!("{server} does not run"))
    }

    fn state(&self) -> Result<State> {
        State::load(&self.folder)?
            .with_context(|| format!("the cluster in {} is gone", self.folder.path().display()))
    }
}

fn api_server_url(network: Network, port: u16) -> String {
    match port {
        443 => format!("https://{}", network.address()),
        port => format!("https://{}:{port}", network.address()),
    }
}

fn check(options: &Options) -> Result<()> {
    let pods = options.level >= Level::Pods;
    ensure!(
        !pods || geteuid().is_root(),
        "pods need root (containerd, kubelet, cgroups); level argo does not"
    );
    ensure!(pods || options.images.is_empty(), "images need the level pods");
    Ok(())
}

/// Whether a running cluster is what the caller asks for.
fn suits(state: &State, folder: &Folder, options: &Options) -> Result<()> {
    let differs = |what: &str| {
        let dir = folder.path().display();
        format!(
            "the cluster in {dir} runs without {what}, which cannot be changed; take it down first (devcluster down)"
        )
    };
    ensure!(state.audit || !options.audit, differs("an audit log"));
    ensure!(state.etcd_fsync || !options.etcd_fsync, differs("etcd's fsync"));
    ensure!(
        state.port == 443 || options.level < Level::Pods,
        differs("port 443, as it was brought up without root")
    );
    Ok(())
}

/// Clears the folder and makes what a new cluster begins with. Nothing runs yet.
async fn new(folder: &Folder, options: &Options, binaries: &Binaries) -> Result<State> {
    if folder.join("state.json").exists() {
        progress::say("what was here is dead or half made; clearing it (its logs go to logs.old)");
    }
    cleanup::down(folder).await?;
    folder.set_logs_aside()?;
    let port = if geteuid().is_root() { 443 } else { 6443 };
    let network = Network::claim(folder, &ports(port)).await?;
    let state = State::new(network, port, options.audit, options.etcd_fsync, binaries.path(Program::Kubectl));
    state.save(folder)?;
    crate::pki::write(folder, network, &api_server_url(network, port))?;
    Ok(state)
}

/// The way up.
struct Rise {
    setup: Setup,
    state: State,
    /// Whether the cluster was born with Argo's CRDs.
    seeded: bool,
}

impl Rise {
    async fn to(&mut self, level: Level, images: &[Image]) -> Result<()> {
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
fn restart(folder: &Folder, state: &mut State, server: Server) -> Result<()> {
    if state.process(server).is_some() {
        return Ok(());
    }
    let record = state.servers.get_mut(&server).with_context(|| format!("{server} was never started"))?;
    record.process = spawn(&record.launch, &folder.log(server), folder)?;
    record.stopped = false;
    state.save(folder)
}

async fn wait_healthy(folder: &Folder, state: &State, server: Server) -> Result<()> {
    let process = state.servers.get(&server).with_context(|| format!("{server} was never started"))?.process;
    let (network, port) = (state.network, state.port);
    let watched = Watched { folder, server, process };
    watched.until(&format!("{server} is ready"), || healthy(server, folder, network, port)).await
}
