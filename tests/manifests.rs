//! The manifests of `config/` and the code agree. No cluster.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(unreachable_pub, reason = "a test has no public surface")]

use std::path::Path;

use serde_json::Value;

fn config(path: &str) -> Vec<Value> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)).unwrap();
    text.split("\n---").map(|document| serde_yaml::from_str(document).unwrap()).collect()
}

#[test]
fn the_crd_in_config_is_the_one_that_the_code_defines() {
    let generated = serde_json::to_value(runner_controller::crd::crd()).unwrap();
    assert!(config("crd/runnerexecutions.yaml") == [generated], "run `make generate`");
}

#[test]
fn the_controller_may_create_no_workload_and_read_no_secret() {
    let role = &config("rbac/role.yaml")[0];
    for rule in role["rules"].as_array().unwrap() {
        let (resources, verbs) = (rule["resources"].to_string(), rule["verbs"].to_string());
        assert!(!resources.contains("secrets") && !resources.contains('*') && !verbs.contains('*'), "{rule}");
        let own = resources.contains("runnerexecutions") || resources.contains("events");
        let writes = ["create", "update", "patch", "delete"].iter().any(|verb| verbs.contains(verb));
        assert!(own || !writes, "{rule}");
    }
}

#[test]
fn the_controller_may_follow_every_kind_that_a_runner_makes() {
    let role = &config("rbac/role.yaml")[0];
    let registry =
        runner_controller::runners::Registry::built_in(&runner_controller::runners::Settings::default());
    for runner in registry.iter() {
        let kind = runner.child();
        let covered = role["rules"].as_array().unwrap().iter().any(|rule| {
            rule["apiGroups"].to_string().contains(&kind.group)
                && rule["resources"].to_string().contains(&kind.plural)
                && ["get", "list", "watch"].iter().all(|verb| rule["verbs"].to_string().contains(verb))
        });
        assert!(covered, "{} cannot be followed", kind.plural);
    }
}
