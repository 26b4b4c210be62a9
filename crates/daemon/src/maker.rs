//! Makes metrics and registers them in one go, so that none is counted and never shown.

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

/// Makes metrics for one registry. Each function fails only if the registry holds the name already, or it is no name.
#[derive(Debug, Clone, Copy)]
pub struct Maker<'r>(pub &'r Registry);

#[expect(clippy::missing_errors_doc, reason = "they fail of one thing, which the type's documentation says")]
impl Maker<'_> {
    /// Registers a metric, and keeps a handle to count with.
    pub fn keep<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// Makes the gauge that is 1 and names the running version.
    pub fn build_info(&self, name: &str, version: &str) -> Result<()> {
        self.gauges(name, "1; the running program.", &["version"])?.with_label_values(&[version]).set(1);
        Ok(())
    }

    /// Makes a counter; its name ends with `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.keep(IntCounter::new(name, help)?)
    }

    /// Makes a gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.keep(IntGauge::new(name, help)?)
    }

    /// Makes a gauge of any number, for seconds.
    pub fn real(&self, name: &str, help: &str) -> Result<Gauge> {
        self.keep(Gauge::new(name, help)?)
    }

    /// Makes a counter for each set of labels' values.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Makes a gauge for each set of labels' values.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// Makes a histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    /// Makes a histogram with these upper bounds for each set of labels' values.
    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec> {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }
}
