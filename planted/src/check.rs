//! What may catch a bug: the project's own tests, each narrowed to the part that should notice.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::tree::Tree;

/// How long one check may take, in seconds, before it counts as failed.
const PATIENCE: &str = "900";
/// Tells the tests where their clusters are.
const CLUSTERS: &str = "RUNNER_TEST_CLUSTERS";
/// What `timeout` exits with when it had to end a command.
const TIMED_OUT: i32 = 124;

/// Some of the project's tests; in the order of what they cost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    /// The tests without I/O of that module, or of all; but not the walks of the model that take minutes.
    Pure(&'static str),
    /// The test of that name, on a real API server without pods.
    ControlPlane(&'static str),
    /// The test of that name, with the real Argo.
    Argo(&'static str),
    /// The table of bad inputs.
    BadInputs,
    /// The points of the crash matrix whose line holds that text.
    Crash(&'static str),
    /// Three controllers, random kills and faults.
    Storm,
}

/// What a check came to.
pub(crate) enum Outcome {
    Passed,
    /// What failed.
    Failed(String),
}

impl Check {
    pub(crate) const fn needs_cluster(&self) -> bool {
        match self {
            Self::Pure(_) => false,
            Self::ControlPlane(_) | Self::Argo(_) | Self::BadInputs | Self::Crash(_) | Self::Storm => true,
        }
    }

    /// One word or two for the table.
    pub(crate) const fn layer(&self) -> &'static str {
        match self {
            Self::Pure(_) => "pure",
            Self::ControlPlane(_) => "control plane",
            Self::Argo(_) => "argo",
            Self::BadInputs => "bad inputs",
            Self::Crash(_) => "crash matrix",
            Self::Storm => "storm",
        }
    }

    /// What is built for it.
    const fn target(&self) -> &'static [&'static str] {
        match self {
            Self::Pure(_) => &["--lib"],
            Self::ControlPlane(_) => &["--test", "control_plane"],
            Self::Argo(_) => &["--test", "argo"],
            Self::BadInputs => &["--test", "bad_inputs"],
            Self::Crash(_) | Self::Storm => &["--test", "crash"],
        }
    }

    /// Which of its tests are run, and how.
    fn tests(&self) -> Vec<&'static str> {
        match self {
            Self::Pure(module) => {
                vec![module, "--skip", "at_most_one_child_is_ever", "--skip", "two_executions_that_want"]
            }
            Self::ControlPlane(name) | Self::Argo(name) => vec![name],
            Self::BadInputs => vec!["every_bad_input_of_the_table", "--nocapture"],
            Self::Crash(_) => vec!["whatever_goes_wrong", "--nocapture"],
            Self::Storm => vec!["three_controllers_in_a_storm", "--nocapture"],
        }
    }

    fn environment(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Crash(points) => Some(("CRASH_POINT", points)),
            Self::Pure(_) | Self::ControlPlane(_) | Self::Argo(_) | Self::BadInputs | Self::Storm => None,
        }
    }

    /// Builds and runs it. Fails if it cannot be built.
    pub(crate) fn run(&self, tree: &Tree, clusters: Option<&Clusters>) -> Result<Outcome> {
        let log = tree.log();
        let cargo = |last: &[&str]| {
            let mut command = Command::new("timeout");
            // Always the whole workspace: another selection of packages would build everything anew.
            command
                .args(["--kill-after=10", PATIENCE, "cargo", "test", "--workspace"])
                .args(self.target())
                .args(last);
            command
                .current_dir(tree.root())
                .env("CARGO_TARGET_DIR", tree.target())
                .env("RUST_BACKTRACE", "0")
                .envs(self.environment())
                .envs(clusters.map(|clusters| (CLUSTERS, &clusters.dir)));
            command
        };
        let (status, told) = into(&log, cargo(&["--no-run"]))?;
        if status != Some(0) {
            bail!("{self} cannot be built: {}", last_lines(&told));
        }
        let tests = self.tests();
        let (status, told) = into(&log, cargo(&[&["--"], tests.as_slice()].concat()))?;
        match status {
            Some(0) if ran_nothing(&told) => bail!("{self}: there is no such test"),
            Some(0) => Ok(Outcome::Passed),
            Some(TIMED_OUT) => Ok(Outcome::Failed(format!("no end within {PATIENCE} s"))),
            Some(_) | None => match (failed_tests(&told).first(), death(&told)) {
                (Some(name), _) => Ok(Outcome::Failed((*name).to_owned())),
                (None, Some(line)) => Ok(Outcome::Failed(line.to_owned())),
                (None, None) => bail!("{self} ended without a word of a test: {}", last_lines(&told)),
            },
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pure("") | Self::BadInputs | Self::Storm => f.write_str(self.layer()),
            Self::Pure(what) | Self::ControlPlane(what) | Self::Argo(what) | Self::Crash(what) => {
                write!(f, "{}: {what}", self.layer())
            }
        }
    }
}

/// Runs a command with all its words in a file, which outlives whatever servers a test leaves behind.
fn into(log: &Path, mut command: Command) -> Result<(Option<i32>, String)> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = command.stdout(file.try_clone()?).stderr(file).status().context("cannot run cargo")?;
    Ok((status.code(), String::from_utf8_lossy(&fs::read(log)?).into_owned()))
}

/// The names of the tests that failed, from libtest's list at the end.
fn failed_tests(told: &str) -> Vec<&str> {
    let list = told.rsplit_once("\nfailures:\n").map_or("", |(_, list)| list);
    list.lines().map_while(|line| line.strip_prefix("    ")).collect()
}

/// How the tests' own process ended, if not by itself: then there is no list.
fn death(told: &str) -> Option<&str> {
    told.lines().find_map(|line| line.split_once("process didn't exit successfully: ")).map(|(_, how)| how)
}

fn ran_nothing(told: &str) -> bool {
    !told.lines().any(|line| line.starts_with("running ") && !line.starts_with("running 0 "))
}

fn last_lines(told: &str) -> String {
    let lines: Vec<&str> = told.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}

/// The clusters of the tests: where RUNNER_TEST_CLUSTERS says, or else in a folder that goes with this.
pub(crate) struct Clusters {
    dir: PathBuf,
    devcluster: PathBuf,
    own: bool,
}

impl Clusters {
    /// Brings nothing up yet: the tests do.
    pub(crate) fn new() -> Result<Self> {
        let devcluster = std::env::current_exe()?.with_file_name("devcluster");
        if let Some(dir) = std::env::var_os(CLUSTERS) {
            return Ok(Self { dir: dir.into(), devcluster, own: false });
        }
        if !devcluster.exists() {
            bail!("{} is missing: cargo build -p devcluster", devcluster.display());
        }
        // Short, since sockets lie in it.
        let dir = std::env::temp_dir().join(format!("rex-p{}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Self { dir, devcluster, own: true })
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        if !self.own {
            return;
        }
        for cluster in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            // What cannot be stopped here is told by devcluster itself.
            let _ = Command::new(&self.devcluster).args(["down", "--dir"]).arg(cluster.path()).status();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::{death, failed_tests, ran_nothing};

    const FAILED: &str = "
running 2 tests
test a::good ... ok
test a::bad ... FAILED

failures:

---- a::bad stdout ----
thread panicked: no

failures:
    a::bad
    a::worse

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `-p runner-controller --lib`
";

    #[test]
    fn the_failed_tests_are_those_of_the_last_list() {
        assert_eq!(failed_tests(FAILED), ["a::bad", "a::worse"]);
        assert!(failed_tests("error: could not compile").is_empty());
    }

    #[test]
    fn tests_that_died_with_their_process_are_told_by_how() {
        let told = "error: test failed\n\nCaused by:\n  process didn't exit successfully: `/x --skip y` (signal: 6, SIGABRT)";
        assert_eq!(death(told), Some("`/x --skip y` (signal: 6, SIGABRT)"));
        assert_eq!(death(FAILED), None);
    }

    #[test]
    fn a_name_that_no_test_has_is_no_check() {
        assert!(ran_nothing("running 0 tests\n\nrunning 0 tests\n"));
        assert!(!ran_nothing("running 0 tests\n\nrunning 1 test\n") && !ran_nothing(FAILED));
    }
}
