//! kube-apiserver. The `kubernetes` Service has the first address of the Service range, which is the very
//! address the API server listens on: pods in the host's network reach it with no proxy in between.

use anyhow::Result;

use super::{Setup, etcd_url};
use crate::build::Program;
use crate::process::Launch;

/// One line per request, when it is answered.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

pub(super) fn launch(setup: &Setup) -> Result<Launch> {
    let mut flags = vec![
        ("etcd-servers", etcd_url(setup.network)),
        ("advertise-address", setup.address()),
        ("service-cluster-ip-range", setup.network.range()),
        // Endpoints may not be loopback addresses, and nobody needs these.
        ("endpoint-reconciler-type", "none".into()),
        ("client-ca-file", setup.pki("ca.crt")),
        ("token-auth-file", setup.pki("tokens.csv")),
        ("anonymous-auth", "false".into()),
        ("authorization-mode", "Node,RBAC".into()),
        ("enable-admission-plugins", "NodeRestriction".into()),
        ("allow-privileged", "true".into()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".into()),
        ("service-account-key-file", setup.pki("service-account.pub")),
        ("service-account-signing-key-file", setup.pki("service-account.key")),
        // For `kubectl logs` and `exec`: the node's address is the kubelet's.
        ("kubelet-preferred-address-types", "InternalIP".into()),
        ("kubelet-certificate-authority", setup.pki("ca.crt")),
        ("kubelet-client-certificate", setup.pki("kubelet-client.crt")),
        ("kubelet-client-key", setup.pki("kubelet-client.key")),
        // Servers that ask it who their callers are expect to be told this as well; nobody has such a name.
        ("requestheader-client-ca-file", setup.pki("ca.crt")),
        ("requestheader-allowed-names", "front-proxy-client".into()),
        ("requestheader-username-headers", "X-Remote-User".into()),
        ("requestheader-group-headers", "X-Remote-Group".into()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".into()),
        ("cert-dir", setup.folder.text("run")),
    ];
    flags.extend(setup.serving(setup.port));
    if setup.audit {
        flags.extend([
            ("audit-policy-file", setup.folder.write("run/audit-policy.yaml", AUDIT_POLICY)?),
            ("audit-log-path", setup.folder.audit_log().display().to_string()),
            // Written before the answer is sent, so that counts are exact.
            ("audit-log-mode", "blocking".into()),
            // Megabytes; by default it would begin anew after 100.
            ("audit-log-maxsize", "100000".into()),
        ]);
    }
    Ok(setup.start(Program::KubeApiserver, &flags))
}
