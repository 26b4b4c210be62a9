//! The engine: reads the clock, runs the probes, feeds the machines and carries out what they decide. It decides
//! nothing.
//!
//! One task on a thread of its own, so that no load on the request path delays a decision.

mod act;
mod certificates;
mod clock;
mod maintenance;
mod mistakes;
mod monitor;
mod nodes;
mod order;
mod plan;
mod probes;
mod record;
mod report;
#[cfg(test)]
mod simulation;
mod site;
mod switcher;
mod switchover;
mod tell;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use failover::health;
use failover::switch;
use failover::verdict::{self, ProbeId, Verdict};
use failover::{Instant, PerSide, Side};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use self::clock::Clock;
use self::mistakes::{Mistake, made};
use self::monitor::{Finished, Known, Monitor, id_of};
use self::nodes::Nodes;
pub use self::nodes::NodesMeans;
pub use self::order::Handle;
use self::order::Order;
pub use self::plan::{Plan, PlanError, carriage_of, checks_of, rehearse, title};
pub use self::probes::{CheckError, probe as probe_of};
use self::switcher::Switcher;
use self::switchover::SwitchoverDriver;
use crate::admin::api::{ConfigurationStatus, Time};
use crate::live::state::{Beginning, State};
use crate::live::{Mode, View};
use crate::site::nodes::{Rate, STALE};
use crate::telemetry::metrics::{self, Metrics};
use crate::traffic::edge::Edge;

/// Orders that may wait for the loop: a few operators and a scraper.
const ORDERS: usize = 64;
/// Probe results that may wait for the loop; a prober waits when there are more.
const RESULTS: usize = 256;
/// Probes that run at once, over all checks. Each holds a socket, and an Edge without sockets carries nobody.
const PROBES: usize = 256;
/// The loop turns at least so often, whatever the machines want: from outside, a loop that rests and one that hangs
/// look alike, and `/healthz` goes by its turns.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Changes of a side's health that are written down: more than a bad night has, and in a week less than the journal
/// keeps.
const HEALTH_SENTENCES: Rate = Rate::new(100, Duration::from_secs(10));

/// The parts that every engine is given.
pub struct Means {
    /// The request path's side of things: live side, connections, sessions, the site in force.
    pub edge: Arc<Edge>,
    /// The live side, journal and reports on the disk.
    pub state: Arc<State>,
    /// The Edge's metrics.
    pub metrics: Arc<Metrics>,
}

/// The engine.
pub struct Engine {
    means: Means,
    clock: Clock,
    plan: Plan,
    monitor: Monitor,
    switcher: Switcher,
    work: VecDeque<Work>,
    orders: mpsc::Receiver<Order>,
    pulse: Arc<AtomicU64>,
    alarms: Vec<String>,
    configuration: ConfigurationStatus,
    draining: bool,
    health_sentences: PerSide<Rate>,
    /// None: an Edge alone, which moves traffic and nothing else.
    switchover: Option<SwitchoverDriver>,
}

/// The reasons for which the loop wakes. Only one is taken with each turn, orders first: an operator is not kept
/// waiting by probes.
enum Woken {
    Order(Order),
    Result(Finished),
    Signs,
    Time,
}

/// An event that is still to be fed to a machine.
enum Work {
    Judge(usize, verdict::Event),
    Health(health::Event),
    Switch(switch::Event),
}

impl Engine {
    /// Prepares the engine. Nothing runs yet.
    ///
    /// # Errors
    /// A check of the configuration cannot be probed.
    pub fn new(means: Means, beginning: Beginning) -> Result<(Self, Handle), PlanError> {
        let clock = Clock::start();
        let plan = Plan::new(means.edge.site(), clock)?;
        let now = clock.now();
        let mut remembered = record::remember(beginning);
        let alarms = std::mem::take(&mut remembered.alarms);
        let (sender, orders) = mpsc::channel(ORDERS);
        let pulse = Arc::new(AtomicU64::new(0));
        let handle = Handle::new(sender, pulse.clone(), clock, &means);
        let policy = plan.site.config.switch_policy();
        let mut engine = Self {
            monitor: Monitor::new(plan.topology.clone(), now),
            switcher: Switcher::new(policy, remembered, means.state.clone(), now),
            work: VecDeque::new(),
            orders,
            pulse,
            alarms,
            configuration: ConfigurationStatus { loaded: Some(Time::now()), broken: None },
            draining: false,
            health_sentences: PerSide { main: HEALTH_SENTENCES, standby: HEALTH_SENTENCES },
            switchover: None,
            means,
            clock,
            plan,
        };
        engine.judge_anew(HashMap::new());
        // Before anybody is served.
        engine.show_maintenance();
        engine.publish();
        Ok((engine, handle))
    }

    /// Gives it an endpoint for nodes.
    pub fn with_nodes(mut self, means: NodesMeans) -> Self {
        self.switchover = Some(SwitchoverDriver::new(Nodes::new(means)));
        self
    }

    /// Turns until the handle's last clone is gone.
    pub async fn run(mut self) {
        self.note_start().await;
        loop {
            let due = self.deadline();
            let site = self.plan.site.clone();
            let woken = tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => Woken::Order(order),
                    None => return,
                },
                Some(finished) = self.monitor.finished() => Woken::Result(finished),
                () = site.upstreams.signs.raised() => Woken::Signs,
                () = sleep_until(self.clock.wake(due)) => Woken::Time,
            };
            self.notice_lag(due).await;
            match woken {
                Woken::Order(order) => self.obey(order).await,
                Woken::Result(finished) => self.take_result(finished),
                Woken::Signs => self.take_signs(),
                Woken::Time => self.take_time(due),
            }
            self.turn().await;
            self.go_on_with_switchover().await;
            self.end_maintenance().await;
            self.publish();
        }
    }

    fn deadline(&self) -> Instant {
        let switchover = self.switchover.as_ref().and_then(SwitchoverDriver::deadline);
        // A maintenance ends by the wall clock, as its operator said it: reckoned anew with each turn, should that be set.
        let maintenance = self.switcher.maintenance.next_end(Time::now()).map(|left| self.clock.now() + left);
        let machines = [self.monitor.deadline(), self.switcher.switch.deadline(), switchover, maintenance];
        let site = &self.plan.site;
        let suspicion = site.config.probe.suspicion;
        // A backend that leaves requests unanswered raises no event. It is found by looking, a third of its time late
        // at most.
        let longest = if site.upstreams.await_answers() { suspicion / 3 } else { LONGEST_SLEEP.min(suspicion) };
        machines.into_iter().flatten().min().unwrap_or(Instant::ORIGIN + Duration::MAX).min(self.clock.now() + longest)
    }

    /// Doubts the Edge if its loop slept, before anything else is looked at: what came meanwhile waits in the
    /// channels, and what was known has grown old without it. An order or a result that wakes the loop first must not
    /// hide that.
    async fn notice_lag(&mut self, due: Instant) {
        let lag = self.clock.now().since(due);
        if lag > self.plan.site.config.switch_policy().lag_limit {
            self.work.push_front(Work::Switch(switch::Event::Lagged { by: lag }));
            self.turn().await;
        }
    }

    fn take_time(&mut self, due: Instant) {
        let now = self.clock.now();
        self.means.metrics.loop_lag.set(now.since(due).as_secs_f64());
        // From below upwards: what has grown old is known to be old before the machine above it decides on it.
        if made(Mistake::ProbesEachTurn) {
            let all = 0..self.monitor.checks();
            self.work.extend(all.map(|check| Work::Judge(check, verdict::Event::Reprobe)));
        }
        self.plan.site.upstreams.suspect_the_quiet(self.plan.site.config.probe.suspicion);
        let due = self.monitor.due(now);
        self.work.extend(due.into_iter().map(|check| Work::Judge(check, verdict::Event::Timer)));
        self.tick_nodes();
        self.work.push_back(Work::Health(health::Event::Timer));
        self.work.push_back(Work::Switch(switch::Event::Timer));
    }

    fn take_signs(&mut self) {
        for (backend, sign) in self.plan.site.upstreams.signs.take() {
            let checks = self.plan.backends.get(backend).map(|place| place.checks.clone()).unwrap_or_default();
            for check in checks {
                self.work.push_back(Work::Judge(check.index(), verdict::Event::Sign(sign)));
            }
        }
    }

    fn take_result(&mut self, finished: Finished) {
        // After a reload its number is another check's.
        if !self.monitor.is_current(&finished) {
            return;
        }
        let Finished { mut check, id, report, .. } = finished;
        if made(Mistake::ChecksMixedUp) {
            check = (check + 1) % self.monitor.checks();
        }
        self.note_probe(check, &report);
        let event = match report.outcome() {
            Some(outcome) => verdict::Event::Finished { id, outcome },
            None => verdict::Event::Abandoned { id },
        };
        self.work.push_back(Work::Judge(check, event));
    }

    /// Feeds the machines until nothing is left to feed.
    async fn turn(&mut self) {
        while let Some(work) = self.work.pop_front() {
            let now = self.clock.now();
            match work {
                Work::Judge(check, event) => {
                    for output in self.monitor.judge(check, event, now) {
                        self.on_verdict(check, output);
                    }
                }
                Work::Health(event) => {
                    for output in self.monitor.health.handle(event, now) {
                        self.on_health(output);
                    }
                }
                Work::Switch(event) => {
                    let _ = self.decide(event, None).await;
                }
            }
        }
        // Only here: a loop that turns and feeds no machine is not alive.
        self.pulse.store(self.clock.now().as_micros(), Ordering::Release);
    }

    fn on_verdict(&mut self, check: usize, output: verdict::Output) {
        let report = match output {
            verdict::Output::StartProbe { id, .. } => return self.start_probe(check, id),
            verdict::Output::Changed { from, report } => {
                self.note_verdict(check, from, &report);
                report
            }
            verdict::Output::Confirmed { report } => report,
            verdict::Output::Suspected { .. } => return self.on_suspicion(check),
        };
        self.work.push_back(Work::Health(health::Event::Verdict { check: id_of(check), report }));
    }

    /// Has the other side probed before it is needed: an automatic move wants an answer of the target that is newer
    /// than the trouble, and users would wait for it. What nothing depends on moves no traffic, and is no reason to
    /// probe more.
    fn on_suspicion(&mut self, check: usize) {
        let place = &self.plan.backends[self.plan.checks[check].backend];
        if let Some(side) = place.side
            && self.plan.site.config.services[place.service.0].required
        {
            self.work.push_back(Work::Switch(switch::Event::Suspected { side }));
        }
    }

    fn on_health(&mut self, output: health::Output) {
        match output {
            health::Output::ServiceChanged { .. } => self.note_service(&output),
            health::Output::SideChanged { side, health, .. } => {
                self.note_side(side, &output);
                self.work.push_back(Work::Switch(switch::Event::Health { side, health }));
            }
            // Nothing has changed but the evidence is newer, and the switch decides on that alone.
            health::Output::SideConfirmed { side, health } => {
                self.work.push_back(Work::Switch(switch::Event::Health { side, health }));
            }
        }
    }

    fn start_probe(&mut self, check: usize, id: ProbeId) {
        let probe = self.plan.checks[check].probe.clone();
        if !self.monitor.start(check, id, probe) {
            self.work.push_back(Work::Judge(check, verdict::Event::Abandoned { id }));
        }
    }

    /// Watches the present plan; checks that were there before keep what is known of them.
    fn judge_anew(&mut self, known: Known) {
        let now = self.clock.now();
        self.monitor.forget_health(self.plan.topology.clone(), now);
        // Before any verdict: a side that says it does not serve must not seem to for a moment.
        self.hear(|_, _| true);
        self.monitor.adopt(&self.plan, known, now);
        let verdicts = self.monitor.verdicts().into_iter();
        self.work.extend(verdicts.map(|(check, report)| Work::Health(health::Event::Verdict { check, report })));
        for check in 0..self.monitor.checks() {
            // A new site's balancers and gauges know nothing of what was judged before.
            self.show_verdict(check);
            self.work.push_back(Work::Judge(check, verdict::Event::Timer));
        }
    }

    /// Tells the request path where to send requests.
    fn publish(&mut self) {
        let (now, live) = (self.clock.now(), self.switcher.switch.live());
        if made(Mistake::Unpublished) && self.switcher.switch.epoch() > 0 {
            return;
        }
        let state = self.monitor.health.side(live).state;
        let judged = self.monitor.has_judged(state, &self.plan.site.config.probe.policy(), now);
        let known = switch::Known { judged, switchover: self.awaits_switchover() };
        let mode = self.switcher.switch.mode(known, now);
        let mode = if made(Mistake::AlwaysServing) { Mode::Serving } else { mode };
        self.means.edge.live.publish(View { side: live, mode, epoch: self.switcher.switch.epoch() });
        #[cfg(test)]
        simulation::turned();
        let metrics = &self.means.metrics;
        metrics.live(live, self.switcher.switch.epoch());
        self.count_switchover();
        metrics.parked.set(i64::try_from(self.means.edge.parking.parked()).unwrap_or(i64::MAX));
        let open = self.means.edge.admission.open() + self.means.edge.drain.late.open();
        metrics.connections_open.set(i64::try_from(open).unwrap_or(i64::MAX));
        let held = self.means.edge.admission.budget.used();
        metrics.request_memory.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    fn note_probe(&mut self, check: usize, report: &probe::Report) {
        self.monitor.note(check, report);
        self.check_metrics(check, |counted| {
            counted.probed(probes::label(report), report.timings.total.as_secs_f64());
            if let Some(certificate) = &report.certificate {
                counted.certificate(certificate.term);
            }
        });
    }

    /// Tells balancers and gauges what a check is judged to be.
    fn show_verdict(&self, check: usize) {
        let verdict = self.monitor.report(check).verdict;
        self.check_metrics(check, |counted| counted.verdict(verdict));
        let backend = self.plan.checks[check].backend;
        let checks = &self.plan.backends[backend].checks;
        // What is not known yet gets requests: at the start nothing is, and a request that fails tells as much as a
        // probe.
        let up = checks.iter().all(|check| self.monitor.report(check.index()).verdict != Verdict::Down);
        self.plan.site.upstreams.set_up(backend, up);
    }

    fn note_verdict(&mut self, check: usize, from: Verdict, report: &verdict::Report) {
        self.show_verdict(check);
        let planned = &self.plan.checks[check];
        let place = &self.plan.backends[planned.backend];
        let service = &self.plan.site.config.services[place.service.0].name;
        let side = place.side.map_or("shared", Side::label);
        let (backend, check) = (&place.name, &planned.name);
        if report.verdict == Verdict::Down {
            tracing::warn!(side, %service, %backend, %check, port = planned.port, %from, "{report}");
        } else {
            tracing::info!(side, %service, %backend, %check, port = planned.port, %from, "{report}");
        }
    }

    fn check_metrics<T>(&self, check: usize, act: impl FnOnce(&metrics::CheckMetrics) -> T) -> Option<T> {
        let planned = &self.plan.checks[check];
        let place = &self.plan.backends[planned.backend];
        let service = self.plan.site.counted.services.get(place.service.0)?;
        let backend = service.backends(place.side.unwrap_or(Side::Main)).get(place.position)?;
        backend.checks.get(planned.position).map(act)
    }
}
