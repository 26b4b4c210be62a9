//! Makes metrics whose labels are members of closed sets, or come from the configuration.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use daemon::Maker;
use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{Histogram, IntCounter, Result};

use super::labels::{Label, Per};

/// A counter for each member of a closed set, made beforehand: counting looks nothing up by its words, and Prometheus sees
/// those that are 0.
pub(crate) fn counter_per<L: Label>(
    make: &Maker<'_>,
    name: &str,
    help: &str,
    label: &str,
) -> Result<Per<L, IntCounter>> {
    let family = make.counters(name, help, &[label])?;
    Ok(Per::new(|member: L| family.with_label_values(&[member.label()])))
}

/// A histogram for each member of a closed set, as [`counter_per`] makes counters.
pub(crate) fn histogram_per<L: Label>(
    make: &Maker<'_>,
    name: &str,
    help: &str,
    label: &str,
    buckets: &[f64],
) -> Result<Per<L, Histogram>> {
    let family = make.histograms(name, help, &[label], buckets)?;
    Ok(Per::new(|member: L| family.with_label_values(&[member.label()])))
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
        // A lock at a load of the configuration; counting goes straight to the child that is returned.
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(owned, configuration);
        self.vec.with_label_values(values)
    }

    /// Takes away what only configurations before that one named.
    pub(crate) fn retire(&self, configuration: u64) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|values, named| {
            let stays = *named >= configuration;
            if !stays {
                // A series that stayed would show for ever what a removed backend did last.
                let _ = self.vec.remove_label_values(values);
            }
            stays
        });
    }
}
