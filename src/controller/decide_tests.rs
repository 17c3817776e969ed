//! Decisions that the model does not walk, since nobody edits a spec there.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn new() -> State {
    State {
        stage: Stage::New,
        suspend: false,
        cancel: false,
        deleting: false,
        dry_run: false,
        owner_missing: false,
        refusal: None,
    }
}

fn child(current: bool) -> Seen {
    Seen::Child(Child {
        uid: "c".into(),
        current,
        released: false,
        unheard: false,
        stopped: false,
        held_back: false,
        glance: Glance::Underway,
        observation: None,
        look_due: false,
        grace_ends: None,
    })
}

#[test]
fn a_child_that_was_made_from_an_older_spec_never_runs() {
    assert_eq!(decide(&new(), &child(true), at(0)), Step::Record("c".into()));
    assert_eq!(decide(&new(), &child(false), at(0)), Step::Discard("c".into()));
}
