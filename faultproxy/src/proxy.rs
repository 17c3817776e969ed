//! The proxy as its users see it.

use std::fs::File;
use std::io::LineWriter;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::kill::{Hook, KillOrder, by_pid};
use crate::plan::{Plan, Signal};
use crate::run::{Run, Sink, locked};
use crate::server::serve;
use crate::trace::Trace;
use crate::upstream::Upstream;

/// Why a proxy cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be read.
    #[error("cannot read the kubeconfig {0}: {1}")]
    Kubeconfig(PathBuf, #[source] kube::config::KubeconfigError),
    /// No way to the API server can be made of the config.
    #[error("cannot use the config of the API server: {0}")]
    Config(#[source] Box<kube::Error>),
    /// The address is not one of loopback: the proxy lends its credentials to whoever can reach it.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The address is not to be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A file cannot be written.
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, #[source] std::io::Error),
    /// The kubeconfig cannot be rendered.
    #[error("cannot render a kubeconfig: {0}")]
    Render(#[source] serde_yaml::Error),
}

/// How many records of each sort a trace holds at least before it forgets.
const KEPT: usize = 200_000;

/// What the parts of a proxy share.
pub(crate) struct Shared {
    pub(crate) upstream: Upstream,
    run: Mutex<Arc<Run>>,
    hook: Mutex<Option<Hook>>,
    /// Counts controllers killed by SIGKILL. Connections of an earlier life are dead: nothing that still comes
    /// by them is forwarded, so that a crash point is exact.
    pub(crate) life: AtomicU64,
    sink: Sink,
}

impl Shared {
    pub(crate) fn run(&self) -> Arc<Run> {
        Arc::clone(&locked(&self.run))
    }

    /// Has the controller killed, and waits until the hook is done.
    pub(crate) async fn kill(&self, order: KillOrder) {
        if order.signal == Signal::Kill {
            self.life.fetch_add(1, Ordering::SeqCst);
        }
        let hook = locked(&self.hook).clone();
        let Some(hook) = hook else {
            tracing::warn!(call = %order.call.key, "a kill is planned, but there is nothing to kill");
            return;
        };
        hook(order).await;
    }
}

/// A proxy between one controller and an API server. Dropping it closes all its connections.
///
/// Several may run in one process; use one per controller, since SIGKILL cuts all connections of a proxy.
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    namespace: String,
    server: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts on a free port of 127.0.0.1, without faults.
    pub async fn start(upstream: kube::Config) -> Result<Self, Error> {
        Self::start_on(upstream, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// The same, for the current context of a kubeconfig.
    pub async fn start_for(kubeconfig: &Path) -> Result<Self, Error> {
        Self::start(config(kubeconfig).await?).await
    }

    /// Starts on an address of loopback; port 0 is a free one.
    pub async fn start_on(upstream: kube::Config, listen: SocketAddr) -> Result<Self, Error> {
        if !listen.ip().is_loopback() {
            return Err(Error::NotLoopback(listen));
        }
        let namespace = upstream.default_namespace.clone();
        let upstream = Upstream::new(upstream).map_err(|error| Error::Config(Box::new(error)))?;
        let failed = |error| Error::Listen(listen, error);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let sink = Sink::default();
        let run = Mutex::new(Arc::new(Run::new(Arc::clone(&sink), KEPT)));
        let (hook, life) = Default::default();
        let shared = Arc::new(Shared { upstream, run, hook, life, sink });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, namespace, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads a client through the proxy. It holds no credentials: the proxy uses those of its own config for
    /// requests without `Authorization`, and passes on what a client brings, e.g. a token put in here.
    pub fn kubeconfig(&self) -> Kubeconfig {
        let name = || "faultproxy".to_owned();
        let server = Some(format!("http://{}", self.address));
        let cluster = Some(Cluster { server, ..Cluster::default() });
        let namespace = Some(self.namespace.clone());
        let other = Default::default;
        let user = Some(AuthInfo::default());
        let context = Context { cluster: name(), user: Some(name()), namespace, ..Context::default() };
        Kubeconfig {
            clusters: vec![NamedCluster { name: name(), cluster, other: other() }],
            contexts: vec![NamedContext { name: name(), context: Some(context), other: other() }],
            auth_infos: vec![NamedAuthInfo { name: name(), auth_info: user, other: other() }],
            current_context: Some(name()),
            kind: Some("Config".to_owned()),
            api_version: Some("v1".to_owned()),
            ..Kubeconfig::default()
        }
    }

    /// Writes that kubeconfig to a file.
    pub fn write_kubeconfig(&self, file: &Path) -> Result<(), Error> {
        let text = serde_yaml::to_string(&self.kubeconfig()).map_err(Error::Render)?;
        std::fs::write(file, text).map_err(|error| Error::Write(file.to_owned(), error))
    }

    /// The same as a kube config, for a client in this process.
    pub fn config(&self) -> Result<kube::Config, Error> {
        let uri = http::Uri::builder().scheme("http").authority(self.address.to_string()).path_and_query("/");
        let uri = uri.build().map_err(|error| Error::Config(Box::new(kube::Error::HttpError(error))))?;
        let mut config = kube::Config::new(uri);
        config.default_namespace.clone_from(&self.namespace);
        Ok(config)
    }

    /// From now on this goes wrong. Rules count from now on; the trace and the numbers in it go on.
    pub fn set_plan(&self, plan: Plan) {
        locked(&self.shared.run().engine).set_plan(plan);
    }

    /// What goes wrong.
    pub fn plan(&self) -> Plan {
        locked(&self.shared.run().engine).plan().clone()
    }

    /// Ends the run and begins another: no plan, an empty trace, numbers from 1, all gates shut. Watches are
    /// cut, what is kept back is not forwarded any more. Hook and connections stay.
    pub fn reset(&self) {
        let next = Arc::new(Run::new(Arc::clone(&self.shared.sink), KEPT));
        let last = std::mem::replace(&mut *locked(&self.shared.run), next);
        last.ended.cancel();
    }

    /// What has happened in the run.
    pub fn trace(&self) -> Trace {
        self.shared.run().trace()
    }

    /// Waits until the trace is as wanted; false if it is not so in time, or the run ends. The closure is
    /// called at every change of the trace; it should be quick, and must not call the proxy.
    pub async fn wait(&self, limit: Duration, wanted: impl FnMut(&Trace) -> bool) -> bool {
        self.shared.run().until(limit, wanted).await
    }

    /// Writes the trace to a file as well, from now on: one JSON [`Line`](crate::Line) per request that is
    /// done and per watch event.
    pub fn trace_to(&self, file: &Path) -> Result<(), Error> {
        let open = File::create(file).map_err(|error| Error::Write(file.to_owned(), error))?;
        *locked(&self.shared.sink) = Some(LineWriter::new(open));
        Ok(())
    }

    /// Lets go what waits for this gate, now and later in the run.
    pub fn open(&self, gate: &str) {
        self.shared.run().open(gate);
    }

    /// What kills the controller when a plan says so. It returns once the controller is dead, or, with
    /// SIGTERM, knows; meanwhile the request stands still.
    pub fn on_kill<F, Done>(&self, hook: F)
    where
        F: Fn(KillOrder) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        *locked(&self.shared.hook) = Some(Arc::new(move |order| Box::pin(hook(order))));
    }

    /// The controller is this process: signals go to it.
    pub fn kill_pid(&self, pid: u32) {
        *locked(&self.shared.hook) = Some(by_pid(pid));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
        self.shared.run().ended.cancel();
    }
}

/// The config of a kubeconfig's current context.
pub async fn config(kubeconfig: &Path) -> Result<kube::Config, Error> {
    let failed = |error| Error::Kubeconfig(kubeconfig.to_owned(), error);
    let read = Kubeconfig::read_from(kubeconfig).map_err(failed)?;
    kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(failed)
}
