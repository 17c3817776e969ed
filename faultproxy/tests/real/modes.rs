//! The proxy as a whole: crash matrix, random faults, speed, the command.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use faultproxy::{
    Action, Answer, FaultProxy, Key, Line, Plan, Point, Predicate, Random, RequestRecord, Rule,
};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchParams};
use kube::{Client, Error};
use tokio::task::spawn_blocking;

use crate::controller;
use crate::stage::{SOON, Stage, impatient, map};

crate::tests![crash_matrix, random_is_bounded, fast, many_watches, command];

/// A real process killed at each of its requests, at each of three points, and started again.
async fn crash_matrix(stage: Stage) -> Result<()> {
    let steps = learn(&stage).await?;
    assert_eq!(steps.len(), 4);
    for step in &steps {
        for point in [Point::BeforeApply, Point::AfterApply, Point::AfterReply] {
            clean(&stage).await?;
            stage.proxy.reset();
            stage.proxy.set_plan(Plan::none().with(step.rule(Action::kill(point))));
            let status = run(&stage).await?;
            let key = &step.call.key;
            // The last reply may reach the controller in time to end well.
            let killed = status.signal() == Some(9);
            ensure!(killed || point == Point::AfterReply && status.success(), "{key} {point:?}: {status}");
            ensure!(stage.proxy.trace().faults() == 1, "{key} {point:?}");
            ensure!(run(&stage).await?.success(), "{key} {point:?}");
            controller::check(&stage.real()).await.with_context(|| format!("{key} {point:?}"))?;
        }
    }
    Ok(())
}

async fn learn(stage: &Stage) -> Result<Vec<RequestRecord>> {
    ensure!(run(stage).await?.success());
    controller::check(&stage.real()).await?;
    Ok(stage.proxy.trace().requests)
}

async fn run(stage: &Stage) -> Result<ExitStatus> {
    let kubeconfig = std::env::temp_dir().join(&stage.namespace);
    stage.proxy.write_kubeconfig(&kubeconfig)?;
    let mut child = controller::command(&kubeconfig, &stage.namespace)?.spawn()?;
    stage.proxy.kill_pid(child.id());
    let status = spawn_blocking(move || child.wait()).await??;
    std::fs::remove_file(kubeconfig)?;
    Ok(status)
}

async fn clean(stage: &Stage) -> Result<()> {
    let ours = ListParams::default().fields("metadata.name!=kube-root-ca.crt");
    stage.real().delete_collection(&DeleteParams::default(), &ours).await?;
    Ok(())
}

/// A controller that simply tries again gets through, and no key ever has more faults in a row than allowed.
async fn random_is_bounded(stage: Stage) -> Result<()> {
    const MOST: u32 = 3;
    let random = Random::new(42, 0.5, MOST);
    stage.proxy.set_plan(Plan { random: Some(random), ..Plan::none() });
    let tasks = stream::iter(0..40).map(|number| insist(&stage, format!("a{number}")));
    tasks.buffer_unordered(8).try_collect::<Vec<()>>().await?;
    let trace = stage.proxy.trace();
    let mut in_a_row: HashMap<&Key, u32> = HashMap::new();
    for record in &trace.requests {
        let count = in_a_row.entry(&record.call.key).or_default();
        *count = if record.fault.is_some() { *count + 1 } else { 0 };
        ensure!(*count <= MOST, "{record:?}");
    }
    let share = trace.faults() * 100 / trace.requests.len();
    ensure!((35..65).contains(&share), "{share} %");
    Ok(())
}

async fn insist(stage: &Stage, name: String) -> Result<()> {
    loop {
        match stage.create(&name).await {
            Ok(_) => break,
            Err(Error::Api(status)) if status.code == 409 => break,
            Err(_) => {}
        }
    }
    while stage.maps().get(&name).await.is_err() {}
    ensure!(stage.exists(&name).await?);
    Ok(())
}

/// Requests per second of 32 at once, in a debug build.
async fn fast(stage: Stage) -> Result<()> {
    stage.create("a").await?;
    let through = rate(&stage.maps(), 2000).await?;
    let direct = rate(&stage.real(), 2000).await?;
    // What the proxies themselves can do: two in a row, the second of which answers everything.
    let end = FaultProxy::start(stage.proxy.config()?).await?;
    let body = Some(serde_json::to_string(&map("a", ""))?);
    let answer = Action::Answer(Answer { code: 200, body, ..Answer::default() });
    end.set_plan(Plan::none().with(Rule::every(Predicate::any(), answer)));
    let start = FaultProxy::start(end.config()?).await?;
    let maps = Api::default_namespaced(Client::try_from(impatient(&start)?)?);
    let alone = rate(&maps, 5000).await?;
    eprintln!(
        "requests per second: {through:.0} through the proxy, {direct:.0} directly; \
         {alone:.0} through two proxies without an API server"
    );
    // Not a figure, since others may use the machine.
    ensure!(through > direct / 5.0);
    Ok(())
}

async fn rate(maps: &Api<ConfigMap>, count: u32) -> Result<f64> {
    let began = Instant::now();
    let gets = stream::iter(0..count).map(|_| maps.get("a"));
    gets.buffer_unordered(32).try_for_each(|_| std::future::ready(Ok(()))).await?;
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

async fn many_watches(stage: Stage) -> Result<()> {
    let params = WatchParams::default().fields("metadata.name=a");
    let version = stage.real().list(&ListParams::default()).await?.metadata.resource_version.unwrap();
    let mut watches = Vec::new();
    for _ in 0..100 {
        watches.push(stage.maps().watch(&params, &version).await?.boxed());
    }
    stage.create("a").await?;
    let began = Instant::now();
    for watch in &mut watches {
        tokio::time::timeout(SOON, watch.next()).await?.context("ended")??;
    }
    ensure!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    ensure!(stage.proxy.trace().events.len() == 100);
    Ok(())
}

/// The command, with a plan and a trace in files.
async fn command(stage: Stage) -> Result<()> {
    let dir = std::env::temp_dir().join(&stage.namespace);
    std::fs::create_dir(&dir)?;
    let [plan, trace, kubeconfig] = ["plan.json", "trace.jsonl", "kubeconfig"].map(|name| dir.join(name));
    let rule = Rule::nth(Predicate::mutating().resource("configmaps"), 1, Action::drop_reply());
    std::fs::write(&plan, serde_json::to_string(&Plan::none().with(rule))?)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultproxy"));
    command.arg("--kubeconfig").arg(&stage.kubeconfig).args(["--listen", "127.0.0.1:0"]);
    command.arg("--plan").arg(&plan).arg("--trace").arg(&trace);
    let mut proxy = command.arg("--write-kubeconfig").arg(&kubeconfig).spawn()?;
    let deadline = Instant::now() + SOON;
    while std::fs::metadata(&kubeconfig).map_or(0, |file| file.len()) == 0 {
        ensure!(Instant::now() < deadline, "it does not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut config = faultproxy::config(&kubeconfig).await?;
    config.default_retry = false;
    let maps: Api<ConfigMap> = Api::namespaced(Client::try_from(config)?, &stage.namespace);
    assert!(maps.create(&PostParams::default(), &map("a", "")).await.is_err());
    maps.get("a").await?;
    proxy.kill()?;
    spawn_blocking(move || proxy.wait()).await??;
    let text = std::fs::read_to_string(&trace)?;
    let lines: Vec<Line> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let [Line::Request(create), Line::Request(get)] = lines.as_slice() else { anyhow::bail!("{lines:?}") };
    assert_eq!((create.upstream, create.code, get.code), (Some(201), None, Some(200)));
    std::fs::remove_dir_all(dir)?;
    drop(FaultProxy::start_for(&kubeconfig).await.err().context("the kubeconfig is still there")?);
    Ok(())
}
