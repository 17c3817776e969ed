//! What is wrong with a WorkflowSpec, found without a server and before anything is created.
//!
//! In: the spec as its author wrote it. Out: problems, each with its path and what to write instead. Pure.
//!
//! The rules are those of Argo's own validation (v3.7, `workflow/validate`), which only runs once the Workflow
//! exists, plus references of hooks, which Argo finds missing only when it runs them. Nothing is reported that
//! Argo might accept. What Argo's operator adds to every Workflow (`workflowDefaults`) is not known here: a
//! Workflow that takes its entrypoint, templates or parameters from there must repeat them.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde_json::Value;

use super::{
    super::Problem,
    call::{self, Arguments, Call},
    document::{Echo, Findings, Path, get, instead, is_same_key, items, text},
    signature::Signature,
    template,
    variables::{Globals, names},
};

/// Labels by which Argo and we tell how a Workflow stands.
const OWN_LABELS: [&str; 2] = ["workflows.argoproj.io/completed", "workflows.argoproj.io/phase"];
const OWN_LABEL_DOMAIN: &str = "projectvoltron.dev";

const FIELDS: [&str; 42] = [
    "activeDeadlineSeconds",
    "affinity",
    "archiveLogs",
    "arguments",
    "artifactGC",
    "artifactRepositoryRef",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "entrypoint",
    "executor",
    "hooks",
    "hostAliases",
    "hostNetwork",
    "imagePullSecrets",
    "metrics",
    "nodeSelector",
    "onExit",
    "parallelism",
    "podDisruptionBudget",
    "podGC",
    "podMetadata",
    "podPriorityClassName",
    "podSpecPatch",
    "priority",
    "retryStrategy",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "shutdown",
    "suspend",
    "synchronization",
    "templateDefaults",
    "templates",
    "tolerations",
    "ttlStrategy",
    "volumeClaimGC",
    "volumeClaimTemplates",
    "volumes",
    "workflowMetadata",
    "workflowTemplateRef",
    // Known to Argo's older versions.
    "podPriority",
];

/// A spec whose templates can be looked up.
#[derive(Debug)]
pub(super) struct Workflow<'a> {
    pub(super) templates: BTreeMap<&'a str, Rc<Signature<'a>>>,
    pub(super) globals: Globals<'a>,
    /// What templates need not repeat.
    pub(super) defaults: Option<&'a Value>,
}

/// Everything that is wrong with a spec.
pub(super) fn check(spec: &Value, at: &Path) -> Vec<Problem> {
    let mut findings = Findings::default();
    findings.misspelt_case(spec, &FIELDS, at);
    check_what_is_ours(spec, at, &mut findings);
    if let Some(reference) = get(spec, "workflowTemplateRef") {
        check_stored(spec, reference, at, &mut findings);
    } else {
        check_templates(spec, at, &mut findings);
    }
    findings.into_problems()
}

/// Fields through which a Workflow could get around the controller that follows it.
fn check_what_is_ours(spec: &Value, at: &Path, findings: &mut Findings) {
    if get(spec, "shutdown").is_some_and(|value| value.as_str() != Some("")) {
        findings.add(&at.field("shutdown"), || {
            "remove it: a Workflow that is created shut down fails at once; to stop a run set spec.cancel"
                .to_owned()
        });
    }
    if get(spec, "suspend").is_some_and(|value| !value.is_boolean()) {
        findings.add(&at.field("suspend"), || "this must be true or false".to_owned());
    }
    if get(spec, "ttlStrategy").is_some_and(|value| !value.is_object()) {
        findings.add(&at.field("ttlStrategy"), || {
            "this must be an object, such as {secondsAfterCompletion: 3600}".to_owned()
        });
    }
    let metadata = get(spec, "workflowMetadata").unwrap_or(&Value::Null);
    for list in ["labels", "annotations", "labelsFrom"] {
        for key in get(metadata, list).and_then(Value::as_object).into_iter().flat_map(|labels| labels.keys())
        {
            let domain = key.split('/').next().unwrap_or_default();
            if OWN_LABELS.contains(&key.as_str()) || domain.ends_with(OWN_LABEL_DOMAIN) && key.contains('/') {
                findings.add(&at.field("workflowMetadata").field(list).field(key), || {
                    "remove it: this key tells how the Workflow stands, and is not the Workflow's to set"
                        .to_owned()
                });
            }
        }
    }
}

/// A Workflow that runs a stored template; nothing of that template can be seen from here.
fn check_stored(spec: &Value, reference: &Value, at: &Path, findings: &mut Findings) {
    if text(reference, "name").is_none() {
        findings.add(&at.field("workflowTemplateRef").field("name"), || {
            "write the name of the WorkflowTemplate to run".to_owned()
        });
    }
    if !items(spec, "templates").is_empty() {
        findings.add(&at.field("templates"), || {
            "remove either `templates` or `workflowTemplateRef`: Argo runs the one or the other".to_owned()
        });
    }
}

fn check_templates(spec: &Value, at: &Path, findings: &mut Findings) {
    let list = findings.list(spec, "templates", at);
    if list.is_empty() {
        findings.add(&at.field("templates"), || {
            "write at least one template, or name a stored one in workflowTemplateRef".to_owned()
        });
        return;
    }
    check_template_names(list, &at.field("templates"), findings);
    let workflow = Workflow {
        templates: list
            .iter()
            .filter_map(|item| Some((text(item, "name")?, Rc::new(Signature::of(item)))))
            .collect(),
        globals: globals(spec),
        defaults: get(spec, "templateDefaults"),
    };
    check_entry(spec, &workflow, at, findings);
    for (i, item) in list.iter().enumerate() {
        template::check(item, &workflow, None, &at.field("templates").index(i), findings);
    }
}

fn check_template_names(list: &[Value], at: &Path, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (i, item) in list.iter().enumerate() {
        let at = at.index(i).field("name");
        match text(item, "name") {
            None => findings.add(&at, || "every template needs a name".to_owned()),
            Some(name) => {
                template::check_field_name(name, &at, findings);
                if !seen.insert(name) {
                    findings.add(&at, || format!("two templates are called `{}`: rename one", Echo(name)));
                }
            }
        }
    }
}

/// Where the Workflow begins and ends.
fn check_entry(spec: &Value, workflow: &Workflow<'_>, at: &Path, findings: &mut Findings) {
    let arguments = get(spec, "arguments").unwrap_or(&Value::Null);
    let arguments_at = at.field("arguments");
    call::check_names(arguments, &arguments_at, findings);
    call::check_values(arguments, &arguments_at, findings);
    let given = Arguments { value: arguments, at: &arguments_at };
    match text(spec, "entrypoint") {
        None => findings.add(&at.field("entrypoint"), || {
            let there_are = instead("", workflow.templates.keys().copied());
            format!("write the name of the template to begin with; {there_are}")
        }),
        Some(name) => {
            call::check_template_name(name, workflow, &at.field("entrypoint"), findings);
            call::check_inputs(name, workflow, given, findings);
        }
    }
    if let Some(name) = text(spec, "onExit") {
        call::check_template_name(name, workflow, &at.field("onExit"), findings);
        call::check_inputs(name, workflow, given, findings);
    }
    call::check_hooks(Call { value: spec, at }, given, workflow, findings);
}

fn globals(spec: &Value) -> Globals<'_> {
    let arguments = get(spec, "arguments").unwrap_or(&Value::Null);
    let mut outputs = Outputs::default();
    outputs.collect(spec);
    Globals {
        parameters: names(arguments, "parameters").collect(),
        output_parameters: (!outputs.open).then_some(outputs.parameters),
        output_artifacts: (!outputs.open).then_some(outputs.artifacts),
    }
}

/// All outputs that are made global, anywhere in the spec.
#[derive(Debug, Default)]
struct Outputs<'a> {
    parameters: BTreeSet<&'a str>,
    artifacts: BTreeSet<&'a str>,
    /// There may be more, from stored templates or under names that are only known later.
    open: bool,
}

impl<'a> Outputs<'a> {
    fn collect(&mut self, value: &'a Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.open |= is_same_key(key, "templateRef");
                    if is_same_key(key, "outputs") {
                        self.collect_names(value);
                    }
                    self.collect(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn collect_names(&mut self, outputs: &'a Value) {
        let global = |key| items(outputs, key).iter().filter_map(|item| text(item, "globalName"));
        self.open |= global("parameters").chain(global("artifacts")).any(|name| name.contains("{{"));
        self.parameters.extend(global("parameters"));
        self.artifacts.extend(global("artifacts"));
    }
}
