//! kube-controller-manager: garbage collection, namespaces, ServiceAccounts, Jobs.

use super::Setup;
use crate::build::Program;
use crate::process::Launch;

pub(super) const PORT: u16 = 10257;

pub(super) fn launch(setup: &Setup) -> Launch {
    let mut flags = vec![
        ("root-ca-file", setup.pki("ca.crt")),
        ("service-account-private-key-file", setup.pki("service-account.key")),
        // It would make one in the system's folders.
        ("flex-volume-plugin-dir", setup.folder.text("run/volume-plugins")),
        // Each controller by its own name, in RBAC and in the audit log.
        ("use-service-account-credentials", "true".into()),
    ];
    flags.extend(setup.serving(PORT));
    flags.extend(setup.controlling("kube-controller-manager"));
    setup.start(Program::KubeControllerManager, &flags)
}
