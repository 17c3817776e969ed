//! An object with a uid of our choice, which only etcd itself takes.

use anyhow::Result;
use devcluster::Cluster;
use http::Request;
use k8s_openapi::ByteString;
use kube::{Client, Config};
use serde_json::{Value, json};

/// Stores an object under its key, as the API server would.
pub(crate) async fn put(cluster: &Cluster, key: &str, object: &Value) -> Result<()> {
    let url = format!("http://{}:2379", cluster.network().address());
    let etcd = Client::try_from(Config::new(url.parse()?))?;
    let bytes = |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec()));
    let body = json!({"key": bytes(key)?, "value": bytes(&object.to_string())?});
    let request = Request::post("/v3/kv/put")
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())?;
    etcd.request::<Value>(request).await?;
    Ok(())
}
