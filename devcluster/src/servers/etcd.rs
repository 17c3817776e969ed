//! etcd: one member, plain HTTP on the cluster's loopback address.

use super::Setup;
use crate::build::Program;
use crate::process::Launch;

/// For clients, for peers.
pub(super) const PORTS: [u16; 2] = [2379, 2380];

pub(super) fn launch(setup: &Setup) -> Launch {
    let [clients, peers] = PORTS.map(|port| format!("http://{}:{port}", setup.address()));
    let mut flags = vec![
        ("name", "devcluster".into()),
        ("data-dir", setup.folder.text("etcd")),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("initial-cluster", format!("devcluster={peers}")),
        ("listen-peer-urls", peers.clone()),
        ("initial-advertise-peer-urls", peers),
        ("log-level", "warn".into()),
        // A long bench must not stop at the default 2 GiB.
        ("quota-backend-bytes", (8_u64 << 30).to_string()),
    ];
    if !setup.etcd_fsync {
        flags.push(("unsafe-no-fsync", "true".into()));
    }
    setup.start(Program::Etcd, &flags)
}
