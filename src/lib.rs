//! Runs actions on Kubernetes as one truthful object: a `RunnerExecution` holds what to run, a controller starts
//! it exactly once and follows it, and `.status` tells what became of it.
//!
//! ```text
//!  RunnerExecution ──watch──▶ reconcile ──▶ decide(state, seen, now) ──▶ one Step ──▶ API server
//!        ▲                        │  ▲                pure                    │
//!        │ status                 │  └── child (Workflow, Job): watch ◀───────┘
//!        └────────────────────────┘      rendered and interpreted by a Runner: pure
//! ```
//!
//! - [`crd`]: the object. [`reason`]: the words its status uses.
//! - [`controller`]: the lifecycle, which all runners share; start reading at `controller/decide.rs`.
//! - [`runners`]: what is particular to one tool; start reading at [`runners::Runner`].
//! - [`client`]: for an Engine: create an execution, follow it, learn its outcome. [`input`]: the files that say
//!   what to run. [`submit`]: both together, as a command.
//! - [`manager`]: for the author of a runner: a whole controller process in one line. [`conformance`]: a test
//!   kit for runners.
//! - `exec`: what happens within the pods of those runners that work in one. `go_types`: the API's types for an Engine
//!   in Go. `logging`: how the process logs.
//!
//! What is documented here is a promise, which `hack/semver.sh` checks. Modules that are hidden serve the binaries and
//! benchmarks of this project, and change as they need.

pub mod client;
pub mod conformance;
pub mod controller;
pub mod crd;
pub mod duration;
#[doc(hidden)]
pub mod exec;
#[doc(hidden)]
pub mod go_types;
pub mod input;
#[doc(hidden)]
pub mod logging;
pub mod manager;
pub mod message;
mod names;
pub mod progress;
pub mod reason;
pub mod runners;
pub mod submit;
mod yaml;
