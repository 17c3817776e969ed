//! The runners of this project hold to what every runner has to, by the kit that is offered to others.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(unreachable_pub, reason = "a test has no public surface")]

mod common;

use std::sync::Arc;

use anyhow::{Result, ensure};
use common::Env;
use devcluster::Level;
use runner_controller::{
    conformance::{Subject, check},
    runners::{Runner, argo::ArgoWorkflow, job::Job},
};
use serde_json::{Value, json};

async fn conforms(runner: Arc<dyn Runner>, endless: Value, refused: Value) -> Result<()> {
    let env = Env::without_controller(common::cluster(Level::Argo).await?).await?;
    env.kubectl(&["create", "role", "secrets", "--verb=get", "--resource=secrets"]).await?;
    let account = format!("--serviceaccount={}:deployer", env.namespace);
    env.kubectl(&["create", "rolebinding", "secrets", "--role=secrets", &account]).await?;
    let subject = Subject {
        client: env.client.clone(),
        namespace: env.namespace.clone(),
        service_account: "deployer".into(),
        runner,
        endless,
        refused,
    };
    let checked = check(&subject).await?;
    println!("{checked:#?}");
    ensure!(checked.len() == 8, "something was not checked: {checked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_runner_conforms() -> Result<()> {
    let endless = json!({"image": "busybox:1", "command": ["sleep", "100000"]});
    conforms(Arc::new(Job::default()), endless, json!({"imag": "a value that is not told"})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_argo_runner_conforms() -> Result<()> {
    let workflow = |entrypoint: &str| json!({"workflow": {"entrypoint": entrypoint, "templates": [{"name": "main", "suspend": {}}]}});
    let mut refused = workflow("main");
    refused["workflow"]["templates"][0]["suspned"] = json!("a value that is not told");
    refused["workflow"]["entrypoint"] = json!("no");
    conforms(Arc::new(ArgoWorkflow), workflow("main"), refused).await
}
