//! An object that lies in etcd and cannot be read, as after the loss of a key it was encrypted by.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Request;
use kube::{Client, Config};
use runner_controller::crd::Phase;
use serde_json::{Value, json};

use crate::{
    common::{self, Env},
    process::Controller,
    row::endless,
};

/// A controller that starts while it lies there is not ready and says so; once it is removed, all goes on.
pub(crate) async fn unreadable(env: &Env) -> Result<()> {
    let etcd =
        Client::try_from(Config::new(format!("http://{}:2379", env.cluster.network().address()).parse()?))?;
    let key =
        encode(&format!("/registry/core.projectvoltron.dev/runnerexecutions/{}/unreadable", env.namespace));
    call(&etcd, "/v3/kv/put", json!({"key": key, "value": encode("no object at all")})).await?;
    let told = told_while_it_is_there(env).await;
    call(&etcd, "/v3/kv/deleterange", json!({ "key": key })).await?;
    let (mut controller, (code, metrics)) = told?;
    ensure!(code != 200, "it is ready though it cannot know the executions");
    ensure!(
        metrics.contains(r#"watch_errors_total{resource="runnerexecutions"}"#),
        "no metric tells of it: {metrics}"
    );
    tokio::time::timeout(Duration::from_secs(90), controller.ready()).await.context("it never recovers")?;
    env.run("good", "job", endless(), |_| ()).await?;
    env.until("good", "running", |rex| rex.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Running)))
        .await?;
    controller.check().await
}

/// A new controller, how ready it is once the API server has told it of its trouble, and its metrics.
async fn told_while_it_is_there(env: &Env) -> Result<(Controller, (u16, String))> {
    // Cached by the API server until it looks into etcd again, which a restart makes it do.
    env.cluster.stop_server(devcluster::Server::ApiServer).await?;
    env.cluster.start_server(devcluster::Server::ApiServer).await?;
    let controller = Controller::spawn(env.cluster, Some(&env.namespace)).await?;
    for _ in 0..200 {
        if let Ok((_, metrics)) = controller.get("/metrics").await
            && metrics.contains(r#"watch_errors_total{resource="runnerexecutions"}"#)
        {
            let (code, _) = controller.get("/readyz").await?;
            return Ok((controller, (code, metrics)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = common::kubectl(env.cluster, &["get", "rex", "-n", &env.namespace], None).await;
    anyhow::bail!("the controller was not disturbed; kubectl finds {found:?}")
}

async fn call(etcd: &Client, path: &str, body: Value) -> Result<Value> {
    let request =
        Request::post(path).header("content-type", "application/json").body(body.to_string().into_bytes())?;
    Ok(etcd.request(request).await?)
}

/// As etcd's HTTP gateway wants bytes.
fn encode(text: &str) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap_or_default()
}
