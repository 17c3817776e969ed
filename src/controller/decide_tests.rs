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
        stopped: None,
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

#[test]
fn the_clean_up_of_a_cancelled_run_ends_with_its_deadline() {
    let followed = |stopped| {
        let Seen::Child(child) = child(true) else { unreachable!() };
        Seen::Child(Child { released: true, stopped, ..child })
    };
    let started = Stage::Started { child: "c".into(), deadline: Some(at(10)), halt: Some(Halt::Cancelled) };
    let state = State { stage: started, cancel: true, ..new() };
    let cancelled = Some(Stop::Cancel);
    assert_eq!(decide(&state, &followed(None), at(1)), Step::Stop("c".into(), Stop::Cancel));
    assert_eq!(decide(&state, &followed(cancelled), at(1)), Step::Wait(Some(at(10))));
    assert_eq!(decide(&state, &followed(cancelled), at(10)), Step::Stop("c".into(), Stop::Terminate));
    assert_eq!(decide(&state, &followed(Some(Stop::Terminate)), at(10)), Step::Wait(None));
}
