//! A Go template over plain data, rendered by helm's engine. I/O: writes a chart of nothing but that below `/tmp`; runs
//! helm.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Failure, program};
use crate::reason::Reason;

const FOLDER: &str = "/tmp/output";
const VALUES: &str = "/tmp/output-values.json";
const TEMPLATE: &str = "templates/output.yaml";

/// Renders the template, a text or an object of texts, with `data` for its dot.
///
/// # Errors
/// If it does not render, or not to YAML.
pub(super) async fn render(
    template: &Value,
    data: &Value,
    stop: &CancellationToken,
) -> Result<Value, Failure> {
    write(template, data).map_err(|error| {
        Failure::new(Reason::InternalError, format!("the template cannot be written ({error})"))
    })?;
    let words = ["template", "output", FOLDER, "--values", VALUES, "--show-only", TEMPLATE];
    let finished = program::run("helm", words, stop).await?;
    if !finished.ok {
        return Err(Failure::new(Reason::InvalidArgs, program::last_error(&finished.stderr)));
    }
    serde_yaml::from_str(&finished.stdout)
        .map_err(|_| Failure::new(Reason::InvalidArgs, "does not render to YAML"))
}

fn write(template: &Value, data: &Value) -> std::io::Result<()> {
    let text = match template {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            serde_yaml::to_string(template).unwrap_or_default()
        }
    };
    let whole = format!(
        "{{{{- define \"runner.output\" }}}}{text}{{{{ end -}}}}\n{{{{ include \"runner.output\" .Values.data }}}}\n"
    );
    fs::create_dir_all(Path::new(FOLDER).join("templates"))?;
    let about = json!({"apiVersion": "v2", "name": "output", "version": "0.0.0"});
    fs::write(Path::new(FOLDER).join("Chart.yaml"), about.to_string())?;
    fs::write(Path::new(FOLDER).join(TEMPLATE), whole)?;
    fs::write(VALUES, json!({ "data": data }).to_string())
}
