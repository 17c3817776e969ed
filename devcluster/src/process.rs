//! Processes that outlive the program that started them: started, recorded, recognised, signalled.
//!
//! A process is recorded by its id *and* its start time, so that one that got the id later is never
//! touched. As a starter may be killed between starting and recording, each server also carries a mark
//! in its environment, which its own children (containerd's shims) inherit.
//! I/O: `/proc`, signals, spawning.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use serde::{Deserialize, Serialize};

use crate::folder::Folder;

/// The environment variable by which a cluster's processes are recognised; its value is the folder.
const MARK: &str = "DEVCLUSTER_SERVER_OF";

/// A process that is still the one it was when we looked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks from the machine's start to the process's.
    start_time: u64,
}

/// What a recorded process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Stopped by SIGSTOP.
    Paused,
    /// Gone, or dead and not yet waited for by its parent.
    Dead,
}

/// How a server is started, kept so that it can be started again just so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl Process {
    /// The process that has this id now, unless it is dead.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let (life, start_time) = look(pid)?;
        (life != Life::Dead).then_some(Self { pid, start_time })
    }

    pub(crate) fn life(&self) -> Life {
        let Some((life, _)) = look(self.pid).filter(|(_, start)| *start == self.start_time) else {
            return Life::Dead;
        };
        // A dead child of ours stays in /proc until somebody waits for it.
        if let (Life::Dead, Some(pid)) = (life, Pid::from_raw(self.pid)) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        life
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.life() != Life::Dead
    }

    /// Sends a signal to exactly this process; to nobody if it is dead.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        // Once the descriptor is open the id cannot pass to another process unnoticed.
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
        if !self.is_alive() {
            return Ok(());
        }
        match pidfd_send_signal(&descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send a signal to process {}", self.pid)),
        }
    }

    /// Ends the process: politely, and by force when the grace is over. Returns when it is dead.
    pub(crate) async fn stop(&self, grace: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)?;
        if self.wait_dead(grace).await {
            return Ok(());
        }
        self.signal(Signal::KILL)?;
        if !self.wait_dead(Duration::from_secs(10)).await {
            bail!("process {} does not die, not even by SIGKILL", self.pid);
        }
        Ok(())
    }

    async fn wait_dead(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

/// State and start time of the process with this id. Its name, in parentheses, may hold anything.
fn look(pid: i32) -> Option<(Life, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;
    let life = match state {
        // Its first thread is dead before the others are, and until then its ports are taken.
        "Z" if threads > 1 => Life::Running,
        "Z" | "X" | "x" => Life::Dead,
        "T" | "t" => Life::Paused,
        _ => Life::Running,
    };
    Some((life, start_time))
}

/// Which start of the machine this is: process ids and start times mean nothing beyond it.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Starts a server that outlives us: in a process group of its own, so that no Ctrl-C meant for us
/// reaches it, with no inherited environment, its output appended to its log.
pub(crate) fn spawn(launch: &Launch, log: &Path, folder: &Folder) -> Result<Process> {
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let child = Command::new(&launch.program)
        .args(&launch.args)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", folder.path())
        .envs(launch.env.iter().map(|(key, value)| (key, value)))
        .env(MARK, folder.path())
        .current_dir(folder.path())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start {}", launch.program.display()))?;
    let pid = i32::try_from(child.id()).context("a process id beyond the range of Linux")?;
    // Even if it died at once it is there until we wait for it, so its start time can be read.
    let (_, start_time) = look(pid).with_context(|| format!("{} vanished", launch.program.display()))?;
    Ok(Process { pid, start_time })
}

/// All living processes that carry a cluster's mark, with their command lines.
pub(crate) fn marked(folder: &Folder) -> Vec<(Process, String)> {
    let mark = [MARK.as_bytes(), b"=", folder.path().as_os_str().as_encoded_bytes()].concat();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let found = environment.split(|&byte| byte == 0).any(|variable| variable == mark);
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.then(|| Some((Process::find(pid)?, command)))?
        })
        .collect()
}

/// The last lines of a log, for a message to a person.
pub(crate) fn tail(log: &Path) -> String {
    const BYTES: u64 = 16 * 1024;
    const LINES: usize = 15;
    const CHARACTERS: usize = 400;
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(cannot be read: {error})"));
    let lines: Vec<String> = text.lines().map(|line| line.chars().take(CHARACTERS).collect()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    format!("the end of {}:\n  {}", log.display(), last.join("\n  "))
}
