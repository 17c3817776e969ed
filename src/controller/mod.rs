//! The controller: the lifecycle that every runner shares.
//!
//! | question | file |
//! |---|---|
//! | what happens next, and why | `decide` |
//! | how a pass goes | `reconcile` |
//! | how a step is carried out | `step` |
//! | whether it can be run at all | `admit` |
//! | where a status field is set | `status` |
//! | why something is tried again, and when | `error`, `memory`, `step/rest` |
//! | who goes first | `courtesy` |
//! | when a child is read in full | `looks` |
//! | what wakes a pass | `triggers`, `timers` |
//! | with whose rights a request is made | `impersonate` |
//! | how arguments get into a pod | `input` |
//! | what is done for executions of other runners | `others` |

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Client,
    runtime::{
        Controller,
        controller::{self, Config},
        reflector::store::Writer,
        watcher,
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[doc(hidden)]
pub mod admit;
#[doc(hidden)]
pub mod api;
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
pub mod looks;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod metrics;
mod others;
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

use self::{
    api::Api,
    courtesy::Courtesy,
    error::Error,
    events::Events,
    execution::Execution,
    memory::Memory,
    metrics::Metrics,
    reconcile::{Context, error_policy},
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

    let writer = Writer::<Execution>::new(());
    let store = writer.as_reader();
    let cx = Arc::new(Context {
        api,
        registry,
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
    let ready = Arc::new(AtomicBool::new(false));
    let listener = {
        let (cx, ready, store, relisted) =
            (Arc::clone(&cx), Arc::clone(&ready), store.clone(), recovered.clone());
        move |event: &watcher::Event<Execution>| match event {
            watcher::Event::Apply(execution) => !cx.memory.is_echo(execution),
            watcher::Event::Delete(execution) => {
                cx.memory.forget(execution.uid());
                cx.timers.forget(execution.uid());
                true
            }
            // Not by Store::wait_until_ready, which wakes only one of several waiters: the Controller is one.
            watcher::Event::InitDone => {
                let known = store.state();
                cx.memory.keep_only(&known.iter().map(|execution| execution.uid()).collect());
                if ready.swap(true, Ordering::Relaxed) {
                    // The passes of the first pages of a list saw the store as it was before the list.
                    let _ = relisted.try_send(());
                } else {
                    tracing::info!("the executions are known");
                }
                true
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => true,
        }
    };
    let executions = triggers::executions(
        &client,
        options.namespace.clone(),
        watched(&options, &cx.registry),
        options.resync,
        metrics.clone(),
        writer,
        Box::new(listener),
    );

    let waiting = Arc::clone(&cx);
    let woken =
        futures::stream::unfold(woken, |mut woken| async move { woken.recv().await.map(|()| ((), woken)) })
            .inspect(move |()| waiting.memory.retry_all());
    let controller = Controller::for_stream(executions, store.clone())
        .with_config(Config::default().concurrency(options.concurrency))
        .reconcile_on(child_changes)
        .reconcile_on(timers.due())
        .reconcile_all_on(woken)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile::reconcile, error_policy, cx)
        .for_each(|result| {
            log(&result);
            std::future::ready(())
        });

    let served = async {
        match options.listen {
            Some(address) => http::serve(address, metrics, ready, stop.clone()).await,
            None => Ok(()),
        }
    };
    tokio::spawn(write_events);
    let ((), served) = tokio::join!(controller, async {
        let served = served.await;
        // Without probes the controller would be killed at a bad moment; stop at a good one.
        if served.is_err() {
            stop.cancel();
        }
        served
    });
    served
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

/// Errors of reconciles are logged by [`error_policy`]; what is left is the queue's.
fn log<K>(result: &Result<K, controller::Error<Error, kube::runtime::watcher::Error>>) {
    match result {
        Ok(_) | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!(%error, "the controller's queue failed"),
    }
}
