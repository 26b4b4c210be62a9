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
use crate::admin::api::{Event, SwitchAnswer, SwitchRequest, Time, WalkCheck, WalkState, WalkStatus, WalkStep};
use crate::site::switchover::{Cc, End, Facts, Half, Limits, Output, Record, Step, Undone, Walk, Xivo, preflight};
use crate::telemetry::metrics::Walked;
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
pub(super) struct Walking {
    /// None: over, or never begun.
    walk: Option<Walk>,
    pub(super) status: WalkStatus,
    reason: String,
    expected: Vec<Duration>,
    limits: Limits,
}

impl Walking {
    /// Who ordered it, and why: all that it does is booked to them.
    fn asker(&self) -> Asker {
        Asker { by: self.status.by.clone(), why: self.reason.clone() }
    }
}

impl Engine {
    /// Whether a planned switch is one of the whole site: XiVO nodes report.
    pub(super) fn walks(&self) -> bool {
        self.nodes.as_ref().is_some_and(|nodes| nodes.registry.has_xivo(self.clock.now()))
    }

    /// Whether one is under way.
    pub(super) fn is_walking(&self) -> bool {
        self.walking.as_ref().is_some_and(|walking| walking.walk.is_some())
    }

    /// When it wants to be called again.
    pub(super) fn walk_deadline(&self) -> Option<failover::Instant> {
        self.walking.as_ref()?.walk.as_ref()?.deadline()
    }

    /// Begins one, or says why not.
    pub(super) async fn begin_walk(&mut self, request: SwitchRequest) -> Result<SwitchAnswer, EngineError> {
        let SwitchRequest { to, dry_run, reason, by, .. } = request;
        if self.is_walking() {
            let sentence = "A switch of the whole site is under way; see bascule status.".to_owned();
            self.journal_of(Event::Refused, sentence.clone(), Some(&Asker { by, why: reason }));
            return Err(EngineError::Refused(sentence));
        }
        let facts = self.facts();
        let checks = preflight(to, &facts);
        let failed: Vec<&str> = checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
        let limits = self.limits();
        let walk = Walk::new(to, limits, first_wish(&facts), self.clock.now());
        let (state, sentence) = match (failed.is_empty(), dry_run) {
            (false, _) => {
                let sentence =
                    format!("{} cannot be made to serve: these do not hold: {}", Side::title(to), failed.join(", "));
                (WalkState::Refused, sentence)
            }
            (true, true) => {
                (WalkState::Planned, format!("{} could be made to serve; nothing was done", Side::title(to)))
            }
            (true, false) => (WalkState::Running, format!("{} is being made to serve", Side::title(to))),
        };
        let mut walking = Walking {
            status: WalkStatus {
                to,
                by: by.clone(),
                began: Time::now(),
                ended: (state != WalkState::Running).then(Time::now),
                state,
                sentence: sentence.clone(),
                checks: checks.iter().map(api_check).collect(),
                steps: Vec::new(),
            },
            walk: (state == WalkState::Running).then(|| walk.clone()),
            reason: reason.clone(),
            expected: self.expected(to, &facts),
            limits,
        };
        walking.show(walk.records());
        let status = walking.status.clone();
        if !dry_run {
            let event = if state == WalkState::Running { Event::Walk } else { Event::Refused };
            tracing::warn!("{sentence}");
            self.journal_of(event, sentence.clone(), Some(&Asker { by, why: reason }));
            if state == WalkState::Refused
                && let Some(nodes) = &self.nodes
            {
                nodes.means.metrics.walks.of(Walked::Refused).inc();
            }
            self.walking = Some(walking);
            self.tell_wish();
            self.walk_on().await;
        }
        Ok(SwitchAnswer {
            switched: false,
            dry_run,
            live: self.switcher.switch.live(),
            epoch: self.switcher.switch.epoch(),
            refused: (state == WalkState::Refused).then(|| sentence.clone()),
            explain: self.explanation(sentence),
            walk: Some(status),
        })
    }

    /// Goes on as far as the facts allow.
    pub(super) async fn walk_on(&mut self) {
        if !self.is_walking() {
            return;
        }
        // Each turn moves traffic once at most; what follows from it is seen in the next.
        for _ in 0..2 {
            let (facts, now) = (self.facts(), self.clock.now());
            let Some(walk) = self.walking.as_mut().and_then(|walking| walking.walk.as_mut()) else { return };
            let outputs = walk.handle(&facts, now);
            let moved = outputs.iter().any(|output| matches!(output, Output::MoveTraffic(_)));
            self.carry_out_walk(outputs).await;
            if !moved {
                break;
            }
        }
        if let Some(walking) = &mut self.walking
            && let Some(walk) = walking.walk.clone()
        {
            walking.status.state = if walk.is_undoing() { WalkState::Undoing } else { WalkState::Running };
            walking.show(walk.records());
        }
        self.tell_wish();
    }

    /// Tells the switch whose move the next one is, before a report of a node that has stopped makes it move: that of a
    /// switch of the whole site, else of an operator at a node.
    pub(super) fn tell_wish(&mut self) {
        let wished = match self.walking.as_ref().and_then(|walking| walking.walk.as_ref()) {
            Some(walk) => walk.wished(),
            None => self.chosen().map(|chosen| chosen.serves),
        };
        if wished != self.switcher.switch.wished() && !made(Mistake::WishUntold) {
            self.work.push_front(Work::Switch(switch::Event::Wished(wished)));
        }
    }

    /// Who wished for the move that [`Self::tell_wish`] told of, and why.
    pub(super) fn wisher(&self) -> Option<Asker> {
        match self.walking.as_ref().filter(|walking| walking.walk.is_some()) {
            Some(walking) => Some(walking.asker()),
            None => self.chosen().map(|chosen| Asker { by: chosen.who.clone(), why: chosen.reason.clone() }),
        }
    }

    /// What an operator chose at a XiVO node.
    fn chosen(&self) -> Option<&Chosen> {
        self.nodes.as_ref()?.registry.chosen(self.clock.now())
    }

    async fn carry_out_walk(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Wish { node, id, to } => self.hand_wish(node, id, to),
                Output::MoveTraffic(to) => self.move_for_walk(to).await,
                Output::Told(sentence) => {
                    tracing::info!("planned switch: {sentence}");
                    self.walk_journal(sentence);
                }
                Output::Ended(end) => self.end_walk(end),
            }
        }
    }

    fn hand_wish(&mut self, node: Side, id: u64, to: Side) {
        let Some(walking) = &self.walking else { return };
        let wish = Wish { id, to, who: walking.status.by.clone(), reason: walking.reason.clone() };
        if let Some(nodes) = &mut self.nodes {
            let node = if made(Mistake::WishMisplaced) { node.other() } else { node };
            nodes.wishes[node] = Some(wish);
        }
    }

    async fn move_for_walk(&mut self, to: Side) {
        let Some(walking) = &self.walking else { return };
        let (by, why) = (walking.status.by.clone(), walking.reason.clone());
        let moved = self.order_act(Act::Switch { to, guard: Guard::Checked }, by, why).await;
        if let Err(error) = moved {
            let (facts, now) = (self.facts(), self.clock.now());
            let walk = self.walking.as_mut().and_then(|walking| walking.walk.as_mut());
            let outputs = walk.map(|walk| walk.refused(&error.to_string(), &facts, now)).unwrap_or_default();
            // A refusal brings wishes and words, and no further move.
            for output in outputs {
                match output {
                    Output::Wish { node, id, to } => self.hand_wish(node, id, to),
                    Output::Told(sentence) => self.walk_journal(sentence),
                    Output::Ended(end) => self.end_walk(end),
                    Output::MoveTraffic(_) => {}
                }
            }
        }
    }

    fn walk_journal(&mut self, sentence: String) {
        let asker = self.walking.as_ref().map(Walking::asker);
        self.journal_of(Event::Walk, format!("planned switch: {sentence}"), asker.as_ref());
    }

    fn end_walk(&mut self, end: End) {
        let Some(walking) = &mut self.walking else { return };
        let Some(walk) = walking.walk.take() else { return };
        walking.show(walk.records());
        let (to, from) = (Side::title(walk.to()), walk.to().other());
        let (state, counted, sentence) = match end {
            End::Moved => (WalkState::Done, Walked::Done, format!("{to} serves, and all of it was verified")),
            End::Failed { why, undone: Undone::Nothing } => {
                (WalkState::Failed, Walked::Undone, format!("{why}; nothing was changed"))
            }
            End::Failed { why, undone: Undone::All } => {
                (WalkState::Failed, Walked::Undone, format!("{why}; all was undone, {from} serves as before"))
            }
            End::Failed { why, undone: Undone::NotAll(missing) } => {
                (WalkState::Failed, Walked::Failed, format!("{why}; NOT ALL WAS UNDONE: {missing}"))
            }
        };
        (walking.status.state, walking.status.sentence) = (state, sentence.clone());
        walking.status.ended = Some(Time::now());
        if let Some(nodes) = &mut self.nodes {
            if !made(Mistake::WishKept) {
                nodes.wishes = PerSide::default();
            }
            nodes.means.metrics.walks.of(counted).inc();
        }
        if counted == Walked::Failed {
            tracing::error!("planned switch: {sentence}");
        } else {
            tracing::warn!("planned switch: {sentence}");
        }
        if !made(Mistake::EndUntold) {
            self.walk_journal(sentence);
        }
    }

    /// Shows whether one is under way.
    pub(super) fn count_walk(&self) {
        if let Some(nodes) = &self.nodes {
            nodes.means.metrics.walking.set(i64::from(self.is_walking()));
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
    pub(super) fn awaits_walk(&self) -> bool {
        let live = self.monitor.health.side(self.switcher.switch.live());
        let patience = self.plan.site.config.switch.park_limit;
        let stopped = matches!(live.reason, Reason::NodeSays { .. });
        self.is_walking() && stopped && self.clock.now().since(live.since) < patience
    }
}

/// Grows over restarts of the Edge, and over a clock that was set back: nodes follow each wish once.
fn first_wish(facts: &Facts) -> u64 {
    let newest = |side| facts.sides[side].xivo.as_ref()?.wished.as_ref().map(|wished| wished.id);
    let known = Side::BOTH.into_iter().filter_map(newest).max().unwrap_or(0);
    known.max(u64::try_from(Time::now().unix_ms()).unwrap_or(0))
}

impl Walking {
    fn show(&mut self, records: &[Record]) {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let step = |(record, expected): (&Record, &Duration)| WalkStep {
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

fn api_check(check: &crate::site::switchover::Check) -> WalkCheck {
    WalkCheck { check: check.name.to_owned(), passed: check.passed, said: check.said.clone() }
}
