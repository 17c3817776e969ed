//! Argo's CRDs in a new cluster, put into etcd before the API server starts, as restoring a backup would.
//!
//! Creating them by the API costs the API server some 20 CPU seconds, since each of a CRD's first few
//! status updates goes over its megabyte of schema again. What is put is what the API server stores
//! itself, and it reads and checks it like any other object. A running cluster that is raised to Argo gets
//! its CRDs by the API instead (see `addons`). I/O: reads the CRDs, asks etcd by its HTTP gateway.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use crate::encoding::base64;
use crate::pki::random_hex;

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions";

/// Puts all CRDs of a folder into an etcd that no API server uses yet.
pub(crate) async fn crds(etcd: &Client, folder: &Path) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("Argo's CRDs are not in {}", folder.display()))?
    {
        let file = entry?.path();
        let crd = stored(serde_json::from_slice(&fs::read(&file)?)?)?;
        let name = file.file_stem().and_then(|name| name.to_str()).context("a CRD without a name")?;
        let pair = json!({
            "key": base64(format!("{PREFIX}/{name}").as_bytes()),
            "value": base64(crd.to_string().as_bytes()),
        });
        let request = http::Request::post("/v3/kv/put").header("content-type", "application/json");
        let put = etcd.request::<Value>(request.body(pair.to_string().into())?).await;
        put.with_context(|| format!("cannot put the CRD {name} into etcd"))?;
    }
    Ok(())
}

/// A CRD as it is once its names are accepted and it is served.
fn stored(mut crd: Value) -> Result<Value> {
    let now = serde_json::to_value(Time(Timestamp::now()))?;
    let id = random_hex()?;
    let uid = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
        .map(|(from, to)| id.get(from..to).unwrap_or_default());
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    let names = crd.pointer("/spec/names").context("a CRD without names")?.clone();
    let versions =
        crd.pointer("/spec/versions").and_then(Value::as_array).context("a CRD without versions")?;
    let is_stored = |version: &&Value| version.get("storage") == Some(&Value::Bool(true));
    let stored: Vec<_> =
        versions.iter().filter(is_stored).filter_map(|version| version.get("name")).collect();
    let status = json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
    let metadata =
        crd.get_mut("metadata").and_then(Value::as_object_mut).context("a CRD without metadata")?;
    metadata.insert("uid".into(), uid.join("-").into());
    metadata.insert("generation".into(), 1.into());
    metadata.insert("creationTimestamp".into(), now);
    let spec = crd.get_mut("spec").and_then(Value::as_object_mut).context("a CRD without spec")?;
    spec.insert("conversion".into(), json!({"strategy": "None"}));
    crd.as_object_mut().context("a CRD that is no object")?.insert("status".into(), status);
    Ok(crd)
}
