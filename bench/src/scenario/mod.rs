//! What is measured. Each scenario is a function from a peer to an outcome; sizes are flags.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::{peers::Peer, results::Outcome, world::Bench};

mod accounting;
mod drain;
mod latency;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// Exact requests per execution, from the audit log.
    Accounting,
    /// Create → child and child's end → status, at an easy rate.
    Latency,
    /// Create many with no controller, then start it.
    Drain,
    /// All of them.
    All,
}

/// How large scenarios are.
#[derive(Clone, Debug, clap::Args)]
pub struct Sizes {
    /// Accounting: how many executions.
    #[arg(long, default_value_t = 200)]
    pub accounting_executions: usize,
    /// Accounting: how many a second.
    #[arg(long, default_value_t = 2.0)]
    pub accounting_rate: f64,
    /// Latency: for how many seconds.
    #[arg(long, default_value_t = 120)]
    pub latency_seconds: u32,
    /// Latency: how many executions a second.
    #[arg(long, default_value_t = 5.0)]
    pub latency_rate: f64,
    /// Drain: how many executions.
    #[arg(long, default_value_t = 5000)]
    pub drain_executions: usize,
    /// About how many bytes of arguments an execution has.
    #[arg(long, default_value_t = 1024)]
    pub args_bytes: usize,
    /// How long a run may take, in seconds, before it is given up.
    #[arg(long, default_value_t = 900)]
    pub limit: u64,
}

impl Sizes {
    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

impl Scenario {
    /// What this stands for.
    pub fn each(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::Accounting, Self::Latency, Self::Drain],
            one => vec![one],
        }
    }

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounting => "accounting",
            Self::Latency => "latency",
            Self::Drain => "drain",
            Self::All => "all",
        }
    }

    /// Whether it says anything about that peer.
    pub fn suits(self, peer: Peer) -> bool {
        match self {
            Self::Accounting | Self::Latency => peer.is_reactive(),
            Self::Drain | Self::All => true,
        }
    }

    /// Runs it once with one peer.
    pub async fn run(self, bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
        match self {
            Self::Accounting => accounting::run(bench, sizes, peer).await,
            Self::Latency => latency::run(bench, sizes, peer).await,
            Self::Drain => drain::run(bench, sizes, peer).await,
            Self::All => Ok(Vec::new()),
        }
        .map(|outcomes| outcomes.into_iter().collect())
    }
}
