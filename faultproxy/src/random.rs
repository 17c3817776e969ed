//! Faults at random, for soaks. Pure: the same seed and the same steps of a controller give the same faults,
//! whatever the order in which requests about different objects come.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::plan::{Action, Answer, EventAction, Point, Until};
use crate::predicate::Predicate;

/// Faults at random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// Which faults; another seed, others.
    pub seed: u64,
    /// How likely a request has one, from 0 to 1.
    pub probability: f64,
    /// After so many for one key in a row, the next request of that key has none.
    pub max_in_a_row: u32,
    /// Which requests may have one.
    #[serde(default, rename = "match")]
    pub matching: Predicate,
    /// Which faults.
    #[serde(default = "menu")]
    pub menu: Vec<Choice<Action>>,
    /// How likely a watch event has one, from 0 to 1.
    #[serde(default)]
    pub event_probability: f64,
    /// Which ones.
    #[serde(default)]
    pub event_menu: Vec<Choice<EventAction>>,
}

impl Random {
    /// The usual faults of a network and of an API server, at requests only.
    pub fn new(seed: u64, probability: f64, max_in_a_row: u32) -> Self {
        let matching = Predicate::any();
        Self {
            seed,
            probability,
            max_in_a_row,
            matching,
            menu: menu(),
            event_probability: 0.0,
            event_menu: Vec::new(),
        }
    }

    /// The fault of the n-th thing of a name, if it has one.
    pub(crate) fn draw<A: Clone>(
        &self,
        probability: f64,
        menu: &[Choice<A>],
        name: &str,
        nth: u32,
    ) -> Option<A> {
        let [chance, choice] = numbers(&format!("{} {nth} {name}", self.seed));
        (fraction(chance) < probability).then(|| pick(menu, choice)).flatten()
    }
}

/// One of the things that may go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice<A> {
    /// How often, beside the others.
    #[serde(default = "one")]
    pub weight: u32,
    /// What.
    pub action: A,
}

fn one() -> u32 {
    1
}

fn pick<A: Clone>(menu: &[Choice<A>], number: u64) -> Option<A> {
    let total: u64 = menu.iter().map(|choice| u64::from(choice.weight)).sum();
    let mut left = number.checked_rem(total)?;
    for choice in menu {
        match left.checked_sub(u64::from(choice.weight)) {
            Some(rest) => left = rest,
            None => return Some(choice.action.clone()),
        }
    }
    None
}

/// Two numbers that look random, from a text.
fn numbers(text: &str) -> [u64; 2] {
    let hash = digest(&SHA256, text.as_bytes());
    let (first, rest) = hash.as_ref().split_at(8);
    let number = |bytes: &[u8]| bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    [number(first), number(rest)]
}

/// From 0 to 1, less than 1.
fn fraction(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

// No 409: it is not a fault that passes, but a statement about an object, and would be a lie.
fn menu() -> Vec<Choice<Action>> {
    let errors = [500, 503, 504].map(Action::answer);
    let errors_applied = [500, 504].map(Action::answer_applied);
    let too_many = Answer { code: 429, retry_after: Some("1".into()), ..Answer::default() };
    let others = [
        Action::drop_reply(),
        Action::Close { applied: true, reset: true },
        Action::Close { applied: false, reset: true },
        Action::Answer(too_many),
        Action::Truncate { bytes: 20, clean: false },
        Action::Delay { until: Until::Ms(50), point: Point::BeforeApply },
        Action::Delay { until: Until::Ms(50), point: Point::AfterApply },
    ];
    let all = errors.into_iter().chain(errors_applied).chain(others);
    all.map(|action| Choice { weight: 1, action }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_as_often_as_asked_and_are_the_same_again() {
        let random = Random::new(7, 0.25, 3);
        let draw = |nth| random.draw(random.probability, &random.menu, "patch configmaps n/a", nth);
        let drawn: Vec<_> = (1..=10_000).map(draw).collect();
        let hits = drawn.iter().flatten().count();
        assert!((2300..2700).contains(&hits), "{hits}");
        for choice in &random.menu {
            let count = drawn.iter().flatten().filter(|action| **action == choice.action).count();
            assert!((120..270).contains(&count), "{choice:?} {count}");
        }
        assert_eq!(drawn, (1..=10_000).map(draw).collect::<Vec<_>>());
        let other = Random { seed: 8, ..random.clone() };
        assert_ne!(
            drawn,
            (1..=10_000).map(|nth| other.draw(0.25, &other.menu, "x", nth)).collect::<Vec<_>>()
        );
    }
}
