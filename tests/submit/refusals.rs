//! Input that cannot be run: one clear text for each, its own exit code, and nothing is created.

use std::path::Path;

use anyhow::{Result, ensure};
use devcluster::{Cluster, Level, Options};
use kube::api::ListParams;

use crate::{
    command::{Submit, file},
    common::{self, Env},
};

/// A run that would be fine.
pub(crate) const FINE: &str = "\
context:
  name: fine
  platform: {serviceAccountName: deployer}
args: {image: busybox:1}
";

/// A text, and all that is said of it; `input.yaml` stands for the file's path.
const TEXTS: [(&str, &str, &str); 13] = [
    ("empty", "", "runner-controller submit: input.yaml: is empty\n"),
    ("nothing but a comment", "# to be written\n", "runner-controller submit: input.yaml: is empty\n"),
    (
        "a list",
        "- context: {name: a}\n",
        "runner-controller submit: input.yaml:1:1: invalid type: sequence, expected an object with context and args\n   |\n 1 | - context: {name: a}\n   | ^\n",
    ),
    (
        "not YAML",
        "context: {name: a\nargs: ]\n",
        "runner-controller submit: input.yaml:2:5: did not find expected ',' or '}'\n   |\n 2 | args: ]\n   |     ^\n",
    ),
    (
        "a tab",
        "context:\n\tname: a\n",
        "runner-controller submit: input.yaml:2:1: a tab indents this line; YAML is indented by spaces only\n   |\n 2 |  name: a\n   | ^\n",
    ),
    (
        "no context",
        "args: {image: busybox:1}\n",
        "runner-controller submit: input.yaml:1:1: the field context is missing\n   |\n 1 | args: {image: busybox:1}\n   | ^\n",
    ),
    (
        "no name",
        "context:\n  platform: {serviceAccountName: deployer}\n",
        "runner-controller submit: input.yaml:2:3: context: the field name is missing\n   |\n 2 |   platform: {serviceAccountName: deployer}\n   |   ^\n",
    ),
    (
        "a wrong type",
        "context:\n  name: a\n  dryRun: 7\n  platform: {serviceAccountName: deployer}\n",
        "runner-controller submit: input.yaml:3:11: context.dryRun: invalid type: integer 7, expected a boolean\n   |\n 3 |   dryRun: 7\n   |           ^\n",
    ),
    (
        "a bad timeout",
        "context:\n  name: a\n  timeout: soon\n  platform: {serviceAccountName: deployer}\n",
        "runner-controller submit: input.yaml:3:12: context.timeout: must be a Go duration such as 30s, 10m or 1h30m; write 0 for no timeout\n   |\n 3 |   timeout: soon\n   |            ^\n",
    ),
    (
        "arguments that are no object",
        "context: {name: a, platform: {serviceAccountName: deployer}}\nargs: nothing\n",
        "runner-controller submit: input.yaml:2:7: args: invalid type: string \"nothing\", expected an object such as {image: busybox:1}, or nothing\n   |\n 2 | args: nothing\n   |       ^\n",
    ),
    (
        "two documents",
        "context: {name: a, platform: {serviceAccountName: deployer}}\n---\ncontext: {}\n",
        "runner-controller submit: input.yaml:2:1: begins a second document; a file holds one run, submit them one by one\n   |\n 2 | ---\n   | ^\n",
    ),
    (
        "another kind",
        "apiVersion: v1\nkind: Pod\n",
        "runner-controller submit: input.yaml:2:7: kind: must be RunnerExecution, or the file the original's, with context and args and no kind\n   |\n 2 | kind: Pod\n   |       ^\n",
    ),
    (
        "an account that the API server does not take",
        "context: {name: a, platform: {serviceAccountName: Deployer}}\n",
        "runner-controller submit: The API server refuses it: RunnerExecution.core.projectvoltron.dev \"a\" is invalid: spec.context.platform.serviceAccountName: Invalid value: \"Deployer\": ",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_in_one_text_and_creates_nothing() -> Result<()> {
    let env = Env::without_controller(common::cluster(Level::Argo).await?).await?;
    let folder = tempfile::tempdir()?;
    let submit =
        || Submit::new(env.cluster.kubeconfig()).args(&["--runner", "job", "--namespace", &env.namespace]);
    for (what, text, expected) in TEXTS {
        let path = file(&folder, "input.yaml", text)?;
        let ended = submit().env("RUNNER_INPUT_PATH", &path).ends(64).await?;
        let said = ended.stderr.replace(&path.display().to_string(), "input.yaml");
        let as_expected =
            if expected.ends_with('\n') { said == expected } else { said.starts_with(expected) };
        ensure!(as_expected && ended.stdout.is_empty(), "{what}: {said}");
    }
    let large = submit().stdin(format!("{FINE}  data: {}\n", "a".repeat(5_000_000))).ends(64).await?;
    ensure!(large.stderr.contains("standard input: is larger than 1024 KiB"), "{}", large.stderr);
    let path = file(&folder, "input.yaml", b"context: {name: \xff}\n")?;
    let binary = submit().args(&["--file", &path.display().to_string()]).ends(64).await?;
    ensure!(binary.stderr.contains("input.yaml:1:17: is no text"), "{}", binary.stderr);
    let absent = submit().env("RUNNER_INPUT_PATH", "/absent/input.yaml").ends(64).await?;
    let expected =
        "runner-controller submit: /absent/input.yaml: cannot be read: No such file or directory\n";
    ensure!(absent.stderr == expected, "{}", absent.stderr);
    let folder_as_file = submit().args(&["--file", "/"]).ends(64).await?;
    ensure!(folder_as_file.stderr.contains("/: cannot be read: Is a directory"), "{}", folder_as_file.stderr);
    let half = submit().env("RUNNER_CONTEXT_PATH", "/absent").ends(64).await?;
    ensure!(half.stderr.contains("RUNNER_ARGS_PATH is not"), "{}", half.stderr);
    let left = env.executions().list(&ListParams::default()).await?;
    ensure!(left.items.is_empty(), "something was created: {:?}", left.items);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_makes_no_sense_is_bad_input_and_not_cancelled() -> Result<()> {
    let nowhere = Path::new("/absent/kubeconfig");
    let unknown = Submit::new(nowhere).args(&["--runer", "job"]).ends(64).await?;
    ensure!(unknown.stderr.contains("--runer") && unknown.stderr.contains("--runner"), "{}", unknown.stderr);
    let no_runner = Submit::new(nowhere).stdin(FINE).ends(64).await?;
    ensure!(no_runner.stderr.contains("no runner is named; say which with --runner"), "{}", no_runner.stderr);
    let help = Submit::new(nowhere).args(&["--help"]).ends(0).await?;
    ensure!(help.stdout.contains("Exit codes"), "{}", help.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cluster_no_rights_and_no_crd_have_their_own_codes() -> Result<()> {
    let env = Env::without_controller(common::cluster(Level::Argo).await?).await?;
    let folder = tempfile::tempdir()?;
    let submit = |kubeconfig: &Path| Submit::new(kubeconfig).args(&["--runner", "job"]).stdin(FINE);

    let absent = submit(Path::new("/absent/kubeconfig")).ends(69).await?;
    ensure!(absent.stderr.contains("There is no cluster to talk to: set KUBECONFIG"), "{}", absent.stderr);
    let silent = std::fs::read_to_string(env.cluster.kubeconfig())?;
    let address = silent.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
    let silent = file(&folder, "silent", silent.replace(address, "https://127.0.0.1:9"))?;
    let silent = submit(&silent).ends(69).await?;
    ensure!(silent.stderr.contains("cannot be reached: Connection refused"), "{}", silent.stderr);

    let weak = file(&folder, "weak", std::fs::read(env.cluster.kubeconfig())?)?;
    let token = env.kubectl(&["create", "token", "deployer"]).await?;
    let (token, path) = (format!("--token={}", token.trim()), format!("--kubeconfig={}", weak.display()));
    env.kubectl(&["config", "set-credentials", "admin", &token, &path]).await?;
    let refused = submit(&weak).args(&["--namespace", &env.namespace]).ends(77).await?;
    ensure!(refused.stderr.contains("No right to create runnerexecutions"), "{}", refused.stderr);
    env.kubectl(&["config", "set-credentials", "admin", "--token=wrong", &path]).await?;
    let unknown = submit(&weak).args(&["--namespace", &env.namespace]).ends(77).await?;
    ensure!(unknown.stderr.contains("does not accept the credentials"), "{}", unknown.stderr);

    let nowhere = submit(&env.cluster.kubeconfig()).args(&["--namespace", "absent"]).ends(64).await?;
    ensure!(nowhere.stderr.contains("The namespace absent does not exist"), "{}", nowhere.stderr);
    let context = submit(&env.cluster.kubeconfig()).args(&["--context", "absent"]).ends(64).await?;
    ensure!(context.stderr.contains("The context absent cannot be used"), "{}", context.stderr);

    let bare = Cluster::ensure(&Options::new(common::folder("bare"), Level::ControlPlane)).await?;
    let bare = submit(&bare.kubeconfig()).ends(78).await?;
    ensure!(bare.stderr.contains("The cluster does not know RunnerExecutions"), "{}", bare.stderr);
    Ok(())
}
