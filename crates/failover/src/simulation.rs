//! Judges, health and switch together, over simulated links on one virtual clock.
//!
//! What a driver does is done here with a sorted list instead of sockets. The same seed gives the same run.

mod site;

use alloc::vec::Vec;
use core::time::Duration;

use crate::chance::Chance;
use crate::health::{self, CheckId, Health, Need, Scope, Topology};
use crate::switch::{self, Cause, Kind, Memory, Move, Switch};
use crate::verdict::{self, Failure, Judge, Outcome, ProbeId};
use crate::{Instant, PerSide, Side};

const PROBES: verdict::Policy = verdict::Policy::DEFAULT;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// How a side's hosts answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Good,
    /// Loses so many of a hundred probes.
    Lossy(u64),
    Killed,
    BlackHole,
}

struct World {
    now: Instant,
    chance: Chance,
    links: PerSide<Link>,
    sides: Vec<Side>,
    judges: Vec<Judge>,
    health: Health,
    switch: Switch,
    policy: switch::Policy,
    ends: Vec<(Instant, u64, CheckId, ProbeId, Outcome)>,
    probes: u64,
    /// Frozen until then: the Edge's process does not run.
    paused_until: Instant,
    disk: Option<Memory>,
    moves: Vec<Move>,
    doubts: usize,
}

impl World {
    /// Two sides with two required services of one check each.
    fn new(policy: switch::Policy, seed: u64) -> Self {
        let mut topology = Topology::new();
        let mut sides = Vec::new();
        for side in Side::BOTH {
            for _ in 0..2 {
                let service = topology.service(Scope::Of(side), Need::Required);
                let backend = topology.backend(service);
                topology.check(backend);
                sides.push(side);
            }
        }
        let now = at(0);
        Self {
            now,
            chance: Chance::new(seed),
            links: PerSide { main: Link::Good, standby: Link::Good },
            judges: sides.iter().map(|_| Judge::new(PROBES, now)).collect(),
            sides,
            health: Health::new(topology, ms(5000), now),
            switch: Switch::new(policy, None, now),
            policy,
            ends: Vec::new(),
            probes: 0,
            paused_until: now,
            disk: None,
            moves: Vec::new(),
            doubts: 0,
        }
    }

    fn restart(&mut self) {
        let topology = self.health.topology().clone();
        self.judges.iter_mut().for_each(|judge| *judge = Judge::new(PROBES, self.now));
        self.health = Health::new(topology, ms(5000), self.now);
        self.switch = Switch::new(self.policy, self.disk.as_ref(), self.now);
        self.ends.clear();
    }

    /// How a probe that starts now ends, and when.
    fn probe(&mut self, side: Side) -> (Duration, Outcome) {
        let answer = ms(1 + self.chance.below(4));
        match self.links[side] {
            Link::Killed => (ms(1), Outcome::Failed(Failure::Refused)),
            Link::BlackHole => (PROBES.time_limit, Outcome::Failed(Failure::Silent)),
            Link::Lossy(percent) if self.chance.percent(percent) => {
                (PROBES.time_limit, Outcome::Failed(Failure::Silent))
            }
            Link::Good | Link::Lossy(_) => (answer, Outcome::Ok),
        }
    }

    fn judge(&mut self, check: usize, event: verdict::Event) {
        for output in self.judges[check].handle(event, self.now) {
            match output {
                verdict::Output::StartProbe { id, .. } => {
                    let (takes, outcome) = self.probe(self.sides[check]);
                    self.probes += 1;
                    self.ends.push((self.now + takes, self.probes, CheckId(check as u16), id, outcome));
                    self.ends.sort_by_key(|end| (end.0, end.1));
                }
                verdict::Output::Suspected { .. } => {
                    self.tell_switch(switch::Event::Suspected { side: self.sides[check] });
                }
                verdict::Output::Changed { report, .. } | verdict::Output::Confirmed { report } => {
                    self.tell_health(health::Event::Verdict { check: CheckId(check as u16), report });
                }
            }
        }
    }

    fn tell_health(&mut self, event: health::Event) {
        for output in self.health.handle(event, self.now) {
            if let health::Output::SideChanged { side, health, .. } | health::Output::SideConfirmed { side, health } =
                output
            {
                self.tell_switch(switch::Event::Health { side, health });
            }
        }
    }

    fn tell_switch(&mut self, event: switch::Event) {
        for output in self.switch.handle(event, self.now) {
            match output {
                switch::Output::Persist(memory) => self.disk = Some(memory),
                switch::Output::SwitchTo(step) => self.moves.push(step),
                switch::Output::SelfDoubt(_) => self.doubts += 1,
                switch::Output::Reprobe { side, .. } => {
                    let checks: Vec<CheckId> = self.health.topology().required_checks(side).collect();
                    checks.into_iter().for_each(|check| self.judge(check.index(), verdict::Event::Reprobe));
                }
                _ => {}
            }
        }
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let timers = self.judges.iter().filter_map(Judge::deadline);
            let timers = timers.chain(self.health.deadline()).chain(self.switch.deadline());
            let timer = timers.min().unwrap_or(end);
            let next = self.ends.first().map_or(timer, |end| end.0.min(timer));
            if next.max(self.paused_until) > end {
                self.now = self.now.max(end);
                return;
            }
            let late = self.paused_until.since(next);
            self.now = self.now.max(next).max(self.paused_until);
            if !late.is_zero() {
                self.tell_switch(switch::Event::Lagged { by: late });
            }
            while let Some((_, _, check, id, outcome)) = self.ends.first().copied().filter(|end| end.0 <= self.now) {
                self.ends.remove(0);
                self.judge(check.index(), verdict::Event::Finished { id, outcome });
            }
            (0..self.judges.len()).for_each(|check| self.judge(check, verdict::Event::Timer));
            self.tell_health(health::Event::Timer);
            self.tell_switch(switch::Event::Timer);
        }
    }

    fn sign(&mut self, sign: verdict::Sign) {
        let live = self.switch.live();
        for check in 0..self.judges.len() {
            if self.sides[check] == live {
                self.judge(check, verdict::Event::Sign(sign));
            }
        }
    }
}

#[test]
fn e2_a_killed_live_side_is_left_within_a_fifth_of_a_second_of_the_first_sign() {
    for fault in (5_000..6_100).step_by(9) {
        let mut world = World::new(switch::Policy::DEFAULT, fault);
        world.run_until(at(fault));
        world.links.main = Link::Killed;
        world.sign(verdict::Sign::Refused);
        world.run_until(at(fault + 5_000));
        let took = world.moves[0].at - at(fault);
        assert!(took <= ms(200), "fault at {fault} ms: left after {took:?}");
        assert_eq!((world.moves.len(), world.moves[0].kind), (1, Kind::Failover));
    }
}

#[test]
fn e2_a_black_holed_live_side_is_left_within_one_and_a_half_seconds_of_the_first_sign() {
    for fault in (5_000..6_100).step_by(9) {
        let mut world = World::new(switch::Policy::DEFAULT, fault);
        world.run_until(at(fault));
        world.links.main = Link::BlackHole;
        world.sign(verdict::Sign::TimedOut);
        world.run_until(at(fault + 5_000));
        let took = world.moves[0].at - at(fault);
        assert!(took <= ms(1500), "fault at {fault} ms: left after {took:?}");
        assert_eq!(world.moves.len(), 1);
    }
}

#[test]
fn e2_without_traffic_the_fault_bound_holds_and_without_a_fault_nothing_moves() {
    for fault in (5_000..6_100).step_by(31) {
        for (link, bound) in
            [(Link::Killed, PROBES.fault_bound_refused()), (Link::BlackHole, PROBES.fault_bound_silent())]
        {
            let mut world = World::new(switch::Policy::DEFAULT, fault);
            world.run_until(at(fault));
            assert_eq!(world.moves, []);
            world.links.main = link;
            world.run_until(at(fault + 10_000));
            // Refusals take a millisecond each, and the target must answer once more.
            let took = world.moves[0].at - at(fault);
            assert!(took <= bound + ms(20), "{link:?} at {fault} ms: left after {took:?}, bound {bound:?}");
        }
    }
}

#[test]
fn e7_a_cut_of_our_own_network_moves_nobody_whenever_it_comes_and_however_long_it_lasts() {
    for seed in 0..100 {
        let mut world = World::new(switch::Policy::DEFAULT, seed);
        let cut = 5_000 + world.chance.below(2_000);
        let long = 100 + world.chance.below(20_000);
        world.run_until(at(cut));
        world.links = PerSide { main: Link::BlackHole, standby: Link::BlackHole };
        if world.chance.percent(50) {
            world.sign(verdict::Sign::TimedOut);
        }
        world.run_until(at(cut + long));
        world.links = PerSide { main: Link::Good, standby: Link::Good };
        world.run_until(at(cut + long + 20_000));
        assert_eq!(world.moves, [], "seed {seed}: cut at {cut} ms for {long} ms");
        assert!(long < 4_000 || world.doubts > 0, "seed {seed}: no doubt after {long} ms");
    }
}

#[test]
fn e7_a_paused_edge_moves_nobody_when_it_wakes() {
    for pause in (300..12_000).step_by(97) {
        let mut world = World::new(switch::Policy::DEFAULT, pause);
        world.run_until(at(5_000 + pause % 1000));
        // Probes under way end in time-outs of our own making.
        world.links = PerSide { main: Link::BlackHole, standby: Link::BlackHole };
        world.run_until(world.now + ms(100));
        world.paused_until = world.now + ms(pause);
        world.links = PerSide { main: Link::Good, standby: Link::Good };
        world.run_until(at(60_000));
        assert_eq!(world.moves, [], "paused for {pause} ms");
    }
}

#[test]
fn e4_a_restarted_edge_stays_where_it_was() {
    for seed in 0..40 {
        let mut world = World::new(switch::Policy::DEFAULT, seed);
        world.run_until(at(5_000));
        world.links.main = Link::Killed;
        world.run_until(at(10_000));
        world.links.main = Link::Good;
        let later = world.now + ms(world.chance.below(3_000));
        world.run_until(later);
        for _ in 0..3 {
            world.restart();
            assert_eq!((world.switch.live(), world.switch.epoch()), (Side::Standby, 1));
            let later = world.now + ms(world.chance.below(5_000));
            world.run_until(later);
        }
        assert_eq!(world.moves.len(), 1, "seed {seed}");
    }
}

#[test]
fn e1_a_live_side_behind_a_slightly_lossy_link_is_kept() {
    for seed in 0..4 {
        let mut world = World::new(switch::Policy::DEFAULT, seed);
        world.links = PerSide { main: Link::Lossy(2), standby: Link::Good };
        world.run_until(at(600_000));
        assert_eq!(world.moves, [], "seed {seed}");
    }
}

/// Hours of faults, losses, pauses and restarts; the rules are checked against the links, which the machines never see.
#[test]
fn e2_e4_e9_hold_over_hours_of_faults_pauses_and_restarts() {
    let mut moves = 0;
    for seed in 0..12 {
        let mut world = World::new(switch::Policy::DEFAULT, seed);
        for round in 0..150 {
            let side = world.chance.one_of(&Side::BOTH);
            let link = world.chance.one_of(&[Link::Good, Link::Good, Link::Lossy(5), Link::Killed, Link::BlackHole]);
            world.links[side] = link;
            match world.chance.below(12) {
                0 => world.paused_until = world.now + ms(world.chance.below(5_000)),
                1 => world.restart(),
                2..5 => world.sign(verdict::Sign::TimedOut),
                _ => {}
            }
            let (before, epoch) = (world.moves.len(), world.switch.epoch());
            let later = world.now + ms(world.chance.one_of(&[50, 900, 3_000, 15_000, 60_000, 300_000]));
            let steady = later - world.now > ms(10_000) + world.paused_until.since(world.now);
            world.run_until(later);
            let context = std::format!("seed {seed}, round {round}, links {:?}, moves {:#?}", world.links, world.moves);
            assert_eq!(world.switch.epoch(), epoch + (world.moves.len() - before) as u64, "E4: {context}");
            let (live, other) = (world.links[world.switch.live()], world.links[world.switch.live().other()]);
            let dead = |link| matches!(link, Link::Killed | Link::BlackHole);
            if steady {
                assert!(!(dead(live) && other == Link::Good), "E2: {context}");
            }
        }
        moves += world.moves.len();
        let mild = world.moves.iter().filter(|step| matches!(step.cause, Cause::LiveDoesNotWork { damped: false, .. }));
        let mild: Vec<Instant> = mild.map(|step| step.at).collect();
        let limit = world.policy.switches_per_hour as usize;
        for hour in mild.windows(limit + 1) {
            assert!(hour[limit] - hour[0] > Duration::from_secs(3599), "E9, seed {seed}");
        }
    }
    std::println!("simulation: {moves} moves");
    assert!(moves > 50);
}
