//! How the zones of rate limits stand, looked at when somebody asks: whoever makes a request has no time to count the accounts.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Result};

/// How one zone stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// As in the file: the label `zone`.
    pub name: Arc<str>,
    /// Client addresses that are ahead of their rate.
    pub ahead: usize,
    /// Requests that wait for their time.
    pub waiting: usize,
    /// Accounts that mattered and were forgotten for want of room.
    pub evictions: u64,
}

/// Asks how the zones stand at each scrape.
pub struct ZonesCollector {
    look: Box<dyn Fn() -> Vec<Standing> + Send + Sync>,
    ahead: IntGaugeVec,
    waiting: IntGaugeVec,
    evictions: IntCounterVec,
}

impl ZonesCollector {
    /// One that asks `look`.
    ///
    /// # Errors
    /// None that a caller could cause: the names are valid.
    pub fn new(look: impl Fn() -> Vec<Standing> + Send + Sync + 'static) -> Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help);
        Ok(Self {
            look: Box::new(look),
            ahead: IntGaugeVec::new(
                opts("bascule_zone_addresses", "Client addresses that are ahead of the zone's rate, and remembered."),
                &["zone"],
            )?,
            waiting: IntGaugeVec::new(
                opts("bascule_zone_delayed", "Requests that wait for their time in the zone."),
                &["zone"],
            )?,
            evictions: IntCounterVec::new(
                opts(
                    "bascule_zone_evictions_total",
                    "Client addresses that were forgotten though ahead of the zone's rate, for want of room.",
                ),
                &["zone"],
            )?,
        })
    }
}

impl Collector for ZonesCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.ahead.desc(), self.waiting.desc(), self.evictions.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A zone that a reload took away is gone.
        self.ahead.reset();
        self.waiting.reset();
        self.evictions.reset();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for Standing { name, ahead, waiting, evictions } in (self.look)() {
            self.ahead.with_label_values(&[&*name]).set(gauge(ahead));
            self.waiting.with_label_values(&[&*name]).set(gauge(waiting));
            self.evictions.with_label_values(&[&*name]).inc_by(evictions);
        }
        [self.ahead.collect(), self.waiting.collect(), self.evictions.collect()].concat()
    }
}
