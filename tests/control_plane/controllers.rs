//! Controllers that come, go, and meet.

use anyhow::{Result, ensure};
use devcluster::Level;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{
    common::{self, Env},
    endless, job_creations, phase, running,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_controller_goes_on_where_it_was_without_a_write() -> Result<()> {
    let mut env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    running(&env, "a").await?;
    env.released("job", "a").await?;
    env.stop_controller();
    let before = (
        env.executions().get("a").await?.metadata.resource_version,
        env.get("job", "a").await?["metadata"]["generation"].clone(),
    );
    env.start_controller(|_| ()).await?;
    // A second execution that gets through proves that the new controller has passed over the first.
    env.run("b", "job", endless(), |spec| spec["context"]["timeout"] = json!("1s")).await?;
    env.ends("b", Phase::Failed, Reason::TimedOut).await?;
    let after = (
        env.executions().get("a").await?.metadata.resource_version,
        env.get("job", "a").await?["metadata"]["generation"].clone(),
    );
    ensure!(before == after, "it was written to: {before:?} {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_runs_on_while_no_controller_does() -> Result<()> {
    let timeout = std::time::Duration::from_secs(8);
    let mut env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["timeout"] = json!("8s")).await?;
    running(&env, "a").await?;
    env.released("job", "a").await?;
    env.stop_controller();
    // The time itself is what is waited for.
    tokio::time::sleep(timeout).await;
    ensure!(phase(&env.executions().get("a").await?) == Some(Phase::Running), "somebody stopped it");
    env.start_controller(|_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::TimedOut).await?.status.unwrap();
    let late = end.completion_time.unwrap().0.duration_since(end.deadline.unwrap().0);
    ensure!(
        late < k8s_openapi::jiff::SignedDuration::try_from(timeout)?,
        "it ended {late:?} after its deadline"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_is_ready_once_it_knows_the_executions_tells_its_name_and_stops_gracefully() -> Result<()>
{
    let env = Env::without_controller(common::cluster(Level::ControlPlane).await?).await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("127.0.0.1:{port}");
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_runner-controller"))
        .args(["run", "--namespace", &env.namespace, "--listen", &listen])
        .env("KUBECONFIG", env.cluster.kubeconfig())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let get = async |path: &str| -> Result<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&listen).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok((answer.split(' ').nth(1).unwrap_or_default().parse()?, answer))
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), async {
        while !matches!(get("/readyz").await, Ok((200, _))) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await?;
    ensure!(get("/healthz").await?.0 == 200, "not healthy");
    ensure!(
        get("/metrics").await?.1.contains("runner_controller_reconcile_total")
            || get("/metrics").await?.1.contains("# EOF"),
        "no metrics"
    );
    let pid = process.id().unwrap().to_string();
    ensure!(
        tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await?.success(),
        "no signal"
    );
    let status = tokio::time::timeout(std::time::Duration::from_secs(10), process.wait()).await??;
    ensure!(status.success(), "it ended with {status}");
    let audit = common::audit(env.cluster).await?;
    let mut asked = audit.iter().filter(|event| {
        event["objectRef"]["namespace"] == env.namespace.as_str()
            && event["objectRef"]["resource"] == "runnerexecutions"
    });
    let agent = format!("runner-controller/{} ", env!("CARGO_PKG_VERSION"));
    let tells = |event: &Value| event["userAgent"].as_str().is_some_and(|name| name.starts_with(&agent));
    ensure!(asked.any(tells), "the audit log does not tell who asked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_controllers_at_once_start_everything_once() -> Result<()> {
    let mut env = Env::new(Level::ControlPlane).await?;
    for _ in 0..2 {
        env.start_another_controller().await?;
    }
    let count = 30;
    for number in 0..count {
        env.run(&format!("a{number}"), "job", endless(), |spec| spec["context"]["timeout"] = json!("5s"))
            .await?;
    }
    for number in 0..count {
        env.ends(&format!("a{number}"), Phase::Failed, Reason::TimedOut).await?;
    }
    let created = job_creations(&env).await?.iter().filter(|e| e["responseStatus"]["code"] == 201).count();
    ensure!(created == count, "{created} Jobs were made for {count} executions");
    Ok(())
}
