//! kubelet: one node, whose name is the cluster's address. That way neither names nor the address of a
//! network card are looked up, and the API server finds the node's kubelet on loopback.

use anyhow::Result;
use serde_json::json;

use super::{Setup, containerd_socket};
use crate::build::Program;
use crate::cgroup::Cgroup;
use crate::process::Launch;

/// For the API server, for health.
pub(super) const PORTS: [u16; 2] = [10250, 10248];

pub(super) fn launch(setup: &Setup) -> Result<Launch> {
    // kubelet expects its root to exist.
    let cgroup = Cgroup::of(&setup.folder);
    cgroup.create()?;
    let config = setup.folder.write("run/kubelet.json", &config(setup, &cgroup).to_string())?;
    let flags = [
        ("config", config),
        ("kubeconfig", setup.pki("kubelet.kubeconfig")),
        ("root-dir", setup.folder.text("kubelet")),
        ("cert-dir", setup.folder.text("kubelet/pki")),
        ("hostname-override", setup.address()),
    ];
    Ok(setup.start(Program::Kubelet, &flags))
}

fn config(setup: &Setup, cgroup: &Cgroup) -> serde_json::Value {
    let [port, health] = PORTS;
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": setup.address(),
        "port": port,
        "readOnlyPort": 0,
        "healthzBindAddress": setup.address(),
        "healthzPort": health,
        "tlsCertFile": setup.pki("server.crt"),
        "tlsPrivateKeyFile": setup.pki("server.key"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": setup.pki("ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{}", containerd_socket(&setup.folder)),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup.path(),
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        // No iptables rules on this machine.
        "makeIPTablesUtilChains": false,
        // Lowering it needs CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        "podLogsDir": setup.folder.text("logs/pods"),
        "volumePluginDir": setup.folder.text("kubelet/volume-plugins"),
        "maxPods": 250,
        // A full disk of this machine is no reason to end pods, and images lost could not be pulled again.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "kubeAPIQPS": 1000,
        "kubeAPIBurst": 2000,
        "eventRecordQPS": 0,
    })
}
