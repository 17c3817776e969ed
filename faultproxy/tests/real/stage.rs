//! The control plane of all tests, and what each test has for itself.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use devcluster::{Cluster, Level, Options};
use faultproxy::{FaultProxy, Plan, Rule};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, PostParams};
use kube::{Client, Config};
use tokio::sync::OnceCell;

/// A test.
pub(crate) type Test = fn(Stage) -> BoxFuture<'static, Result<()>>;

/// How long anything that ought to happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The control plane; it comes up when first needed.
#[derive(Default)]
pub(crate) struct House(OnceCell<(File, PathBuf)>);

impl House {
    fn dir() -> PathBuf {
        std::env::temp_dir().join("faultproxy-tests")
    }

    fn users() -> Result<File> {
        let options = || File::options().create(true).truncate(false).write(true).to_owned();
        options().open(Self::dir().with_extension("users")).context("cannot open the list of users")
    }

    async fn enter(&self) -> Result<(File, PathBuf)> {
        let users = Self::users()?;
        let users = tokio::task::spawn_blocking(move || users.lock_shared().map(|()| users)).await??;
        let options = Options { audit: false, ..Options::new(Self::dir(), Level::ControlPlane) };
        let kubeconfig = Cluster::ensure(&options).await?.kubeconfig();
        Ok((users, kubeconfig))
    }

    async fn kubeconfig(&self) -> Result<PathBuf> {
        Ok(self.0.get_or_try_init(|| self.enter()).await?.1.clone())
    }

    /// Takes the control plane down if nobody else uses it.
    pub(crate) async fn leave(&self) {
        let Some((users, _)) = self.0.get() else { return };
        users.unlock().unwrap();
        if users.try_lock().is_ok() {
            Cluster::down(&Self::dir()).await.unwrap();
        }
    }
}

/// What a test has.
pub(crate) struct Stage {
    /// Of this test alone.
    pub(crate) proxy: FaultProxy,
    /// Through the proxy; does not retry.
    pub(crate) client: Client,
    /// Past the proxy.
    pub(crate) direct: Client,
    /// Of this test alone, and empty.
    pub(crate) namespace: String,
    /// Past the proxy.
    pub(crate) kubeconfig: PathBuf,
}

impl Stage {
    /// Prepares a test.
    pub(crate) async fn new(house: &House, test: &str) -> Result<Self> {
        let kubeconfig = house.kubeconfig().await?;
        let direct = Client::try_from(faultproxy::config(&kubeconfig).await?)?;
        let name = test.rsplit("::").next().unwrap().replace('_', "-");
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta { generate_name: Some(format!("{name}-")), ..Default::default() },
            ..Namespace::default()
        };
        let namespace = Api::all(direct.clone()).create(&PostParams::default(), &namespace).await?;
        let namespace = namespace.metadata.name.unwrap();
        let proxy = FaultProxy::start_for(&kubeconfig).await?;
        let client = Client::try_from(impatient(&proxy)?)?;
        Ok(Self { proxy, client, direct, namespace, kubeconfig })
    }

    /// The test's objects, through the proxy.
    pub(crate) fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The test's objects as they are.
    pub(crate) fn real(&self) -> Api<ConfigMap> {
        Api::namespaced(self.direct.clone(), &self.namespace)
    }

    /// Whether an object exists.
    pub(crate) async fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.real().get_opt(name).await?.is_some())
    }

    /// Makes an object, through the proxy.
    pub(crate) async fn create(&self, name: &str) -> kube::Result<ConfigMap> {
        self.maps().create(&PostParams::default(), &map(name, "")).await
    }

    /// A plan of one rule.
    pub(crate) fn plan(&self, rule: Rule) {
        self.proxy.set_plan(Plan::none().with(rule));
    }
}

/// Without retries, so that faults are seen.
pub(crate) fn impatient(proxy: &FaultProxy) -> Result<Config> {
    let mut config = proxy.config()?;
    config.default_retry = false;
    Ok(config)
}

/// An object.
pub(crate) fn map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        data: Some([("value".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    }
}

/// Makes a list of tests of async functions.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        /// The tests of this module.
        pub(crate) fn tests(add: &mut dyn FnMut(&str, $crate::stage::Test)) {
            $(add(concat!(module_path!(), "::", stringify!($test)), |stage| Box::pin($test(stage)));)*
        }
    };
}
