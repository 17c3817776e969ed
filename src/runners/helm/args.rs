//! The arguments of the runner `helm`, as a person writes them and as the pod carries them out. Pure.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    duration,
    names::{is_dns_label, is_word},
    runners::{
        Problem, Rejection,
        exec::{
            Source,
            read::{problem, read},
        },
    },
};

/// How long helm waits for what it made, unless the arguments say otherwise.
const TIMEOUT: Duration = Duration::from_mins(5);
/// How many revisions of a release are kept, unless the arguments say otherwise; as in the original.
const MAX_HISTORY: u32 = 10;
const MAX_VALUES_FROM: usize = 16;
/// How long helm lets the name of a release be.
pub const LONGEST_NAME: usize = 53;

/// What to do with which release.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "they are the flags of helm")]
pub struct Args {
    /// What to do; install unless given.
    #[serde(default)]
    pub command: Command,
    /// The release; `context.name` unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// Make up a name from the chart's and the execution's uid.
    #[serde(default)]
    pub generate_name: bool,
    /// Install over a release of that name that failed or was uninstalled with its history kept.
    #[serde(default)]
    pub replace: bool,
    /// What to install, or to upgrade to.
    #[serde(default)]
    pub chart: Option<Chart>,
    /// Values over the chart's own.
    #[serde(default)]
    pub values: Map<String, Value>,
    /// Values as YAML texts in ConfigMaps and Secrets, over the chart's own and below `values`. They are mounted.
    #[serde(default)]
    pub values_from: Vec<Source>,
    /// Run no hooks.
    #[serde(default)]
    pub no_hooks: bool,
    /// Upgrade: begin with the values of the last release.
    #[serde(default)]
    pub reuse_values: bool,
    /// Upgrade: begin with the values of the chart.
    #[serde(default)]
    pub reset_values: bool,
    /// How many revisions are kept.
    #[serde(default = "max_history")]
    pub max_history: u32,
    /// Rollback: to which revision; the one before unless given.
    #[serde(default)]
    pub revision: Option<u32>,
    /// How long helm waits for what it made, as a Go duration.
    #[serde(default)]
    pub timeout: Option<String>,
    /// What comes back.
    #[serde(default)]
    pub output: Wanted,
}

/// What helm is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Make a release.
    #[default]
    Install,
    /// Change it.
    Upgrade,
    /// Remove it.
    Uninstall,
    /// Go back to an earlier revision.
    Rollback,
    /// Run the chart's tests.
    Test,
}

impl Command {
    /// The word on helm's command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Uninstall => "uninstall",
            Self::Rollback => "rollback",
            Self::Test => "test",
        }
    }

    /// Whether it takes a chart and values.
    pub const fn takes_chart(self) -> bool {
        match self {
            Self::Install | Self::Upgrade => true,
            Self::Uninstall | Self::Rollback | Self::Test => false,
        }
    }
}

/// A chart: by name from a repository, or the archive itself from a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Chart {
    /// Its name within the repository.
    #[serde(default)]
    pub name: Option<String>,
    /// The repository, beginning with `http://`, `https://` or `oci://`.
    #[serde(default)]
    pub repo: Option<String>,
    /// Its version; the latest unless given.
    #[serde(default)]
    pub version: Option<String>,
    /// The archive.
    #[serde(default, rename = "from")]
    pub source: Option<Source>,
}

/// What comes back.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// Under which name the release comes back; `helm-release` unless given.
    #[serde(default)]
    pub helm_release: Option<Named>,
    /// What else comes back.
    #[serde(default)]
    pub additional: Option<Additional>,
}

/// An output's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// The name; in the original, of a file.
    #[serde(default)]
    pub file_name: Option<String>,
}

/// What else comes back: a template that helm renders as a part of the chart, so that it can use the chart's values
/// and helpers. Its text must be YAML.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Additional {
    /// Under which name it comes back; `additional` unless given.
    #[serde(default)]
    pub file_name: Option<String>,
    /// The template: a text, or an object whose texts are templates, as in the original.
    pub go_template: Value,
}

fn max_history() -> u32 {
    MAX_HISTORY
}

impl Args {
    /// Reads and checks arguments.
    ///
    /// # Errors
    /// Everything that is wrong, by field and without values.
    pub fn read(args: &Value) -> Result<Self, Rejection> {
        read(args, Self::check)
    }

    /// The places in `valuesFrom` of what comes from Secrets.
    pub fn secret_values(&self) -> impl Iterator<Item = usize> + '_ {
        let places = self.values_from.iter().enumerate();
        places.filter(|(_, source)| source.is_secret()).map(|(place, _)| place)
    }

    /// How long helm waits for what it made.
    pub fn wait(&self) -> Duration {
        duration::or_default(self.timeout.as_deref(), TIMEOUT)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        let mut add = |field: &str, what: &str| problems.push(problem(field, what));
        if let Some(name) = &self.name
            && !is_dns_label(name, LONGEST_NAME)
        {
            add("name", "must be 1 to 53 of a-z, 0-9 and -, beginning and ending with a letter or digit");
        }
        if self.generate_name && (self.name.is_some() || self.command != Command::Install) {
            add("generateName", "goes with install, and without name");
        }
        if self.reuse_values && self.reset_values {
            add("resetValues", "contradicts reuseValues: write one of them");
        }
        if self.revision == Some(0) {
            add("revision", "must be at least 1");
        }
        match self.timeout.as_deref().map(duration::parse) {
            None | Some(Ok(Some(_))) => {}
            Some(Ok(None) | Err(_)) => add("timeout", "must be a Go duration of at least 1s, such as 5m"),
        }
        self.check_fit(&mut add);
        match (&self.chart, self.command.takes_chart()) {
            (Some(chart), true) => chart.check(&mut add),
            (None, true) => add("chart", "is required: name and repo, or from"),
            (Some(_), false) => add("chart", "goes with install and upgrade"),
            (None, false) => {}
        }
        if self.values_from.len() > MAX_VALUES_FROM {
            add("valuesFrom", "has more than 16 entries");
        }
        if !self.values_from.iter().all(Source::is_plain) {
            add("valuesFrom", "must name ConfigMaps and Secrets of the same namespace, and keys of them");
        }
    }

    /// What goes with some commands only.
    fn check_fit(&self, add: &mut impl FnMut(&str, &str)) {
        let upgrade = self.command == Command::Upgrade;
        let set = [
            ("replace", self.replace, self.command == Command::Install, "goes with install"),
            ("reuseValues", self.reuse_values, upgrade, "goes with upgrade"),
            ("resetValues", self.reset_values, upgrade, "goes with upgrade"),
            ("revision", self.revision.is_some(), self.command == Command::Rollback, "goes with rollback"),
            ("values", !self.values.is_empty(), self.command.takes_chart(), "goes with install and upgrade"),
            (
                "valuesFrom",
                !self.values_from.is_empty(),
                self.command.takes_chart(),
                "goes with install and upgrade",
            ),
            ("noHooks", self.no_hooks, self.command != Command::Test, "would leave nothing to test"),
        ];
        for (field, set, fits, what) in set {
            if set && !fits {
                add(field, what);
            }
        }
    }
}

impl Chart {
    fn check(&self, add: &mut impl FnMut(&str, &str)) {
        let plain = |text: &str| is_word(text, 512);
        match (&self.source, &self.name, &self.repo) {
            (Some(source), None, None) if self.version.is_none() => {
                if !source.is_plain() {
                    add(
                        "chart.from",
                        "must name a ConfigMap or Secret of the same namespace, and a key of it",
                    );
                }
            }
            (Some(_), _, _) => add("chart", "takes from, or name, repo and version; not both"),
            (None, Some(name), Some(repo)) => {
                if !plain(name) || name.contains("..") {
                    add("chart.name", "must be the name of a chart");
                }
                let known = ["http://", "https://", "oci://"].iter().any(|scheme| repo.starts_with(scheme));
                if !known || !plain(repo) {
                    add("chart.repo", "must begin with http://, https:// or oci://");
                } else if repo.split('/').nth(2).is_none_or(|authority| authority.contains('@')) {
                    add("chart.repo", "must name a host, and hold no user name or password");
                }
                if !self.version.as_deref().is_none_or(plain) {
                    add("chart.version", "must be a version, or a range of versions");
                }
            }
            (None, _, _) => add("chart", "needs name and repo, or from"),
        }
    }
}
