//! Who is compared, and how each is started.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use devcluster::Program;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::{recorder::Subject, rig::Rig};

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// A bare client that issues the four writes of each execution without looking.
    Floor,
    /// The same, driven by raw watch lines; it also reads the child once.
    Reactive,
    /// runner-controller.
    Ours,
    /// A minimal Go controller-runtime controller with the same four writes, tuned.
    GoTuned,
    /// The same at controller-runtime's defaults.
    GoDefault,
    /// kube-controller-manager's Job controller, tuned; a stub kubelet ends the pods.
    JobsTuned,
    /// The same at its defaults.
    JobsDefault,
    /// The requests of the design this replaces, replayed: a Secret, a Job, a pod and a process per action.
    Legacy,
}

/// Programs that a run needs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// runner-controller.
    pub ours: PathBuf,
    /// The Go peer.
    pub go: PathBuf,
}

/// How peers are run.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// How many executions the bare clients work on at once.
    pub floor_concurrency: usize,
    /// The bare clients speak HTTP/2.
    pub floor_http2: bool,
}

/// A peer's process.
pub struct Running {
    child: Child,
    log: PathBuf,
    /// Its process id.
    pub pid: u32,
}

impl Peer {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Reactive => "reactive",
            Self::Ours => "ours",
            Self::GoTuned => "go-tuned",
            Self::GoDefault => "go-default",
            Self::JobsTuned => "jobs-tuned",
            Self::JobsDefault => "jobs-default",
            Self::Legacy => "legacy",
        }
    }

    /// What it works on.
    pub fn subject(self) -> Subject {
        match self {
            Self::JobsTuned | Self::JobsDefault => Subject::Jobs,
            Self::Floor | Self::Reactive | Self::Ours | Self::GoTuned | Self::GoDefault | Self::Legacy => {
                Subject::Executions
            }
        }
    }

    /// Whether it waits for children and follows them: a controller, in short.
    pub fn is_reactive(self) -> bool {
        !matches!(self, Self::Floor | Self::Legacy)
    }

    /// Starts it.
    pub fn start(self, rig: &Rig, programs: &Programs, tuning: Tuning) -> Result<Running> {
        let path = rig.file(&format!("logs/{}.log", self.name()));
        let log = File::options().create(true).append(true).open(&path)?;
        let mut command = self.command(rig, programs, tuning)?;
        command.env_clear().env("KUBECONFIG", rig.kubeconfig()).env("HOME", rig.file("run"));
        if self == Self::GoTuned {
            command.env("GOMEMLIMIT", "256MiB").env("GOGC", "200");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name()))?;
        let pid = child.id().context("it ended at once")?;
        Ok(Running { child, log: path, pid })
    }

    fn command(self, rig: &Rig, programs: &Programs, tuning: Tuning) -> Result<Command> {
        Ok(match self {
            Self::Floor => bare("blind", rig, tuning)?,
            Self::Reactive => bare("reactive", rig, tuning)?,
            Self::Legacy => bare("legacy", rig, tuning)?,
            Self::Ours => {
                let mut command = Command::new(&programs.ours);
                command.args(["run", "--listen", "127.0.0.1:0"]);
                command
            }
            Self::GoTuned => {
                let mut command = Command::new(&programs.go);
                command.arg("-tuned");
                command
            }
            Self::GoDefault => Command::new(&programs.go),
            Self::JobsTuned => {
                let mut command = jobs(rig);
                command.args(["--concurrent-job-syncs=64", "--kube-api-qps=5000", "--kube-api-burst=10000"]);
                command
            }
            Self::JobsDefault => jobs(rig),
        })
    }
}

/// A bare client is this very program.
pub fn bare(mode: &str, rig: &Rig, tuning: Tuning) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("peer").arg(mode).arg("--target").arg(rig.target_file());
    command.arg("--concurrency").arg(tuning.floor_concurrency.to_string());
    if tuning.floor_http2 {
        command.arg("--http2");
    }
    Ok(command)
}

fn jobs(rig: &Rig) -> Command {
    let mut command = Command::new(rig.binaries.path(Program::KubeControllerManager));
    let config = rig.kubeconfig();
    for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        command.arg(format!("--{flag}={}", config.display()));
    }
    // Nothing is served: no port, no certificate.
    command.args(["--controllers=job-controller", "--leader-elect=false", "--secure-port=0"]);
    command
}

impl Running {
    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and makes it end if it does not within 10 s.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
            && self.is_alive()
        {
            kill_process(pid, Signal::TERM)?;
        }
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }

    /// Kills it at once.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Waits for its end, which is an accident.
    pub async fn died(&mut self) -> anyhow::Error {
        let status = self.child.wait().await;
        anyhow::anyhow!("the peer died ({status:?})")
    }

    /// The last line it wrote.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().next_back().unwrap_or("nothing").chars().take(600).collect()
    }
}

/// Builds what is measured, unless told where it lies.
pub async fn build(ours: Option<&Path>, go: Option<&Path>) -> Result<Programs> {
    let here = std::env::current_exe()?;
    let folder = here.parent().context("a program lies in a folder")?;
    let ours = if let Some(path) = ours { path.to_owned() } else { build_ours(folder).await? };
    let go = if let Some(path) = go { path.to_owned() } else { build_go(folder).await? };
    Ok(Programs { ours: absolute(&ours)?, go: absolute(&go)? })
}

async fn build_ours(folder: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--release", "--package", "runner-controller", "--bin", "runner-controller"]);
    ensure!(cargo.status().await?.success(), "cargo build failed");
    Ok(folder.join("runner-controller"))
}

async fn build_go(folder: &Path) -> Result<PathBuf> {
    let output = folder.join("peer-controller-runtime");
    let mut go = Command::new("go");
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/controller-runtime"));
    go.env("CGO_ENABLED", "0").env("GOWORK", "off");
    go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&output).arg(".");
    ensure!(go.status().await?.success(), "go build failed");
    Ok(output)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("there is no {}", path.display()))
}
