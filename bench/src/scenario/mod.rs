//! What is measured. Each scenario is a function from a peer to an outcome; sizes are flags.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::{peers::Peer, results::Outcome, world::Bench};

mod accounting;
mod argo;
mod drain;
mod latency;
mod ramp;
mod soak;
mod state;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// Exact requests per execution, from the audit log.
    Accounting,
    /// Create → child and child's end → status, at an easy rate.
    Latency,
    /// The bare client's best: drains at several concurrencies, over both versions of HTTP. Later scenarios use it.
    Floor,
    /// Create many with no controller, then start it.
    Drain,
    /// The same in several sizes.
    Sizes,
    /// More and more a second, until create → child takes too long.
    Ramp,
    /// Many finished and some running: coming up, idling, and coming up again after a kill.
    State,
    /// Updates of large children that matter to nobody.
    Noise,
    /// The real Argo: what is added to a Workflow's time, against creating it directly.
    Argo,
    /// A steady load for long.
    Soak,
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
    /// Floor: how many executions.
    #[arg(long, default_value_t = 2000)]
    pub floor_executions: usize,
    /// Sizes: how many executions of how many bytes of arguments.
    #[arg(long, value_delimiter = ',', default_value = "100x1024,1000x1024,10000x1024,500x102400")]
    pub size_cases: Vec<SizeCase>,
    /// Ramp: how long a step is, in seconds.
    #[arg(long, default_value_t = 20)]
    pub ramp_seconds: u32,
    /// Ramp: how many a second at first.
    #[arg(long, default_value_t = 20.0)]
    pub ramp_from: f64,
    /// Ramp: how many a second at most.
    #[arg(long, default_value_t = 400.0)]
    pub ramp_to: f64,
    /// State: how many finished executions.
    #[arg(long, default_value_t = 10_000)]
    pub state_finished: usize,
    /// State: how many running executions.
    #[arg(long, default_value_t = 1000)]
    pub state_running: usize,
    /// State: how long idling is measured, in seconds.
    #[arg(long, default_value_t = 60)]
    pub state_idle_seconds: u32,
    /// Noise: how many children.
    #[arg(long, default_value_t = 20)]
    pub noise_children: usize,
    /// Noise: how large they are, in bytes.
    #[arg(long, default_value_t = 102_400)]
    pub noise_bytes: usize,
    /// Noise: how many updates a second.
    #[arg(long, default_value_t = 100.0)]
    pub noise_rate: f64,
    /// Noise: how long, in seconds.
    #[arg(long, default_value_t = 60)]
    pub noise_seconds: u32,
    /// Argo: how many Workflows each way.
    #[arg(long, default_value_t = 50)]
    pub argo_workflows: usize,
    /// Soak: how long, in seconds.
    #[arg(long, default_value_t = 3600)]
    pub soak_seconds: u32,
    /// Soak: how many a second.
    #[arg(long, default_value_t = 40.0)]
    pub soak_rate: f64,
    /// How long a run may take, in seconds, before it is given up.
    #[arg(long, default_value_t = 900)]
    pub limit: u64,
}

/// One size of a drain, written as `executions x bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeCase {
    /// How many executions.
    pub executions: usize,
    /// About how many bytes of arguments each.
    pub args_bytes: usize,
}

impl std::str::FromStr for SizeCase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: write executions x bytes, such as 1000x1024");
        let (executions, args_bytes) = text.split_once('x').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse().map_err(|_| wrong());
        Ok(Self { executions: number(executions)?, args_bytes: number(args_bytes)? })
    }
}

impl Sizes {
    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

impl Scenario {
    /// Each scenario, in the order in which all are run.
    const EACH: [Self; 10] = [
        Self::Floor,
        Self::Accounting,
        Self::Latency,
        Self::Drain,
        Self::Ramp,
        Self::State,
        Self::Noise,
        Self::Sizes,
        Self::Argo,
        Self::Soak,
    ];

    /// What this stands for.
    pub fn each(self) -> Vec<Self> {
        if self == Self::All { Self::EACH.to_vec() } else { vec![self] }
    }

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounting => "accounting",
            Self::Latency => "latency",
            Self::Floor => "floor",
            Self::Drain => "drain",
            Self::Sizes => "sizes",
            Self::Ramp => "ramp",
            Self::State => "state",
            Self::Noise => "noise",
            Self::Argo => "argo",
            Self::Soak => "soak",
            Self::All => "all",
        }
    }

    /// Which of these peers it says anything about.
    pub fn suited(self, peers: &[Peer]) -> Vec<Peer> {
        let suits = |peer: &Peer| match self {
            Self::Accounting | Self::Latency | Self::Ramp | Self::Soak => peer.is_reactive(),
            Self::State => matches!(peer, Peer::Ours | Peer::GoTuned | Peer::GoDefault),
            Self::Noise => {
                matches!(peer, Peer::Reactive | Peer::Ours | Peer::GoTuned | Peer::GoDefault)
            }
            Self::Floor => *peer == Peer::Floor,
            Self::Argo => *peer == Peer::Ours,
            Self::Drain | Self::Sizes | Self::All => true,
        };
        peers.iter().copied().filter(suits).collect()
    }

    /// Runs it once with each of these peers, in this order; `tell` hears who is next.
    pub async fn run(
        self,
        bench: &Bench,
        sizes: &Sizes,
        peers: &[Peer],
        tell: impl Fn(Peer),
    ) -> Result<Vec<Outcome>> {
        if self == Self::State {
            return Box::pin(state::run(bench, sizes, peers)).await;
        }
        let mut outcomes = Vec::new();
        for &peer in peers {
            tell(peer);
            let new = match self {
                Self::Accounting => Box::pin(accounting::run(bench, sizes, peer)).await,
                Self::Latency => Box::pin(latency::run(bench, sizes, peer)).await,
                Self::Floor => Box::pin(drain::floor(bench, sizes)).await,
                Self::Drain => Box::pin(drain::run(bench, sizes, peer)).await,
                Self::Sizes => Box::pin(drain::sweep(bench, sizes, peer)).await,
                Self::Ramp => Box::pin(ramp::run(bench, sizes, peer)).await,
                Self::Noise => Box::pin(state::noise(bench, sizes, peer)).await,
                Self::Argo => Box::pin(argo::run(bench, sizes, peer)).await,
                Self::Soak => Box::pin(soak::run(bench, sizes, peer)).await,
                Self::State | Self::All => Ok(Vec::new()),
            };
            match new {
                Ok(new) => outcomes.extend(new),
                Err(error) => {
                    bench.clean_up().await?;
                    let mut outcome = Outcome::new(self.name(), "broken off".into(), peer);
                    outcome.disqualified = Some(format!("{error:#}"));
                    outcomes.push(outcome);
                }
            }
        }
        Ok(outcomes)
    }
}
