//! From arguments to a JobSpec.
//!
//! Input: `spec.args` in one of two forms, and the operator's defaults. Output: the Job's spec, or what is wrong
//! with the arguments. Pure. What the user wrote is kept as it is, but for the fields named at [`render`]. In either
//! form, `input` is what the containers find as `args` in the file at RUNNER_INPUT_PATH.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{
    shape::{CONTAINER, JOB_SPEC, POD_DEFAULTS},
    validate, words,
};
use crate::runners::{Problem, Rejection, Rendered, Run, args::merge, input};

/// Where the arguments are.
const ROOT: &str = "spec.args";
/// The field beside either form with what goes into the containers' input file.
const INPUT: &str = "input";
/// What the short form knows: the fields of a container that most actions need.
const SHORT: [&str; 7] = ["image", "command", "args", "env", "envFrom", "resources", "workingDir"];

/// Renders the Job's spec.
///
/// Set by us whatever the user wrote: the ServiceAccount. Taken out, because the controller needs it: `suspend`
/// and `ttlSecondsAfterFinished`. Added where nothing is written:
/// - `restartPolicy: Never` and `backoffLimit: 0`: an action runs once unless asked otherwise. Whoever writes
///   `restartPolicy: OnFailure` or `backoffLimitPerIndex` has asked otherwise; Kubernetes' own default of
///   backoffLimit then holds. (A 0 would let the container start again and kill it in the middle.)
/// - `podReplacementPolicy: Failed`: no second pod while the first may still do something. The API server takes
///   it since 1.29 (GA in 1.34), and with a podFailurePolicy it is the only value allowed.
pub(super) fn render(run: &Run<'_>, pod_defaults: &Value) -> Result<Rendered, Rejection> {
    let (args, input) = split_input(run.args)?;
    let mut spec = spec_of(&args)?;
    let keep_suspended = spec.remove("suspend") == Some(Value::Bool(true));
    let ttl = spec.remove("ttlSecondsAfterFinished").filter(|ttl| !ttl.is_null());
    if let Some(pod) = spec.get_mut("template").and_then(|template| template.get_mut("spec")) {
        let written = std::mem::replace(pod, json!({}));
        *pod = pod_spec(pod_defaults, written, run.service_account);
        if let Some(pod) = pod.as_object_mut().filter(|_| input.is_some()) {
            input::mount(pod, run.input_secret);
        }
    }
    let once = spec.get("template").and_then(|template| template.pointer("/spec/restartPolicy"))
        == Some(&Value::from("Never"))
        && is_absent(&spec, "backoffLimitPerIndex");
    if once {
        set_if_absent(&mut spec, "backoffLimit", Value::from(0));
    }
    set_if_absent(&mut spec, "podReplacementPolicy", Value::from("Failed"));
    Ok(Rendered {
        spec,
        held_back: ttl.map(|ttl| json!({"spec": {"ttlSecondsAfterFinished": ttl}})),
        keep_suspended,
        input,
        ..Rendered::default()
    })
}

/// The arguments without `input`, and that: what the containers find as `args` in their input file.
fn split_input(args: &Value) -> Result<(Cow<'_, Value>, Option<Value>), Rejection> {
    match args.get(INPUT) {
        None => Ok((Cow::Borrowed(args), None)),
        Some(input @ Value::Object(_)) => {
            let mut rest = args.clone();
            rest.as_object_mut().and_then(|rest| rest.remove(INPUT));
            Ok((Cow::Owned(rest), Some(input.clone())))
        }
        Some(other) => Err(Rejection::new(
            format!("{ROOT}.{INPUT}"),
            format!(
                "must be an object, not {}: what the containers find as `args` at RUNNER_INPUT_PATH",
                words::kind(other)
            ),
        )),
    }
}

/// The operator's defaults, the user's pod over them, and the ServiceAccount over both.
fn pod_spec(defaults: &Value, written: Value, service_account: &str) -> Value {
    let mut pod = if defaults.is_object() { defaults.clone() } else { json!({}) };
    merge(&mut pod, written);
    if let Some(pod) = pod.as_object_mut() {
        set_if_absent(pod, "restartPolicy", Value::from("Never"));
        pod.insert("serviceAccountName".to_owned(), Value::from(service_account));
        // Its old name: the API server would take it where the new one is missing, and shows both.
        if pod.contains_key("serviceAccount") {
            pod.insert("serviceAccount".to_owned(), Value::from(service_account));
        }
    }
    pod
}

/// The user's JobSpec, checked.
fn spec_of(args: &Value) -> Result<Map<String, Value>, Rejection> {
    let Value::Object(args) = args else {
        return Err(Rejection::new(
            ROOT,
            format!("must be an object, not {}; {}", words::kind(args), validate::TWO_FORMS),
        ));
    };
    let mut problems = Vec::new();
    let spec = if is_short(args) {
        check_short(args, &mut problems);
        let mut container = args.clone();
        container.insert("name".to_owned(), Value::from("main"));
        Map::from_iter([("template".to_owned(), json!({"spec": {"containers": [container]}}))])
    } else {
        check_full(args, &mut problems);
        args.clone()
    };
    Rejection::unless_empty(bounded(problems))?;
    Ok(spec)
}

/// Whether the arguments are in the short form: they have a field of it, and no template.
fn is_short(args: &Map<String, Value>) -> bool {
    !args.contains_key("template") && SHORT.iter().any(|name| args.contains_key(*name))
}

/// The short form: some of a container's fields, and nothing else.
fn check_short(args: &Map<String, Value>, problems: &mut Vec<Problem>) {
    let fields = CONTAINER.only(&SHORT);
    let mut own = args.clone();
    own.retain(|key, _| {
        let foreign = !fields.known.contains_key(key) && JOB_SPEC.known.contains_key(key);
        if foreign {
            problems.push(words::problem(
                &format!("{ROOT}.{key}"),
                "belongs to a JobSpec and cannot stand next to the fields of the short form; move image, command \
                 and the like to template.spec.containers[0], or remove it",
            ));
        }
        !foreign
    });
    fields.check(&own, ROOT, problems);
    validate::container(args, ROOT, problems);
}

/// The full form: a JobSpec.
fn check_full(args: &Map<String, Value>, problems: &mut Vec<Problem>) {
    if args.is_empty() {
        problems.push(words::problem(ROOT, format!("is empty; {}", validate::TWO_FORMS)));
    }
    let mut own = args.clone();
    own.retain(|key, _| {
        let known = JOB_SPEC.known.contains_key(key);
        if !known {
            problems.push(foreign(key, problems.len()));
        }
        known
    });
    // Who wrote something else altogether, or mistyped the only field, need not hear that the template is missing.
    if problems.is_empty() || own.contains_key("template") {
        JOB_SPEC.check(&own, ROOT, problems);
    }
    validate::job_spec(&own, ROOT, problems);
}

/// The problem of a field that a JobSpec does not have, after so many others.
fn foreign(key: &str, before: usize) -> Problem {
    let known = || JOB_SPEC.known.keys().map(String::as_str).chain(SHORT);
    let what = validate::misplaced(key, SHORT.contains(&key)).map_or_else(
        || format!("is not a field that is known here; {}", words::advice(key, before, known)),
        str::to_owned,
    );
    words::problem(&format!("{ROOT}.{}", words::name(key)), what)
}

/// Says what is wrong with an operator's defaults.
pub(super) fn check_pod_defaults(defaults: &Value) -> Result<(), Rejection> {
    const ROOT: &str = "podDefaults";
    let mut problems = Vec::new();
    match defaults {
        Value::Null => {}
        Value::Object(pod) => {
            POD_DEFAULTS.check(pod, ROOT, &mut problems);
            validate::restart_policy(pod, ROOT, &mut problems);
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => problems.push(
            words::problem(ROOT, format!("must be an object, a pod spec, not {}", words::kind(defaults))),
        ),
    }
    Rejection::unless_empty(bounded(problems))
}

/// The first problems, one for each path, and how many more there are.
fn bounded(problems: Vec<Problem>) -> Vec<Problem> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept: Vec<Problem> = problems.into_iter().filter(|it| seen.insert(it.path.clone())).collect();
    let more = kept.len().saturating_sub(words::MAX_PROBLEMS);
    if more > 0 {
        kept.truncate(words::MAX_PROBLEMS);
        kept.push(words::problem(ROOT, format!("has {more} more problems")));
    }
    kept
}

/// Whether there is nothing; null is nothing too, as it is for the API server.
fn is_absent(object: &Map<String, Value>, key: &str) -> bool {
    object.get(key).is_none_or(Value::is_null)
}

fn set_if_absent(object: &mut Map<String, Value>, key: &str, value: Value) {
    if is_absent(object, key) {
        object.insert(key.to_owned(), value);
    }
}
