use k8s_openapi::api::{
    batch::v1::JobSpec,
    core::v1::{Event, Pod},
};
use proptest::{collection, prelude::*, sample};
use serde_json::{Map, Value, json};

use super::{recorded::recorded, rendering::render};
use crate::runners::{Evidence, Glimpse, Observation, Runner, job::Job};

/// Keys that the code looks for, so that arbitrary JSON gets past the first step.
const KEYS: [&str; 24] = [
    "template",
    "spec",
    "metadata",
    "status",
    "containers",
    "image",
    "env",
    "name",
    "value",
    "command",
    "suspend",
    "backoffLimit",
    "restartPolicy",
    "conditions",
    "type",
    "reason",
    "message",
    "active",
    "failed",
    "startTime",
    "serviceAccount",
    "activeDeadlineSeconds",
    "uncountedTerminatedPods",
    "failedIndexes",
];

fn any_json() -> impl Strategy<Value = Value> {
    let word = sample::select(vec![
        "True",
        "Failed",
        "Complete",
        "DeadlineExceeded",
        "PodFailurePolicy",
        "main",
        "ü\u{0}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,12}".prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = prop_oneof![4 => sample::select(KEYS.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"];
        prop_oneof![
            collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            collection::vec((key, inner), 0..6).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// A value with every kind of field that matters.
fn rich() -> Value {
    json!({
        "backoffLimit": 2, "completions": 3, "parallelism": 2, "suspend": true, "ttlSecondsAfterFinished": 60,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]},
        "template": {
            "metadata": {"labels": {"a": "b"}, "creationTimestamp": null},
            "spec": {
                "restartPolicy": "Never", "serviceAccountName": "admin", "nodeSelector": {"a": "b"}, "hostNetwork": true,
                "initContainers": [{"name": "fetch", "image": "x"}],
                "containers": [{
                    "name": "main", "image": "busybox", "command": ["a"], "args": ["b", "c"],
                    "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                    "livenessProbe": {"httpGet": {"port": "http"}}, "ports": [{"containerPort": 80}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }],
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
                "tolerations": [{"operator": "Exists", "tolerationSeconds": 5}],
            },
        },
    })
}

/// All places of a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| {
                places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            });
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The value with up to three of its places replaced by something else.
fn damaged(whole: Value) -> impl Strategy<Value = Value> {
    collection::vec((any::<sample::Index>(), any_json()), 0..4).prop_map(move |changes| {
        let mut value = whole.clone();
        for (index, other) in changes {
            let mut all = Vec::new();
            places(&value, "", &mut all);
            let place = index.get::<String>(&all);
            *value.pointer_mut(place).unwrap() = other;
        }
        value
    })
}

/// Quantities may be numbers for the API server, but not for `k8s_openapi`.
fn with_quantities_as_text(mut spec: Value) -> Value {
    let mut all = Vec::new();
    places(&spec, "", &mut all);
    for place in all
        .iter()
        .filter(|it| it.contains("/limits/") || it.ends_with("/sizeLimit") || it.ends_with("/divisor"))
    {
        let value = spec.pointer_mut(place).unwrap();
        if value.is_number() {
            *value = json!(value.to_string());
        }
    }
    spec
}

/// The evidence with damage in the child, and in those pods and events that can still be read.
fn damaged_evidence(name: &str) -> impl Strategy<Value = Evidence> {
    let whole = recorded(name);
    let pods: Vec<Value> = whole.pods.iter().map(|pod| serde_json::to_value(pod).unwrap()).collect();
    let events: Vec<Value> = whole.events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    (damaged(whole.child), damaged(Value::from(pods)), damaged(Value::from(events))).prop_map(
        |(child, pods, events)| {
            let list = |value: Value| value.as_array().cloned().unwrap_or_default();
            Evidence {
                child,
                pods: list(pods)
                    .into_iter()
                    .filter_map(|it| serde_json::from_value::<Pod>(it).ok())
                    .collect(),
                events: list(events)
                    .into_iter()
                    .filter_map(|it| serde_json::from_value::<Event>(it).ok())
                    .collect(),
            }
        },
    )
}

fn message(observation: &Observation) -> &str {
    match observation {
        Observation::Underway { .. } => "",
        Observation::Waiting { message, .. }
        | Observation::Succeeded { message, .. }
        | Observation::Failed { message, .. } => message,
    }
}

/// Every field of `written` that is not null is in `rendered`, but for those that are the controller's.
fn missing(written: &Map<String, Value>, rendered: &Value) -> Vec<String> {
    let mut all = Vec::new();
    places(&Value::Object(written.clone()), "", &mut all);
    let ours = [
        "/suspend",
        "/ttlSecondsAfterFinished",
        "/template/spec/serviceAccountName",
        "/template/spec/serviceAccount",
    ];
    let written = Value::Object(written.clone());
    all.retain(|place| {
        let value = written.pointer(place).unwrap();
        let leaf = !value.is_object() && !value.is_array() && !value.is_null();
        leaf && !ours.contains(&place.as_str()) && rendered.pointer(place) != Some(value)
    });
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn rendering_never_panics(args in any_json(), defaults in any_json()) {
        let _ = render(defaults.clone(), &args);
        let _ = Job::check_pod_defaults(&defaults);
    }

    #[test]
    fn what_is_rendered_is_a_job_spec_with_all_fields_and_the_right_service_account(
        args in damaged(rich()), defaults in any_json(),
    ) {
        // Whatever the operator's defaults are: they are not the user's to answer for.
        if let Ok(rendered) = render(defaults, &args) {
            let spec = Value::Object(rendered.spec);
            prop_assert_eq!(spec.pointer("/template/spec/serviceAccountName"), Some(&json!("deployer")));
            prop_assert!([None, Some(&json!("deployer"))].contains(&spec.pointer("/template/spec/serviceAccount")));
            if args.get("template").is_some() {
                prop_assert_eq!(missing(args.as_object().unwrap(), &spec), Vec::<String>::new());
            }
        }
        if let Ok(rendered) = render(Value::Null, &args) {
            let spec = with_quantities_as_text(Value::Object(rendered.spec));
            if let Err(error) = serde_json::from_value::<JobSpec>(spec.clone()) {
                prop_assert!(false, "{error} in {spec}");
            }
        }
    }

    #[test]
    fn rendering_is_deterministic(args in damaged(rich())) {
        prop_assert_eq!(render(Value::Null, &args), render(Value::Null, &args));
    }

    #[test]
    fn reading_any_child_never_panics(child in any_json()) {
        let evidence = Evidence { child, ..Evidence::default() };
        let observation = Job::default().interpret(&evidence);
        prop_assert!(message(&observation).len() <= 1024);
        let labels = std::collections::BTreeMap::new();
        Job::default().glance(&Glimpse { labels: &labels, status: &evidence.child });
    }

    #[test]
    fn reading_a_damaged_record_never_panics_and_keeps_its_bounds(
        evidence in prop_oneof![
            damaged_evidence("exit-code"), damaged_evidence("deleted"), damaged_evidence("unschedulable"),
            damaged_evidence("pod-security"), damaged_evidence("pod-failure-policy"), damaged_evidence("deadline"),
        ],
    ) {
        prop_assert!(message(&Job::default().interpret(&evidence)).len() <= 1024);
    }
}
