//! The controller as a process, with the rights of its own ServiceAccount: whether it lives, what it logged, how
//! much memory it took.

use std::{
    fs::File,
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use devcluster::Cluster;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::common;

/// A running controller; killed when dropped.
pub(crate) struct Controller {
    child: Child,
    listen: String,
    log: tempfile::NamedTempFile,
    _kubeconfig: tempfile::NamedTempFile,
}

impl Controller {
    /// Starts one that serves that namespace, or all, and waits until it is ready.
    pub(crate) async fn start(cluster: &Cluster, namespace: Option<&str>) -> Result<Self> {
        let controller = Self::spawn(cluster, namespace).await?;
        tokio::time::timeout(Duration::from_mins(1), controller.ready())
            .await
            .context("it is never ready")?;
        Ok(controller)
    }

    /// Starts one.
    pub(crate) async fn spawn(cluster: &Cluster, namespace: Option<&str>) -> Result<Self> {
        let kubeconfig = as_controller(cluster).await?;
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let log = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner-controller"));
        command.args(["run", "--listen", &listen, "--start-grace", "5s"]);
        if let Some(namespace) = namespace {
            command.args(["--namespace", namespace]);
        }
        let child = command
            .env("KUBECONFIG", kubeconfig.path())
            .stdout(Stdio::from(log.reopen()?))
            .stderr(Stdio::from(File::options().append(true).open(log.path())?))
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, listen, log, _kubeconfig: kubeconfig })
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        while !matches!(self.get("/readyz").await, Ok((200, _))) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it answers.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.listen).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok((answer.split(' ').nth(1).unwrap_or_default().parse()?, answer))
    }

    /// It is still the same process, no pass of it panicked, and its log is plain text.
    pub(crate) async fn check(&mut self) -> Result<()> {
        ensure!(
            self.child.try_wait()?.is_none(),
            "the controller ended; its last words: {}",
            self.last_words()
        );
        let (_, metrics) = self.get("/metrics").await?;
        ensure!(!metrics.contains(r#"result="panic""#), "a pass panicked: {}", self.last_words());
        let log = std::fs::read(self.log.path())?;
        let odd = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t');
        ensure!(!log.iter().any(odd), "the log holds control characters");
        ensure!(!String::from_utf8_lossy(&log).contains("panicked"), "it panicked: {}", self.last_words());
        Ok(())
    }

    /// The most memory it ever took, in MiB.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        let pid = self.child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    /// The processor time it has taken.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id().context("it has ended")?)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read(self.log.path()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(3000)..]).into_owned()
    }
}

/// The processor time a process has taken.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before it may hold anything, also spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).context("a short stat")?.parse::<u64>().map_err(anyhow::Error::from);
    // A tick is 10 ms on every Linux of today.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// Waits until a process leaves the machine to others, as the API server does when it has taken up a changed schema.
pub(crate) async fn at_rest(pid: u32) -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(1);
    let began = Instant::now();
    loop {
        let before = cpu(pid)?;
        tokio::time::sleep(WINDOW).await;
        if cpu(pid)?.saturating_sub(before) < WINDOW / 8 {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_mins(1), "process {pid} finds no rest");
    }
}

/// A kubeconfig by which a process has the rights of the controller's own ServiceAccount.
async fn as_controller(cluster: &Cluster) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(file.as_file(), &common::controller_access(cluster).await?)?;
    Ok(file)
}
