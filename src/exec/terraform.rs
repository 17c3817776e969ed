//! The work of the runner `terraform`: a plan by OpenTofu, and then exactly that plan.
//!
//! Input: [`Args`]. Output: the module's outputs. Its [state] is in a Secret of the run's namespace. I/O: runs tofu;
//! reads and writes files below `/tmp`; reads the state's Secret and lock, as the run's ServiceAccount.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::{state::Place, told::Told};
use super::{Done, Failure, additional, pod::Pod, program, redact::Redactor};
use crate::{
    reason::Reason,
    runners::{
        input::InputFile,
        terraform::args::{Args, Command},
    },
};

mod lock;
mod module;
mod state;
mod told;

const VARIABLES: &str = "/tmp/variables.tfvars.json";
const PLAN: &str = "/tmp/plan";
/// The pause between two patches of the progress.
const PAUSE: Duration = Duration::from_secs(1);

/// One run of the runner.
pub(super) struct Tofu<'a> {
    args: Args,
    dry_run: bool,
    pod: &'a Pod,
    stop: &'a CancellationToken,
    redactor: Redactor,
}

/// Does the work.
///
/// # Errors
/// If the arguments are wrong, somebody else works on the state, or tofu fails.
pub async fn run(input: &InputFile, pod: &Pod, stop: &CancellationToken) -> Result<Done, Failure> {
    let args = Args::read(&input.args)?;
    let redactor = Redactor::new(pod.secret_args.then_some(&input.args));
    let tofu = Tofu { args, dry_run: input.context.dry_run, pod, stop, redactor };
    let place = state::place(&tofu).await?;
    module::lay_out(&tofu.args)?;
    std::fs::write(VARIABLES, Value::Object(tofu.args.variables.clone()).to_string())
        .map_err(|error| Failure::unwritten("the variables", &error))?;
    tofu.init(&place).await?;
    lock::open(&tofu).await?;
    let plan = tofu.plan().await?;
    if tofu.dry_run || tofu.args.command == Command::Plan {
        let message = format!("{} of {} resources would change.", told::changed(&plan), plan.len());
        return Ok(Done {
            message,
            output: Map::from_iter([("changes".into(), plan.into())]),
            sensitive: false,
        });
    }
    tofu.apply(told::changed(&plan)).await?;
    let (output, sensitive) =
        if tofu.args.command == Command::Apply { tofu.outputs().await? } else { (Map::new(), false) };
    let message = format!("{} resources changed.", told::changed(&plan));
    Ok(Done { message, output, sensitive: sensitive || pod.secret_args })
}

impl Tofu<'_> {
    /// Runs tofu in the module; it must succeed. `hears` is given each line of what it writes.
    pub(super) async fn must(
        &self,
        args: &[&str],
        mut hears: impl AsyncFnMut(&str),
    ) -> Result<String, Failure> {
        let pod = format!("pod/{}", self.pod.name);
        // By USER, tofu says in its lock whose it is.
        let own = [
            ("USER", pod.as_str()),
            ("TF_IN_AUTOMATION", "1"),
            ("TF_INPUT", "0"),
            ("CHECKPOINT_DISABLE", "1"),
        ];
        let env = self.args.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own);
        let chdir = format!("-chdir={}", module::FOLDER);
        let words = std::iter::once(chdir.as_str()).chain(args.iter().copied());
        let finished = program::listen("tofu", words, env, self.stop, &mut hears, &mut quiet).await?;
        if finished.ok { Ok(finished.stdout) } else { Err(self.failure(&finished)) }
    }

    fn failure(&self, finished: &program::Finished) -> Failure {
        let told = told::errors(&finished.stdout).unwrap_or_else(|| told::plain_error(&finished.stderr));
        let reason = if told.contains("is forbidden") { Reason::Forbidden } else { Reason::TerraformFailed };
        let told = if told.is_empty() { "tofu failed and did not say why".to_owned() } else { told };
        Failure::new(reason, self.redactor.clean(&told))
    }

    async fn init(&self, place: &Place) -> Result<(), Failure> {
        let from = self.args.module.source.as_ref().map(|source| format!("-from-module={source}"));
        if let Some(from) = &from {
            // An address fills the folder, which must be empty for it.
            self.must(&["init", "-no-color", "-backend=false", from], quiet).await?;
        }
        module::set_backend(place)?;
        self.must(&["init", "-no-color"], quiet).await?;
        if self.args.allow_local_exec { Ok(()) } else { module::refuse_local_exec() }
    }

    /// Plans; what would change, by address.
    async fn plan(&self) -> Result<Vec<Value>, Failure> {
        let (variables, out) = (format!("-var-file={VARIABLES}"), format!("-out={PLAN}"));
        let mut words = vec!["plan", "-json", &variables, &out];
        if self.args.command == Command::Destroy {
            words.push("-destroy");
        }
        if self.dry_run {
            // Nothing is changed, and nothing is to be left behind.
            words.push("-lock=false");
        }
        self.must(&words, quiet).await?;
        let shown = self.must(&["show", "-json", PLAN], quiet).await?;
        Ok(told::changes(&serde_json::from_str(&shown).unwrap_or(Value::Null)))
    }

    /// Carries out the plan, and tells how many of its changes are done.
    async fn apply(&self, changes: usize) -> Result<(), Failure> {
        let (mut done, mut last) = (0_usize, None::<Instant>);
        let hears = async |line: &str| {
            if Told::read(line) == Told::Changed {
                done += 1;
                // Not more than one a second, but the last one in any case.
                if done >= changes || last.is_none_or(|last| last.elapsed() >= PAUSE) {
                    last = Some(Instant::now());
                    self.pod.progress(&format!("{}/{changes}", done.min(changes))).await;
                }
            }
        };
        self.must(&["apply", "-json", PLAN], hears).await.map(drop)
    }

    async fn outputs(&self) -> Result<(Map<String, Value>, bool), Failure> {
        let shown = self.must(&["output", "-json"], quiet).await?;
        let (outputs, sensitive) = told::outputs(&serde_json::from_str(&shown).unwrap_or(Value::Null));
        let Wanted { name, source } = Wanted::of(&self.args);
        let mut output =
            Map::from_iter([("terraform-release".to_owned(), json!({"name": name, "source": source}))]);
        if let Some(template) = &self.args.output.go_template {
            let additional = additional::render(template, &Value::Object(outputs.clone()), self.stop).await;
            let additional = additional.map_err(|failure| Failure {
                message: self
                    .redactor
                    .clean(&format!("it is applied, but spec.args.output.goTemplate: {failure}")),
                ..failure
            })?;
            output.insert("additional".to_owned(), additional);
        }
        output.insert("outputs".to_owned(), Value::Object(outputs));
        if self.args.output.tfstate {
            let state = self.must(&["state", "pull"], quiet).await?;
            output.insert("tfstate".to_owned(), state::told(&state, &self.args.variables));
        }
        Ok((output, sensitive || self.args.output.tfstate))
    }
}

/// What `terraform-release` tells.
struct Wanted<'a> {
    name: &'a str,
    source: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(args: &'a Args) -> Self {
        Self { name: &args.module.name, source: args.module.source.as_deref() }
    }
}

/// Hears nothing.
pub(super) async fn quiet(_: &str) {}
