//! Arguments of the runner `http`: which are taken, and how it is told why others are not.

use rstest::rstest;
use serde_json::{Value, json};

use super::{Args, Http};
use crate::runners::{args::merge, exec::Tool as _};

fn args(over: Value) -> Value {
    let mut args = json!({"url": "https://example.org/things"});
    merge(&mut args, over);
    args
}

#[test]
fn everything_that_can_be_written_is_understood() {
    let args = args(json!({
        "method": "POST", "query": {"a": "b"}, "headers": {"Accept": "application/json"}, "body": {"name": "x"},
        "auth": {"bearer": {"secretKeyRef": {"name": "api", "key": "token"}}}, "timeout": "5s", "retry": {"attempts": 2},
        "success": "response.status == 202", "failure": "response.status == 409",
        "poll": {"urlFrom": "response.headers.location", "interval": "1s", "until": "response.json.done"},
        "output": {"id": "response.json.id"}, "sensitive": true,
    }));
    let read = Args::read(&args).unwrap();
    assert_eq!(read.call_timeout().as_secs(), 5);
    assert_eq!(read.poll.unwrap().pause().as_secs(), 1);
    let needs = Http.check(&args).unwrap();
    assert_eq!(needs.mounts[0].1["secret"]["items"], json!([{"key": "token", "path": "token"}]));
}

#[rstest]
#[case(json!({"method": "FETCH"}), "spec.args.method: must be one of")]
#[case(json!({"url": "sesame"}), "spec.args.url: must be a URL")]
#[case(json!({"url": "file:///sesame"}), "spec.args.url: must be a URL")]
#[case(json!({"url": "https://u:sesame@example.org/"}), "spec.args.url: must not hold a user name")]
#[case(json!({"urll": "sesame"}), "is not known here; write one of")]
#[case(json!({"headers": {"A": "sesame\r\nB: c"}}), "spec.args.headers: each must be")]
#[case(json!({"timeout": "sesame"}), "spec.args.timeout: must be a Go duration")]
#[case(json!({"timeout": "0"}), "spec.args.timeout: must be at least 1s")]
#[case(json!({"retry": {"attempts": 0}}), "spec.args.retry.attempts: must be within 1 and 20")]
#[case(json!({"body": "sesame"}), "spec.args.body: goes with POST")]
#[case(json!({"success": "response.sesame =="}), "spec.args.success: is no CEL expression")]
#[case(json!({"success": "initial.status == 1"}), "spec.args.success: uses a variable that is not there")]
#[case(json!({"poll": {"interval": "1s"}}), "spec.args.poll: lacks the field `until`")]
#[case(json!({"poll": {"until": "true", "url": "http://a", "urlFrom": "response.body"}}), "takes url or urlFrom")]
#[case(json!({"output": {"a b": "response.body"}}), "spec.args.output: each name must be")]
#[case(json!({"auth": {"basic": {"secretRef": {"name": "../sesame"}}}}), "spec.args.auth.basic.secretRef: must name")]
#[case(json!({"auth": {"digest": {}}}), "spec.args.auth")]
fn what_is_wrong_is_told_by_its_field_and_without_values(#[case] over: Value, #[case] why: &str) {
    let rejection = Args::read(&args(over)).unwrap_err().to_string();
    assert!(rejection.contains(why), "{rejection}");
    assert!(!rejection.contains("sesame") || rejection.contains("`sesame`"), "{rejection}");
}

#[rstest]
fn arguments_of_any_form_are_refused(
    #[values(json!(null), json!([]), json!("a"), json!({}), json!({"url": 1}))] args: Value,
) {
    assert!(Args::read(&args).is_err());
}
