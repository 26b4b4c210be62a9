//! Carries out what the switch decides: persist, move the traffic, say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use failover::switch::{Kind, Move, Output};
use failover::{Explain as _, verdict};
use tokio::time::timeout;

use super::mistakes::{Mistake, made};
use super::record::live_state;
use super::report::SwitchReport;
use super::{Engine, Work};
use crate::admin::api::{Event, Frozen, SwitchSummary, Time};
use crate::live::state::PastSwitch;
use crate::live::{Mode, View};
use crate::traffic::upstream::connections::Present;
use crate::traffic::websocket::tunnel::Pacing;

/// How long users wait for a disk: then traffic moves, and the disk follows.
const DISK_PATIENCE: Duration = Duration::from_millis(100);

impl Engine {
    #[allow(clippy::too_many_lines, reason = "one arm for each output")]
    pub(super) async fn carry_out(&mut self, output: Output) {
        let sentence = output.named(self.plan.names()).to_string();
        match output {
            Output::Persist(memory) => {
                // Written with what follows it: the move, or who froze it.
                self.pending = Some(memory);
            }
            Output::SwitchTo(step) => {
                // A planned move that nobody ordered in this instant completes a switch of the whole site.
                let unasked = step.kind == Kind::Planned && self.asker.is_none();
                // A move of the Edge's own is nobody's order, though it may come of one that allows it: a resume.
                let own = step.kind != Kind::Planned && !made(Mistake::AskerStays);
                let other = if own { self.asker.take() } else { None };
                if unasked {
                    self.asker = self.wisher();
                }
                self.past.push(PastSwitch {
                    epoch: step.epoch,
                    at: self.clock.wall(step.at),
                    kind: step.kind,
                    to: step.to,
                });
                self.persist().await;
                self.move_traffic(step, sentence);
                if unasked {
                    self.asker = None;
                }
                self.asker = other.or(self.asker.take());
            }
            Output::WouldSwitch(_) => {
                tracing::warn!("{sentence}");
                self.journal(Event::WouldHaveSwitched, sentence);
            }
            Output::Reprobe { side, .. } => {
                let checks: Vec<_> = self.plan.topology.required_checks(side).collect();
                for check in checks {
                    self.work.push_back(Work::Judge(check.index(), verdict::Event::Reprobe));
                }
            }
            Output::Stands(_) => {
                tracing::info!("{sentence}");
                self.journal(Event::Held, sentence);
            }
            Output::SelfDoubt(_) => {
                tracing::warn!("{sentence}");
                self.means.metrics.doubt.set(1);
                self.journal(Event::Doubted, sentence);
            }
            Output::DoubtOver(_) => {
                tracing::info!("{sentence}");
                self.means.metrics.doubt.set(0);
                self.journal(Event::Trusted, sentence);
            }
            Output::Damped { .. } => {
                tracing::error!("{sentence}");
                self.means.metrics.damped.set(1);
                self.journal(Event::Damped, sentence);
            }
            Output::Undamped => {
                tracing::info!("{sentence}");
                self.means.metrics.damped.set(0);
                self.journal(Event::Undamped, sentence);
            }
            Output::Frozen(reason) => {
                let (by, why) = self.asker.clone().unwrap_or_else(|| ("bascule".to_owned(), String::new()));
                let why = if why.is_empty() { reason.to_string() } else { why };
                self.frozen = Some(Frozen { by, why, since: Time::now() });
                tracing::warn!("{sentence}");
                self.means.metrics.frozen.set(1);
                self.journal(Event::Frozen, sentence);
            }
            Output::Resumed => {
                tracing::info!("{sentence}");
                self.frozen = None;
                self.means.metrics.frozen.set(0);
                self.journal(Event::Resumed, sentence);
            }
            Output::BudgetReset => {
                tracing::info!("{sentence}");
                self.journal(Event::Other, sentence);
            }
            Output::Refused { .. } => {
                tracing::info!("{sentence}");
                self.refusal = Some(sentence.clone());
                self.journal(Event::Refused, sentence);
            }
        }
    }

    /// Writes what the machine wants kept, waiting a little for the disk.
    pub(super) async fn persist(&mut self) {
        let Some(memory) = self.pending.take() else { return };
        let state = live_state(&memory, self.frozen.as_ref(), &self.past);
        let written = self.means.state.save(state);
        let persisted = Arc::new(AtomicBool::new(false));
        self.persisted = persisted.clone();
        let writing = tokio::spawn(async move {
            persisted.store(written.await.is_ok(), Ordering::Release);
        });
        let patience = if made(Mistake::WaitsForDisk) { Duration::MAX } else { DISK_PATIENCE };
        // It goes on when we do not wait any longer.
        let _ = timeout(patience, writing).await;
        if !self.persisted.load(Ordering::Acquire) {
            tracing::error!(
                epoch = memory.epoch,
                "the live side is not on the disk yet; traffic moves all the same, and a restart now would forget it"
            );
        }
    }

    /// The switch itself: publish, cut, close, in this order.
    fn move_traffic(&mut self, step: Move, sentence: String) {
        let edge = self.means.edge.clone();
        let site = self.plan.site.clone();
        let report = SwitchReport::begin(&self.means, &self.clock, &step, self.asker.clone());
        if !made(Mistake::Unpublished) {
            edge.live.publish(View { side: step.to, mode: Mode::Serving, epoch: step.epoch });
        }
        let switching = &site.config.switch;
        let present = edge.registers.of(Some(step.from)).present();
        let cut = match step.kind {
            // Nothing is wrong with the side that is left: what it was asked before it may still answer.
            Kind::Planned if self.health.side(step.from).works() => {
                let (edge, epoch) = (edge.clone(), step.epoch);
                tokio::spawn(cut_later(present, switching.drain_limit, move || edge.live.view().epoch == epoch));
                0
            }
            Kind::Planned | Kind::Failover | Kind::Failback => present.cut(),
        };
        let pacing = Pacing { reconnect_rate: switching.reconnect_rate, drain_limit: switching.drain_limit };
        let leaving = edge.sessions.demote(step.from, step.epoch, pacing);
        let counted = &self.means.metrics;
        counted.switched(step.kind, step.from);
        counted.live(step.to, step.epoch);
        tracing::warn!(
            from = %step.from, to = %step.to, epoch = step.epoch, kind = %step.kind, connections = cut,
            sessions = leaving.sessions(), "{sentence}"
        );
        self.last_switch = Some(SwitchSummary {
            epoch: step.epoch,
            at: self.clock.wall(step.at),
            kind: step.kind,
            from: step.from,
            to: step.to,
            reason: sentence.clone(),
        });
        let explain = self.explanation(sentence.clone());
        if !made(Mistake::SwitchUnwritten) {
            self.journal(Event::Switched, sentence);
        }
        report.follow(explain, leaving, self.persisted.load(Ordering::Acquire), switching);
    }
}

/// Cuts what was open when traffic moved, unless it has moved again since: the side that was left may be live again, and
/// what it is answering then belongs to nobody who left. The later move cuts by its own rule whatever is still open.
async fn cut_later(present: Present, patience: Duration, is_newest: impl Fn() -> bool) {
    tokio::time::sleep(patience).await;
    if is_newest() {
        present.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Live;
    use crate::traffic::upstream::connections::Connections;
    use failover::Side;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn live(side: Side, epoch: u64) -> View {
        View { side, mode: Mode::Serving, epoch }
    }

    /// Moves traffic from Main in epoch 1, and again after so long.
    async fn is_cut_after(again: &[(Duration, View)]) -> bool {
        let (side, now) = (Arc::new(Connections::default()), Arc::new(Live::new(live(Side::Standby, 1))));
        let open = side.register();
        let published = now.clone();
        let cutting = tokio::spawn(cut_later(side.present(), PATIENCE, move || published.view().epoch == 1));
        for (after, view) in again {
            tokio::time::sleep(*after).await;
            now.publish(*view);
        }
        cutting.await.unwrap();
        open.cut().is_done()
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_cut_spares_a_side_that_is_live_again() {
        let second = Duration::from_secs(1);
        assert!(is_cut_after(&[]).await, "a side that stays left is cut in the end");
        assert!(!is_cut_after(&[(second, live(Side::Main, 2))]).await);
        let there_again = [(second, live(Side::Main, 2)), (second, live(Side::Standby, 3))];
        assert!(!is_cut_after(&there_again).await, "the cut of the newest epoch has its own time");
        let waiting = View { mode: Mode::Serving, ..live(Side::Standby, 1) };
        assert!(is_cut_after(&[(second, waiting)]).await, "the epoch decides, not that something was published");
    }
}
