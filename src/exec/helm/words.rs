//! What is said to helm, and in what words it comes back. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Helm, chart_words, lock::Mark, value_words};
use crate::runners::helm::args::{Args, Command};

/// A command line.
pub(super) struct Words(Vec<String>);

impl Words {
    /// The command line that carries out a run.
    pub(super) fn of(helm: &Helm<'_>, mark: &Mark) -> Vec<String> {
        let args = &helm.args;
        let mut words = Self(Vec::new());
        words.add([args.command.as_str(), &helm.release]);
        match args.command {
            Command::Install | Command::Upgrade => {
                words.0.extend(chart_words(args));
                words.0.extend(value_words(args));
                words.add(["--output", "json", "--wait-for-jobs", "--labels", &mark.labels()]);
            }
            Command::Rollback => {
                words.0.extend(args.revision.map(|revision| revision.to_string()));
                words.add(["--wait-for-jobs"]);
            }
            Command::Uninstall | Command::Test => {}
        }
        words.add(["--timeout", &format!("{}s", args.wait().as_secs())]);
        match args.command {
            Command::Install | Command::Upgrade | Command::Rollback | Command::Uninstall => {
                words.add(["--wait=watcher"]);
            }
            Command::Test => {}
        }
        if matches!(args.command, Command::Upgrade | Command::Rollback) {
            words.add(["--history-max", &args.max_history.to_string()]);
        }
        words.flags(args, helm.dry_run);
        words.0
    }

    fn flags(&mut self, args: &Args, dry_run: bool) {
        let flags = [
            ("--no-hooks", args.no_hooks),
            ("--replace", args.replace),
            ("--reuse-values", args.reuse_values),
            ("--reset-values", args.reset_values),
        ];
        self.add(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| *flag));
        if dry_run {
            match args.command {
                Command::Install | Command::Upgrade => self.add(["--dry-run=server", "--hide-secret"]),
                Command::Rollback => self.add(["--dry-run=server"]),
                Command::Uninstall => self.add(["--dry-run"]),
                Command::Test => {}
            }
        }
    }

    fn add<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.0.extend(words.into_iter().map(str::to_owned));
    }
}

/// What a line of helm's debugging says of a rollback. In helm 4.3 (pkg/action/rollback.go) `Rollback.Run` creates the
/// revision between the two, and gives up if another is there by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rollback {
    /// Its revision will be the one after this.
    After(u32),
    /// Its revision is made, by this very helm.
    Made,
}

impl Rollback {
    pub(super) fn read(line: &str) -> Option<Self> {
        if line.contains("msg=\"performing rollback\"") {
            return Some(Self::Made);
        }
        let (_, rest) = line.split_once("msg=\"rolling back\"")?;
        let number = rest.split_whitespace().find_map(|word| word.strip_prefix("currentVersion="))?;
        number.parse().ok().map(Self::After)
    }
}

/// One sentence on what was done.
pub(super) fn done(args: &Args, release: &str) -> String {
    match args.command {
        Command::Install => format!("Release {release} is installed, and what it made is ready."),
        Command::Upgrade => format!("Release {release} is upgraded, and what it made is ready."),
        Command::Rollback => format!("Release {release} is rolled back, and what it made is ready."),
        Command::Uninstall => format!("Release {release} is uninstalled."),
        Command::Test => format!("The tests of release {release} have passed."),
    }
}

/// What a dry run shows: the objects that helm would make, or what it says.
pub(super) fn plan(told: &str) -> Map<String, Value> {
    let Ok(release) = serde_json::from_str::<Value>(told) else {
        return Map::from_iter([("told".to_owned(), told.trim().into())]);
    };
    let manifest = release.get("manifest").and_then(Value::as_str).unwrap_or_default();
    let mut objects = documents(manifest);
    for object in objects.iter_mut().filter_map(Value::as_object_mut) {
        if object.get("kind").is_some_and(|kind| kind == "Secret") {
            object.retain(|field, _| field != "data" && field != "stringData");
        }
    }
    Map::from_iter([("objects".to_owned(), Value::Array(objects))])
}

/// The objects of a manifest.
pub(super) fn documents(manifest: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(manifest)
        .filter_map(|document| Value::deserialize(document).ok())
        .filter(Value::is_object)
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use serde_json::json;

    use super::{Rollback, plan};

    #[test]
    fn a_plan_shows_no_content_of_secrets() {
        let secret =
            "kind: Secret\nmetadata: {name: a}\ndata: {key: aHVudGVyMg==}\nstringData: {key: hunter2}\n";
        let told = json!({"manifest": format!("{secret}---\nkind: ConfigMap\ndata: {{key: shown}}\n")});
        let objects = plan(&told.to_string()).remove("objects");
        assert_eq!(
            objects,
            Some(
                json!([{"kind": "Secret", "metadata": {"name": "a"}}, {"kind": "ConfigMap", "data": {"key": "shown"}}])
            )
        );
    }

    #[rstest]
    #[case(
        "level=DEBUG msg=\"rolling back\" name=web currentVersion=3 targetVersion=1",
        Some(Rollback::After(3))
    )]
    #[case("level=DEBUG msg=\"performing rollback\" name=web", Some(Rollback::Made))]
    #[case("level=DEBUG msg=\"creating rolled back release\" name=web", None)]
    #[case("level=DEBUG msg=\"rolling back\" name=web currentVersion=all", None)]
    fn helm_tells_which_revision_it_makes_and_that_it_has(
        #[case] line: &str,
        #[case] told: Option<Rollback>,
    ) {
        assert_eq!(Rollback::read(line), told);
    }
}
