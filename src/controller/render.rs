//! From an execution to its child's manifest, and to that of its input: arguments from Secrets are read (the only I/O here, as the
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
    input,
    step::identity,
};
use crate::{
    crd::SecretKeyRef,
    reason::Reason,
    runners::{Run, args},
    yaml,
};

/// The limit of what one Secret key may hold, in bytes.
const MAX_SECRET: usize = 256 * 1024;

/// What an execution is rendered to.
pub(super) struct Made {
    /// The child's manifest.
    pub(super) child: Value,
    /// The manifest of the Secret that must be there before the child's pods are.
    pub(super) input: Option<Value>,
}

/// The manifests, or why there are none.
pub(super) async fn manifests(
    api: &Api,
    execution: &Arc<Execution>,
    plan: &Plan,
    patience_ends: Timestamp,
) -> Result<Result<Made, Refusal>, Error> {
    let args = match arguments(api, execution, plan, patience_ends).await? {
        Ok(args) => args,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let run = Run {
        name: execution.child_name(),
        execution: execution.name(),
        uid: execution.uid(),
        namespace: execution.namespace(),
        service_account: &plan.service_account,
        args: &args,
        secret_args: execution.has_secret_args(),
        input_secret: &input::name(execution),
        dry_run: execution.spec.as_ref().is_ok_and(|spec| spec.context.dry_run),
    };
    Ok(match plan.runner.render(&run) {
        Ok(mut rendered) => {
            let input = rendered.input.take().map(|args| input::manifest(execution, &args));
            Ok(Made { child: child::manifest(execution, plan.runner.as_ref(), rendered), input })
        }
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
            Err(what) => return refuse(Reason::InvalidArgs, what, Patience::None),
        }
    }
    Ok(Ok(merged))
}

/// Reads a YAML or JSON object. Its problems never repeat its content.
fn read(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > MAX_SECRET {
        return Err(format!("is larger than {} KiB.", MAX_SECRET / 1024));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text.")?;
    let value = yaml::read(text).map_err(|problem| format!("{problem}."))?;
    match serde_yaml::from_value(value) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("must be a YAML or JSON object.".to_owned()),
        Err(_) => Err("holds what JSON cannot: a tag, or a key that is no text.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{MAX_SECRET, read};

    #[rstest]
    #[case::yaml("a: [1, {b: c}]", &json!({"a": [1, {"b": "c"}]}))]
    #[case::json(r#"{"a": 18446744073709551615}"#, &json!({"a": u64::MAX}))]
    #[case::empty("{}", &json!({}))]
    fn an_object_is_read(#[case] text: &str, #[case] value: &Value) {
        assert_eq!(read(text.as_bytes()).as_ref(), Ok(value));
    }

    #[rstest]
    #[case::nothing("", "must be a YAML or JSON object")]
    #[case::list("[1]", "must be a YAML or JSON object")]
    #[case::key_twice("sesame: 1\nsesame: 2", "has a key twice")]
    #[case::tag("a: !sesame {b: 1}", "a tag")]
    #[case::key_of_another_kind("[sesame]: 1", "a key that is no text")]
    #[case::too_deep(&format!("a: {}{}", "[".repeat(100), "]".repeat(100)), "100 levels")]
    #[case::too_large(&format!("a: {}", "sesame".repeat(MAX_SECRET / 5)), "256 KiB")]
    fn what_cannot_be_arguments_is_refused_without_being_repeated(#[case] text: &str, #[case] why: &str) {
        let problem = read(text.as_bytes()).unwrap_err();
        assert!(problem.contains(why) && !problem.contains("sesame"), "{problem}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_none_are_repeated(bytes in any::<Vec<u8>>(), secret in "[q-z]{12}") {
            let _ = read(&bytes);
            let text = [bytes.as_slice(), secret.as_bytes()].concat();
            if let Err(problem) = read(&text) {
                prop_assert!(!problem.contains(&secret), "{problem}");
            }
        }
    }
}
