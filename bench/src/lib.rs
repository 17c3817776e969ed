//! Measures the controller against its peers, on a real control plane, in one run.
//!
//! ```text
//!  generator ──creates──▶ etcd + API server ◀──writes── peer, a process of its own
//!  recorder ◀──watch lines──┘    ▲
//!      └──released children──▶ actor: ends Workflows as Argo does, or pods as a kubelet does
//! ```
//!
//! What is fair: every peer gets a fresh control plane, the same objects, the same TLS, the same kind of token and
//! the same recorder; those with executions leave the same objects behind, and write children as the run's
//! ServiceAccount. A peer that loses or doubles anything is disqualified. Peers take turns within each repeat.
//!
//! - [`scenario`]: what is measured. [`peers`]: who. [`bare`]: the floor, what no controller can beat; [`legacy`]: what
//!   is replaced.
//! - [`rig`], [`world`]: one run. [`actors`], [`recorder`]: who else is at work. [`payload`]: all bodies.
//! - [`proc`], [`audit`]: what it costs. [`results`], [`report`], [`plots`]: figures.
#![allow(
    clippy::disallowed_methods,
    reason = "this crate measures time; the list guards the controller's pure core"
)]

pub mod actors;
pub mod audit;
pub mod bare;
pub mod crds;
pub mod http;
pub mod legacy;
pub mod line;
pub mod machine;
pub mod payload;
pub mod peers;
pub mod plots;
pub mod proc;
pub mod recorder;
pub mod report;
pub mod results;
pub mod rig;
pub mod scenario;
pub mod target;
pub mod world;
