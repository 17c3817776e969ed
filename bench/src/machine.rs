//! On what was measured. No names of machines, users or paths.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// The machine and the versions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are called what they are")]
pub struct Machine {
    pub date: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub kubernetes: String,
    pub go: String,
    pub commit: String,
    pub storage: String,
    /// The load average when measuring began: anything but about 0 means that others were at work.
    pub load_before: f64,
    pub note: String,
}

impl Machine {
    /// Looks around.
    pub fn look(fsync: bool, note: String) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?.split_once(':')?.1.trim().to_owned();
            Some(line)
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        let kib: f64 = memory.and_then(|m| m.split(' ').next()?.parse().ok()).unwrap_or(0.0);
        let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
        Self {
            date: crate::payload::now(),
            processor: after(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib / 1024.0 / 1024.0).round(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            kubernetes: "v1.34.4".into(),
            go: said("go", &["env", "GOVERSION"]),
            commit: said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]),
            storage: if fsync { "etcd syncs to disk" } else { "etcd --unsafe-no-fsync" }.into(),
            load_before: load.unwrap_or(0.0),
            note,
        }
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
