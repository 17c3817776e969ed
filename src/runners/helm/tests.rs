//! Arguments of the runner `helm`: which are taken, and how it is told why others are not.

use rstest::rstest;
use serde_json::{Value, json};

use super::{Args, Helm};
use crate::runners::{args::merge, exec::Tool as _};

fn args(over: Value) -> Value {
    let mut args = json!({"chart": {"name": "web", "repo": "https://charts.example.org"}});
    merge(&mut args, over);
    args
}

#[test]
fn what_was_written_for_the_original_is_understood() {
    let args = args(json!({
        "command": "upgrade", "name": "web", "chart": {"version": "1.0.0"}, "values": {"a": 1}, "noHooks": true,
        "reuseValues": true, "maxHistory": 3,
        "output": {"helmRelease": {"fileName": "helm-release"}, "additional": {"fileName": "additional", "goTemplate": {"host": "{{ .Values.host }}"}}},
    }));
    let read = Args::read(&args).unwrap();
    assert_eq!((read.max_history, read.wait().as_secs()), (3, 300));
    assert!(Helm.check(&args).unwrap().mounts.is_empty());
}

#[test]
fn a_chart_and_values_that_lie_in_the_cluster_are_mounted() {
    let key = |name: &str| json!({"name": name, "key": "k"});
    let args = json!({"chart": {"from": {"configMapKeyRef": key("chart")}}, "valuesFrom": [{"secretKeyRef": key("values")}]});
    let mounts = Helm.check(&args).unwrap().mounts;
    let projected = |source: Value| json!({"projected": {"sources": [source]}});
    let items = |path: &str| json!([{"key": "k", "path": path}]);
    assert_eq!(
        mounts,
        [
            (
                "/var/run/runner/chart",
                projected(json!({"configMap": {"name": "chart", "items": items("chart.tgz")}}))
            ),
            ("/var/run/runner/values", projected(json!({"secret": {"name": "values", "items": items("0")}}))),
        ]
    );
}

#[rstest]
#[case(json!({"command": "delete"}), "spec.args.command: must be one of")]
#[case(json!({"name": "Sesame"}), "spec.args.name: must be 1 to 53")]
#[case(json!({"name": "a", "generateName": true}), "spec.args.generateName: goes with install, and without name")]
#[case(json!({"chart": {"repo": "ftp://sesame"}}), "spec.args.chart.repo: must begin with")]
#[case(json!({"chart": {"repo": "https://u:sesame@a"}}), "no user name or password")]
#[case(json!({"chart": {"name": "--sesame"}}), "spec.args.chart.name")]
#[case(json!({"chart": {"from": {"secretKeyRef": {"name": "a", "key": "b"}}}}), "not both")]
#[case(json!({"reuseValues": true}), "spec.args.reuseValues: goes with upgrade")]
#[case(json!({"command": "uninstall"}), "spec.args.chart: goes with install and upgrade")]
#[case(json!({"command": "upgrade", "revision": 1}), "spec.args.revision: goes with rollback")]
#[case(json!({"timeout": "0"}), "spec.args.timeout: must be a Go duration")]
#[case(json!({"values": "sesame"}), "spec.args.values: must be a map")]
#[case(json!({"chart": null}), "spec.args.chart: is required")]
fn what_is_wrong_is_told_by_its_field_and_without_values(#[case] over: Value, #[case] why: &str) {
    let rejection = Args::read(&args(over)).unwrap_err().to_string();
    assert!(rejection.contains(why), "{rejection}");
    assert!(!rejection.contains("esame"), "{rejection}");
}
