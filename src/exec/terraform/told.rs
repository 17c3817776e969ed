//! What tofu says, in its machine-readable form: <https://opentofu.org/docs/internals/machine-readable-ui/>. Pure.

use serde_json::{Map, Value, json};

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// One more change is done.
    Changed,
    /// Anything else.
    Other,
}

impl Told {
    pub(super) fn read(line: &str) -> Self {
        let told: Value = serde_json::from_str(line).unwrap_or_default();
        if told.get("type") == Some(&json!("apply_complete")) { Self::Changed } else { Self::Other }
    }
}

/// The errors among the lines, on one line; none if there are none.
pub(super) fn errors(lines: &str) -> Option<String> {
    let errors: Vec<String> = lines
        .lines()
        .filter_map(|line| {
            let told: Value = serde_json::from_str(line).ok()?;
            let diagnostic =
                told.get("diagnostic").filter(|it| it.get("severity") == Some(&json!("error")))?;
            let text = |field: &str| diagnostic.get(field).and_then(Value::as_str).unwrap_or_default();
            // Not every error has an address, but the block that it is in.
            let block = || diagnostic.pointer("/snippet/context").and_then(Value::as_str);
            let address = diagnostic.get("address").and_then(Value::as_str).filter(|it| !it.is_empty());
            let at = address.or_else(block).map(|at| format!("{at}: ")).unwrap_or_default();
            Some(format!("{at}{}: {}", text("summary"), text("detail")))
        })
        .collect();
    (!errors.is_empty()).then(|| one_line(&errors.join("; ")))
}

/// The error that tofu tells people on standard error, without the frame.
pub(super) fn plain_error(stderr: &str) -> String {
    let text = stderr.replace(['│', '╷', '╵'], " ");
    let from = text.find("Error: ").map_or(0, |at| at + "Error: ".len());
    one_line(text.get(from..).unwrap_or_default())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches([' ', ':']).to_owned()
}

/// What a plan would do, by address, without values.
pub(super) fn changes(plan: &Value) -> Vec<Value> {
    let changes = plan.get("resource_changes").and_then(Value::as_array);
    let told = |change: &Value| json!({"address": change.get("address"), "actions": change.pointer("/change/actions")});
    changes.into_iter().flatten().map(told).collect()
}

/// How many of them are changes indeed.
pub(super) fn changed(changes: &[Value]) -> usize {
    let idle = [json!(["no-op"]), json!(["read"])];
    changes.iter().filter(|it| it.get("actions").is_some_and(|actions| !idle.contains(actions))).count()
}

/// The outputs by name, and whether one of them is secret.
pub(super) fn outputs(shown: &Value) -> (Map<String, Value>, bool) {
    let outputs = shown.as_object().cloned().unwrap_or_default();
    let sensitive = outputs.values().any(|output| output.get("sensitive") == Some(&json!(true)));
    let value = |(name, output): (String, Value)| (name, output.get("value").cloned().unwrap_or_default());
    (outputs.into_iter().map(value).collect(), sensitive)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::{Told, changed, changes, errors, outputs, plain_error};

    #[test]
    fn errors_are_told_by_their_address() {
        let lines = [
            json!({"type": "apply_start"}),
            json!({"type": "diagnostic", "diagnostic": {"severity": "warning", "summary": "old", "detail": ""}}),
            json!({"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "failed", "detail": "for\na reason", "address": "a.b"}}),
        ];
        let lines = lines.map(|line| line.to_string()).join("\n");
        assert_eq!(errors(&lines).as_deref(), Some("a.b: failed: for a reason"));
        assert_eq!(errors("no JSON"), None);
        assert_eq!(plain_error("╷\n│ Error: Failed\n│\n│ since it did\n╵\n"), "Failed since it did");
    }

    #[test]
    fn an_error_without_an_address_is_told_by_its_block() {
        let block = json!({"context": "resource \"a\" \"b\""});
        let diagnostic = json!({"severity": "error", "summary": "failed", "detail": "", "snippet": block});
        let told = errors(&json!({"diagnostic": diagnostic}).to_string());
        assert_eq!(told.as_deref(), Some("resource \"a\" \"b\": failed"));
    }

    #[test]
    fn a_plan_is_told_without_values() {
        let change = |address: &str, action: &str| json!({"address": address, "change": {"actions": [action], "after": "sesame"}});
        let told = changes(&json!({"resource_changes": [change("a.b", "create"), change("a.c", "no-op")]}));
        assert_eq!(told[0], json!({"address": "a.b", "actions": ["create"]}));
        assert_eq!((told.len(), changed(&told)), (2, 1));
    }

    #[test]
    fn one_secret_output_makes_all_secret() {
        let output =
            |value: i32, sensitive: bool| json!({"value": value, "type": "number", "sensitive": sensitive});
        let expected = Map::from_iter([("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))]);
        assert_eq!(
            outputs(&json!({"a": output(1, false), "b": output(2, false)})),
            (expected.clone(), false)
        );
        assert_eq!(outputs(&json!({"a": output(1, false), "b": output(2, true)})), (expected, true));
    }

    #[test]
    fn only_what_is_complete_counts() {
        assert_eq!(Told::read(r#"{"type":"apply_complete"}"#), Told::Changed);
        assert_eq!(Told::read(r#"{"type":"apply_start"}"#), Told::Other);
        assert_eq!(Told::read("x"), Told::Other);
    }
}
