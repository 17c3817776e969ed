//! What the tests share: a cluster's folder that cleans up after itself, and looking for leftovers.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::disallowed_methods,
    reason = "these tests are about real time; the list guards the controller's core"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use devcluster::{Cluster, Server};
use tempfile::TempDir;

/// The program under test.
pub(crate) const DEVCLUSTER: &str = env!("CARGO_BIN_EXE_devcluster");

/// A folder for one cluster, which is taken down with it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new(DEVCLUSTER).arg("down").arg("--dir").arg(self.dir()).status();
    }
}

/// Runs kubectl and returns what it wrote.
pub(crate) fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    run(cluster.kubectl().args(arguments))
}

/// Applies a manifest.
pub(crate) fn apply(cluster: &Cluster, manifest: &str) {
    let file = cluster.folder().join("manifest.yaml");
    fs::write(&file, manifest).unwrap();
    kubectl(cluster, &["apply", "-f", file.to_str().unwrap()]);
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !check() {
        assert!(Instant::now() < deadline, "not after a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whatever a cluster may leave behind: processes, mounts, cgroups, sockets of shims, links to logs.
pub(crate) fn leftovers(dir: &Path) -> BTreeSet<String> {
    let dir = dir.to_str().unwrap();
    let mut found = BTreeSet::new();
    for process in list("/proc").into_iter().filter(|path| path.join("environ").exists()) {
        let bytes = |file: &str| fs::read(process.join(file)).unwrap_or_default();
        let (environment, command) = (bytes("environ"), bytes("cmdline"));
        let text = String::from_utf8_lossy(&environment).into_owned() + &String::from_utf8_lossy(&command);
        let own = Path::new("/proc/self").canonicalize().unwrap() == process;
        if text.contains(dir) && !own {
            found.insert(format!("process {}: {}", process.display(), String::from_utf8_lossy(&command)));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(dir)).map(|line| format!("mount {line}")));
    let links = list("/var/log/containers").into_iter();
    found.extend(
        links
            .filter_map(|link| fs::read_link(link).ok())
            .filter(|target| target.starts_with(dir))
            .map(|target| format!("link to {}", target.display())),
    );
    found
}

/// The cgroups of a cluster whose kubelet has been started.
pub(crate) fn cgroups(dir: &Path) -> Vec<PathBuf> {
    let config = fs::read_to_string(dir.join("run/kubelet.json")).unwrap();
    let name = config.split(r#""cgroupRoot":"/"#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let hierarchies = [vec![PathBuf::from("/sys/fs/cgroup")], list("/sys/fs/cgroup")].concat();
    hierarchies.into_iter().map(|hierarchy| hierarchy.join(&name)).filter(|path| path.exists()).collect()
}

/// The sockets of the shims of a cluster's running pods.
pub(crate) fn shim_sockets(dir: &Path) -> Vec<PathBuf> {
    let bundles = list(dir.join("containerd/state/io.containerd.runtime.v2.task/k8s.io").to_str().unwrap());
    let address = |bundle: PathBuf| fs::read_to_string(bundle.join("address")).ok();
    bundles
        .into_iter()
        .filter_map(address)
        .map(|address| address.trim().replace("unix://", "").into())
        .collect()
}

pub(crate) fn list(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The addresses that a cluster's servers listen on, as the kernel writes them: little-endian hex.
pub(crate) fn listening(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for pid in Server::ALL.into_iter().filter_map(|server| cluster.pid(server)) {
        let sockets: BTreeSet<String> = list(&format!("/proc/{pid}/fd"))
            .iter()
            .filter_map(|link| {
                Some(
                    fs::read_link(link)
                        .ok()?
                        .to_str()?
                        .strip_prefix("socket:[")?
                        .trim_end_matches(']')
                        .to_owned(),
                )
            })
            .collect();
        for table in ["tcp", "tcp6"] {
            let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            for line in table.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                if fields[3] == "0A" && sockets.contains(fields[9]) {
                    found.push(fields[1].to_owned());
                }
            }
        }
    }
    found
}
