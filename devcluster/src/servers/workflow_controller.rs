//! Argo's workflow-controller. Its configuration, a ConfigMap, is made by `addons`.
//!
//! Its metrics server (:9090 of all addresses) is off in that ConfigMap; its health server takes the
//! address from our variable, see `build/argo.rs`.

use anyhow::Result;

use super::{ARGO_CONFIG, Setup, executor_image};
use crate::build::Program;
use crate::process::Launch;

pub(super) const PORT: u16 = 6060;

pub(super) fn launch(setup: &Setup) -> Result<Launch> {
    let (namespace, config_map) = ARGO_CONFIG;
    let flags = [
        ("kubeconfig", setup.pki("workflow-controller.kubeconfig")),
        ("namespace", namespace.into()),
        ("configmap", config_map.into()),
        ("executor-image", executor_image()?),
        ("executor-image-pull-policy", "IfNotPresent".into()),
        ("qps", "1000".into()),
        ("burst", "2000".into()),
    ];
    let mut launch = setup.start(Program::WorkflowController, &flags);
    let variables = [
        ("DEVCLUSTER_HEALTHZ", format!("{}:{PORT}", setup.address())),
        ("LEADER_ELECTION_DISABLE", "true".into()),
        ("LEADER_ELECTION_IDENTITY", "devcluster".into()),
        // By default it waits for 10 s between two looks at a workflow.
        ("DEFAULT_REQUEUE_TIME", "1s".into()),
    ];
    launch.env = variables.map(|(name, value)| (name.to_owned(), value)).into();
    Ok(launch)
}
