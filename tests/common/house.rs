//! A cluster of a test's own, in which many namespaces are each served by a controller process of their own.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use devcluster::{Cluster, Level, Options};
use k8s_openapi::api::{
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, Client, Config, api::PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use testhouse::cluster::{audit, client_config, controller_access, folder, install};

/// A cluster with what the controller needs, except the controller.
pub struct House {
    pub cluster: Cluster,
    /// The administrator's.
    pub client: Client,
    /// The access of the controller's own ServiceAccount.
    pub controller: kube::config::Kubeconfig,
}

impl House {
    /// Opens the one of that name, or brings it up.
    pub async fn open(name: &str) -> Result<Self> {
        let cluster = Cluster::ensure(&Options::new(folder(name), Level::Argo)).await?;
        install(&cluster).await?;
        let controller = controller_access(&cluster).await?;
        Ok(Self { client: cluster.client().await?, cluster, controller })
    }

    /// For a client with the rights of the controller's own ServiceAccount.
    pub async fn as_controller(&self) -> Result<Config> {
        client_config(self.controller.clone()).await
    }

    /// Every answered request so far, as the API server's audit log tells it.
    pub async fn audit(&self) -> Result<Vec<Value>> {
        audit(&self.cluster).await
    }

    /// How many children the API server let the controller create in a namespace, by its audit log.
    pub async fn children_created(&self, namespace: &str) -> Result<usize> {
        let created = |event: &&Value| {
            is_controllers(event)
                && event["verb"] == "create"
                && event["responseStatus"]["code"] == 201
                && event["objectRef"]["namespace"] == namespace
                && matches!(event["objectRef"]["resource"].as_str(), Some("jobs" | "workflows"))
        };
        Ok(self.audit().await?.iter().filter(created).count())
    }

    /// Invariant I4 over the whole audit log: whatever the controller wrote of a run, it wrote as the run's
    /// ServiceAccount, in its namespace.
    pub async fn check_audit(&self) -> Result<()> {
        for event in self.audit().await?.iter().filter(|event| is_controllers(event)) {
            let writes = matches!(event["verb"].as_str(), Some("create" | "update" | "patch" | "delete"));
            let resource = event["objectRef"]["resource"].as_str().unwrap_or_default();
            // One that comes before the API server has read its roles is refused as the controller's own.
            let stored = event["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
            if writes && stored && !matches!(resource, "runnerexecutions" | "events") {
                let namespace = event["objectRef"]["namespace"].as_str().unwrap_or_default();
                let expected = format!("system:serviceaccount:{namespace}:deployer");
                ensure!(
                    event["impersonatedUser"]["username"] == expected.as_str(),
                    "not as the ServiceAccount: {event}"
                );
            }
        }
        Ok(())
    }

    /// A new namespace with a ServiceAccount `deployer` that may do what runs need.
    pub async fn namespace(&self) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("p{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let client = self.client.clone();
        self.create(Api::<Namespace>::all(client.clone()), json!({"metadata": {"name": namespace}})).await?;
        let named = json!({"name": "deployer"});
        self.create(
            Api::<ServiceAccount>::namespaced(client.clone(), &namespace),
            json!({"metadata": named}),
        )
        .await?;
        let rules = json!([
            {"apiGroups": ["argoproj.io", "batch"], "resources": ["workflows", "jobs"], "verbs": ["create", "patch", "delete"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get"]},
        ]);
        self.create(
            Api::<Role>::namespaced(client.clone(), &namespace),
            json!({"metadata": named, "rules": rules}),
        )
        .await?;
        let binding = json!({
            "metadata": named,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
        });
        self.create(Api::<RoleBinding>::namespaced(client, &namespace), binding).await?;
        Ok(namespace)
    }

    pub async fn create<K>(&self, api: Api<K>, object: Value) -> Result<K>
    where
        K: kube::Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
    {
        Ok(api.create(&PostParams::default(), &serde_json::from_value(object)?).await?)
    }
}

/// Whether an audited request is the controller's, made in its own name or a ServiceAccount's.
pub fn is_controllers(event: &Value) -> bool {
    event["user"]["username"] == "system:serviceaccount:runner-system:runner-controller"
}
