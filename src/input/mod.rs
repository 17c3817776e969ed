//! What a person or an Engine hands over to be run: the original runners' input file, the pair of files that took
//! its place, or the manifest of an execution. Pure: text in, a [`RunnerExecution`] or a [`Fault`] out.
//!
//! | form | how it is known |
//! |---|---|
//! | the original's file: `context` and `args` | [`file`] |
//! | a manifest of kind `RunnerExecution` | [`file`], by its `kind` |
//! | the content of `context` and of `args`, each in a file of its own | [`pair`] |
//!
//! The original ignored fields that it did not know, so they are no faults here either, but [`Input::warnings`].

use serde::Deserialize;
use serde_json::Value;

use crate::crd::{Context, RunnerExecution, RunnerExecutionSpec};

pub mod fault;
mod fields;
mod located;

pub use fault::Fault;

/// The most that is read of one text: more than the API server would store.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What was handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// What is to be run; [`Input::into_execution`] fills in what the text leaves open.
    content: Content,
    /// What stands in the text and has no effect, in a sentence each.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Content {
    /// Context and arguments.
    Run { context: Box<Context>, args: Value },
    /// A whole execution.
    Manifest(Box<RunnerExecution>),
}

/// What is said beside the text, on a command line or in the environment.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The runner that is wanted.
    pub runner: Option<&'a str>,
    /// The namespace that is wanted.
    pub namespace: Option<&'a str>,
    /// The namespace where nobody says otherwise.
    pub default_namespace: &'a str,
}

/// The text and what stands beside it do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Nobody names the runner.
    #[error("no runner is named; say which with --runner, for example --runner argo-workflow")]
    NoRunner,
    /// Two runners are named.
    #[error("--runner says {given}, and spec.runner of the manifest {there}; leave one of them out")]
    Runner {
        /// On the command line.
        given: String,
        /// In the text.
        there: String,
    },
    /// Two namespaces are named.
    #[error("--namespace says {given}, and {field} {there}; leave one of them out")]
    Namespace {
        /// On the command line.
        given: String,
        /// In the text.
        there: String,
        /// Where in the text.
        field: &'static str,
    },
}

/// Reads the original's input file, or a manifest of an execution.
///
/// # Errors
/// With the place in the text.
pub fn file(text: &str) -> Result<Input, Fault> {
    let kind: located::Read<Kind> = located::read(text)?;
    if kind.value.kind.is_some() {
        let manifest: located::Read<Manifest> = located::read(text)?;
        return Ok(Input {
            content: Content::Manifest(Box::new(manifest.value.into_execution())),
            warnings: fields::unknown(&manifest.plain, &fields::MANIFEST),
        });
    }
    let document: located::Read<Document> = located::read(text)?;
    let Document { context, args } = document.value;
    Ok(Input {
        content: Content::Run { context: Box::new(context.into()), args: args.0 },
        warnings: fields::unknown(&document.plain, &fields::DOCUMENT),
    })
}

/// Reads the content of `context` and the content of `args`.
///
/// # Errors
/// With the place in the text; the first member tells in which, 0 or 1.
pub fn pair(context: &str, args: &str) -> Result<Input, (usize, Fault)> {
    let context: located::Read<fields::ContextText> = located::read(context).map_err(|fault| (0, fault))?;
    let args: located::Read<fields::Arguments> = located::read(args).map_err(|fault| (1, fault))?;
    Ok(Input {
        content: Content::Run { context: Box::new(context.value.into()), args: args.value.0 },
        warnings: fields::unknown(&context.plain, &fields::CONTEXT),
    })
}

impl Input {
    /// The execution that is wanted, with everything filled in.
    ///
    /// # Errors
    /// If the text and what stands beside it disagree, or neither names the runner.
    pub fn into_execution(self, given: &Given<'_>) -> Result<RunnerExecution, Mismatch> {
        let (mut execution, field) = match self.content {
            Content::Manifest(execution) => (*execution, "metadata.namespace"),
            Content::Run { context, args } => {
                let runner = given.runner.ok_or(Mismatch::NoRunner)?.to_owned();
                let name = context.name.clone().unwrap_or_default();
                let namespace = context.platform.namespace.clone();
                let spec =
                    RunnerExecutionSpec { runner, context: *context, args, ..RunnerExecutionSpec::default() };
                let mut execution = RunnerExecution::new(&name, spec);
                execution.metadata.namespace = namespace;
                (execution, "context.platform.namespace")
            }
        };
        if let Some(runner) = given.runner.filter(|given| *given != execution.spec.runner) {
            return Err(Mismatch::Runner { given: runner.to_owned(), there: execution.spec.runner });
        }
        match (given.namespace, &execution.metadata.namespace) {
            (Some(given), Some(there)) if given != there => {
                return Err(Mismatch::Namespace { given: given.to_owned(), there: there.clone(), field });
            }
            (_, Some(_)) => {}
            (given_namespace, None) => {
                let namespace = given_namespace.unwrap_or(given.default_namespace);
                execution.metadata.namespace = Some(namespace.to_owned());
            }
        }
        Ok(execution)
    }
}

/// What tells the two forms apart.
#[derive(Deserialize)]
#[serde(expecting = "an object with context and args")]
struct Kind {
    #[serde(default)]
    kind: Option<fields::ExecutionKind>,
}

/// The original's file.
#[derive(Deserialize)]
#[serde(expecting = "an object with context and args")]
struct Document {
    context: fields::ContextText,
    #[serde(default)]
    args: fields::Arguments,
}

/// A whole execution.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(rename = "apiVersion", deserialize_with = "fields::api_version")]
    _api_version: String,
    metadata: fields::Metadata,
    spec: ManifestSpec,
}

/// The spec of a manifest; its arguments must be an object already here, to have their place told.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestSpec {
    runner: String,
    context: fields::ManifestContext,
    #[serde(default)]
    args: fields::Arguments,
    #[serde(default)]
    args_from: Vec<crate::crd::ArgsSource>,
    #[serde(default)]
    suspend: bool,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    ttl_seconds_after_finished: Option<i32>,
    #[serde(default)]
    managed_by: Option<String>,
}

impl Manifest {
    fn into_execution(self) -> RunnerExecution {
        let ManifestSpec {
            runner,
            context,
            args,
            args_from,
            suspend,
            cancel,
            ttl_seconds_after_finished,
            managed_by,
        } = self.spec;
        let spec = RunnerExecutionSpec {
            runner,
            context: context.into(),
            args: args.0,
            args_from,
            suspend,
            cancel,
            ttl_seconds_after_finished,
            managed_by,
        };
        let mut execution = RunnerExecution::new(&self.metadata.name, spec);
        execution.metadata.namespace = self.metadata.namespace;
        execution.metadata.labels = self.metadata.labels;
        execution.metadata.annotations = self.metadata.annotations;
        execution
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
