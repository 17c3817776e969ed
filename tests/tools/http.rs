//! The runner `http`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{
    canaries::seen_nowhere,
    common::{has_condition, message},
    server::Server,
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_made_once_as_it_is_written_and_its_outputs_are_told() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let args = json!({
        "method": "POST", "url": server.url("/things"), "query": {"dry": "no"}, "headers": {"X-Team": "a"},
        "body": {"name": "x"}, "success": "response.status == 201",
        "output": {"id": "response.json.id", "whole": "response.json"},
    });
    stage.run("a", "http", args, |_| ()).await?;
    let end = stage.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let status = end.status.context("no status")?;
    let expected = json!({"id": 7, "whole": {"id": 7, "name": r#"{"name":"x"}"#}});
    ensure!(status.output == Some(expected), "{:?}", status.output);
    ensure!(status.progress.as_deref() == Some("1/1"), "{:?}", status.progress);
    let asked = server.asked("/things");
    ensure!(asked.len() == 1, "{asked:?}");
    ensure!(
        asked[0].method == "POST" && asked[0].query == "dry=no" && asked[0].headers["x-team"] == "a",
        "{asked:?}"
    );
    ensure!(
        asked[0].headers["idempotency-key"] == end.metadata.uid.as_deref().unwrap_or_default(),
        "{asked:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_behind_a_request_is_followed_to_its_end() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let args = json!({
        "method": "POST", "url": server.url("/work"),
        "poll": {"urlFrom": "response.headers.location", "interval": "1s", "until": r#"response.json.state == "done""#},
        "output": {"result": "response.json.result"},
    });
    stage.run("a", "http", args, |_| ()).await?;
    let end = stage.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let status = end.status.context("no status")?;
    ensure!(status.output == Some(json!({"result": 42})), "{:?}", status.output);
    ensure!(status.progress.as_deref() == Some("2/2"), "{:?}", status.progress);
    ensure!((server.asked("/work").len(), server.asked("/work/1").len()) == (1, 3), "asked otherwise");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_when_it_says_so() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let began = Instant::now();
    stage.run("a", "http", json!({"method": "POST", "url": server.url("/busy")}), |_| ()).await?;
    stage.run("b", "http", json!({"url": server.url("/recovers")}), |_| ()).await?;
    stage.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    ensure!(began.elapsed() >= Duration::from_secs(3), "Retry-After was not heeded");
    stage.ends("b", Phase::Succeeded, Reason::Succeeded).await?;
    ensure!((server.asked("/busy").len(), server.asked("/recovers").len()) == (2, 3), "asked otherwise");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers_fail_the_run_with_what_was_answered() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let rows = [
        ("broken", json!({"url": server.url("/broken"), "retry": {"attempts": 2}}), "500: it is broken"),
        (
            "unsafe",
            json!({"method": "POST", "url": server.url("/broken")}),
            "whether it took effect is unknown",
        ),
        (
            "slow",
            json!({"url": server.url("/slow"), "timeout": "1s", "retry": {"attempts": 1}}),
            "spec.args.timeout",
        ),
        ("huge", json!({"url": server.url("/huge")}), "larger than 1024 KiB"),
        ("nobody", json!({"url": "http://127.0.0.1:9/", "retry": {"attempts": 1}}), "cannot be reached"),
        (
            "asked",
            json!({"url": server.url("/x"), "output": {"a": "response.json.missing.b"}}),
            "spec.args.output.a",
        ),
    ];
    for (name, args, _) in &rows {
        stage.run(name, "http", args.clone(), |_| ()).await?;
    }
    for (name, _, why) in &rows {
        let end = stage.ends(name, Phase::Failed, Reason::RequestFailed).await?;
        ensure!(message(&end).contains(why), "{name}: {}", message(&end));
    }
    ensure!((server.asked("/broken").len(), server.asked("/huge").len()) == (3, 1), "asked otherwise");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_stopped_by_cancel_and_timeout_and_its_pods_are_gone() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let poll = json!({"url": server.url("/endless"), "poll": {"interval": "1s", "until": r#"response.json.state == "done""#}});
    stage.run("late", "http", poll, |spec| spec["context"]["timeout"] = json!("5s")).await?;
    stage.run("a", "http", json!({"url": server.url("/slow"), "timeout": "10m"}), |_| ()).await?;
    stage.ready("a").await?;
    stage.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    stage.ends("a", Phase::Cancelled, Reason::Cancelled).await?;
    stage.ends("late", Phase::Failed, Reason::TimedOut).await?;
    let running =
        stage.kubectl(&["get", "pods", "--field-selector=status.phase=Running", "-o", "name"]).await?;
    ensure!(running.is_empty(), "{running}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_killed_in_the_middle_fails_the_run_and_the_request_is_not_made_again() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    stage
        .run("a", "http", json!({"method": "POST", "url": server.url("/slow"), "timeout": "10m"}), |_| ())
        .await?;
    stage.ready("a").await?;
    stage.kubectl(&["delete", "pods", "--all", "--grace-period=1"]).await?;
    let end = stage.until("a", "finished", |rex| has_condition(rex, "Finished", "True")).await?;
    // Whether the pod can still tell depends on how soon it is gone.
    let reason = end.status.and_then(|status| status.reason);
    ensure!(matches!(reason, Some(Reason::PodLost | Reason::JobFailed)), "{reason:?}");
    ensure!(server.asked("/slow").len() <= 1, "it was asked twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_asks_nothing_and_leaves_nothing_behind() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let before = stage.content().await?;
    stage
        .run("a", "http", json!({"url": server.url("/x")}), |spec| spec["context"]["dryRun"] = json!(true))
        .await?;
    let end = stage.ends("a", Phase::Succeeded, Reason::DryRunSucceeded).await?;
    ensure!(end.status.and_then(|s| s.dry_run).is_some(), "nothing is shown");
    ensure!(stage.content().await? == before, "something was left behind: {:?}", stage.content().await?);
    ensure!(server.asked("/x").is_empty(), "it was asked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_secret_outputs_go_into_a_secret_of_the_execution() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let large = json!({"url": server.url("/large"), "output": {"text": "response.json.text"}});
    stage.run("large", "http", large, |_| ()).await?;
    let secret = json!({"url": server.url("/x"), "output": {"ok": "response.json.ok"}, "sensitive": true});
    stage.run("secret", "http", secret, |_| ()).await?;
    for (name, key, expected) in [("large", "text", "y".repeat(20_000)), ("secret", "ok", "true".to_owned())]
    {
        let end = stage.ends(name, Phase::Succeeded, Reason::Succeeded).await?;
        let status = end.status.context("no status")?;
        let reference = status.output_ref.context("no outputRef")?;
        ensure!(status.output.is_none() && reference.digest.starts_with("sha256:"), "{reference:?}");
        ensure!(stage.secret(&reference.name).await?[key] == expected, "another output");
        let owner = stage.get("secret", &reference.name).await?["metadata"]["ownerReferences"][0].clone();
        ensure!(owner["uid"] == end.metadata.uid.unwrap_or_default(), "another owner: {owner}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_without_the_rights_is_told_which() -> Result<()> {
    let stage = Stage::set().await?;
    stage.kubectl(&["delete", "rolebinding", "granted"]).await?;
    stage.run("a", "http", json!({"url": "http://127.0.0.1:9/"}), |_| ()).await?;
    let told = stage
        .until("a", "refused", |rex| rex.status.as_ref().is_some_and(|s| s.reason == Some(Reason::Forbidden)))
        .await?;
    ensure!(message(&told).contains("may not create secrets in namespace"), "{}", message(&told));
    ensure!(!stage.exists("job", "a").await?, "the Job was made without its input");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_is_seen_by_the_server_alone() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    let canaries = ["canaryInTheBody", "canaryInTheHeader", "canaryInTheQuery", "canaryInThePassword"];
    let [body, header, query, password] = canaries;
    let args = json!({"method": "POST", "headers": {"X-Key": header}, "query": {"key": query}, "body": body});
    stage.kubectl(&["create", "secret", "generic", "args", &format!("--from-literal=args={args}")]).await?;
    let password_given = format!("--from-literal=password={password}");
    stage
        .kubectl(&["create", "secret", "generic", "door", "--from-literal=username=me", &password_given])
        .await?;
    let auth = json!({"basic": {"secretRef": {"name": "door"}}});
    let from_secret =
        |spec: &mut Value| spec["argsFrom"] = json!([{"secretKeyRef": {"name": "args", "key": "args"}}]);
    stage.run("a", "http", json!({"url": server.url("/echo"), "auth": auth}), from_secret).await?;
    let wanted = json!({"url": server.url("/things"), "auth": auth, "output": {"name": "response.json.name"}, "sensitive": true});
    stage.run("b", "http", wanted, from_secret).await?;
    stage.ends("a", Phase::Failed, Reason::RequestFailed).await?;
    stage.ends("b", Phase::Succeeded, Reason::Succeeded).await?;
    let asked = server.asked("/echo").pop().context("it was not asked")?;
    ensure!(
        asked.body == body && asked.headers["x-key"] == header && asked.query.contains(query),
        "{asked:?}"
    );
    ensure!(asked.headers.contains_key("authorization"), "{asked:?}");

    let mut seen = stage.kubectl(&["get", "rex,jobs,pods,events,configmaps", "-o", "json"]).await?;
    for name in ["a", "b"] {
        seen += &stage.kubectl(&["logs", &format!("job/{name}")]).await?;
        seen += &stage.kubectl(&["describe", "job", name]).await?;
    }
    seen_nowhere(&canaries, &seen)
}
