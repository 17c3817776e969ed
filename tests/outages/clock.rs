//! A controller whose clock is wrong, by libfaketime; timers, which count by another clock, go on as ever.
//!
//! What is then different: deadlines and the times in the status are those of the clock of whoever wrote or judges
//! them. A controller whose clock is ahead stops work early that another one started, one whose clock is behind stops
//! it late, by as much as the clocks differ. What must not be different: work runs once, and an outcome stays.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use runner_controller::reason::Reason;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    common::house::House,
    stage::{Stage, workflow},
};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const AHEAD: &str = "+600";
const BEHIND: &str = "-3600";
/// How often a jumping clock jumps.
const JUMPS: Duration = Duration::from_millis(700);

/// Ten minutes ahead of the controller that started the work.
pub(crate) async fn ahead(house: &Arc<House>) -> Result<()> {
    let (stage, clock) = begin(house).await?;
    stage.start("minutes-left", Some("5m")).await?;
    stage.start("an-hour-left", Some("1h")).await?;
    stage.start("no-timeout", None).await?;
    stage.runs_to_its_end("ended", "job").await?;
    let ended = stage.status("ended")?;

    let stage = stage.with_clock(&clock, AHEAD).await?;
    stage.ends("minutes-left", Reason::TimedOut).await?;
    stage.runs_to_its_end("new", "argo-workflow").await?;
    let started: Timestamp =
        stage.status("new")?["startTime"].as_str().context("it has not started")?.parse()?;
    ensure!(started > Timestamp::now() + Duration::from_secs(500), "the clock is not ahead: {started}");
    stage.goes_on(&["an-hour-left", "no-timeout"])?;
    ensure!(stage.status("ended")? == ended, "an outcome changed");
    stage.finish_all().await
}

/// An hour behind the controller that started the work, and the other way round.
pub(crate) async fn behind(house: &Arc<House>) -> Result<()> {
    let (stage, clock) = begin(house).await?;
    stage.start("seconds-left", Some("5s")).await?;
    stage.runs_to_its_end("ended", "job").await?;
    let ended = stage.status("ended")?;

    let stage = stage.with_clock(&clock, BEHIND).await?;
    stage.start("by-its-own-clock", Some("2s")).await?;
    stage.ends("by-its-own-clock", Reason::TimedOut).await?;
    stage.start("minutes-left", Some("10m")).await?;
    // Far past its deadline by a right clock.
    tokio::time::sleep(Duration::from_secs(6)).await;
    stage.goes_on(&["seconds-left", "minutes-left"])?;
    ensure!(stage.status("ended")? == ended, "an outcome changed");

    let stage = stage.with_clock(&clock, "+0").await?;
    stage.ends("seconds-left", Reason::TimedOut).await?;
    stage.ends("minutes-left", Reason::TimedOut).await?;
    stage.finish_all().await
}

/// Now ahead, now behind, now right, while another controller with a right clock is at work on the same.
pub(crate) async fn jumping(house: &Arc<House>) -> Result<()> {
    const EXECUTIONS: usize = 40;
    let (stage, clock) = begin(house).await?;
    let _other = stage.another_controller()?;
    let jump = async {
        for offset in [AHEAD, BEHIND, "+0"].into_iter().cycle() {
            set(clock.path(), offset)?;
            tokio::time::sleep(JUMPS).await;
        }
        Ok::<(), anyhow::Error>(())
    };
    let run = async {
        for number in 0..EXECUTIONS {
            let runner = if number.is_multiple_of(2) { "job" } else { "argo-workflow" };
            let timeout = |spec: &mut Value| spec["context"]["timeout"] = json!("2h");
            stage.create(&format!("a{number}"), runner, timeout).await;
        }
        for number in 0..EXECUTIONS {
            let succeeded = |status: &Value| status["phase"] == "Succeeded";
            stage.until_status(&format!("a{number}"), "Succeeded", succeeded).await?;
        }
        Ok::<(), anyhow::Error>(())
    };
    tokio::select! {
        ran = run => ran?,
        jumped = jump => jumped?,
    }
    stage.finish_all().await
}

/// A stage whose controller has a clock that can be set, right at first.
async fn begin(house: &Arc<House>) -> Result<(Stage, NamedTempFile)> {
    ensure!(Path::new(LIBRARY).exists(), "{LIBRARY} is missing: apt-get install libfaketime");
    let clock = NamedTempFile::new()?;
    set(clock.path(), "+0")?;
    let environment = [
        ("LD_PRELOAD", LIBRARY.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.path().display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), value)).to_vec();
    Ok((Stage::set(Arc::clone(house), house.controller.clone(), environment).await?, clock))
}

/// Sets a clock, all at once: a controller reads it all the time.
fn set(clock: &Path, offset: &str) -> Result<()> {
    let new = clock.with_extension("new");
    std::fs::write(&new, offset)?;
    std::fs::rename(&new, clock).with_context(|| format!("cannot set the clock to {offset}"))
}

impl Stage {
    /// Another controller process takes over, with its clock set so.
    async fn with_clock(mut self, clock: &NamedTempFile, offset: &str) -> Result<Self> {
        self.controller.kill().await?;
        set(clock.path(), offset)?;
        self.controller.ensure_alive()?;
        Ok(self)
    }

    /// Starts a workflow that has no end of its own.
    async fn start(&self, name: &str, timeout: Option<&str>) -> Result<()> {
        self.create(name, "argo-workflow", |spec| {
            spec["args"] = workflow(None);
            spec["context"]["timeout"] = timeout.map_or(Value::Null, |timeout| json!(timeout));
        })
        .await;
        self.until_status(name, "Running", |status| status["phase"] == "Running").await
    }

    async fn ends(&self, name: &str, reason: Reason) -> Result<()> {
        let ended =
            |status: &Value| status["completionTime"].is_string() && status["reason"] == reason.as_str();
        self.until_status(name, &format!("at its end with {reason:?}"), ended).await
    }

    fn goes_on(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let status = self.status(name)?;
            ensure!(status["phase"] == "Running", "{name} does not go on: {status}");
        }
        Ok(())
    }

    /// Cancels what still runs, and checks everything that was ever stored.
    async fn finish_all(&self) -> Result<()> {
        self.cancel_all().await?;
        self.until_all_finished().await?;
        let breaches = self.breaches().await?;
        ensure!(breaches.is_empty(), "{breaches:#?}");
        Ok(())
    }
}
