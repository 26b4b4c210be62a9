//! Metrics of connections that are passed on undecrypted: the first name of an entry in the configuration is their label.

use daemon::Maker;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result};

use super::labels::{ConnectFailure, Per};
use super::make::Family;
use crate::config::Pass;
use crate::telemetry::logging::Ended;

/// Those of one entry.
#[derive(Debug)]
pub struct PassMetrics {
    /// Connections that a service has taken and that have not ended.
    pub open: IntGauge,
    /// Connections that ended, also those that no service took.
    pub ended: Per<Ended, IntCounter>,
    /// Attempts to reach the service that failed.
    pub connect_failures: Per<ConnectFailure, IntCounter>,
}

/// The families behind them.
#[derive(Debug)]
pub(super) struct PassFamilies {
    open: Family<IntGaugeVec>,
    ended: Family<IntCounterVec>,
    connect_failures: Family<IntCounterVec>,
}

impl PassFamilies {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self> {
        Ok(Self {
            open: Family::new(make.gauges(
                "bascule_passed_connections_open",
                "Connections passed on undecrypted that are open now.",
                &["name"],
            )?),
            ended: Family::new(make.counters(
                "bascule_passed_connections_total",
                "Connections passed on undecrypted that ended, by why.",
                &["name", "reason"],
            )?),
            connect_failures: Family::new(make.counters(
                "bascule_pass_connect_failures_total",
                "Connections to services whose clients are passed on that failed.",
                &["name", "kind"],
            )?),
        })
    }

    /// The children of an entry of that configuration.
    pub(super) fn of(&self, number: u64, pass: &Pass) -> PassMetrics {
        let name = pass.names.first().map_or("", String::as_str);
        PassMetrics {
            open: self.open.child(number, &[name]),
            ended: Per::new(|why: Ended| self.ended.child(number, &[name, why.label()])),
            connect_failures: Per::new(|how: ConnectFailure| self.connect_failures.child(number, &[name, how.label()])),
        }
    }

    /// Takes away what only configurations before that one named.
    pub(super) fn retire(&self, number: u64) {
        self.open.retire(number);
        self.ended.retire(number);
        self.connect_failures.retire(number);
    }
}
