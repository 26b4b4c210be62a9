//! A planned switch of the whole site, step by step: a machine without clock, sockets or log. What it wants done are values;
//! what it knows are facts. Nodes are asked, never ordered: each follows by its own rules, or says why not.
//!
//! ```text
//!  preflight ─▶ hand over ─▶ stop ─▶ start ─▶ register ─▶ contact centre ─▶ traffic ─▶ verify ─▶ done
//!      │            │          └────────┴─────────┴──────────────┴─────────────┴─────────┘
//!      ▼            ▼ refused                     a step fails, or takes too long
//!   refused      failed, nothing                                │
//!                was changed                                    ▼
//!                                    undo: wishes back to the source, traffic back ─▶ failed, undone or not
//! ```

mod facts;
mod preflight;
mod step;

use std::time::Duration;

use failover::{Instant, PerSide, Side, Span};

use crate::admin::api::SwitchoverStepState;
pub use facts::{Cc, Facts, Half, Xivo};
pub use preflight::{Check, preflight};
use step::Progress;
pub use step::{Limits, Step};

/// The target is given so long to start by itself before it is asked to.
const BY_ITSELF: Duration = Duration::from_secs(2);
/// Between two attempts to move traffic.
const AGAIN: Duration = Duration::from_secs(1);

/// A switch of the whole site.
#[derive(Debug, Clone)]
pub struct Switchover {
    to: Side,
    limits: Limits,
    /// The number of the newest wish.
    wish: u64,
    /// The wish that each node was told last.
    wished: PerSide<Option<u64>>,
    stage: Stage,
    records: Vec<Record>,
    moved_at: Option<Instant>,
    asked_at: Option<Instant>,
    /// When it last looked at the facts.
    now: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Forward { step: Step, since: Instant },
    Undoing { since: Instant, fault: bool },
    Over,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The step.
    pub step: Step,
    /// How far.
    pub state: SwitchoverStepState,
    /// What there is to say of it.
    pub said: String,
    /// How long it took, or has taken.
    pub took: Duration,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Hand this wish to the XiVO node of a side, with its next report.
    Wish {
        /// The node's side.
        node: Side,
        /// The wish's number.
        id: u64,
        /// The side that is to serve.
        to: Side,
    },
    /// Move the Edge's traffic as a planned switch does.
    MoveTraffic(Side),
    /// A step is done, or is what failed.
    Told(String),
    /// It is over: nothing more is wanted.
    Ended(End),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything was moved and verified.
    Moved,
    /// A step failed.
    Failed {
        /// Which one, and why, in one sentence.
        why: String,
        /// What became of what had been done.
        undone: Undone,
    },
}

/// What became of what had been done before a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// Nothing had been done.
    Nothing,
    /// All is as it was.
    All,
    /// Not all is as it was: what is missing.
    NotAll(String),
}

impl Switchover {
    /// Begins one. Wishes are numbered from `first_wish` on.
    pub fn new(to: Side, limits: Limits, first_wish: u64, now: Instant) -> Self {
        let record =
            |step| Record { step, state: SwitchoverStepState::Waiting, said: String::new(), took: Duration::ZERO };
        Self {
            to,
            limits,
            wish: first_wish,
            wished: PerSide::default(),
            stage: Stage::Forward { step: Step::HandOver, since: now },
            records: Step::ALL.iter().copied().map(record).collect(),
            moved_at: None,
            asked_at: None,
            now,
        }
    }

    /// The side that is to serve.
    pub const fn to(&self) -> Side {
        self.to
    }

    /// The side whose traffic, if it comes there now, comes as somebody's wish; none where a fault brings it.
    pub const fn wished(&self) -> Option<Side> {
        match self.stage {
            Stage::Forward { .. } => Some(self.to),
            Stage::Undoing { fault: false, .. } => Some(self.to.other()),
            Stage::Undoing { fault: true, .. } | Stage::Over => None,
        }
    }

    /// How far each step is.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether what was done is being undone.
    pub const fn is_undoing(&self) -> bool {
        matches!(self.stage, Stage::Undoing { .. })
    }

    /// When to call again even if nothing happens: always later than the last call, or its driver would turn without end.
    /// It changes with [`Self::handle`] and [`Self::refused`].
    pub fn deadline(&self) -> Option<Instant> {
        match self.stage {
            // Once that time is over, it is a report that lets the target be asked.
            Stage::Forward { step: Step::Start, since }
                if self.wished[self.to].is_none() && self.now < since + BY_ITSELF =>
            {
                Some(since + BY_ITSELF)
            }
            Stage::Forward { step, since } => Some(since + self.limits.of(step)),
            // Reports come twice a second: whatever is tried again is tried with one of them.
            Stage::Undoing { since, .. } => Some(since + self.limits.undo),
            Stage::Over => None,
        }
    }

    /// Goes on as far as the facts allow.
    pub fn handle(&mut self, facts: &Facts, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        // Time that steps back must not bring a deadline back that is over.
        self.now = self.now.max(now);
        loop {
            match self.stage.clone() {
                Stage::Forward { step, since } => {
                    if !self.forward(step, since, facts, now, &mut outputs) {
                        return outputs;
                    }
                }
                Stage::Undoing { since, .. } => {
                    self.undo_on(since, facts, now, &mut outputs);
                    return outputs;
                }
                Stage::Over => return outputs,
            }
        }
    }

    /// Traffic could not be moved: why.
    pub fn refused(&mut self, why: &str, facts: &Facts, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        if let Stage::Forward { step: Step::Traffic, .. } = self.stage {
            self.fail(Step::Traffic, why.to_owned(), facts, now, &mut outputs);
        }
        outputs
    }

    /// Looks at one step; whether there is a next one to look at.
    fn forward(&mut self, step: Step, since: Instant, facts: &Facts, now: Instant, outputs: &mut Vec<Output>) -> bool {
        let took = now.since(since);
        let over = took >= self.limits.of(step);
        // Else the step could fail in the same breath in which it has traffic moved, and say that nothing was changed.
        if !over {
            self.act(step, since, facts, now, outputs);
        }
        let progress = step.progress(self.to, facts, &self.wished);
        let record = self.record(step);
        record.took = took;
        match progress {
            Progress::Passed(said) => {
                (record.state, record.said) = (SwitchoverStepState::Done, said.clone());
                outputs.push(Output::Told(format!("{step}: {said}")));
                self.next(step, now, outputs)
            }
            Progress::Failed(why) => {
                self.fail(step, why, facts, now, outputs);
                true
            }
            // Users are served, and what is left was closed by the switch's own limit.
            Progress::Lingers(said) if over => {
                (record.state, record.said) = (SwitchoverStepState::Done, said.clone());
                outputs.push(Output::Told(format!("{step}: {said}")));
                self.next(step, now, outputs)
            }
            Progress::Waiting(said) if over => {
                let limit = Span(self.limits.of(step));
                self.fail(step, format!("{said}; not within {limit}"), facts, now, outputs);
                true
            }
            Progress::Waiting(said) | Progress::Lingers(said) => {
                (record.state, record.said) = (SwitchoverStepState::Running, said);
                false
            }
        }
    }

    /// What a step asks for as long as it is not done.
    fn act(&mut self, step: Step, since: Instant, facts: &Facts, now: Instant, outputs: &mut Vec<Output>) {
        let from = self.to.other();
        match step {
            // Asked once. A source that does not serve has nothing to hand over, and the step passes by itself.
            Step::HandOver if self.wished[from].is_none() && facts.serves(from) => self.wish(from, self.to, outputs),
            Step::Start
                if self.wished[self.to].is_none()
                    && now.since(since) >= BY_ITSELF
                    && facts.is_inactive(self.to)
                    // Never while the source serves: the target would want a vote that it cannot be given.
                    && !facts.serves(from) =>
            {
                self.wish(self.to, self.to, outputs);
            }
            // Not before the Edge has seen it work: the node's word that it serves is no proof that users are served.
            Step::Traffic if facts.live != self.to && facts.half(self.to).works => {
                self.move_traffic(self.to, now, outputs);
            }
            _ => {}
        }
    }

    fn next(&mut self, step: Step, now: Instant, outputs: &mut Vec<Output>) -> bool {
        match step.next() {
            Some(step) => {
                self.record(step).state = SwitchoverStepState::Running;
                self.stage = Stage::Forward { step, since: now };
                true
            }
            None => {
                self.stage = Stage::Over;
                outputs.push(Output::Ended(End::Moved));
                false
            }
        }
    }

    fn fail(&mut self, step: Step, why: String, facts: &Facts, now: Instant, outputs: &mut Vec<Output>) {
        let why = format!("{step}: {why}");
        let record = self.record(step);
        (record.state, record.said) = (SwitchoverStepState::Failed, why.clone());
        outputs.push(Output::Told(format!("failed: {why}")));
        let from = self.to.other();
        let refused = step == Step::HandOver && step::refusal(facts, from, self.wished[from]).is_some();
        // Nothing was asked of anybody: there is nothing to undo, and an undo would itself be an act.
        let untouched = self.wished[from].is_none() && self.wished[self.to].is_none() && facts.live == from;
        if refused || untouched {
            self.stage = Stage::Over;
            outputs.push(Output::Ended(End::Failed { why, undone: Undone::Nothing }));
            return;
        }
        self.moved_at = None;
        self.wished[from] = None;
        // A target that has the traffic, says that it serves and does not work, has failed: leaving it is a rescue.
        let fault = facts.live == self.to && facts.serves(self.to) && !facts.half(self.to).works;
        self.stage = Stage::Undoing { since: now, fault };
        // In place of whatever it was asked before.
        self.wish(self.to, from, outputs);
    }

    fn undo_on(&mut self, since: Instant, facts: &Facts, now: Instant, outputs: &mut Vec<Output>) {
        let from = self.to.other();
        // Telephony before traffic: the source must serve again before users are sent back to it.
        self.ask_back(facts, now, outputs);
        if facts.live != from && facts.half(from).works {
            self.move_traffic(from, now, outputs);
        }
        let missing = self.missing(facts);
        let undone = match missing {
            None => Undone::All,
            Some(what) if now.since(since) >= self.limits.undo => Undone::NotAll(what),
            Some(_) => return,
        };
        let failed = self.records.iter().find(|record| record.state == SwitchoverStepState::Failed);
        let why = failed.map(|record| record.said.clone()).unwrap_or_default();
        self.stage = Stage::Over;
        outputs.push(Output::Ended(End::Failed { why, undone }));
    }

    /// Asks the source to serve again, once the target does not: before that it would refuse, and so it may for as long as it
    /// has not heard of it.
    fn ask_back(&mut self, facts: &Facts, now: Instant, outputs: &mut Vec<Output>) {
        let from = self.to.other();
        let refused = !facts.serves(from) && step::refusal(facts, from, self.wished[from]).is_some();
        let again = refused && self.asked_at.is_none_or(|at| now.since(at) >= BY_ITSELF);
        if !facts.runs(self.to) && (self.wished[from].is_none() || again) {
            self.asked_at = Some(now);
            self.wish(from, from, outputs);
        }
    }

    /// What is not as it was before.
    fn missing(&self, facts: &Facts) -> Option<String> {
        let from = self.to.other();
        let heard = self.wished[from].is_some() && step::answered(facts, from, self.wished[from]);
        if !facts.is_active(from) || !heard {
            return Some(format!("{from} {}", facts.in_words(from)));
        }
        if facts.serves(self.to) {
            return Some(format!("{} {}", self.to, facts.in_words(self.to)));
        }
        (facts.live != from).then(|| format!("traffic is on {}", facts.live))
    }

    fn wish(&mut self, node: Side, to: Side, outputs: &mut Vec<Output>) {
        self.wish += 1;
        self.wished[node] = Some(self.wish);
        outputs.push(Output::Wish { node, id: self.wish, to });
    }

    fn move_traffic(&mut self, to: Side, now: Instant, outputs: &mut Vec<Output>) {
        // Facts come faster than the switch answers: each of them would be an order.
        if self.moved_at.is_none_or(|at| now.since(at) >= AGAIN) {
            self.moved_at = Some(now);
            outputs.push(Output::MoveTraffic(to));
        }
    }

    fn record(&mut self, step: Step) -> &mut Record {
        // There is a record of each step, in their order.
        &mut self.records[step as usize]
    }
}

#[cfg(test)]
mod tests;
