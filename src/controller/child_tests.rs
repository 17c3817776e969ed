//! What every write of a child must say, and whose a child is.

use super::*;
use crate::runners::Settings;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn every_patch_names_the_child_it_is_for_and_marks_it_in_the_same_write() {
    let released = release_patch("c", at(1));
    assert_eq!(released["metadata"]["uid"], "c");
    assert_eq!(
        (&released["metadata"]["labels"][RELEASED_LABEL], &released["spec"]["suspend"]),
        (&json!("true"), &json!(false))
    );

    let stopped = stop_patch("c", Stop::Terminate, json!({"spec": {"shutdown": "Terminate"}}), at(1));
    assert_eq!(stopped["metadata"]["uid"], "c");
    assert_eq!(
        (&stopped["metadata"]["labels"][STOPPED_LABEL], &stopped["spec"]["shutdown"]),
        (&json!("terminate"), &json!("Terminate"))
    );

    let held_back =
        json!({"metadata": {"annotations": {HELD_BACK_ANNOTATION: r#"{"spec":{"ttlStrategy":{}}}"#}}});
    let restored = restore_patch("c", &held_back);
    assert_eq!(restored["metadata"], json!({"uid": "c", "annotations": {HELD_BACK_ANNOTATION: null}}));
    assert_eq!(restored["spec"], json!({"ttlStrategy": {}}));
}

#[test]
fn a_child_is_an_execution_s_only_if_its_label_and_its_owner_say_so() {
    let registry = Registry::built_in(&Settings::default());
    let owned_by = |uid: &str| {
        json!({"metadata": {
            "name": "a", "namespace": "n", "uid": "c",
            "labels": {EXECUTION_UID_LABEL: "u", RUNNER_LABEL: "job"},
            "ownerReferences": [{"apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution", "name": "a", "uid": uid}],
        }})
    };
    assert!(
        Entry::read_whole(&owned_by("u"), &registry).is_some_and(|entry| entry.execution == Key::of("u"))
    );
    assert_eq!(Entry::read_whole(&owned_by("another"), &registry), None);
}
