//! What a runner is, and which runners there are.
//!
//! A runner holds only what is particular to its tool: it *renders* the one object that does the work, and it
//! *interprets* what became of it. Both are pure. Everything else (creating the object exactly once, following
//! it, timeouts, cancelling, status) is the controller's, see [`crate::controller`]. No I/O in here.
//!
//! A new runner is a new file with an `impl Runner`, and one line in [`Registry::built_in`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Event, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::core::ApiResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{crd::OutputRef, reason::Reason};

pub mod argo;
pub mod args;
mod exec;
pub mod helm;
pub mod http;
pub mod input;
pub mod job;
pub mod pods;
pub mod report;
pub mod terraform;

/// One kind of action. Implement this, add it to a [`Registry`], and the controller does the rest.
///
/// The object that a runner renders must have a boolean `spec.suspend` under which it does nothing, since the
/// controller creates it suspended, records its uid, and only then releases it.
pub trait Runner: Send + Sync + 'static {
    /// The value users write in `spec.runner`.
    fn name(&self) -> &'static str;

    /// The kind of the object that this runner renders.
    fn child(&self) -> ApiResource;

    /// How much of the child a watch must carry for [`Runner::glance`].
    fn view(&self) -> View;

    /// Turns the arguments into the child's content, or says what is wrong with them.
    ///
    /// Must be deterministic: the same run always renders the same content.
    fn render(&self, run: &Run<'_>) -> Result<Rendered, Rejection>;

    /// Reads what the watch shows of the child. Called on every watch event; must be cheap.
    fn glance(&self, child: &Glimpse<'_>) -> Glance;

    /// Whether a dry run takes a child too, which then changes nothing: for tools that alone know what they would
    /// do. Otherwise a dry run asks the API server whether it would take the child, and makes none.
    fn rehearses(&self) -> bool {
        false
    }

    /// Whether [`Evidence::pods`] and [`Evidence::events`] help [`Runner::interpret`] to explain a child.
    fn wants_pods(&self) -> bool {
        false
    }

    /// Says what became of the child, from one full read of it.
    fn interpret(&self, evidence: &Evidence) -> Observation;

    /// Whether a released child shows no sign yet that its own controller has heard of the release. It is then
    /// released once more, which is harmless if it has.
    fn is_unheard(&self, _evidence: &Evidence) -> bool {
        false
    }

    /// The merge patch that makes a released child stop, for good and by its own controller's means. The child
    /// must come to an end ([`Glance::Ended`]) once nothing of it runs any more: that is the proof of the stop.
    fn stop(&self, why: Stop) -> Value;
}

/// What a watch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Labels and annotations only: the cheapest, for kinds that mirror their phase into a label.
    Metadata,
    /// Metadata and `.status`.
    Status,
}

/// One execution, as a runner sees it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// `context.name`: the child's name.
    pub name: &'a str,
    /// The name of the execution.
    pub execution: &'a str,
    /// The uid of the execution.
    pub uid: &'a str,
    /// The execution's namespace; the child goes there too.
    pub namespace: &'a str,
    /// The ServiceAccount everything is created and run as.
    pub service_account: &'a str,
    /// `spec.args`, with `spec.argsFrom` merged over it. Never log it.
    pub args: &'a Value,
    /// Some of the arguments come from Secrets.
    pub secret_args: bool,
    /// The name of the Secret that the input file will be in, if [`Rendered::input`] asks for one.
    pub input_secret: &'a str,
    /// `context.dryRun`; of interest only where dry runs are [rehearsed](Runner::rehearses).
    pub dry_run: bool,
}

impl<'a> Run<'a> {
    /// One with these arguments, for the tests of a runner.
    pub const fn example(args: &'a Value) -> Self {
        Run {
            name: "install",
            execution: "install-jira",
            uid: "3826a747-cfac-49c7-a81e-1d48cc23096f",
            namespace: "team-a",
            service_account: "deployer",
            args,
            secret_args: false,
            input_secret: "install-input",
            dry_run: false,
        }
    }
}

/// The content of the child. Name, namespace, owner and `spec.suspend` are the controller's to set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// The child's `spec`.
    pub spec: Map<String, Value>,
    /// Labels in addition to the controller's own.
    pub labels: BTreeMap<String, String>,
    /// Annotations in addition to the controller's own.
    pub annotations: BTreeMap<String, String>,
    /// A merge patch that is applied to the child only after its result is recorded. For settings that would
    /// otherwise let the child vanish with its result, such as a time to live.
    pub held_back: Option<Value>,
    /// The user's own arguments ask for a suspended child: never release it, somebody else will.
    pub keep_suspended: bool,
    /// The `args` of an input file that the child's containers read: the controller puts it into the Secret
    /// [`Run::input_secret`] before it creates the child. See [`input`].
    pub input: Option<Value>,
}

/// Arguments that cannot be run, in words for the person who wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Rejection {
    /// Everything that was found, in the order of the document; at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{path}: {what}")]
pub struct Problem {
    /// The field's path from the root of the object, for example `spec.args.workflow.templates[2].steps[0][1].template`.
    pub path: String,
    /// What is wrong and what to write instead. Must not repeat values: they may be secret.
    pub what: String,
}

impl Rejection {
    /// A rejection for a single problem.
    pub fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { problems: vec![Problem { path: path.into(), what: what.into() }] }
    }

    /// `Err` if there are problems.
    pub fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

/// What a watch event shows of a child.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse<'a> {
    /// The child's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The child's `.status`; [`Value::Null`] under [`View::Metadata`].
    pub status: &'a Value,
}

/// What a glimpse tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Glance {
    /// It goes on, as far as can be seen.
    Underway,
    /// It goes on, but stands still in a way that a closer look may explain.
    Doubtful,
    /// It came to its end.
    Ended {
        /// With success, as far as a glimpse can tell.
        succeeded: bool,
    },
}

/// One full read of a child, and of what explains it.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The child, whole but for its managed fields.
    pub child: Value,
    /// The child's pods; empty unless [`Runner::wants_pods`] and the child has not succeeded.
    pub pods: Vec<Pod>,
    /// The events about the child; empty unless [`Runner::wants_pods`] and it has no pods.
    pub events: Vec<Event>,
}

/// What became of a child.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// It is under way.
    Underway {
        /// Steps done and steps in all, such as `3/7`.
        progress: Option<String>,
    },
    /// It cannot go on unless something changes in the cluster. The controller gives it a grace, counted from
    /// `since`, and then fails the run for this reason.
    Waiting {
        /// What it waits for.
        reason: Reason,
        /// The object that waits, the cause, and what to do.
        message: String,
        /// Since when it has been waiting.
        since: Option<Time>,
    },
    /// It succeeded.
    Succeeded {
        /// Steps done and steps in all.
        progress: Option<String>,
        /// What it gives back.
        output: Option<Output>,
        /// One sentence, may be empty.
        message: String,
    },
    /// It failed.
    Failed {
        /// Why, in one word.
        reason: Reason,
        /// Why, by the name of what failed, and what to look at.
        message: String,
        /// Steps done and steps in all.
        progress: Option<String>,
    },
}

/// What a run gives back.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Itself: small and not secret.
    Inline(Value),
    /// In a Secret.
    Secret(OutputRef),
}

/// Why a child is stopped, the harder the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stop {
    /// Somebody asked for it: clean-up steps of the work itself may still run.
    Cancel,
    /// Time is over, or the work can never start: at once.
    Terminate,
}

/// The runners that a controller serves, by name.
#[derive(Clone, Default)]
pub struct Registry {
    runners: BTreeMap<&'static str, Arc<dyn Runner>>,
}

impl Registry {
    /// A registry without runners.
    pub fn new() -> Self {
        Self::default()
    }

    /// The runners of this project.
    pub fn built_in(settings: &Settings) -> Self {
        let runners = Self::new().with(argo::ArgoWorkflow).with(job::Job::new(settings.pod_defaults.clone()));
        let Some(image) = settings.exec_image.clone() else { return runners };
        let pods =
            exec::Pods { image, defaults: settings.pod_defaults.clone(), log: settings.exec_log.clone() };
        runners.with(helm::runner(&pods)).with(http::runner(&pods)).with(terraform::runner(&pods))
    }

    /// Adds a runner; one of the same name is replaced.
    #[must_use]
    pub fn with(self, runner: impl Runner) -> Self {
        self.with_shared(Arc::new(runner))
    }

    /// The same with a runner that is used elsewhere, too.
    #[must_use]
    pub fn with_shared(mut self, runner: Arc<dyn Runner>) -> Self {
        self.runners.insert(runner.name(), runner);
        self
    }

    /// The runner of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Runner>> {
        self.runners.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.runners.keys().copied()
    }

    /// All runners, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Runner>> {
        self.runners.values()
    }
}

/// What an operator sets for the built-in runners.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A pod spec whose fields are defaults for every pod but those of Workflows, which are Argo's to set: node
    /// selectors, tolerations, host networking. What the user wrote wins. An object, or null for none.
    pub pod_defaults: Value,
    /// The image with this program, for the runners that work in a pod of their own ([`helm`], [`http`],
    /// [`terraform`]); without it they are not served.
    pub exec_image: Option<String>,
    /// What those pods log, in the form of `RUST_LOG`; as much as is usual if absent.
    pub exec_log: Option<String>,
}

/// How long a child may wait for something of the cluster's before the run fails, unless the operator says otherwise.
pub const DEFAULT_START_GRACE: Duration = Duration::from_mins(2);
