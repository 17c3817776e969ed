//! Good executions with poison among them, with the same poison where the controller does not see it, and without
//! any: how long each takes from its creation to the release of its child, and how much of that goes by before a bare
//! watch shows the execution. The second kind of turn, and that share, tell what the poison costs the API server from
//! what it costs the controller. The three take turns on one cluster, each with a controller of its own.

use std::{
    collections::{BTreeMap, HashMap},
    iter,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use devcluster::{Cluster, Server};
use futures::{AsyncBufReadExt, StreamExt, future::try_join_all};
use http::Request;
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use serde_json::json;

use crate::{
    common::{self, Env, full},
    process::{self, Controller},
    row::{Input, args_from, endless, field, job, raw_args, workflow},
    schema::{self, LENIENT},
    trial::RELEASED,
};

/// A good one is created this often. Twenty of them go by between two poison objects: longer than the API server takes
/// to store the worst, or what is measured is how the poison holds up the poison.
const PACE: Duration = Duration::from_millis(120);

/// So often at most a status is written about a poison object within a turn: what holds it up, and its end.
const MOST_WRITES: usize = 2;

/// Where the poison is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Poison {
    Nowhere,
    Elsewhere,
    Among,
}

/// In this order, so that a drift of the machine hits all alike.
const TURNS: [Poison; 6] =
    [Poison::Nowhere, Poison::Elsewhere, Poison::Among, Poison::Among, Poison::Elsewhere, Poison::Nowhere];

/// How many there are in one turn.
#[derive(Clone, Copy)]
struct Counts {
    good: usize,
    /// Poison that the schema would refuse, stored before the turn.
    stored: usize,
    /// Poison that the schema takes, created during the turn.
    created: usize,
}

/// One turn: what the controller serves, and where the poison goes.
struct Turn {
    poison: Poison,
    served: Env,
    poisoned: Env,
}

/// Measures, prints, and asserts only what no busy machine can break.
pub(crate) async fn run(cluster: &'static Cluster) -> Result<()> {
    let began = Instant::now();
    let counts = if full() {
        Counts { good: 250, stored: 13, created: 12 }
    } else {
        Counts { good: 125, stored: 6, created: 6 }
    };
    let mut turns = Vec::new();
    for poison in TURNS {
        let new = async || Env::without_controller(cluster).await;
        turns.push(Turn { poison, served: new().await?, poisoned: new().await? });
    }
    let stored = turns.iter().filter(|turn| turn.poison != Poison::Nowhere);
    let bodies = stored.flat_map(|turn| {
        (0..counts.stored).map(move |i| (turn.place(), past_the_schema(i).body(&format!("stored-{i}"))))
    });
    schema::store_past(&bodies.collect::<Vec<_>>()).await?;
    // Not counted: what is done for the first time takes longer.
    let new = async || Env::without_controller(cluster).await;
    let first = Turn { poison: Poison::Nowhere, served: new().await?, poisoned: new().await? };
    first.measure(Counts { good: 60, ..counts }).await?;
    let mut delays: BTreeMap<Poison, Vec<Delay>> = BTreeMap::new();
    for turn in &turns {
        delays.entry(turn.poison).or_default().extend(turn.measure(counts).await?);
    }
    tell(delays, (counts.stored + counts.created) * 2, began.elapsed())
}

fn tell(delays: BTreeMap<Poison, Vec<Delay>>, poison: usize, took: Duration) -> Result<()> {
    println!("{:<25} {:>6} {:>6} {:>6} {:>6}", "ms", "good", "p50", "p99", "max");
    let figures: Vec<Figures> =
        delays.into_iter().map(|(poison, delays)| Figures::of(poison, &delays)).collect();
    let [nowhere, elsewhere, among] = &figures[..] else { anyhow::bail!("a kind of turn is missing") };
    println!(
        "poison: {poison} among {} good ones: P99 {} times that with it elsewhere (goal: 1.1), {} times that without, {} s",
        among.count,
        among.over(elsewhere),
        among.over(nowhere),
        took.as_secs()
    );
    // A machine that does something else for a moment must not fail the test.
    ensure!(among.all <= elsewhere.all * 3 + Duration::from_millis(500), "poison holds the good ones up");
    Ok(())
}

/// How long one good execution took.
struct Delay {
    /// From its creation until a bare watch shows it.
    shown: Duration,
    /// From then to the release of its child.
    taken: Duration,
}

impl Turn {
    /// Where the poison goes.
    fn place(&self) -> &Env {
        match self.poison {
            Poison::Among => &self.served,
            Poison::Nowhere | Poison::Elsewhere => &self.poisoned,
        }
    }

    /// How long each good one took.
    async fn measure(&self, counts: Counts) -> Result<Vec<Delay>> {
        let env = &self.served;
        let shown = FirstSeen::watch(env, format!("{}?watch=true", env.executions().resource_url())).await?;
        let jobs: Api<Job> = Api::namespaced(env.client.clone(), &env.namespace);
        let released = format!("{}?watch=true&labelSelector={RELEASED}", jobs.resource_url());
        let released = FirstSeen::watch(env, released).await?;
        let mut controller = Controller::start(env.cluster, Some(&env.namespace)).await?;
        let server = env.cluster.pid(Server::ApiServer).context("no API server")?;
        process::at_rest(server).await?;
        let before = process::cpu(server)?;
        let (created, ()) = tokio::try_join!(self.create_good(counts), self.create_poison(counts))?;
        let released = released.all(counts.good).await?;
        let shown = shown.all(counts.good).await?;
        if self.poison == Poison::Among {
            self.told(counts).await?;
        }
        controller.check().await?;
        println!(
            "poison {:?}: CPU of the controller {:.1} s, of the API server {:.1} s",
            self.poison,
            controller.cpu()?.as_secs_f64(),
            process::cpu(server)?.saturating_sub(before).as_secs_f64()
        );
        Ok(created
            .into_iter()
            .map(|(name, at)| Delay {
                shown: shown[&name].saturating_duration_since(at),
                taken: released[&name].saturating_duration_since(shown[&name]),
            })
            .collect())
    }

    /// Creates the good ones, each at its time however long those before it take; tells when that was.
    async fn create_good(&self, counts: Counts) -> Result<HashMap<String, Instant>> {
        let env = &self.served;
        let created = at_pace(PACE, counts.good, async |number| {
            let name = format!("good-{number}");
            let at = Instant::now();
            schema::create(env, &job(endless()).body(&name), LENIENT).await?;
            Ok((name, at))
        });
        Ok(created.await?.into_iter().collect())
    }

    /// Creates the poison in the same time.
    async fn create_poison(&self, counts: Counts) -> Result<()> {
        if self.poison == Poison::Nowhere {
            return Ok(());
        }
        let pace = PACE * u32::try_from(counts.good / counts.created)?;
        at_pace(pace, counts.created, async |index| {
            let body = by_the_schema(index).body(&format!("poison-{index}"));
            schema::create(self.place(), &body, LENIENT).await?;
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Waits until all poison that can be told of is, and checks what that took: each write about an object of a
    /// megabyte keeps the API server from serving others.
    async fn told(&self, counts: Counts) -> Result<()> {
        let began = Instant::now();
        let writes = loop {
            let writes = self.status_writes().await?;
            let told = writes.iter().filter(|(name, w)| name.starts_with("poison-") && w.taken > 0).count();
            if told == counts.created {
                break writes;
            }
            ensure!(
                began.elapsed() < Duration::from_mins(1),
                "only {told} of {} were told of",
                counts.created
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let all: usize = writes.values().map(|w| w.tried).sum();
        println!("status writes about {} poison objects: {all}", writes.len());
        let most = writes.iter().max_by_key(|(_, w)| w.tried);
        ensure!(most.is_none_or(|(_, w)| w.tried <= MOST_WRITES), "too many writes about one: {most:?}");
        Ok(())
    }

    /// What the controller wrote about each poison object, by the audit log.
    async fn status_writes(&self) -> Result<HashMap<String, Writes>> {
        let mut writes: HashMap<String, Writes> = HashMap::new();
        for event in common::audit(self.served.cluster).await? {
            let object = &event["objectRef"];
            let name = object["name"].as_str().unwrap_or_default();
            if event["verb"] == "patch"
                && object["subresource"] == "status"
                && object["resource"] == "runnerexecutions"
                && object["namespace"] == self.served.namespace.as_str()
                && !name.starts_with("good-")
            {
                let write = writes.entry(name.to_owned()).or_default();
                write.tried += 1;
                write.taken += usize::from(event["responseStatus"]["code"] == 200);
            }
        }
        Ok(writes)
    }
}

/// Does something so often, each time at its time, whether or not what came before is done.
async fn at_pace<T>(pace: Duration, count: usize, act: impl AsyncFn(usize) -> Result<T>) -> Result<Vec<T>> {
    let act = &act;
    let times = iter::successors(Some(tokio::time::Instant::now()), |time| Some(*time + pace));
    try_join_all(times.take(count).enumerate().map(async |(number, time)| {
        tokio::time::sleep_until(time).await;
        act(number).await
    }))
    .await
}

/// Status writes about one object.
#[derive(Debug, Default)]
struct Writes {
    tried: usize,
    taken: usize,
}

/// When each good object was first in a watch.
struct FirstSeen {
    at: Arc<Mutex<HashMap<String, Instant>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FirstSeen {
    /// Reads the lines of that watch, and of each no more than the name: it must keep up with megabytes.
    async fn watch(env: &Env, path: String) -> Result<Self> {
        let request = Request::get(path).body(Vec::new())?;
        let mut lines = env.client.request_stream(request).await?.lines();
        let at = Arc::new(Mutex::new(HashMap::new()));
        let seen = Arc::clone(&at);
        let task = tokio::spawn(async move {
            while let Some(Ok(line)) = lines.next().await {
                let name = line.split_once(r#""name":"good-"#).and_then(|(_, rest)| rest.split_once('"'));
                if let Some((number, _)) = name {
                    seen.lock().unwrap().entry(format!("good-{number}")).or_insert_with(Instant::now);
                }
            }
        });
        Ok(Self { at, task })
    }

    async fn all(self, count: usize) -> Result<HashMap<String, Instant>> {
        let began = Instant::now();
        loop {
            let seen = self.at.lock().unwrap().clone();
            if seen.len() == count {
                self.task.abort();
                return Ok(seen);
            }
            ensure!(began.elapsed() < Duration::from_secs(90), "only {} of {count} were seen", seen.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What the schema refuses.
fn past_the_schema(index: usize) -> Input {
    let kinds: [fn() -> Input; 5] = [
        // The worst: no status can ever be written for it, so it is tried again and again.
        || field("/context/timeout", json!(30)),
        || field("/context/timeout", json!("5s-3s")),
        || field("/context/platform/serviceAccountName", json!("a\r\nImpersonate-Group: system:masters")),
        || field("/args", json!("text")),
        || field("/context/timeout", json!("s".repeat(1_000_000))),
    ];
    kinds[index % kinds.len()]()
}

/// What the schema takes.
fn by_the_schema(index: usize) -> Input {
    let kinds: [fn() -> Input; 6] = [
        || raw_args("job", &format!("{}1{}", r#"{"a":"#.repeat(9_900), "}".repeat(9_900))),
        || job((0..30_000).map(|i| (format!("k{i}"), json!(0))).collect()),
        || job(json!({"image": "busybox:1", "junk": "x".repeat(1_400 << 10)})),
        || {
            let bomb = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(200_000), "*a,".repeat(200_000));
            workflow(
                json!({"entrypoint": "main", "podSpecPatch": bomb, "templates": [{"name": "main", "suspend": {}}]}),
            )
        },
        || field("/context/platform/serviceAccountName", json!("nobody")),
        || args_from("missing", "a"),
    ];
    kinds[index % kinds.len()]()
}

/// The ninety-ninth percentiles of one kind of turn.
struct Figures {
    count: usize,
    /// Of the time from the creation to the release.
    all: Duration,
    /// Of that before a bare watch shows the execution, and after.
    before: Duration,
    after: Duration,
}

impl Figures {
    /// Prints them with all else that can be told.
    fn of(poison: Poison, delays: &[Delay]) -> Self {
        println!("poison {poison:?}");
        let spread = |what: &str, of: fn(&Delay) -> Duration| {
            let mut delays: Vec<Duration> = delays.iter().map(of).collect();
            delays.sort_unstable();
            let [p50, p99, max] =
                [50, 99, 100].map(|percent| delays[(delays.len() * percent).div_ceil(100) - 1]);
            let [a, b, c] = [p50, p99, max].map(|delay| delay.as_millis());
            println!("  {what:<23} {:>6} {a:>6} {b:>6} {c:>6}", delays.len());
            p99
        };
        Self {
            count: delays.len(),
            all: spread("creation to release", |delay| delay.shown + delay.taken),
            before: spread("before a watch shows it", |delay| delay.shown),
            after: spread("after", |delay| delay.taken),
        }
    }

    fn over(&self, other: &Self) -> String {
        let times = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        format!(
            "{:.2} (before a watch shows it {:.2}, after {:.2})",
            times(self.all, other.all),
            times(self.before, other.before),
            times(self.after, other.after)
        )
    }
}
