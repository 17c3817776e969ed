//! The record of a cluster, `state.json`: what runs, how it was started, how far it came.
//! I/O: reads the file; replaces it in one step.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::network::Network;
use crate::options::Level;
use crate::process::{Launch, Life, Process, boot_id};
use crate::servers::Server;

/// One cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) network: Network,
    pub(crate) port: u16,
    /// The highest level that was ready once; none while the cluster is first brought up.
    pub(crate) level: Option<Level>,
    pub(crate) audit: bool,
    pub(crate) etcd_fsync: bool,
    pub(crate) kubectl: PathBuf,
    pub(crate) servers: BTreeMap<Server, Record>,
    /// Imported images, by name: what they were made of.
    pub(crate) images: BTreeMap<String, String>,
    boot_id: String,
}

/// One server of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) process: Process,
    pub(crate) launch: Launch,
    /// Stopped by our own `stop_server`: its absence is no accident.
    pub(crate) stopped: bool,
}

/// What became of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    NeverStarted,
    Running,
    Paused,
    /// By `stop_server`.
    Stopped,
    /// By itself, or by somebody else.
    Died,
}

impl State {
    /// A cluster of which nothing runs yet.
    pub(crate) fn new(network: Network, port: u16, audit: bool, etcd_fsync: bool, kubectl: PathBuf) -> Self {
        let (servers, images) = (BTreeMap::new(), BTreeMap::new());
        Self { network, port, level: None, audit, etcd_fsync, kubectl, servers, images, boot_id: boot_id() }
    }

    /// The record in a folder, if there is one.
    pub(crate) fn load(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.join("state.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let state = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a record of ours", path.display()))?;
        Ok(Some(state))
    }

    /// The caller holds the folder's lock.
    pub(crate) fn save(&self, folder: &Folder) -> Result<()> {
        let (new, path) = (folder.join("state.json.new"), folder.join("state.json"));
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether the record is of this start of the machine.
    pub(crate) fn is_current(&self) -> bool {
        self.boot_id == boot_id()
    }

    /// The living process of a server.
    pub(crate) fn process(&self, server: Server) -> Option<Process> {
        let process = self.servers.get(&server)?.process;
        (self.is_current() && process.is_alive()).then_some(process)
    }

    pub(crate) fn any_alive(&self) -> bool {
        self.servers.keys().any(|&server| self.process(server).is_some())
    }

    pub(crate) fn condition(&self, server: Server) -> Condition {
        match (self.servers.get(&server), self.process(server).map(|process| process.life())) {
            (None, _) => Condition::NeverStarted,
            (Some(_), Some(Life::Running)) => Condition::Running,
            (Some(_), Some(Life::Paused)) => Condition::Paused,
            (Some(record), Some(Life::Dead) | None) if record.stopped => Condition::Stopped,
            (Some(_), Some(Life::Dead) | None) => Condition::Died,
        }
    }
}
