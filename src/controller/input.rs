//! The Secret with a run's input file: what the pods of a child read, arguments from Secrets included. Pure.
//!
//! It is made just before the child, as the run's ServiceAccount, and belongs to the execution; nothing happens by
//! it alone, so it takes no part in the protocol of [`super::decide`]: whoever tries to create the child makes sure
//! first that the Secret is there. Its name is derived (child, execution, generation), so a second try finds the
//! first one's. It is taken over only if it says the very same, for somebody else might have put something in its
//! place; and it cannot change any more, being immutable.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::{Value, json};

use super::{child, execution::Execution};
use crate::{
    crd::EXECUTION_UID_LABEL,
    runners::input::{KEY, text},
};

/// The Secret's name.
pub(super) fn name(execution: &Execution) -> String {
    let short = execution.uid().split('-').next().unwrap_or_default();
    format!("{}-input-{short}-{}", execution.child_name(), execution.metadata.generation.unwrap_or(0))
}

/// The Secret with these arguments.
pub(super) fn manifest(execution: &Execution, args: &Value) -> Value {
    let mut context = execution.spec.as_ref().map(|spec| spec.context.clone()).unwrap_or_default();
    context.name = Some(execution.child_name().to_owned());
    context.platform.namespace = Some(execution.namespace().to_owned());
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name(execution),
            "namespace": execution.namespace(),
            "labels": { EXECUTION_UID_LABEL: execution.uid() },
            "ownerReferences": [child::owner(execution.name(), execution.uid())],
        },
        "type": "core.projectvoltron.dev/runner-input",
        "immutable": true,
        "data": { KEY: ByteString(text(&context, args).into_bytes()) },
    })
}

/// Whether a Secret is what was to be made: it says the same, cannot change, and stays.
pub(super) fn is_same(secret: &Secret, wanted: &Value) -> bool {
    let content = serde_json::to_value(&secret.data).unwrap_or_default();
    secret.immutable == Some(true)
        && secret.metadata.deletion_timestamp.is_none()
        && Some(&content) == wanted.get("data")
        && secret
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(EXECUTION_UID_LABEL))
            .map(String::as_str)
            == wanted
                .pointer("/metadata/labels")
                .and_then(|l| l.get(EXECUTION_UID_LABEL))
                .and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{is_same, manifest};
    use crate::{controller::execution::Execution, runners::input::InputFile};

    fn execution() -> Execution {
        let object = json!({
            "metadata": {"name": "a", "namespace": "team-a", "uid": "3826a747-cfac", "generation": 2},
            "spec": {"runner": "http", "context": {"timeout": "10m", "platform": {"serviceAccountName": "deployer"}}},
        });
        serde_json::from_str(&object.to_string()).unwrap()
    }

    #[test]
    fn the_file_tells_the_context_with_its_defaults() {
        let args = json!({"url": "https://example.org"});
        let wanted = manifest(&execution(), &args);
        assert_eq!(wanted["metadata"]["name"], "a-input-3826a747-2");
        let secret: Secret = serde_json::from_value(wanted.clone()).unwrap();
        assert!(is_same(&secret, &wanted));
        let text = secret.data.unwrap().remove("input.yaml").unwrap().0;
        let file: InputFile = serde_json::from_slice(&text).unwrap();
        assert_eq!(file.args, args);
        let context = serde_json::to_value(&file.context).unwrap();
        assert_eq!(
            context,
            json!({"name": "a", "dryRun": false, "timeout": "10m", "platform": {"namespace": "team-a", "serviceAccountName": "deployer"}})
        );
    }

    #[rstest]
    #[case("/data", json!({"input.yaml": "e30="}))]
    #[case("/immutable", json!(false))]
    #[case("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))]
    #[case("/metadata/labels", json!({}))]
    fn another_secret_of_that_name_is_not_taken_over(#[case] field: &str, #[case] value: Value) {
        let wanted = manifest(&execution(), &json!({"url": "https://example.org"}));
        let mut found = wanted.clone();
        let (parent, key) = field.rsplit_once('/').unwrap();
        found.pointer_mut(parent).unwrap()[key] = value;
        assert!(!is_same(&serde_json::from_value(found).unwrap(), &wanted));
    }
}
