//! What is read of an execution, whatever its shape.

use super::{Execution, Shape};
use crate::controller::{courtesy::is_bulky, packed::Packed};
use k8s_openapi::jiff::Timestamp;
use kube::core::{ObjectList, WatchEvent};
use proptest::{collection, prelude::*};
use rstest::rstest;
use serde_json::Value;

fn with_args(args: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"a","namespace":"n","uid":"u","resourceVersion":"7","managedFields":[{{"x":1}}]}},
            "spec":{{"runner":"job","context":{{"platform":{{"serviceAccountName":"s"}}}},"args":{args}}}}}"#
    )
}

fn nested(levels: usize) -> String {
    format!("{}{}", r#"{"a":"#.repeat(levels) + "1", "}".repeat(levels))
}

#[rstest]
fn arguments_of_any_depth_do_not_break_the_decoding_of_others(
    #[values(1, 64, 99, 100, 101, 123, 124, 125, 126, 127, 128, 200, 9_999, 100_000)] levels: usize,
) {
    let bad = with_args(&nested(levels));
    let list =
        format!(r#"{{"kind":"L","apiVersion":"v1","metadata":{{}},"items":[{},{bad}]}}"#, with_args("{}"));
    let list: ObjectList<Execution> = serde_json::from_str(&list).unwrap();
    assert!(list.items[0].spec.is_ok());
    assert_eq!(list.items[1].spec.is_ok(), levels <= 100, "{:?}", list.items[1].spec);
    let event: WatchEvent<Execution> =
        serde_json::from_str(&format!(r#"{{"type":"ADDED","object":{bad}}}"#)).unwrap();
    assert!(matches!(event, WatchEvent::Added(e) if e.spec.is_ok() == (levels <= 100)));
}

#[rstest]
#[case(r#"{"runner":"job"}"#, "spec.", "lacks the field `context`")]
#[case(
    r#"{"runner":1,"context":{"platform":{"serviceAccountName":"s"}}}"#,
    "spec.runner",
    "must be a string"
)]
#[case(
    r#"{"runner":"job","context":{"platform":{"serviceAccountName":"s"},"dryRun":"sesame"}}"#,
    "spec.context.dryRun",
    "must be a boolean"
)]
#[case(
    r#"{"runner":"job","context":{"platform":{"serviceAccountName":"s"}},"args":"sesame"}"#,
    "spec.args",
    "must be an object"
)]
fn a_spec_stored_past_the_schema_is_a_problem_with_a_path_and_without_values(
    #[case] spec: &str,
    #[case] path: &str,
    #[case] what: &str,
) {
    let execution: Execution =
        serde_json::from_str(&format!(r#"{{"metadata":{{"name":"a"}},"spec":{spec}}}"#)).unwrap();
    let problem = execution.spec.unwrap_err().problem;
    assert!(problem.path.starts_with(path), "{problem}");
    assert!(problem.what.contains(what), "{problem}");
    assert!(!problem.to_string().contains("sesame"));
}

/// Keys that mean something, so that arbitrary JSON gets past the first field.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        3 => "runner|context|platform|args|argsFrom|timeout|dryRun|serviceAccountName|suspend|cancel|phase|conditions|startTime|resources",
        1 => any::<String>(),
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::hash_map(key.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(levels).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn survives_the_pack(object: &str) -> bool {
    let before: Execution = serde_json::from_str(object).unwrap();
    let after = Packed::of(&before).unpack().unwrap();
    let spec = |it: &Execution| serde_json::to_string(&it.spec).unwrap();
    spec(&before) == spec(&after)
        && before.metadata == after.metadata
        && before.status == after.status
        && before.conditions == after.conditions
        && before.bulk == after.bulk
}

#[rstest]
#[case::new(include_str!("../../benches/recorded/execution.json"))]
#[case::running(include_str!("../../benches/recorded/running.json"))]
#[case::nested_as_deep_as_can_be(&with_args(&nested(100)))]
#[case::nested_deeper_in_the_output(&with_args("{}").replacen('{', &format!(r#"{{"status":{{"phase":"Failed","output":{}}},"#, nested(120)), 1))]
#[case::without_anything("{}")]
#[case::with_a_time_before_all(
    "{\"status\":{\"conditions\":[{\"type\":\"Accepted\",\"status\":\"Unknown\",\"reason\":\"Pending\",\"message\":\"\",\"lastTransitionTime\":\"1970-01-01T00:00:00Z\"}]}}"
)]
fn an_execution_comes_out_of_the_pack_as_it_went_in(#[case] object: &str) {
    assert!(survives_the_pack(object));
}

proptest! {
    #[test]
    fn whatever_spec_and_status_hold_their_neighbours_are_read(spec in any_json(), status in any_json()) {
        let bad = format!(r#"{{"metadata":{{"name":"bad"}},"spec":{spec},"status":{status}}}"#);
        let text = format!(r#"{{"kind":"L","apiVersion":"v1","metadata":{{}},"items":[{bad},{}]}}"#, with_args("{}"));
        let list: ObjectList<Execution> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(list.items[0].name(), "bad");
        prop_assert!(list.items[1].spec.is_ok());
        if let Err(unread) = &list.items[0].spec {
            let problem = &unread.problem;
            prop_assert!(problem.path.starts_with("spec") && !problem.what.is_empty());
        }
    }

    #[test]
    fn whatever_it_holds_it_comes_out_of_the_pack_as_it_went_in(spec in any_json(), status in any_json()) {
        let text = format!(r#"{{"metadata":{{"name":"a","uid":"u","generation":3}},"spec":{spec},"status":{status}}}"#);
        prop_assert!(survives_the_pack(&text));
    }

    #[test]
    fn arguments_come_through_unchanged(args in collection::hash_map(any::<String>(), any_json(), 0..4)) {
        let args = Value::Object(args.into_iter().collect());
        // As the API server stores numbers: text and back again.
        let args: Value = serde_json::from_str(&args.to_string()).unwrap();
        let execution: Execution = serde_json::from_str(&with_args(&args.to_string())).unwrap();
        prop_assert_eq!(&execution.spec.unwrap().args, &args);
    }

    #[test]
    fn the_depth_of_a_text_is_that_of_its_value(value in any_json()) {
        prop_assert_eq!(Shape::of(&value.to_string()).depth, levels(&value));
        prop_assert_eq!(Shape::of(&serde_json::to_string_pretty(&value).unwrap()).depth, levels(&value));
    }
}

#[rstest]
#[case::small("{}", false)]
#[case::a_long_text(&format!(r#"{{"a":"{}"}}"#, "x".repeat(100 << 10)), false)]
#[case::a_very_long_text(&format!(r#"{{"a":"{}"}}"#, "x,{[".repeat(100 << 10)), true)]
#[case::many_values(&format!(r#"{{"a":[{}0]}}"#, "0,".repeat(5_000)), true)]
#[case::deep(&nested(9_900), true)]
fn what_makes_much_work_for_the_api_server_is_bulky(#[case] args: &str, #[case] bulky: bool) {
    let execution: Execution = serde_json::from_str(&with_args(args)).unwrap();
    assert_eq!(is_bulky(execution.bulk), bulky, "{}", execution.bulk);
}

#[test]
fn of_a_status_with_words_of_another_version_the_rest_counts() {
    let read = |status: Value| {
        let object = serde_json::json!({"metadata": {"name": "a"}, "spec": {}, "status": status});
        serde_json::from_str::<Execution>(&object.to_string()).unwrap()
    };
    let end = "2026-01-01T00:00:00Z";
    let child = serde_json::json!([{"apiVersion": "batch/v1", "kind": "Job", "namespace": "n", "name": "a", "uid": "c"}]);
    for (field, word) in [("reason", "Unheard"), ("phase", "Unheard"), ("progress", ""), ("dryRun", "x")] {
        let mut status = serde_json::json!({
            "phase": "Failed", "reason": "TimedOut", "resources": child, "completionTime": end,
        });
        status[field] = word.into();
        let execution = read(status);
        assert!(execution.is_finished(), "{field}");
        assert_eq!(execution.recorded_child().map(|child| child.uid.as_str()), Some("c"), "{field}");
    }
}

#[test]
fn whose_a_spec_is_and_when_it_may_go_is_known_though_something_in_it_is_wrong() {
    let args = nested(200);
    for wrong in [format!(r#""args":{args}"#), r#""args":[]"#.to_owned(), r#""suspend":"x""#.to_owned()] {
        let text = format!(
            r#"{{"metadata":{{"name":"a"}},"spec":{{"runner":"job","managedBy":"somebody","ttlSecondsAfterFinished":60,{wrong},
                "context":{{"platform":{{"serviceAccountName":"s"}}}}}},
                "status":{{"phase":"Failed","completionTime":"1970-01-01T00:00:00Z"}}}}"#
        );
        let execution: Execution = serde_json::from_str(&text).unwrap();
        assert!(execution.spec.is_err() && execution.is_managed_elsewhere(), "{wrong}");
        assert_eq!(execution.runner(), "job");
        assert_eq!(execution.expires().map(Timestamp::as_second), Some(60));
    }
}

#[rstest]
fn a_status_of_any_form_is_read_as_none(
    #[values("null", "1", "[]", r#"{"phase":"Nonsense"}"#, r#"{"startTime":"x"}"#)] status: &str,
) {
    let execution: Execution =
        serde_json::from_str(&format!(r#"{{"metadata":{{"name":"a"}},"spec":{{}},"status":{status}}}"#))
            .unwrap();
    assert!(execution.status.phase.is_none());
}
