//! What happened in a run: every request and every watch event, in order. Plain data; no bodies, only hashes.
//!
//! A trace of a run without faults (the learning run) tells where faults can be put: see
//! [`RequestRecord::rule`] and [`EventRecord::rule`].

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::plan::{Action, EventAction, EventRule, Nth, Rule};
use crate::predicate::{EventPredicate, Predicate};

/// What happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// By `seq`; those still under way as well.
    pub requests: Vec<RequestRecord>,
    /// In the order in which the API server's events came to the proxy.
    pub events: Vec<EventRecord>,
    /// How many of the oldest records were forgotten, since there were too many.
    pub forgotten: u64,
}

impl Trace {
    /// The requests that fit.
    pub fn matching<'a>(&'a self, predicate: &'a Predicate) -> impl Iterator<Item = &'a RequestRecord> {
        self.requests.iter().filter(|record| predicate.fits(&record.call))
    }

    /// How many faults were put in, among requests and events.
    pub fn faults(&self) -> usize {
        self.requests.iter().filter(|record| record.fault.is_some()).count()
            + self.events.iter().filter(|record| record.fault.is_some()).count()
    }
}

/// What was done to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault<A> {
    /// The number of the rule in the plan, from 0; none: at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// What.
    pub action: A,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Its number among all of the run, from 1.
    pub seq: u64,
    /// Its number among those of its key, from 1.
    pub nth: u32,
    /// When it came, in microseconds of the run.
    pub at_us: u64,
    /// What it asks.
    #[serde(flatten)]
    pub call: Call,
    /// The first 16 hex digits of the SHA-256 of its body; none for an empty one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Whether it was sent to the API server.
    pub forwarded: bool,
    /// What the API server answered; none if it was not asked, or has not answered.
    pub upstream: Option<u16>,
    /// What the client was told; none if nothing.
    pub code: Option<u16>,
    /// Why the API server did not answer, if it was asked in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault<Action>>,
    /// How long it took until the reply began or it was clear that there is none, in microseconds; none while
    /// it is under way.
    pub took_us: Option<u64>,
}

impl RequestRecord {
    /// A rule that acts on this very request, in any run of the same controller on the same objects.
    pub fn rule(&self, action: Action) -> Rule {
        let key = self.call.key.clone();
        let matching = Predicate {
            verbs: vec![key.verb],
            group: Some(key.group),
            resource: Some(key.resource),
            subresource: Some(key.subresource),
            namespace: Some(key.namespace),
            name: Some(key.name),
            dry_run: Some(key.dry_run),
            ..Predicate::default()
        };
        Rule { matching, nth: Nth::At(self.nth), per_object: false, action }
    }
}

/// A watch event, as the API server sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The `seq` of its watch.
    pub watch: u64,
    /// Its number among those of its watch, from 1.
    pub n: u32,
    /// Its number among those of the same watch key, type and object, from 1, over all such watches.
    pub nth: u32,
    /// When it came, in microseconds of the run.
    pub at_us: u64,
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`, `ERROR`; empty if it could not be read.
    #[serde(rename = "type")]
    pub event: String,
    /// The object's kind.
    pub kind: String,
    /// The object's namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The object's resourceVersion.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// What was done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault<EventAction>>,
}

impl EventRecord {
    /// A rule that acts on this very event; `watch` is the call of its watch.
    pub fn rule(&self, watch: &Call, action: EventAction) -> EventRule {
        let key = watch.key.clone();
        let watch = Predicate {
            group: Some(key.group),
            resource: Some(key.resource),
            namespace: Some(key.namespace),
            name: Some(key.name),
            ..Predicate::default()
        };
        let matching = EventPredicate {
            types: vec![self.event.clone()],
            kind: Some(self.kind.clone()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            watch,
        };
        EventRule { matching, nth: Nth::At(self.nth), action }
    }
}

/// A line of a trace file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A request that is done.
    Request(Box<RequestRecord>),
    /// A watch event.
    Event(EventRecord),
}
