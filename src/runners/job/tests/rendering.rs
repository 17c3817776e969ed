use rstest::rstest;
use serde_json::{Value, json};

use crate::runners::{Rejection, Rendered, Run, Runner, job::Job};

pub(super) fn render(pod_defaults: Value, args: &Value) -> Result<Rendered, Rejection> {
    Job::new(pod_defaults).render(&Run::example(args))
}

/// A JobSpec with one container and these fields over it.
fn job_spec(over: Value) -> Value {
    let mut spec = json!({"template": {"spec": {"containers": [{"name": "main", "image": "busybox"}]}}});
    crate::runners::args::merge(&mut spec, over);
    spec
}

fn pod(over: Value) -> Value {
    job_spec(Value::from_iter([("template", Value::from_iter([("spec", over)]))]))
}

fn main_container(over: Value) -> Value {
    let mut container = json!({"name": "main", "image": "busybox"});
    crate::runners::args::merge(&mut container, over);
    pod(json!({"containers": [container]}))
}

#[test]
fn the_short_form_becomes_a_job_that_runs_one_container_once() {
    let args = json!({"image": "busybox", "command": ["sh", "-c"], "args": ["echo $A"],
        "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}});
    let rendered = render(Value::Null, &args).unwrap();
    assert_eq!(
        Value::Object(rendered.spec),
        json!({
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "template": {"spec": {
                "restartPolicy": "Never",
                "serviceAccountName": "deployer",
                "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c"], "args": ["echo $A"],
                    "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}],
            }},
        })
    );
    assert_eq!((rendered.held_back, rendered.keep_suspended), (None, false));
}

#[test]
fn what_the_user_wrote_in_a_job_spec_stays() {
    let args = job_spec(json!({
        "backoffLimit": 3, "podReplacementPolicy": "TerminatingOrFailed", "completions": 5, "parallelism": 2,
        "completionMode": "Indexed", "successPolicy": {"rules": [{"succeededCount": 3}]},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "OnFailure", "hostNetwork": true}},
    }));
    let mut expected = args.clone();
    expected["template"]["spec"]["serviceAccountName"] = json!("deployer");
    assert_eq!(Value::Object(render(Value::Null, &args).unwrap().spec), expected);
}

#[rstest]
#[case(json!({}), Some(0))]
#[case(json!({"backoffLimit": null}), Some(0))]
#[case(json!({"backoffLimit": 4}), Some(4))]
#[case(json!({"template": {"spec": {"restartPolicy": "Never"}}}), Some(0))]
#[case(json!({"template": {"spec": {"restartPolicy": "OnFailure"}}}), None)]
#[case(json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1}), None)]
fn an_action_runs_once_unless_asked_otherwise(#[case] over: Value, #[case] limit: Option<i64>) {
    let spec = render(Value::Null, &job_spec(over)).unwrap().spec;
    assert_eq!(spec.get("backoffLimit").and_then(Value::as_i64), limit);
}

#[test]
fn the_service_account_is_the_runs_under_both_of_its_names() {
    let args = pod(json!({"serviceAccountName": "admin", "serviceAccount": "admin"}));
    let defaults = json!({"serviceAccountName": "default", "serviceAccount": "default"});
    for defaults in [Value::Null, defaults] {
        let spec = render(defaults, &args).unwrap().spec;
        assert_eq!(spec["template"]["spec"]["serviceAccountName"], "deployer");
        assert_eq!(spec["template"]["spec"]["serviceAccount"], "deployer");
    }
}

#[test]
fn pod_defaults_lie_under_what_the_user_wrote() {
    let defaults =
        json!({"hostNetwork": true, "nodeSelector": {"a": "1", "b": "1"}, "restartPolicy": "OnFailure"});
    let args = pod(json!({"nodeSelector": {"b": "2"}, "hostNetwork": null, "restartPolicy": null}));
    let spec = render(defaults, &args).unwrap().spec;
    assert_eq!(spec["template"]["spec"]["nodeSelector"], json!({"a": "1", "b": "2"}));
    assert_eq!(spec["template"]["spec"]["hostNetwork"], Value::Null, "null takes a default away");
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never", "a Job cannot do without one");
    let short = render(json!({"hostNetwork": true}), &json!({"image": "busybox"})).unwrap().spec;
    assert_eq!(short["template"]["spec"]["hostNetwork"], true);
    assert!(render(json!([1]), &json!({"image": "busybox"})).is_ok());
}

#[test]
fn pod_defaults_are_checked_for_the_operator() {
    assert!(Job::check_pod_defaults(&Value::Null).is_ok());
    assert!(
        Job::check_pod_defaults(&json!({"hostNetwork": true, "tolerations": [{"operator": "Exists"}]}))
            .is_ok()
    );
    for (defaults, path) in [
        (json!({"hostnetwork": true}), "podDefaults.hostnetwork"),
        (json!({"restartPolicy": "Always"}), "podDefaults.restartPolicy"),
        (json!("x"), "podDefaults"),
    ] {
        assert_eq!(Job::check_pod_defaults(&defaults).unwrap_err().problems[0].path, path);
    }
}

#[test]
fn suspend_and_the_time_to_live_are_kept_for_the_controller() {
    let args = job_spec(json!({"suspend": true, "ttlSecondsAfterFinished": 60}));
    let rendered = render(Value::Null, &args).unwrap();
    assert!(rendered.keep_suspended);
    assert_eq!(rendered.held_back, Some(json!({"spec": {"ttlSecondsAfterFinished": 60}})));
    assert!(!rendered.spec.contains_key("suspend") && !rendered.spec.contains_key("ttlSecondsAfterFinished"));
    let rendered =
        render(Value::Null, &job_spec(json!({"suspend": false, "ttlSecondsAfterFinished": null}))).unwrap();
    assert_eq!((rendered.keep_suspended, rendered.held_back), (false, None));
}

#[rstest]
#[case::not_an_object(json!([1]), "spec.args", "must be an object, not a list")]
#[case::null(json!(null), "spec.args", "either `image`")]
#[case::empty(json!({}), "spec.args", "either `image`")]
#[case::mistyped_short(json!({"imge": "x"}), "spec.args.imge", "did you mean `image`?")]
#[case::mistyped_full(json!({"templat": {}}), "spec.args.templat", "did you mean `template`?")]
#[case::whole_job(json!({"kind": "Job", "spec": {}}), "spec.args.kind", "only what stands under its `spec`")]
#[case::pod_field(json!({"containers": []}), "spec.args.containers", "under template.spec")]
#[case::image_beside_template(job_spec(json!({"image": "x"})), "spec.args.image", "next to `template`")]
#[case::job_field_in_short(json!({"image": "x", "backoffLimit": 1}), "spec.args.backoffLimit", "the short form")]
#[case::unknown_in_short(json!({"image": "x", "comand": []}), "spec.args.comand", "did you mean `command`?")]
#[case::short_without_image(json!({"command": ["x"]}), "spec.args.image", "is required")]
#[case::command_as_text(json!({"image": "x", "command": "echo"}), "spec.args.command", "a list of strings, such as")]
#[case::env_as_map(json!({"image": "x", "env": {"A": "b"}}), "spec.args.env", "objects with name and value")]
#[case::env_number(json!({"image": "x", "env": [{"name": "A", "value": 1}]}), "spec.args.env[0].value", "in quotes")]
#[case::env_name(json!({"image": "x", "env": [{"name": "A=b"}]}), "spec.args.env[0].name", "without `=`")]
#[case::null_argument(json!({"image": "x", "args": [null]}), "spec.args.args[0]", "leave the entry out")]
#[case::selector(job_spec(json!({"selector": {}})), "spec.args.selector", "remove it")]
#[case::manual_selector(job_spec(json!({"manualSelector": true})), "spec.args.manualSelector", "remove it")]
#[case::managed_by(job_spec(json!({"managedBy": "a/b"})), "spec.args.managedBy", "remove it")]
#[case::negative(job_spec(json!({"completions": -1})), "spec.args.completions", "at least 0")]
#[case::no_parallelism(job_spec(json!({"parallelism": 0})), "spec.args.parallelism", "spec.suspend")]
#[case::no_time(job_spec(json!({"activeDeadlineSeconds": 0})), "spec.args.activeDeadlineSeconds", "leave it out")]
#[case::text_number(job_spec(json!({"backoffLimit": "3"})), "spec.args.backoffLimit", "a whole number of 32 bits")]
#[case::too_large(job_spec(json!({"backoffLimit": 3_000_000_000_i64})), "spec.args.backoffLimit", "32 bits")]
#[case::null_template(json!({"template": null}), "spec.args.template", "is required")]
#[case::no_pod(json!({"template": {}}), "spec.args.template.spec", "is required")]
#[case::no_containers(json!({"template": {"spec": {}}}), "spec.args.template.spec.containers", "is required")]
#[case::always(pod(json!({"restartPolicy": "Always"})), "spec.args.template.spec.restartPolicy", "write Never")]
#[case::empty_containers(pod(json!({"containers": []})), "spec.args.template.spec.containers", "at least one")]
#[case::no_image(pod(json!({"containers": [{"name": "a"}]})), "spec.args.template.spec.containers[0].image", "required")]
#[case::no_name(pod(json!({"containers": [{"image": "a"}]})), "spec.args.template.spec.containers[0].name", "required")]
#[case::bad_name(main_container(json!({"name": "A_b"})), "spec.args.template.spec.containers[0].name", "a-z")]
#[case::twice(pod(json!({"initContainers": [{"name": "main", "image": "x"}]})),
    "spec.args.template.spec.containers[0].name", "another container")]
#[case::deep_typo(main_container(json!({"volumeMounts": [{"name": "a", "mountpath": "/"}]})),
    "spec.args.template.spec.containers[0].volumeMounts[0].mountpath", "did you mean `mountPath`?")]
#[case::quantity(main_container(json!({"resources": {"limits": {"cpu": true}}})),
    "spec.args.template.spec.containers[0].resources.limits[cpu]", "a quantity")]
fn what_is_wrong_is_told_with_its_path_and_advice(
    #[case] args: Value,
    #[case] path: &str,
    #[case] part: &str,
) {
    let problems = render(Value::Null, &args).unwrap_err().problems;
    let found =
        problems.iter().find(|it| it.path == path).unwrap_or_else(|| panic!("no {path} in {problems:#?}"));
    assert!(found.what.contains(part), "{part:?} is missing in {:?}", found.what);
}

#[rstest]
#[case(true, &["1", "0.5", ".5", "5.", "-1", "+1", "500m", "1Gi", "2E", "1e3", "1E-3", "100n", "1k"])]
#[case(false, &["", "x", "1Kb", "1 Gi", "1.2.3", ".", "1e", "Gi", "1mi", "--1", "1e+"])]
fn a_quantity_is_a_number_with_a_unit(#[case] valid: bool, #[case] texts: &[&str]) {
    for text in texts {
        let args = json!({"image": "x", "resources": {"limits": {"cpu": text}}});
        assert_eq!(render(Value::Null, &args).is_ok(), valid, "{text}");
    }
}

#[test]
fn problems_repeat_no_values_and_do_not_go_on_for_ever() {
    let secret = "c4nary";
    let args = main_container(
        json!({"image": [secret], "env": (0..100).map(|_| json!({"name": secret.len(), "value":
        {secret.to_uppercase(): secret}})).collect::<Vec<_>>(), "command": secret}),
    );
    let rejection = render(Value::Null, &args).unwrap_err();
    assert!(!rejection.to_string().contains(secret), "{rejection}");
    assert_eq!(rejection.problems.len(), 17);
    assert!(rejection.problems.last().unwrap().what.contains("more problems"));
}

#[test]
fn every_place_of_a_job_spec_has_a_shape() {
    use crate::runners::job::shape::{JOB_SPEC, Shape};
    fn places(shape: &Shape, path: &str, any: &mut Vec<String>) -> usize {
        match shape {
            Shape::Any => any.push(path.to_owned()),
            Shape::Map(each) | Shape::List(each) => return 1 + places(each, path, any),
            Shape::Object(it) => {
                return 1 + it
                    .known
                    .iter()
                    .map(|(name, it)| places(it, &format!("{path}.{name}"), any))
                    .sum::<usize>();
            }
            Shape::Text
            | Shape::Time
            | Shape::Whole { .. }
            | Shape::Number
            | Shape::Flag
            | Shape::WholeOrText
            | Shape::Quantity => {}
        }
        1
    }
    let mut any = Vec::new();
    let all = places(&Shape::Object(JOB_SPEC.clone()), "", &mut any);
    assert!(all > 1000, "only {all} places");
    any.retain(|path| !path.ends_with(".managedFields.fieldsV1"));
    assert_eq!(any, Vec::<String>::new());
}
