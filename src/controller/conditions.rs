//! What is kept of an execution's conditions: what they are and since when, but not their words. Four of five repeat
//! those of the status beside them, and together they were a quarter of what a running execution took. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{crd::conditions, reason::Reason};

const TYPES: [&str; 5] = [
    conditions::ACCEPTED,
    conditions::SUCCEEDED,
    conditions::FINISHED,
    conditions::RECONCILING,
    conditions::STALLED,
];

const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// The conditions of one status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    kept: Box<[Kept]>,
    /// Of all of them, words and foreign ones included.
    fingerprint: u64,
}

/// One condition of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "Numbers")]
pub struct Kept {
    type_: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Its reason, if it is one of ours.
    pub reason: Option<Reason>,
    /// When its status last changed.
    pub since: Timestamp,
}

/// A condition as it is packed: the places of its words in their lists, and whole seconds, as all times in a status have.
type Numbers = (usize, usize, Option<usize>, i64);

impl From<Kept> for Numbers {
    fn from(kept: Kept) -> Self {
        let place = |list: &[&str], word| list.iter().position(|it| *it == word).unwrap_or_default();
        let reason = kept.reason.and_then(|reason| Reason::ALL.iter().position(|it| *it == reason));
        (place(&TYPES, kept.type_), place(&STATUSES, kept.status), reason, kept.since.as_second())
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (type_, status, reason, since) = Numbers::deserialize(deserializer)?;
        Ok(Self {
            type_: TYPES.get(type_).ok_or_else(|| D::Error::custom("no type of a condition"))?,
            status: STATUSES.get(status).ok_or_else(|| D::Error::custom("no status of a condition"))?,
            reason: reason.and_then(|place| Reason::ALL.get(place).copied()),
            since: Timestamp::from_second(since).map_err(D::Error::custom)?,
        })
    }
}

impl Conditions {
    /// What is kept of these.
    pub fn of(conditions: &[Condition]) -> Self {
        let kept = conditions.iter().filter_map(|condition| {
            Some(Kept {
                type_: TYPES.into_iter().find(|known| *known == condition.type_)?,
                status: STATUSES.into_iter().find(|known| *known == condition.status).unwrap_or("Unknown"),
                reason: Reason::ALL.iter().copied().find(|known| known.as_str() == condition.reason),
                since: condition.last_transition_time.0,
            })
        });
        Self { kept: kept.collect(), fingerprint: fingerprint(conditions) }
    }

    /// The condition of that type.
    pub fn get(&self, type_: &str) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.type_ == type_)
    }

    /// Whether there is a condition of that type and it is `True`.
    pub fn is_true(&self, type_: &str) -> bool {
        self.get(type_).is_some_and(|kept| kept.status == "True")
    }

    /// Whether it is these of which this was kept.
    pub fn are(&self, conditions: &[Condition]) -> bool {
        self.fingerprint == fingerprint(conditions)
    }
}

fn fingerprint(conditions: &[Condition]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Condition { type_, status, reason, message, observed_generation, last_transition_time } in conditions
    {
        (type_, status, reason, message, observed_generation, last_transition_time.0).hash(&mut hasher);
    }
    hasher.finish()
}
