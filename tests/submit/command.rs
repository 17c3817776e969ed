//! `runner-controller submit` as a process: what it is given, what it said, how it ended.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// How long it may take, all in all.
const PATIENCE: Duration = Duration::from_secs(90);

/// A command line in the making.
pub(crate) struct Submit {
    command: Command,
    stdin: Vec<u8>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Submit {
    /// With that access to a cluster, and none of the caller's environment that matters here.
    pub(crate) fn new(kubeconfig: impl AsRef<std::ffi::OsStr>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner-controller"));
        command.arg("submit");
        Self::of(command, kubeconfig)
    }

    /// The same in a terminal of its own, made by script(1); standard input is what is typed.
    pub(crate) fn in_terminal(kubeconfig: impl AsRef<std::ffi::OsStr>, args: &str) -> Self {
        let mut command = Command::new("script");
        let line = format!("exec {} submit {args}", env!("CARGO_BIN_EXE_runner-controller"));
        command.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        command.env("TERM", "xterm");
        Self::of(command, kubeconfig)
    }

    fn of(mut command: Command, kubeconfig: impl AsRef<std::ffi::OsStr>) -> Self {
        for name in
            ["RUNNER_INPUT_PATH", "RUNNER_CONTEXT_PATH", "RUNNER_ARGS_PATH", "RUNNER_NAME", "NO_COLOR"]
        {
            command.env_remove(name);
        }
        command.env("KUBECONFIG", kubeconfig).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, stdin: Vec::new() }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Starts it; standard input stays open where nothing is to be written to it.
    pub(crate) async fn start(mut self) -> Result<Running> {
        let mut child = self.command.spawn().context("cannot start it")?;
        if !self.stdin.is_empty() {
            let mut pipe = child.stdin.take().context("no stdin")?;
            // It may well have given up on a text before its end.
            let _ = pipe.write_all(&self.stdin).await;
        }
        Ok(Running { child })
    }

    /// Runs it to its end.
    pub(crate) async fn end(self) -> Result<Ended> {
        self.start().await?.end().await
    }

    /// Runs it to its end, which must be that one.
    pub(crate) async fn ends(self, code: i32) -> Result<Ended> {
        let ended = self.end().await?;
        ensure!(ended.code == code, "it ended otherwise than by {code}: {ended:?}");
        Ok(ended)
    }
}

/// One that runs.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Waits for its end.
    pub(crate) async fn end(self) -> Result<Ended> {
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output())
            .await
            .context("it never ended")??;
        Ok(Ended {
            code: output.status.code().context("it was killed")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().context("it has ended")?.to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await?;
        ensure!(sent.success(), "no signal could be sent");
        Ok(())
    }

    /// Waits until it has said so much on standard output, which is the terminal where it has one.
    pub(crate) async fn says(&mut self, words: &str) -> Result<String> {
        let stdout = self.child.stdout.as_mut().context("no stdout")?;
        let mut said = Vec::new();
        let listen = async {
            let mut part = [0; 1024];
            loop {
                let read = stdout.read(&mut part).await?;
                if read == 0 {
                    bail!("it ended without saying {words}");
                }
                said.extend_from_slice(part.get(..read).unwrap_or_default());
                if String::from_utf8_lossy(&said).contains(words) {
                    return Ok(());
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, listen).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        heard.with_context(|| format!("it never said {words}, but: {said}"))??;
        Ok(said)
    }

    /// Types on its terminal.
    pub(crate) async fn types(&mut self, text: &str) -> Result<()> {
        let pipe = self.child.stdin.as_mut().context("no stdin")?;
        pipe.write_all(text.as_bytes()).await?;
        Ok(pipe.flush().await?)
    }
}

/// A file in a folder.
pub(crate) fn file(folder: &tempfile::TempDir, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
    let path = folder.path().join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}
