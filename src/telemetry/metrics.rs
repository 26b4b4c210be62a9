//! Every metric of the Edge. Children are resolved beforehand, so the request path only adds to atomics; label values
//! come from closed sets and from the configuration, never from clients.

mod configured;
mod labels;
mod live;
mod make;
mod nodes;
mod passes;
mod process;
mod zones;

use std::time::{Duration, SystemTime};

use daemon::Maker;
use failover::Side;
use failover::health::State;
use failover::switch::Kind;
use probe::tls::Term;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Registry, Result};

use self::configured::Families;
use self::make::{counter_per, histogram_per};
use self::process::ProcessCollector;
use crate::admin::api::Sides;
use crate::config::{Config, TlsVersion};
pub use configured::{BackendMetrics, CheckMetrics, Configured, RouteMetrics, ServiceMetrics};
pub use labels::{
    Alpn, AnswerFailure, By, Class, ConnectFailure, ConnectionRefusal, Direction, Handshake, HandshakeFailure,
    KeyExchange, Label, NodeState, Parked, Per, ProbeOutcome, Refusal, Reload, Ruled, SwitchoverResult, TurnedAway,
    ZoneOutcome,
};
pub use live::live_strangers;
pub use nodes::{NodeLabels, NodesMetrics, WitnessMetrics};
pub use passes::PassMetrics;
pub use zones::{Standing, ZonesCollector};

/// From a cached asset to a long poll.
const REQUEST_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// From a backend that restarts to the longest wait people have patience for.
const PARKED_SECONDS: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Every metric that does not depend on the configuration; [`Metrics::configure`] gives those that do.
#[derive(Debug)]
pub struct Metrics {
    live: Sides<IntGauge>,
    /// Switch epoch.
    pub epoch: IntGauge,
    switches: Switches,
    health: Sides<Per<State, IntGauge>>,
    /// 1: the switch budget is used up.
    pub damped: IntGauge,
    /// 1: an operator forbids automatic switches.
    pub frozen: IntGauge,
    /// How many routes operators have in maintenance; the whole site counts as one.
    pub maintenance: IntGauge,
    /// 1: the Edge decides and moves nothing.
    pub observe: IntGauge,
    /// 1: the Edge doubts its evidence.
    pub doubt: IntGauge,
    /// 1: takes no new connections.
    pub draining: IntGauge,
    /// How late the engine's loop turned the last time.
    pub loop_lag: Gauge,
    /// By who answered, or should have; without the time parked.
    pub request_duration: Per<By, Histogram>,
    /// Requests sent to an upstream a second time.
    pub replayed: IntCounter,
    /// Requests that wait for a switch now.
    pub parked: IntGauge,
    /// Requests that waited, by what became of them.
    pub parked_total: Per<Parked, IntCounter>,
    /// How long those that waited did.
    pub parked_duration: Histogram,
    /// Requests refused.
    pub refused: Per<Refusal, IntCounter>,
    /// Bytes of sessions and relayed connections.
    pub relayed_bytes: Per<Direction, IntCounter>,
    /// Client connections open now.
    pub connections_open: IntGauge,
    /// What requests under way hold in memory.
    pub request_memory: IntGauge,
    /// Client connections accepted.
    pub connections_accepted: IntCounter,
    /// Client connections refused.
    pub connections_refused: Per<ConnectionRefusal, IntCounter>,
    handshakes: Handshakes,
    /// TLS handshakes by their key exchange. A family of its own: as one more label of the handshakes it would make six
    /// series of each.
    pub key_exchanges: Per<KeyExchange, IntCounter>,
    /// TLS handshakes that failed.
    pub handshake_failures: Per<HandshakeFailure, IntCounter>,
    /// Writes of journal, reports or live side that failed.
    pub journal_write_errors: IntCounter,
    /// Access log lines for which there was no room.
    pub access_lines_dropped: IntCounter,
    reloads: Per<Reload, IntCounter>,
    last_reload: IntGauge,
    /// 1: the file on the disk was to be loaded and could not be.
    config_broken: IntGauge,
    families: Families,
}

type Handshakes = Per<TlsVersion, Per<Alpn, Per<Handshake, IntCounter>>>;

/// Switches by the side they left.
#[derive(Debug)]
struct Switches {
    automatic: Sides<IntCounter>,
    planned: Sides<IntCounter>,
}

impl Metrics {
    /// Makes and registers all of them.
    ///
    /// # Errors
    /// The registry holds one of the names already.
    pub fn new(registry: &Registry) -> Result<Self> {
        let make = Maker(registry);
        make.build_info("bascule_build_info", env!("CARGO_PKG_VERSION"))?;
        registry.register(Box::new(ProcessCollector::new()?))?;
        Ok(Self {
            live: live(&make)?,
            epoch: make.gauge("bascule_switch_epoch", "Grows by one with each switch of the live side.")?,
            switches: switches(&make)?,
            health: health(&make)?,
            damped: make.gauge("bascule_damped", "1: the budget of automatic switches is used up.")?,
            frozen: make.gauge("bascule_frozen", "1: an operator forbids automatic switches.")?,
            maintenance: make.gauge("bascule_maintenance", "Routes in maintenance; the whole site counts as one.")?,
            observe: make.gauge("bascule_observe", "1: switches are decided and journaled, not made.")?,
            doubt: make.gauge("bascule_doubt", "1: the Edge doubts its own evidence.")?,
            draining: make.gauge("bascule_draining", "1: the Edge goes away; new clients get the waiting page.")?,
            loop_lag: make.real("bascule_loop_lag_seconds", "How late the engine's loop turned the last time.")?,
            request_duration: request_duration(&make)?,
            replayed: make.counter("bascule_replayed_total", "Requests sent to an upstream a second time.")?,
            parked: make.gauge("bascule_parked", "Requests that wait for a switch now.")?,
            parked_total: counter_per(
                &make,
                "bascule_parked_total",
                "Requests that waited, by what became of them.",
                "outcome",
            )?,
            parked_duration: make.histogram(
                "bascule_parked_seconds",
                "How long the requests that waited for a switch did.",
                PARKED_SECONDS,
            )?,
            refused: counter_per(&make, "bascule_refused_requests_total", "Requests refused by the Edge.", "reason")?,
            relayed_bytes: counter_per(
                &make,
                "bascule_relayed_bytes_total",
                "Bytes of sessions and relayed connections, as clients see them.",
                "direction",
            )?,
            connections_open: make.gauge("bascule_connections_open", "Client connections open now.")?,
            request_memory: make
                .gauge("bascule_request_memory_bytes", "What requests under way hold in memory, of limits.memory.")?,
            connections_accepted: make.counter("bascule_connections_accepted_total", "Client connections accepted.")?,
            connections_refused: counter_per(
                &make,
                "bascule_connections_refused_total",
                "Client connections refused.",
                "reason",
            )?,
            handshakes: handshakes(&make)?,
            key_exchanges: key_exchanges(&make)?,
            handshake_failures: counter_per(
                &make,
                "bascule_tls_handshake_failures_total",
                "TLS handshakes with clients that failed.",
                "reason",
            )?,
            journal_write_errors: make.counter(
                "bascule_journal_write_errors_total",
                "Writes of the live side, the journal or a report that failed.",
            )?,
            access_lines_dropped: make
                .counter("bascule_access_log_lines_dropped_total", "Access log lines for which there was no room.")?,
            reloads: counter_per(&make, "bascule_config_reloads_total", "Loads of the configuration.", "result")?,
            last_reload: make
                .gauge("bascule_config_last_reload_timestamp_seconds", "When the running configuration was loaded.")?,
            config_broken: make.gauge(
                "bascule_config_broken",
                "1: the file on the disk did not load the last time; the old configuration is in force.",
            )?,
            families: Families::new(&make)?,
        })
    }

    /// Resolves the children that a configuration names, and takes away those only an older one did.
    pub fn configure(&self, config: &Config) -> Configured {
        self.families.configure(config)
    }

    /// That side is live, since that epoch.
    pub fn live(&self, side: Side, epoch: u64) {
        for each in Side::BOTH {
            self.live.of(each).set(i64::from(each == side));
        }
        self.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    /// Counts a switch from that side to the other.
    pub fn switched(&self, kind: Kind, from: Side) {
        match kind {
            // Which of the two follows from the side that is left.
            Kind::Failover | Kind::Failback => self.switches.automatic.of(from).inc(),
            Kind::Planned => self.switches.planned.of(from).inc(),
        }
    }

    /// A side's health changed.
    pub fn health(&self, side: Side, state: State) {
        self.health.of(side).only(state);
    }

    /// Counts a TLS handshake that succeeded.
    pub fn handshake(&self, version: TlsVersion, alpn: Alpn, handshake: Handshake) {
        self.handshakes.of(version).of(alpn).of(handshake).inc();
    }

    /// Counts a load of the configuration.
    pub fn reloaded(&self, result: Reload) {
        self.reloads.of(result).inc();
        // A gauge beside the counter: the alert must hold for as long as a restart would fail.
        self.config_broken.set(i64::from(result == Reload::Rejected));
        if result == Reload::Taken {
            self.last_reload.set(unix_seconds(SystemTime::now()));
        }
    }

    /// Says from when until when the certificates shown to clients are good; those not named are forgotten.
    pub fn certificates<'a>(&self, certificates: impl IntoIterator<Item = (&'a str, Term)>) {
        self.families.certificates(certificates);
    }
}

fn live(make: &Maker<'_>) -> Result<Sides<IntGauge>> {
    let family = make.gauges("bascule_live", "1: the side that receives traffic.", &["side"])?;
    Ok(Sides::from_fn(|side| family.with_label_values(&[side.label()])))
}

/// A failover leaves Main, a failback leaves Standby, an operator either: no series for what cannot be.
fn switches(make: &Maker<'_>) -> Result<Switches> {
    let family = make.counters("bascule_switches_total", "Switches of the live side.", &["kind", "from", "to"])?;
    let child = |kind: Kind, from: Side| family.with_label_values(&[kind.label(), from.label(), from.other().label()]);
    Ok(Switches {
        automatic: Sides { main: child(Kind::Failover, Side::Main), standby: child(Kind::Failback, Side::Standby) },
        planned: Sides::from_fn(|from| child(Kind::Planned, from)),
    })
}

fn health(make: &Maker<'_>) -> Result<Sides<Per<State, IntGauge>>> {
    let family = make.gauges("bascule_side_health", "1: the health of the side.", &["side", "state"])?;
    Ok(Sides::from_fn(|side| {
        let states = Per::new(|state: State| family.with_label_values(&[side.label(), state.label()]));
        // From the start on: an alert on a series that is not there never fires.
        states.only(State::Unknown);
        states
    }))
}

fn request_duration(make: &Maker<'_>) -> Result<Per<By, Histogram>> {
    histogram_per(
        make,
        "bascule_request_duration_seconds",
        "From a request's head to the end of its answer without the time parked, by who answered or should have.",
        "side",
        REQUEST_SECONDS,
    )
}

fn handshakes(make: &Maker<'_>) -> Result<Handshakes> {
    let labels = ["version", "alpn", "result"];
    let family = make.counters("bascule_tls_handshakes_total", "TLS handshakes with clients.", &labels)?;
    Ok(Per::new(|version: TlsVersion| {
        Per::new(|alpn: Alpn| {
            Per::new(|handshake: Handshake| {
                family.with_label_values(&[version.label(), alpn.label(), handshake.label()])
            })
        })
    }))
}

fn key_exchanges(make: &Maker<'_>) -> Result<Per<KeyExchange, IntCounter>> {
    let help = "TLS handshakes with clients by the group of their key exchange.";
    counter_per(make, "bascule_tls_key_exchanges_total", help, "group")
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
