//! Counts requests and events, and decides what befalls them. Pure: no I/O, no clock, no async.
//!
//! Inputs: the plan, and calls and events as they come. Outputs: their numbers, and their faults.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::HeaderMap;

use crate::call::{Call, Key};
use crate::plan::{Action, EventAction, Plan};
use crate::random::Random;
use crate::trace::{EventRecord, Fault};

/// How many older events of an object are kept.
const EVENTS: usize = 16;
/// How many older replies to a request are kept.
const REPLIES: usize = 8;

/// An answer to a get or list, kept for [`Action::Stale`].
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The state of a run.
#[derive(Default)]
pub(crate) struct Engine {
    plan: Plan,
    /// Per rule, how many requests fitted; the key is only given where a rule counts per object.
    hits: HashMap<(usize, Option<Key>), u32>,
    event_hits: HashMap<usize, u32>,
    seen: HashMap<Key, u32>,
    in_a_row: HashMap<Key, u32>,
    events_seen: HashMap<String, u32>,
    events: HashMap<String, VecDeque<Bytes>>,
    replies: HashMap<String, VecDeque<Reply>>,
}

impl Engine {
    /// Takes another plan, whose rules count from now on. Numbers of keys go on.
    pub(crate) fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
        self.hits.clear();
        self.event_hits.clear();
        self.in_a_row.clear();
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The number of a request among those of its key, and what befalls it.
    pub(crate) fn request(&mut self, call: &Call) -> (u32, Option<Fault<Action>>) {
        let nth = count(&mut self.seen, call.key.clone());
        if self.plan.ignore.iter().any(|ignored| ignored.fits(call)) {
            return (nth, None);
        }
        let mut fault = None;
        for (index, rule) in self.plan.requests.iter().enumerate() {
            if rule.matching.fits(call) {
                let object = rule.per_object.then(|| call.key.clone());
                let turn = rule.nth.is(count(&mut self.hits, (index, object)));
                if turn && fault.is_none() {
                    fault = Some(Fault { rule: Some(index), action: rule.action.clone() });
                }
            }
        }
        let fault = fault.or_else(|| self.random(call, nth));
        (nth, fault)
    }

    fn random(&mut self, call: &Call, nth: u32) -> Option<Fault<Action>> {
        let random = self.plan.random.as_ref().filter(|random| random.matching.fits(call))?;
        let in_a_row = self.in_a_row.entry(call.key.clone()).or_default();
        let drawn = random.draw(random.probability, &random.menu, &call.key.to_string(), nth);
        let drawn = drawn.filter(|_| *in_a_row < random.max_in_a_row);
        *in_a_row = if drawn.is_some() { *in_a_row + 1 } else { 0 };
        drawn.map(|action| Fault { rule: None, action })
    }

    /// Gives an event its number among its like and what befalls it, and keeps it for later replays.
    pub(crate) fn event(&mut self, watch: &Call, event: &mut EventRecord, line: &Bytes) {
        let object = format!("{} {}/{}", watch.key, event.namespace, event.name);
        let sort = format!("{} {object}", event.event);
        event.nth = count(&mut self.events_seen, sort.clone());
        event.fault = self.event_fault(watch, event, &sort);
        if !event.name.is_empty() {
            keep(self.events.entry(object_key(watch, event)).or_default(), line.clone(), EVENTS);
        }
    }

    fn event_fault(&mut self, watch: &Call, event: &EventRecord, sort: &str) -> Option<Fault<EventAction>> {
        if self.plan.ignore.iter().any(|ignored| ignored.fits(watch)) {
            return None;
        }
        let mut fault = None;
        for (index, rule) in self.plan.events.iter().enumerate() {
            if rule.matching.fits(watch, event) {
                let turn = rule.nth.is(count(&mut self.event_hits, index));
                if turn && fault.is_none() {
                    fault = Some(Fault { rule: Some(index), action: rule.action.clone() });
                }
            }
        }
        let random = |random: &Random| {
            let action = random.draw(random.event_probability, &random.event_menu, sort, event.nth)?;
            random.matching.fits(watch).then_some(Fault { rule: None, action })
        };
        fault.or_else(|| self.plan.random.as_ref().and_then(random))
    }

    /// An older event of the object of `event`, which is itself the newest one kept.
    pub(crate) fn older_event(&self, watch: &Call, event: &EventRecord, back: usize) -> Option<Bytes> {
        let kept = self.events.get(&object_key(watch, event))?;
        let newest = kept.len().checked_sub(1).filter(|newest| *newest > 0)?;
        kept.get(newest.saturating_sub(back)).cloned()
    }

    /// Whether replies to gets and lists have to be kept.
    pub(crate) fn wants_replies(&self) -> bool {
        self.plan.is_stale()
    }

    /// Keeps a reply; `request` is all that makes two requests the same.
    pub(crate) fn keep_reply(&mut self, request: String, reply: Reply) {
        keep(self.replies.entry(request).or_default(), reply, REPLIES);
    }

    /// What the same request was answered `back` answers ago.
    pub(crate) fn older_reply(&self, request: &str, back: usize) -> Option<Reply> {
        let kept = self.replies.get(request)?;
        kept.get(kept.len().saturating_sub(back.max(1))).cloned()
    }
}

/// Events of an object are the same by whichever watch of its resource they come, save for their shape: a
/// watch of metadata only is not told apart by its path, so the kind belongs to it.
fn object_key(watch: &Call, event: &EventRecord) -> String {
    let Key { group, resource, .. } = &watch.key;
    format!("{resource}.{group} {} {}/{}", event.kind, event.namespace, event.name)
}

fn count<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: K) -> u32 {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count
}

fn keep<T>(kept: &mut VecDeque<T>, newest: T, most: usize) {
    kept.push_back(newest);
    if kept.len() > most {
        kept.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Verb;
    use crate::plan::{EventRule, Nth, Rule};
    use crate::predicate::{EventPredicate, Predicate};

    fn call(verb: Verb, resource: &str, name: &str) -> Call {
        let (group, subresource) = Default::default();
        let (resource, namespace, name) = (resource.into(), "n".into(), name.into());
        let key = Key { verb, group, resource, subresource, namespace, name, dry_run: false };
        Call { key, user_agent: String::new(), impersonate: String::new() }
    }

    fn faults(engine: &mut Engine, calls: &[Call]) -> Vec<Option<usize>> {
        calls.iter().map(|call| engine.request(call).1.and_then(|fault| fault.rule)).collect()
    }

    #[test]
    fn the_first_rule_whose_turn_it_is_acts_and_all_count() {
        let second = Rule::nth(Predicate::mutating(), 2, Action::answer(500));
        let every = Rule::every(Predicate::verb(Verb::Patch), Action::answer(503));
        let third = Rule::nth(Predicate::any(), 4, Action::answer(504));
        let mut engine = Engine::default();
        engine.set_plan(Plan::none().with(second).with(every).with(third));
        let calls = [
            call(Verb::Create, "configmaps", "a"),
            call(Verb::Get, "configmaps", "a"),
            call(Verb::Create, "leases", "a"),
            call(Verb::Patch, "configmaps", "a"),
            call(Verb::Get, "configmaps", "b"),
            call(Verb::Patch, "configmaps", "b"),
        ];
        assert_eq!(faults(&mut engine, &calls), [None, None, None, Some(0), Some(2), Some(1)]);
    }

    #[test]
    fn rules_can_count_per_object() {
        let first = Rule { per_object: true, ..Rule::nth(Predicate::any(), 1, Action::answer(500)) };
        let mut engine = Engine::default();
        engine.set_plan(Plan::none().with(first));
        let [a, b] = ["a", "b"].map(|name| call(Verb::Patch, "configmaps", name));
        let calls = [a.clone(), b.clone(), a, b];
        assert_eq!(faults(&mut engine, &calls), [Some(0), Some(0), None, None]);
    }

    #[test]
    fn numbers_of_keys_do_not_depend_on_what_lies_between() {
        let [a, b] = ["a", "b"].map(|name| call(Verb::Patch, "configmaps", name));
        let mut engine = Engine::default();
        let numbers: Vec<u32> = [&a, &b, &a, &a, &b].map(|call| engine.request(call).0).into_iter().collect();
        assert_eq!(numbers, [1, 1, 2, 3, 2]);
    }

    #[test]
    fn random_faults_are_never_more_in_a_row_than_allowed() {
        let mut engine = Engine::default();
        engine.set_plan(Plan { random: Some(Random::new(1, 1.0, 3)), ..Plan::none() });
        let faulted: Vec<bool> =
            (0..8).map(|_| engine.request(&call(Verb::Get, "configmaps", "a")).1.is_some()).collect();
        assert_eq!(faulted, [true, true, true, false, true, true, true, false]);
    }

    #[test]
    fn older_events_of_the_same_object_are_found() {
        let watch = call(Verb::Watch, "configmaps", "");
        let mut engine = Engine::default();
        let drop = EventRule {
            nth: Nth::Range { from: 2, count: 1 },
            ..EventRule::every(EventPredicate::of("configmaps").name("a"), EventAction::Drop)
        };
        engine.set_plan(Plan::none().with_event(drop));
        let mut see = |name: &str, line: &'static str| {
            let mut event = EventRecord { name: name.into(), ..EventRecord::default() };
            engine.event(&watch, &mut event, &Bytes::from_static(line.as_bytes()));
            let older = [1, 2, 9].map(|back| engine.older_event(&watch, &event, back));
            (event.nth, event.fault.is_some(), older)
        };
        let found = |line: &'static str| Some(Bytes::from_static(line.as_bytes()));
        assert_eq!(see("a", "a1"), (1, false, [None, None, None]));
        assert_eq!(see("b", "b1"), (1, false, [None, None, None]));
        assert_eq!(see("a", "a2"), (2, true, [found("a1"), found("a1"), found("a1")]));
        assert_eq!(see("a", "a3"), (3, false, [found("a2"), found("a1"), found("a1")]));
    }

    #[test]
    fn a_plan_survives_json() {
        let text = r#"{
            "requests": [
                {"match": {"verbs": ["patch"], "resource": "configmaps", "name": "a-*"}, "nth": 2,
                 "action": {"kill": {"signal": "SIGKILL", "point": "after_apply"}}},
                {"nth": {"from": 3, "count": 2}, "action": {"answer": {"code": 429, "retry_after": "1"}}},
                {"action": {"close": {"applied": true}}}
            ],
            "events": [
                {"match": {"types": ["MODIFIED"], "watch": {"resource": "configmaps"}},
                 "action": {"hold": {"until": {"gate": "a"}}}},
                {"action": "drop"}
            ],
            "random": {"seed": 1, "probability": 0.25, "max_in_a_row": 3}
        }"#;
        let plan: Plan = serde_json::from_str(text).unwrap();
        assert_eq!(plan.requests[2], Rule::every(Predicate::any(), Action::drop_reply()));
        assert_eq!(plan.ignore, Plan::none().ignore);
        let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(plan, again);
    }
}
