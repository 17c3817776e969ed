//! What the queue promises to whoever adds to it, however the passes interleave.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
};

use proptest::prelude::*;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::{BEGUN_IN_A_ROW, Key, Queue, Row};

fn key(number: u8) -> Key {
    Key::of(&number.to_string())
}

/// What happens while passes are made.
#[derive(Clone, Copy, Debug)]
enum Move {
    Add(u8, Row),
    LetThemWork,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let row = prop_oneof![Just(Row::Begun), Just(Row::New)];
    let add = (0..4_u8, row).prop_map(|(number, row)| Move::Add(number, row));
    prop::collection::vec(prop_oneof![add, Just(Move::LetThemWork)], 0..60)
}

/// What was seen of the passes.
#[derive(Default)]
struct Watch {
    at_work: RefCell<HashSet<Key>>,
    begun: RefCell<HashMap<Key, usize>>,
    most: Cell<usize>,
    clock: Cell<usize>,
}

impl Watch {
    fn tick(&self) -> usize {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    async fn pass(&self, key: Key, turns: usize) {
        assert!(self.at_work.borrow_mut().insert(key), "an execution is in two passes");
        self.most.set(self.most.get().max(self.at_work.borrow().len()));
        self.begun.borrow_mut().insert(key, self.tick());
        for _ in 0..turns {
            yield_now().await;
        }
        self.at_work.borrow_mut().remove(&key);
    }
}

proptest! {
    #[test]
    fn whatever_is_added_gets_a_pass_that_begins_later_and_none_gets_two_at_once(moves in moves(), turns in 0..5_usize) {
        const AT_ONCE: usize = 2;
        let (queue, stop, watch) = (Queue::default(), CancellationToken::new(), Watch::default());
        let mut added = HashMap::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let acts = async {
                for it in moves {
                    match it {
                        Move::Add(number, row) => {
                            added.insert(key(number), watch.tick());
                            queue.add(key(number), row);
                        }
                        Move::LetThemWork => yield_now().await,
                    }
                }
                while !queue.inner().standing.is_empty() {
                    yield_now().await;
                }
                stop.cancel();
            };
            tokio::join!(queue.work(AT_ONCE, &stop, |key| watch.pass(key, turns)), acts);
        });
        let begun = watch.begun.borrow();
        prop_assert!(added.iter().all(|(key, when)| begun.get(key) > Some(when)), "{:?} {:?}", added, begun);
        prop_assert!(watch.most.get() <= AT_ONCE);
    }
}

#[tokio::test]
async fn once_stopped_the_passes_under_way_are_finished_and_none_is_begun() {
    let (queue, stop, watch) = (Queue::default(), CancellationToken::new(), Watch::default());
    (0..3).for_each(|number| queue.add(key(number), Row::New));
    let acts = async {
        while watch.at_work.borrow().len() < 2 {
            yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(queue.work(2, &stop, |key| watch.pass(key, 5)), acts);
    assert!(watch.at_work.borrow().is_empty());
    assert_eq!(watch.begun.borrow().len(), 2);
}

/// The order in which they get their passes.
async fn order(queue: &Queue, added: &[(u8, Row)]) -> Vec<u8> {
    let (stop, watch) = (CancellationToken::new(), Watch::default());
    for (number, row) in added {
        queue.add(key(*number), *row);
    }
    let acts = async {
        while !queue.inner().standing.is_empty() {
            yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(queue.work(1, &stop, |key| watch.pass(key, 0)), acts);
    let begun = watch.begun.borrow();
    assert_eq!(watch.clock.get(), begun.len(), "each gets one pass");
    let mut order: Vec<u8> = (0..=u8::MAX).filter(|number| begun.contains_key(&key(*number))).collect();
    order.sort_by_key(|number| begun[&key(*number)]);
    order
}

#[tokio::test]
async fn what_is_new_gets_its_turns_in_the_order_in_which_it_came() {
    let twice: Vec<_> = (0..20).chain(0..20).map(|number| (number, Row::New)).collect();
    assert_eq!(order(&Queue::default(), &twice).await, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_has_begun_goes_first_but_not_for_ever() {
    let all: Vec<_> = (0..5).map(|it| (it, Row::New)).chain((10..20).map(|it| (it, Row::Begun))).collect();
    let order = order(&Queue::default(), &all).await;
    let new: Vec<usize> = (0..5).map(|it| order.iter().position(|at| *at == it).unwrap()).collect();
    let every = BEGUN_IN_A_ROW as usize + 1;
    assert_eq!(new, [every - 1, 2 * every - 1, 3 * every - 1, 13, 14], "{order:?}");
}

#[tokio::test]
async fn what_begins_while_it_waits_as_new_is_moved() {
    let all = [(0, Row::New), (1, Row::New), (1, Row::Begun), (1, Row::New), (0, Row::New)];
    assert_eq!(order(&Queue::default(), &all).await, [1, 0]);
}
