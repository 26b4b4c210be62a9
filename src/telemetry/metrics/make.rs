//! Makes metrics and registers them in one go, so that none can be made and forgotten.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

use super::labels::{Label, Per};

/// Makes metrics for one registry.
pub(crate) struct Maker<'r>(pub(crate) &'r Registry);

impl Maker<'_> {
    fn keep<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(crate) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.keep(IntCounter::new(name, help)?)
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.keep(IntGauge::new(name, help)?)
    }

    pub(crate) fn real(&self, name: &str, help: &str) -> Result<Gauge> {
        self.keep(Gauge::new(name, help)?)
    }

    pub(crate) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    pub(crate) fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec> {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    /// A counter for each member of a closed set.
    pub(crate) fn counter_per<L: Label>(&self, name: &str, help: &str, label: &str) -> Result<Per<L, IntCounter>> {
        let family = self.counters(name, help, &[label])?;
        Ok(Per::new(|member: L| family.with_label_values(&[member.label()])))
    }

    /// A histogram for each member of a closed set.
    pub(crate) fn histogram_per<L: Label>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> Result<Per<L, Histogram>> {
        let family = self.histograms(name, help, &[label], buckets)?;
        Ok(Per::new(|member: L| family.with_label_values(&[member.label()])))
    }
}

/// A family whose label values come from the configuration: what a new one no longer names is taken away.
#[derive(Debug)]
pub(crate) struct Family<V> {
    vec: V,
    /// Label values, and the configuration that named them last.
    known: Mutex<BTreeMap<Vec<String>, u64>>,
}

impl<B: MetricVecBuilder> Family<MetricVec<B>> {
    pub(crate) fn new(vec: MetricVec<B>) -> Self {
        Self { vec, known: Mutex::default() }
    }

    /// The child with these label values, named by that configuration. Counters of a child that stays go on.
    pub(crate) fn child(&self, configuration: u64, values: &[&str]) -> B::M {
        let owned = values.iter().map(|value| (*value).to_owned()).collect();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(owned, configuration);
        self.vec.with_label_values(values)
    }

    /// Takes away what only configurations before that one named.
    pub(crate) fn retire(&self, configuration: u64) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|values, named| {
            let stays = *named >= configuration;
            if !stays {
                let _ = self.vec.remove_label_values(values);
            }
            stays
        });
    }
}
