//! One template: what it is, what it takes and gives, and what its steps or tasks refer to.
//!
//! In: the template as it is written, and the Workflow around it. Out: problems. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    call::{self, Call},
    dag,
    document::{Echo, Findings, Path, for_each_text, get, items, text},
    leaf,
    validate::Workflow,
    variables::{Kind, Scope, Sibling},
};

/// The ways a template can be, one of which it must be.
const TYPES: [&str; 10] =
    ["container", "containerSet", "steps", "script", "resource", "dag", "suspend", "data", "http", "plugin"];

const FIELDS: [&str; 25] = [
    "activeDeadlineSeconds",
    "annotations",
    "archiveLocation",
    "automountServiceAccountToken",
    "daemon",
    "executor",
    "failFast",
    "hostAliases",
    "initContainers",
    "inputs",
    "memoize",
    "metadata",
    "metrics",
    "name",
    "nodeSelector",
    "outputs",
    "parallelism",
    "podSpecPatch",
    "retryStrategy",
    "schedulerName",
    "serviceAccountName",
    "sidecars",
    "synchronization",
    "timeout",
    "volumes",
];

const CALL_FIELDS: [&str; 14] = [
    "arguments",
    "continueOn",
    "dependencies",
    "depends",
    "hooks",
    "inline",
    "name",
    "onExit",
    "template",
    "templateRef",
    "when",
    "withItems",
    "withParam",
    "withSequence",
];

/// Everything that is wrong with a template; `around` is given for an inline one.
pub(super) fn check<'a>(
    template: &'a Value,
    workflow: &Workflow<'a>,
    around: Option<&Scope<'a, '_>>,
    at: &Path,
    findings: &mut Findings,
) {
    findings.misspelt_case(template, &FIELDS, at);
    findings.misspelt_case(template, &TYPES, at);
    for owner in ["inputs", "outputs"] {
        call::check_names(get(template, owner).unwrap_or(&Value::Null), &at.field(owner), findings);
    }
    check_output_sources(template, at, findings);
    let types: Vec<&str> = TYPES.into_iter().filter(|key| get(template, key).is_some()).collect();
    let kind = match types.as_slice() {
        [] => {
            findings.add(at, || missing_type(template));
            return;
        }
        ["steps"] => Kind::Steps,
        ["dag"] => Kind::Dag,
        [_] => Kind::Leaf,
        several => {
            findings.add(at, || {
                format!(
                    "a template does one thing: keep one of {}, and make the others templates",
                    several.join(", ")
                )
            });
            return;
        }
    };
    let scope = Scope::of(template, kind, &workflow.globals, around);
    match kind {
        Kind::Steps => check_steps(template, scope, workflow, at, findings),
        Kind::Dag => check_dag(template, scope, workflow, at, findings),
        Kind::Leaf => {
            leaf::check(template, workflow.defaults, at, findings);
            // A value or place of an input is not looked at: whoever calls the template may replace it.
            for (key, value) in template.as_object().into_iter().flatten().filter(|(key, _)| *key != "inputs")
            {
                for_each_text(value, &at.field(key), &mut |text, at| scope.check(text, at, findings));
            }
        }
    }
}

fn missing_type(template: &Value) -> String {
    match TYPES.into_iter().find(|key| template.get(key).is_some()) {
        Some(empty) => {
            format!("`{empty}` is empty, which counts as absent: write `{empty}: {{}}` or fill it")
        }
        None => format!("say what the template does, in one of: {}", TYPES.join(", ")),
    }
}

fn check_steps<'a>(
    template: &'a Value,
    mut scope: Scope<'a, '_>,
    workflow: &Workflow<'a>,
    at: &Path,
    findings: &mut Findings,
) {
    let mut steps: Vec<(&'a Value, Path)> = Vec::new();
    for (i, group) in findings.list(template, "steps", at).iter().enumerate() {
        let at = at.field("steps").index(i);
        let Value::Array(group) = group else {
            findings.add(&at, || {
                "this must be a list of steps that run at the same time: write `- - name:`".to_owned()
            });
            continue;
        };
        steps.extend(group.iter().enumerate().map(|(j, step)| (step, at.index(j))));
    }
    check_call_names(&steps, "step", findings);
    for (rank, (step, _)) in steps.iter().enumerate() {
        if let Some(name) = text(step, "name") {
            scope
                .siblings
                .entry(name)
                .or_insert_with(|| Sibling { target: call::target(step, workflow), rank });
        }
    }
    for (rank, (step, at)) in steps.iter().enumerate() {
        scope.up_to = rank;
        check_call(step, &scope, workflow, at, findings);
    }
    scope.up_to = usize::MAX;
    check_outputs(template, &scope, at, findings);
}

fn check_dag<'a>(
    template: &'a Value,
    mut scope: Scope<'a, '_>,
    workflow: &Workflow<'a>,
    at: &Path,
    findings: &mut Findings,
) {
    let dag = get(template, "dag").unwrap_or(&Value::Null);
    let at_dag = at.field("dag");
    let tasks: Vec<(&'a Value, Path)> = findings
        .list(dag, "tasks", &at_dag)
        .iter()
        .enumerate()
        .map(|(i, task)| (task, at_dag.field("tasks").index(i)))
        .collect();
    if tasks.is_empty() {
        findings.add(&at_dag.field("tasks"), || "write at least one task".to_owned());
        return;
    }
    check_call_names(&tasks, "task", findings);
    for (task, _) in &tasks {
        if let Some(name) = text(task, "name") {
            scope
                .siblings
                .entry(name)
                .or_insert_with(|| Sibling { target: call::target(task, workflow), rank: 0 });
        }
    }
    dag::check(dag, &tasks, &at_dag, findings);
    if let Some(target) = text(dag, "target") {
        scope.check(target, &at_dag.field("target"), findings);
    }
    for (task, at) in &tasks {
        check_call(task, &scope, workflow, at, findings);
    }
    check_outputs(template, &scope, at, findings);
}

fn check_call_names(calls: &[(&Value, Path)], one: &str, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (call, at) in calls {
        let at = at.field("name");
        match text(call, "name") {
            None => findings.add(&at, || format!("every {one} needs a name")),
            // A name with a {{...}} in it is only known later.
            Some(name) if name.contains("{{") => {}
            Some(name) => {
                check_field_name(name, &at, findings);
                if !seen.insert(name) {
                    findings.add(&at, || format!("two {one}s are called `{}`: rename one", Echo(name)));
                }
            }
        }
    }
}

/// One step or task: what it calls, and every text in it.
fn check_call<'a>(
    call: &'a Value,
    scope: &Scope<'a, '_>,
    workflow: &Workflow<'a>,
    at: &Path,
    findings: &mut Findings,
) {
    findings.misspelt_case(call, &CALL_FIELDS, at);
    call::check(Call { value: call, at }, workflow, findings);
    if let Some(inline) = get(call, "inline") {
        check(inline, workflow, Some(scope), &at.field("inline"), findings);
    }
    for (key, value) in call.as_object().into_iter().flatten().filter(|(key, _)| *key != "inline") {
        for_each_text(value, &at.field(key), &mut |text, at| scope.check(text, at, findings));
    }
}

fn check_outputs(template: &Value, scope: &Scope<'_, '_>, at: &Path, findings: &mut Findings) {
    if let Some(outputs) = get(template, "outputs") {
        for_each_text(outputs, &at.field("outputs"), &mut |text, at| scope.check(text, at, findings));
    }
}

/// An output parameter must come from somewhere, and only from there.
fn check_output_sources(template: &Value, at: &Path, findings: &mut Findings) {
    let outputs = get(template, "outputs").unwrap_or(&Value::Null);
    for (i, output) in items(outputs, "parameters").iter().enumerate() {
        let at = || at.field("outputs").field("parameters").index(i);
        match (get(output, "value").is_some(), get(output, "valueFrom").is_some()) {
            (false, false) => findings.add(&at(), || {
                "write where the value comes from, such as `valueFrom: {path: /tmp/result}`".to_owned()
            }),
            (true, true) => findings.add(&at(), || "keep one of `value` and `valueFrom`".to_owned()),
            (true, false) | (false, true) => {}
        }
    }
}

/// The name of a template, step or task.
pub(super) fn check_field_name(name: &str, at: &Path, findings: &mut Findings) {
    const LONGEST: usize = 128;
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !name.starts_with('-');
    if !valid {
        findings.add(at, || {
            format!(
                "`{}` is no valid name: use letters, digits and `-`, and begin with a letter or digit",
                Echo(name)
            )
        });
    }
    if name.len() > LONGEST {
        findings.add(at, || format!("the name is too long: use at most {LONGEST} characters"));
    }
}

/// A parameter's value as Argo reads it: always a text.
pub(super) fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
