//! A fresh control plane for one run: etcd and API server from `devcluster`, the two kinds, the identities.
//!
//! The controller-manager that `devcluster` brings is stopped: its garbage collector watches every kind and would
//! load every run. Harness and peers have identities of their own, so that the audit log tells them apart: the
//! harness is `admin` by a static token, the controller under test a ServiceAccount with a token as in a pod.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use devcluster::{Binaries, Cluster, Level, Options, Server};
use http::Method;
use serde_json::{Value, json};

use crate::{
    crds,
    http::{Answer, Call, Http},
    payload,
    target::Target,
};

/// Where everything happens.
pub const NAMESPACE: &str = "bench";
/// As which the controller under test acts.
pub const CONTROLLER: &str = "system:serviceaccount:bench:controller";

const KINDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// How a control plane is brought up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Storage {
    /// etcd syncs each write to disk.
    pub fsync: bool,
    /// The API server writes an audit log.
    pub audit: bool,
    /// The real Argo is at work in it, with its own kind.
    pub argo: bool,
}

/// A control plane.
pub struct Rig {
    cluster: Cluster,
    dir: PathBuf,
    /// Where its programs lie.
    pub binaries: Binaries,
    /// The harness's identity.
    pub admin: Target,
    /// The identity of the controller under test.
    pub controller: Target,
}

impl Rig {
    /// Brings one up in that folder, which must be new.
    pub async fn up(dir: &Path, storage: Storage) -> Result<Self> {
        let level = if storage.argo { Level::Argo } else { Level::ControlPlane };
        let binaries = tokio::task::spawn_blocking(move || devcluster::build(level)).await??;
        let mut options = Options::new(dir, level);
        options.audit = storage.audit;
        options.etcd_fsync = storage.fsync;
        let cluster = Cluster::ensure(&options).await?;
        cluster.stop_server(Server::ControllerManager).await?;
        let admin = Target {
            url: cluster.api_server_url(),
            ca: fs::read_to_string(cluster.ca())?,
            token: admin_token(&cluster)?,
            namespace: NAMESPACE.into(),
            account: "deployer".into(),
        };
        let http = Http::new(&admin, "bench-setup", false)?;
        if !storage.argo {
            create(&http, KINDS, &crds::workflow()).await?;
        }
        install(&http, &admin).await?;
        let controller = Target { token: controller_token(&http).await?, ..admin.clone() };
        controller.write(&dir.join("target.json"))?;
        fs::write(dir.join("controller.kubeconfig"), controller.kubeconfig())?;
        Ok(Self { cluster, dir: dir.to_owned(), binaries, admin, controller })
    }

    /// Takes it down and removes it.
    pub async fn down(self) -> Result<()> {
        Cluster::down(&self.dir).await?;
        fs::remove_dir_all(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))
    }

    /// A client with all rights.
    pub async fn client(&self) -> Result<kube::Client> {
        self.cluster.client().await
    }

    /// A file below its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The controller's identity as a file for peers that are ours.
    pub fn target_file(&self) -> PathBuf {
        self.file("target.json")
    }

    /// The controller's identity as a kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("controller.kubeconfig")
    }

    /// The audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.cluster.audit_log()
    }

    /// The processes of the control plane.
    pub fn servers(&self) -> Vec<(&'static str, u32)> {
        [("etcd", Server::Etcd), ("apiserver", Server::ApiServer)]
            .into_iter()
            .filter_map(|(name, server)| Some((name, self.cluster.pid(server)?)))
            .collect()
    }
}

fn admin_token(cluster: &Cluster) -> Result<String> {
    let config: Value = serde_yaml::from_str(&fs::read_to_string(cluster.kubeconfig())?)?;
    let token = config.pointer("/users/0/user/token").and_then(Value::as_str);
    Ok(token.context("the cluster's kubeconfig holds no token")?.to_owned())
}

async fn controller_token(http: &Http) -> Result<String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/controller/token");
    let answer = create(http, &path, &json!({"spec": {"expirationSeconds": 86_400}})).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let token = answer.pointer("/status/token").and_then(Value::as_str);
    Ok(token.context("the API server gave no token")?.to_owned())
}

async fn create(http: &Http, path: &str, object: &Value) -> Result<Bytes> {
    let call = Call {
        method: Method::POST,
        path,
        body: object.to_string().into(),
        answer: Answer::Whole,
        impersonate: false,
    };
    http.send(call).await?.good(path)
}

/// The executions' kind, the namespace, the ServiceAccounts and what they may do.
async fn install(http: &Http, admin: &Target) -> Result<()> {
    create(http, KINDS, &serde_json::to_value(runner_controller::crd::crd())?).await?;
    create(http, "/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}})).await?;
    let core = format!("/api/v1/namespaces/{NAMESPACE}");
    for name in ["default", "controller", "deployer"] {
        let account = json!({"metadata": {"name": name}});
        create(http, &format!("{core}/serviceaccounts"), &account).await?;
    }
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    create(
        http,
        &format!("{rbac}/clusterrolebindings"),
        &binding("controller", "ClusterRole", "cluster-admin"),
    )
    .await?;
    let role = json!({
        "metadata": {"name": "deployer"},
        "rules": [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "create", "patch", "delete"]}],
    });
    create(http, &format!("{rbac}/namespaces/{NAMESPACE}/roles"), &role).await?;
    let path = format!("{rbac}/namespaces/{NAMESPACE}/rolebindings");
    create(http, &path, &binding("deployer", "Role", "deployer")).await?;
    for collection in [payload::executions(admin), payload::workflows(admin)] {
        until_served(http, &collection).await?;
    }
    Ok(())
}

fn binding(account: &str, kind: &str, role: &str) -> Value {
    json!({
        "metadata": {"name": format!("bench-{account}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": account}],
    })
}

async fn until_served(http: &Http, collection: &str) -> Result<()> {
    for _ in 0..600 {
        if http.get(collection).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{collection} is not served after 30 s")
}
