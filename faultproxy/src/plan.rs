//! What goes wrong, and when. Plain data: it can be printed, stored, and replayed. No I/O.

use serde::{Deserialize, Serialize};

use crate::predicate::{EventPredicate, Predicate};
use crate::random::Random;

/// What goes wrong in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Requests that no rule sees, and random mode neither. Events and leases, unless given.
    pub ignore: Vec<Predicate>,
    /// Every rule counts the requests that fit it; the first one whose turn it is acts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Rule>,
    /// The same for the events of watches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventRule>,
    /// Faults at random, where no rule acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<Random>,
}

impl Default for Plan {
    fn default() -> Self {
        let ignore = ["events", "leases"].map(|plural| Predicate::any().resource(plural)).to_vec();
        Self { ignore, requests: Vec::new(), events: Vec::new(), random: None }
    }
}

impl Plan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a rule for requests.
    #[must_use]
    pub fn with(mut self, rule: Rule) -> Self {
        self.requests.push(rule);
        self
    }

    /// Adds a rule for watch events.
    #[must_use]
    pub fn with_event(mut self, rule: EventRule) -> Self {
        self.events.push(rule);
        self
    }

    /// Whether older replies have to be kept.
    pub(crate) fn is_stale(&self) -> bool {
        let stale = |action: &Action| matches!(action, Action::Stale { .. });
        let random = self.random.iter().flat_map(|random| &random.menu).map(|choice| &choice.action);
        self.requests.iter().map(|rule| &rule.action).chain(random).any(stale)
    }
}

/// `match(predicate, nth) -> action`, for requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests it counts.
    #[serde(default, rename = "match")]
    pub matching: Predicate,
    /// Which of them it acts on.
    #[serde(default)]
    pub nth: Nth,
    /// Whether it counts for each [`Key`](crate::Key) by itself, e.g. "the first patch of each object".
    #[serde(default)]
    pub per_object: bool,
    /// What it does.
    pub action: Action,
}

impl Rule {
    /// Acts on every request that fits.
    pub fn every(matching: Predicate, action: Action) -> Self {
        Self { matching, nth: Nth::Every, per_object: false, action }
    }

    /// Acts on the n-th request that fits, counted from 1.
    pub fn nth(matching: Predicate, nth: u32, action: Action) -> Self {
        Self { matching, nth: Nth::At(nth), per_object: false, action }
    }
}

/// The same for watch events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// Which events it counts.
    #[serde(default, rename = "match")]
    pub matching: EventPredicate,
    /// Which of them it acts on.
    #[serde(default)]
    pub nth: Nth,
    /// What it does.
    pub action: EventAction,
}

impl EventRule {
    /// Acts on every event that fits.
    pub fn every(matching: EventPredicate, action: EventAction) -> Self {
        Self { matching, nth: Nth::Every, action }
    }

    /// Acts on the n-th event that fits, counted from 1.
    pub fn nth(matching: EventPredicate, nth: u32, action: EventAction) -> Self {
        Self { matching, nth: Nth::At(nth), action }
    }
}

/// Which of the things counted, from 1. In JSON: nothing, a number, or `{"from": 2, "count": 3}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Nth {
    /// This one.
    At(u32),
    /// So many, from this one on.
    Range {
        /// The first.
        from: u32,
        /// How many.
        count: u32,
    },
    /// All.
    #[default]
    Every,
}

impl Nth {
    /// Whether it is this one's turn.
    pub fn is(self, number: u32) -> bool {
        match self {
            Self::Every => true,
            Self::At(nth) => nth == number,
            Self::Range { from, count } => number >= from && number - from < count,
        }
    }
}

/// Where in the life of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Before the API server gets it.
    BeforeApply,
    /// After the API server has answered in full, before the client hears of it.
    AfterApply,
    /// After the reply was handed to the client's kernel. For a watch: after its stream ended.
    AfterReply,
}

/// How the controller is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// At once. What it still sends by the connections it has is not forwarded.
    #[serde(rename = "SIGKILL")]
    Kill,
    /// Asked to stop; this request then goes on as usual.
    #[serde(rename = "SIGTERM")]
    Term,
}

/// How long something is kept back. In JSON: `{"ms": 500}` or `{"gate": "name"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// So many milliseconds.
    Ms(u64),
    /// Until [`FaultProxy::open`](crate::FaultProxy::open) is called with this name.
    Gate(String),
}

/// What befalls a request. Where `applied` is false the API server never sees it; where it is true, or not
/// mentioned, the API server has answered it before the client notices anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The hook is called to kill the controller. With SIGKILL no reply is sent, save at `after_reply`.
    Kill {
        /// How.
        signal: Signal,
        /// When.
        point: Point,
    },
    /// The connection is closed instead of a reply.
    Close {
        /// Whether the request is forwarded first: then it is a lost reply.
        applied: bool,
        /// By RST rather than FIN.
        #[serde(default)]
        reset: bool,
    },
    /// The request (`before_apply`) or the reply (`after_apply`, `after_reply`) is kept back. It is forwarded
    /// even if the client has given up by then.
    Delay {
        /// For how long.
        until: Until,
        /// What.
        point: Point,
    },
    /// The client is told something else.
    Answer(Answer),
    /// No reply, and the connection stays open until the client closes it.
    Hang {
        /// Whether the request is forwarded first.
        applied: bool,
    },
    /// The reply's body ends early.
    Truncate {
        /// After so many bytes.
        bytes: usize,
        /// Whether HTTP hides it (a complete reply of half a document), rather than the connection closing.
        #[serde(default)]
        clean: bool,
    },
    /// The reply's body trickles.
    Slow {
        /// So many bytes at once.
        bytes: usize,
        /// Milliseconds between them.
        every_ms: u64,
    },
    /// The connection is closed at once; the request is forwarded later. [`FaultProxy::reset`] forgets it.
    ///
    /// [`FaultProxy::reset`]: crate::FaultProxy::reset
    Zombie {
        /// When.
        until: Until,
    },
    /// A get or list is answered with what the same request was answered before; passed on if there is nothing.
    Stale {
        /// How many answers ago; the oldest of the last 8 if there are not that many.
        back: usize,
    },
    /// A watch is begun and ends after a time.
    CutStream {
        /// Milliseconds after its start.
        after_ms: u64,
        /// Whether it ends as the API server ends one, rather than by the connection closing.
        clean: bool,
    },
    /// A watch is answered with 200, one ERROR event, and its end; not forwarded.
    StreamError {
        /// E.g. 410.
        code: u16,
    },
}

impl Action {
    /// SIGKILL at a point.
    pub fn kill(point: Point) -> Self {
        Self::Kill { signal: Signal::Kill, point }
    }

    /// Applied, and the connection closed without a reply.
    pub fn drop_reply() -> Self {
        Self::Close { applied: true, reset: false }
    }

    /// An error from the API server, the request not forwarded.
    pub fn answer(code: u16) -> Self {
        Self::Answer(Answer { code, ..Answer::default() })
    }

    /// An error from the API server, although it applied the request.
    pub fn answer_applied(code: u16) -> Self {
        Self::Answer(Answer { code, applied: true, ..Answer::default() })
    }
}

/// A reply that is not the API server's. Only `code` must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// `Retry-After`, also a senseless one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Whether the request is forwarded first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub applied: bool,
    /// The reason in the Status; that which Kubernetes uses with the code unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The body; a Status unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `Content-Type`; `application/json` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// What befalls a watch event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventAction {
    /// The client never sees it.
    Drop,
    /// It and all later ones of its watch are kept back, in their order.
    Hold {
        /// For how long.
        until: Until,
    },
    /// It comes several times.
    Duplicate {
        /// So many times more.
        times: u32,
    },
    /// An older event of the same object comes after it; nothing if there was none.
    Replay {
        /// How many events of the object ago, among all watches of the proxy; the oldest of the last 16 if
        /// there are not that many.
        back: usize,
        /// Whether it comes in its place.
        #[serde(default)]
        instead: bool,
    },
    /// In its place an ERROR event comes, and the watch ends.
    Error {
        /// E.g. 410.
        code: u16,
    },
    /// In its place the watch ends.
    Cut {
        /// Whether as the API server ends one, rather than by the connection closing.
        clean: bool,
    },
    /// The hook is called to kill the controller.
    Kill {
        /// How.
        signal: Signal,
        /// Whether the event is handed to the client's connection first.
        delivered: bool,
    },
}
