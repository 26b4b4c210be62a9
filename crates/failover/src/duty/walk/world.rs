//! Both nodes, the witness, their disks and what is on its way between them.

use core::time::Duration;

use super::super::act::Act;
use super::super::ask::PerVoter;
use super::super::guard::Unguarded;
use super::super::machine::{Duty, Event, Memory, Outcome, Phase};
use super::super::settings::{Choice, Settings, Wishes, Witness};
use crate::lease::{self, Answer, Ask, Request, Timing, Voter};
use crate::side::{PerSide, Side};
use crate::time::Instant;

pub(super) const TICK: Duration = Duration::from_secs(1);
/// No node and no link, but the witness.
pub(super) const WITNESS: usize = 2;

pub(super) const fn ticks(count: u32) -> Duration {
    Duration::from_secs(count as u64)
}

/// What a walk explores, and how far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    /// The times of Main, Standby and the witness.
    pub(super) timing: [Timing; 3],
    /// A request and its answer travel at most so many ticks; later ones are `late`.
    pub(super) delay: u8,
    /// How many requests and answers may be late without limit at the same time.
    pub(super) late: usize,
    /// Whose clock is slow, if any's: it loses one tick in `pace`.
    pub(super) slow: Option<usize>,
    pub(super) pace: u8,
    /// For so many ticks a node's watchdog may be kept waiting.
    pub(super) pause: u8,
    /// The links that carry nothing now, one way each.
    pub(super) cut: [bool; 4],
    /// Whose host may crash, and whose disk may be lost with it: Main's, Standby's, the witness's.
    pub(super) crashes: [bool; 3],
    pub(super) lost_disks: [bool; 3],
    /// Whether a start takes time, and may fail.
    pub(super) slow_start: bool,
    /// Whether a stop may be tried without being verified.
    pub(super) stuck_stops: bool,
    /// Whether somebody removes the fence of a node whose services run, and may not.
    pub(super) removals: bool,
    /// Whether a kernel may refuse to let phones in for longer.
    pub(super) refusals: bool,
    /// Whether a watchdog may die and leave its services running until the kernel's fence.
    pub(super) orphans: bool,
    /// Whose watchdog may die at any time, also while its disk is slow: then what it began is not on the disk.
    pub(super) sudden: [bool; 2],
    /// Whether the rules without a majority are at work: reports count, and hellos are sent.
    pub(super) unguarded: bool,
    /// Whether operators have nodes step back, and choose them.
    pub(super) operators: bool,
    /// Whether what nodes are told of each other is looked at.
    pub(super) alarms: bool,
    /// Whether activations that fail count, and disks may be too slow for a start.
    pub(super) relapses: bool,
    /// Whether there is a witness.
    pub(super) witness: Witness,
    /// Whether any want may come with or without proof of a round trip: more than can happen, in far fewer states. A want
    /// denied for the lack of it is one that was lost.
    pub(super) any_proof: bool,
}

impl Plan {
    /// Whether what nodes tell of themselves counts: then hellos are sent, too.
    pub(super) const fn reports(&self) -> bool {
        self.unguarded || self.operators || self.alarms || self.relapses
    }

    /// The longest hold-down: none where activations that fail do not count.
    pub(super) const fn hold_down_limit(&self) -> Duration {
        if self.relapses { ticks(120) } else { Duration::ZERO }
    }

    /// The longest of a time of the nodes.
    pub(super) fn longest(&self, time: impl Fn(&Timing) -> Duration) -> Duration {
        self.timing[..WITNESS].iter().map(time).max().unwrap_or_default()
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
    /// Which boot of the machine it is: another with each.
    pub(super) instance: lease::Instance,
    pub(super) disk: Option<Memory>,
    /// Whether its disk is too slow for anybody to wait for.
    pub(super) slow: bool,
    /// What is still on its way to a slow disk: it may never get there.
    pub(super) unwritten: Option<Memory>,
    pub(super) clock: Instant,
    /// From the start command until phones are kept out; again while somebody has removed the fence.
    pub(super) serving: bool,
    /// From the start command until the stop is verified.
    pub(super) runs: bool,
    /// Since when the fence is not there, by somebody else's doing.
    pub(super) removed: Option<Instant>,
    /// Whether it said that it is unguarded when it was seen last.
    pub(super) unguarded: bool,
    /// Since when phones are to be kept out.
    pub(super) fencing: Option<Instant>,
    /// When the kernel keeps phones out by itself.
    pub(super) permit: Option<Instant>,
    /// The kernel takes no permit now.
    pub(super) refuses: bool,
    /// Its driver knows that: the last permit failed, and the node is not fit to start.
    pub(super) denied: bool,
    /// When the witness was last out for it.
    pub(super) out_at: Option<Instant>,
    /// When its duty last was to serve.
    pub(super) served_at: Option<Instant>,
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
    /// A node was told that two serve, and the other has not since its own start.
    pub(super) false_alarm: bool,
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
    /// A stop was tried, and nobody knows whether the services are stopped.
    StopFails(usize),
    TelephonyDies(usize),
    StepsBack(usize),
    Chosen(usize),
    Crash(usize),
    WatchdogDies(usize),
    FenceRemoved(usize),
    /// A disk becomes slow, or is no longer.
    DiskTurns(usize),
    KernelRefuses(usize),
    KernelTakes(usize),
    Boot(usize),
    BootEmpty(usize),
    Tick,
    /// One whose clock is slow does not notice this tick.
    TickSlow,
    /// The watchdog of this node, or of both, is kept waiting.
    TickPaused(usize),
}

pub(super) fn settings(side: Side, plan: &Plan) -> Settings {
    let settings = Settings::new(side);
    Settings {
        timing: plan.timing[side as usize],
        hold_down: Duration::ZERO,
        hold_down_limit: plan.hold_down_limit(),
        disk_watch: if plan.relapses { TICK } else { Duration::MAX },
        witness: plan.witness,
        // The pauses between stops need not grow: it is enough that there are some.
        retry_limit: if plan.stuck_stops { TICK } else { settings.retry_limit },
        ..settings
    }
}

const CLEAN: lease::Memory = lease::Memory { record: lease::Record::Free, epoch: 0 };

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let clock = Instant::from_micros(1_000_000_000);
        let node = |side| {
            let wishes: Wishes = settings(side, plan).wishes;
            Node {
                duty: None,
                instance: 0,
                disk: Some(Memory { vote: CLEAN, campaign: 0, wishes, relapses: 0 }),
                slow: false,
                unwritten: None,
                clock,
                serving: false,
                runs: false,
                removed: None,
                unguarded: false,
                fencing: None,
                permit: None,
                refuses: false,
                denied: false,
                out_at: None,
                served_at: None,
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
            false_alarm: false,
        };
        for whom in 0..3 {
            world.boot(plan, whom);
        }
        world
    }

    /// W1: no two nodes serve, unless one shows that it is unguarded, or somebody removed its fence less than a tick ago.
    pub(super) fn breaks_w1(&self) -> bool {
        let [main, standby] = &self.nodes;
        let just = |node: &Node| node.removed.is_some_and(|at| node.clock.since(at) < TICK);
        let excused = |node: &Node| node.unguarded || just(node);
        main.serving && standby.serving && !excused(main) && !excused(standby)
    }

    /// W1b: no node becomes unguarded by itself before both agreed that the witness is out.
    pub(super) fn breaks_w1b(&self, before: &Self) -> bool {
        let unguarded = |world: &Self, side: usize| world.nodes[side].duty.and_then(|duty| duty.guarding.unguarded);
        // Word of it is on its way for a tick at most.
        let out = |side: usize| {
            let node = &before.nodes[side];
            node.out_at.is_some_and(|at| node.clock.since(at) <= TICK)
        };
        let agrees = |side: usize| self.nodes[side].duty.is_some_and(|duty| duty.guarding.agreed);
        let agreed = |side: usize| before.nodes[side].duty.is_some_and(|duty| duty.guarding.agreed);
        (0..2).any(|side| {
            let alone = unguarded(before, side).is_none() && unguarded(self, side) == Some(Unguarded::WitnessOut);
            alone && !agrees(side) || agrees(side) && !agreed(side) && !out(1 - side)
        })
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each action")]
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
            if plan.relapses || plan.sudden[side] {
                actions.push(Action::DiskTurns(side));
            }
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
                    actions.push(Action::Started(side, Outcome::Failed));
                    // On a slow disk it was not carried out.
                    if node.runs {
                        actions.push(Action::Started(side, Outcome::Done));
                    }
                }
                Phase::Active { .. } => actions.push(Action::TelephonyDies(side)),
                Phase::Stopping(_) => {
                    if node.fencing.is_some() && plan.timing[side].fence > TICK {
                        actions.push(Action::Fenced(side));
                    }
                    actions.push(Action::Stopped(side));
                    if plan.stuck_stops {
                        actions.push(Action::StopFails(side));
                    }
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
            if plan.removals && node.runs && !node.serving {
                actions.push(Action::FenceRemoved(side));
            }
            if plan.refusals {
                actions.push(if node.refuses { Action::KernelTakes(side) } else { Action::KernelRefuses(side) });
            }
            if plan.orphans && node.serving || plan.sudden[side] {
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
                duty.asking.heard = PerVoter::default();
                &mut duty.vote
            });
            voters.chain(&mut self.witness).for_each(|voter| voter.unproven = PerSide::default());
        }
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each action")]
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
                self.nodes[side].runs = false;
            }
            Action::StopFails(side) => {
                self.feed(plan, side, Event::Started(Outcome::Failed));
                self.feed(plan, side, Event::Stopped(Outcome::Failed));
            }
            Action::FenceRemoved(side) => {
                let node = &mut self.nodes[side];
                (node.serving, node.removed) = (true, Some(node.clock));
            }
            Action::KernelRefuses(side) => self.nodes[side].refuses = true,
            Action::KernelTakes(side) => {
                self.nodes[side].refuses = false;
                if core::mem::take(&mut self.nodes[side].denied) {
                    self.feed(plan, side, Event::Fit);
                }
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
                let Node { disk, slow, clock, out_at, served_at, instance, .. } = self.nodes[side];
                self.nodes[side] = Node {
                    duty: None,
                    instance: instance + 1,
                    disk,
                    slow,
                    unwritten: None,
                    clock,
                    serving: false,
                    runs: false,
                    removed: None,
                    unguarded: false,
                    fencing: None,
                    permit: None,
                    refuses: false,
                    denied: false,
                    out_at,
                    served_at,
                    paused: 0,
                };
            }
            Action::WatchdogDies(side) => {
                self.die(side);
                self.nodes[side].fencing = None;
                self.nodes[side].unwritten = None;
            }
            Action::DiskTurns(side) => {
                let node = &mut self.nodes[side];
                node.slow = !node.slow;
                node.disk = node.unwritten.take().or(node.disk);
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
}

/// Returns whom a link asks, as a node's number.
pub(super) const fn target(link: usize) -> usize {
    if link % 2 == 1 { WITNESS } else { 1 - link / 2 }
}
