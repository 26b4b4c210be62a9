//! The report of one switch (E8): begun with the decision, completed when the last session has moved.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use failover::switch::{Cause, Move};
use tokio::time::{Instant, timeout};

use super::Means;
use super::act::Asker;
use super::clock::Clock;
use crate::admin::api::{Counts, Event, Explain, JournalEntry, Moment, Phases, Report, Time};
use crate::config::Switching;
use crate::live::state::State;
use crate::traffic::edge::Edge;
use crate::traffic::websocket::tunnel::Leaving;

/// Beyond the drain limit sessions are cut; this is for the cutting, and for the first request to come.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks at what is still awaited.
const LOOK: Duration = Duration::from_millis(250);

/// A report in the making.
pub(super) struct SwitchReport {
    edge: Arc<Edge>,
    state: Arc<State>,
    before: Snapshot,
    began: Time,
    decision: Time,
    step: Move,
    by: Option<String>,
}

#[derive(Clone, Copy)]
struct Snapshot {
    replayed: u64,
    parked: u64,
    failed: u64,
}

fn snapshot(edge: &Edge) -> Snapshot {
    let tally = &edge.tally;
    Snapshot {
        replayed: tally.replayed.load(Ordering::Acquire),
        parked: tally.parked.load(Ordering::Acquire),
        failed: tally.failed.load(Ordering::Acquire),
    }
}

impl SwitchReport {
    /// Begins one. Requests parked since the first bad sign are not told apart from those of the minute before.
    pub(super) fn begin(means: &Means, clock: &Clock, step: &Move, asker: Option<&Asker>) -> Self {
        let began = match step.cause {
            Cause::LiveDoesNotWork { left, .. } => clock.wall(left.trouble_since),
            Cause::MainPreferred { .. } | Cause::Operator { .. } => clock.wall(step.at),
        };
        Self {
            edge: means.edge.clone(),
            state: means.state.clone(),
            before: snapshot(&means.edge),
            began,
            decision: clock.wall(step.at),
            step: *step,
            by: asker.map(|asker| asker.by.clone()),
        }
    }

    /// Writes it now, again when everything has moved, and once more when the new side has served and nobody waits any
    /// longer for this switch.
    pub(super) fn follow(self, explain: Explain, leaving: Leaving, persisted: bool, switching: &Switching) {
        let persisted = persisted.then(Time::now);
        let Switching { drain_limit, park_limit, .. } = *switching;
        self.state.report(self.report(&explain, &leaving, persisted, None));
        tokio::spawn(async move {
            let limit = Instant::now() + drain_limit + GRACE;
            // A request is counted when it ends; whoever waited for the switch has gone by then.
            let counted = Instant::now() + park_limit;
            // Sessions that outlast their limit are reported as they stand.
            let moved = timeout(drain_limit + GRACE, leaving.finished()).await.is_ok();
            let last_moved = (moved && leaving.sessions() > 0).then(Time::now);
            self.state.report(self.report(&explain, &leaving, persisted, last_moved));
            if let Some(at) = last_moved {
                self.state.note(self.moved(at, &leaving, explain.clone()));
            }
            let unserved = || self.edge.tally.first_served(self.step.epoch).is_none() && Instant::now() < limit;
            while (unserved() || Instant::now() < counted) && self.is_present() {
                tokio::time::sleep(LOOK).await;
            }
            // The counts of a later switch are in that one's report.
            if self.is_present() {
                self.state.report(self.report(&explain, &leaving, persisted, last_moved));
            }
        });
    }

    fn is_present(&self) -> bool {
        self.edge.live.view().epoch == self.step.epoch
    }

    fn moved(&self, at: Time, leaving: &Leaving, explain: Explain) -> JournalEntry {
        let Move { from, to, epoch, .. } = self.step;
        let sentence = format!("all {} sessions have left {from}", leaving.sessions());
        JournalEntry {
            at,
            epoch,
            event: Event::Moved,
            live: to,
            by: None,
            why: None,
            explain: Explain { sentence, ..explain },
        }
    }

    fn report(
        &self,
        explain: &Explain,
        leaving: &Leaving,
        persisted: Option<Time>,
        last_moved: Option<Time>,
    ) -> Report {
        let moment = |at: Time| Moment { at, offset_ms: u64::try_from(at.ms_since(self.began)).unwrap_or(0) };
        let now = snapshot(&self.edge);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Report {
            number: self.step.epoch,
            kind: self.step.kind,
            from: self.step.from,
            to: self.step.to,
            reason: explain.sentence.clone(),
            by: self.by.clone(),
            phases: Phases {
                first_bad_sign: matches!(self.step.cause, Cause::LiveDoesNotWork { .. }).then(|| moment(self.began)),
                decision: moment(self.decision),
                persisted: persisted.map(moment),
                first_served: self.edge.tally.first_served(self.step.epoch).map(moment),
                last_moved: last_moved.map(moment),
            },
            counts: Counts {
                replayed: now.replayed.saturating_sub(self.before.replayed),
                parked: now.parked.saturating_sub(self.before.parked),
                failed: now.failed.saturating_sub(self.before.failed),
                sessions_closed: count(leaving.left().saturating_sub(leaving.truncated())),
                sessions_cut: count(leaving.truncated()),
            },
            explain: explain.clone(),
        }
    }
}
