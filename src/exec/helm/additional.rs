//! What else comes back of a release: a template of the user's, rendered by helm itself as a part of the chart.
//!
//! The chart becomes the only subchart of one that holds nothing but the template, which is given the subchart's own
//! scope: so `.Values`, `.Chart`, `.Release` and the chart's named templates are what they are within the chart.
//! I/O: writes that chart below `/tmp`; runs helm, which fetches the chart if it comes from a repository.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Helm, chart_words};
use crate::{
    exec::{
        Failure,
        additional::{FOLDER, TEMPLATE, VALUES, write},
    },
    reason::Reason,
    runners::helm::{CHART_FILE, CHART_FOLDER, args::Additional},
};

/// Renders the template; `chart` is the chart's metadata.
pub(super) async fn render(
    helm: &Helm<'_>,
    additional: &Additional,
    chart: &Value,
) -> Result<Value, Failure> {
    let name = chart.get("name").and_then(Value::as_str).unwrap_or_default();
    write(&additional.go_template, &format!("(index .Subcharts {name:?})"))
        .and_then(|()| take_mounted())
        .map_err(|error| Failure::unwritten("the template", &error))?;
    if !Path::new(CHART_FOLDER).exists() {
        let pull = [
            &["pull".to_owned()][..],
            &chart_words(&helm.args),
            &["--destination".into(), format!("{FOLDER}/charts")],
        ];
        let pull = pull.concat();
        helm.must(&pull.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    }
    let values = helm.must(&["get", "values", &helm.release, "--all", "--output", "json"]).await?;
    let values: Value = serde_json::from_str(&values).unwrap_or(Value::Null);
    let scoped = json!({ name: values, "global": values.get("global") });
    fs::write(VALUES, scoped.to_string()).map_err(|error| Failure::unwritten("the values", &error))?;
    let told = helm
        .must(&["template", &helm.release, FOLDER, "--values", VALUES, "--show-only", TEMPLATE])
        .await
        .map_err(|failure| Failure {
            message: format!(
                "the release is made, but spec.args.output.additional cannot be rendered: {failure}"
            ),
            ..failure
        })?;
    serde_yaml::from_str(&told).map_err(|_| {
        let what = "the release is made, but spec.args.output.additional does not render to YAML";
        Failure::new(Reason::InvalidArgs, what)
    })
}

/// Puts the chart into the other, if it is mounted.
fn take_mounted() -> std::io::Result<()> {
    let charts = Path::new(FOLDER).join("charts");
    fs::create_dir_all(&charts)?;
    let mounted = Path::new(CHART_FOLDER).join(CHART_FILE);
    if mounted.exists() {
        fs::copy(mounted, charts.join(CHART_FILE))?;
    }
    Ok(())
}
