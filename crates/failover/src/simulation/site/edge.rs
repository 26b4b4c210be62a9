//! The Edge's process: the witness's vote, judges, health and switch.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Clock, EDGE, ms};
use super::node::WRITE;
use super::world::{Happening, Note, Site};
use crate::health::{self, CheckId, Health, Need, NodeId, Scope, Status, Topology};
use crate::lease::{self, Answer, Request, Timing, Voter};
use crate::switch::{self, Switch};
use crate::verdict::{self, Failure, Judge, Outcome, ProbeId};
use crate::{Instant, Side};

const PROBES: verdict::Policy = verdict::Policy::DEFAULT;
/// The budget has tests of its own.
const POLICY: switch::Policy = switch::Policy { switches_per_hour: 1_000, ..switch::Policy::DEFAULT };

pub(super) struct Edge {
    pub(super) clock: Clock,
    timing: Timing,
    pub(super) life: u32,
    voter: Option<Voter>,
    pub(super) vote_disk: Option<lease::Memory>,
    /// How long a write of its vote takes; it rules over nothing meanwhile.
    pub(super) write: Duration,
    pub(super) writes_until: Instant,
    /// A mistake: it answers before it has written.
    pub(super) answers_first: bool,
    judges: Vec<Judge>,
    health: Health,
    pub(super) switch: Switch,
    disk: Option<switch::Memory>,
    /// The newest report of each node.
    told: [u64; EDGE],
}

impl Edge {
    pub(super) fn new(clock: Clock, timing: Timing) -> Self {
        let clean = lease::Memory { record: lease::Record::Free, epoch: 0 };
        let now = clock.read(Instant::ORIGIN);
        Self {
            clock,
            timing,
            life: 0,
            voter: None,
            vote_disk: Some(clean),
            write: WRITE,
            writes_until: Instant::ORIGIN,
            answers_first: false,
            judges: Vec::new(),
            health: Health::new(topology(), ms(5_000), now),
            switch: Switch::new(POLICY, None, now),
            disk: None,
            told: [0; EDGE],
        }
    }

    pub(super) fn die(&mut self) {
        self.voter = None;
        self.judges.clear();
        self.writes_until = Instant::ORIGIN;
        self.life += 1;
    }

    pub(super) fn boot(&mut self, now: Instant) {
        let now = self.clock.read(now);
        let (voter, outputs) = Voter::new(&self.timing, self.vote_disk.as_ref(), now);
        self.voter = Some(voter);
        self.keep(&outputs);
        self.judges = (0..4).map(|_| Judge::new(PROBES, now)).collect();
        self.health = Health::new(topology(), ms(5_000), now);
        self.switch = Switch::new(POLICY, self.disk.as_ref(), now);
    }

    /// Rules over a request, and says what is to be on the disk before the answer goes.
    pub(super) fn vote(&mut self, request: Request, now: Instant) -> Option<(Answer, Option<lease::Memory>)> {
        let outputs = self.voter.as_mut()?.handle(lease::Event::Asked(request), self.clock.read(now));
        let answer =
            outputs.iter().find_map(|o| if let lease::Output::Answer(answer) = o { Some(*answer) } else { None });
        let kept =
            outputs.iter().find_map(|o| if let lease::Output::Persist(memory) = o { Some(*memory) } else { None });
        Some((answer?, kept))
    }

    fn keep(&mut self, outputs: &[lease::Output]) {
        for output in outputs {
            if let lease::Output::Persist(memory) = output {
                self.vote_disk = Some(*memory);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let voter = self.voter.as_ref()?;
        let judges = self.judges.iter().filter_map(Judge::deadline);
        let voter = voter.deadline().map(|at| at.max(self.clock.read(self.writes_until)));
        judges.chain(voter).chain(self.health.deadline()).chain(self.switch.deadline()).min()
    }
}

/// Two required services a side: check 0 and 1 are Main's CC and XiVO. Four nodes that report, numbered as hosts.
fn topology() -> Topology {
    let mut topology = Topology::new();
    for side in Side::BOTH {
        for _ in 0..2 {
            let service = topology.service(Scope::Of(side), Need::Required);
            let backend = topology.backend(service);
            topology.check(backend);
        }
    }
    for side in [Side::Main, Side::Standby, Side::Main, Side::Standby] {
        topology.node(side, Need::Required);
    }
    topology
}

impl Site {
    pub(super) fn wake_edge(&mut self) {
        let now = self.edge.clock.read(self.now);
        if let Some(voter) = self.edge.voter.as_mut() {
            if self.edge.writes_until <= self.now {
                let outputs = voter.handle(lease::Event::Timer, now);
                self.edge.keep(&outputs);
            }
            (0..self.edge.judges.len()).for_each(|check| self.judge(check, verdict::Event::Timer));
            self.tell_health(health::Event::Timer);
            self.tell_switch(switch::Event::Timer);
        }
        self.expect_wake(EDGE);
    }

    pub(super) fn told(&mut self, host: usize, status: Status, number: u64) {
        if self.edge.voter.is_some() && number > self.edge.told[host] {
            self.edge.told[host] = number;
            self.tell_health(health::Event::Node { node: NodeId(host as u16), status });
            self.expect_wake(EDGE);
        }
    }

    pub(super) fn probed(&mut self, check: usize, id: ProbeId, outcome: Outcome) {
        self.judge(check, verdict::Event::Finished { id, outcome });
        self.expect_wake(EDGE);
    }

    pub(super) fn lagged(&mut self, by: Duration) {
        if self.edge.voter.is_some() {
            self.tell_switch(switch::Event::Lagged { by });
        }
    }

    fn judge(&mut self, check: usize, event: verdict::Event) {
        let now = self.edge.clock.read(self.now);
        for output in self.edge.judges[check].handle(event, now) {
            match output {
                verdict::Output::StartProbe { id, .. } => {
                    let (takes, outcome) = self.probe(check);
                    let life = self.edge.life;
                    self.later(takes, Happening::Probed { check, id, outcome, life });
                }
                verdict::Output::Suspected { .. } => {
                    self.tell_switch(switch::Event::Suspected { side: Side::BOTH[check / 2] });
                }
                verdict::Output::Changed { report, .. } | verdict::Output::Confirmed { report } => {
                    self.tell_health(health::Event::Verdict { check: CheckId(check as u16), report });
                }
            }
        }
    }

    /// How a probe that starts now ends. XiVO's nginx answers whatever the node does.
    fn probe(&mut self, check: usize) -> (Duration, Outcome) {
        let side = check / 2;
        let (host, answers) =
            if check.is_multiple_of(2) { (2 + side, self.ccs[Side::BOTH[side]].runs) } else { (side, true) };
        let there = self.links[EDGE][host].carries(&mut self.chance);
        let back = self.links[host][EDGE].carries(&mut self.chance);
        match (there, back) {
            (Some(there), Some(back)) if self.powered[host] && there + back < PROBES.time_limit => {
                let outcome = if answers { Outcome::Ok } else { Outcome::Failed(Failure::Refused) };
                (there + back, outcome)
            }
            _ => (PROBES.time_limit, Outcome::Failed(Failure::Silent)),
        }
    }

    fn tell_health(&mut self, event: health::Event) {
        let now = self.edge.clock.read(self.now);
        for output in self.edge.health.handle(event, now) {
            if let health::Output::SideChanged { side, health, .. } | health::Output::SideConfirmed { side, health } =
                output
            {
                self.tell_switch(switch::Event::Health { side, health });
            }
        }
    }

    fn tell_switch(&mut self, event: switch::Event) {
        let now = self.edge.clock.read(self.now);
        let epoch = self.edge.switch.epoch();
        for output in self.edge.switch.handle(event, now) {
            match output {
                switch::Output::Persist(memory) => self.edge.disk = Some(memory),
                switch::Output::SwitchTo(step) => {
                    self.note(Note::Edge(step));
                    self.moved(&step, epoch);
                }
                switch::Output::Reprobe { side, .. } => {
                    [0, 1].into_iter().for_each(|n| self.judge(2 * side as usize + n, verdict::Event::Reprobe));
                }
                _ => {}
            }
        }
    }
}

/// The longest time from an illness to a move that it causes: a doubt, then evidence that goes stale.
pub(super) const EVIDENCE: Duration = Duration::from_secs(15);
