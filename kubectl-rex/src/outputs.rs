//! `kubectl rex outputs`: what the work gave back, for people and for shells.

use runner_controller::submit::{Exit, Failure};
use serde_json::Value;

use crate::{
    cli::{OutputForm, Scope},
    terminal,
};

/// Prints the outputs of an execution.
pub(crate) async fn outputs(scope: &Scope, name: &str, form: OutputForm) -> Result<(), Failure> {
    let execution = scope.open().await?.executions().get(name).await?;
    let status = execution.status.unwrap_or_default();
    let words = match (status.output, status.output_ref) {
        (Some(output), _) => {
            terminal::print(&written(&output, form));
            return Ok(());
        }
        (None, Some(secret)) => format!(
            "the outputs of {name} are secret, or too large for its status; they are in the Secret {}: kubectl get secret {} -o yaml",
            secret.name, secret.name
        ),
        (None, None) => format!("{name} has no outputs; to see how far it is: kubectl rex describe {name}"),
    };
    Err(Failure { exit: Exit::Failed, words })
}

/// The outputs in that form, each ending with a line end.
fn written(output: &Value, form: OutputForm) -> String {
    match form {
        OutputForm::Json => format!("{output:#}\n"),
        OutputForm::Yaml => serde_yaml::to_string(output).unwrap_or_else(|_| format!("{output:#}\n")),
        OutputForm::Env => {
            let mut lines = Vec::new();
            variables(output, "OUTPUT", &mut lines);
            lines.concat()
        }
    }
}

/// `OUTPUT_NAME='value'` for every value, so that a shell can read it with `eval`; nested names are joined by `_`.
/// The prefix keeps an output named `path` from becoming the shell's.
fn variables(value: &Value, name: &str, lines: &mut Vec<String>) {
    let mut put = |text: &str| lines.push(format!("{name}='{}'\n", text.replace('\'', r"'\''")));
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                variables(value, &format!("{name}_{}", in_a_variable(key)), lines);
            }
        }
        Value::String(text) => put(text),
        Value::Null => put(""),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => put(&value.to_string()),
    }
}

/// A key with only what the name of a variable may have.
fn in_a_variable(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::written;
    use crate::cli::OutputForm;

    #[test]
    fn outputs_are_written_for_people_and_for_shells() {
        let output = json!({
            "greeting": "it's $HOME",
            "helm-release": {"name": "jira", "version": 3, "2nd": true},
            "hosts": ["a", "b"],
            "none": null,
        });
        expect![[r"
            greeting: it's $HOME
            helm-release:
              2nd: true
              name: jira
              version: 3
            hosts:
            - a
            - b
            none: null
        "]]
        .assert_eq(&written(&output, OutputForm::Yaml));
        expect![[r#"
            OUTPUT_GREETING='it'\''s $HOME'
            OUTPUT_HELM_RELEASE_2ND='true'
            OUTPUT_HELM_RELEASE_NAME='jira'
            OUTPUT_HELM_RELEASE_VERSION='3'
            OUTPUT_HOSTS='["a","b"]'
            OUTPUT_NONE=''
        "#]]
        .assert_eq(&written(&output, OutputForm::Env));
        assert!(written(&output, OutputForm::Json).starts_with("{\n  \"greeting\""));
        assert_eq!(written(&json!("alone"), OutputForm::Env), "OUTPUT='alone'\n");
    }
}
