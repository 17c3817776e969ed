//! The controller: the lifecycle that every runner shares.
//!
//! | question | file |
//! |---|---|
//! | what happens next, and why | `decide` |
//! | how a pass goes | `reconcile` |
//! | how a step is carried out | `step` |
//! | whether it can be run at all | `admit` |
//! | where a status field is set | `status`, and `patch` for how it is sent |
//! | why something is tried again, and when | `error`, `memory`, `step/rest` |
//! | who goes first | `courtesy` |
//! | when a child is read in full | `looks` |
//! | what wakes a pass | `triggers`, `timers`, `queue`; and how often the thread, `pace` |
//! | what is kept in memory | `cache`, `packed`, `conditions`, `memory` |
//! | with whose rights a request is made | `impersonate` |
//! | how arguments get into a pod | `input` |
//! | what is done for executions of other runners | `others` |

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use kube::{
    Client,
    runtime::watcher::{self, Event},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

#[doc(hidden)]
pub mod admit;
#[doc(hidden)]
pub mod api;
#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod child;
#[doc(hidden)]
pub mod conditions;
#[doc(hidden)]
pub mod courtesy;
#[doc(hidden)]
pub mod decide;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod events;
#[doc(hidden)]
pub mod execution;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod impersonate;
mod input;
#[doc(hidden)]
pub mod key;
#[doc(hidden)]
pub mod looks;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod metrics;
mod others;
#[doc(hidden)]
pub mod pace;
#[doc(hidden)]
pub mod packed;
#[doc(hidden)]
pub mod patch;
#[doc(hidden)]
pub mod queue;
#[doc(hidden)]
pub mod received;
#[doc(hidden)]
pub mod reconcile;
mod render;
mod shape;
#[doc(hidden)]
pub mod status;
mod step;
#[doc(hidden)]
pub mod timers;
#[doc(hidden)]
pub mod triggers;
mod whole;

use self::{
    api::Api,
    courtesy::Courtesy,
    events::Events,
    key::Key,
    memory::Memory,
    metrics::Metrics,
    queue::{Queue, Row},
    reconcile::Context,
    timers::Timers,
};
use crate::runners::{DEFAULT_START_GRACE, Registry};

/// How the controller is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this namespace, instead of all.
    pub namespace: Option<String>,
    /// How many executions are worked on at the same time.
    pub concurrency: u16,
    /// Where probes and metrics are served; nowhere if absent.
    pub listen: Option<SocketAddr>,
    /// How long a child may wait for something of the cluster's before the run fails.
    pub start_grace: Duration,
    /// How often watches are begun anew, to make up for lost events.
    pub resync: Duration,
    /// What is done about executions of runners that are not served here.
    pub others: Others,
}

/// What a controller does about executions of runners that it does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Says in the status that nobody here serves it, as long as nobody else has taken it up.
    Tell,
    /// Nothing. With a single runner the others are not even watched.
    Ignore,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: None,
            concurrency: 32,
            listen: None,
            start_grace: DEFAULT_START_GRACE,
            resync: Duration::from_mins(10),
            others: Others::Tell,
        }
    }
}

/// Runs until stopped; the steps in hand are finished, none is begun.
///
/// # Errors
/// If probes and metrics cannot be served.
pub async fn run(
    client: Client,
    registry: Registry,
    options: Options,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let metrics = Metrics::default();
    let api = Api::new(client.clone());
    let (events, write_events) = Events::new(api.clone(), metrics.clone());
    let scope = options.namespace.as_deref();
    let (recovered, woken) = mpsc::channel(1);
    let memory = Arc::new(Memory::default());
    let timers = Arc::new(Timers::default());
    let (children, child_changes) =
        triggers::children(&client, scope, options.resync, &registry, &metrics, &memory, &recovered);

    let cx = Arc::new(Context {
        api,
        registry,
        executions: Arc::default(),
        children,
        memory,
        timers: Arc::clone(&timers),
        courtesy: Courtesy::default(),
        events,
        metrics: metrics.clone(),
        start_grace: options.start_grace,
        others: options.others,
        stop: stop.clone(),
    });
    let (known, ready) = watch::channel(false);
    let changes = triggers::executions(
        scope.map_or_else(|| kube::Api::all(client.clone()), |ns| kube::Api::namespaced(client.clone(), ns)),
        watched(&options, &cx.registry),
        options.resync,
        metrics.clone(),
        Arc::clone(&cx.executions),
        Arc::clone(&cx.memory),
        listener(Arc::clone(&cx), known),
    );

    tokio::spawn(write_events);

    let queue = Queue::default();
    let everything = recoveries(woken, Arc::clone(&cx));
    let wanted = stream::select_all([
        changes.boxed(),
        child_changes.map(|key| (key, Row::Begun)).boxed(),
        // A deadline, more often than not; what has not begun is tried again ever more rarely.
        timers.due().map(|key| (key, Row::Begun)).boxed(),
        everything.map(|key| (key, Row::New)).boxed(),
    ]);
    let fed = wanted.for_each(async |(key, row)| queue.add(key, row));
    let mut all_known = ready.clone();
    let worked = async {
        // By then most children are known too, of which a pass would otherwise have to ask the API server.
        tokio::select! {
            _ = all_known.wait_for(|is_ready| *is_ready) => {}
            () = stop.cancelled() => {}
        }
        let pass = async |key| {
            if let Some(execution) = cx.executions.get(key) {
                reconcile::reconcile(Arc::new(execution), &cx).await;
            }
        };
        queue.work(options.concurrency.into(), &stop, pass).await;
    };
    let served = async {
        match options.listen {
            Some(address) => http::serve(address, metrics, ready, stop.clone()).await,
            None => Ok(()),
        }
    };
    let worked = async {
        tokio::select! {
            // First, so that what a pass wrote is known before its echo is read.
            biased;
            () = worked => {}
            () = fed => {}
        }
    };
    let ((), served) = tokio::join!(worked, async {
        let served = served.await;
        // Without probes the controller would be killed at a bad moment; stop at a good one.
        if served.is_err() {
            stop.cancel();
        }
        served
    });
    served
}

/// What is done with each event of the executions' watch, beside the cache.
fn listener(cx: Arc<Context>, known: watch::Sender<bool>) -> triggers::Listener {
    Box::new(move |event| match event {
        Event::Apply(execution) => !cx.memory.is_echo(execution),
        Event::Delete(execution) => {
            cx.memory.forget(execution.key());
            cx.timers.forget(execution.key());
            true
        }
        Event::InitDone => {
            cx.memory.keep_only(|key| cx.executions.knows(key));
            if !known.send_replace(true) {
                tracing::info!("the executions are known");
            }
            true
        }
        Event::Init | Event::InitApply(_) => true,
    })
}

/// All executions, to be tried at once whatever they wait with, whenever something is told to be there again.
fn recoveries(woken: mpsc::Receiver<()>, cx: Arc<Context>) -> impl Stream<Item = Key> + Send {
    let woken = stream::unfold(woken, async |mut woken| woken.recv().await.map(|()| ((), woken)));
    woken.flat_map(move |()| {
        cx.memory.retry_all();
        stream::iter(cx.executions.keys())
    })
}

/// The executions that are watched. The API server selects by one runner, but not by one of several.
fn watched(options: &Options, registry: &Registry) -> watcher::Config {
    let mut names = registry.names();
    match (options.others, names.next(), names.next()) {
        (Others::Ignore, Some(only), None) => {
            watcher::Config::default().fields(&format!("spec.runner={only}"))
        }
        (Others::Ignore | Others::Tell, _, _) => watcher::Config::default(),
    }
}
