//! A fault-injecting proxy between a Kubernetes controller and a real API server, for tests of any controller.
//!
//! ```text
//!  controller ──http, loopback──▶ server ─▶ exchange ──TLS──▶ API server
//!                                   │          │ ▲
//!                          call ◀───┘          │ └─ kill (hook, or a pid)
//!                           │                  ▼
//!                           └▶ run: engine(plan, numbers) + trace     stream: watch events, line by line
//! ```
//!
//! Every request gets a number, and a number among those of its [`Key`] (verb, resource, object): the n-th patch
//! of one object is the same step in every run of a controller. A run without faults gives a [`Trace`]; each of
//! its records gives a [`Rule`] that acts on that very step; a [`Plan`] is a list of rules, as data.
//!
//! ```no_run
//! # async fn demo(kubeconfig: &std::path::Path) -> Result<(), faultproxy::Error> {
//! use faultproxy::{Action, FaultProxy, Plan, Point, Predicate, Rule};
//!
//! let proxy = FaultProxy::start_for(kubeconfig).await?;
//! proxy.write_kubeconfig("through-the-proxy".as_ref())?; // for the controller
//! proxy.kill_pid(4711);
//! let second = Predicate::mutating().resource("configmaps").name("a");
//! proxy.set_plan(Plan::none().with(Rule::nth(second, 2, Action::kill(Point::AfterApply))));
//! # Ok(()) }
//! ```
//!
//! The modules: [`call`](Call) what a request asks; [`predicate`](Predicate) which ones; [`plan`](Plan) and
//! [`random`](Random) what goes wrong, as data; `engine` when, purely; `run` the state of a run; `exchange` one
//! request; `stream` one watch; `reply` bodies; `upstream` and `server` the two sides; [`kill`](KillOrder);
//! [`proxy`](FaultProxy) the whole.

mod call;
mod engine;
mod exchange;
mod kill;
mod plan;
mod predicate;
mod proxy;
mod random;
mod reply;
mod run;
mod server;
mod stream;
mod trace;
mod upstream;

pub use call::{Call, Key, Verb};
pub use kill::KillOrder;
pub use plan::{Action, Answer, EventAction, EventRule, Nth, Plan, Point, Rule, Signal, Until};
pub use predicate::{EventPredicate, Predicate};
pub use proxy::{Error, FaultProxy, config};
pub use random::{Choice, Random};
pub use trace::{EventRecord, Fault, Line, RequestRecord, Trace};
