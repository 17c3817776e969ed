//! The work of the runner `helm`: the helm program, with what it needs, and what it says.
//!
//! Input: [`Args`]. Output: the release, in the original's form, and what `goTemplate` renders to. Values reach helm
//! by files, never by its command line. What it says is told without what is secret. I/O: runs helm; reads and writes
//! files below `/tmp`; reads Secrets of releases, and what is not ready, as the run's ServiceAccount.

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    lock::Mark,
    words::{Rollback, Words},
};
use super::{Done, Failure, pod::Pod, program, redact::Redactor};
use crate::{
    reason::Reason,
    runners::{
        helm::{
            CHART_FILE, CHART_FOLDER, VALUES_FOLDER,
            args::{Args, Command, LONGEST_NAME},
        },
        input::InputFile,
    },
};

mod additional;
mod cause;
mod lock;
mod progress;
mod words;

/// The values of the arguments, for helm alone.
const VALUES: &str = "/tmp/values.json";

/// One run of the runner.
pub(super) struct Helm<'a> {
    args: Args,
    release: String,
    dry_run: bool,
    pod: &'a Pod,
    stop: &'a CancellationToken,
    redactor: Redactor,
}

/// Does the work.
///
/// # Errors
/// If the arguments are wrong, somebody else works on the release, or helm fails.
pub async fn run(input: &InputFile, pod: &Pod, stop: &CancellationToken) -> Result<Done, Failure> {
    let args = Args::read(&input.args)?;
    let release = release_of(&args, input, pod)?;
    let redactor = redactor(&args, input, pod.secret_args);
    let helm = Helm { args, release, dry_run: input.context.dry_run, pod, stop, redactor };
    let mark = lock::open(&helm).await?;
    write_values(&helm.args.values)?;
    let told = helm.carry_out(&mark).await?;
    if helm.dry_run {
        let plan = helm.redactor.clean_fields(words::plan(&told));
        return Ok(Done { message: String::new(), output: plan, sensitive: false });
    }
    let output = match helm.args.command {
        Command::Install | Command::Upgrade | Command::Rollback => helm.outputs(&told).await?,
        Command::Uninstall | Command::Test => Map::new(),
    };
    // What is made of a template of the user's may hold any value.
    let sensitive = helm.args.output.additional.is_some() && helm.args.secret_values().next().is_some();
    let message = words::done(&helm.args, &helm.release);
    Ok(Done { message, output, sensitive: sensitive || pod.secret_args })
}

impl Helm<'_> {
    /// Runs helm in the run's namespace.
    pub(super) async fn call(&self, args: &[&str]) -> Result<program::Finished, Failure> {
        let all = args.iter().copied().chain(["--namespace", self.pod.namespace.as_str()]);
        program::run("helm", all, self.stop).await
    }

    /// The same; helm must succeed.
    pub(super) async fn must(&self, args: &[&str]) -> Result<String, Failure> {
        let finished = self.call(args).await?;
        if finished.ok { Ok(finished.stdout) } else { Err(self.failure(&finished.stderr).await) }
    }

    /// Goes back to an earlier revision, as the words say. Unlike what else makes a revision, this takes no labels:
    /// they are set from outside as soon as helm says which revision it has made.
    pub(super) async fn roll_back(&self, words: &[&str]) -> Result<String, Failure> {
        let all = words.iter().copied().chain(["--debug", "--namespace", self.pod.namespace.as_str()]);
        let (made, is_made) = watch::channel(None);
        let mut next = None;
        let mut hears = async |line: &str| match Rollback::read(line) {
            Some(Rollback::After(last)) => next = Some(last + 1),
            Some(Rollback::Made) => made.send_modify(|made| *made = next),
            None => {}
        };
        let (env, mut deaf) = (std::iter::empty(), async |_: &str| ());
        let finished = tokio::select! {
            finished = program::listen("helm", all, env, self.stop, &mut deaf, &mut hears) => finished?,
            never = lock::keep(self, is_made) => match never {},
        };
        if finished.ok { Ok(finished.stdout) } else { Err(self.failure(&finished.stderr).await) }
    }

    /// Carries out the command; returns what helm wrote.
    async fn carry_out(&self, mark: &Mark) -> Result<String, Failure> {
        if self.dry_run && self.args.command == Command::Test {
            return self.must(&["status", &self.release, "--output", "json"]).await;
        }
        let words = Words::of(self, mark);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if self.dry_run
            || !matches!(self.args.command, Command::Install | Command::Upgrade | Command::Rollback)
        {
            return self.must(&words).await;
        }
        let carried_out = async {
            if self.args.command == Command::Rollback {
                self.roll_back(&words).await
            } else {
                self.must(&words).await
            }
        };
        let told = tokio::select! {
            told = carried_out => told?,
            never = progress::tell(self, mark) => match never {},
        };
        progress::tell_the_end(self, mark).await;
        Ok(told)
    }

    /// What helm's last words mean, and what they leave out.
    async fn failure(&self, stderr: &str) -> Failure {
        let told = program::last_error(stderr);
        let reason = if told.contains("is forbidden") { Reason::Forbidden } else { Reason::HelmFailed };
        let cause = cause::of_unready(&told, self.pod).await;
        let told = if told.is_empty() { "helm failed and did not say why".to_owned() } else { told };
        Failure::new(reason, self.redactor.clean(&format!("{told}{cause}")))
    }

    async fn outputs(&self, told: &str) -> Result<Map<String, Value>, Failure> {
        let release = if let Ok(release) = serde_json::from_str(told) {
            release
        } else {
            // Not every command can tell the release as JSON.
            let told = self.must(&["status", &self.release, "--output", "json"]).await?;
            serde_json::from_str(&told).unwrap_or(Value::Null)
        };
        let wanted = &self.args.output;
        let named =
            |name: Option<&String>, default: &str| name.cloned().unwrap_or_else(|| default.to_owned());
        let chart = release.pointer("/chart/metadata").unwrap_or(&Value::Null);
        let repo = self.args.chart.as_ref().and_then(|chart| chart.repo.as_deref());
        let name = named(wanted.helm_release.as_ref().and_then(|it| it.file_name.as_ref()), "helm-release");
        let content = json!({
            "name": self.release,
            "namespace": self.pod.namespace,
            "revision": release.get("version"),
            "chart": {"name": chart.get("name"), "version": chart.get("version"), "repo": repo},
        });
        let mut output = Map::from_iter([(name, content)]);
        if let Some(additional) = &wanted.additional {
            let name = named(additional.file_name.as_ref(), "additional");
            output.insert(name, additional::render(self, additional, chart).await?);
        }
        Ok(output)
    }
}

/// The chart on helm's command line, and what belongs to it.
pub(super) fn chart_words(args: &Args) -> Vec<String> {
    let Some(chart) = &args.chart else { return Vec::new() };
    let (Some(name), Some(repo)) = (&chart.name, &chart.repo) else {
        return vec![format!("{CHART_FOLDER}/{CHART_FILE}")];
    };
    let mut words = match repo.strip_suffix('/').unwrap_or(repo) {
        oci if oci.starts_with("oci://") => vec![format!("{oci}/{name}")],
        repo => vec![name.clone(), "--repo".to_owned(), repo.to_owned()],
    };
    words.extend(chart.version.iter().flat_map(|version| ["--version".to_owned(), version.clone()]));
    words
}

/// The files with values on helm's command line, the last of which wins.
fn value_words(args: &Args) -> impl Iterator<Item = String> + '_ {
    let mounted = (0..args.values_from.len()).map(|index| format!("{VALUES_FOLDER}/{index}"));
    mounted.chain([VALUES.to_owned()]).flat_map(|path| ["--values".to_owned(), path])
}

fn release_of(args: &Args, input: &InputFile, pod: &Pod) -> Result<String, Failure> {
    let own = input.context.name.clone().unwrap_or_default();
    let name = if args.generate_name {
        let chart = args.chart.as_ref().and_then(|chart| chart.name.clone()).unwrap_or(own);
        let end = pod.execution_uid().split('-').next().unwrap_or_default().to_owned();
        format!("{}-{end}", chart.chars().take(40).collect::<String>().trim_end_matches('-'))
    } else {
        args.name.clone().unwrap_or(own)
    };
    if name.len() > LONGEST_NAME {
        let what = "spec.args.name: is required, of at most 53 characters, where spec.context.name is longer";
        return Err(Failure::new(Reason::InvalidArgs, what));
    }
    Ok(name)
}

/// Hides the arguments if some come from Secrets, and what is mounted from Secrets in any case.
fn redactor(args: &Args, input: &InputFile, secret_args: bool) -> Redactor {
    let mounted: Vec<Value> = args
        .secret_values()
        .filter_map(|index| std::fs::read_to_string(format!("{VALUES_FOLDER}/{index}")).ok())
        .flat_map(|text| {
            let values = serde_yaml::from_str(&text).unwrap_or(Value::Null);
            [values, Value::String(text)]
        })
        .collect();
    Redactor::new(mounted.iter().chain(secret_args.then_some(&input.args)))
}

fn write_values(values: &Map<String, Value>) -> Result<(), Failure> {
    std::fs::write(VALUES, Value::Object(values.clone()).to_string())
        .map_err(|error| Failure::unwritten("the values", &error))
}
