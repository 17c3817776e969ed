//! Storing objects past the schema, as an older or a loosened CRD would have let them in.

use std::time::Duration;

use anyhow::{Result, ensure};
use devcluster::{Cluster, Level, Options};
use http::Request;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::common::{self, Env};

const CRD: &str = "runnerexecutions.core.projectvoltron.dev";

/// A cluster of our own, since its CRD is loosened for a while.
pub(crate) async fn cluster() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_try_init(|| async {
            let cluster = Cluster::ensure(&Options::new(common::folder("bad"), Level::Argo)).await?;
            common::install(&cluster).await?;
            Ok(cluster)
        })
        .await
}

/// Unknown fields are refused, as kubectl asks for it.
pub(crate) const STRICT: &str = "fieldValidation=Strict";
/// Unknown fields are dropped.
pub(crate) const LENIENT: &str = "fieldValidation=Ignore";

/// Creates an execution from a text.
pub(crate) async fn create(env: &Env, body: &str, query: &str) -> Result<String, kube::Error> {
    let request = Request::post(format!("{}?{query}", env.executions().resource_url()))
        .header("content-type", "application/json")
        .body(body.as_bytes().to_vec())
        .map_err(kube::Error::HttpError)?;
    env.client.request_text(request).await
}

/// Stores all these texts under a schema that takes anything, then puts the real one back.
pub(crate) async fn store_past(bodies: &[(&Env, String)]) -> Result<()> {
    let Some((env, _)) = bodies.first() else { return Ok(()) };
    let loose = json!([
        {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
         "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        {"op": "remove", "path": "/spec/versions/0/selectableFields"},
    ]);
    env.kubectl(&["patch", "crd", CRD, "--type=json", "-p", &loose.to_string()]).await?;
    for (env, body) in bodies {
        // The API server takes a moment to serve the loosened schema.
        retry(async || create(env, body, LENIENT).await.map(drop).map_err(Into::into)).await?;
    }
    common::install(env.cluster).await?;
    let bad = common::execution("probe", "", Value::Null, |_| ()).to_string();
    retry(async || {
        ensure!(create(env, &bad, "dryRun=All").await.is_err(), "the loosened schema is still served");
        Ok(())
    })
    .await
}

async fn retry(attempt: impl AsyncFn() -> Result<()>) -> Result<()> {
    let mut tries = 0;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(error) if tries == 200 => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
