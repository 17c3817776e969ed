//! Every fault of a request, and its effect at both ends.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use faultproxy::{
    Action, Answer, FaultProxy, KillOrder, Nth, Plan, Point, Predicate, Rule, Signal, Until, Verb,
};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::stage::{SOON, Stage, impatient, map};

crate::tests![
    lost_reply,
    refused,
    closed_by_rst,
    answers,
    retry_after,
    hang,
    delay,
    truncated_and_slow,
    zombie,
    forgotten_zombie,
    kill_points,
    sigterm,
    dead_connections,
    gone_in_list,
    stale,
    credentials,
    trace_tells_all,
    nth_of_object,
];

fn creating(action: Action) -> Rule {
    Rule::every(Predicate::verb(Verb::Create).resource("configmaps"), action)
}

async fn lost_reply(stage: Stage) -> Result<()> {
    stage.plan(creating(Action::drop_reply()));
    assert!(matches!(stage.create("a").await, Err(Error::Service(_) | Error::HyperError(_))));
    assert!(stage.exists("a").await?);
    let record = stage.proxy.trace().requests.pop().context("no record")?;
    assert_eq!((record.forwarded, record.upstream, record.code), (true, Some(201), None));
    Ok(())
}

async fn refused(stage: Stage) -> Result<()> {
    stage.plan(creating(Action::Close { applied: false, reset: false }));
    assert!(matches!(stage.create("a").await, Err(Error::Service(_) | Error::HyperError(_))));
    assert!(!stage.exists("a").await?);
    let record = stage.proxy.trace().requests.pop().context("no record")?;
    assert_eq!((record.forwarded, record.upstream, record.code), (false, None, None));
    Ok(())
}

async fn closed_by_rst(stage: Stage) -> Result<()> {
    for reset in [true, false] {
        stage.plan(Rule::every(Predicate::any(), Action::Close { applied: false, reset }));
        let mut wire = tokio::net::TcpStream::connect(stage.proxy.address()).await?;
        wire.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let read = wire.read(&mut [0; 1]).await.map_err(|error| error.kind());
        assert_eq!(read, if reset { Err(ErrorKind::ConnectionReset) } else { Ok(0) });
    }
    Ok(())
}

async fn answers(stage: Stage) -> Result<()> {
    for code in [401, 403, 409, 410, 429, 500, 503, 504] {
        for applied in [false, true] {
            let name = format!("a{code}-{applied}");
            stage.plan(creating(Action::Answer(Answer { code, applied, ..Answer::default() })));
            let Err(Error::Api(status)) = stage.create(&name).await else { bail!("no error for {code}") };
            assert_eq!(status.code, code);
            assert!(!status.reason.is_empty() && status.reason != "Unknown", "{status:?}");
            assert_eq!(stage.exists(&name).await?, applied, "{code}");
        }
    }
    let html = Answer {
        code: 200,
        body: Some("<html>".into()),
        content_type: Some("text/html".into()),
        ..Answer::default()
    };
    stage.plan(creating(Action::Answer(html)));
    assert!(matches!(stage.create("a").await, Err(Error::SerdeError(_))));
    Ok(())
}

/// A stock kube client heeds the header, and gets through.
async fn retry_after(stage: Stage) -> Result<()> {
    let busy = Answer { code: 429, retry_after: Some("1".into()), ..Answer::default() };
    stage.plan(Rule { nth: Nth::Range { from: 1, count: 2 }, ..creating(Action::Answer(busy)) });
    let patient = Client::try_from(stage.proxy.config()?)?;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(patient, &stage.namespace);
    let began = Instant::now();
    maps.create(&PostParams::default(), &map("a", "")).await?;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    let codes: Vec<_> = stage.proxy.trace().requests.iter().map(|record| record.code).collect();
    assert_eq!(codes, [Some(429), Some(429), Some(201)]);
    Ok(())
}

async fn hang(stage: Stage) -> Result<()> {
    for applied in [false, true] {
        let name = format!("a-{applied}");
        stage.plan(creating(Action::Hang { applied }));
        assert!(timeout(Duration::from_millis(300), stage.create(&name)).await.is_err());
        assert_eq!(stage.exists(&name).await?, applied);
    }
    // The records are closed once the client has gone.
    let closed = |trace: &faultproxy::Trace| trace.requests.iter().all(|record| record.took_us.is_some());
    assert!(stage.proxy.wait(SOON, closed).await);
    Ok(())
}

async fn delay(stage: Stage) -> Result<()> {
    let until = Until::Ms(300);
    for point in [Point::BeforeApply, Point::AfterApply] {
        stage.plan(creating(Action::Delay { until: until.clone(), point }));
        let began = Instant::now();
        stage.create(&format!("a{}", point as u8)).await?;
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
    // The client gives up; the request goes through all the same.
    stage.plan(creating(Action::Delay { until: Until::Gate("go".into()), point: Point::BeforeApply }));
    assert!(timeout(Duration::from_millis(200), stage.create("late")).await.is_err());
    assert!(!stage.exists("late").await?);
    stage.proxy.open("go");
    let applied =
        |trace: &faultproxy::Trace| trace.requests.last().is_some_and(|last| last.upstream == Some(201));
    assert!(stage.proxy.wait(SOON, applied).await);
    assert!(stage.exists("late").await?);
    Ok(())
}

async fn truncated_and_slow(stage: Stage) -> Result<()> {
    stage.create("a").await?;
    let getting = |action| Rule::every(Predicate::verb(Verb::Get), action);
    stage.plan(getting(Action::Truncate { bytes: 20, clean: true }));
    assert!(matches!(stage.maps().get("a").await, Err(Error::SerdeError(_))));
    stage.plan(getting(Action::Truncate { bytes: 20, clean: false }));
    assert!(matches!(stage.maps().get("a").await, Err(Error::HyperError(_) | Error::Service(_))));
    let request = http::Request::get(format!("/api/v1/namespaces/{}/configmaps/a", stage.namespace));
    let response = stage.client.send(request.body(kube::client::Body::empty())?).await?;
    assert_eq!(response.status(), 200);
    stage.plan(getting(Action::Slow { bytes: 50, every_ms: 20 }));
    let began = Instant::now();
    stage.maps().get("a").await?;
    assert!(began.elapsed() > Duration::from_millis(60), "{:?}", began.elapsed());
    Ok(())
}

/// A create that comes to life after its object was deleted.
async fn zombie(stage: Stage) -> Result<()> {
    let action = Action::Zombie { until: Until::Gate("rise".into()) };
    stage.plan(Rule { nth: Nth::At(1), ..creating(action) });
    assert!(stage.create("a").await.is_err());
    assert!(!stage.exists("a").await?);
    let second = stage.create("a").await?;
    stage.maps().delete("a", &DeleteParams::default()).await?;
    assert!(!stage.exists("a").await?);
    stage.proxy.open("rise");
    let risen = |trace: &faultproxy::Trace| trace.requests[0].upstream == Some(201);
    assert!(stage.proxy.wait(SOON, risen).await);
    assert_ne!(stage.real().get("a").await?.metadata.uid, second.metadata.uid);
    assert_eq!(stage.proxy.trace().requests[0].code, None);
    Ok(())
}

async fn forgotten_zombie(stage: Stage) -> Result<()> {
    stage.plan(creating(Action::Zombie { until: Until::Ms(300) }));
    assert!(stage.create("a").await.is_err());
    stage.proxy.reset();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!stage.exists("a").await?);
    assert!(stage.proxy.trace().requests.is_empty());
    Ok(())
}

/// What is there at the moment of the kill, and what the client hears.
async fn kill_points(stage: Stage) -> Result<()> {
    let seen: Arc<Mutex<Vec<(KillOrder, bool)>>> = Arc::default();
    let (list, real) = (Arc::clone(&seen), stage.real());
    stage.proxy.on_kill(move |order| {
        let (list, real) = (Arc::clone(&list), real.clone());
        async move {
            let exists = real.get_opt(&order.call.key.name).await.unwrap().is_some();
            list.lock().unwrap().push((order, exists));
        }
    });
    for (name, point, applied, replied) in [
        ("a", Point::BeforeApply, false, false),
        ("b", Point::AfterApply, true, false),
        ("c", Point::AfterReply, true, true),
    ] {
        stage.plan(creating(Action::kill(point)));
        assert_eq!(stage.create(name).await.is_ok(), replied, "{name}");
        let deadline = Instant::now() + SOON;
        while seen.lock().unwrap().last().is_none_or(|last| last.0.call.key.name != name) {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(seen.lock().unwrap().last().map(|last| last.1), Some(applied), "{name}");
        assert_eq!(stage.exists(name).await?, applied);
    }
    assert_eq!(seen.lock().unwrap().len(), 3);
    Ok(())
}

/// What a killed controller still sends by a connection that it had is not forwarded; a new one works.
async fn dead_connections(stage: Stage) -> Result<()> {
    stage.proxy.on_kill(|_| std::future::ready(()));
    let mut old = tokio::net::TcpStream::connect(stage.proxy.address()).await?;
    let request = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
    old.write_all(request).await?;
    assert_ne!(old.read(&mut [0; 4096]).await?, 0);
    stage.plan(creating(Action::kill(Point::BeforeApply)));
    assert!(stage.create("a").await.is_err());
    let before = stage.proxy.trace().requests.len();
    old.write_all(request).await?;
    assert_eq!(old.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(stage.proxy.trace().requests.len(), before);
    stage.proxy.set_plan(Plan::none());
    stage.create("a").await?;
    Ok(())
}

/// The continue token of a list in pages has expired.
async fn gone_in_list(stage: Stage) -> Result<()> {
    stage.create("a").await?;
    stage.plan(Rule::nth(Predicate::verb(Verb::List), 2, Action::answer(410)));
    let page = stage.maps().list(&ListParams::default().limit(1)).await?;
    let token = page.metadata.continue_.context("no second page")?;
    let Err(Error::Api(status)) =
        stage.maps().list(&ListParams::default().limit(1).continue_token(&token)).await
    else {
        bail!("no error")
    };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    Ok(())
}

/// After SIGTERM, requests go on.
async fn sigterm(stage: Stage) -> Result<()> {
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    stage.proxy.on_kill(move |order| {
        assert_eq!(order.signal, Signal::Term);
        *counted.lock().unwrap() += 1;
        std::future::ready(())
    });
    for point in [Point::BeforeApply, Point::AfterApply, Point::AfterReply] {
        stage.plan(creating(Action::Kill { signal: Signal::Term, point }));
        stage.create(&format!("a{}", point as u8)).await?;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(*count.lock().unwrap(), 3);
    Ok(())
}

async fn stale(stage: Stage) -> Result<()> {
    let reads = Predicate { verbs: vec![Verb::Get, Verb::List], ..Predicate::any() };
    let third = Rule { per_object: true, ..Rule::nth(reads, 3, Action::Stale { back: 2 }) };
    stage.plan(third);
    let mut seen = Vec::new();
    for value in ["1", "2", "3", "4"] {
        let params = PatchParams::apply("test").force();
        stage.real().patch("a", &params, &Patch::Apply(map("a", value))).await?;
        let got = stage.maps().get("a").await?.data.context("no data")?["value"].clone();
        let list = stage.maps().list(&ListParams::default().labels("!x").fields("metadata.name=a")).await?;
        seen.push((got, list.items[0].data.clone().context("no data")?["value"].clone()));
    }
    let expected = ["1", "2", "1", "4"].map(|value| (value.to_owned(), value.to_owned()));
    assert_eq!(seen, expected);
    Ok(())
}

/// A client's own token counts; without one, the proxy's.
async fn credentials(stage: Stage) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.direct.clone(), &stage.namespace);
    let account = ServiceAccount {
        metadata: kube::api::ObjectMeta { name: Some("nobody".into()), ..Default::default() },
        ..ServiceAccount::default()
    };
    accounts.create(&PostParams::default(), &account).await?;
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let token = accounts.create_token_request("nobody", &PostParams::default(), &request).await?;
    let mut config = impatient(&stage.proxy)?;
    config.auth_info.token = Some(token.status.context("no token")?.token.into());
    let nobody: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(Client::try_from(config)?, &stage.namespace);
    let Err(Error::Api(status)) = nobody.get("a").await else { bail!("it may read") };
    let user = format!("system:serviceaccount:{}:nobody", stage.namespace);
    assert!(status.code == 403 && status.message.contains(&user), "{status:?}");

    let mut config = impatient(&stage.proxy)?;
    config.auth_info.impersonate = Some(user.clone());
    let somebody: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(Client::try_from(config)?, &stage.namespace);
    let Err(Error::Api(status)) = somebody.get("a").await else { bail!("it may read") };
    assert!(status.code == 403 && status.message.contains(&user), "{status:?}");
    assert_eq!(stage.proxy.trace().requests[1].call.impersonate, user);
    stage.create("a").await?;
    Ok(())
}

async fn trace_tells_all(stage: Stage) -> Result<()> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    stage.maps().create(&dry, &map("a", "")).await?;
    stage.create("a").await?;
    let patch = json!({"data": {"value": "x"}});
    for _ in 0..2 {
        stage.maps().patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    }
    assert!(stage.maps().get("b").await.is_err());
    stage.maps().list(&ListParams::default()).await?;
    let trace = stage.proxy.trace();
    let told: Vec<_> = trace
        .requests
        .iter()
        .map(|record| (record.seq, record.call.key.to_string(), record.nth, record.code.unwrap_or(0)))
        .collect();
    let n = &stage.namespace;
    let expected = [
        (1, format!("create configmaps {n}/a (dry run)"), 1, 201),
        (2, format!("create configmaps {n}/a"), 1, 201),
        (3, format!("patch configmaps {n}/a"), 1, 200),
        (4, format!("patch configmaps {n}/a"), 2, 200),
        (5, format!("get configmaps {n}/b"), 1, 404),
        (6, format!("list configmaps {n}"), 1, 200),
    ];
    assert_eq!(told, expected);
    let [dry, created, first, second, get, _] = trace.requests.as_slice() else { bail!("not six") };
    assert_eq!((&first.body, first.body.len(), &dry.body), (&second.body, 16, &created.body));
    assert_ne!(created.body, first.body);
    assert_eq!(get.body, "");
    let again: faultproxy::Trace = serde_json::from_str(&serde_json::to_string(&trace)?)?;
    assert_eq!(trace, again);
    Ok(())
}

/// A rule made of a record acts on the same step again, whatever else is asked between.
async fn nth_of_object(stage: Stage) -> Result<()> {
    async fn run(stage: &Stage, others: usize) -> Result<Vec<bool>> {
        let mut failed = Vec::new();
        drop(stage.create("a").await);
        for _ in 0..3 {
            for _ in 0..others {
                stage.maps().list(&ListParams::default()).await?;
            }
            let patch = Patch::Merge(json!({"data": {"value": "x"}}));
            failed.push(stage.maps().patch("a", &PatchParams::default(), &patch).await.is_err());
        }
        Ok(failed)
    }
    assert_eq!(run(&stage, 0).await?, [false, false, false]);
    let patches = Predicate::verb(Verb::Patch);
    let rule = stage.proxy.trace().matching(&patches).nth(1).context("no patch")?.rule(Action::answer(500));
    stage.proxy.reset();
    stage.proxy.set_plan(Plan::none().with(rule));
    assert_eq!(run(&stage, 3).await?, [false, true, false]);
    let public: std::net::SocketAddr = "0.0.0.0:0".parse()?;
    assert!(FaultProxy::start_on(stage.proxy.config()?, public).await.is_err());
    Ok(())
}
