//! The runner `helm`: installs, upgrades, rolls back, tests and uninstalls releases, by the helm program itself.
//!
//! Input: [`args::Args`], in the words of the original Helm runner. The program works in a pod of the run's
//! ServiceAccount ([`crate::exec`]) and always waits for what it made to be ready. Here its arguments are checked.
//! Pure, no I/O.

use serde_json::{Value, json};

use self::args::Args;
use super::{
    Rejection, Runner,
    exec::{Exec, Needs, Pods, Tool},
};

pub mod args;

/// Where a pod finds a chart that comes from a ConfigMap or a Secret.
pub const CHART_FOLDER: &str = "/var/run/runner/chart";
/// The file in there.
pub const CHART_FILE: &str = "chart.tgz";
/// Where a pod finds the values that come from ConfigMaps and Secrets: files, by their place in `valuesFrom`.
pub const VALUES_FOLDER: &str = "/var/run/runner/values";

/// The runner, with pods that are made like that.
pub(super) fn runner(pods: &Pods) -> impl Runner + use<> {
    Exec::new(Helm, pods)
}

struct Helm;

impl Tool for Helm {
    const NAME: &'static str = "helm";
    // Only helm knows what it would do.
    const REHEARSES: bool = true;

    fn check(&self, args: &Value) -> Result<Needs, Rejection> {
        let args = Args::read(args)?;
        let mut mounts = Vec::new();
        if let Some(source) = args.chart.as_ref().and_then(|chart| chart.source.as_ref()) {
            mounts.push((CHART_FOLDER, source.volume(CHART_FILE)));
        }
        if !args.values_from.is_empty() {
            let sources: Vec<Value> = args
                .values_from
                .iter()
                .enumerate()
                .map(|(index, it)| it.projection(&index.to_string()))
                .collect();
            mounts.push((VALUES_FOLDER, json!({"projected": {"sources": sources}})));
        }
        Ok(Needs { mounts })
    }
}

#[cfg(test)]
mod tests;
