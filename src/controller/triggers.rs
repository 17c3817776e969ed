//! What wakes a reconcile: the watch of executions, and one watch for each kind of child.
//!
//! Every watch is isolated. kube's `Controller` backs off all its triggers together when one fails, so that a
//! missing CRD would stop everything; here a watch handles its own errors (count, log, back off) and never passes
//! one on. A watch is begun anew from time to time, so that an event that got lost is made up for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, Resource,
    core::{ApiResource, Expression, Selector},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{
    cache::{Children, Executions, Kind, Placed},
    child::{Entry, Watched},
    execution::Execution,
    key::Key,
    memory::Memory,
    metrics::{Metrics, ResourceLabel},
    queue::Row,
    received::Received,
};
use crate::{
    crd::EXECUTION_UID_LABEL,
    runners::{Registry, View},
};

/// So many objects come at once while a list is read. kube's own 500 are held three times over for a moment, as they came, put
/// together and decoded: 4 MiB, of which glibc gives most back to nobody.
const PAGE: u32 = 100;
/// Up to as much again is added at random.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Is told of every event of a watch once the cache has it, and tells whether there may be something to do.
pub type Listener = Box<dyn Fn(&Event<Arc<Execution>>) -> bool + Send>;

/// The watch of executions: those with something to do come out, all are in the cache. What shows our own last write is not
/// read, but taken from the memory.
pub fn executions(
    api: kube::Api<Received>,
    config: watcher::Config,
    resync: Duration,
    metrics: Metrics,
    cache: Arc<Executions>,
    memory: Arc<Memory>,
    listener: Listener,
) -> impl Stream<Item = (Key, Row)> + Send + use<> {
    let read = move |received: Received| {
        let written = memory.as_written(received.key(), received.metadata.resource_version.as_deref());
        Some(written.unwrap_or_else(|| Arc::new(received.into())))
    };
    let events = resilient(api, config, resync, "runnerexecutions", metrics);
    events.filter_map(move |event| std::future::ready(of_each(event, &read))).filter_map(move |event| {
        cache.apply(&event);
        let is_news = listener(&event);
        std::future::ready(match event {
            Event::Apply(execution) | Event::InitApply(execution) => {
                let row = if execution.is_under_way() { Row::Begun } else { Row::New };
                is_news.then(|| (execution.key(), row))
            }
            Event::Delete(_) | Event::Init | Event::InitDone => None,
        })
    })
}

/// The watches of all kinds of children: what they show, and the executions for which [news](Memory::is_news_of_child)
/// came of their child. `recovered` hears when a kind becomes readable, for example since its CRD was installed.
pub fn children(
    client: &Client,
    scope: Option<&str>,
    resync: Duration,
    registry: &Registry,
    metrics: &Metrics,
    memory: &Arc<Memory>,
    recovered: &mpsc::Sender<()>,
) -> (Children, BoxStream<'static, Key>) {
    let mut children = Children::default();
    let mut streams: Vec<BoxStream<'static, Key>> = Vec::new();
    let mut views: BTreeMap<String, (ApiResource, BTreeSet<bool>)> = BTreeMap::new();
    for runner in registry.iter() {
        let kind = runner.child();
        views
            .entry(kind.plural.clone())
            .or_insert_with(|| (kind, BTreeSet::new()))
            .1
            .insert(runner.view() == View::Status);
    }
    for (plural, (kind, wants_status)) in views {
        let cache = children.kind(&plural);
        let watch = ChildWatch {
            client: client.clone(),
            kind,
            scope: scope.map(str::to_owned),
            resync,
            registry: registry.clone(),
            metrics: metrics.clone(),
            memory: Arc::clone(memory),
        };
        streams.push(if wants_status.contains(&true) {
            watch.stream::<false>(cache, recovered.clone()).boxed()
        } else {
            watch.stream::<true>(cache, recovered.clone()).boxed()
        });
    }
    (children, futures::stream::select_all(streams).boxed())
}

struct ChildWatch {
    client: Client,
    kind: ApiResource,
    scope: Option<String>,
    resync: Duration,
    registry: Registry,
    metrics: Metrics,
    memory: Arc<Memory>,
}

impl ChildWatch {
    fn stream<const METADATA: bool>(
        self,
        cache: Arc<Kind>,
        recovered: mpsc::Sender<()>,
    ) -> impl Stream<Item = Key> + Send {
        let Self { client, kind, scope, resync, registry, metrics, memory } = self;
        let api: kube::Api<Watched<METADATA>> = scope.map_or_else(
            || kube::Api::all_with(client.clone(), &kind),
            |ns| kube::Api::namespaced_with(client.clone(), &ns, &kind),
        );
        let marked: Selector = Expression::Exists(EXECUTION_UID_LABEL.into()).into();
        let config = watcher::Config::default().labels_from(&marked);
        let events = resilient(api, config, resync, kind.plural, metrics).inspect(move |event| {
            if matches!(event, Event::InitDone) {
                // A full channel means that everybody is being woken anyway.
                let _ = recovered.try_send(());
            }
        });
        let read = move |object| placed(&object, &registry);
        events.filter_map(move |event| std::future::ready(of_each(event, &read))).filter_map(move |event| {
            let woken = match &event {
                Event::Apply(Placed { namespace, name, entry }) => {
                    let before = cache.get(entry.execution, namespace, name);
                    memory.is_news_of_child(before.as_deref(), entry).then_some(entry.execution)
                }
                Event::InitApply(Placed { entry, .. }) | Event::Delete(Placed { entry, .. }) => {
                    Some(entry.execution)
                }
                Event::Init | Event::InitDone => None,
            };
            cache.apply(&event);
            std::future::ready(woken)
        })
    }
}

/// What is kept of an object that is watched; nothing if it is nobody's child.
fn placed<const METADATA: bool>(object: &Watched<METADATA>, registry: &Registry) -> Option<Placed> {
    let entry = Entry::from_watched(object, registry)?.into();
    let of = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    Some(Placed { namespace: of(&object.metadata.namespace), name: of(&object.metadata.name), entry })
}

/// The event with what is made of its object; none where nothing is.
fn of_each<Object, Made>(event: Event<Object>, make: impl Fn(Object) -> Option<Made>) -> Option<Event<Made>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(make(object)?),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(make(object)?),
        Event::Delete(object) => Event::Delete(make(object)?),
    })
}

/// A watch that never ends and never fails.
fn resilient<K>(
    api: kube::Api<K>,
    config: watcher::Config,
    resync: Duration,
    resource: impl Into<String>,
    metrics: Metrics,
) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let label = ResourceLabel { resource: resource.into() };
    let config = config.page_size(PAGE);
    let fresh = move || {
        watcher(api.clone(), config.clone())
            .backoff(backoff())
            .take_until(tokio::time::sleep(resync))
            // kube-runtime 5.0 begins such a watch again from the version that is gone, for ever.
            .scan(false, |gone, item| {
                let ended = std::mem::replace(gone, is_gone(&item));
                std::future::ready((!ended).then_some(item))
            })
    };
    let items = futures::stream::repeat_with(fresh).flatten();
    let mut failing = false;
    items.filter_map(move |item| {
        let event = match item {
            Ok(event) => {
                // The beginning of a list is no proof yet that it can be read.
                if !matches!(event, Event::Init) && std::mem::take(&mut failing) {
                    tracing::info!(resource = label.resource, "the watch works again");
                }
                metrics.watch_last_item.get_or_create(&label).set(Timestamp::now().as_second());
                Some(event)
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(resource = label.resource, error = %told(&error), "the watch fails; it is tried again");
                }
                metrics.watch_errors.get_or_create(&label).inc();
                None
            }
        };
        std::future::ready(event)
    })
}

/// How soon a watch that fails is tried again. kube's own waits up to a minute: after an API server that came and went
/// a few times, nothing would be seen for that long though it is well.
fn backoff() -> watcher::ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_RETRY)
        .with_max_delay(LAST_RETRY)
        .with_jitter()
        .without_max_times()
        .into()
}

/// Whether a watch cannot go on from the version it is at.
fn is_gone<K>(item: &Result<Event<K>, watcher::Error>) -> bool {
    matches!(item, Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == 410)
}

/// An error's words, without any that an object might have in it.
#[allow(clippy::wildcard_enum_match_arm, reason = "all other errors hold nothing of an object")]
fn told(error: &watcher::Error) -> String {
    let source = match error {
        watcher::Error::InitialListFailed(e)
        | watcher::Error::WatchStartFailed(e)
        | watcher::Error::WatchFailed(e) => e,
        watcher::Error::WatchError(status) => return status.message.clone(),
        watcher::Error::NoResourceVersion => return "the server gave no resourceVersion".into(),
    };
    match source {
        kube::Error::SerdeError(_) => "an object is not understood".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_watch_that_keeps_failing_is_tried_again_every_few_seconds() {
        let delays: Vec<Duration> = super::backoff().take(100).collect();
        assert!(
            delays.len() == 100 && delays.iter().all(|delay| *delay <= Duration::from_secs(4)),
            "{delays:?}"
        );
        assert!(delays.iter().skip(5).all(|delay| *delay >= Duration::from_secs(2)), "{delays:?}");
    }
}
