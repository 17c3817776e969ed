//! `kubectl rex` on a real cluster: each command as a process, without a terminal but where said.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test does I/O")]

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use devcluster::Level;
use runner_controller::crd::{Phase, RunnerExecution};
use serde_json::{Value, json};
use testhouse::{House, PATIENCE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

struct Plugin {
    house: House,
    kubeconfig: PathBuf,
}

impl Plugin {
    async fn open(level: Level, namespace: &str) -> Result<Self> {
        let house = House::open(level, namespace).await?;
        let kubeconfig = house.cluster.kubeconfig();
        Ok(Self { house, kubeconfig })
    }

    /// A command in the test's namespace.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.command_anywhere(args);
        command.args(["--namespace", &self.house.namespace]);
        command
    }

    fn command_anywhere(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rex"));
        command.args(args).env("KUBECONFIG", &self.kubeconfig).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A command in the test's namespace and on a terminal of 80 columns, which is made by script(1).
    fn command_on_terminal(&self, args: &str) -> Command {
        let (plugin, namespace) = (env!("CARGO_BIN_EXE_kubectl-rex"), self.house.namespace.as_str());
        let line = format!("stty cols 80; exec {plugin} {args} --namespace {namespace}");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--command", &line, "/dev/null"]);
        command.env("KUBECONFIG", &self.kubeconfig).env("TERM", "xterm").env_remove("NO_COLOR");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str], stdin: &str) -> Result<Ended> {
        Self::end(self.command(args), stdin).await
    }

    async fn end(mut command: Command, stdin: &str) -> Result<Ended> {
        let mut child = command.spawn()?;
        child.stdin.take().context("no stdin")?.write_all(stdin.as_bytes()).await?;
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
        let code = output.status.code().context("it was killed")?;
        let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        Ok(Ended { code, stdout, stderr })
    }

    /// What kubectl tells a shell after `kubectl rex` and these words, when Tab is pressed.
    async fn tab(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::from(self.house.cluster.kubectl());
        command.args(["__complete", "rex"]).args(words);
        let completer = PathBuf::from(env!("CARGO_BIN_EXE_kubectl_complete-rex"));
        command.env("PATH", completer.parent().context("no folder")?).env("KUBECONFIG", &self.kubeconfig);
        let output = tokio::time::timeout(PATIENCE, command.output()).await??;
        ensure!(output.status.success(), "{words:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What a command prints that must succeed.
    async fn prints(&self, args: &[&str]) -> Result<String> {
        let ended = self.run(args, "").await?;
        ensure!(ended.code == 0, "{args:?}: {ended:?}");
        Ok(ended.stdout)
    }
}

fn pause(duration: Option<&str>) -> Value {
    let step = duration.map_or_else(|| json!({}), |duration| json!({"duration": duration}));
    json!({"workflow": {
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "whom", "value": "world"}]},
        "templates": [{"name": "main", "suspend": step}],
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_made_listed_described_and_followed() -> Result<()> {
    let plugin = Plugin::open(Level::Argo, "plugin").await?;
    let _controller = plugin.house.start_controller(Duration::from_secs(5)).await?;
    let input = json!({"context": {"name": "a", "platform": {"serviceAccountName": "deployer"}}, "args": pause(Some("2"))});
    let run = ["run", "--filename", "-", "--runner", "argo-workflow"];
    let ended = plugin.run(&run, &input.to_string()).await?;
    ensure!(ended.stdout == "runnerexecution.core.projectvoltron.dev/a created\n", "{ended:?}");
    let waited = plugin.run(&[&run[..], &["--wait"]].concat(), &input.to_string()).await?;
    ensure!(waited.code == 0 && waited.stdout.contains(": Succeeded\n"), "{waited:?}");

    let table = plugin.prints(&["list"]).await?;
    let lines: Vec<&str> = table.lines().collect();
    ensure!(lines.len() == 2 && lines[0].starts_with("NAME   RUNNER          PHASE"), "{table}");
    ensure!(lines[1].starts_with("a      argo-workflow   Succeeded"), "{table}");
    ensure!(plugin.prints(&["list", "-l", "no=such"]).await?.is_empty(), "a label selects nothing");
    let names = plugin.prints(&["list", "-o", "name"]).await?;
    ensure!(names == "runnerexecution.core.projectvoltron.dev/a\n", "{names}");
    let listed: Value = serde_json::from_str(&plugin.prints(&["list", "-o", "json"]).await?)?;
    ensure!(listed["items"][0]["metadata"]["name"] == "a", "{listed}");

    let described = plugin.prints(&["describe", "a"]).await?;
    ensure!(described.contains("Workflow/a  Succeeded"), "{described}");
    ensure!(described.contains("Timeline:\n  +0s      Created"), "{described}");
    let none = plugin.run(&["outputs", "a"], "").await?;
    ensure!(none.code == 1 && none.stderr.contains("a has no outputs"), "{none:?}");
    let absent = plugin.run(&["describe", "absent"], "").await?;
    ensure!(absent.code == 4 && absent.stderr.contains("The execution absent does not exist"), "{absent:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_approved_and_cancelled() -> Result<()> {
    let plugin = Plugin::open(Level::Argo, "approve").await?;
    let _controller = plugin.house.start_controller(Duration::from_secs(5)).await?;
    let held = plugin.house.run("a", "argo-workflow", pause(None), |rex| rex.spec.suspend = true).await?;
    plugin.house.until_phase(&held, Phase::Suspended).await?;
    let described = plugin.prints(&["describe", "a"]).await?;
    ensure!(described.contains("Next:       kubectl rex approve a"), "{described}");

    ensure!(plugin.prints(&["approve", "a"]).await? == "a: approved\n", "another text");
    plugin.house.until_phase(&held, Phase::Running).await?;
    let again = plugin.run(&["approve", "a"], "").await?;
    ensure!(again.code == 1 && again.stderr.contains("a is not held back by spec.suspend"), "{again:?}");

    ensure!(plugin.prints(&["cancel", "a"]).await? == "a: cancelling\n", "another text");
    plugin.house.until_phase(&held, Phase::Cancelled).await?;
    let again = plugin.run(&["cancel", "a"], "").await?;
    ensure!(again.code == 1 && again.stderr.contains("a has finished already: Cancelled"), "{again:?}");
    let described = plugin.prints(&["describe", "a"]).await?;
    ensure!(described.contains("Phase:      Cancelled after"), "{described}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_list_tells_each_change_once() -> Result<()> {
    let plugin = Plugin::open(Level::Argo, "watch").await?;
    let _controller = plugin.house.start_controller(Duration::from_secs(5)).await?;
    let held = plugin.house.run("a", "argo-workflow", pause(None), |rex| rex.spec.suspend = true).await?;
    plugin.house.until_phase(&held, Phase::Suspended).await?;
    let mut watching = plugin.command(&["list", "--watch"]).spawn()?;
    let stdout = watching.stdout.take().context("no stdout")?;
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
    let mut told = Vec::new();
    let follow = async {
        while let Some(line) = lines.next_line().await? {
            let is_last = line.contains("Cancelled");
            told.push(line);
            if told.len() == 2 {
                plugin.prints(&["cancel", "a"]).await?;
            }
            if is_last {
                break;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, follow).await.context("it was never told")??;
    ensure!(told[0].starts_with("NAME"), "{told:?}");
    ensure!(
        told[1].contains("Suspended") && told.iter().filter(|l| l.contains("NAME")).count() == 1,
        "{told:?}"
    );
    ensure!(!told.concat().contains('\u{1b}'), "no plain lines: {told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_table_is_drawn_anew_in_colours() -> Result<()> {
    let plugin = Plugin::open(Level::Argo, "live").await?;
    let _controller = plugin.house.start_controller(Duration::from_secs(5)).await?;
    let held = plugin.house.run("a", "argo-workflow", pause(None), |rex| rex.spec.suspend = true).await?;
    plugin.house.until_phase(&held, Phase::Suspended).await?;
    let mut watching = plugin.command_on_terminal("list --watch").spawn()?;
    let mut stdout = watching.stdout.take().context("no stdout")?;
    let mut said = String::new();
    let follow = async {
        let (mut part, mut cancelled) = ([0; 1024], false);
        while !said.contains("\u{1b}[33mCancelled\u{1b}[0m") {
            let read = stdout.read(&mut part).await?;
            ensure!(read > 0, "it ended");
            said.push_str(&String::from_utf8_lossy(part.get(..read).unwrap_or_default()));
            if !cancelled && said.contains("\u{1b}[33mSuspended\u{1b}[0m") {
                cancelled = true;
                plugin.prints(&["cancel", "a"]).await?;
            }
        }
        anyhow::Ok(())
    };
    let told = tokio::time::timeout(PATIENCE, follow).await;
    ensure!(told.is_ok_and(|told| told.is_ok()), "the end was never shown: {said:?}");
    ensure!(said.contains("\r\u{1b}[2A"), "the table is not drawn anew: {said:?}");

    let mut plain = plugin.command_on_terminal("list");
    plain.env("NO_COLOR", "1");
    let plain = Plugin::end(plain, "").await?;
    ensure!(plain.stdout.contains("Cancelled") && !plain.stdout.contains('\u{1b}'), "coloured: {plain:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_by_the_outcome_and_bad_input_creates_nothing() -> Result<()> {
    let plugin = Plugin::open(Level::Argo, "outcome").await?;
    let _controller = plugin.house.start_controller(Duration::from_secs(5)).await?;
    let run = ["run", "--filename", "-", "--runner", "argo-workflow", "--wait"];
    let input = |name: &str, args: &Value| {
        let context = json!({"name": name, "platform": {"serviceAccountName": "deployer"}});
        json!({"context": context, "args": args}).to_string()
    };
    let failed = plugin.run(&run, &input("failing", &json!({"workflow": {}}))).await?;
    ensure!(failed.code == 1 && failed.stdout.contains("failing ended: Failed (InvalidArgs)"), "{failed:?}");

    let input = input("endless", &pause(None));
    let (waited, ()) = tokio::try_join!(plugin.run(&run, &input), async {
        let endless = ["wait", "rex/endless", "-n", &plugin.house.namespace, "--timeout=60s"];
        for condition in ["--for=create", "--for=jsonpath={.status.phase}=Running"] {
            plugin.house.kubectl(&[&endless[..], &[condition]].concat(), None).await?;
        }
        plugin.prints(&["cancel", "endless"]).await.map(drop)
    })?;
    ensure!(waited.code == 2 && waited.stdout.contains(": Cancelled\n"), "{waited:?}");

    let bad = plugin.run(&run, "context:\n\tname: bad\n").await?;
    ensure!(bad.code == 64 && bad.stderr.contains("standard input:2:1: a tab indents this line"), "{bad:?}");
    let absent = plugin.run(&["run", "-f", "/absent.yaml", "--runner", "job"], "").await?;
    ensure!(absent.code == 64 && absent.stderr.contains("/absent.yaml: cannot be read"), "{absent:?}");
    let option = plugin.run(&["list", "--selektor", "a=b"], "").await?;
    ensure!(option.code == 64 && option.stderr.contains("--selektor"), "{option:?}");
    let names = plugin.prints(&["list", "-o", "name"]).await?;
    ensure!(names.lines().count() == 2, "bad input created something: {names}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_labels_and_contexts_select_as_in_kubectl() -> Result<()> {
    let plugin = Plugin::open(Level::Argo, "scope").await?;
    let (house, namespace) = (&plugin.house, plugin.house.namespace.as_str());
    for name in ["a", "b"] {
        let label = |rex: &mut RunnerExecution| {
            rex.metadata.labels = Some([("team".to_owned(), name.to_owned())].into());
        };
        house.run(name, "argo-workflow", pause(None), label).await?;
    }
    let labelled = plugin.prints(&["list", "-l", "team=b", "-o", "name"]).await?;
    ensure!(labelled == "runnerexecution.core.projectvoltron.dev/b\n", "{labelled}");
    let everywhere = Plugin::end(plugin.command_anywhere(&["list", "-A"]), "").await?;
    let lines: Vec<&str> = everywhere.stdout.lines().collect();
    ensure!(lines[0].starts_with("NAMESPACE "), "{everywhere:?}");
    ensure!(lines.iter().filter(|line| line.starts_with(namespace)).count() == 2, "{everywhere:?}");

    let contexts = house.access("deployer", namespace).await?;
    let file = format!("--kubeconfig={}", contexts.display());
    house.kubectl(&["config", "rename-context", "devcluster", "other", &file], None).await?;
    let here = format!("--namespace={namespace}");
    house.kubectl(&["config", "set-context", "other", &here, &file], None).await?;
    // The account of that file may list nothing, which proves that it is the one that is asked with.
    let mut other = plugin.command_anywhere(&["list", "--context", "other"]);
    other.env("KUBECONFIG", &contexts);
    let other = Plugin::end(other, "").await?;
    let expected =
        format!("No right to list runnerexecutions.core.projectvoltron.dev in namespace {namespace}");
    ensure!(other.code == 77 && other.stderr.contains(&expected), "{other:?}");
    let absent = plugin.run(&["list", "--context", "absent"], "").await?;
    ensure!(absent.code == 64 && absent.stderr.contains("The context absent cannot be used"), "{absent:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_causes_reach_down_to_the_pods() -> Result<()> {
    let plugin = Plugin::open(Level::Pods, "pods").await?;
    let _controller = plugin.house.start_controller(Duration::from_secs(10)).await?;
    let house = &plugin.house;
    let shell = |script: &str| json!({"image": "busybox:1", "command": ["sh", "-c", script]});
    let slow = house.run("slow", "job", shell("echo begun; sleep 3; echo done"), |_| ()).await?;
    let workflow = json!({"workflow": {"entrypoint": "main", "templates": [{
        "name": "main", "container": {"image": "busybox:1", "command": ["sh", "-c", "echo from a workflow; exit 7"]},
    }]}});
    let failing = house.run("failing", "argo-workflow", workflow, |_| ()).await?;
    let missing = house.run("missing", "job", json!({"image": "localhost/missing:1"}), |_| ()).await?;

    house.until_phase(&slow, Phase::Running).await?;
    let followed = plugin.prints(&["logs", "--follow", "slow"]).await?;
    ensure!(followed == "begun\ndone\n", "{followed}");
    house.until_phase(&failing, Phase::Failed).await?;
    ensure!(plugin.prints(&["logs", "failing"]).await?.contains("from a workflow"), "no log of a workflow");
    let described = plugin.prints(&["describe", "failing"]).await?;
    ensure!(
        described.contains("Pod/failing") && described.contains("main exited with code 7"),
        "{described}"
    );

    house.until_phase(&missing, Phase::Failed).await?;
    let described = plugin.prints(&["describe", "missing"]).await?;
    ensure!(described.contains("Phase:      Failed (ImagePullFailed)"), "{described}");
    ensure!(described.contains("localhost/missing:1"), "{described}");
    let none = plugin.run(&["logs", "missing"], "").await?;
    ensure!(none.code == 1 && none.stderr.contains("no container of missing has begun"), "{none:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tab_after_kubectl_rex_offers_commands_and_the_names_of_executions() -> Result<()> {
    let plugin = Plugin::open(Level::Argo, "tab").await?;
    for name in ["install-jira", "install-wiki"] {
        plugin.house.run(name, "argo-workflow", pause(None), |_| ()).await?;
    }
    let namespace = plugin.house.namespace.as_str();
    let describe = plugin.tab(&["des"]).await?;
    ensure!(describe.starts_with("describe\tTell what happened") && describe.ends_with(":4\n"), "{describe}");
    let names = plugin.tab(&["describe", "-n", namespace, "install-"]).await?;
    ensure!(names == "install-jira\ninstall-wiki\n:4\n", "{names}");
    let another = plugin.tab(&["cancel", "--namespace", namespace, "install-jira", ""]).await?;
    ensure!(another == "install-wiki\n:4\n", "{another}");
    let namespaces = plugin.tab(&["list", "--namespace", namespace]).await?;
    ensure!(namespaces == format!("{namespace}\n:4\n"), "{namespaces}");
    // Where there is no cluster, there is no error in the middle of a line either.
    let none = plugin.tab(&["describe", "--context", "absent", ""]).await?;
    ensure!(none == ":4\n", "{none}");
    Ok(())
}

#[tokio::test]
async fn completion_scripts_are_printed_for_every_shell() -> Result<()> {
    for (shell, words) in
        [("bash", "complete -F"), ("zsh", "#compdef kubectl-rex"), ("fish", "complete -c kubectl-rex")]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_kubectl-rex")).args(["completion", shell]).output().await?;
        let script = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && script.contains(words), "{shell}: {script}");
    }
    Ok(())
}
