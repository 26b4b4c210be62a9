//! Metrics whose labels name routes, services, backends and checks: one set of children for each configuration.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use daemon::Maker;
use failover::Side;
use failover::verdict::Verdict;
use probe::tls::Term;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result};

use super::labels::{AnswerFailure, By, Class, ConnectFailure, Per, ProbeOutcome, ZoneOutcome};
use super::make::Family;
use super::passes::{PassFamilies, PassMetrics};
use crate::config::{Backend, Config, Place, Route, Service};
use crate::telemetry::logging::Ended;

/// From a kernel's answer on a LAN to a time limit.
const PROBE_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// A service without checks is asked for a connection.
const DEFAULT_CHECK: &str = "tcp";

/// Children of one configuration.
#[derive(Debug)]
pub struct Configured {
    /// In the order of [`Config::routes`].
    pub routes: Vec<RouteMetrics>,
    /// In the order of [`Config::services`].
    pub services: Vec<ServiceMetrics>,
    /// In the order of [`Config::pass`].
    pub passes: Vec<PassMetrics>,
    /// In the order of [`Config::zones`].
    pub zones: Vec<Per<ZoneOutcome, IntCounter>>,
}

/// One route's.
#[derive(Debug)]
pub struct RouteMetrics {
    requests: Per<By, Per<Class, IntCounter>>,
    /// WebSocket sessions open now, by where they end.
    pub sessions_open: Per<By, IntGauge>,
    /// WebSocket sessions that ended, by why.
    pub sessions_ended: Per<Ended, IntCounter>,
}

impl RouteMetrics {
    /// Counts a request that was answered with this status.
    pub fn answered(&self, by: By, status: u16) {
        self.requests.of(by).of(Class::of(status)).inc();
    }
}

/// One service's.
#[derive(Debug)]
pub struct ServiceMetrics {
    places: Vec<(By, PlaceMetrics)>,
}

/// A service's on one side, or shared.
#[derive(Debug)]
struct PlaceMetrics {
    connect_failures: Per<ConnectFailure, IntCounter>,
    answer_failures: Per<AnswerFailure, IntCounter>,
    backends: Vec<BackendMetrics>,
}

impl ServiceMetrics {
    fn place(&self, side: Side) -> Option<&PlaceMetrics> {
        let wanted = By::side(side);
        // A service is of both sides or shared, never both: the first that fits is the one.
        self.places.iter().find(|(by, _)| *by == wanted || *by == By::Shared).map(|(_, place)| place)
    }

    /// Counts an upstream that could not be connected while that side was live.
    pub fn connect_failed(&self, side: Side, how: ConnectFailure) {
        if let Some(place) = self.place(side) {
            place.connect_failures.of(how).inc();
        }
    }

    /// Counts a request that an upstream had got while that side was live, and failed.
    pub fn answer_failed(&self, side: Side, how: AnswerFailure) {
        if let Some(place) = self.place(side) {
            place.answer_failures.of(how).inc();
        }
    }

    /// In the order of [`Service::backends`].
    pub fn backends(&self, side: Side) -> &[BackendMetrics] {
        self.place(side).map_or(&[], |place| &place.backends)
    }
}

/// One backend's.
#[derive(Debug)]
pub struct BackendMetrics {
    /// In the order of [`Service::checks`]; one if there are none.
    pub checks: Vec<CheckMetrics>,
}

/// One check's of one backend.
#[derive(Debug)]
pub struct CheckMetrics {
    verdict: Per<Verdict, IntGauge>,
    probes: Per<ProbeOutcome, IntCounter>,
    duration: Histogram,
    certificate: OnceLock<Terms<IntGauge>>,
    certificates: Terms<IntGaugeVec>,
    labels: [String; 4],
}

impl CheckMetrics {
    /// Counts a probe and how long it took, in seconds.
    pub fn probed(&self, outcome: ProbeOutcome, seconds: f64) {
        self.probes.of(outcome).inc();
        self.duration.observe(seconds);
    }

    /// The verdict changed.
    pub fn verdict(&self, state: Verdict) {
        self.verdict.only(state);
    }

    /// Says from when until when the certificate it was shown is good. Before that there is no series: 0 would mean 1970.
    pub fn certificate(&self, term: Term) {
        let Terms { begin, end } = self.certificate.get_or_init(|| Terms {
            begin: self.certificates.begin.with_label_values(&self.labels),
            end: self.certificates.end.with_label_values(&self.labels),
        });
        begin.set(term.not_before);
        end.set(term.not_after);
    }
}

/// The families that the children of all configurations are made of.
#[derive(Debug)]
pub(super) struct Families {
    configurations: AtomicU64,
    requests: Family<IntCounterVec>,
    sessions_open: Family<IntGaugeVec>,
    sessions_ended: Family<IntCounterVec>,
    connect_failures: Family<IntCounterVec>,
    answer_failures: Family<IntCounterVec>,
    passes: PassFamilies,
    verdicts: Family<IntGaugeVec>,
    probes: Family<IntCounterVec>,
    zones: Family<IntCounterVec>,
    probe_duration: Family<HistogramVec>,
    probe_certificates: Terms<IntGaugeVec>,
    certificates: Terms<Family<IntGaugeVec>>,
}

/// Both ends of certificates' terms: what counts as soon depends on how long they live.
#[derive(Debug, Clone)]
struct Terms<M> {
    begin: M,
    end: M,
}

impl Families {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self> {
        let check = ["side", "service", "backend", "check", "state"];
        Ok(Self {
            configurations: AtomicU64::new(0),
            requests: Family::new(make.counters(
                "bascule_requests_total",
                "Requests answered, by who answered or should have.",
                &["route", "side", "code"],
            )?),
            sessions_open: Family::new(make.gauges(
                "bascule_sessions_open",
                "WebSocket sessions open now, by where they end.",
                &["route", "side"],
            )?),
            sessions_ended: Family::new(make.counters(
                "bascule_sessions_ended_total",
                "WebSocket sessions that ended, by why.",
                &["route", "reason"],
            )?),
            connect_failures: Family::new(make.counters(
                "bascule_upstream_connect_failures_total",
                "Connections to upstreams that failed.",
                &["side", "service", "kind"],
            )?),
            answer_failures: Family::new(make.counters(
                "bascule_upstream_answer_failures_total",
                "Requests an upstream got and failed, those that were sent again too.",
                &["side", "service", "kind"],
            )?),
            passes: PassFamilies::new(make)?,
            verdicts: Family::new(make.gauges("bascule_check_verdict", "1: the verdict of the check.", &check)?),
            probes: Family::new(make.counters(
                "bascule_probes_total",
                "Probes made, by what they came to.",
                &["side", "service", "check", "outcome"],
            )?),
            zones: zone_requests(make)?,
            probe_duration: Family::new(make.histograms(
                "bascule_probe_duration_seconds",
                "How long a probe took.",
                &["side", "service", "check"],
                PROBE_SECONDS,
            )?),
            probe_certificates: Terms {
                begin: make.gauges(
                    "bascule_probe_certificate_not_before_timestamp_seconds",
                    "From when the certificate a backend shows is good.",
                    &check[..4],
                )?,
                end: make.gauges(
                    "bascule_probe_certificate_not_after_timestamp_seconds",
                    "When the certificate a backend shows expires.",
                    &check[..4],
                )?,
            },
            certificates: Terms {
                begin: Family::new(make.gauges(
                    "bascule_certificate_not_before_timestamp_seconds",
                    "From when a certificate shown to clients is good.",
                    &["name"],
                )?),
                end: Family::new(make.gauges(
                    "bascule_certificate_not_after_timestamp_seconds",
                    "When a certificate shown to clients expires.",
                    &["name"],
                )?),
            },
        })
    }

    pub(super) fn configure(&self, config: &Config) -> Configured {
        let number = self.configurations.fetch_add(1, Ordering::Relaxed) + 1;
        // What an old configuration's probes said of certificates is said again by the next probe.
        self.probe_certificates.begin.reset();
        self.probe_certificates.end.reset();
        let configured = Configured {
            routes: config.routes.iter().map(|route| self.route(number, config, route)).collect(),
            services: config.services.iter().map(|service| self.service(number, service)).collect(),
            passes: config.pass.iter().map(|pass| self.passes.of(number, pass)).collect(),
            zones: config.zones.iter().map(|zone| self.zone(number, &zone.name)).collect(),
        };
        let counters = [
            &self.requests,
            &self.sessions_ended,
            &self.connect_failures,
            &self.answer_failures,
            &self.probes,
            &self.zones,
        ];
        // Behind the naming: a child that stays is never gone between two scrapes, and goes on counting.
        for counters in counters {
            counters.retire(number);
        }
        self.sessions_open.retire(number);
        self.passes.retire(number);
        self.verdicts.retire(number);
        self.probe_duration.retire(number);
        configured
    }

    pub(super) fn certificates<'a>(&self, certificates: impl IntoIterator<Item = (&'a str, Term)>) {
        let number = self.configurations.fetch_add(1, Ordering::Relaxed) + 1;
        for (name, term) in certificates {
            self.certificates.begin.child(number, &[name]).set(term.not_before);
            self.certificates.end.child(number, &[name]).set(term.not_after);
        }
        self.certificates.begin.retire(number);
        self.certificates.end.retire(number);
    }

    fn route(&self, number: u64, config: &Config, route: &Route) -> RouteMetrics {
        let shared = config.services.get(route.service.0).is_some_and(Service::is_shared);
        let name = route.name.as_str();
        RouteMetrics {
            requests: Per::new(|by: By| {
                Per::new(|class: Class| match serves(by, shared) {
                    true => self.requests.child(number, &[name, by.label(), class.label()]),
                    false => unseen_counter(),
                })
            }),
            sessions_open: Per::new(|by: By| match serves(by, shared) && by != By::Edge {
                true => self.sessions_open.child(number, &[name, by.label()]),
                false => unseen_gauge(),
            }),
            sessions_ended: Per::new(|why: Ended| self.sessions_ended.child(number, &[name, why.label()])),
        }
    }

    fn zone(&self, number: u64, name: &str) -> Per<ZoneOutcome, IntCounter> {
        Per::new(|outcome: ZoneOutcome| self.zones.child(number, &[name, outcome.label()]))
    }

    fn service(&self, number: u64, service: &Service) -> ServiceMetrics {
        let places = match &service.place {
            Place::Sides { main, standby } => vec![(By::Main, main), (By::Standby, standby)],
            Place::Shared(backends) => vec![(By::Shared, backends)],
        };
        let place = |(by, backends): (By, &Vec<Backend>)| (by, self.place(number, service, by, backends));
        ServiceMetrics { places: places.into_iter().map(place).collect() }
    }

    fn place(&self, number: u64, service: &Service, by: By, backends: &[Backend]) -> PlaceMetrics {
        let side_and_service = [by.label(), service.name.as_str()];
        let [side, name] = side_and_service;
        PlaceMetrics {
            connect_failures: Per::new(|how: ConnectFailure| {
                self.connect_failures.child(number, &[side, name, how.label()])
            }),
            answer_failures: Per::new(|how: AnswerFailure| {
                self.answer_failures.child(number, &[side, name, how.label()])
            }),
            backends: backends.iter().map(|backend| self.backend(number, service, side_and_service, backend)).collect(),
        }
    }

    fn backend(&self, number: u64, service: &Service, [side, name]: [&str; 2], backend: &Backend) -> BackendMetrics {
        let address = backend.address.to_string();
        let check = |check: &str| CheckMetrics {
            verdict: {
                let verdict = Per::new(|state: Verdict| {
                    self.verdicts.child(number, &[side, name, &address, check, state.label()])
                });
                verdict.only(Verdict::Unknown);
                verdict
            },
            probes: Per::new(|outcome: ProbeOutcome| self.probes.child(number, &[side, name, check, outcome.label()])),
            duration: self.probe_duration.child(number, &[side, name, check]),
            certificate: OnceLock::new(),
            certificates: self.probe_certificates.clone(),
            labels: [side, name, &address, check].map(str::to_owned),
        };
        match service.checks.as_slice() {
            [] => BackendMetrics { checks: vec![check(DEFAULT_CHECK)] },
            checks => BackendMetrics { checks: checks.iter().map(|one| check(&one.name)).collect() },
        }
    }
}

fn zone_requests(make: &Maker<'_>) -> Result<Family<IntCounterVec>> {
    let help = "Requests on routes with a zone, by what it made of them.";
    Ok(Family::new(make.counters("bascule_zone_requests_total", help, &["zone", "outcome"])?))
}

/// Who can answer on a route: a side's service or a shared one, and always the Edge. No series for what cannot be.
fn serves(by: By, shared: bool) -> bool {
    match by {
        By::Main | By::Standby => !shared,
        By::Shared => shared,
        By::Edge => true,
    }
}

/// Counts what cannot be, in no registry.
fn unseen_counter() -> IntCounter {
    IntCounter::new("unseen", "unseen").expect("the name is valid")
}

/// Counts what cannot be, in no registry.
fn unseen_gauge() -> IntGauge {
    IntGauge::new("unseen", "unseen").expect("the name is valid")
}
