//! How long things are remembered, and what counts as news.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{Entry, Execution, Failing, Key, Memory, Refusal, later};
use crate::{
    controller::decide::Patience,
    reason::Reason,
    runners::{Registry, Settings},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn retries_come_ever_later_and_begin_anew_after_a_success() {
    let memory = Memory::default();
    let delays: Vec<Duration> =
        (0..12).map(|_| memory.failed(Key::of("a"), Failing::Answered, 0.5).1).collect();
    assert!(delays.is_sorted() && delays.last() == Some(&Duration::from_mins(1)), "{delays:?}");
    memory.succeeded(Key::of("a"));
    assert_eq!(memory.failed(Key::of("a"), Failing::Answered, 0.5).0, 1);
}

#[test]
fn the_first_answer_after_an_outage_is_not_waited_out_for_as_long_as_the_outage_took() {
    let memory = Memory::default();
    let unanswered = (0..12).map(|_| memory.failed(Key::of("a"), Failing::Unanswered, 0.5).0);
    assert_eq!(unanswered.last(), Some(12));
    let answered: Vec<_> = (0..3).map(|_| memory.failed(Key::of("a"), Failing::Answered, 0.5)).collect();
    assert_eq!(answered.first(), Some(&(1, Duration::from_millis(500))));
    assert!(answered.is_sorted(), "{answered:?}");
    assert_eq!(memory.failed(Key::of("a"), Failing::Unanswered, 0.5).0, 4);
}

#[test]
fn retries_of_what_is_finished_come_ever_later_too() {
    let memory = Memory::default();
    let finished =
        json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {}, "status": {"phase": "Failed"}});
    let finished: Arc<Execution> = Arc::new(serde_json::from_str(&finished.to_string()).unwrap());
    memory.wrote(&finished);
    let fail = |times: u32| {
        memory.latest(Arc::clone(&finished));
        assert_eq!(memory.failed(Key::of("u"), Failing::Answered, 0.5).0, times);
    };
    (1..5).for_each(fail);
    memory.succeeded(Key::of("u"));
    memory.latest(finished);
    assert!(memory.remembered.lock().unwrap().is_empty(), "it needs nothing more");
}

#[test]
fn what_went_while_nothing_was_heard_is_forgotten() {
    let memory = Memory::default();
    memory.failed(Key::of("there"), Failing::Answered, 0.5);
    memory.failed(Key::of("gone"), Failing::Answered, 0.5);
    memory.keep_only(|key| key == Key::of("there"));
    let failures = |uid| memory.failures_before(Key::of(uid), Failing::Answered);
    assert_eq!((failures("there"), failures("gone")), (1, 0));
}

#[test]
fn a_retry_is_put_off_only_while_the_execution_is_unchanged() {
    let memory = Memory::default();
    memory.retry_at(Key::of("a"), 7, at(10));
    assert_eq!(memory.retry_planned(Key::of("a"), 7, at(5)), Some(at(10)));
    assert_eq!(memory.retry_planned(Key::of("a"), 8, at(5)), None);
    assert_eq!(memory.retry_planned(Key::of("a"), 7, at(10)), None);
    memory.retry_at(Key::of("a"), 7, at(10));
    memory.retry_all();
    assert_eq!(memory.retry_planned(Key::of("a"), 7, at(5)), None);
}

#[test]
fn the_grace_of_a_refusal_begins_with_the_first() {
    let memory = Memory::default();
    memory.refused(Key::of("a"), at(0));
    memory.refused(Key::of("a"), at(20));
    assert_eq!(memory.patience_ends(Key::of("a"), at(20)), later(at(0), super::REFUSAL_GRACE));
    memory.succeeded(Key::of("a"));
    assert_eq!(memory.patience_ends(Key::of("a"), at(50)), later(at(50), super::REFUSAL_GRACE));
}

#[test]
fn a_refusal_that_is_put_off_counts_from_the_first_time_and_only_for_what_was_refused() {
    let (memory, refusal) = (Memory::default(), refusal());
    assert_eq!(memory.put_off(Key::of("a"), 7, &refusal, at(1)), at(1));
    assert_eq!(memory.put_off(Key::of("a"), 7, &refusal, at(5)), at(1));
    assert_eq!(memory.put_off_refusal(Key::of("a"), 7), Some(refusal.clone()));
    assert_eq!(memory.put_off_refusal(Key::of("a"), 8), None);
    assert_eq!(memory.put_off(Key::of("a"), 8, &refusal, at(9)), at(9));
    memory.put_off_no_more(Key::of("a"));
    assert_eq!(memory.put_off_refusal(Key::of("a"), 8), None);
}

#[test]
fn an_execution_is_an_echo_only_at_the_version_that_we_wrote() {
    let memory = Memory::default();
    assert!(!memory.is_echo(&execution("7")), "nothing was written");
    memory.wrote(&Arc::new(execution("7")));
    assert!(!memory.is_echo(&execution("6")) && !memory.is_echo(&execution("8")));
    let as_written = |version| memory.as_written(Key::of("u"), Some(version)).is_some();
    assert!(as_written("7") && !as_written("6") && !as_written("8"));
    assert!(memory.is_echo(&execution("7")));
    assert!(!memory.is_echo(&execution("7")), "as a watch that begins anew shows it");
}

fn execution(version: &str) -> Execution {
    let text = json!({"metadata": {"uid": "u", "resourceVersion": version}, "spec": {}}).to_string();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn of_a_child_news_is_what_others_changed_of_what_is_kept() {
    let memory = Memory::default();
    let (suspended, released) = (child("7", []), child("8", [RELEASED]));
    assert!(memory.is_news_of_child(None, &suspended), "never heard of");
    assert!(!memory.is_news_of_child(Some(&suspended), &child("8", [])), "a change of something else");
    assert!(memory.is_news_of_child(Some(&suspended), &released), "released by another controller");

    memory.wrote_child(Key::of("u"), &released);
    assert!(!memory.is_news_of_child(Some(&suspended), &released), "our own release");
    assert!(memory.is_news_of_child(Some(&suspended), &released), "as a watch that begins anew shows it");
}

#[test]
fn a_child_that_ended_just_before_our_write_is_news_though_the_version_is_ours() {
    let memory = Memory::default();
    memory.wrote_child(Key::of("u"), &child("9", [RELEASED]));
    let (ended, both) = (child("8", ENDED), child("9", [RELEASED, ENDED[0], ENDED[1]]));
    assert!(memory.is_news_of_child(Some(&child("7", [])), &ended));
    assert!(memory.is_news_of_child(Some(&ended), &both));
}

const RELEASED: (&str, &str) = ("core.projectvoltron.dev/released", "true");
const ENDED: [(&str, &str); 2] =
    [("workflows.argoproj.io/phase", "Failed"), ("workflows.argoproj.io/completed", "true")];

fn child<const N: usize>(version: &str, labels: [(&str, &str); N]) -> Entry {
    let mut object = json!({"metadata": {
        "name": "a", "namespace": "n", "uid": "c", "resourceVersion": version,
        "labels": {"core.projectvoltron.dev/execution-uid": "u", "core.projectvoltron.dev/runner": "argo-workflow"},
        "ownerReferences": [{"apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution", "name": "a", "uid": "u"}],
    }});
    for (label, value) in labels {
        object["metadata"]["labels"][label] = value.into();
    }
    Entry::read_whole(&object, &Registry::built_in(&Settings::default())).unwrap()
}

fn refusal() -> Refusal {
    Refusal { reason: Reason::InvalidArgs, message: String::new(), patience: Patience::None }
}
