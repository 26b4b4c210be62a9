//! The machine that schedules the probes of one check and judges it by their outcomes.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{Failure, Outcome, Policy, Reason, Report, Sign, Verdict};
use crate::time::Instant;

/// Judges one check against one backend.
///
/// ```text
///                     rise successes in a row
///            +-------------------------------------+
///            |                                     |
///            v       fall failures in a row        |
///   +-----> Up ---------------------------------> Down <----+
///   |        |                                     |        |
///   | 1      |   no outcome for stale_after        |        | fall failures
///   | success|                                     |        | in a row
///   |        +-----------> Unknown <---------------+        |
///   |                        |  |                           |
///   +------------------------+  +---------------------------+
/// ```
///
/// One success is enough to leave `Unknown`: nothing speaks against it, and a restarted Edge must know within about a
/// second whom it may send users to. Against an established verdict it takes `rise` or `fall` outcomes in a row, counted
/// by one counter.
///
/// Outcomes may arrive out of order, as probes overlap. An outcome counts only if no probe started later has already
/// ended the other way: newer evidence is never overridden by older, while older evidence that agrees still counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Judge {
    pub(super) policy: Policy,
    pub(super) now: Instant,
    pub(super) report: Report,
    /// Outcomes in a row that speak against the verdict; in `Unknown`, failures in a row.
    pub(super) against: u32,
    pub(super) schedule: Schedule,
    /// Probes under way, oldest first; never more than `policy.in_flight`.
    pub(super) flights: Vec<Flight>,
    pub(super) next: ProbeId,
    pub(super) last_start: Option<Instant>,
    pub(super) last_outcome: Instant,
    pub(super) newest_ok: ProbeId,
    pub(super) newest_failed: ProbeId,
    /// When somebody asked for a probe out of turn, the earliest time for it.
    pub(super) asked: Option<Instant>,
    /// No probe before this: the prober could not run one.
    pub(super) held_until: Instant,
}

/// What happens to a [`Judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// A probe ended, in whatever way.
    Finished {
        /// The probe, by the number it was started with.
        id: ProbeId,
        /// Whether it was answered, or how not.
        outcome: Outcome,
    },
    /// A probe could not be run, or was given up on our side: it says nothing about the backend.
    Abandoned {
        /// The probe that was given up.
        id: ProbeId,
    },
    /// Live traffic met trouble at this backend.
    Sign(Sign),
    /// Somebody wants fresh evidence now.
    Reprobe,
}

/// What a driver must do for a [`Judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Start a probe; report its end as [`Event::Finished`] within the policy's time limit, or as [`Event::Abandoned`].
    StartProbe {
        /// The number that its outcome must bear.
        id: ProbeId,
        /// Why now: for the trace, and for metrics.
        reason: ProbeReason,
    },
    /// The verdict changed, by evidence or by its lack.
    Changed {
        /// Before this evidence, or before the last one was too old to count.
        from: Verdict,
        /// The verdict now, and why.
        report: Report,
    },
    /// The first bad sign came; probes follow until the verdict is settled.
    Suspected {
        /// A failed probe, or a passive signal of live traffic.
        reason: ProbeReason,
    },
    /// A newer probe supports the same verdict.
    Confirmed {
        /// The verdict and its newest evidence.
        report: Report,
    },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartProbe { id, reason } => write!(f, "start probe {id}: {reason}"),
            Self::Changed { from, report } => write!(f, "{from} -> {report}"),
            Self::Suspected { reason } => write!(f, "suspected: {reason}"),
            Self::Confirmed { report } => write!(f, "still {report}"),
        }
    }
}

/// The number of a probe; grows with each probe of one judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub(super) u64);

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a probe is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeReason {
    /// It is time for one.
    Scheduled,
    /// Nothing is known yet: the first verdict is wanted soon.
    NothingKnown,
    /// A probe failed, and the verdict is not settled.
    AfterFailure(Failure),
    /// Live traffic met trouble, and a probe shall look at it.
    AfterSign(Sign),
    /// A down check answered; one more answer may make it up.
    Rising,
    /// Fresh evidence was asked for.
    Asked,
}

impl fmt::Display for ProbeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduled => f.write_str("it is time for a probe"),
            Self::NothingKnown => f.write_str("nothing is known yet"),
            Self::AfterFailure(failure) => write!(f, "a probe failed ({failure:?}) and the verdict is not settled"),
            Self::AfterSign(sign) => sign.fmt(f),
            Self::Rising => f.write_str("a down check answered and must be confirmed"),
            Self::Asked => f.write_str("fresh evidence was asked for"),
        }
    }
}

/// How soon the next probe comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// At the policy's interval. The driver may add up to `jitter` to the deadline.
    Calm,
    /// Sooner, until the verdict is settled. The driver adds nothing.
    Quick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Schedule {
    Calm,
    /// Nothing known: this many quick probes are left, so that a silent prober is not flooded.
    Opening(u32),
    /// A bad sign: quick probes until the verdict is settled or a probe not older than `since` succeeds.
    Alert {
        since: ProbeId,
        cause: ProbeReason,
    },
    Rising,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) id: ProbeId,
    pub(super) started: Instant,
}

impl Judge {
    /// Makes a judge that knows nothing and wants its first probe at once.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            now,
            report: Report::not_probed(now),
            against: 0,
            schedule: Schedule::Opening(policy.fall()),
            flights: Vec::new(),
            next: ProbeId(1),
            last_start: None,
            last_outcome: now,
            // No probe has this number: the first outcome of each kind is newer.
            newest_ok: ProbeId(0),
            newest_failed: ProbeId(0),
            asked: None,
            held_until: now,
        }
    }

    /// Takes in what happened and says what to do. An outcome of a probe that is not under way is ignored.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.now = self.now.max(now);
        // What time brought comes first: an outcome that ends too long a silence finds the verdict unknown already,
        // however late the driver's timer is.
        self.forget_lost_probes();
        self.go_stale(&mut outputs);
        match event {
            Event::Timer => {}
            Event::Finished { id, outcome } => {
                if let Some(flight) = self.land(id) {
                    self.count(flight, outcome, &mut outputs);
                }
            }
            Event::Abandoned { id } => {
                if self.land(id).is_some() {
                    // In an alert a prober that could not run this one would else be pressed for the next at once,
                    // again and again.
                    self.held_until = self.now + self.policy.reprobe_silent;
                }
            }
            Event::Sign(sign) => self.suspect(sign, &mut outputs),
            Event::Reprobe => self.ask(),
        }
        self.start_due_probe(&mut outputs);
        outputs
    }

    /// Returns when to call [`Event::Timer`]; may change with each call of [`Judge::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        let probe = match self.flights.first() {
            // With every slot taken nothing starts before the oldest probe has ended or is given up for lost.
            Some(oldest) if self.flights_are_full() => self.due().max(self.lost_at(oldest)),
            _ => self.due(),
        };
        Some(if self.can_go_stale() { probe.min(self.stale_at()) } else { probe })
    }

    /// Returns the verdict with its reason and evidence.
    pub const fn report(&self) -> Report {
        self.report
    }

    /// Returns how soon the next probe comes.
    pub const fn pace(&self) -> Pace {
        match self.schedule {
            Schedule::Calm | Schedule::Opening(0) if self.asked.is_none() => Pace::Calm,
            _ => Pace::Quick,
        }
    }

    /// Returns the policy the judge was made with.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A driver that never reports a probe's end must not use up the slots for ever.
    fn forget_lost_probes(&mut self) {
        let (now, limit) = (self.now, self.policy.stale_after);
        self.flights.retain(|flight| now < flight.started + limit);
    }

    fn go_stale(&mut self, outputs: &mut Vec<Output>) {
        if !self.can_go_stale() || self.now < self.stale_at() {
            return;
        }
        self.against = 0;
        if self.report.verdict != Verdict::Unknown {
            // As at the start a few probes come quickly: more would flood a prober that is silent.
            self.schedule = Schedule::Opening(self.policy.fall());
            self.report.first_sign = self.now;
            self.change(Verdict::Unknown, Reason::Stale { after: self.policy.stale_after }, outputs);
        }
    }

    fn land(&mut self, id: ProbeId) -> Option<Flight> {
        let index = self.flights.iter().position(|flight| flight.id == id)?;
        Some(self.flights.remove(index))
    }

    fn count(&mut self, flight: Flight, outcome: Outcome, outputs: &mut Vec<Output>) {
        self.last_outcome = self.now;
        match outcome {
            Outcome::Ok => {
                // An outcome that comes too late to count is noted, too: it still outdates what was asked before it.
                self.newest_ok = self.newest_ok.max(flight.id);
                if flight.id > self.newest_failed {
                    self.succeed(flight, outputs);
                }
            }
            Outcome::Failed(failure) => {
                self.newest_failed = self.newest_failed.max(flight.id);
                if flight.id > self.newest_ok {
                    self.fail(flight, failure, outputs);
                }
            }
        }
    }

    fn succeed(&mut self, flight: Flight, outputs: &mut Vec<Output>) {
        match self.report.verdict {
            Verdict::Up => {
                self.against = 0;
                // An answer that was asked for before the trouble began says nothing of it: the alert goes on.
                if matches!(self.schedule, Schedule::Alert { since, .. } if flight.id >= since) {
                    self.schedule = Schedule::Calm;
                }
                self.confirm(flight, outputs);
            }
            Verdict::Down if self.against + 1 < self.policy.rise() => {
                self.against += 1;
                self.schedule = Schedule::Rising;
            }
            Verdict::Down | Verdict::Unknown => {
                let times = if self.report.verdict == Verdict::Down { self.policy.rise() } else { 1 };
                self.settle(flight);
                self.report.first_sign = self.now;
                self.change(Verdict::Up, Reason::Answered { times }, outputs);
            }
        }
    }

    fn fail(&mut self, flight: Flight, failure: Failure, outputs: &mut Vec<Output>) {
        match self.report.verdict {
            Verdict::Down => {
                let times = match self.report.reason {
                    Reason::Failed { times, .. } if self.against == 0 => times.saturating_add(1),
                    _ => 1,
                };
                self.report.reason = self.failed(failure, times);
                self.against = 0;
                // The check is down already: quick probes would tell nothing new.
                self.schedule = Schedule::Calm;
                self.confirm(flight, outputs);
            }
            Verdict::Up | Verdict::Unknown if self.against + 1 < self.policy.fall() => {
                self.against += 1;
                self.alert(ProbeReason::AfterFailure(failure), outputs);
            }
            Verdict::Up | Verdict::Unknown => {
                // With a `fall` of 1 no alert came before: this failure is the first sign.
                if !matches!(self.schedule, Schedule::Alert { .. }) {
                    self.report.first_sign = self.now;
                }
                self.settle(flight);
                self.change(Verdict::Down, self.failed(failure, self.policy.fall()), outputs);
            }
        }
    }

    fn failed(&self, last: Failure, times: u32) -> Reason {
        Reason::Failed { last, times, time_limit: self.policy.time_limit }
    }

    /// A sign for a check that is not up says nothing new: it is being probed, or nobody is sent there.
    fn suspect(&mut self, sign: Sign, outputs: &mut Vec<Output>) {
        if self.report.verdict == Verdict::Up && !matches!(self.schedule, Schedule::Alert { .. }) {
            self.alert(ProbeReason::AfterSign(sign), outputs);
        }
    }

    fn alert(&mut self, cause: ProbeReason, outputs: &mut Vec<Output>) {
        let since = match self.schedule {
            Schedule::Alert { since, .. } => since,
            Schedule::Calm | Schedule::Opening(_) | Schedule::Rising => {
                self.report.first_sign = self.now;
                outputs.push(Output::Suspected { reason: cause });
                // Only a probe that starts from here on can clear the alert.
                self.next
            }
        };
        self.schedule = Schedule::Alert { since, cause };
    }

    fn ask(&mut self) {
        // Who asks in every turn must not have probes follow each other without a pause.
        let earliest = self.last_start.map_or(self.now, |start| start + self.policy.reprobe_refused);
        let wanted = earliest.max(self.now);
        self.asked = Some(self.asked.map_or(wanted, |asked| asked.min(wanted)));
    }

    fn settle(&mut self, flight: Flight) {
        self.against = 0;
        self.schedule = Schedule::Calm;
        self.report.as_of = flight.started;
    }

    fn confirm(&mut self, flight: Flight, outputs: &mut Vec<Output>) {
        self.report.as_of = self.report.as_of.max(flight.started);
        outputs.push(Output::Confirmed { report: self.report });
    }

    fn change(&mut self, verdict: Verdict, reason: Reason, outputs: &mut Vec<Output>) {
        let from = self.report.verdict;
        self.report = Report { verdict, reason, ..self.report };
        outputs.push(Output::Changed { from, report: self.report });
    }

    /// Starts at most one probe a call, so that a late driver catches up without a burst.
    fn start_due_probe(&mut self, outputs: &mut Vec<Output>) {
        if self.flights_are_full() || self.now < self.due() {
            return;
        }
        let id = self.next;
        outputs.push(Output::StartProbe { id, reason: self.probe_reason() });
        self.next = ProbeId(id.0 + 1);
        self.flights.push(Flight { id, started: self.now });
        self.last_start = Some(self.now);
        self.asked = None;
        if let Schedule::Opening(left) = &mut self.schedule {
            *left = left.saturating_sub(1);
        }
    }

    fn probe_reason(&self) -> ProbeReason {
        match self.schedule {
            Schedule::Alert { cause, .. } => cause,
            _ if self.asked.is_some() => ProbeReason::Asked,
            Schedule::Opening(_) => ProbeReason::NothingKnown,
            Schedule::Rising => ProbeReason::Rising,
            Schedule::Calm => ProbeReason::Scheduled,
        }
    }

    fn due(&self) -> Instant {
        let Some(last_start) = self.last_start else {
            return self.held_until;
        };
        // Two probes never start at one instant: a deadline that has passed already would turn the driver without end.
        let scheduled = last_start + self.gap().max(Duration::from_micros(1));
        self.asked.map_or(scheduled, |asked| asked.min(scheduled)).max(self.held_until)
    }

    fn gap(&self) -> Duration {
        match self.schedule {
            Schedule::Calm | Schedule::Opening(0) => self.policy.interval,
            // A refusal is an answer of the host, and costs it nothing: it may be asked again at once. Who is silent
            // may be overloaded.
            Schedule::Alert { cause: ProbeReason::AfterFailure(failure), .. } if failure.is_refusal() => {
                self.policy.reprobe_refused
            }
            Schedule::Alert { .. } | Schedule::Opening(_) => self.policy.reprobe_silent,
            Schedule::Rising => self.policy.reprobe_rising,
        }
    }

    fn flights_are_full(&self) -> bool {
        self.flights.len() >= self.policy.in_flight.max(1)
    }

    fn lost_at(&self, flight: &Flight) -> Instant {
        flight.started + self.policy.stale_after
    }

    fn can_go_stale(&self) -> bool {
        // Unknown without a failure counted is all that silence could make of it.
        self.report.verdict != Verdict::Unknown || self.against > 0
    }

    fn stale_at(&self) -> Instant {
        self.last_outcome + self.policy.stale_after
    }
}
