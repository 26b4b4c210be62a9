//! Watches the site: runs probes, has verdicts made of what they find, and from them the health of both sides. What follows
//! from that is for others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use failover::Instant;
use failover::health::{CheckId, Health, State as HealthState, Topology};
use failover::verdict::{self, Judge, Pace, ProbeId, Verdict};
use probe::FailureKind;
use probe::tls::Term;
use tokio::sync::{Semaphore, mpsc};

use super::plan::{CheckKey, Plan};
use super::probes;
use super::{PROBES, RESULTS, STALE};
use crate::admin::api::Time;

/// The judges of one plan's checks, and what they make of its sides.
pub(super) struct Monitor {
    /// Tells one configuration's probes from the next one's.
    generation: u64,
    jitter: Duration,
    judges: Vec<Judge>,
    /// Added to the next calm probe's start, by check.
    offsets: Vec<Duration>,
    last: Vec<Option<LastProbe>>,
    pub(super) health: Health,
    /// A verdict or the end of the opening has been seen: from then on not knowing is no reason to wait.
    judged: bool,
    results: mpsc::Receiver<Finished>,
    report: mpsc::Sender<Finished>,
    probes: Arc<Semaphore>,
}

/// The newest outcome of a check, as operators are shown it: the judge keeps no words.
#[derive(Debug, Clone)]
pub(super) struct LastProbe {
    pub(super) at: Time,
    pub(super) detail: String,
    pub(super) took: Duration,
    pub(super) certificate: Option<Term>,
    /// The handshake failed, or the certificate is not trusted.
    pub(super) failed_tls: bool,
}

/// A probe that came to its end.
pub(super) struct Finished {
    pub(super) check: usize,
    pub(super) id: ProbeId,
    pub(super) report: probe::Report,
    generation: u64,
}

/// What was known of checks before another configuration, by their names.
pub(super) type Known = HashMap<CheckKey, (Judge, Option<LastProbe>)>;

impl Monitor {
    /// Watches nothing yet: [`Monitor::adopt`] gives it checks.
    pub(super) fn new(topology: Topology, now: Instant) -> Self {
        let (report, results) = mpsc::channel(RESULTS);
        Self {
            generation: 0,
            jitter: Duration::ZERO,
            judges: Vec::new(),
            offsets: Vec::new(),
            last: Vec::new(),
            health: Health::new(topology, STALE, now),
            judged: false,
            results,
            report,
            probes: Arc::new(Semaphore::new(PROBES)),
        }
    }

    /// Takes out what is known of the checks of `plan`, before another is adopted. Results of theirs that are still to come
    /// belong to nobody any more.
    pub(super) fn leave(&mut self, plan: &Plan) -> Known {
        self.generation += 1;
        let known = std::mem::take(&mut self.judges).into_iter().zip(std::mem::take(&mut self.last));
        (0..plan.checks.len()).map(|check| plan.key(check)).zip(known).collect()
    }

    /// Watches what `plan` has; checks that were there before keep what is known of them. Their verdicts are to be told to
    /// the new health.
    pub(super) fn adopt(&mut self, plan: &Plan, mut known: Known, now: Instant) {
        let policy = plan.site.config.probe.policy();
        self.jitter = policy.jitter;
        for check in 0..plan.checks.len() {
            let (judge, last) = match known.remove(&plan.key(check)) {
                // By other thresholds another verdict might have been made of the same outcomes.
                Some((judge, last)) if *judge.policy() == policy => (judge, last),
                _ => (Judge::new(policy, now), None),
            };
            self.judges.push(judge);
            self.last.push(last);
        }
        self.offsets = self.judges.iter().map(|_| self.jitter.mul_f64(fastrand::f64())).collect();
    }

    /// Forgets the health of the sides, which is then made anew of the verdicts.
    pub(super) fn forget_health(&mut self, topology: Topology, now: Instant) {
        self.health = Health::new(topology, STALE, now);
    }

    /// The verdicts that there are, to be told to a health that knows of none.
    pub(super) fn verdicts(&self) -> Vec<(CheckId, verdict::Report)> {
        let reports = self.judges.iter().enumerate().map(|(check, judge)| (id_of(check), judge.report()));
        reports.filter(|(_, report)| report.verdict != Verdict::Unknown).collect()
    }

    /// How many checks are judged; they are numbered from 0.
    pub(super) const fn checks(&self) -> usize {
        self.judges.len()
    }

    /// When the judges or the health want to be called again; may change with each event fed to them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let judges = self.judges.iter().zip(&self.offsets).filter_map(|(judge, offset)| due_at(judge, *offset));
        judges.chain(self.health.deadline()).min()
    }

    /// The checks whose time has come.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        let all = self.judges.iter().zip(&self.offsets).enumerate();
        all.filter(|(_, (judge, offset))| due_at(judge, **offset).is_some_and(|at| at <= now))
            .map(|(check, _)| check)
            .collect()
    }

    /// Waits for the next probe that comes to its end.
    pub(super) async fn finished(&mut self) -> Option<Finished> {
        self.results.recv().await
    }

    /// Whether a probe belongs to the checks of now.
    pub(super) const fn is_current(&self, finished: &Finished) -> bool {
        finished.generation == self.generation
    }

    /// Feeds a check's judge what happened, and returns what it makes of that.
    pub(super) fn judge(&mut self, check: usize, event: verdict::Event, now: Instant) -> Vec<verdict::Output> {
        self.judges[check].handle(event, now)
    }

    /// Starts a probe, and tells whether there was room for one. A lack of room is the Edge's own trouble, and is not held
    /// against the backend.
    pub(super) fn start(&mut self, check: usize, id: ProbeId, probe: Arc<probe::Check>) -> bool {
        self.offsets[check] = self.jitter.mul_f64(fastrand::f64());
        let Ok(permit) = self.probes.clone().try_acquire_owned() else { return false };
        let (report, generation) = (self.report.clone(), self.generation);
        tokio::spawn(async move {
            let finished = Finished { check, id, report: probes::run(&probe).await, generation };
            // Before it waits for the loop: one that stands still must not use up the probes of all checks.
            drop(permit);
            // The engine is gone when nobody listens.
            let _ = report.send(finished).await;
        });
        true
    }

    /// Keeps what a probe came to, for people.
    pub(super) fn note(&mut self, check: usize, report: &probe::Report) {
        self.last[check] = Some(LastProbe {
            at: Time::now(),
            detail: report.detail().to_owned(),
            took: report.timings.total,
            certificate: report.certificate.as_ref().map(|certificate| certificate.term),
            failed_tls: report.result.as_ref().is_err_and(|failure| failure.kind == FailureKind::Tls),
        });
    }

    /// What each check's newest probe came to.
    pub(super) fn last(&self) -> &[Option<LastProbe>] {
        &self.last
    }

    /// The verdict of a check, and what it rests on.
    pub(super) fn report(&self, check: usize) -> verdict::Report {
        self.judges[check].report()
    }

    /// Whether a side in such a state has been judged once, or there was time enough for it.
    pub(super) fn has_judged(&mut self, state: HealthState, policy: &verdict::Policy, now: Instant) -> bool {
        let opening = policy.interval + policy.time_limit;
        self.judged |= state != HealthState::Unknown || now.since(Instant::ORIGIN) > opening;
        self.judged
    }
}

fn due_at(judge: &Judge, offset: Duration) -> Option<Instant> {
    let at = judge.deadline()?;
    // Calm probes are spread, or all checks of a site would be probed at one instant, again and again. What settles a
    // verdict is not: users wait for it.
    Some(if judge.pace() == Pace::Calm { at + offset } else { at })
}

/// A check's number, as the machines have it.
pub(super) fn id_of(check: usize) -> CheckId {
    CheckId(u16::try_from(check).unwrap_or(u16::MAX))
}
