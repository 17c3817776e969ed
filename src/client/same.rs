//! Whether two executions are the same run, so that whoever asks for it again may adopt it. Pure.
//!
//! Everything that is frozen once an execution is accepted counts; what may change later (`suspend`, `cancel`,
//! `ttlSecondsAfterFinished`) does not, nor do labels and annotations.

use kube::ResourceExt;
use serde_json::Value;

use crate::crd::{MANAGED_BY, RunnerExecution};

/// The fields by which the two are different runs, from the root of the object; empty if they are the same.
pub fn differences(wanted: &RunnerExecution, there: &RunnerExecution) -> Vec<&'static str> {
    let (a, b) = (&wanted.spec, &there.spec);
    let (a_context, b_context) = (&a.context, &b.context);
    let (a_platform, b_platform) = (&a_context.platform, &b_context.platform);
    // What is left out means its default.
    let name = |e: &RunnerExecution| e.spec.context.name.clone().unwrap_or_else(|| e.name_any());
    let namespace = |own: &Option<String>| own.clone().or_else(|| there.namespace());
    let timeout = |text: &Option<String>| {
        text.as_deref().map_or(Ok(None), |text| crate::duration::parse(text).map_err(|_| text.to_owned()))
    };
    let manager = |by: &Option<String>| by.clone().filter(|by| by != MANAGED_BY);
    let compared = [
        ("spec.runner", a.runner == b.runner),
        ("spec.context.name", name(wanted) == name(there)),
        ("spec.context.dryRun", a_context.dry_run == b_context.dry_run),
        ("spec.context.timeout", timeout(&a_context.timeout) == timeout(&b_context.timeout)),
        (
            "spec.context.platform.namespace",
            namespace(&a_platform.namespace) == namespace(&b_platform.namespace),
        ),
        (
            "spec.context.platform.serviceAccountName",
            a_platform.service_account_name == b_platform.service_account_name,
        ),
        ("spec.context.platform.ownerRef", a_platform.owner_ref == b_platform.owner_ref),
        ("spec.args", same_value(&a.args, &b.args)),
        ("spec.argsFrom", a.args_from == b.args_from),
        ("spec.managedBy", manager(&a.managed_by) == manager(&b.managed_by)),
    ];
    compared.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
}

/// Equality of what an API server stores: it may write `1.0` as `1`.
fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        // Two whole numbers may differ though the nearest fractions do not.
        (Value::Number(a), Value::Number(b)) => {
            a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same_value(value, other)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::differences;
    use crate::{crd::RunnerExecution, runners::args::merge};

    fn run(change: Value) -> RunnerExecution {
        let mut object = json!({
            "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution",
            "metadata": {"name": "a", "namespace": "team-a"},
            "spec": {
                "runner": "job",
                "context": {"timeout": "1h30m", "platform": {"serviceAccountName": "deployer"}},
                "args": {"image": "busybox:1", "n": 1},
            },
        });
        merge(&mut object, change);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn two_large_whole_numbers_are_not_the_same_though_their_nearest_fraction_is() {
        let build = |id: u64| run(json!({"spec": {"args": {"build": id}}}));
        let (one, next) = (build(1_234_567_890_123_456_789), build(1_234_567_890_123_456_790));
        assert_eq!(differences(&one, &next), ["spec.args"]);
        assert_eq!(differences(&one, &one), Vec::<&str>::new());
    }

    #[rstest]
    #[case::itself(json!({}))]
    #[case::defaults_written_out(json!({"spec": {"context": {"name": "a", "dryRun": false, "platform": {"namespace": "team-a"}}}}))]
    #[case::the_same_time(json!({"spec": {"context": {"timeout": "90m"}}}))]
    #[case::the_same_number(json!({"spec": {"args": {"n": 1.0}}}))]
    #[case::what_may_change(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"suspend": true, "cancel": true, "ttlSecondsAfterFinished": 9}}))]
    #[case::our_own_manager(json!({"spec": {"managedBy": "core.projectvoltron.dev/runner-controller"}}))]
    fn the_same_run_is_recognized(#[case] change: Value) {
        assert_eq!(differences(&run(json!({})), &run(change)), Vec::<&str>::new());
    }

    #[rstest]
    #[case(json!({"runner": "argo-workflow"}), "spec.runner")]
    #[case(json!({"context": {"name": "b"}}), "spec.context.name")]
    #[case(json!({"context": {"dryRun": true}}), "spec.context.dryRun")]
    #[case(json!({"context": {"timeout": null}}), "spec.context.timeout")]
    #[case(json!({"context": {"platform": {"namespace": "b"}}}), "spec.context.platform.namespace")]
    #[case(json!({"context": {"platform": {"serviceAccountName": "b"}}}), "spec.context.platform.serviceAccountName")]
    #[case(json!({"context": {"platform": {"ownerRef": {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1"}}}}), "spec.context.platform.ownerRef")]
    #[case(json!({"args": {"n": 2}}), "spec.args")]
    #[case(json!({"args": {"more": null}}), "spec.args")]
    #[case(json!({"argsFrom": [{"secretKeyRef": {"name": "a", "key": "b"}}]}), "spec.argsFrom")]
    #[case(json!({"managedBy": "example.com/other"}), "spec.managedBy")]
    fn another_run_is_told_by_its_field(#[case] spec: Value, #[case] field: &str) {
        let (one, other) = (run(json!({})), run(json!({ "spec": spec })));
        assert_eq!(differences(&one, &other), [field]);
        assert_eq!(differences(&other, &one), [field]);
    }
}
