//! Every fault of a watch, as a client sees it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use faultproxy::{
    Action, Choice, EventAction, EventPredicate, EventRule, Plan, Point, Predicate, Random, Rule, Until, Verb,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use tokio::time::timeout;

use crate::stage::{SOON, Stage, map};

crate::tests![
    passes_at_once,
    drop_event,
    hold_event,
    duplicate_event,
    replay_event,
    gone_in_stream,
    gone_at_start,
    stream_error,
    cut_at_event,
    cut_in_time,
    bookmark_withheld,
    kill_at_event,
    truncated_stream,
    trace_tells_events,
    random_events,
];

type Events = BoxStream<'static, kube::Result<WatchEvent<ConfigMap>>>;

/// Watches the test's objects through the proxy, from now on.
async fn watch(stage: &Stage) -> Result<Events> {
    let params = ListParams::default().fields("metadata.name!=kube-root-ca.crt");
    let from = stage.real().list(&params).await?.metadata.resource_version.context("no version")?;
    let params = WatchParams::default().fields("metadata.name!=kube-root-ca.crt");
    Ok(stage.maps().watch(&params, &from).await?.boxed())
}

/// Writes a value to an object past the proxy, and tells its resourceVersion.
async fn write(stage: &Stage, name: &str, value: &str) -> Result<String> {
    let params = PatchParams::apply("test").force();
    let written = stage.real().patch(name, &params, &Patch::Apply(map(name, value))).await?;
    written.resource_version().context("no version")
}

/// The next event, e.g. `ADDED a 1`; `END` at the end, however it came, `410` for an ERROR.
async fn next(events: &mut Events) -> Result<String> {
    let tell = |sort: &str, map: &ConfigMap| {
        let value = map.data.as_ref().and_then(|data| data.get("value"));
        format!("{sort} {} {}", map.name_any(), value.map_or("", String::as_str))
    };
    Ok(match timeout(SOON, events.next()).await? {
        None => "END".into(),
        Some(Err(error)) => bail!(error),
        Some(Ok(WatchEvent::Added(map))) => tell("ADDED", &map),
        Some(Ok(WatchEvent::Modified(map))) => tell("MODIFIED", &map),
        Some(Ok(WatchEvent::Deleted(map))) => tell("DELETED", &map),
        Some(Ok(WatchEvent::Bookmark(_))) => "BOOKMARK".into(),
        Some(Ok(WatchEvent::Error(status))) => status.code.to_string(),
    })
}

fn set(stage: &Stage, name: &str, nth: u32, action: EventAction) {
    let rule = EventRule::nth(EventPredicate::of("configmaps").name(name), nth, action);
    stage.proxy.set_plan(Plan::none().with_event(rule));
}

async fn passes_at_once(stage: Stage) -> Result<()> {
    let mut events = watch(&stage).await?;
    for value in 0..20 {
        write(&stage, "a", &value.to_string()).await?;
        let began = Instant::now();
        let expected = format!("{} a {value}", if value == 0 { "ADDED" } else { "MODIFIED" });
        assert_eq!(next(&mut events).await?, expected);
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    }
    Ok(())
}

async fn drop_event(stage: Stage) -> Result<()> {
    set(&stage, "b", 1, EventAction::Drop);
    let mut events = watch(&stage).await?;
    for name in ["a", "b", "c"] {
        write(&stage, name, "1").await?;
    }
    assert_eq!([next(&mut events).await?, next(&mut events).await?], ["ADDED a 1", "ADDED c 1"]);
    Ok(())
}

async fn hold_event(stage: Stage) -> Result<()> {
    set(&stage, "b", 1, EventAction::Hold { until: Until::Gate("go".into()) });
    let mut events = watch(&stage).await?;
    for name in ["a", "b", "c"] {
        write(&stage, name, "1").await?;
    }
    assert_eq!(next(&mut events).await?, "ADDED a 1");
    assert!(timeout(Duration::from_millis(300), events.next()).await.is_err());
    stage.proxy.open("go");
    assert_eq!([next(&mut events).await?, next(&mut events).await?], ["ADDED b 1", "ADDED c 1"]);
    set(&stage, "a", 1, EventAction::Hold { until: Until::Ms(300) });
    let began = Instant::now();
    write(&stage, "a", "2").await?;
    assert_eq!(next(&mut events).await?, "MODIFIED a 2");
    assert!(began.elapsed() >= Duration::from_millis(300));
    Ok(())
}

async fn duplicate_event(stage: Stage) -> Result<()> {
    set(&stage, "a", 1, EventAction::Duplicate { times: 2 });
    let mut events = watch(&stage).await?;
    write(&stage, "a", "1").await?;
    write(&stage, "b", "1").await?;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(next(&mut events).await?);
    }
    assert_eq!(seen, ["ADDED a 1", "ADDED a 1", "ADDED a 1", "ADDED b 1"]);
    Ok(())
}

async fn replay_event(stage: Stage) -> Result<()> {
    set(&stage, "a", 3, EventAction::Replay { back: 2, instead: false });
    let mut events = watch(&stage).await?;
    for value in ["1", "2", "3"] {
        write(&stage, "a", value).await?;
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(next(&mut events).await?);
    }
    assert_eq!(seen, ["ADDED a 1", "MODIFIED a 2", "MODIFIED a 3", "ADDED a 1"]);
    set(&stage, "a", 1, EventAction::Replay { back: 1, instead: true });
    write(&stage, "a", "4").await?;
    assert_eq!(next(&mut events).await?, "MODIFIED a 3");
    Ok(())
}

/// What a kube-rs watcher tells until it has seen an object, errors included.
async fn watched(stage: &Stage, name: &str) -> Result<Vec<String>> {
    let config = watcher::Config::default().fields("metadata.name!=kube-root-ca.crt");
    let mut events = watcher(stage.maps(), config).boxed();
    let mut seen = Vec::new();
    loop {
        let told = match timeout(SOON, events.next()).await?.context("the watcher ended")? {
            Err(watcher::Error::WatchError(status)) => format!("error {}", status.code),
            Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) => {
                format!("start {}", status.code)
            }
            Err(error) => bail!("{error}"),
            Ok(Event::Init) => "list".into(),
            Ok(Event::InitDone) => {
                if seen.iter().filter(|told| *told == "list").count() == 1 {
                    write(stage, name, "1").await?;
                }
                "listed".into()
            }
            Ok(Event::InitApply(map) | Event::Apply(map)) => map.name_any(),
            Ok(Event::Delete(map)) => format!("deleted {}", map.name_any()),
        };
        seen.push(told);
        if seen.last().is_some_and(|last| last == name) {
            return Ok(seen);
        }
    }
}

async fn gone_in_stream(stage: Stage) -> Result<()> {
    set(&stage, "a", 1, EventAction::Error { code: 410 });
    assert_eq!(watched(&stage, "a").await?, ["list", "listed", "error 410", "list", "a"]);
    Ok(())
}

async fn gone_at_start(stage: Stage) -> Result<()> {
    stage.plan(Rule::nth(Predicate::verb(Verb::Watch), 1, Action::answer(410)));
    // Such a watcher does not list again, but tries the same watch once more.
    assert_eq!(watched(&stage, "a").await?, ["list", "listed", "start 410", "a"]);
    Ok(())
}

async fn stream_error(stage: Stage) -> Result<()> {
    stage.plan(Rule::nth(Predicate::verb(Verb::Watch), 1, Action::StreamError { code: 410 }));
    let mut events = watch(&stage).await?;
    assert_eq!([next(&mut events).await?, next(&mut events).await?], ["410", "END"]);
    assert!(!stage.proxy.trace().requests[0].forwarded);
    Ok(())
}

async fn random_events(stage: Stage) -> Result<()> {
    let menu = vec![Choice { weight: 1, action: EventAction::Duplicate { times: 1 } }];
    let mut random = Random::new(1, 0.0, 0);
    (random.event_probability, random.event_menu) = (0.5, menu);
    stage.proxy.set_plan(Plan { random: Some(random), ..Plan::none() });
    let mut events = watch(&stage).await?;
    for value in 1..=60 {
        write(&stage, "a", &value.to_string()).await?;
    }
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "MODIFIED a 60") {
        seen.push(next(&mut events).await?);
    }
    let doubled = stage.proxy.trace().events.iter().filter(|event| event.fault.is_some()).count();
    assert!(
        (10..=50).contains(&doubled) && (seen.len() == 60 + doubled || seen.len() == 59 + doubled),
        "{doubled}"
    );
    Ok(())
}

/// How many events a watch of an object brings until it ends, and whether it ends as the API server ends one.
/// kube's own client hides the difference.
async fn raw_watch(stage: &Stage, name: &str) -> Result<impl Future<Output = (usize, bool)> + use<>> {
    let from =
        stage.real().list(&ListParams::default()).await?.metadata.resource_version.context("no version")?;
    let path = format!("/api/v1/namespaces/{}/configmaps", stage.namespace);
    let query = format!("watch=true&fieldSelector=metadata.name%3D{name}&resourceVersion={from}");
    let request = http::Request::get(format!("{path}?{query}")).body(kube::client::Body::empty())?;
    let mut body = stage.client.send(request).await?.into_body();
    Ok(async move {
        let mut seen = 0;
        loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    seen += frame.into_data().map_or(0, |data| data.split(|byte| *byte == b'\n').count() - 1);
                }
                Some(Err(_)) => return (seen, false),
                None => return (seen, true),
            }
        }
    })
}

async fn cut_at_event(stage: Stage) -> Result<()> {
    for (name, clean) in [("a", true), ("b", false)] {
        set(&stage, name, 2, EventAction::Cut { clean });
        let raw = raw_watch(&stage, name).await?;
        write(&stage, name, "1").await?;
        write(&stage, name, "2").await?;
        assert_eq!(timeout(SOON, raw).await?, (1, clean));
    }
    Ok(())
}

async fn cut_in_time(stage: Stage) -> Result<()> {
    for clean in [true, false] {
        stage.plan(Rule::every(Predicate::verb(Verb::Watch), Action::CutStream { after_ms: 200, clean }));
        let began = Instant::now();
        let raw = raw_watch(&stage, "a").await?;
        assert_eq!(timeout(SOON, raw).await?, (0, clean));
        assert!((190..2000).contains(&began.elapsed().as_millis()));
    }
    Ok(())
}

/// The bookmark that ends the initial events of a streaming list.
async fn bookmark_withheld(stage: Stage) -> Result<()> {
    let params = WatchParams::default().initial_events().fields("metadata.name=a");
    let mut events: Events = stage.maps().watch(&params, "").await?.boxed();
    assert_eq!(next(&mut events).await?, "BOOKMARK");
    let bookmarks = EventPredicate::of("configmaps").event("BOOKMARK");
    stage.proxy.set_plan(Plan::none().with_event(EventRule::every(bookmarks, EventAction::Drop)));
    let mut events: Events = stage.maps().watch(&params, "").await?.boxed();
    write(&stage, "a", "1").await?;
    assert_eq!(next(&mut events).await?, "ADDED a 1");
    Ok(())
}

async fn kill_at_event(stage: Stage) -> Result<()> {
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    stage.proxy.on_kill(move |order| {
        sender.send(order).unwrap();
        std::future::ready(())
    });
    for (name, delivered, seen) in [("a", true, "ADDED a 1"), ("b", false, "END")] {
        set(&stage, name, 1, EventAction::Kill { signal: faultproxy::Signal::Kill, delivered });
        let mut events = watch(&stage).await?;
        write(&stage, name, "1").await?;
        assert_eq!(next(&mut events).await?, seen);
        let order = timeout(SOON, orders.recv()).await?.context("no order")?;
        assert_eq!(order.call.key.verb, Verb::Watch);
    }
    Ok(())
}

async fn truncated_stream(stage: Stage) -> Result<()> {
    stage.plan(Rule::every(Predicate::verb(Verb::Watch), Action::Truncate { bytes: 100, clean: false }));
    let mut events = watch(&stage).await?;
    write(&stage, "a", "1").await?;
    assert_eq!(next(&mut events).await?, "END");
    // A watch that is held back after it was begun still gives all its events.
    let until = Until::Ms(200);
    stage.plan(Rule::every(Predicate::verb(Verb::Watch), Action::Delay { until, point: Point::AfterApply }));
    let mut events = watch(&stage).await?;
    write(&stage, "a", "2").await?;
    assert_eq!(next(&mut events).await?, "MODIFIED a 2");
    Ok(())
}

async fn trace_tells_events(stage: Stage) -> Result<()> {
    let events = watch(&stage).await?;
    let versions = [write(&stage, "a", "1").await?, write(&stage, "a", "2").await?];
    stage.real().patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"value": "3"}}))).await?;
    let _: Vec<_> = events.take(3).try_collect().await?;
    let trace = stage.proxy.trace();
    let told: Vec<_> = trace
        .events
        .iter()
        .map(|event| (event.watch, event.n, event.nth, event.event.as_str(), event.name.as_str()))
        .collect();
    assert_eq!(told, [(1, 1, 1, "ADDED", "a"), (1, 2, 1, "MODIFIED", "a"), (1, 3, 2, "MODIFIED", "a")]);
    assert_eq!(
        [&trace.events[0].resource_version, &trace.events[1].resource_version],
        [&versions[0], &versions[1]]
    );
    assert!(trace.events.iter().all(|event| event.kind == "ConfigMap" && event.namespace == stage.namespace));

    // A rule made of the second event acts on the same event of another run.
    let rule = trace.events[1].rule(&trace.requests[0].call, EventAction::Drop);
    stage.proxy.reset();
    stage.proxy.set_plan(Plan::none().with_event(rule));
    stage.real().delete("a", &kube::api::DeleteParams::default()).await?;
    let mut events = watch(&stage).await?;
    for value in ["1", "2", "3"] {
        write(&stage, "a", value).await?;
    }
    assert_eq!([next(&mut events).await?, next(&mut events).await?], ["ADDED a 1", "MODIFIED a 3"]);
    Ok(())
}
