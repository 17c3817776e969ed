//! Leaves nothing behind: processes, pods, mounts, cgroups, sockets, files. It works from the record and
//! from what bears the cluster's mark, so it also works after the starter or the servers were killed.
//! The caller holds the folder's lock. I/O: signals, unmounting, removing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::folder::Folder;
use crate::process::marked;
use crate::progress::{self, Step};
use crate::servers::Server;
use crate::state::State;

/// Where the shims of every containerd 1.x have their sockets, by names that do not tell whose they are.
const SHIM_ADDRESSES: &str = "containerd/state/io.containerd.runtime.v2.task/k8s.io";

/// Where kubelet links to the logs of its containers, wherever its own folder is.
const LOG_LINKS: &str = "/var/log/containers";

/// Stops and removes everything of a cluster but its logs.
pub(crate) async fn down(folder: &Folder) -> Result<()> {
    let state = State::load(folder).unwrap_or_else(|error| {
        progress::say(&format!("{error:#}; going by the marks of the processes"));
        None
    });
    let sockets = shim_sockets(folder);
    if let Some(state) = &state {
        stop_servers(folder, state).await?;
    }
    Cgroup::of(folder).kill().await?;
    kill_marked(folder, "").await?;
    unmount_below(folder)?;
    Cgroup::of(folder).remove().await?;
    for socket in sockets.into_iter().chain(log_links(folder)) {
        remove(&socket, fs::remove_file(&socket))?;
    }
    for data in ["etcd", "containerd", "kubelet", "run", "pki"] {
        let path = folder.join(data);
        remove(&path, fs::remove_dir_all(&path))?;
    }
    for file in ["kubeconfig", "state.json.new", "state.json"] {
        let path = folder.join(file);
        remove(&path, fs::remove_file(&path))?;
    }
    Ok(())
}

/// In the order that lets each server still reach those it needs; pods end before containerd does.
async fn stop_servers(folder: &Folder, state: &State) -> Result<()> {
    for server in Server::ALL.into_iter().rev() {
        if server == Server::Containerd {
            Cgroup::of(folder).kill().await?;
            kill_marked(folder, "containerd-shim").await?;
        }
        if let Some(process) = state.process(server) {
            let step = Step::start(format!("stopping {server}"));
            process.stop(server.grace()).await?;
            step.done();
        }
    }
    Ok(())
}

/// Kills what bears the cluster's mark and has this word in its command line.
async fn kill_marked(folder: &Folder, word: &str) -> Result<()> {
    for _ in 0..500 {
        let found: Vec<_> =
            marked(folder).into_iter().filter(|(_, command)| command.contains(word)).collect();
        if found.is_empty() {
            return Ok(());
        }
        for (process, _) in found {
            process.signal(Signal::KILL)?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("processes of the cluster in {} do not die", folder.path().display())
}

/// Mount points below the folder, in the order of mounting.
pub(crate) fn mounts(folder: &Folder) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the list of mounts")?;
    let below = |line: &str| {
        let path = line.split(' ').nth(4)?.replace("\\040", " ");
        Path::new(&path).starts_with(folder.path()).then(|| PathBuf::from(path))
    };
    Ok(mounts.lines().filter_map(below).filter(|path| path != folder.path()).collect())
}

fn unmount_below(folder: &Folder) -> Result<()> {
    for mount in mounts(folder)?.iter().rev() {
        unmount(mount, UnmountFlags::DETACH)
            .with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    // What is removed next must be the cluster's own files, not those of something mounted among them.
    let left = mounts(folder)?;
    ensure!(left.is_empty(), "still mounted: {left:?}");
    Ok(())
}

fn shim_sockets(folder: &Folder) -> Vec<PathBuf> {
    let Ok(bundles) = fs::read_dir(folder.join(SHIM_ADDRESSES)) else { return Vec::new() };
    let socket = |bundle: fs::DirEntry| {
        let address = fs::read_to_string(bundle.path().join("address")).ok()?;
        Some(PathBuf::from(address.trim().strip_prefix("unix://")?))
    };
    bundles.flatten().filter_map(socket).collect()
}

fn log_links(folder: &Folder) -> Vec<PathBuf> {
    let Ok(links) = fs::read_dir(LOG_LINKS) else { return Vec::new() };
    let ours = |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target.starts_with(folder.path()));
    links.flatten().map(|link| link.path()).filter(ours).collect()
}

fn remove(path: &Path, outcome: std::io::Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}
