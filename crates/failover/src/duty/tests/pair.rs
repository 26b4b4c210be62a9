//! Both nodes and the witness on one clock, with prompt messages and commands: how wishes meet.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::*;
use super::START;
use crate::health::Status;
use crate::lease::{self, Voter};
use crate::side::{PerSide, Side};
use crate::time::Instant;

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) nodes: PerSide<Option<Duty>>,
    pub(super) settings: PerSide<Settings>,
    pub(super) disks: PerSide<Memory>,
    witness: Voter,
    /// Counts boots: each makes another machine to the voters.
    boots: u64,
    /// Cut off from the other node and the witness.
    pub(super) cut_off: Option<Side>,
    /// What each node was told to do, in order; asks and answers left out.
    pub(super) done: Vec<(Side, Output)>,
}

impl Pair {
    /// Both boot at the same time.
    pub(super) fn new(main: Settings, standby: Settings) -> Self {
        let vote = lease::Memory { record: lease::Record::Free, epoch: 0 };
        let disk = |settings: &Settings| Memory { vote, campaign: 0, wishes: settings.wishes, relapses: 0 };
        let disks = PerSide { main: disk(&main), standby: disk(&standby) };
        let (witness, _) = Voter::new(&main.timing, Some(&vote), START);
        let settings = PerSide { main, standby };
        let nodes = PerSide { main: None, standby: None };
        let mut pair = Self { now: START, nodes, settings, disks, witness, boots: 0, cut_off: None, done: Vec::new() };
        Side::BOTH.into_iter().for_each(|side| pair.boot(side));
        pair
    }

    pub(super) fn boot(&mut self, side: Side) {
        self.boots += 1;
        let life = Life { instance: self.boots, campaign_base: 0 };
        let (duty, outputs) = Duty::new(self.settings[side], Some(&self.disks[side]), life, Found::Stopped, self.now);
        self.nodes[side] = Some(duty);
        self.carry_out(side, outputs);
        self.feed(side, Event::Fit);
    }

    pub(super) fn crash(&mut self, side: Side) {
        self.nodes[side] = None;
    }

    pub(super) fn act(&mut self, side: Side, act: Act) -> bool {
        self.done.clear();
        self.feed(side, Event::Act(act));
        self.done.iter().any(|(_, output)| *output == Output::Acted(act))
    }

    pub(super) fn feed(&mut self, side: Side, event: Event) {
        let Some(duty) = &mut self.nodes[side] else { return };
        let outputs = duty.handle(event, self.now);
        self.carry_out(side, outputs);
    }

    fn carry_out(&mut self, side: Side, outputs: Vec<Output>) {
        let mut queue: VecDeque<_> = outputs.into_iter().map(|output| (side, output)).collect();
        while let Some((side, output)) = queue.pop_front() {
            let follows = match output {
                Output::Persist(memory) => {
                    self.disks[side] = memory;
                    continue;
                }
                Output::Answer(_) => continue,
                Output::Ask { voter, request, sent } => match self.ask(side, voter, request, &mut queue) {
                    Some(answer) => Event::Answered { by: voter, sent, answer },
                    None => continue,
                },
                Output::Start { .. } => Event::Started(Outcome::Done),
                Output::Fence(_) => Event::Fenced,
                Output::Permit { until } => Event::Permitted { until },
                Output::Stop => Event::Stopped(Outcome::Done),
                Output::ProveDisk => Event::Written { took: Duration::ZERO },
                _ => {
                    self.done.push((side, output));
                    continue;
                }
            };
            self.done.push((side, output));
            if let Some(duty) = &mut self.nodes[side] {
                queue.extend(duty.handle(follows, self.now).into_iter().map(|output| (side, output)));
            }
        }
        self.done.retain(|(_, output)| !matches!(output, Output::Ask { .. } | Output::ProveDisk));
    }

    fn ask(
        &mut self,
        side: Side,
        voter: RemoteVoter,
        request: lease::Request,
        queue: &mut VecDeque<(Side, Output)>,
    ) -> Option<lease::Answer> {
        if self.cut_off.is_some_and(|whom| whom == side || voter == RemoteVoter::Peer) {
            return None;
        }
        if voter == RemoteVoter::Witness {
            let outputs = self.witness.handle(lease::Event::Asked(request), self.now);
            return outputs.iter().find_map(|o| if let lease::Output::Answer(a) = o { Some(*a) } else { None });
        }
        let outputs = self.nodes[side.other()].as_mut()?.handle(Event::Asked(request), self.now);
        let answer = outputs.iter().find_map(|o| if let Output::Answer(a) = o { Some(*a) } else { None });
        queue.extend(outputs.into_iter().map(|output| (side.other(), output)));
        answer
    }

    /// Asks as a machine of this side would, and returns the answer.
    pub(super) fn asked_by(
        &mut self,
        side: Side,
        voter: RemoteVoter,
        request: lease::Request,
    ) -> Option<lease::Answer> {
        let mut queue = VecDeque::new();
        let answer = self.ask(side, voter, request, &mut queue);
        for (side, output) in queue {
            self.carry_out(side, [output].into());
        }
        answer
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let next = Side::BOTH.iter().filter_map(|side| self.nodes[*side].and_then(|duty| duty.deadline())).min();
            self.now = next.unwrap_or(end).min(end).max(self.now);
            for side in Side::BOTH {
                self.feed(side, Event::Timer);
            }
            let serving = Side::BOTH.map(|side| self.status(side) != Status::Inactive);
            assert_ne!(serving, [true; 2], "W1: {:?}", self.nodes);
        }
    }

    pub(super) fn status(&self, side: Side) -> Status {
        self.nodes[side].map_or(Status::Inactive, |duty| duty.status())
    }

    /// The one node that is active.
    pub(super) fn active(&self) -> Option<Side> {
        let active: Vec<_> = Side::BOTH.into_iter().filter(|side| self.status(*side) == Status::Active).collect();
        assert!(active.len() < 2, "W1: {:?}", self.nodes);
        active.first().copied()
    }
}
