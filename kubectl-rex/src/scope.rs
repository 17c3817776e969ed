//! The cluster and the namespace of a command.

use kube::{Api, Client, core::NamespaceResourceScope};
use runner_controller::{
    client::{Connection, Executions, connect},
    submit::Failure,
};

use crate::cli::Scope;

/// An opened scope.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Scope {
    /// Reads the configuration; no request is made yet.
    pub(crate) async fn open(&self) -> Result<Opened, Failure> {
        let Connection { client, default_namespace } = connect(self.context.as_deref()).await?;
        Ok(Opened { client, namespace: self.namespace.clone().unwrap_or(default_namespace) })
    }
}

impl Opened {
    /// The executions of the namespace.
    pub(crate) fn executions(&self) -> Executions {
        Executions::new(self.client.clone(), &self.namespace)
    }

    /// The objects of that kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
