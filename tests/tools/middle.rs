//! What stops in the middle of the work: the pod, the controller, the time. Each tool asks the server for something that
//! it gets only once the gate is open; how often it has asked is how often its work was begun.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
use serde_json::{Value, json};

use crate::{
    common::{has_condition, message},
    controller::Controller,
    helm, processes,
    server::Server,
    stage::Stage,
};

/// The runners, and what each asks for in the middle of its work.
const TOOLS: [(&str, &str); 3] =
    [("helm", "/gate/helm"), ("terraform", "/gate/terraform"), ("http", "/gate/http")];
const GATES: [&str; 3] = [TOOLS[0].1, TOOLS[1].1, TOOLS[2].1];

/// What each runner is to do.
fn args(runner: &str, server: &Server) -> Value {
    let gate = server.url(&format!("/gate/{runner}"));
    match runner {
        "helm" => helm::args("install", json!({"values": {"gate": gate}, "replace": true})),
        "terraform" => {
            let command = format!("exec wget -q -O /dev/null {gate}");
            let main = format!(
                "resource \"terraform_data\" \"a\" {{\n provisioner \"local-exec\" {{ command = {command:?} }}\n}}\n"
            );
            json!({"module": {"name": "db", "files": {"main.tf": main}}, "allowLocalExec": true})
        }
        _ => json!({"method": "POST", "url": gate, "timeout": "10m"}),
    }
}

/// Begins all three, and waits until each is in the middle of its work.
async fn begin(stage: &Stage, server: &Server, round: usize, timeout: Option<&str>) -> Result<()> {
    for (runner, _) in TOOLS {
        let name = format!("{runner}-{round}");
        stage
            .run(&name, runner, args(runner, server), |spec| {
                if let Some(timeout) = timeout {
                    spec["context"]["timeout"] = json!(timeout);
                }
            })
            .await?;
    }
    if timeout.is_none() { server.until_asked(&GATES, round).await } else { Ok(()) }
}

/// Waits for the end of all three.
async fn end(stage: &Stage, round: usize) -> Result<Vec<RunnerExecution>> {
    try_join_all(TOOLS.map(|(runner, _)| async move {
        stage
            .until(&format!("{runner}-{round}"), "finished", |rex| has_condition(rex, "Finished", "True"))
            .await
    }))
    .await
}

fn outcome(rex: &RunnerExecution) -> (Option<Phase>, Option<Reason>) {
    rex.status.as_ref().map_or((None, None), |status| (status.phase, status.reason))
}

/// All three have succeeded, and each has been begun as often as that.
async fn have_succeeded(stage: &Stage, server: &Server, round: usize, begun: usize) -> Result<()> {
    for rex in end(stage, round).await? {
        ensure!(outcome(&rex) == (Some(Phase::Succeeded), Some(Reason::Succeeded)), "{:#?}", rex.status);
    }
    for gate in GATES {
        let asked = server.asked(gate).len();
        ensure!(asked == begun, "{gate} was asked for {asked} times, not {begun}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_killed_finds_the_work_where_it_is_and_its_outcome_later() -> Result<()> {
    let stage = Stage::without_controller().await?.for_every_tool().await?;
    let server = Server::start().await?;
    let mut controller = Controller::start(&stage, "info").await?;
    begin(&stage, &server, 1, None).await?;
    controller.kill().await?;
    controller.start_again()?;
    controller.kill().await?;
    // Nobody is there to hear of the end.
    server.set_gate(true);
    for (runner, _) in TOOLS {
        stage.comes_to(&format!("job/{runner}-1"), "condition=Complete").await?;
    }
    for (runner, _) in TOOLS {
        let phase = stage.get("rex", &format!("{runner}-1")).await?["status"]["phase"].clone();
        ensure!(phase == "Running", "{runner} is {phase}");
    }
    controller.start_again()?;
    have_succeeded(&stage, &server, 1, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_killed_fails_its_run_and_the_next_run_opens_what_it_locked() -> Result<()> {
    let stage = Stage::set().await?.for_every_tool().await?;
    let server = Server::start().await?;
    begin(&stage, &server, 1, None).await?;
    for (runner, _) in TOOLS {
        processes::kill(&stage.uid(&format!("{runner}-1")).await?);
    }
    for rex in end(&stage, 1).await? {
        ensure!(outcome(&rex) == (Some(Phase::Failed), Some(Reason::ContainerFailed)), "{:#?}", rex.status);
        ensure!(message(&rex).contains("137"), "the signal is not told: {}", message(&rex));
    }
    let locked = stage.get("secret", "sh.helm.release.v1.web.v1").await?["metadata"]["labels"].clone();
    ensure!(locked["status"] == "pending-install", "helm could tidy up: {locked}");
    let lease = stage.get("lease", "lock-tfstate-default-db").await?["spec"]["holderIdentity"].clone();
    ensure!(lease.as_str().is_some_and(|holder| !holder.is_empty()), "tofu could tidy up");
    server.set_gate(true);
    begin(&stage, &server, 2, None).await?;
    have_succeeded(&stage, &server, 2, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_the_tools_are_stopped_in_good_order() -> Result<()> {
    let stage = Stage::set().await?.for_every_tool().await?;
    let server = Server::start().await?;
    begin(&stage, &server, 1, Some("25s")).await?;
    for rex in end(&stage, 1).await? {
        ensure!(outcome(&rex) == (Some(Phase::Failed), Some(Reason::TimedOut)), "{:#?}", rex.status);
    }
    for (runner, _) in TOOLS {
        let left = processes::of(&stage.uid(&format!("{runner}-1")).await?);
        ensure!(
            left.is_empty(),
            "{runner} still runs: {:?}",
            left.iter().map(|it| &it.words).collect::<Vec<_>>()
        );
    }
    // On a machine under load the deadline may come before the middle.
    let begun = GATES.map(|gate| server.asked(gate).len());
    ensure!(begun.iter().all(|times| *times <= 1), "begun more than once: {begun:?}");
    server.set_gate(true);
    begin(&stage, &server, 2, Some("5m")).await?;
    for rex in end(&stage, 2).await? {
        ensure!(outcome(&rex) == (Some(Phase::Succeeded), Some(Reason::Succeeded)), "{:#?}", rex.status);
    }
    Ok(())
}
