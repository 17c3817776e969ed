//! The module's state: where it is kept, and how it comes back.
//!
//! It is in the Secret `tfstate-default-<module.name>` of the run's namespace, as OpenTofu's own Kubernetes backend
//! keeps it. That backend writes an empty state as soon as it looks for one, so a dry run asks for the Secret first, and
//! does without the backend if there is none. I/O: reads whether that Secret is there, as the run's ServiceAccount.

use std::fmt::Write;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;
use serde_json::{Map, Value, json};

use super::Tofu;
use crate::{
    exec::{Failure, pod::refused},
    reason::Reason,
    runners::terraform::args::Args,
};

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a Secret of that namespace, whose name has that end.
    Cluster { namespace: String, suffix: String },
    /// Nowhere that outlives the pod.
    Pod,
}

impl Place {
    /// The same in the words of a module.
    pub(super) fn backend(&self) -> Value {
        let backend = match self {
            Self::Cluster { namespace, suffix } => {
                json!({"kubernetes": {"secret_suffix": suffix, "namespace": namespace, "in_cluster_config": true}})
            }
            Self::Pod => json!({"local": {"path": "/tmp/terraform.tfstate"}}),
        };
        json!({"terraform": {"backend": backend}})
    }
}

/// The name of the Secret.
pub(super) fn secret(args: &Args) -> String {
    format!("tfstate-default-{}", args.module.name)
}

/// Where a run keeps the state.
///
/// # Errors
/// If a dry run cannot see whether there is one.
pub(super) async fn place(tofu: &Tofu<'_>) -> Result<Place, Failure> {
    let (namespace, suffix) = (tofu.pod.namespace.clone(), tofu.args.module.name.clone());
    let cluster = Place::Cluster { namespace, suffix };
    if !tofu.dry_run {
        return Ok(cluster);
    }
    let secrets: Api<Secret> = Api::namespaced(tofu.pod.client(), &tofu.pod.namespace);
    let found = secrets
        .get_metadata_opt(&secret(&tofu.args))
        .await
        .map_err(|error| refused("get secrets", Reason::TerraformFailed, &error))?;
    Ok(if found.is_some() { cluster } else { Place::Pod })
}

/// The output `tfstate`, as in the original: the state's file and the variables' file.
pub(super) fn told(state: &str, variables: &Map<String, Value>) -> Value {
    let file = |text: String| json!(ByteString(text.into_bytes()));
    json!({"value": {"state": file(state.to_owned()), "variables": file(tfvars(variables))}})
}

/// A `terraform.tfvars`.
fn tfvars(variables: &Map<String, Value>) -> String {
    let lines = variables.iter().map(|(name, value)| [name, " = ", &literal(value), "\n"].concat());
    lines.collect()
}

/// A value in the language of modules: nearly JSON, but for what begins a template or is not escaped there.
fn literal(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{} = {}", quoted(name), literal(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if rest.peek() == Some(&'{') => quoted.extend([char, char]),
            char if char.is_control() => {
                // Nothing can go wrong with a text.
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Place, tfvars, told};

    #[test]
    fn variables_are_written_as_a_person_would() {
        let variables = json!({
            "list": [1, true, null],
            "map": {"a b": "c"},
            "text": "say \"${hi}\" %{ at 50%\n\\ \u{1}$",
        });
        let expected = "list = [1, true, null]\nmap = { \"a b\" = \"c\" }\n\
                        text = \"say \\\"$${hi}\\\" %%{ at 50%\\n\\\\ \\u0001$\"\n";
        assert_eq!(tfvars(variables.as_object().unwrap()), expected);
    }

    #[test]
    fn the_state_comes_back_in_the_originals_form() {
        let variables = json!({"a": 1});
        let told = told("{}", variables.as_object().unwrap());
        assert_eq!(told, json!({"value": {"state": "e30=", "variables": "YSA9IDEK"}}));
    }

    #[test]
    fn a_state_is_kept_in_the_runs_namespace_or_not_at_all() {
        let cluster = Place::Cluster { namespace: "team-a".into(), suffix: "db".into() }.backend();
        assert_eq!(cluster["terraform"]["backend"]["kubernetes"]["namespace"], "team-a");
        assert!(Place::Pod.backend()["terraform"]["backend"]["local"].is_object());
    }
}
