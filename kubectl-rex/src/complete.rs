//! What Tab offers. kubectl runs the program `kubectl_complete-rex`, and that one this binary.
//!
//! Input: the words after `kubectl rex`, the last one unfinished. Output: a line for each candidate, with its meaning
//! after a tab, and at the end what the shell shall do, as a number of Cobra's, which kubectl is made with. Candidates
//! from the command line itself are pure; names are read from the cluster. Where that cannot be, or takes too long,
//! there are none: there is no place for an error beside a half-written line.

use std::{collections::BTreeSet, ffi::OsString, fmt::Debug, sync::Arc, time::Duration};

use clap::{Arg, CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Resource, ResourceExt, api::ListParams, config::Kubeconfig};
use runner_controller::{
    crd::RunnerExecution,
    runners::{Registry, Settings},
};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use crate::cli::{Cli, Scope};

/// How long a person waits who has pressed Tab.
const PATIENCE: Duration = Duration::from_secs(2);
/// More names than anybody reads.
const MOST: u32 = 500;
/// `ShellCompDirectiveNoFileComp`: do not offer files where there is no candidate.
const NO_FILES: u8 = 4;
/// `ShellCompDirectiveNoSpace`: the word goes on after the candidate.
const NO_SPACE: u8 = 2;

/// A kind of names that are not known by the command line alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Executions,
    Namespaces,
    Contexts,
    Runners,
}

/// Who knows names.
type Source = Arc<dyn Fn(Names) -> Vec<String> + Send + Sync>;

/// What Tab offers after these words. Must be called on a runtime of several threads.
pub(crate) fn offered(words: Vec<OsString>) -> String {
    let scope = scope(&words);
    let source = move |names| {
        let reading = tokio::time::timeout(PATIENCE, read(names, &scope));
        tokio::task::block_in_place(|| Handle::current().block_on(reading)).ok().flatten().unwrap_or_default()
    };
    written(words, &(Arc::new(source) as Source))
}

/// The cluster and the namespace, as far as the words tell.
fn scope(words: &[OsString]) -> Scope {
    let line = [OsString::from("kubectl-rex")].into_iter().chain(words.iter().cloned());
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(line);
    matches.ok().and_then(|matches| Scope::from_arg_matches(&matches).ok()).unwrap_or_default()
}

/// The only I/O.
async fn read(names: Names, scope: &Scope) -> Option<Vec<String>> {
    Some(match names {
        Names::Executions => list(scope.open().await.ok()?.api::<RunnerExecution>()).await?,
        Names::Namespaces => list(Api::<Namespace>::all(scope.open().await.ok()?.client)).await?,
        Names::Contexts => {
            Kubeconfig::read().ok()?.contexts.into_iter().map(|context| context.name).collect()
        }
        Names::Runners => {
            let settings = Settings { exec_image: Some(String::new()), ..Settings::default() };
            Registry::built_in(&settings).names().map(str::to_owned).collect()
        }
    })
}

async fn list<K>(api: Api<K>) -> Option<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let found = api.list_metadata(&ListParams::default().limit(MOST)).await.ok()?;
    Some(found.items.iter().map(ResourceExt::name_any).collect())
}

/// The lines for kubectl.
fn written(mut words: Vec<OsString>, source: &Source) -> String {
    let unfinished = words.pop().unwrap_or_default().to_string_lossy().into_owned();
    let before: BTreeSet<OsString> = words.iter().cloned().collect();
    words.insert(0, "kubectl-rex".into());
    words.push(unfinished.clone().into());
    let last = words.len() - 1;
    let folder = std::env::current_dir().ok();
    let found = complete(&mut command(source), words, last, folder.as_deref()).unwrap_or_default();

    let mut lines: Vec<String> = found
        .iter()
        .filter(|candidate| {
            // Options are offered to those who ask for one, and nothing twice.
            let is_option = candidate.get_value().as_encoded_bytes().starts_with(b"-");
            is_option == unfinished.starts_with('-') && !before.contains(candidate.get_value())
        })
        .map(|candidate| line(candidate, &unfinished))
        .collect();
    let goes_on = lines.iter().any(|line| line.ends_with('/'));
    lines.push(format!(":{}\n", if goes_on { NO_FILES | NO_SPACE } else { NO_FILES }));
    lines.join("\n")
}

/// A candidate and its meaning. Of `--option=value` the shells want the value alone.
fn line(candidate: &CompletionCandidate, unfinished: &str) -> String {
    let value = candidate.get_value().to_string_lossy();
    let option = unfinished.split_once('=').map_or(String::new(), |(option, _)| format!("{option}="));
    let value = value.strip_prefix(&option).unwrap_or(&value);
    match candidate.get_help().map(ToString::to_string).as_deref().and_then(|help| help.lines().next()) {
        Some(help) => format!("{value}\t{help}"),
        None => value.to_owned(),
    }
}

/// The command line, in which it is known what its names are names of.
fn command(source: &Source) -> clap::Command {
    let known = |arg: Arg| match names_of(arg.get_id().as_str()) {
        Some(names) => {
            let source = Arc::clone(source);
            let candidates = move || source(names).into_iter().map(CompletionCandidate::new).collect();
            arg.add(ArgValueCandidates::new(candidates))
        }
        None => arg,
    };
    Cli::command().mut_args(known).mut_subcommands(|command| command.mut_args(known))
}

fn names_of(argument: &str) -> Option<Names> {
    match argument {
        "name" | "names" => Some(Names::Executions),
        "namespace" => Some(Names::Namespaces),
        "context" => Some(Names::Contexts),
        "runner" => Some(Names::Runners),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, sync::Arc};

    use rstest::rstest;

    use super::{Names, Scope, Source, scope, written};

    fn offered(line: &str) -> String {
        let source = |names| {
            let names: &[&str] = match names {
                Names::Executions => &["install-jira", "install-wiki"],
                Names::Namespaces => &["team-a", "team-b"],
                Names::Contexts => &["kind"],
                Names::Runners => &["job"],
            };
            names.iter().map(|&name| name.to_owned()).collect()
        };
        written(words(line), &(Arc::new(source) as Source))
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[rstest]
    #[case::a_command(
        "des",
        "describe\tTell what happened to an execution, why, and what it made, down to the pods\n:4\n"
    )]
    #[case::a_name("describe ", "install-jira\ninstall-wiki\n:4\n")]
    #[case::the_beginning_of_a_name("logs -f install-w", "install-wiki\n:4\n")]
    #[case::another_name("cancel install-jira ", "install-wiki\n:4\n")]
    #[case::one_name_is_enough("describe install-jira ", ":4\n")]
    #[case::a_namespace("-n ", "team-a\nteam-b\n:4\n")]
    #[case::a_namespace_in_one_word("list --namespace=team-b", "team-b\n:4\n")]
    #[case::a_context("list --context k", "kind\n:4\n")]
    #[case::a_runner("run --runner ", "job\n:4\n")]
    #[case::an_option("list --all", "--all-namespaces\tOf all namespaces\n:4\n")]
    #[case::a_form("list -o n", "name\n:4\n")]
    #[case::a_folder("run -f sr", "src/\n:6\n")]
    #[case::nothing("list -l ", ":4\n")]
    fn what_fits_is_offered(#[case] line: &str, #[case] expected: &str) {
        assert_eq!(offered(line), expected);
    }

    #[test]
    fn every_command_is_offered_but_not_the_one_for_shells() {
        let all = offered("");
        for command in ["run", "list", "describe", "logs", "cancel", "approve", "outputs", "completion"] {
            assert!(all.lines().any(|line| line.starts_with(&format!("{command}\t"))), "{command}: {all}");
        }
        assert!(!all.contains("__complete") && !all.contains("\n-"), "{all}");
    }

    #[rstest]
    #[case("describe -n team-a --context kind ", Some("team-a"), Some("kind"))]
    #[case("-nteam-a logs --fol", Some("team-a"), None)]
    #[case("cancel a --namespace=team-a b ", Some("team-a"), None)]
    #[case("describe ", None, None)]
    fn the_scope_is_read_from_a_line_that_is_not_finished(
        #[case] line: &str,
        #[case] namespace: Option<&str>,
        #[case] context: Option<&str>,
    ) {
        let Scope { namespace: read_namespace, context: read_context } = scope(&words(line));
        assert_eq!((read_namespace.as_deref(), read_context.as_deref()), (namespace, context));
    }
}
