//! What a cluster's servers are doing, for people. I/O: the record, `/proc`, logs.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::folder::Folder;
use crate::network::Network;
use crate::options::Level;
use crate::process::tail;
use crate::servers::Server;
use crate::state::{Condition, State};

/// A cluster as it is now.
#[derive(Debug)]
pub struct Status {
    /// Its folder.
    pub dir: PathBuf,
    /// The level it reached, none while it is being brought up.
    pub level: Option<Level>,
    /// Its loopback network.
    pub network: Network,
    /// Its servers that were ever started.
    pub servers: Vec<ServerStatus>,
}

/// A server as it is now.
#[derive(Debug)]
pub struct ServerStatus {
    /// Which one.
    pub server: Server,
    /// Its process, dead or alive.
    pub pid: i32,
    /// Whether its process runs (and is not paused).
    pub running: bool,
    /// One line on what it does; if it died, with the end of its log.
    pub text: String,
}

impl Status {
    /// Looks; none if no cluster was ever brought up in the folder.
    pub fn of(dir: &Path) -> Result<Option<Self>> {
        if !dir.exists() {
            return Ok(None);
        }
        let folder = Folder::open(dir)?;
        let Some(state) = State::load(&folder)? else { return Ok(None) };
        let servers = state.servers.iter().map(|(&server, record)| {
            let condition = state.condition(server);
            let text = match condition {
                Condition::NeverStarted => "not started".into(),
                Condition::Running => "running".into(),
                Condition::Paused => "paused (SIGSTOP)".into(),
                Condition::Stopped => "stopped on purpose".into(),
                Condition::Died => format!("died; {}", tail(&folder.log(server))),
            };
            let running = condition == Condition::Running;
            ServerStatus { server, pid: record.process.pid, running, text }
        });
        let (level, network, servers) = (state.level, state.network, servers.collect());
        Ok(Some(Self { dir: folder.path().to_owned(), level, network, servers }))
    }

    /// Whether the cluster was ready once and all its servers run.
    pub fn is_up(&self) -> bool {
        self.level.is_some() && self.servers.iter().all(|server| server.running)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.map_or("coming up", Level::name);
        writeln!(f, "{}: {level}, on {}", self.dir.display(), self.network)?;
        for server in &self.servers {
            writeln!(f, "  {:<24} {:>8}  {}", server.server.name(), server.pid, server.text)?;
        }
        Ok(())
    }
}
