//! Joins the nodes and the switch of the whole site to the rest of the engine: what nodes say goes to the monitor's
//! health, what is wished for to the switch, and what was done to the journal.

use failover::health::{Reason, State as HealthState};
use failover::switch::{self, Act, Guard};
use failover::verdict::{self, Verdict};
use failover::{Explain as _, PerSide, Side};
use protocol::wire::{NodeReport, Role, Told};

use super::act::Asker;
use super::mistakes::{Mistake, made};
use super::switchover::{Effect, Seen, SeenSide};
use super::{Engine, Work};
use crate::admin::EngineError;
use crate::admin::api::{Event, SwitchAnswer, SwitchRequest, SwitchoverState};
use crate::site::nodes::{News, Node};
use crate::telemetry::metrics::SwitchoverResult;
use crate::traffic::websocket::tunnel::Pin;

impl Engine {
    /// Takes a node's report in.
    pub(super) fn take_report(&mut self, node: Node, report: NodeReport) -> Told {
        let now = self.clock.now();
        let Some(driver) = &mut self.switchover else {
            return Told::Refused { reason: "this Edge has no endpoint for nodes".to_owned() };
        };
        let place = (node.role, node.side);
        match driver.nodes.take(node, report, now) {
            Ok((news, told)) => {
                self.tell_nodes(news);
                // Before the health: a side that stops as it was asked to would else be left as one that failed.
                self.tell_wish();
                self.hear(|role, side| (role, Some(side)) == place);
                told
            }
            Err(reason) => Told::Refused { reason },
        }
    }

    /// Lets time pass for the nodes' reports.
    pub(super) fn tick_nodes(&mut self) {
        let now = self.clock.now();
        let Some(driver) = &mut self.switchover else { return };
        let news = driver.nodes.tick(now);
        self.tell_nodes(news);
        self.tell_wish();
    }

    fn tell_nodes(&self, news: Vec<News>) {
        for one in news {
            match one {
                News::Node(sentence) => {
                    tracing::info!("{sentence}");
                    self.journal(Event::Node, sentence);
                }
                News::Alarm(sentence) => {
                    tracing::error!("{sentence}");
                    self.journal(Event::Alarm, sentence);
                }
            }
        }
    }

    /// Tells the health what these nodes say.
    pub(super) fn hear(&mut self, of: impl Fn(Role, Side) -> bool) {
        let Some(driver) = self.switchover.as_ref().filter(|_| !made(Mistake::ReportUnheard)) else { return };
        let voices = self.plan.voices.iter().filter(|voice| of(voice.role, voice.side));
        self.work.extend(driver.nodes.words(voices, self.clock.now()).into_iter().map(Work::Health));
    }

    /// Tells the switch whose move the next one is, before a report of a node that has stopped makes it move.
    pub(super) fn tell_wish(&mut self) {
        let now = self.clock.now();
        let wished = self.switchover.as_ref().and_then(|driver| driver.wished(now));
        if wished != self.switcher.switch.wished() && !made(Mistake::WishUntold) {
            self.work.push_front(Work::Switch(switch::Event::Wished(wished)));
        }
    }

    /// Begins a switch of the whole site, or says why not. None: the order is for traffic alone.
    pub(super) async fn order_switchover(
        &mut self,
        request: &SwitchRequest,
    ) -> Option<Result<SwitchAnswer, EngineError>> {
        let now = self.clock.now();
        self.switchover.as_ref().filter(|driver| driver.takes(request, now))?;
        let (seen, config) = (self.seen(), self.plan.site.config.clone());
        let asker = Asker { by: request.by.clone(), why: request.reason.clone() };
        let status = match self.switchover.as_mut()?.order(request, &seen, &config, now) {
            Ok(status) => status,
            Err(sentence) => {
                self.journal_of(Event::Refused, sentence.clone(), Some(&asker));
                return Some(Err(EngineError::Refused(sentence)));
            }
        };
        let (is_refused, sentence) = (status.state == SwitchoverState::Refused, status.sentence.clone());
        if !request.dry_run {
            let event = if is_refused { Event::Refused } else { Event::Switchover };
            tracing::warn!("{sentence}");
            self.journal_of(event, sentence.clone(), Some(&asker));
            self.tell_wish();
            self.go_on_with_switchover().await;
        }
        Some(Ok(SwitchAnswer {
            switched: false,
            dry_run: request.dry_run,
            live: self.switcher.switch.live(),
            epoch: self.switcher.switch.epoch(),
            refused: is_refused.then(|| sentence.clone()),
            explain: self.explanation(sentence),
            switchover: Some(status),
        }))
    }

    /// Goes on as far as the facts allow.
    pub(super) async fn go_on_with_switchover(&mut self) {
        if !self.is_switching_over() {
            return;
        }
        // Each turn moves traffic once at most; what follows from it is seen in the next.
        for _ in 0..2 {
            let (seen, now) = (self.seen(), self.clock.now());
            let Some(driver) = &mut self.switchover else { break };
            let effects = driver.go_on(&seen, now);
            let moves = effects.iter().any(|effect| matches!(effect, Effect::MoveTraffic { .. }));
            for effect in effects {
                match effect {
                    Effect::MoveTraffic { to, asker } => self.move_for_switchover(to, asker).await,
                    told => self.tell_of_switchover(told),
                }
            }
            if !moves {
                break;
            }
        }
        self.tell_wish();
    }

    /// Moves traffic as an operator's order would, so that all that keeps one from it keeps this one, too.
    async fn move_for_switchover(&mut self, to: Side, asker: Asker) {
        let moved = self.order_act(Act::Switch { to, guard: Guard::Checked }, asker.by, asker.why).await;
        if let Err(error) = moved {
            let (seen, now) = (self.seen(), self.clock.now());
            let Some(driver) = &mut self.switchover else { return };
            let told = driver.refused(&error.to_string(), &seen, now);
            told.into_iter().for_each(|effect| self.tell_of_switchover(effect));
        }
    }

    fn tell_of_switchover(&self, effect: Effect) {
        match effect {
            Effect::Told { sentence, asker } => {
                tracing::info!("planned switch: {sentence}");
                self.journal_of(Event::Switchover, format!("planned switch: {sentence}"), Some(&asker));
            }
            Effect::Ended { sentence, asker, result } => {
                // Half of the site may be here and half there: somebody has to go and look.
                if result == SwitchoverResult::Failed {
                    tracing::error!("planned switch: {sentence}");
                } else {
                    tracing::warn!("planned switch: {sentence}");
                }
                if !made(Mistake::EndUntold) {
                    self.journal_of(Event::Switchover, format!("planned switch: {sentence}"), Some(&asker));
                }
            }
            // Is done where effects are taken one by one: `go_on_with_switchover`.
            Effect::MoveTraffic { .. } => {}
        }
    }

    pub(super) fn is_switching_over(&self) -> bool {
        self.switchover.as_ref().is_some_and(super::switchover::SwitchoverDriver::is_under_way)
    }

    /// Shows whether a switch of the whole site is under way.
    pub(super) fn count_switchover(&self) {
        if let Some(driver) = &self.switchover {
            driver.nodes.means.metrics.switching_over.set(i64::from(driver.is_under_way()));
        }
    }

    /// Whether the live side was stopped on purpose and the other is about to start: requests wait for it, as long as
    /// one may wait. Then they see the page at once, until it does.
    pub(super) fn awaits_switchover(&self) -> bool {
        let live = self.monitor.health.side(self.switcher.switch.live());
        let patience = self.plan.site.config.switch.park_limit;
        let stopped = matches!(live.reason, Reason::NodeSays { .. });
        self.is_switching_over() && stopped && self.clock.now().since(live.since) < patience
    }

    fn seen(&self) -> Seen {
        Seen {
            sides: PerSide { main: self.seen_side(Side::Main), standby: self.seen_side(Side::Standby) },
            live: self.switcher.switch.live(),
            observe: self.plan.site.config.switch.observe,
        }
    }

    fn seen_side(&self, side: Side) -> SeenSide {
        let health = self.monitor.health.side(side);
        let tally = self.means.edge.sessions.tally();
        let there = tally.iter().filter(|tally| tally.pin == Pin::Side(side));
        SeenSide {
            works: health.state == HealthState::Working,
            health: health.named(self.plan.names()).to_string(),
            answers: self.answers(side),
            sessions: there.map(|tally| u64::try_from(tally.sessions).unwrap_or(u64::MAX)).sum(),
        }
    }

    /// Whether anything of a side answers, if only to refuse: a target that the Edge does not reach at all would take
    /// telephony, and no traffic could follow.
    fn answers(&self, side: Side) -> bool {
        self.plan.topology.required_checks(side).any(|check| {
            let report = self.monitor.report(check.index());
            match (report.verdict, report.reason) {
                (Verdict::Up, _) => true,
                (Verdict::Down, verdict::Reason::Failed { last, .. }) => !last.is_silence(),
                _ => false,
            }
        })
    }
}
