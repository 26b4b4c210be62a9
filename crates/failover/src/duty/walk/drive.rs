//! What drivers do in a world: deliver messages, carry out outputs, let time pass.

use core::time::Duration;

use super::super::ask::RemoteVoter;
use super::super::guard::Surroundings;
use super::super::machine::{Duty, Event, Found, Life, Outcome};
use super::super::output::{Output, Phones};
use super::world::{Link, Plan, TICK, WITNESS, World, settings, target, ticks};
use crate::lease::{self, Answer, Ask, Request, VoteReply, Voter};
use crate::side::Side;
use crate::time::Instant;

impl World {
    /// Delivers a message; returns the answer to it, which is lost if the message was late.
    pub(super) fn deliver(&mut self, plan: &Plan, link: usize, message: Link) -> Option<(Answer, Instant)> {
        match message {
            Link::Idle => None,
            Link::Asking { request, sent } => self.rule(plan, link, request).map(|answer| (answer, sent)),
            Link::Answering { answer, sent } => {
                let by = if target(link) == WITNESS { RemoteVoter::Witness } else { RemoteVoter::Peer };
                self.feed(plan, link / 2, Event::Answered { by, sent, answer });
                None
            }
        }
    }

    pub(super) fn is_up(&self, whom: usize) -> bool {
        if whom == WITNESS { self.witness.is_some() } else { self.nodes[whom].duty.is_some() }
    }

    pub(super) fn die(&mut self, side: usize) {
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

    pub(super) fn boot(&mut self, plan: &Plan, whom: usize) {
        if whom == WITNESS {
            let (voter, outputs) = Voter::new(&plan.timing[WITNESS], self.witness_disk.as_ref(), self.witness_clock);
            self.witness = Some(voter);
            self.write(&outputs);
            return;
        }
        let side = Side::BOTH[whom];
        let node = &mut self.nodes[whom];
        let runs = node.serving || node.permit.is_some() || plan.sudden[whom] && node.runs;
        let found = if runs { Found::Running } else { Found::Stopped };
        // Above all it had: real drivers take the wall clock.
        let base = self.newest_campaign(side);
        let node = &mut self.nodes[whom];
        let life = Life { instance: node.instance, campaign_base: base };
        let (duty, outputs) = Duty::new(settings(side, plan), node.disk.as_ref(), life, found, node.clock);
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
        let idle =
            !plan.reports() && answer.ruling == VoteReply::Deny && !matches!(answer.to, Ask::Release | Ask::Want);
        (!idle).then_some(answer)
    }

    pub(super) fn feed(&mut self, plan: &Plan, side: usize, event: Event) {
        self.feed_for_answer(plan, side, event);
    }

    fn feed_for_answer(&mut self, plan: &Plan, side: usize, event: Event) -> Option<Answer> {
        let node = &mut self.nodes[side];
        node.paused = 0;
        let outputs = node.duty.as_mut()?.handle(event, node.clock);
        let answer = self.carry_out(plan, side, &outputs);
        // What cannot let phones in is not fit to start.
        let node = &self.nodes[side];
        if node.denied && node.duty.is_some_and(|duty| !duty.serves() && duty.ready.fit_since.is_some()) {
            self.feed(plan, side, Event::Unfit);
        }
        answer
    }

    fn carry_out(&mut self, plan: &Plan, side: usize, outputs: &[Output]) -> Option<Answer> {
        let mut given = None;
        let (mut started, mut proven) = (false, false);
        let slow = self.nodes[side].slow;
        let mut permitted = None;
        // One that dies between its stop and the write is one that died before the stop, and serves less long.
        let mut writes = outputs.iter().skip_while(|output| !matches!(output, Output::Persist(_)));
        assert!(!writes.any(|output| matches!(output, Output::Fence(_))), "a fence waits for the disk: {outputs:?}");
        let other = self.nodes[1 - side].served_at;
        for output in outputs {
            let node = &mut self.nodes[side];
            match *output {
                Output::Persist(memory) if slow => node.unwritten = Some(memory),
                Output::Persist(memory) => node.disk = Some(memory),
                // What would have to be on the disk first is said too late.
                Output::Answer(answer) => {
                    given = Some(answer).filter(|answer| !slow || answer.ruling != VoteReply::Grant)
                }
                Output::Ask { voter, request, sent } => {
                    let link = 2 * side + usize::from(voter == RemoteVoter::Witness);
                    let said = (plan.reports() || request.ask != Ask::Hello) && !plan.cut[link];
                    if self.links[link] == Link::Idle && said {
                        self.links[link] = Link::Asking { request, sent };
                    }
                }
                Output::Permit { .. } if node.refuses => node.denied = true,
                Output::Permit { until } => {
                    (node.permit, node.denied) = (until, false);
                    node.serving |= plan.refusals && node.runs;
                    // Elsewhere the kernel ends nothing by itself: what must stop a node is the node's own step down.
                    permitted = Some(until.filter(|_| plan.refusals));
                }
                // It waits for the disk, and is not carried out in the end.
                Output::Start { .. } if slow => {}
                Output::ProveDisk => proven = true,
                Output::Start { epoch, .. } => {
                    (node.serving, node.runs, node.removed) = (!node.denied, true, None);
                    started = !plan.slow_start;
                    self.epoch_repeated |= epoch <= self.epoch;
                    self.epoch = self.epoch.max(epoch);
                }
                Output::VerifyFence { phones: Phones::KeptOut } if node.removed.take().is_some() => {
                    node.serving = false
                }
                Output::TwoActives => {
                    // Of a start and an end within a tick nobody knows which was first.
                    let since = node.duty.map(|duty| duty.activation.since);
                    self.false_alarm |= since.is_some_and(|since| other.is_none_or(|at| at < since));
                }
                Output::Fence(_) => node.fencing = node.serving.then_some(node.clock),
                _ => {}
            }
        }
        if let Some(until) = permitted {
            self.feed(plan, side, Event::Permitted { until });
        }
        if started {
            self.feed(plan, side, Event::Started(Outcome::Done));
        }
        if proven {
            let took = if slow { plan.timing[side].lease } else { Duration::ZERO };
            self.feed(plan, side, Event::Written { took });
        }
        let node = &mut self.nodes[side];
        if let Some(duty) = &node.duty {
            node.unguarded = duty.guarding.unguarded.is_some();
            if duty.serves() {
                node.served_at = Some(node.clock);
            }
            if duty.witness_is_out() {
                node.out_at = Some(node.clock);
            }
        }
        given
    }

    pub(super) fn fence(&mut self, plan: &Plan, side: usize) {
        let node = &mut self.nodes[side];
        node.serving = false;
        // Nobody verified anything: what is stopped serves nobody, and the votes are not released.
        if node.refuses {
            return;
        }
        node.removed = None;
        node.fencing = None;
        node.permit = None;
        self.feed(plan, side, Event::Fenced);
    }

    pub(super) fn tick(&mut self, plan: &Plan, ticking: [bool; 3], paused: [bool; 2]) {
        for (side, ticks_here) in ticking.into_iter().enumerate().take(2) {
            if ticks_here {
                self.nodes[side].clock += TICK;
            }
            let clock = self.nodes[side].clock;
            for link in [2 * side, 2 * side + 1] {
                if let Link::Asking { sent, .. } | Link::Answering { sent, .. } = self.links[link]
                    && clock.since(sent) > ticks(u32::from(plan.delay))
                {
                    self.links[link] = Link::Idle;
                }
            }
            let node = &mut self.nodes[side];
            let kernel = node.duty.is_none() || plan.refusals;
            if kernel && node.permit.is_some_and(|until| until <= clock) {
                node.serving = false;
            }
            // A fence that does not work is left to the kernel.
            if !node.refuses && node.fencing.is_some_and(|since| clock.since(since) >= plan.timing[side].fence) {
                self.fence(plan, side);
            }
        }
        if ticking[WITNESS] {
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
