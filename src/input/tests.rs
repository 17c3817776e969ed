use rstest::rstest;
use serde_json::{Value, json};

use super::{Given, Mismatch, file, pair};

/// The original document's example, word for word.
const ORIGINAL: &str = include_str!("../../tests/fixtures/submit/original-input.yaml");

const RUN: &str = "\
context:
  name: install-jira
  platform:
    serviceAccountName: deployer
args:
  image: busybox:1
";

const GIVEN: Given<'_> = Given { runner: Some("job"), namespace: None, default_namespace: "team-a" };

fn manifest(text: &str, given: &Given<'_>) -> Value {
    serde_json::to_value(file(text).unwrap().into_execution(given).unwrap()).unwrap()
}

#[test]
fn the_originals_example_becomes_an_execution_with_nothing_lost() {
    let input = file(ORIGINAL).unwrap();
    assert_eq!(input.warnings, Vec::<String>::new());
    let execution = serde_json::to_value(input.into_execution(&GIVEN).unwrap()).unwrap();
    let expected = json!({
        "apiVersion": "core.projectvoltron.dev/v1alpha1",
        "kind": "RunnerExecution",
        "metadata": {"name": "action-name", "namespace": "k8s-ns-name"},
        "spec": {
            "runner": "job",
            "context": {
                "name": "action-name",
                "dryRun": true,
                "timeout": "10m",
                "platform": {
                    "namespace": "k8s-ns-name",
                    "serviceAccountName": "sa-name",
                    "ownerRef": {
                        "apiVersion": "core.projectvoltron.dev/v1alpha1",
                        "kind": "Action",
                        "blockOwnerDeletion": true,
                        "controller": true,
                        "name": "action-name",
                        "uid": "3826a747-cfac-49c7-a81e-1d48cc23096f",
                    },
                },
            },
            "suspend": false,
            "cancel": false,
        },
    });
    assert_eq!(execution, expected);
}

#[test]
fn json_and_the_pair_of_files_say_the_same_as_the_file() {
    let expected = manifest(RUN, &GIVEN);
    let json = r#"{"context": {"name": "install-jira", "platform": {"serviceAccountName": "deployer"}}, "args": {"image": "busybox:1"}}"#;
    assert_eq!(manifest(json, &GIVEN), expected);
    let context = "name: install-jira\nplatform: {serviceAccountName: deployer}\n";
    let two = pair(context, "image: busybox:1\n").unwrap().into_execution(&GIVEN).unwrap();
    assert_eq!(serde_json::to_value(two).unwrap(), expected);
}

#[test]
fn a_manifest_is_taken_as_it_is() {
    let text = "\
apiVersion: core.projectvoltron.dev/v1alpha1
kind: RunnerExecution
metadata: {name: a, labels: {team: b}}
spec: {runner: job, context: {platform: {serviceAccountName: deployer}}, args: {n: 1}, suspend: true, ttlSecondsAfterFinished: 5}
";
    let execution = manifest(text, &Given { runner: None, ..GIVEN });
    assert_eq!(execution["metadata"], json!({"name": "a", "namespace": "team-a", "labels": {"team": "b"}}));
    assert_eq!(execution["spec"]["suspend"], true);
    assert_eq!(execution["spec"]["ttlSecondsAfterFinished"], 5);
    let other = file(text).unwrap().into_execution(&Given { runner: Some("helm"), ..GIVEN });
    assert!(matches!(other, Err(Mismatch::Runner { .. })), "{other:?}");
}

#[rstest]
#[case(None, Ok("team-a"))]
#[case(Some("team-b"), Ok("team-b"))]
fn a_namespace_comes_from_the_command_line_or_the_kubeconfig(
    #[case] namespace: Option<&str>,
    #[case] expected: Result<&str, ()>,
) {
    let execution = manifest(RUN, &Given { namespace, ..GIVEN });
    assert_eq!(execution["metadata"]["namespace"].as_str(), expected.ok());
}

#[test]
fn two_namespaces_and_no_runner_are_mismatches() {
    let other = Given { namespace: Some("team-b"), ..GIVEN };
    let mismatch = file(ORIGINAL).unwrap().into_execution(&other).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "--namespace says team-b, and context.platform.namespace k8s-ns-name; leave one of them out"
    );
    let mismatch = file(RUN).unwrap().into_execution(&Given { runner: None, ..GIVEN }).unwrap_err();
    assert_eq!(mismatch, Mismatch::NoRunner);
}

#[test]
fn fields_without_effect_are_warned_of_with_what_was_meant() {
    let text =
        "context: {name: a, timeot: 5m, platform: {serviceAccountName: b, servicAccount: c}}\narg: {}\n";
    assert_eq!(
        file(text).unwrap().warnings,
        [
            "arg is no field and has no effect; did you mean args?",
            "context.platform.servicAccount is no field and has no effect; did you mean serviceAccountName?",
            "context.timeot is no field and has no effect; did you mean timeout?",
        ]
    );
}

#[rstest]
#[case("0", Some("0"))]
#[case("\"0\"", Some("0"))]
#[case("1h30m", Some("1h30m"))]
#[case("null", None)]
fn the_timeout_is_a_go_duration_or_zero(#[case] timeout: &str, #[case] expected: Option<&str>) {
    let text = format!("context: {{name: a, timeout: {timeout}, platform: {{serviceAccountName: b}}}}\n");
    assert_eq!(manifest(&text, &GIVEN)["spec"]["context"]["timeout"].as_str(), expected);
}

#[test]
fn arguments_become_json_as_every_tool_of_kubernetes_makes_it() {
    let text =
        format!("{RUN}  1: [true, null, 18446744073709551615, 0.1, on]\n  yes: &a {{b: c}}\n  d: *a\n");
    let expected = json!({
        "image": "busybox:1", "1": [true, null, 18_446_744_073_709_551_615_u64, 0.1, "on"],
        "yes": {"b": "c"}, "d": {"b": "c"},
    });
    assert_eq!(manifest(&text, &GIVEN)["spec"]["args"], expected);
}

/// The whole words for each mistake; the snapshots are what a person reads.
#[rstest]
#[case::empty("", "f: is empty")]
#[case::comments_only("# nothing\n---\n# more\n", "f: is empty")]
#[case::no_yaml("context: [a\n", "f:2:1: did not find expected ',' or ']'\n   |\n 2 | \n   | ^")]
#[case::tab(
    "context:\n\tname: a\n",
    "f:2:1: a tab indents this line; YAML is indented by spaces only\n   |\n 2 |  name: a\n   | ^"
)]
#[case::no_context("args: {}\n", "f:1:1: the field context is missing\n   |\n 1 | args: {}\n   | ^")]
#[case::no_name(
    "context:\n  platform: {serviceAccountName: a}\n",
    "f:2:3: context: the field name is missing\n   |\n 2 |   platform: {serviceAccountName: a}\n   |   ^"
)]
#[case::no_service_account(
    "context:\n  name: a\n  platform: {namespace: b}\n",
    "f:3:13: context.platform: the field serviceAccountName is missing\n   |\n 3 |   platform: {namespace: b}\n   |             ^"
)]
#[case::wrong_type(
    "context:\n  name: a\n  dryRun: maybe\n  platform: {serviceAccountName: a}\n",
    "f:3:11: context.dryRun: invalid type: string \"maybe\", expected a boolean\n   |\n 3 |   dryRun: maybe\n   |           ^"
)]
#[case::timeout(
    "context:\n  name: a\n  timeout: 10 minutes\n  platform: {serviceAccountName: a}\n",
    "f:3:12: context.timeout: must be a Go duration such as 30s, 10m or 1h30m; write 0 for no timeout\n   |\n 3 |   timeout: 10 minutes\n   |            ^"
)]
#[case::bad_name(
    "context:\n  name: Install_Jira\n  platform: {serviceAccountName: a}\n",
    "f:2:9: context.name: must be a name of lower-case letters, digits, - and ., with a letter or digit at both ends\n   |\n 2 |   name: Install_Jira\n   |         ^"
)]
#[case::args_list(
    "context: {name: a, platform: {serviceAccountName: b}}\nargs: [a]\n",
    "f:2:7: args: invalid type: sequence, expected an object such as {image: busybox:1}, or nothing\n   |\n 2 | args: [a]\n   |       ^"
)]
#[case::args_twice(
    "context: {name: a, platform: {serviceAccountName: b}}\nargs:\n  a: 1\n  a: 2\n",
    "f:3:3: args: duplicate entry with key \"a\"\n   |\n 3 |   a: 1\n   |   ^"
)]
#[case::two_documents(
    "context: {}\n---\ncontext: {}\n",
    "f:2:1: begins a second document; a file holds one run, submit them one by one\n   |\n 2 | ---\n   | ^"
)]
#[case::other_kind(
    "apiVersion: v1\nkind: Pod\n",
    "f:2:7: kind: must be RunnerExecution, or the file the original's, with context and args and no kind\n   |\n 2 | kind: Pod\n   |       ^"
)]
#[case::a_scalar(
    "hello",
    "f:1:1: invalid type: string \"hello\", expected an object with context and args\n   |\n 1 | hello\n   | ^"
)]
#[case::json(
    "{\"context\": {\"name\": 5}}",
    "f:1:22: context.name: invalid type: integer 5, expected a name\n   |\n 1 | {\"context\": {\"name\": 5}}\n   |                      ^"
)]
fn a_mistake_is_told_with_its_place_and_the_line(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(file(text).unwrap_err().show("f"), expected);
}

#[rstest]
#[case::large("a".repeat(crate::input::MAX_BYTES + 1), "is larger than 1024 KiB")]
#[case::deep(format!("context: {}1{}", "{a: ".repeat(150), "}".repeat(150)), "nests more than")]
#[case::laughs(format!("a: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x,".repeat(500), "*a,".repeat(400), "*b,".repeat(400)), "nests more than")]
#[case::brackets("[']',".repeat(5000), "brackets")]
fn what_is_too_much_is_refused_before_it_is_built(#[case] text: String, #[case] words: &str) {
    let fault = file(&text).unwrap_err();
    assert!(fault.what.contains(words), "{fault}");
}

#[test]
fn a_fault_of_the_pair_tells_in_which_file() {
    let context = "name: a\nplatform: {serviceAccountName: b}\n";
    assert_eq!(pair(context, "- a\n").unwrap_err().0, 1);
    assert_eq!(pair("name: [a]\n", "{}").unwrap_err().0, 0);
}

#[test]
fn a_long_line_is_shown_around_the_mistake() {
    let text = format!(
        "context: {{name: a, platform: {{serviceAccountName: b}}}}\nargs: {{a: {} b: 1}}\n",
        "x".repeat(300)
    );
    let shown = file(&text).unwrap_err().show("f");
    assert!(shown.lines().all(|line| line.chars().count() < 140), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = file(&text).map_err(|fault| fault.show("f"));
    }

    #[test]
    fn no_near_text_makes_it_panic(text in "((context|args|kind|name|platform|timeout|---|- |: |\n|  |\t|a|0|\"|\\{|\\}|\\[|\\]|&a |\\*a|ü|\u{feff}))*") {
        let _ = file(&text).map_err(|fault| fault.show("f"));
        let _ = pair(&text, &text);
    }
}
