//! containerd: Debian's program, with root, state and socket of the cluster's own.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::{PAUSE_IMAGE, Setup};
use crate::process::Launch;

pub(super) const SOCKET: &str = "run/containerd.sock";

pub(super) fn launch(setup: &Setup) -> Result<Launch> {
    let packages = setup.packages()?;
    let folder = &setup.folder;
    let path = |path: &str| json!(folder.text(path));
    // Without some network containerd calls the node unready. No pod uses it, so no plugin need exist.
    let network = json!({"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]});
    folder.write("run/cni/none.conflist", &network.to_string())?;
    fs::create_dir_all(folder.join("containerd")).context("cannot make containerd's folder")?;
    let config = CONFIG
        .replace("@root@", &path("containerd/root").to_string())
        .replace("@state@", &path("containerd/state").to_string())
        .replace("@opt@", &path("containerd/opt").to_string())
        .replace("@socket@", &path(SOCKET).to_string())
        .replace("@address@", &json!(setup.address()).to_string())
        .replace("@pause@", &json!(PAUSE_IMAGE).to_string())
        .replace("@cni@", &path("run/cni").to_string())
        .replace("@runc@", &json!(packages.runc).to_string())
        .replace("@runc-root@", &path("run/runc").to_string());
    let file = folder.write("run/containerd.toml", &config)?;
    Ok(Launch { program: packages.containerd.clone(), args: vec!["--config".into(), file], env: Vec::new() })
}

/// `restrict_oom_score_adj`: without it runc fails where CAP_SYS_RESOURCE is missing, as in many sandboxes.
const CONFIG: &str = r#"version = 2
root = @root@
state = @state@
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = @socket@
[plugins."io.containerd.internal.v1.opt"]
path = @opt@
[plugins."io.containerd.grpc.v1.cri"]
disable_tcp_service = true
stream_server_address = @address@
netns_mounts_under_state_dir = true
restrict_oom_score_adj = true
sandbox_image = @pause@
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = @cni@
conf_dir = @cni@
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = @runc@
Root = @runc-root@
SystemdCgroup = false
"#;
