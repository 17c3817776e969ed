//! Arguments of the runner `terraform`: which are taken, and how it is told why others are not.

use rstest::rstest;
use serde_json::{Value, json};

use super::{Args, Terraform};
use crate::runners::{args::merge, exec::Tool as _};

fn args(over: Value) -> Value {
    let mut args = json!({"module": {"name": "db", "files": {"main.tf": "# sesame"}}});
    merge(&mut args, over);
    args
}

#[test]
fn a_module_may_come_from_a_config_map() {
    let args =
        json!({"module": {"name": "db", "from": {"configMapKeyRef": {"name": "modules", "key": "db.tgz"}}}});
    let mounts = Terraform.check(&args).unwrap().mounts;
    let items = json!([{"key": "db.tgz", "path": "module.tgz"}]);
    let volume = json!({"projected": {"sources": [{"configMap": {"name": "modules", "items": items}}]}});
    assert_eq!(mounts, [("/var/run/runner/module", volume)]);
}

#[rstest]
#[case(json!({"command": "import"}), "spec.args.command: must be one of")]
#[case(json!({"module": {"name": "Sesame"}}), "spec.args.module.name: must be 1 to 63")]
#[case(json!({"module": {"source": "sesame"}}), "spec.args.module: needs exactly one")]
#[case(json!({"module": {"files": {"../sesame": ""}}}), "spec.args.module.files: must be")]
#[case(json!({"variables": {"1": "sesame"}}), "spec.args.variables: each name")]
#[case(json!({"env": {"TF_DATA_DIR": "sesame"}}), "spec.args.env: each name")]
#[case(json!({"env": {"USER": "sesame"}}), "spec.args.env: each name")]
#[case(json!({"command": "destroy", "output": {"goTemplate": "sesame"}}), "spec.args.output.goTemplate: goes with apply")]
#[case(json!({"command": "plan", "output": {"tfstate": true}}), "spec.args.output.tfstate: goes with apply")]
fn what_is_wrong_is_told_by_its_field_and_without_values(#[case] over: Value, #[case] why: &str) {
    let rejection = Args::read(&args(over)).unwrap_err().to_string();
    assert!(rejection.contains(why) && !rejection.contains("sesame"), "{rejection}");
}
