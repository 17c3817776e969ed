//! Who else is at work in a cluster: those who create executions, and those who do what children ask for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rand::RngExt;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    http::Http,
    payload,
    recorder::{Released, Subject},
    target::Target,
};

/// How many requests the generator and the actor each have under way at most.
const AT_ONCE: usize = 32;

/// What is created.
#[derive(Clone, Debug)]
pub struct Generator {
    http: Http,
    target: Target,
    subject: Subject,
    args_bytes: usize,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Generator {
    /// Creates objects whose arguments take about so many bytes.
    pub fn new(target: &Target, subject: Subject, args_bytes: usize) -> Result<Self> {
        let http = Http::new(target, "bench-generator", false)?;
        Ok(Self { http, target: target.clone(), subject, args_bytes })
    }

    fn object(&self, number: usize) -> (String, Bytes) {
        match self.subject {
            Subject::Executions => {
                (payload::executions(&self.target), payload::execution(&self.target, number, self.args_bytes))
            }
            Subject::Jobs => (payload::jobs(&self.target), payload::job(number, self.args_bytes)),
        }
    }

    /// Creates one.
    pub async fn create(&self, number: usize) -> Result<()> {
        let (path, body) = self.object(number);
        self.http.post(&path, body).await.map(drop)
    }

    /// Creates all of a range as fast as it goes.
    pub async fn burst(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        stream::iter(numbers.map(Ok)).try_for_each_concurrent(AT_ONCE, |number| self.create(number)).await
    }

    /// Creates all of a range at random times, so many a second on average, whatever becomes of them: an open
    /// loop. Random, since a steady beat would hide waiting.
    pub async fn poisson(&self, numbers: std::ops::Range<usize>, per_second: f64) -> Result<()> {
        let mut due = Instant::now();
        let mut tasks = Vec::new();
        for number in numbers {
            let uniform: f64 = rand::rng().random_range(f64::EPSILON..1.0);
            due += Duration::from_secs_f64(-uniform.ln() / per_second);
            sleep_until(due).await;
            let generator = self.clone();
            tasks.push(tokio::spawn(async move { generator.create(number).await }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    }
}

/// Works on children: as Argo does on Workflows, or as a kubelet on pods.
pub struct Actor {
    task: JoinHandle<()>,
    holding: Arc<AtomicBool>,
}

impl Actor {
    /// Works on each child that is handed in, for so long.
    pub fn start(
        target: &Target,
        subject: Subject,
        takes: Duration,
        mut to_work_on: mpsc::UnboundedReceiver<Released>,
    ) -> Result<Self> {
        let (target, http) = (target.clone(), Http::new(target, "bench-actor", false)?);
        let holding = Arc::new(AtomicBool::new(false));
        let is_held = Arc::clone(&holding);
        let task = tokio::spawn(async move {
            let slots = Arc::new(Semaphore::new(AT_ONCE));
            while let Some(name) = to_work_on.recv().await {
                let never_ends = is_held.load(Ordering::Relaxed);
                let (http, target, slots) = (http.clone(), target.clone(), Arc::clone(&slots));
                tokio::spawn(async move {
                    sleep(takes).await;
                    let Ok(_permit) = slots.acquire().await else { return };
                    let (path, body) = match subject {
                        Subject::Executions => {
                            let now = payload::now();
                            let word = if never_ends {
                                payload::argo_running(&name, &now)
                            } else {
                                payload::argo_done(&now)
                            };
                            (format!("{}/{name}", payload::workflows(&target)), word)
                        }
                        Subject::Jobs => (
                            format!("{}/{name}/status", payload::pods(&target)),
                            payload::kubelet_done(&payload::now()),
                        ),
                    };
                    if let Err(error) = http.patch(&path, body).await {
                        eprintln!("bench: the actor could not tell of {name}: {error:#}");
                    }
                });
            }
        });
        Ok(Self { task, holding })
    }

    /// From now on children of executions are taken up, and go on for ever.
    pub fn hold(&self) {
        self.holding.store(true, Ordering::Relaxed);
    }

    /// Stops; what is under way is given up.
    pub fn stop(self) {
        self.task.abort();
    }
}

/// Runs so many calls at once over a list, and gives the first error.
pub async fn at_once<T, F>(limit: usize, items: Vec<T>, call: impl Fn(T) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let mut running = stream::iter(items).map(call).buffer_unordered(limit);
    while let Some(outcome) = running.next().await {
        outcome.context("a request failed")?;
    }
    Ok(())
}
