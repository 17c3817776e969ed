//! A cluster's own cgroup, below which kubelet puts all its pods: what is in it is the cluster's, exactly.
//! I/O: the cgroup file systems of this machine, version 1 (one per controller) or 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::encoding::fingerprint;
use crate::folder::Folder;
use crate::process::Process;

/// Named by the folder, so that it is found even when no record is left.
pub(crate) struct Cgroup(String);

impl Cgroup {
    pub(crate) fn of(folder: &Folder) -> Self {
        Self(format!("devcluster-{}", fingerprint(folder.path().as_os_str().as_encoded_bytes())))
    }

    /// As kubelet wants it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.0)
    }

    pub(crate) fn create(&self) -> Result<()> {
        for hierarchy in hierarchies()? {
            let path = hierarchy.join(&self.0);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot make the cgroup {}", path.display()))?;
            // A new cpuset (version 1) is empty, and nothing can run in it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if path.join(file).exists() {
                    let value = fs::read_to_string(hierarchy.join(file)).unwrap_or_default();
                    let _ = fs::write(path.join(file), value);
                }
            }
        }
        Ok(())
    }

    /// The folders of this cgroup and all below it, children first.
    pub(crate) fn folders(&self) -> Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for hierarchy in hierarchies()? {
            walk(&hierarchy.join(&self.0), &mut folders);
        }
        Ok(folders)
    }

    /// Kills whatever runs in it, again until nothing does.
    pub(crate) async fn kill(&self) -> Result<()> {
        for _ in 0..500 {
            let mut found = false;
            for folder in self.folders()? {
                let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                for process in processes.lines().filter_map(|pid| Process::find(pid.parse().ok()?)) {
                    found = true;
                    process.signal(Signal::KILL)?;
                }
            }
            if !found {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("processes in the cgroup {} do not die", self.0)
    }

    /// Removes it; nothing may run in it any more.
    pub(crate) async fn remove(&self) -> Result<()> {
        for folder in self.folders()? {
            let mut outcome = fs::remove_dir(&folder);
            // The kernel lets go of a dead process's cgroup a moment later.
            for _ in 0..100 {
                if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::ResourceBusy) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                outcome = fs::remove_dir(&folder);
            }
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot remove the cgroup {}", folder.display()));
                }
            }
        }
        Ok(())
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        walk(&entry.path(), found);
    }
    found.push(folder.to_owned());
}

/// Where cgroup file systems are mounted.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the list of mounts")?;
    let mount = |line: &str| {
        let mut fields = line.split(' ');
        let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(path))
    };
    Ok(mounts.lines().filter_map(mount).collect())
}
