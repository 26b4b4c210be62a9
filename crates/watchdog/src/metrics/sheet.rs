//! One scrape's gauges: made, filled and read once.

use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry, Result};

/// Gauges of one scrape.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    registry: Registry,
}

impl Sheet {
    /// A number, or no series at all.
    pub(super) fn number(&self, name: &str, help: &str, value: Option<f64>) -> Result<()> {
        self.table(name, help, &[], value.map(|value| (Vec::<&str>::new(), value)))
    }

    /// 1 or 0, or no series at all.
    pub(super) fn flag(&self, name: &str, help: &str, value: Option<bool>) -> Result<()> {
        self.number(name, help, value.map(f64::from))
    }

    /// A number for each value of a label.
    pub(super) fn rows<S: AsRef<str>>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        rows: impl IntoIterator<Item = (S, f64)>,
    ) -> Result<()> {
        self.table(name, help, &[label], rows.into_iter().map(|(value, number)| (vec![value], number)))
    }

    /// A series for each state of a closed set; 1: the state of now.
    pub(super) fn states(&self, name: &str, help: &str, label: &str, all: &[&str], now: &str) -> Result<()> {
        self.rows(name, help, label, all.iter().map(|state| (state, f64::from(*state == now))))
    }

    /// A number for each set of label values.
    pub(super) fn table<S: AsRef<str>>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        rows: impl IntoIterator<Item = (Vec<S>, f64)>,
    ) -> Result<()> {
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        for (values, number) in rows {
            let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
            family.with_label_values(&values).set(number);
        }
        self.registry.register(Box::new(family))
    }

    /// Everything that has a series.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}
