//! Carries out what the switch decides: persist, move the traffic, say so.

use std::time::Duration;

use failover::switch::{self, Kind, Move, Output};
use failover::{Explain as _, Side, verdict};

use super::mistakes::{Mistake, made};
use super::report::SwitchReport;
use super::{Engine, Work};
use crate::admin::api::{Event, Frozen, SwitchSummary, Time};
use crate::live::state::PastSwitch;
use crate::live::{Mode, View};
use crate::traffic::upstream::connections::Present;
use crate::traffic::websocket::tunnel::Pacing;

/// The operator who ordered something, and their reason: handed on with what comes of the order, so that the journal books
/// nothing to whoever happened to order last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) by: String,
    pub(super) why: String,
}

impl Engine {
    /// Feeds the switch and carries out what it decides, in that order. Returns why it refused, if it did.
    pub(super) async fn decide(&mut self, event: switch::Event, asker: Option<&Asker>) -> Option<String> {
        // Written with what follows it: the move, or who froze it.
        let (mut unwritten, mut refusal) = (None, None);
        for output in self.switcher.switch.handle(event, self.clock.now()) {
            let sentence = output.named(self.plan.names()).to_string();
            match output {
                Output::Persist(memory) => unwritten = Some(memory),
                Output::SwitchTo(step) => {
                    let asker = self.whose(step.kind, asker);
                    self.switch_to(step, unwritten.take(), sentence, asker.as_ref()).await;
                }
                Output::Reprobe { side, .. } => self.reprobe(side),
                Output::Refused { .. } => {
                    tracing::info!("{sentence}");
                    self.journal_of(Event::Refused, sentence.clone(), asker);
                    refusal = Some(sentence);
                }
                said => self.say(&said, sentence, asker),
            }
        }
        if let Some(memory) = unwritten
            && !made(Mistake::LeavesUnwritten)
        {
            self.switcher.persist(memory).await;
        }
        refusal
    }

    /// Whose a move is: a planned one that nobody ordered in this instant completes what somebody wished for; one of the
    /// Edge's own is nobody's, though it may come of an order that allows it: a resume.
    fn whose(&self, kind: Kind, asker: Option<&Asker>) -> Option<Asker> {
        match (kind, asker) {
            (Kind::Planned, None) => self.switchover.as_ref()?.wisher(self.clock.now()),
            (Kind::Planned, Some(asker)) => Some(asker.clone()),
            (Kind::Failover | Kind::Failback, asker) => asker.filter(|_| made(Mistake::AskerStays)).cloned(),
        }
    }

    async fn switch_to(&mut self, step: Move, memory: Option<switch::Memory>, sentence: String, asker: Option<&Asker>) {
        self.switcher.past.push(PastSwitch {
            epoch: step.epoch,
            at: self.clock.wall(step.at),
            kind: step.kind,
            to: step.to,
        });
        // The disk first: an Edge that dies between the two would wake on the side it left, and use this epoch again (E4).
        if let Some(memory) = memory {
            self.switcher.persist(memory).await;
        }
        self.move_traffic(step, sentence, asker);
    }

    fn reprobe(&mut self, side: Side) {
        // An optional service makes no side work: the switch would not wait for its answer.
        let checks: Vec<_> = self.plan.topology.required_checks(side).collect();
        for check in checks {
            self.work.push_back(Work::Judge(check.index(), verdict::Event::Reprobe));
        }
    }

    /// Tells what the switch says of itself, and keeps who froze it.
    fn say(&mut self, output: &Output, sentence: String, asker: Option<&Asker>) {
        let metrics = &self.means.metrics;
        let event = match output {
            Output::WouldSwitch(_) => Event::WouldHaveSwitched,
            Output::Stands(_) => Event::Held,
            Output::SelfDoubt(_) => {
                metrics.doubt.set(1);
                Event::Doubted
            }
            Output::DoubtOver(_) => {
                metrics.doubt.set(0);
                Event::Trusted
            }
            Output::Damped { .. } => {
                metrics.damped.set(1);
                Event::Damped
            }
            Output::Undamped => {
                metrics.damped.set(0);
                Event::Undamped
            }
            Output::Frozen(reason) => {
                metrics.frozen.set(1);
                let Asker { by, why } =
                    asker.cloned().unwrap_or_else(|| Asker { by: "bascule".to_owned(), why: String::new() });
                let why = if why.is_empty() { reason.to_string() } else { why };
                self.switcher.frozen = Some(Frozen { by, why, since: Time::now() });
                Event::Frozen
            }
            Output::Resumed => {
                metrics.frozen.set(0);
                self.switcher.frozen = None;
                Event::Resumed
            }
            // Carried out in their order: `decide`.
            Output::BudgetReset
            | Output::Persist(_)
            | Output::SwitchTo(_)
            | Output::Reprobe { .. }
            | Output::Refused { .. } => Event::Other,
        };
        match event {
            Event::Damped => tracing::error!("{sentence}"),
            Event::WouldHaveSwitched | Event::Doubted | Event::Frozen => tracing::warn!("{sentence}"),
            _ => tracing::info!("{sentence}"),
        }
        self.journal_of(event, sentence, asker);
    }

    /// The switch itself: publish, cut, close, in this order. A request whose connection is cut is sent again at once, and a
    /// session that is closed dials again: both must find the new side.
    fn move_traffic(&mut self, step: Move, sentence: String, asker: Option<&Asker>) {
        let edge = self.means.edge.clone();
        let site = self.plan.site.clone();
        let report = SwitchReport::begin(&self.means, &self.clock, &step, asker);
        if !made(Mistake::Unpublished) {
            edge.live.publish(View { side: step.to, mode: Mode::Serving, epoch: step.epoch });
        }
        let switching = &site.config.switch;
        let present = edge.registers.of(Some(step.from)).present();
        let cut = match step.kind {
            // Nothing is wrong with the side that is left: what it was asked before it may still answer.
            Kind::Planned if self.monitor.health.side(step.from).works() => {
                let (edge, epoch) = (edge.clone(), step.epoch);
                tokio::spawn(cut_later(present, switching.drain_limit, move || edge.live.view().epoch == epoch));
                0
            }
            // Whatever still waits for a side that does not work would wait in vain.
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
        self.switcher.last = Some(SwitchSummary {
            epoch: step.epoch,
            at: self.clock.wall(step.at),
            kind: step.kind,
            from: step.from,
            to: step.to,
            reason: sentence.clone(),
        });
        // Users first: what is told of the move comes behind all that was done.
        let explain = self.explanation(sentence.clone());
        if !made(Mistake::SwitchUnwritten) {
            self.journal_of(Event::Switched, sentence, asker);
        }
        report.follow(explain, leaving, self.switcher.is_persisted(), switching);
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
    use std::sync::Arc;

    use super::*;
    use crate::live::Live;
    use crate::traffic::upstream::connections::Connections;

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
