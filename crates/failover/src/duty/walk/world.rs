//! Both nodes, the witness, their disks and what is on its way between them.

use super::super::act::Act;
use super::super::ask::{Elector, PerElector};
use super::super::guard::{Surroundings, Unguarded};
use super::super::machine::{Duty, Event, Found, Memory, Outcome, Phase};

use super::super::output::Output;
use super::super::settings::{Choice, Settings, Wishes, Witness};
use crate::lease::{self, Answer, Ask, Request, Ruling, Timing, Voter};
use crate::side::{PerSide, Side};
use crate::time::Instant;
use core::time::Duration;

pub(super) const TICK: Duration = Duration::from_secs(1);
/// No node and no link, but the witness.
pub(super) const WITNESS: usize = 2;

pub(super) const fn ticks(count: u32) -> Duration {
    Duration::from_secs(count as u64)
}

/// What a walk explores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) timing: Timing,
    /// A request and its answer travel at most so many ticks; later ones are `late`.
    pub(super) delay: u8,
    /// How many requests and answers may be late without limit at the same time.
    pub(super) late: usize,
    /// Whose clock is slow, if any's: it loses one tick in `pace`.
    pub(super) slow: Option<usize>,
    pub(super) pace: u8,
    /// For so many ticks a node's watchdog may be kept waiting.
    pub(super) pause: u8,
    /// Links that carry nothing.
    pub(super) cut: [bool; 4],
    /// Whose host may crash, and whose disk may be lost with it: Main's, Standby's, the witness's.
    pub(super) crashes: [bool; 3],
    pub(super) lost_disks: [bool; 3],
    /// Whether a start takes time, and may fail.
    pub(super) slow_start: bool,
    /// Whether a watchdog may die and leave its services running until the kernel's fence.
    pub(super) orphans: bool,
    /// Whether the rules without a majority are at work: reports count, and hellos are sent.
    pub(super) unguarded: bool,
    /// Whether operators have nodes step back, and choose them.
    pub(super) operators: bool,
    /// Whether there is a witness.
    pub(super) witness: Witness,
    /// Whether any want may come with or without proof of a round trip: more than can happen, in far fewer states. A want
    /// denied for the lack of it is one that was lost.
    pub(super) any_proof: bool,
}

impl Plan {
    /// Whether what nodes tell of themselves counts: then hellos are sent, too.
    pub(super) const fn reports(&self) -> bool {
        self.unguarded || self.operators
    }
}

/// A request or its answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Idle,
    Asking { request: Request, sent: Instant },
    Answering { answer: Answer, sent: Instant },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) duty: Option<Duty>,
    pub(super) disk: Option<Memory>,
    pub(super) clock: Instant,
    /// From the start command until phones are kept out.
    pub(super) serving: bool,
    /// Whether it said that it is unguarded when it was seen last.
    pub(super) unguarded: bool,
    /// Since when phones are to be kept out.
    pub(super) fencing: Option<Instant>,
    /// When the kernel keeps phones out by itself.
    pub(super) permit: Option<Instant>,
    /// When the witness was last out for it.
    pub(super) out_at: Option<Instant>,
    /// Ticks for which the watchdog has been kept waiting.
    pub(super) paused: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) nodes: [Node; 2],
    pub(super) witness: Option<Voter>,
    pub(super) witness_disk: Option<lease::Memory>,
    pub(super) witness_clock: Instant,
    /// Main to Standby, Main to witness, Standby to Main, Standby to witness.
    pub(super) links: [Link; 4],
    pub(super) late: [Option<(usize, Link)>; 2],
    /// Ticks since the slow clock lost one.
    pub(super) credit: u8,
    /// The highest epoch in which a node started, and whether one was not above all before.
    pub(super) epoch: u64,
    pub(super) epoch_repeated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deliver(usize),
    /// A want, with proof of a round trip.
    DeliverProven(usize),
    Lose(usize),
    Delay(usize),
    DeliverLate(usize),
    LoseLate(usize),
    Started(usize, Outcome),
    Fenced(usize),
    Stopped(usize),
    TelephonyDies(usize),
    StepsBack(usize),
    Chosen(usize),
    Crash(usize),
    WatchdogDies(usize),
    Boot(usize),
    BootEmpty(usize),
    Tick,
    /// One whose clock is slow does not notice this tick.
    TickSlow,
    /// The watchdog of this node, or of both, is kept waiting.
    TickPaused(usize),
}

pub(super) fn settings(side: Side, plan: &Plan) -> Settings {
    Settings { timing: plan.timing, hold_down: Duration::ZERO, witness: plan.witness, ..Settings::new(side) }
}

const CLEAN: lease::Memory = lease::Memory { record: lease::Record::Free, epoch: 0 };

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let clock = Instant::from_micros(1_000_000_000);
        let node = |side| {
            let wishes: Wishes = settings(side, plan).wishes;
            Node {
                duty: None,
                disk: Some(Memory { vote: CLEAN, campaign: 0, wishes }),
                clock,
                serving: false,
                unguarded: false,
                fencing: None,
                permit: None,
                out_at: None,
                paused: 0,
            }
        };
        let mut world = Self {
            nodes: [node(Side::Main), node(Side::Standby)],
            witness: None,
            witness_disk: Some(CLEAN),
            witness_clock: clock,
            links: [Link::Idle; 4],
            late: [None; 2],
            credit: plan.pace,
            epoch: 0,
            epoch_repeated: false,
        };
        for whom in 0..3 {
            world.boot(plan, whom);
        }
        world
    }

    /// W1: no two nodes serve, unless one shows that it is unguarded.
    pub(super) fn breaks_w1(&self) -> bool {
        let [main, standby] = &self.nodes;
        main.serving && standby.serving && !main.unguarded && !standby.unguarded
    }

    /// W1b: no node becomes unguarded by itself before both agreed that the witness is out.
    pub(super) fn breaks_w1b(&self, before: &Self) -> bool {
        let unguarded = |world: &Self, side: usize| world.nodes[side].duty.and_then(|duty| duty.unguarded);
        // Word of it is on its way for a tick at most.
        let out = |side: usize| {
            let node = &before.nodes[side];
            node.out_at.is_some_and(|at| node.clock.since(at) <= TICK)
        };
        let agrees = |side: usize| self.nodes[side].duty.is_some_and(|duty| duty.agreed);
        let agreed = |side: usize| before.nodes[side].duty.is_some_and(|duty| duty.agreed);
        (0..2).any(|side| {
            let alone = unguarded(before, side).is_none() && unguarded(self, side) == Some(Unguarded::WitnessOut);
            alone && !agrees(side) || agrees(side) && !agreed(side) && !out(1 - side)
        })
    }

    pub(super) fn actions(&self, plan: &Plan, actions: &mut std::vec::Vec<Action>) {
        actions.clear();
        for (link, state) in self.links.iter().enumerate() {
            match state {
                Link::Idle => {}
                Link::Asking { request, .. } => {
                    if self.is_up(target(link)) {
                        actions.push(Action::Deliver(link));
                        if plan.any_proof && request.ask == Ask::Want {
                            actions.push(Action::DeliverProven(link));
                        }
                    }
                    actions.push(Action::Lose(link));
                }
                Link::Answering { .. } => actions.extend([Action::Deliver(link), Action::Lose(link)]),
            }
            if *state != Link::Idle && self.late.iter().take(plan.late).any(Option::is_none) {
                actions.push(Action::Delay(link));
            }
        }
        for (slot, late) in self.late.iter().enumerate() {
            if let Some((link, message)) = late {
                actions.push(Action::LoseLate(slot));
                if matches!(message, Link::Answering { .. }) || self.is_up(target(*link)) {
                    actions.push(Action::DeliverLate(slot));
                }
            }
        }
        for (side, node) in self.nodes.iter().enumerate() {
            let Some(duty) = &node.duty else {
                actions.push(Action::Boot(side));
                if plan.lost_disks[side] {
                    actions.push(Action::BootEmpty(side));
                }
                continue;
            };
            if plan.crashes[side] {
                actions.push(Action::Crash(side));
            }
            match duty.phase {
                Phase::Inactive => {}
                Phase::Starting { .. } => {
                    actions.extend([Outcome::Done, Outcome::Failed].map(|outcome| Action::Started(side, outcome)));
                }
                Phase::Active { .. } => actions.push(Action::TelephonyDies(side)),
                Phase::Stopping(_) => {
                    if node.fencing.is_some() && plan.timing.fence > TICK {
                        actions.push(Action::Fenced(side));
                    }
                    actions.push(Action::Stopped(side));
                }
            }
            if plan.operators {
                let (choice, inactive) = (duty.wishes.choice, duty.phase == Phase::Inactive);
                if !inactive || choice != Choice::StepBack {
                    actions.push(Action::StepsBack(side));
                }
                if choice != Choice::Serve {
                    actions.push(Action::Chosen(side));
                }
            }
            if plan.orphans && node.serving {
                actions.push(Action::WatchdogDies(side));
            }
        }
        if self.witness.is_none() {
            actions.push(Action::Boot(WITNESS));
            if plan.lost_disks[WITNESS] {
                actions.push(Action::BootEmpty(WITNESS));
            }
        } else if plan.crashes[WITNESS] {
            actions.push(Action::Crash(WITNESS));
        }
        actions.push(Action::Tick);
        if plan.slow.is_some() && self.credit == plan.pace {
            actions.push(Action::TickSlow);
        }
        if plan.pause > 0 {
            for side in 0..2 {
                if self.nodes[side].duty.is_some() && self.nodes[side].paused < plan.pause {
                    actions.push(Action::TickPaused(side));
                }
            }
        }
    }

    pub(super) fn act(&mut self, plan: &Plan, action: Action) {
        self.take(plan, action);
        if plan.any_proof {
            let nodes = self.nodes.iter_mut().filter_map(|node| node.duty.as_mut());
            let voters = nodes.map(|duty| {
                duty.heard = PerElector::default();
                &mut duty.vote
            });
            voters.chain(&mut self.witness).for_each(|voter| voter.unproven = PerSide::default());
        }
    }

    fn take(&mut self, plan: &Plan, action: Action) {
        match action {
            Action::DeliverProven(link) => {
                if let Link::Asking { request, .. } = &mut self.links[link] {
                    request.hears = true;
                }
                self.take(plan, Action::Deliver(link));
            }
            Action::Deliver(link) => {
                let message = core::mem::replace(&mut self.links[link], Link::Idle);
                if let Some((answer, sent)) = self.deliver(plan, link, message) {
                    self.links[link] = Link::Answering { answer, sent };
                }
            }
            Action::Lose(link) => self.links[link] = Link::Idle,
            Action::Delay(link) => {
                let message = core::mem::replace(&mut self.links[link], Link::Idle);
                if let Some(free) = self.late.iter_mut().find(|late| late.is_none()) {
                    *free = Some((link, message));
                }
            }
            Action::DeliverLate(slot) => {
                if let Some((link, message)) = self.late[slot].take() {
                    self.deliver(plan, link, message);
                }
            }
            Action::LoseLate(slot) => self.late[slot] = None,
            Action::Started(side, outcome) => self.feed(plan, side, Event::Started(outcome)),
            Action::Fenced(side) => self.fence(plan, side),
            Action::Stopped(side) => {
                self.fence(plan, side);
                self.feed(plan, side, Event::Started(Outcome::Failed));
                self.feed(plan, side, Event::Stopped(Outcome::Done));
            }
            Action::TelephonyDies(side) => {
                self.feed(plan, side, Event::Unfit);
                self.feed(plan, side, Event::Fit);
            }
            Action::StepsBack(side) => self.feed(plan, side, Event::Act(Act::Deactivate)),
            Action::Chosen(side) => self.feed(plan, side, Event::Act(Act::Activate)),
            Action::Crash(WITNESS) => self.witness = None,
            Action::Crash(side) => {
                self.die(side);
                let Node { disk, clock, out_at, .. } = self.nodes[side];
                self.nodes[side] = Node {
                    duty: None,
                    disk,
                    clock,
                    serving: false,
                    unguarded: false,
                    fencing: None,
                    permit: None,
                    out_at,
                    paused: 0,
                };
            }
            Action::WatchdogDies(side) => {
                self.die(side);
                self.nodes[side].fencing = None;
            }
            Action::Boot(whom) => self.boot(plan, whom),
            Action::BootEmpty(WITNESS) => {
                self.witness_disk = None;
                self.boot(plan, WITNESS);
            }
            Action::BootEmpty(side) => {
                self.nodes[side].disk = None;
                self.boot(plan, side);
            }
            Action::Tick => {
                self.credit = (self.credit + 1).min(plan.pace);
                self.tick(plan, [true; 3], [false; 2]);
            }
            Action::TickSlow => {
                self.credit = 0;
                let slow = plan.slow.unwrap_or(WITNESS);
                self.tick(plan, [0, 1, 2].map(|who| who != slow), [false; 2]);
            }
            Action::TickPaused(side) => {
                self.credit = (self.credit + 1).min(plan.pace);
                self.tick(plan, [true; 3], [side == 0, side == 1]);
            }
        }
    }

    /// Delivers a message; returns the answer to it, which is lost if the message was late.
    fn deliver(&mut self, plan: &Plan, link: usize, message: Link) -> Option<(Answer, Instant)> {
        match message {
            Link::Idle => None,
            Link::Asking { request, sent } => self.rule(plan, link, request).map(|answer| (answer, sent)),
            Link::Answering { answer, sent } => {
                let by = if target(link) == WITNESS { Elector::Witness } else { Elector::Peer };
                self.feed(plan, link / 2, Event::Answered { by, sent, answer });
                None
            }
        }
    }

    fn is_up(&self, whom: usize) -> bool {
        if whom == WITNESS { self.witness.is_some() } else { self.nodes[whom].duty.is_some() }
    }

    fn die(&mut self, side: usize) {
        self.nodes[side].duty = None;
        for link in [2 * side, 2 * side + 1] {
            if matches!(self.links[link], Link::Answering { .. }) {
                self.links[link] = Link::Idle;
            }
        }
        // An answer finds nobody who asked.
        for late in &mut self.late {
            if late.is_some_and(|(link, message)| link / 2 == side && matches!(message, Link::Answering { .. })) {
                *late = None;
            }
        }
    }

    fn boot(&mut self, plan: &Plan, whom: usize) {
        if whom == WITNESS {
            let (voter, outputs) = Voter::new(&plan.timing, self.witness_disk.as_ref(), self.witness_clock);
            self.witness = Some(voter);
            self.write(&outputs);
            return;
        }
        let side = Side::BOTH[whom];
        let node = &mut self.nodes[whom];
        let found = if node.serving || node.permit.is_some() { Found::Running } else { Found::Stopped };
        // Above all it had: real drivers take the wall clock.
        let base = self.newest_campaign(side);
        let node = &mut self.nodes[whom];
        let (duty, outputs) = Duty::new(settings(side, plan), node.disk.as_ref(), base, found, node.clock);
        node.duty = Some(duty);
        node.paused = 0;
        self.carry_out(plan, whom, &outputs);
        self.feed(plan, whom, Event::Fit);
        if plan.unguarded {
            // The most that can be thought: each node always believes itself alone.
            let alone = Surroundings { peer_host: false, anchors: true };
            self.feed(plan, whom, Event::Surroundings(alone));
        }
    }

    fn write(&mut self, outputs: &[lease::Output]) -> Option<Answer> {
        let mut answer = None;
        for output in outputs {
            match output {
                lease::Output::Persist(memory) => self.witness_disk = Some(*memory),
                lease::Output::Answer(given) => answer = Some(*given),
                lease::Output::Changed(_) => {}
            }
        }
        answer
    }

    /// Has the target of a link rule; without its answer if that would change nothing.
    fn rule(&mut self, plan: &Plan, link: usize, request: Request) -> Option<Answer> {
        let answer = match target(link) {
            WITNESS => {
                let now = self.witness_clock;
                let outputs = self.witness.as_mut()?.handle(lease::Event::Asked(request), now);
                self.write(&outputs)
            }
            side => self.feed_for_answer(plan, side, Event::Asked(request)),
        }?;
        // To a want even a denial is the proof of a round trip.
        let idle = !plan.reports() && answer.ruling == Ruling::Deny && !matches!(answer.to, Ask::Release | Ask::Want);
        (!idle).then_some(answer)
    }

    pub(super) fn feed(&mut self, plan: &Plan, side: usize, event: Event) {
        self.feed_for_answer(plan, side, event);
    }

    fn feed_for_answer(&mut self, plan: &Plan, side: usize, event: Event) -> Option<Answer> {
        let node = &mut self.nodes[side];
        node.paused = 0;
        let outputs = node.duty.as_mut()?.handle(event, node.clock);
        self.carry_out(plan, side, &outputs)
    }

    fn carry_out(&mut self, plan: &Plan, side: usize, outputs: &[Output]) -> Option<Answer> {
        let mut given = None;
        let mut started = false;
        for output in outputs {
            let node = &mut self.nodes[side];
            match *output {
                Output::Persist(memory) => node.disk = Some(memory),
                Output::Answer(answer) => given = Some(answer),
                Output::Ask { voter, request, sent } => {
                    let link = 2 * side + usize::from(voter == Elector::Witness);
                    let said = (plan.reports() || request.ask != Ask::Hello) && !plan.cut[link];
                    if self.links[link] == Link::Idle && said {
                        self.links[link] = Link::Asking { request, sent };
                    }
                }
                Output::Permit { until } => node.permit = until,
                Output::Start { epoch, .. } => {
                    node.serving = true;
                    started = !plan.slow_start;
                    self.epoch_repeated |= epoch <= self.epoch;
                    self.epoch = self.epoch.max(epoch);
                }
                Output::Fence(_) => node.fencing = node.serving.then_some(node.clock),
                _ => {}
            }
        }
        if started {
            self.feed(plan, side, Event::Started(Outcome::Done));
        }
        let node = &mut self.nodes[side];
        if let Some(duty) = &node.duty {
            node.unguarded = duty.unguarded.is_some();
            if duty.witness_is_out() {
                node.out_at = Some(node.clock);
            }
        }
        given
    }

    fn fence(&mut self, plan: &Plan, side: usize) {
        let node = &mut self.nodes[side];
        node.serving = false;
        node.fencing = None;
        node.permit = None;
        self.feed(plan, side, Event::Fenced);
    }

    fn tick(&mut self, plan: &Plan, ticks: [bool; 3], paused: [bool; 2]) {
        for (side, ticks) in ticks.into_iter().enumerate().take(2) {
            if ticks {
                self.nodes[side].clock += TICK;
            }
            let clock = self.nodes[side].clock;
            for link in [2 * side, 2 * side + 1] {
                if let Link::Asking { sent, .. } | Link::Answering { sent, .. } = self.links[link]
                    && clock.since(sent) > self::ticks(u32::from(plan.delay))
                {
                    self.links[link] = Link::Idle;
                }
            }
            let node = &mut self.nodes[side];
            if node.duty.is_none() && node.permit.is_some_and(|until| until <= clock) {
                node.serving = false;
            }
            if node.fencing.is_some_and(|since| clock.since(since) >= plan.timing.fence) {
                self.fence(plan, side);
            }
        }
        if ticks[WITNESS] {
            self.witness_clock += TICK;
            let now = self.witness_clock;
            if let Some(voter) = self.witness.as_mut() {
                let outputs = voter.handle(lease::Event::Timer, now);
                self.write(&outputs);
            }
        }
        for (side, paused) in paused.into_iter().enumerate() {
            if paused {
                self.nodes[side].paused += 1;
            } else {
                self.feed(plan, side, Event::Timer);
            }
        }
    }
}

/// Whom a link asks.
pub(super) const fn target(link: usize) -> usize {
    if link % 2 == 1 { WITNESS } else { 1 - link / 2 }
}
