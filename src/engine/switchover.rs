//! Drives a planned switch of the whole site: gathers the facts, hands the wishes out, and tells how far it is.

use std::time::Duration;

use failover::health::{Reason, State as HealthState};
use failover::switch::{self, Act, Guard};
use failover::verdict::{self, Verdict};
use failover::{Explain as _, PerSide, Side};
use protocol::wire::{Chosen, Role, Wish};

use super::act::Asker;
use super::mistakes::{Mistake, made};
use super::{Engine, Work};
use crate::admin::EngineError;
use crate::admin::api::{
    Event, SwitchAnswer, SwitchRequest, SwitchoverCheck, SwitchoverState, SwitchoverStatus, SwitchoverStep, Time,
};
use crate::site::switchover::{
    Cc, End, Facts, Half, Limits, Output, Record, Step, Switchover, Undone, Xivo, preflight,
};
use crate::telemetry::metrics::SwitchoverResult;
use crate::traffic::websocket::tunnel::Pin;

/// Two reports of a node, and some.
const HAND_OVER: Duration = Duration::from_secs(5);
/// The watchdog's own limit is 60 s; then it fences.
const STOP: Duration = Duration::from_secs(90);
/// The watchdog's own limits: 90 s to start, 20 s to verify.
const START: Duration = Duration::from_secs(120);
const REGISTER: Duration = Duration::from_secs(20);
/// As the start of telephony: xuc takes its time.
const CONTACT: Duration = Duration::from_secs(120);
/// From services that run to probes that say so.
const TRAFFIC: Duration = Duration::from_secs(20);
/// Beyond the drain limit, for what is cut to be gone.
const VERIFY: Duration = Duration::from_secs(10);
/// For the target to stop and the source to start again.
const UNDO: Duration = Duration::from_secs(240);
/// A wish is answered with the next report.
const ONE_REPORT: Duration = Duration::from_millis(500);
/// What a stop and a CC's start usually take; sites differ.
const USUALLY: Duration = Duration::from_secs(5);

/// A switch of the whole site, under way or over.
pub(super) struct Ordered {
    /// None: over, or never begun.
    switchover: Option<Switchover>,
    pub(super) status: SwitchoverStatus,
    reason: String,
    expected: Vec<Duration>,
    limits: Limits,
}

impl Ordered {
    /// Who ordered it, and why: all that it does is booked to them.
    fn asker(&self) -> Asker {
        Asker { by: self.status.by.clone(), why: self.reason.clone() }
    }
}

impl Engine {
    /// Whether a planned switch is one of the whole site: XiVO nodes report.
    pub(super) fn switchovers(&self) -> bool {
        self.nodes.as_ref().is_some_and(|nodes| nodes.registry.has_xivo(self.clock.now()))
    }

    /// Whether one is under way.
    pub(super) fn is_switching_over(&self) -> bool {
        self.ordered.as_ref().is_some_and(|ordered| ordered.switchover.is_some())
    }

    /// When it wants to be called again.
    pub(super) fn switchover_deadline(&self) -> Option<failover::Instant> {
        self.ordered.as_ref()?.switchover.as_ref()?.deadline()
    }

    /// Begins one, or says why not.
    pub(super) async fn begin_switchover(&mut self, request: SwitchRequest) -> Result<SwitchAnswer, EngineError> {
        let SwitchRequest { to, dry_run, reason, by, .. } = request;
        if self.is_switching_over() {
            let sentence = "A switch of the whole site is under way; see bascule status.".to_owned();
            self.journal_of(Event::Refused, sentence.clone(), Some(&Asker { by, why: reason }));
            return Err(EngineError::Refused(sentence));
        }
        let facts = self.facts();
        let checks = preflight(to, &facts);
        let failed: Vec<&str> = checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
        let limits = self.limits();
        let switchover = Switchover::new(to, limits, first_wish(&facts), self.clock.now());
        let (state, sentence) = match (failed.is_empty(), dry_run) {
            (false, _) => {
                let sentence =
                    format!("{} cannot be made to serve: these do not hold: {}", Side::title(to), failed.join(", "));
                (SwitchoverState::Refused, sentence)
            }
            (true, true) => {
                (SwitchoverState::Planned, format!("{} could be made to serve; nothing was done", Side::title(to)))
            }
            (true, false) => (SwitchoverState::Running, format!("{} is being made to serve", Side::title(to))),
        };
        let mut ordered = Ordered {
            status: SwitchoverStatus {
                to,
                by: by.clone(),
                began: Time::now(),
                ended: (state != SwitchoverState::Running).then(Time::now),
                state,
                sentence: sentence.clone(),
                checks: checks.iter().map(api_check).collect(),
                steps: Vec::new(),
            },
            switchover: (state == SwitchoverState::Running).then(|| switchover.clone()),
            reason: reason.clone(),
            expected: self.expected(to, &facts),
            limits,
        };
        ordered.show(switchover.records());
        let status = ordered.status.clone();
        if !dry_run {
            let event = if state == SwitchoverState::Running { Event::Switchover } else { Event::Refused };
            tracing::warn!("{sentence}");
            self.journal_of(event, sentence.clone(), Some(&Asker { by, why: reason }));
            if state == SwitchoverState::Refused
                && let Some(nodes) = &self.nodes
            {
                nodes.means.metrics.switchovers.of(SwitchoverResult::Refused).inc();
            }
            self.ordered = Some(ordered);
            self.tell_wish();
            self.go_on_with_switchover().await;
        }
        Ok(SwitchAnswer {
            switched: false,
            dry_run,
            live: self.switcher.switch.live(),
            epoch: self.switcher.switch.epoch(),
            refused: (state == SwitchoverState::Refused).then(|| sentence.clone()),
            explain: self.explanation(sentence),
            switchover: Some(status),
        })
    }

    /// Goes on as far as the facts allow.
    pub(super) async fn go_on_with_switchover(&mut self) {
        if !self.is_switching_over() {
            return;
        }
        // Each turn moves traffic once at most; what follows from it is seen in the next.
        for _ in 0..2 {
            let (facts, now) = (self.facts(), self.clock.now());
            let Some(switchover) = self.ordered.as_mut().and_then(|ordered| ordered.switchover.as_mut()) else {
                return;
            };
            let outputs = switchover.handle(&facts, now);
            let moved = outputs.iter().any(|output| matches!(output, Output::MoveTraffic(_)));
            self.carry_out_switchover(outputs).await;
            if !moved {
                break;
            }
        }
        if let Some(ordered) = &mut self.ordered
            && let Some(switchover) = ordered.switchover.clone()
        {
            ordered.status.state =
                if switchover.is_undoing() { SwitchoverState::Undoing } else { SwitchoverState::Running };
            ordered.show(switchover.records());
        }
        self.tell_wish();
    }

    /// Tells the switch whose move the next one is, before a report of a node that has stopped makes it move: that of a
    /// switch of the whole site, else of an operator at a node.
    pub(super) fn tell_wish(&mut self) {
        let wished = match self.ordered.as_ref().and_then(|ordered| ordered.switchover.as_ref()) {
            Some(switchover) => switchover.wished(),
            None => self.chosen().map(|chosen| chosen.serves),
        };
        if wished != self.switcher.switch.wished() && !made(Mistake::WishUntold) {
            self.work.push_front(Work::Switch(switch::Event::Wished(wished)));
        }
    }

    /// Who wished for the move that [`Self::tell_wish`] told of, and why.
    pub(super) fn wisher(&self) -> Option<Asker> {
        match self.ordered.as_ref().filter(|ordered| ordered.switchover.is_some()) {
            Some(ordered) => Some(ordered.asker()),
            None => self.chosen().map(|chosen| Asker { by: chosen.who.clone(), why: chosen.reason.clone() }),
        }
    }

    /// What an operator chose at a XiVO node.
    fn chosen(&self) -> Option<&Chosen> {
        self.nodes.as_ref()?.registry.chosen(self.clock.now())
    }

    async fn carry_out_switchover(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Wish { node, id, to } => self.hand_wish(node, id, to),
                Output::MoveTraffic(to) => self.move_for_switchover(to).await,
                Output::Told(sentence) => {
                    tracing::info!("planned switch: {sentence}");
                    self.journal_switchover(sentence);
                }
                Output::Ended(end) => self.end_switchover(end),
            }
        }
    }

    fn hand_wish(&mut self, node: Side, id: u64, to: Side) {
        let Some(ordered) = &self.ordered else { return };
        let wish = Wish { id, to, who: ordered.status.by.clone(), reason: ordered.reason.clone() };
        if let Some(nodes) = &mut self.nodes {
            let node = if made(Mistake::WishMisplaced) { node.other() } else { node };
            nodes.wishes[node] = Some(wish);
        }
    }

    async fn move_for_switchover(&mut self, to: Side) {
        let Some(ordered) = &self.ordered else { return };
        let (by, why) = (ordered.status.by.clone(), ordered.reason.clone());
        let moved = self.order_act(Act::Switch { to, guard: Guard::Checked }, by, why).await;
        if let Err(error) = moved {
            let (facts, now) = (self.facts(), self.clock.now());
            let switchover = self.ordered.as_mut().and_then(|ordered| ordered.switchover.as_mut());
            let outputs =
                switchover.map(|switchover| switchover.refused(&error.to_string(), &facts, now)).unwrap_or_default();
            // A refusal brings wishes and words, and no further move.
            for output in outputs {
                match output {
                    Output::Wish { node, id, to } => self.hand_wish(node, id, to),
                    Output::Told(sentence) => self.journal_switchover(sentence),
                    Output::Ended(end) => self.end_switchover(end),
                    Output::MoveTraffic(_) => {}
                }
            }
        }
    }

    fn journal_switchover(&mut self, sentence: String) {
        let asker = self.ordered.as_ref().map(Ordered::asker);
        self.journal_of(Event::Switchover, format!("planned switch: {sentence}"), asker.as_ref());
    }

    fn end_switchover(&mut self, end: End) {
        let Some(ordered) = &mut self.ordered else { return };
        let Some(switchover) = ordered.switchover.take() else { return };
        ordered.show(switchover.records());
        let (to, from) = (Side::title(switchover.to()), switchover.to().other());
        let (state, counted, sentence) = match end {
            End::Moved => {
                (SwitchoverState::Done, SwitchoverResult::Done, format!("{to} serves, and all of it was verified"))
            }
            End::Failed { why, undone: Undone::Nothing } => {
                (SwitchoverState::Failed, SwitchoverResult::Undone, format!("{why}; nothing was changed"))
            }
            End::Failed { why, undone: Undone::All } => (
                SwitchoverState::Failed,
                SwitchoverResult::Undone,
                format!("{why}; all was undone, {from} serves as before"),
            ),
            End::Failed { why, undone: Undone::NotAll(missing) } => {
                (SwitchoverState::Failed, SwitchoverResult::Failed, format!("{why}; NOT ALL WAS UNDONE: {missing}"))
            }
        };
        (ordered.status.state, ordered.status.sentence) = (state, sentence.clone());
        ordered.status.ended = Some(Time::now());
        if let Some(nodes) = &mut self.nodes {
            if !made(Mistake::WishKept) {
                nodes.wishes = PerSide::default();
            }
            nodes.means.metrics.switchovers.of(counted).inc();
        }
        if counted == SwitchoverResult::Failed {
            tracing::error!("planned switch: {sentence}");
        } else {
            tracing::warn!("planned switch: {sentence}");
        }
        if !made(Mistake::EndUntold) {
            self.journal_switchover(sentence);
        }
    }

    /// Shows whether one is under way.
    pub(super) fn count_switchover(&self) {
        if let Some(nodes) = &self.nodes {
            nodes.means.metrics.ordered.set(i64::from(self.is_switching_over()));
        }
    }

    fn limits(&self) -> Limits {
        let drain = self.plan.site.config.switch.drain_limit;
        Limits {
            hand_over: if made(Mistake::WaitsForNodes) { STOP } else { HAND_OVER },
            stop: STOP,
            start: START,
            register: REGISTER,
            contact: CONTACT,
            traffic: TRAFFIC,
            verify: drain + VERIFY,
            undo: UNDO,
        }
    }

    /// What each step usually takes; what has a bound is shown with it.
    fn expected(&self, to: Side, facts: &Facts) -> Vec<Duration> {
        let start = facts.sides[to].xivo.as_ref().and_then(|xivo| xivo.vote.as_ref());
        let start = start.map_or(USUALLY, |vote| Duration::from_millis(vote.takeover_ms));
        let probe = &self.plan.site.config.probe;
        let seen = probe.interval * u32::from(probe.rise.get()) + probe.time_limit;
        let drain = self.plan.site.config.switch.drain_limit;
        let of = |step: &Step| match step {
            Step::HandOver => ONE_REPORT,
            Step::Stop | Step::Contact => USUALLY,
            Step::Start => start,
            Step::Register => ONE_REPORT * 2,
            Step::Traffic => seen,
            Step::Verify => drain,
        };
        Step::ALL.iter().map(of).collect()
    }

    fn facts(&self) -> Facts {
        let conflicts = |nodes: &super::nodes::Nodes| {
            let now = self.clock.now();
            let of_mds = nodes.registry.all().filter(|(node, known)| node.role == Role::Mds && known.is_fresh(now));
            let both = of_mds.filter(|(_, known)| known.report.presence.as_ref().is_some_and(|seen| seen.conflict));
            both.map(|(node, _)| node.name.clone()).collect()
        };
        Facts {
            sides: PerSide { main: self.half(Side::Main), standby: self.half(Side::Standby) },
            has_cc_nodes: self
                .nodes
                .as_ref()
                .is_some_and(|nodes| nodes.registry.all().any(|(node, _)| node.role == Role::Cc)),
            conflicts: self.nodes.as_ref().map(conflicts).unwrap_or_default(),
            live: self.switcher.switch.live(),
            observe: self.plan.site.config.switch.observe,
        }
    }

    fn half(&self, side: Side) -> Half {
        let now = self.clock.now();
        let health = self.monitor.health.side(side);
        let mut half = Half {
            works: health.state == HealthState::Working,
            health: health.named(self.plan.names()).to_string(),
            answers: self.answers(side),
            ..Half::default()
        };
        if let Some(nodes) = &self.nodes {
            half.xivo = nodes.registry.xivo(side).filter(|(_, known)| known.is_fresh(now)).map(|(node, known)| Xivo {
                name: node.name.clone(),
                status: known.report.status,
                version: known.report.version.clone(),
                vote: known.report.vote.clone(),
                failed_starts: known.report.failed_starts.clone(),
                media_servers: known.report.media_servers.clone(),
                wished: known.report.wished.clone(),
            });
            let cc = nodes.registry.fresh(Role::Cc, side, now);
            half.cc = cc.map(|(node, known)| Cc { name: node.name.clone(), status: known.report.status }).collect();
        }
        let tally = self.means.edge.sessions.tally();
        let there = tally.iter().filter(|tally| tally.pin == Pin::Side(side));
        half.sessions = there.map(|tally| u64::try_from(tally.sessions).unwrap_or(u64::MAX)).sum();
        half
    }

    /// Whether anything of a side answers, if only to refuse.
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

    /// Whether the live side was stopped on purpose and the other is about to start: requests wait for it, as long as one
    /// may wait. Then they see the page at once, until it does.
    pub(super) fn awaits_switchover(&self) -> bool {
        let live = self.monitor.health.side(self.switcher.switch.live());
        let patience = self.plan.site.config.switch.park_limit;
        let stopped = matches!(live.reason, Reason::NodeSays { .. });
        self.is_switching_over() && stopped && self.clock.now().since(live.since) < patience
    }
}

/// Grows over restarts of the Edge, and over a clock that was set back: nodes follow each wish once.
fn first_wish(facts: &Facts) -> u64 {
    let newest = |side| facts.sides[side].xivo.as_ref()?.wished.as_ref().map(|wished| wished.id);
    let known = Side::BOTH.into_iter().filter_map(newest).max().unwrap_or(0);
    known.max(u64::try_from(Time::now().unix_ms()).unwrap_or(0))
}

impl Ordered {
    fn show(&mut self, records: &[Record]) {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let step = |(record, expected): (&Record, &Duration)| SwitchoverStep {
            step: record.step.to_string(),
            state: record.state,
            said: record.said.clone(),
            took_ms: ms(record.took),
            expected_ms: ms(*expected),
            limit_ms: ms(self.limits.of(record.step)),
        };
        self.status.steps = records.iter().zip(&self.expected).map(step).collect();
    }
}

fn api_check(check: &crate::site::switchover::Check) -> SwitchoverCheck {
    SwitchoverCheck { check: check.name.to_owned(), passed: check.passed, said: check.said.clone() }
}
