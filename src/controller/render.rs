//! From an execution to its child's manifest: arguments from Secrets are read (the only I/O here, as the
//! ServiceAccount) and merged over the others, then the runner renders.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    admit::Plan,
    api::Api,
    child,
    decide::{Patience, Refusal},
    error::Error,
    execution::Execution,
    step::identity,
};
use crate::{
    crd::SecretKeyRef,
    reason::Reason,
    runners::{Run, args},
};

/// The limit of what one Secret key may hold, in bytes.
const MAX_SECRET: usize = 256 * 1024;

/// The manifest, or why there is none.
pub(super) async fn manifest(
    api: &Api,
    execution: &Arc<Execution>,
    plan: &Plan,
    patience_ends: Timestamp,
) -> Result<Result<Value, Refusal>, Error> {
    let args = match arguments(api, execution, plan, patience_ends).await? {
        Ok(args) => args,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let run = Run {
        name: execution.child_name(),
        namespace: execution.namespace(),
        service_account: &plan.service_account,
        args: &args,
    };
    Ok(match plan.runner.render(&run) {
        Ok(rendered) => Ok(child::manifest(execution, plan.runner.as_ref(), rendered)),
        Err(rejection) => Err(Refusal {
            reason: Reason::InvalidArgs,
            message: rejection.to_string(),
            patience: Patience::None,
        }),
    })
}

async fn arguments(
    api: &Api,
    execution: &Arc<Execution>,
    plan: &Plan,
    patience_ends: Timestamp,
) -> Result<Result<Value, Refusal>, Error> {
    let Ok(spec) = &execution.spec else { return Ok(Ok(Value::Null)) };
    let mut merged = if spec.args.is_null() { Value::Object(Map::new()) } else { spec.args.clone() };
    for (index, source) in spec.args_from.iter().enumerate() {
        let SecretKeyRef { name, key } = &source.secret_key_ref;
        let path = format!("spec.argsFrom[{index}].secretKeyRef");
        let refuse = |reason, what: String, patience| {
            Ok(Err(Refusal { reason, message: format!("{path}: {what}"), patience }))
        };
        let secret = match api.secret(identity(execution, plan), execution.namespace(), name).await {
            Ok(secret) => secret,
            Err(error) if error.code() == Some(403) => {
                let what = format!(
                    "ServiceAccount {} may not get Secret {name}; grant it that.",
                    plan.service_account
                );
                return refuse(Reason::Forbidden, what, Patience::Until(patience_ends));
            }
            Err(source) => return Err(Error::Call { doing: "read a Secret of spec.argsFrom", source }),
        };
        let Some(bytes) = secret.and_then(|s| s.data?.remove(key)) else {
            return refuse(
                Reason::SecretNotFound,
                format!("there is no key {key} in a Secret {name}."),
                Patience::Until(patience_ends),
            );
        };
        match read(&bytes.0) {
            Ok(value) => args::merge(&mut merged, value),
            Err(what) => return refuse(Reason::InvalidArgs, what.into(), Patience::None),
        }
    }
    Ok(Ok(merged))
}

/// Reads a YAML or JSON object. Its problems never repeat its content.
fn read(bytes: &[u8]) -> Result<Value, &'static str> {
    if bytes.len() > MAX_SECRET {
        return Err("is larger than 256 KiB.");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text.")?;
    // Anchors and aliases can make a small text huge; arguments need none.
    match serde_yaml::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("must be a YAML or JSON object."),
        Err(_) => Err("is neither YAML nor JSON."),
    }
}
