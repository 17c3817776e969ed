//! Whatever makes Argo run a template: steps, tasks, hooks, the entrypoint and the exit handler.
//!
//! In: the call as it is written, and the templates there are. Out: problems. Pure.

use std::{collections::BTreeSet, rc::Rc};

use serde_json::Value;

use super::{
    document::{Echo, Findings, Path, get, instead, items, text},
    signature::Signature,
    template,
    validate::Workflow,
    variables::{is_name, names},
};

/// A step, a task, a hook, or the spec itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a, 'p> {
    pub(super) value: &'a Value,
    pub(super) at: &'p Path,
}

/// What a call hands over, and where that is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a, 'p> {
    pub(super) value: &'a Value,
    pub(super) at: &'p Path,
}

/// A step or task as a whole, apart from its place among the others.
pub(super) fn check(call: Call<'_, '_>, workflow: &Workflow<'_>, findings: &mut Findings) {
    let at = call.at.field("arguments");
    let arguments = Arguments { value: get(call.value, "arguments").unwrap_or(&Value::Null), at: &at };
    check_names(arguments.value, arguments.at, findings);
    check_values(arguments.value, arguments.at, findings);
    check_reference(call, &["template", "templateRef", "inline"], workflow, findings);
    if let Some(target) = target(call.value, workflow) {
        check_supplied(&target, arguments, findings);
    }
    if let Some(name) = text(call.value, "onExit") {
        check_template_name(name, workflow, &call.at.field("onExit"), findings);
        check_inputs(name, workflow, arguments, findings);
    }
    check_hooks(call, arguments, workflow, findings);
}

/// Of the template that a call runs, if that stands in the spec.
pub(super) fn target<'a>(call: &'a Value, workflow: &Workflow<'a>) -> Option<Rc<Signature<'a>>> {
    match (get(call, "inline"), get(call, "templateRef"), text(call, "template")) {
        (Some(inline), _, _) => Some(Rc::new(Signature::of(inline))),
        (None, None, Some(name)) => workflow.templates.get(name).map(Rc::clone),
        (None, Some(_), _) | (None, None, None) => None,
    }
}

/// A call must say in exactly one of these ways what it runs.
fn check_reference(call: Call<'_, '_>, ways: &[&str], workflow: &Workflow<'_>, findings: &mut Findings) {
    let used: Vec<&str> = ways
        .iter()
        .copied()
        .filter(|way| get(call.value, way).is_some_and(|value| value.as_str() != Some("")))
        .collect();
    match used.as_slice() {
        [] => findings.add(call.at, || format!("say what to run, in one of: {}", ways.join(", "))),
        [_] => {}
        several => {
            findings.add(call.at, || {
                format!("it says more than once what to run: keep one of {}", several.join(", "))
            });
            return;
        }
    }
    if let Some(name) = text(call.value, "template") {
        check_template_name(name, workflow, &call.at.field("template"), findings);
    }
    if let Some(reference) = get(call.value, "templateRef") {
        let at = call.at.field("templateRef");
        for (field, of) in [("name", "the WorkflowTemplate"), ("template", "the template within it")] {
            if text(reference, field).is_none() {
                findings.add(&at.field(field), || format!("write the name of {of}"));
            }
        }
    }
}

/// A name of a template must be one of the spec's, unless it is only known later.
pub(super) fn check_template_name(name: &str, workflow: &Workflow<'_>, at: &Path, findings: &mut Findings) {
    if !name.contains("{{") && !workflow.templates.contains_key(name) {
        findings.add(at, || {
            let advice = instead(name, workflow.templates.keys().copied());
            format!("there is no template `{}`; {advice}", Echo(name))
        });
    }
}

/// The hooks of a call or of the whole spec. An exit hook without arguments gets those of what it belongs to.
pub(super) fn check_hooks(
    owner: Call<'_, '_>,
    given: Arguments<'_, '_>,
    workflow: &Workflow<'_>,
    findings: &mut Findings,
) {
    for (name, hook) in get(owner.value, "hooks").and_then(Value::as_object).into_iter().flatten() {
        let at = owner.at.field("hooks").field(name);
        if name != "exit" && text(hook, "expression").is_none() {
            findings.add(&at.field("expression"), || {
                "write when the hook runs, such as `workflow.status == \"Running\"`; only the hook `exit` needs none"
                    .to_owned()
            });
        }
        check_reference(Call { value: hook, at: &at }, &["template", "templateRef"], workflow, findings);
        let own_at = at.field("arguments");
        let own = get(hook, "arguments").unwrap_or(&Value::Null);
        check_names(own, &own_at, findings);
        let has_own = ["parameters", "artifacts"].iter().any(|key| !items(own, key).is_empty());
        let arguments =
            if name == "exit" && !has_own { given } else { Arguments { value: own, at: &own_at } };
        if let Some(target) = target(hook, workflow) {
            check_supplied(&target, arguments, findings);
        }
    }
}

/// Whether a template of that name gets what it needs.
pub(super) fn check_inputs(
    name: &str,
    workflow: &Workflow<'_>,
    arguments: Arguments<'_, '_>,
    findings: &mut Findings,
) {
    if let Some(target) = workflow.templates.get(name) {
        check_supplied(target, arguments, findings);
    }
}

/// Whether a template gets a value for every input that has none of its own.
fn check_supplied(target: &Signature<'_>, arguments: Arguments<'_, '_>, findings: &mut Findings) {
    let Signature { name: template, parameters, artifacts } = target;
    let given = given(arguments.value, "parameters", &parameters.needed);
    for name in parameters.needed.iter().filter(|name| !given.contains(*name)) {
        findings.add(&arguments.at.field("parameters"), || {
            // Likely a misspelt name of one that the template asks for.
            let spare = given.iter().copied().filter(|name| !parameters.inputs.contains(name));
            let hint = instead(name, spare);
            let hint = if hint.starts_with("did") {
                format!("; you pass one with a similar name: {hint}")
            } else {
                String::new()
            };
            format!("the template `{}` needs the parameter `{}`: add it{hint}", Echo(template), Echo(name))
        });
    }
    let given = self::given(arguments.value, "artifacts", &artifacts.needed);
    for name in artifacts.needed.iter().filter(|name| !given.contains(*name)) {
        findings.add(&arguments.at.field("artifacts"), || {
            format!("the template `{}` needs the artifact `{}`: add it", Echo(template), Echo(name))
        });
    }
}

/// The names of what is handed over, if any is needed.
fn given<'a>(arguments: &'a Value, key: &str, needed: &[&str]) -> BTreeSet<&'a str> {
    if needed.is_empty() { BTreeSet::new() } else { names(arguments, key).collect() }
}

/// Names of parameters and artifacts: there, valid, and each once.
pub(super) fn check_names(owner: &Value, at: &Path, findings: &mut Findings) {
    for key in ["parameters", "artifacts"] {
        let mut seen = BTreeSet::new();
        for (i, item) in findings.list(owner, key, at).iter().enumerate() {
            let at = at.field(key).index(i);
            let Some(name) = text(item, "name") else {
                findings.add(&at.field("name"), || "write a name".to_owned());
                continue;
            };
            if !is_name(name) {
                findings.add(&at.field("name"), || {
                    format!("`{}` is no valid name: use letters, digits, `-` and `_`", Echo(name))
                });
            }
            if !seen.insert(name) {
                findings.add(&at.field("name"), || {
                    format!("`{}` stands twice under {key}: remove or rename one", Echo(name))
                });
            }
        }
    }
}

/// Every argument must have a value. The value itself is never repeated.
pub(super) fn check_values(arguments: &Value, at: &Path, findings: &mut Findings) {
    for (i, parameter) in items(arguments, "parameters").iter().enumerate() {
        let at = at.field("parameters").index(i);
        let value = get(parameter, "value");
        if value.is_none() && get(parameter, "valueFrom").is_none() {
            findings.add(&at, || "write a `value`, or where it comes from in `valueFrom`".to_owned());
        }
        if let (Some(value), Some(Value::Array(allowed))) = (value, get(parameter, "enum"))
            && !allowed.iter().any(|one| template::as_text(one) == template::as_text(value))
        {
            findings.add(&at.field("value"), || "the value is not one of those in `enum`".to_owned());
        }
    }
    for (i, artifact) in items(arguments, "artifacts").iter().enumerate() {
        let fields = artifact.as_object().into_iter().flatten();
        if fields.filter(|(_, value)| !value.is_null()).all(|(key, _)| key == "name") {
            findings.add(&at.field("artifacts").index(i), || {
                "say where the artifact comes from, such as `from: \"{{steps.x.outputs.artifacts.y}}\"`"
                    .to_owned()
            });
        }
    }
}
