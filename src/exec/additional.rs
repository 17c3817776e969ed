//! What else comes back: a Go template of the user's, rendered by helm's engine, here over plain data, and in
//! [`super::helm`] as a part of a chart. I/O: writes a chart of nothing but the template below `/tmp`; runs helm.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Failure, program};
use crate::reason::Reason;

/// The chart.
pub(super) const FOLDER: &str = "/tmp/output";
/// The file with its values.
pub(super) const VALUES: &str = "/tmp/output-values.json";
/// The template within the chart.
pub(super) const TEMPLATE: &str = "templates/output.yaml";

/// Renders the template, a text or an object of texts, with `data` for its dot.
///
/// # Errors
/// If it does not render, or not to YAML.
pub(super) async fn render(
    template: &Value,
    data: &Value,
    stop: &CancellationToken,
) -> Result<Value, Failure> {
    fs::write(VALUES, json!({ "data": data }).to_string())
        .and_then(|()| write(template, ".Values.data"))
        .map_err(|error| Failure::unwritten("the template", &error))?;
    let words = ["template", "output", FOLDER, "--values", VALUES, "--show-only", TEMPLATE];
    let finished = program::run("helm", words, stop).await?;
    if !finished.ok {
        return Err(Failure::new(Reason::InvalidArgs, program::last_error(&finished.stderr)));
    }
    serde_yaml::from_str(&finished.stdout)
        .map_err(|_| Failure::new(Reason::InvalidArgs, "does not render to YAML"))
}

/// Writes the chart; in the template, the dot is what `scope` stands for.
pub(super) fn write(template: &Value, scope: &str) -> std::io::Result<()> {
    let text = match template {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            serde_yaml::to_string(template).unwrap_or_default()
        }
    };
    let whole = format!(
        "{{{{- define \"runner.output\" }}}}{text}{{{{ end -}}}}\n{{{{ include \"runner.output\" {scope} }}}}\n"
    );
    fs::create_dir_all(Path::new(FOLDER).join("templates"))?;
    let about = json!({"apiVersion": "v2", "name": "runner-output", "version": "0.0.0"});
    fs::write(Path::new(FOLDER).join("Chart.yaml"), about.to_string())?;
    fs::write(Path::new(FOLDER).join(TEMPLATE), whole)
}
