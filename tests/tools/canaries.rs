//! Secrets are planted wherever one can be given, and looked for wherever somebody could see one: in every object but
//! the Secrets, in what is logged at the most verbose level, in metrics and in command lines; as they are and encoded.

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{common, controller::Controller, helm, processes, server::Server, stage::Stage};

/// None of the words is in the text, plain or encoded.
pub(crate) fn seen_nowhere(words: &[&str], text: &str) -> Result<()> {
    for word in words {
        for form in forms(word) {
            if let Some(at) = text.find(&form) {
                let near: String =
                    text[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
                anyhow::bail!("{word} can be read as {form} after: {near}");
            }
        }
    }
    Ok(())
}

/// How a word of letters and digits may look. In a URL, and quoted, it looks as it is.
fn forms(word: &str) -> Vec<String> {
    let hex = word.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    // In base64 it depends on how many bytes come before, by threes; the letters at the ends depend on the neighbours.
    let encoded = (0..3).map(|skipped| {
        let inner = &word.as_bytes()[skipped..];
        let whole = inner.len() / 3 * 3;
        let text = serde_json::to_value(ByteString(inner[..whole].to_vec())).unwrap();
        text.as_str().unwrap().to_owned()
    });
    [word.to_owned(), hex.to_uppercase(), hex].into_iter().chain(encoded).collect()
}

#[test]
fn a_word_is_found_however_it_is_written() {
    for seen in
        ["a sesameOpen1 b", "736573616d654f70656e31", "eyJhIjoic2VzYW1lT3BlbjEifQ==", "c2VzYW1lT3BlbjE="]
    {
        assert!(seen_nowhere(&["sesameOpen1"], seen).is_err(), "{seen}");
    }
    assert!(seen_nowhere(&["sesameOpen1"], "sesame").is_ok());
}

/// A secret with that word in it, and with what must be escaped in one place or another.
fn secret(word: &str) -> String {
    format!("{word} \"&%+/$'\\")
}

/// The words, by where they are planted.
const WORDS: [&str; 12] = [
    "wordInHelmArgs1",
    "wordInHelmFile2",
    "wordInTheHook33",
    "wordInVariable4",
    "wordInTheEnvir5",
    "wordInAnOutput6",
    "wordInTheHeader",
    "wordInTheQuery8",
    "wordInTheBody99",
    "wordInThePasswd",
    "wordInTheToken1",
    "wordInJobInput2",
];

/// Runs of every runner that hold all of them; each is in the middle of its work until the gate opens, or fails in a
/// way that would show them.
fn runs(server: &Server) -> Vec<(&'static str, &'static str, Value, Value)> {
    let [in_args, _, in_hook, variable, env, output, header, query, body, _, _, input] = WORDS.map(secret);
    let gate = |name: &str| server.url(&format!("/gate/{name}"));
    let chart = helm::args("install", json!({}))["chart"].clone();
    let values_from = json!([{"secretKeyRef": {"name": "values", "key": "values"}}]);
    let additional = json!({"additional": {"goTemplate": "password: {{ .Values.password | quote }}"}});
    let (key, half) = output.split_at(4);
    let module = format!(
        "variable \"password\" {{}}\nvariable \"gate\" {{}}\nresource \"terraform_data\" \"a\" {{\n input = var.password\n \
         provisioner \"local-exec\" {{ command = \"exec wget -q -O /dev/null ${{var.gate}}\" }}\n}}\n\
         output \"key\" {{\n value = sensitive(join(\"\", [{key:?}, {}]))\n sensitive = true\n}}\n",
        json!(half.replace('%', "%%").replace('$', "$$"))
    );
    let refusal = "variable \"password\" {}\nresource \"terraform_data\" \"a\" {\n lifecycle {\n precondition {\n \
                   condition = length(var.password) > 1000\n error_message = \"Not ${var.password}.\"\n }\n }\n}\n";
    let request =
        json!({"method": "POST", "headers": {"X-Key": header}, "query": {"key": query}, "body": body});
    let basic = json!({"basic": {"secretRef": {"name": "door"}}});
    let bearer = json!({"bearer": {"secretKeyRef": {"name": "door", "key": "token"}}});
    let with = |url: String, over: Value| {
        let mut args = json!({"url": url});
        runner_controller::runners::args::merge(&mut args, over);
        args
    };
    vec![
        (
            "helm",
            "helm",
            json!({"name": "web", "chart": chart, "valuesFrom": values_from, "output": additional}),
            json!({"values": {"password": in_args, "gate": gate("helm")}}),
        ),
        (
            "helm-fails",
            "helm",
            json!({"name": "other", "chart": chart, "timeout": "20s"}),
            json!({"values": {"hookExitCode": format!("{in_hook}")}}),
        ),
        (
            "tofu",
            "terraform",
            json!({"module": {"name": "db", "files": {"main.tf": module}}, "allowLocalExec": true, "output": {"tfstate": true}}),
            json!({"variables": {"password": variable, "gate": gate("tofu")}, "env": {"TOKEN": env}}),
        ),
        (
            "tofu-fails",
            "terraform",
            json!({"module": {"name": "other", "files": {"main.tf": refusal}}}),
            json!({"variables": {"password": variable}}),
        ),
        (
            "http",
            "http",
            with(
                gate("http"),
                json!({"auth": basic, "output": {"ok": "response.json.ok"}, "sensitive": true}),
            ),
            request.clone(),
        ),
        ("http-moved", "http", with(server.url("/moved"), json!({"auth": bearer})), request.clone()),
        ("http-fails", "http", with(server.url("/echo"), json!({"auth": bearer})), request),
        (
            "job",
            "job",
            json!({"image": "busybox:1", "command": ["sh", "-c", "wc -c < $RUNNER_INPUT_PATH"]}),
            json!({"input": {"password": input}}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_seen_by_the_tools_alone() -> Result<()> {
    let stage = Stage::without_controller().await?.for_every_tool().await?;
    let server = Server::start().await?;
    let controller = Controller::start(&stage, "trace").await?;
    stage.make_secret("values", "values", &format!("note: {}", json!(secret(WORDS[1])))).await?;
    let door = [("username", "me".to_owned()), ("password", secret(WORDS[9])), ("token", secret(WORDS[10]))];
    let door = door.map(|(key, text)| format!("--from-literal={key}={text}"));
    stage.kubectl(&["create", "secret", "generic", "door", &door[0], &door[1], &door[2]]).await?;
    let runs = runs(&server);
    for (name, runner, args, secret_args) in &runs {
        stage.make_secret(name, "args", &secret_args.to_string()).await?;
        let from = json!([{"secretKeyRef": {"name": name, "key": "args"}}]);
        stage.run(name, runner, args.clone(), |spec| spec["argsFrom"] = from).await?;
    }

    let gates = ["/gate/helm", "/gate/tofu", "/gate/http"];
    server.until_asked(&gates, 1).await?;
    let mut seen = String::new();
    for name in ["helm", "tofu", "http"] {
        let processes = processes::of(&stage.uid(name).await?);
        ensure!(!processes.is_empty(), "the processes of {name} are not found");
        seen += &processes.iter().flat_map(|it| &it.words).cloned().collect::<Vec<_>>().join("\n");
    }
    server.set_gate(true);
    for (name, ..) in &runs {
        let (phase, reason) = match *name {
            "helm-fails" => (Phase::Failed, Reason::HelmFailed),
            "tofu-fails" => (Phase::Failed, Reason::TerraformFailed),
            "http-fails" => (Phase::Failed, Reason::RequestFailed),
            _ => (Phase::Succeeded, Reason::Succeeded),
        };
        stage.ends(name, phase, reason).await?;
        seen += &stage.kubectl(&["logs", &format!("job/{name}")]).await?;
        seen += &stage.kubectl(&["describe", "rex", name]).await?;
        seen += &stage.kubectl(&["describe", "job", name]).await?;
    }
    let asked = server.asked("/gate/http").pop().map(|asked| asked.body);
    ensure!(asked == Some(secret(WORDS[8])), "the server was asked something else: {asked:?}");

    let kinds = stage.kubectl(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]).await?;
    let kinds = kinds.lines().filter(|kind| *kind != "secrets").collect::<Vec<_>>().join(",");
    seen += &stage.kubectl(&["get", &kinds, "-o", "json"]).await?;
    let log = controller.log()?;
    ensure!(log.contains("\"TRACE\""), "the controller does not log everything");
    ensure!(seen.contains("\"TRACE\""), "the pods do not log everything");
    seen += &log;
    seen += &controller.metrics().await?;
    for event in common::audit(stage.cluster).await? {
        seen += &event.to_string();
    }
    seen_nowhere(&WORDS, &seen)
}
