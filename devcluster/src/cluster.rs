//! A cluster: bringing it up, attaching to it, breaking parts of it on purpose, taking it down.
//!
//! There is one way up (`rise`), which does what is not yet so: a healthy cluster is therefore attached
//! to, a lower one raised, a new one made.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, geteuid};
use tokio::task::spawn_blocking;

use crate::build::{build, packages};
use crate::cleanup;
use crate::folder::Folder;
use crate::network::Network;
use crate::options::{Level, Options};
use crate::process::Process;
use crate::progress;
use crate::ready::client;
use crate::rise::{Rise, new, restart, wait_healthy};
use crate::servers::{Server, Setup, api_server_url};
use crate::state::State;

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
        let mut rise = Rise::new(setup, state);
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
    /// start. There is none when auditing is off.
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
