//! A namespace of a cluster that has this program as an image, with a ServiceAccount that may do what runs need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::{Deref, DerefMut},
    process::Command,
};

use anyhow::{Result, ensure};
use devcluster::{Cluster, Image, Level, Options, Program};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::common::{EXEC_IMAGE, Env, cluster, folder};

/// A namespace with a controller.
pub struct Stage(Env);

impl Stage {
    /// A new one.
    pub async fn set() -> Result<Self> {
        let mut stage = Self::without_controller().await?;
        stage.start_another_controller().await?;
        Ok(stage)
    }

    /// One that no controller serves yet.
    pub async fn without_controller() -> Result<Self> {
        static LOADED: OnceCell<()> = OnceCell::const_new();
        let cluster = cluster(Level::Pods).await?;
        LOADED.get_or_try_init(load).await?;
        let stage = Self(Env::without_controller(cluster).await?);
        stage.grant("{apiGroups: [''], resources: [secrets], verbs: [create, get]}").await?;
        Ok(stage)
    }

    /// One whose ServiceAccount may do what every tool needs, with the demo chart in the ConfigMap `charts`.
    pub async fn for_every_tool(self) -> Result<Self> {
        self.grant("{apiGroups: ['', apps, batch, coordination.k8s.io], resources: ['*'], verbs: ['*']}")
            .await?;
        let archive = tempfile::NamedTempFile::new()?;
        fs::write(archive.path(), packed(FIXTURES, "demo")?)?;
        let file = format!("--from-file=demo.tgz={}", archive.path().display());
        self.kubectl(&["create", "configmap", "charts", &file]).await?;
        Ok(self)
    }

    /// Makes a Secret with one text.
    pub async fn make_secret(&self, name: &str, key: &str, text: &str) -> Result<()> {
        let literal = format!("--from-literal={key}={text}");
        self.kubectl(&["create", "secret", "generic", name, &literal]).await.map(drop)
    }

    /// Everything that is stored of the namespace but executions and events, each with its version.
    pub async fn content(&self) -> Result<BTreeMap<String, String>> {
        // What every namespace is given comes by itself, sooner or later.
        for given in ["configmap/kube-root-ca.crt", "serviceaccount/default"] {
            self.kubectl(&["wait", "--for=create", "--timeout=60s", given]).await?;
        }
        let kinds = self.kubectl(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]).await?;
        let other = |kind: &&str| !kind.starts_with("events") && !kind.starts_with("runnerexecutions");
        let kinds = kinds.lines().filter(other).collect::<Vec<_>>().join(",");
        let line = "{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}";
        let form = format!("jsonpath={{range .items[*]}}{line}{{end}}");
        let found = self.kubectl(&["get", &kinds, "-o", &form]).await?;
        Ok(found
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect())
    }

    /// The uid of an execution.
    pub async fn uid(&self, name: &str) -> Result<String> {
        self.kubectl(&["get", "rex", name, "-o", "jsonpath={.metadata.uid}"]).await
    }

    /// Gives the ServiceAccount one rule, in place of the one before.
    pub async fn grant(&self, rule: &str) -> Result<()> {
        let namespace = &self.namespace;
        self.apply(&format!(
            r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: granted}}
rules: [{rule}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: granted}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: granted}}
subjects: [{{kind: ServiceAccount, name: deployer, namespace: {namespace}}}]
"
        ))
        .await
        .map(drop)
    }

    /// Waits until the release `web` has a revision of that status.
    pub async fn until_status(&self, status: &str) -> Result<()> {
        let label = format!("owner=helm,name=web,status={status}");
        let found = ["wait", "secrets", "-l", &label, "--for=create", "--timeout=60s"];
        self.kubectl(&found).await.map(drop)
    }

    /// Waits until the pod of a Job runs.
    pub async fn ready(&self, job: &str) -> Result<()> {
        self.comes_to(&format!("job/{job}"), "jsonpath={.status.ready}=1").await
    }

    /// The names of all objects of these kinds.
    pub async fn names(&self, kinds: &str) -> Result<BTreeSet<String>> {
        Ok(self.kubectl(&["get", kinds, "-o", "name"]).await?.lines().map(str::to_owned).collect())
    }

    /// The texts of a Secret.
    pub async fn secret(&self, name: &str) -> Result<Value> {
        let template = "{{range $k, $v := .data}}{{$k}}={{$v | base64decode}}\n{{end}}";
        let told = self.kubectl(&["get", "secret", name, "-o", &format!("go-template={template}")]).await?;
        let pairs = told.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(key, text)| (key.to_owned(), Value::from(text))).collect())
    }
}

impl Deref for Stage {
    type Target = Env;

    fn deref(&self) -> &Env {
        &self.0
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Env {
        &mut self.0
    }
}

/// Where the demo chart is.
pub const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/helm");

/// What is of that name in a folder, as an archive (tar, gzip).
pub fn packed(folder: &str, name: &str) -> Result<Vec<u8>> {
    let packed = Command::new("tar").args(["-cz", "-C", folder, name]).output()?;
    ensure!(packed.status.success(), "tar failed");
    Ok(packed.stdout)
}

async fn load() -> Result<()> {
    let binaries = tokio::task::spawn_blocking(|| devcluster::build(Level::Pods)).await??;
    let image = Image::new(EXEC_IMAGE, env!("CARGO_BIN_EXE_runner-controller"))
        .with(binaries.path(Program::Helm))
        .with(binaries.path(Program::Tofu));
    let dir = folder(Level::Pods.name());
    Cluster::ensure(&Options { images: vec![image], ..Options::new(dir, Level::Pods) }).await.map(drop)
}
