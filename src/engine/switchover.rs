//! The driver of a planned switch of the whole site. It knows the nodes, tells the machine (`site::switchover`) the facts,
//! and lays its wishes out for the nodes. What else is to be done are values: the engine has traffic moved by the switcher,
//! and writes the journal.

mod limits;

use std::time::Duration;

use failover::{Instant, PerSide, Side};
use protocol::wire::{Role, Wish};

use self::limits::{expected, limits};
use super::act::Asker;
use super::mistakes::{Mistake, made};
use super::nodes::Nodes;
use crate::admin::api::{SwitchRequest, SwitchoverCheck, SwitchoverState, SwitchoverStatus, SwitchoverStep, Time};
use crate::config::Config;
use crate::site::switchover::{
    Cc, Check, End, Facts, Half, Limits, Output, Record, Switchover, Undone, Xivo, preflight,
};
use crate::telemetry::metrics::SwitchoverResult;

/// The nodes, and the switch of the whole site that is made with them.
pub(super) struct SwitchoverDriver {
    pub(super) nodes: Nodes,
    /// One at most: two would ask the same nodes for opposite things.
    under_way: Option<UnderWay>,
    /// The newest that is over, or was refused. Operators read it until the next one begins.
    past: Option<SwitchoverStatus>,
}

struct UnderWay {
    machine: Switchover,
    status: SwitchoverStatus,
    /// Whoever ordered it: all that comes of it is booked to them.
    asker: Asker,
    expected: Vec<Duration>,
    limits: Limits,
}

/// The facts of one instant that monitor, switcher and request path know; those of the nodes the driver has itself.
pub(super) struct Seen {
    pub(super) sides: PerSide<SeenSide>,
    pub(super) live: Side,
    pub(super) observe: bool,
}

/// What monitor and switcher know of a side when a step is decided.
pub(super) struct SeenSide {
    pub(super) works: bool,
    /// Why the side works or does not, in one sentence.
    pub(super) health: String,
    /// Whether anything of it answers probes, if only to refuse.
    pub(super) answers: bool,
    pub(super) sessions: u64,
}

/// What is left for the engine to do, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Have the switch move traffic; if it refuses, [`SwitchoverDriver::refused`] wants to know.
    MoveTraffic { to: Side, asker: Asker },
    /// Tell of a step.
    Told { sentence: String, asker: Asker },
    /// Tell how it ended.
    Ended { sentence: String, asker: Asker, result: SwitchoverResult },
}

impl SwitchoverDriver {
    /// Knows of no node yet.
    pub(super) fn new(nodes: Nodes) -> Self {
        Self { nodes, under_way: None, past: None }
    }

    /// Whether an order is for this driver. Once XiVO nodes report, a switch is one of the whole site, unless it is forced:
    /// traffic alone would go to a side whose telephony does not serve. While one is under way no order goes past it, not
    /// even a forced one: the two would undo each other.
    pub(super) fn takes(&self, request: &SwitchRequest, now: Instant) -> bool {
        self.is_under_way() && !request.dry_run || self.nodes.registry.has_xivo(now) && !request.force
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// When nodes or machine want to be called again; a report, an order or [`Self::go_on`] may change it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let machine = self.under_way.as_ref().and_then(|under_way| under_way.machine.deadline());
        [self.nodes.registry.deadline(), machine].into_iter().flatten().min()
    }

    /// The one under way, else the newest that was ordered since the Edge started.
    pub(super) fn status(&self) -> Option<&SwitchoverStatus> {
        self.under_way.as_ref().map(|under_way| &under_way.status).or(self.past.as_ref())
    }

    /// Looks whether a switch could be made, and begins it if it can and is no dry run. The first wishes come with
    /// [`Self::go_on`].
    ///
    /// # Errors
    /// Another one is under way; the sentence says so.
    pub(super) fn order(
        &mut self,
        request: &SwitchRequest,
        seen: &Seen,
        config: &Config,
        now: Instant,
    ) -> Result<SwitchoverStatus, String> {
        if self.is_under_way() {
            return Err("A switch of the whole site is under way; see bascule status.".to_owned());
        }
        let to = request.to;
        let facts = facts(&self.nodes, seen, now);
        let checks = preflight(to, &facts);
        let (state, sentence) = outlook(to, &checks, request.dry_run);
        let limits = limits(config);
        let mut beginning = UnderWay {
            machine: Switchover::new(to, limits, first_wish(&facts), now),
            status: SwitchoverStatus {
                to,
                by: request.by.clone(),
                began: Time::now(),
                ended: (state != SwitchoverState::Running).then(Time::now),
                state,
                sentence,
                checks: checks.iter().map(api_check).collect(),
                steps: Vec::new(),
            },
            asker: Asker { by: request.by.clone(), why: request.reason.clone() },
            expected: expected(to, &facts, config),
            limits,
        };
        beginning.show_steps();
        let status = beginning.status.clone();
        // A dry run leaves no trace: operators would take what it answered for the newest order.
        match state {
            SwitchoverState::Running => self.under_way = Some(beginning),
            SwitchoverState::Refused if !request.dry_run => {
                self.nodes.means.metrics.switchovers.of(SwitchoverResult::Refused).inc();
                self.past = Some(beginning.status);
            }
            _ => {}
        }
        Ok(status)
    }

    /// Goes on as far as the facts allow.
    pub(super) fn go_on(&mut self, seen: &Seen, now: Instant) -> Vec<Effect> {
        self.advance(seen, now, |machine, facts| machine.handle(facts, now))
    }

    /// Hears that traffic could not be moved, and why. What comes of it moves no traffic.
    pub(super) fn refused(&mut self, why: &str, seen: &Seen, now: Instant) -> Vec<Effect> {
        self.advance(seen, now, |machine, facts| machine.refused(why, facts, now))
    }

    fn advance(
        &mut self,
        seen: &Seen,
        now: Instant,
        advance: impl FnOnce(&mut Switchover, &Facts) -> Vec<Output>,
    ) -> Vec<Effect> {
        let Some(under_way) = &mut self.under_way else { return Vec::new() };
        let outputs = advance(&mut under_way.machine, &facts(&self.nodes, seen, now));
        under_way.show();
        outputs.into_iter().filter_map(|output| self.carry_out(output)).collect()
    }

    fn carry_out(&mut self, output: Output) -> Option<Effect> {
        let asker = self.under_way.as_ref()?.asker.clone();
        match output {
            Output::Wish { node, id, to } => {
                let wish = Wish { id, to, who: asker.by, reason: asker.why };
                self.nodes.lay_out(if made(Mistake::WishMisplaced) { node.other() } else { node }, wish);
                None
            }
            Output::MoveTraffic(to) => Some(Effect::MoveTraffic { to, asker }),
            Output::Told(sentence) => Some(Effect::Told { sentence, asker }),
            Output::Ended(end) => self.end(end),
        }
    }

    fn end(&mut self, end: End) -> Option<Effect> {
        let UnderWay { machine, mut status, asker, .. } = self.under_way.take()?;
        let (to, from) = (Side::title(machine.to()), machine.to().other());
        let (state, result, sentence) = match end {
            End::Moved => {
                let sentence = format!("{to} serves, and all of it was verified");
                (SwitchoverState::Done, SwitchoverResult::Done, sentence)
            }
            End::Failed { why, undone: Undone::Nothing } => {
                (SwitchoverState::Failed, SwitchoverResult::Undone, format!("{why}; nothing was changed"))
            }
            End::Failed { why, undone: Undone::All } => {
                let sentence = format!("{why}; all was undone, {from} serves as before");
                (SwitchoverState::Failed, SwitchoverResult::Undone, sentence)
            }
            End::Failed { why, undone: Undone::NotAll(missing) } => {
                let sentence = format!("{why}; NOT ALL WAS UNDONE: {missing}");
                (SwitchoverState::Failed, SwitchoverResult::Failed, sentence)
            }
        };
        (status.state, status.sentence, status.ended) = (state, sentence.clone(), Some(Time::now()));
        self.past = Some(status);
        // A node that comes back later, or boots again, would follow a wish that nobody has any more.
        if !made(Mistake::WishKept) {
            self.nodes.withdraw_wishes();
        }
        self.nodes.means.metrics.switchovers.of(result).inc();
        Some(Effect::Ended { sentence, asker, result })
    }

    /// The side to which the next move of traffic is somebody's wish: that of a switch of the whole site, else of an operator
    /// at a node.
    pub(super) fn wished(&self, now: Instant) -> Option<Side> {
        match &self.under_way {
            Some(under_way) => under_way.machine.wished(),
            None => self.nodes.registry.chosen(now).map(|chosen| chosen.serves),
        }
    }

    /// Whose wish [`Self::wished`] is, and why.
    pub(super) fn wisher(&self, now: Instant) -> Option<Asker> {
        match &self.under_way {
            Some(under_way) => Some(under_way.asker.clone()),
            None => {
                let chosen = self.nodes.registry.chosen(now)?;
                Some(Asker { by: chosen.who.clone(), why: chosen.reason.clone() })
            }
        }
    }
}

impl UnderWay {
    fn show(&mut self) {
        let undoing = self.machine.is_undoing();
        self.status.state = if undoing { SwitchoverState::Undoing } else { SwitchoverState::Running };
        self.show_steps();
    }

    fn show_steps(&mut self) {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let step = |(record, expected): (&Record, &Duration)| SwitchoverStep {
            step: record.step.to_string(),
            state: record.state,
            said: record.said.clone(),
            took_ms: ms(record.took),
            expected_ms: ms(*expected),
            limit_ms: ms(self.limits.of(record.step)),
        };
        self.status.steps = self.machine.records().iter().zip(&self.expected).map(step).collect();
    }
}

/// What becomes of an order, by what must hold before it.
fn outlook(to: Side, checks: &[Check], dry_run: bool) -> (SwitchoverState, String) {
    let failed: Vec<&str> = checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
    let to = Side::title(to);
    match (failed.is_empty(), dry_run) {
        (false, _) => {
            let sentence = format!("{to} cannot be made to serve: these do not hold: {}", failed.join(", "));
            (SwitchoverState::Refused, sentence)
        }
        (true, true) => (SwitchoverState::Planned, format!("{to} could be made to serve; nothing was done")),
        (true, false) => (SwitchoverState::Running, format!("{to} is being made to serve")),
    }
}

/// Grows over restarts of the Edge, and over a clock that was set back: nodes follow each wish once, and would take a
/// number they know for the old wish.
fn first_wish(facts: &Facts) -> u64 {
    let newest = |side| facts.sides[side].xivo.as_ref()?.wished.as_ref().map(|wished| wished.id);
    let known = Side::BOTH.into_iter().filter_map(newest).max().unwrap_or(0);
    known.max(u64::try_from(Time::now().unix_ms()).unwrap_or(0))
}

fn facts(nodes: &Nodes, seen: &Seen, now: Instant) -> Facts {
    let of_mds = nodes.registry.all().filter(|(node, known)| node.role == Role::Mds && known.is_fresh(now));
    let both = of_mds.filter(|(_, known)| known.report.presence.as_ref().is_some_and(|seen| seen.conflict));
    Facts {
        sides: PerSide { main: half(nodes, seen, Side::Main, now), standby: half(nodes, seen, Side::Standby, now) },
        has_cc_nodes: nodes.registry.all().any(|(node, _)| node.role == Role::Cc),
        conflicts: both.map(|(node, _)| node.name.clone()).collect(),
        live: seen.live,
        observe: seen.observe,
    }
}

fn half(nodes: &Nodes, seen: &Seen, side: Side, now: Instant) -> Half {
    // What a node said before it fell silent is no fact any more: it may have stopped since.
    let xivo = nodes.registry.xivo(side).filter(|(_, known)| known.is_fresh(now));
    let cc = nodes.registry.fresh(Role::Cc, side, now);
    let SeenSide { works, health, answers, sessions } = &seen.sides[side];
    Half {
        xivo: xivo.map(|(node, known)| Xivo {
            name: node.name.clone(),
            status: known.report.status,
            version: known.report.version.clone(),
            vote: known.report.vote.clone(),
            failed_starts: known.report.failed_starts.clone(),
            media_servers: known.report.media_servers.clone(),
            wished: known.report.wished.clone(),
        }),
        cc: cc.map(|(node, known)| Cc { name: node.name.clone(), status: known.report.status }).collect(),
        works: *works,
        health: health.clone(),
        answers: *answers,
        sessions: *sessions,
    }
}

fn api_check(check: &Check) -> SwitchoverCheck {
    SwitchoverCheck { check: check.name.to_owned(), passed: check.passed, said: check.said.clone() }
}
