//! Random specs: from the CRD's own schema, then damaged. Pure.
//!
//! What a schema cannot know (which runners there are, what they take) is chosen from [`sensible`] values most of
//! the time, so that many specs get far.

use proptest::{
    collection::{hash_map, vec},
    prelude::*,
    sample::{Index, select},
    string::string_regex,
};
use runner_controller::crd::crd;
use serde_json::{Map, Value, json};

/// Specs for executions of that namespace.
pub(crate) fn specs(namespace: &str) -> BoxedStrategy<Value> {
    let crd = serde_json::to_value(crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    prop_oneof![2 => values(schema, namespace), 3 => damaged(values(schema, namespace))].boxed()
}

/// Values that a schema describes, mostly.
fn values(schema: &Value, namespace: &str) -> BoxedStrategy<Value> {
    match schema["type"].as_str() {
        Some("string") => text(schema),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => (0..=i64::from(i32::MAX)).prop_map(Value::from).boxed(),
        Some("array") => vec(values(&schema["items"], namespace), 0..3).prop_map(Value::from).boxed(),
        Some("object") if schema["properties"].is_object() => object(schema, namespace),
        Some(_) | None => args(),
    }
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let pattern = schema["pattern"].as_str().unwrap_or("^[a-z0-9]{0,20}$");
    let longest = schema["maxLength"].as_u64().map_or(100, |max| usize::try_from(max).unwrap());
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    string_regex(pattern)
        .unwrap()
        .prop_map(move |text| Value::from(text.get(..longest).unwrap_or(&text)))
        .boxed()
}

/// Required fields nearly always, others now and then.
fn object(schema: &Value, namespace: &str) -> BoxedStrategy<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut fields: BoxedStrategy<Map<String, Value>> = Just(Map::new()).boxed();
    for (name, schema) in schema["properties"].as_object().unwrap() {
        let often = if required.contains(&json!(name)) || name == "args" { 0.99 } else { likelihood(name) };
        let described = values(schema, namespace);
        let value = match sensible(name, namespace) {
            Some(sensible) => prop_oneof![19 => sensible, 1 => described].boxed(),
            None => described,
        };
        let field = proptest::option::weighted(often, value);
        let name = name.clone();
        fields = (fields, field)
            .prop_map(move |(mut fields, value)| {
                fields.extend(value.map(|value| (name.clone(), value)));
                fields
            })
            .boxed();
    }
    fields.prop_map(Value::Object).boxed()
}

/// Those that mostly end a run before it begins are rare.
fn likelihood(field: &str) -> f64 {
    match field {
        "dryRun" | "timeout" | "namespace" => 0.6,
        "managedBy" | "argsFrom" | "ownerRef" => 0.06,
        "cancel" => 0.1,
        _ => 0.3,
    }
}

fn sensible(field: &str, namespace: &str) -> Option<BoxedStrategy<Value>> {
    Some(match field {
        "runner" => select(vec![json!("job"), json!("argo-workflow")]).boxed(),
        "timeout" => select(
            ["0", "1s", "2s", "10m", "1h30m", "87600h", "0.5s", "5s-3s", "1d", "999999h"]
                .map(Value::from)
                .to_vec(),
        )
        .boxed(),
        "serviceAccountName" => {
            prop_oneof![30 => Just(json!("deployer")), 1 => Just(json!("nobody"))].boxed()
        }
        "namespace" => prop_oneof![9 => Just(json!(namespace)), 1 => Just(json!("kube-system"))].boxed(),
        "dryRun" => prop_oneof![3 => Just(json!(true)), 1 => Just(json!(false))].boxed(),
        _ => return None,
    })
}

/// Arguments that mean something to one of the runners, often with damage.
fn args() -> BoxedStrategy<Value> {
    let right = select(right_args());
    prop_oneof![2 => right.clone(), 5 => damaged(right.boxed()), 1 => junk()].boxed()
}

fn right_args() -> Vec<Value> {
    let pause = json!({"name": "main", "suspend": {"duration": "1"}});
    let leaf = json!({"name": "leaf", "inputs": {"parameters": [{"name": "x", "default": "1"}]}, "container": {"image": "busybox:1", "args": ["{{inputs.parameters.x}}"]}});
    let call = json!({"name": "a", "template": "main"});
    vec![
        json!({"image": "busybox:1", "command": ["sleep", "1"], "args": ["a"], "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
        json!({"backoffLimit": 2, "completions": 3, "parallelism": 2, "ttlSecondsAfterFinished": 60, "suspend": true,
            "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "serviceAccountName": "admin",
                "containers": [{"name": "main", "image": "busybox:1", "ports": [{"containerPort": 80}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}], "tolerations": [{"operator": "Exists"}]}}}),
        json!({"workflow": {"entrypoint": "main", "templates": [pause]}}),
        json!({"workflow": {"entrypoint": "main", "onExit": "main", "hooks": {"exit": {"template": "main"}}, "podSpecPatch": "{a: '{{workflow.parameters.a}}'}",
            "arguments": {"parameters": [{"name": "a", "value": "1"}]}, "ttlStrategy": {"secondsAfterCompletion": 1}, "artifactGC": {"strategy": "Never"},
            "workflowMetadata": {"labels": {"a": "b"}}, "templates": [pause, leaf]}}),
        json!({"workflow": {"entrypoint": "steps", "templates": [pause, {"name": "steps", "steps": [[call], [{"name": "b", "inline": {"suspend": {"duration": "1"}}}]]}]}}),
        json!({"workflow": {"entrypoint": "dag", "templates": [pause, {"name": "dag", "dag": {"tasks": [call, {"name": "b", "depends": "a.Succeeded", "template": "main"}]}}]}}),
    ]
}

/// The value with some of its places replaced, removed or added to.
fn damaged(whole: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let change = (any::<Index>(), 0..3_u8, "[a-zA-Z]{1,12}", junk());
    (whole, vec(change, 1..4))
        .prop_map(|(mut value, changes)| {
            for (place, how, name, junk) in changes {
                let mut places = Vec::new();
                collect(&value, String::new(), &mut places);
                damage(&mut value, place.get::<String>(&places), how, name, junk);
            }
            value
        })
        .boxed()
}

fn damage(value: &mut Value, place: &str, how: u8, name: String, junk: Value) {
    match (how, place.rsplit_once('/')) {
        (0, Some((parent, field))) => {
            if let Some(object) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
                object.remove(field);
            }
        }
        (1, _) => {
            if let Some(object) = value.pointer_mut(place).and_then(Value::as_object_mut) {
                object.insert(name, junk);
            }
        }
        (_, Some(_)) => *value.pointer_mut(place).unwrap() = junk,
        (_, None) => {}
    }
}

/// All places of a value, as JSON pointers.
fn collect(value: &Value, at: String, places: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(value, format!("{at}/{}", escaped(key)), places));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| collect(value, format!("{at}/{i}"), places));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    places.push(at);
}

/// What stands nowhere in any schema.
fn junk() -> BoxedStrategy<Value> {
    let texts = select(vec![
        "",
        " ",
        "{{",
        "{{workflow.name}}",
        "$(id)",
        "../../secrets/x",
        "a\r\nImpersonate-Group: system:masters",
        "system:masters",
        "ñ🦀\u{202e}\u{0}\u{1b}[31m",
        "&a [*a,*a]",
        "null",
        "true",
        "1e400",
        "٣",
        "2024-13-01",
        "1Gi",
        "{",
        "---",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        (0..40_000_usize).prop_map(|length| Value::from("x".repeat(length))),
        (1..300_usize).prop_map(|levels| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map("[a-zA-Z]{1,12}|\\PC{0,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}
