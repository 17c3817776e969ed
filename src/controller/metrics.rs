//! Prometheus metrics. Labels are runners, reasons and kinds, all from closed lists; never names of objects.

use std::sync::Arc;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// All metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Passes over an execution, by result.
    pub reconciles: Family<ResultLabel, Counter>,
    /// Seconds that a pass took.
    pub reconcile_seconds: Histogram,
    /// Passes that are under way.
    pub active: Gauge,
    /// Executions that finished, by runner and reason.
    pub finished: Family<OutcomeLabels, Counter>,
    /// Steps that were carried out.
    pub steps: Family<StepLabel, Counter>,
    /// Errors of a watch, by resource.
    pub watch_errors: Family<ResourceLabel, Counter>,
    /// Unix time of the last good item of a watch, by resource.
    pub watch_last_item: Family<ResourceLabel, Gauge>,
    /// Events that were not written.
    pub events_dropped: Counter,
}

/// The result of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// `success` or the kind of error.
    pub result: &'static str,
}

/// The outcome of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// Its runner, or `unknown`.
    pub runner: &'static str,
    /// The reason word.
    pub reason: &'static str,
}

/// A step of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabel {
    /// Its name.
    pub step: &'static str,
}

/// A watched resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResourceLabel {
    /// Its plural.
    pub resource: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("runner_controller");
        let reconciles = Family::default();
        let reconcile_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let active = Gauge::default();
        let finished = Family::default();
        let steps = Family::default();
        let watch_errors = Family::default();
        let watch_last_item = Family::default();
        let events_dropped = Counter::default();
        registry.register("reconcile", "Passes over an execution, by result", reconciles.clone());
        registry.register("reconcile_time_seconds", "Seconds that a pass took", reconcile_seconds.clone());
        registry.register("active_workers", "Passes under way", active.clone());
        registry.register("executions_finished", "Executions that finished", finished.clone());
        registry.register("steps", "Steps carried out", steps.clone());
        registry.register("watch_errors", "Errors of a watch", watch_errors.clone());
        registry.register(
            "watch_last_item_timestamp_seconds",
            "Time of the last good item of a watch",
            watch_last_item.clone(),
        );
        registry.register(
            "events_dropped",
            "Kubernetes Events that were not written",
            events_dropped.clone(),
        );
        Self {
            registry: Arc::new(registry),
            reconciles,
            reconcile_seconds,
            active,
            finished,
            steps,
            watch_errors,
            watch_last_item,
            events_dropped,
        }
    }
}

impl Metrics {
    /// The metrics in Prometheus' text form.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
