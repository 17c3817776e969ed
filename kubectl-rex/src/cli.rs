//! The command line, with the options of kubectl where they mean the same.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use runner_controller::submit::OnInterrupt;

/// Run, watch, explain and stop executions.
#[derive(Parser)]
#[command(name = "kubectl-rex", bin_name = "kubectl rex", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) scope: Scope,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster, which namespace.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Scope {
    /// The namespace; default: that of the kubeconfig's context.
    #[arg(long, short, global = true)]
    pub(crate) namespace: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create an execution from a file, and follow it with --wait.
    Run(Run),
    /// List executions.
    #[command(alias = "get")]
    List(List),
    /// Tell what happened to an execution, why, and what it made, down to the pods.
    Describe {
        /// The execution's name.
        name: String,
    },
    /// Print the logs of all pods of an execution.
    Logs(Logs),
    /// Stop executions and keep the objects.
    Cancel {
        /// The executions' names.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Let executions start that spec.suspend holds back.
    Approve {
        /// The executions' names.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print what an execution gave back.
    Outputs {
        /// The execution's name.
        name: String,
        /// The form.
        #[arg(long, short, value_enum, default_value = "yaml")]
        output: OutputForm,
    },
    /// Print a completion script for kubectl-rex without kubectl: source <(kubectl-rex completion bash).
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Tell what Tab offers after these words.
    #[command(name = "__complete", hide = true)]
    Complete {
        /// What follows `kubectl rex`; the last one is unfinished.
        words: Vec<OsString>,
    },
}

#[derive(Args)]
pub(crate) struct Run {
    /// A file with context and args, or with a RunnerExecution; - is standard input.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) filename: PathBuf,
    /// Which runner does the work, where the file does not say.
    #[arg(long)]
    pub(crate) runner: Option<String>,
    /// Follow it to its end and exit by the outcome, as runner-controller submit does.
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// What Ctrl-C does while waiting.
    #[arg(long, value_enum, default_value = "ask", requires = "wait")]
    pub(crate) on_interrupt: OnInterrupt,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only these.
    pub(crate) names: Vec<String>,
    /// Of all namespaces.
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
    /// Only those with these labels, such as team=a.
    #[arg(long, short = 'l')]
    pub(crate) selector: Option<String>,
    /// The form; default: a table.
    #[arg(long, short, value_enum)]
    pub(crate) output: Option<ListForm>,
    /// Keep the table current until Ctrl-C.
    #[arg(long, short, conflicts_with = "output")]
    pub(crate) watch: bool,
}

#[derive(Args)]
pub(crate) struct Logs {
    /// The execution's name.
    pub(crate) name: String,
    /// Go on until the execution has finished.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only this container of each pod; default: all but those of Argo itself.
    #[arg(long, short)]
    pub(crate) container: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListForm {
    Wide,
    Json,
    Yaml,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    Json,
    Yaml,
    Env,
}
