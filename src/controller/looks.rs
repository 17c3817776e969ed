//! When a child that has not ended is looked at in full. Pure.
//!
//! The watch of a child shows its metadata only; what it waits for and how far it is takes a read of the child, and of
//! its pods and events. The longer nothing comes of it, the rarer these are, and together they never are more than
//! [`PER_SECOND`], nor more than [`AT_ONCE`] under way: thousands of Jobs that wait for their pods would otherwise keep
//! the API server from getting them any, and the more the slower it is.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::memory::later;
use crate::runners::Glance;

/// Of all executions together; each look is up to three requests.
const PER_SECOND: u32 = 20;
/// So many looks are under way at most.
const AT_ONCE: usize = 4;
/// When there is no room for a look.
const NO_ROOM: Duration = Duration::from_secs(5);
/// The first look at a child that stands still.
const FIRST_IN_DOUBT: Duration = Duration::from_secs(2);
const LAST_IN_DOUBT: Duration = Duration::from_mins(1);
/// While it waits for something of the cluster's.
const FIRST_WHILE_WAITING: Duration = Duration::from_secs(5);
/// The first look at a child that goes on, for its progress; each further one after twice the time.
const FIRST: Duration = Duration::from_secs(30);
const LAST: Duration = Duration::from_hours(1);

/// Whose turn it is, among all executions.
#[derive(Debug)]
pub struct Turns {
    free: Mutex<Timestamp>,
    room: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { free: Mutex::default(), room: Semaphore::new(AT_ONCE) }
    }
}

impl Turns {
    /// The next free turn, which is taken by that.
    fn take(&self, now: Timestamp) -> Timestamp {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = now.max(*free);
        *free = later(turn, Duration::from_secs(1) / PER_SECOND);
        turn
    }

    /// Room for one look, while it is held.
    pub fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.try_acquire().ok()
    }
}

/// The looks at the child of one execution.
#[derive(Debug)]
pub struct Looks {
    taken: u32,
    /// The end of time while none is planned.
    next: Timestamp,
    /// The next one is a turn.
    has_turn: bool,
}

impl Default for Looks {
    fn default() -> Self {
        Self { taken: 0, next: Timestamp::MAX, has_turn: false }
    }
}

/// What a child waits for: since when, and until when that is put up with.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub ends: Timestamp,
}

impl Looks {
    /// Whether it is time for a look.
    pub fn is_due(&mut self, glance: Glance, turns: &Turns, now: Timestamp) -> bool {
        if !self.has_turn {
            let planned = self.planned(glance, now);
            self.has_turn = planned <= now;
            self.next = if self.has_turn { turns.take(now) } else { planned };
        }
        self.next <= now
    }

    fn planned(&self, glance: Glance, now: Timestamp) -> Timestamp {
        // A child that begins to stand still is looked at soon, however far off the next look was planned.
        let within = match (glance, self.taken) {
            (Glance::Doubtful, 0) => FIRST_IN_DOUBT,
            (Glance::Doubtful, _) => LAST_IN_DOUBT,
            (Glance::Underway | Glance::Ended { .. }, 0) => FIRST,
            (Glance::Underway | Glance::Ended { .. }, _) => LAST,
        };
        self.next.min(later(now, within))
    }

    /// There was no room for the look that was due.
    pub fn put_off(&mut self, now: Timestamp) {
        self.has_turn = false;
        self.next = later(now, NO_ROOM);
    }

    /// A look was taken; plans the next.
    pub fn taken(&mut self, glance: Glance, waits: Option<Waiting>, now: Timestamp) {
        self.has_turn = false;
        self.next = if let Some(Waiting { since, ends }) = waits {
            let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let next = later(now, waited.clamp(FIRST_WHILE_WAITING, LAST_IN_DOUBT));
            if ends > now { next.min(ends) } else { next }
        } else {
            let (first, last) = match glance {
                Glance::Doubtful => (FIRST_WHILE_WAITING, LAST_IN_DOUBT),
                Glance::Underway | Glance::Ended { .. } => (FIRST.saturating_mul(2), LAST),
            };
            later(now, first.saturating_mul(1 << self.taken.min(10)).min(last))
        };
        self.taken = self.taken.saturating_add(1);
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        (self.next < Timestamp::MAX).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::{AT_ONCE, Looks, NO_ROOM, PER_SECOND, Turns, Waiting};
    use crate::runners::Glance;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The seconds at which it is looked at.
    fn looks(seconds: i64, glance: Glance, waits: Option<Waiting>) -> Vec<i64> {
        let (mut looks, turns) = (Looks::default(), Turns::default());
        (0..seconds)
            .filter(|second| {
                let is_due = looks.is_due(glance, &turns, at(*second));
                if is_due {
                    looks.taken(glance, waits, at(*second));
                }
                is_due
            })
            .collect()
    }

    #[test]
    fn a_look_without_room_is_put_off_and_takes_another_turn() {
        let (mut looks, turns) = (Looks::default(), Turns::default());
        let held: Vec<_> = (0..AT_ONCE).map(|_| turns.room().unwrap()).collect();
        assert!(turns.room().is_none());
        let due = |looks: &mut Looks, second| looks.is_due(Glance::Doubtful, &turns, at(second));
        assert!(!due(&mut looks, 0) && due(&mut looks, 2));
        looks.put_off(at(2));
        let again = 2 + NO_ROOM.as_secs().cast_signed();
        assert!(!due(&mut looks, again - 1) && due(&mut looks, again));
        drop(held);
        assert!(turns.room().is_some());
    }

    #[test]
    fn a_child_that_goes_on_is_looked_at_ever_more_rarely() {
        assert_eq!(looks(1000, Glance::Underway, None), [30, 90, 210, 450, 930]);
    }

    #[test]
    fn a_child_that_waits_is_looked_at_ever_more_rarely_but_when_its_grace_ends() {
        let waits = Waiting { since: at(0), ends: at(120) };
        assert_eq!(looks(200, Glance::Doubtful, Some(waits)), [2, 7, 14, 28, 56, 112, 120, 180]);
    }

    #[test]
    fn a_child_that_begins_to_stand_still_is_looked_at_soon() {
        let (mut looks, turns) = (Looks::default(), Turns::default());
        for _ in 0..6 {
            looks.taken(Glance::Underway, None, at(0));
        }
        let first = (1..10_000).find(|second| looks.is_due(Glance::Doubtful, &turns, at(*second)));
        assert!(first.is_some_and(|second| second <= 61), "{first:?}");
    }

    #[test]
    fn many_children_that_stand_still_are_looked_at_in_turn_and_none_is_forgotten() {
        let turns = Turns::default();
        let mut children: Vec<Looks> = (0..1000).map(|_| Looks::default()).collect();
        let mut per_second = Vec::new();
        for second in 0..60 {
            let due = |child: &mut Looks| {
                let is_due = child.taken == 0 && child.is_due(Glance::Doubtful, &turns, at(second));
                if is_due {
                    child.taken(Glance::Underway, None, at(second));
                }
                is_due
            };
            per_second.push(children.iter_mut().map(due).filter(|due| *due).count());
        }
        assert!(per_second.iter().all(|looks| *looks <= PER_SECOND as usize), "{per_second:?}");
        assert!(children.iter().all(|child| child.taken == 1));
    }
}
