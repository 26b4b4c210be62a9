//! From the order to watch until the order not to: probes as a judge wants them, checks at their own pace.

use std::convert::Infallible;
use std::time::Duration;

use failover::Instant;
use failover::health;
use failover::verdict::{Event, Judge, Output, ProbeId, Reason, Verdict};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{LivenessSpec, Observed};
use crate::node::ask;
use crate::node::clock;
use crate::node::command::{Ending, Ran};

/// Refusals in a row that count: a check may meet a service that restarts.
const REFUSALS: u32 = 2;
/// After a first refusal the next check comes sooner.
const SOONER: Duration = Duration::from_secs(1);

pub(super) struct Monitoring<'a> {
    spec: &'a LivenessSpec,
    judge: Option<Judge>,
    flights: FuturesUnordered<BoxFuture<'a, (ProbeId, probe::Report)>>,
    /// What the newest probe found.
    answer: String,
    check: Checked,
}

/// What the check command said.
#[derive(Default)]
struct Checked {
    works: health::State,
    refusals: u32,
    since: Option<Instant>,
    said: Option<String>,
}

impl<'a> Monitoring<'a> {
    pub(super) fn new(spec: &'a LivenessSpec, now: Instant) -> Self {
        let judge = spec.probe.as_ref().map(|_| Judge::new(spec.policy, now));
        Self { spec, judge, flights: FuturesUnordered::new(), answer: String::new(), check: Checked::default() }
    }

    /// Feels until it is dropped.
    pub(super) async fn run(mut self, tell: &watch::Sender<Observed>) -> Infallible {
        let mut check = self.next_check(Duration::ZERO);
        loop {
            let due = self.judge.as_ref().and_then(Judge::deadline);
            let event = tokio::select! {
                biased;
                Some((id, report)) = self.flights.next(), if !self.flights.is_empty() => self.land(id, &report),
                ran = &mut check => {
                    self.check.take_in(&ran, clock::now());
                    let sooner = self.check.refusals == 1;
                    let pause = self.spec.check_interval;
                    check = self.next_check(if sooner { pause.min(SOONER) } else { pause });
                    Event::Timer
                }
                () = clock::sleep_until(due.unwrap_or_default()), if due.is_some() => Event::Timer,
            };
            self.judge(event);
            self.publish(tell);
        }
    }

    fn next_check(&self, pause: Duration) -> BoxFuture<'a, Ran> {
        let Some(command) = &self.spec.check else { return std::future::pending().boxed() };
        async move {
            sleep(pause).await;
            command.run().await
        }
        .boxed()
    }

    fn land(&mut self, id: ProbeId, report: &probe::Report) -> Event {
        report.detail().clone_into(&mut self.answer);
        report.outcome().map_or(Event::Abandoned { id }, |outcome| Event::Finished { id, outcome })
    }

    fn judge(&mut self, event: Event) {
        let (Some(judge), Some(probe)) = (&mut self.judge, &self.spec.probe) else { return };
        for output in judge.handle(event, clock::now()) {
            if let Output::StartProbe { id, .. } = output {
                self.flights.push(async move { (id, ask(probe).await) }.boxed());
            }
        }
    }

    fn publish(&self, tell: &watch::Sender<Observed>) {
        let observed = self.observed();
        tell.send_if_modified(|before| {
            let changed = *before != observed;
            *before = observed;
            changed
        });
    }

    fn observed(&self) -> Observed {
        let check = self.check.said.as_deref().unwrap_or_default();
        let with_check = |answer: &str| format!("{answer}{}{check}", if check.is_empty() { "" } else { "; " });
        let observed = |works, detail, first_sign| Observed { works, detail, first_sign };
        // The check's word alone is enough: SIP may answer while what the check looks at is dead.
        if self.check.works == health::State::NotWorking {
            return observed(health::State::NotWorking, check.to_owned(), self.check.since);
        }
        let Some(judge) = &self.judge else { return observed(self.check.works, check.to_owned(), None) };
        let report = judge.report();
        match report.verdict {
            Verdict::Up => observed(health::State::Working, with_check(&self.answer), None),
            Verdict::Unknown => observed(health::State::Unknown, with_check(&report.reason.to_string()), None),
            Verdict::Down => {
                let Reason::Failed { times, .. } = report.reason else { return Observed::default() };
                // The count goes on growing; that is no news.
                let times = times.min(self.spec.policy.fall);
                observed(
                    health::State::NotWorking,
                    with_check(&format!("{}, {times} times in a row", self.answer)),
                    Some(report.first_sign),
                )
            }
        }
    }
}

impl Checked {
    /// Only a clear refusal counts. A check that hangs, or cannot be run, says nothing of the services; it is told.
    fn take_in(&mut self, ran: &Ran, now: Instant) {
        match ran.ending {
            Ending::Done => *self = Self { works: health::State::Working, ..Self::default() },
            Ending::ExitCode(code) => {
                // The trouble began with the first refusal, though it takes two to believe in it.
                if self.refusals == 0 {
                    self.since = Some(now);
                }
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals >= REFUSALS {
                    self.works = health::State::NotWorking;
                }
                self.said = Some(format!("check: exit code {code}: {}", ran.summary()));
            }
            ending => self.said = Some(format!("check: {ending}")),
        }
    }
}
