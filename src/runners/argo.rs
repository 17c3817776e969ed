//! Runs an Argo Workflow.
//!
//! In: `args.workflow`, a WorkflowSpec. Out: the spec of a Workflow under the run's ServiceAccount, and what became
//! of that Workflow, read from Argo's labels and status. Pure, no I/O.
//!
//! - The ServiceAccount is the run's in every place the spec can name one: see [`service_account`] for how, and
//!   for what no spec can reach.
//! - The spec is validated before anything is created: see [`validate`].
//! - `ttlStrategy` is held back until the result is recorded. One that comes from a stored template or from Argo's
//!   `workflowDefaults` cannot be held back: it must leave the controller the time to read the result.
//! - `suspend: true` of the user's own means that somebody else will release the Workflow.
//!
//! Argo marks a Workflow by two labels, which it writes together with the status in one update: `phase`, and
//! `completed: "true"` once the phase is final. A Workflow that fails validation gets both without having run;
//! so does one that is shut down before it began. Written against Argo Workflows v3.7.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

use self::document::{Findings, Path, instead};
use super::{Evidence, Glance, Glimpse, Observation, Problem, Rejection, Rendered, Run, Runner, Stop, View};

mod call;
mod dag;
mod document;
mod leaf;
mod nodes;
mod outcome;
mod pod_spec_patch;
mod service_account;
mod signature;
mod template;
#[cfg(test)]
mod tests;
mod validate;
mod variables;

/// The only argument.
const WORKFLOW: &str = "workflow";
const PHASE: &str = "workflows.argoproj.io/phase";
const COMPLETED: &str = "workflows.argoproj.io/completed";

/// The runner `argo-workflow`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArgoWorkflow;

impl Runner for ArgoWorkflow {
    fn name(&self) -> &'static str {
        "argo-workflow"
    }

    fn child(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow");
        ApiResource::from_gvk_with_plural(&kind, "workflows")
    }

    fn view(&self) -> View {
        View::Metadata
    }

    fn render(&self, run: &Run<'_>) -> Result<Rendered, Rejection> {
        let at = Path::root("spec.args").field(WORKFLOW);
        let given = workflow(run.args)?;
        let spec = Value::Object(given.clone());
        let mut problems = validate::check(&spec, &at);
        let mut findings = Findings::default();
        service_account::check_patches(&spec, run.service_account, &at, &mut findings);
        problems.extend(findings.into_problems());
        Rejection::unless_empty(problems)?;

        let mut spec = given.clone();
        service_account::force(&mut spec, run.service_account);
        let keep_suspended = spec.remove("suspend") == Some(Value::Bool(true));
        let time_to_live = spec.remove("ttlStrategy").filter(|value| !value.is_null());
        Ok(Rendered {
            spec,
            held_back: time_to_live.map(|value| json!({"spec": {"ttlStrategy": value}})),
            keep_suspended,
            ..Rendered::default()
        })
    }

    /// Labels do not tell whether a Workflow that runs makes progress: Argo says `Running` even while all its pods
    /// wait. `Pending` means that Argo itself holds it back, which a closer look explains.
    fn glance(&self, child: &Glimpse<'_>) -> Glance {
        let label = |key| child.labels.get(key).map(String::as_str);
        match (label(PHASE), label(COMPLETED)) {
            (Some("Succeeded"), Some("true")) => Glance::Ended { succeeded: true },
            (Some("Failed" | "Error"), Some("true")) => Glance::Ended { succeeded: false },
            (Some("Pending"), _) => Glance::Doubtful,
            _ => Glance::Underway,
        }
    }

    fn interpret(&self, evidence: &Evidence) -> Observation {
        outcome::interpret(&evidence.child)
    }

    /// Argo can miss a release that comes while it writes the Workflow's first status: the reply to that write then
    /// takes the place of the released Workflow in its cache, and Argo does not look again until something changes.
    fn is_unheard(&self, evidence: &Evidence) -> bool {
        outcome::is_untouched(&evidence.child)
    }

    /// Argo's own shutdown: under `Stop` its exit handlers still run, under `Terminate` nothing does.
    ///
    /// A suspended Workflow ignores a shutdown (argoproj/argo-workflows#17041), hence the release; nothing of it
    /// runs any more, since Argo starts no pod under a shutdown. Steps that wait for a person (`suspend`
    /// templates) fail at once.
    fn stop(&self, why: Stop) -> Value {
        let shutdown = match why {
            Stop::Cancel => "Stop",
            Stop::Terminate => "Terminate",
        };
        json!({"spec": {"shutdown": shutdown, "suspend": false}})
    }
}

/// The WorkflowSpec among the arguments.
fn workflow(args: &Value) -> Result<&Map<String, Value>, Rejection> {
    const HOW: &str = "write the WorkflowSpec there: what stands under `spec` in a Workflow manifest";
    let args_at = Path::root("spec.args");
    let at = args_at.field(WORKFLOW);
    let args = match args {
        Value::Object(args) => args,
        Value::Null => return Err(Rejection::new(at.into_string(), HOW)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(Rejection::new(
                args_at.into_string(),
                "this must be an object with the field `workflow`",
            ));
        }
    };
    let mut findings = Findings::default();
    for key in args.keys().filter(|key| *key != WORKFLOW) {
        findings.add(&args_at.field(key), || {
            let advice = instead(key, std::iter::once(WORKFLOW));
            let advice = advice.strip_prefix("did").map_or_else(String::new, |_| format!("; {advice}"));
            format!("this runner takes only `workflow`: remove it{advice}")
        });
    }
    let spec = match args.get(WORKFLOW) {
        Some(Value::Object(spec)) => Some(spec),
        None | Some(Value::Null) => {
            findings.add(&at, || HOW.to_owned());
            None
        }
        Some(_) => {
            findings.add(&at, || format!("this must be an object: {HOW}"));
            None
        }
    };
    let manifest: Vec<&str> = spec
        .into_iter()
        .flat_map(|spec| {
            ["apiVersion", "kind", "metadata", "spec", "status"]
                .into_iter()
                .filter(|key| spec.contains_key(*key))
        })
        .collect();
    if !manifest.is_empty() {
        findings.add(&at, || {
            format!(
                "this is a whole manifest ({}): write only what stands under its `spec`; the Workflow is named by \
                 spec.context.name",
                manifest.join(", ")
            )
        });
    }
    let problems: Vec<Problem> = findings.into_problems();
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(Rejection { problems }),
    }
}
