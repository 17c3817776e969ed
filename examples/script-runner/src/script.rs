//! The runner `script`: a shell script, run by a Job. Pure, no I/O.
//!
//! In: `args.script`, and if wanted `args.image` and `args.variables`. Out: a Job that runs it. Only the arguments
//! are particular here; what becomes of a Job is told by the runner `job`, which comes with the library.

use kube::core::ApiResource;
use runner_controller::runners::{
    Evidence, Glance, Glimpse, Observation, Problem, Rejection, Rendered, Run, Runner, Stop, View, job::Job,
};
use serde_json::{Map, Value, json};

/// Runs a shell script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    job: Job,
}

impl Runner for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn render(&self, run: &Run<'_>) -> Result<Rendered, Rejection> {
        let args = job_args(run.args)?;
        self.job.render(&Run { args: &args, ..*run })
    }

    fn interpret(&self, evidence: &Evidence) -> Observation {
        self.job.interpret(evidence)
    }

    fn child(&self) -> ApiResource {
        self.job.child()
    }

    fn view(&self) -> View {
        self.job.view()
    }

    fn glance(&self, child: &Glimpse<'_>) -> Glance {
        self.job.glance(child)
    }

    fn wants_pods(&self) -> bool {
        self.job.wants_pods()
    }

    fn stop(&self, why: Stop) -> Value {
        self.job.stop(why)
    }
}

/// The arguments of the runner `job` for those of this one.
fn job_args(args: &Value) -> Result<Value, Rejection> {
    let none = Map::new();
    let fields = args.as_object().unwrap_or(&none);
    let problem =
        |field: &str, what: &str| Problem { path: format!("spec.args.{field}"), what: what.to_owned() };
    let mut problems: Vec<Problem> = fields
        .keys()
        .filter(|key| !matches!(key.as_str(), "script" | "image" | "variables"))
        .map(|key| problem(key, "is no field of this runner; there are script, image and variables"))
        .collect();
    let script = fields.get("script").and_then(Value::as_str).filter(|script| !script.trim().is_empty());
    if script.is_none() {
        problems.push(problem("script", "must be the text of a shell script, such as: echo hello"));
    }
    let image = fields.get("image").map_or(Some("busybox:1"), Value::as_str);
    if image.is_none() {
        problems.push(problem("image", "must be the name of an image that has /bin/sh"));
    }
    let variables = match fields.get("variables") {
        None => Some(&none),
        Some(variables) => variables.as_object().filter(|all| all.values().all(Value::is_string)),
    };
    if variables.is_none() {
        problems.push(problem("variables", "must be an object of texts"));
    }
    Rejection::unless_empty(problems)?;
    let env: Vec<Value> =
        variables.into_iter().flatten().map(|(name, value)| json!({"name": name, "value": value})).collect();
    Ok(json!({"image": image, "command": ["/bin/sh", "-eu", "-c", script], "env": env}))
}

#[cfg(test)]
mod tests {
    use runner_controller::runners::{Run, Runner};
    use serde_json::{Value, json};

    use super::Script;

    fn render(args: &Value) -> Result<Value, String> {
        let rendered =
            Script::default().render(&Run::example(args)).map_err(|rejection| rejection.to_string())?;
        Ok(Value::Object(rendered.spec)["template"]["spec"].clone())
    }

    #[test]
    fn a_script_becomes_a_job_as_the_service_account() {
        let pod = render(&json!({"script": "echo $WHOM", "variables": {"WHOM": "you"}})).unwrap();
        assert_eq!(pod["serviceAccountName"], "deployer");
        assert_eq!(pod["containers"][0]["command"], json!(["/bin/sh", "-eu", "-c", "echo $WHOM"]));
        assert_eq!(pod["containers"][0]["env"], json!([{"name": "WHOM", "value": "you"}]));
    }

    #[test]
    fn all_mistakes_are_told_at_once_by_their_paths() {
        let words = render(&json!({"scirpt": "x", "image": 1, "variables": {"A": 2}})).unwrap_err();
        for path in ["spec.args.scirpt", "spec.args.script", "spec.args.image", "spec.args.variables"] {
            assert!(words.contains(path), "{words}");
        }
    }
}
