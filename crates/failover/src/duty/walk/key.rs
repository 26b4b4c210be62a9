//! A number for all that matters of a world: two worlds that behave alike have the same.
//!
//! Times count from now and as far as they matter, campaigns by their order. Epochs, and since when a node's own vote is
//! free, are left out: they decide nothing but whether an old grant starts a node; so of two worlds that differ in them, the
//! first one found is explored. The number is
//! a 64-bit hash: among ten million worlds two have the same by chance once in a few hundred thousand walks.

use core::hash::Hasher;
use core::time::Duration;

use super::super::asking::Asking;
use super::super::machine::{Duty, Phase};
use super::super::running::{Fence, Work};
use super::world::{Link, Plan, TICK, World};
use crate::lease::{Ask, Memory, Record, Report, Request, Voter};
use crate::side::Side;
use crate::time::Instant;

/// Mixes words into 128 bits, of which 64 are kept.
#[derive(Default)]
struct Mixer {
    word: u64,
    filled: u32,
    state: u128,
}

impl Mixer {
    fn push(&mut self, value: impl Into<u64>) {
        self.word = self.word << 8 | value.into() & 0xff;
        self.filled += 1;
        if self.filled == 8 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mixed = (self.state ^ u128::from(self.word)).wrapping_mul(0x2d99_787a_926d_46ab_c8e4_fd15_5c49_53f1);
        self.state = mixed ^ mixed >> 59 ^ mixed >> 97;
        (self.word, self.filled) = (0, 0);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        (self.state ^ self.state >> 64) as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.push(*byte));
    }
}

/// More activations that failed lengthen no hold-down here any more.
const MOST_FAILED: u8 = 6;

fn whole_ticks(duration: Duration) -> u64 {
    duration.as_secs()
}

/// The time since `past`, or nothing once it is `limit`.
fn age(now: Instant, past: Option<Instant>, limit: Duration) -> u64 {
    past.map_or(255, |past| if now.since(past) >= limit { 255 } else { whole_ticks(now.since(past)) })
}

fn left(now: Instant, future: Instant) -> u64 {
    whole_ticks(future.since(now))
}

/// The campaigns of each side in their order.
struct Ranks([std::vec::Vec<u64>; 2]);

impl Ranks {
    fn of(world: &World) -> Self {
        let mut ranks = [std::vec::Vec::with_capacity(8), std::vec::Vec::with_capacity(8)];
        world.each_campaign(|side, campaign| ranks[side as usize].push(*campaign));
        for rank in &mut ranks {
            rank.sort_unstable();
            rank.dedup();
        }
        Self(ranks)
    }

    fn rank(&self, side: Side, campaign: u64) -> u64 {
        self.0[side as usize].partition_point(|known| *known < campaign) as u64
    }
}

pub(super) fn key(world: &World, plan: &Plan) -> u64 {
    let ranks = Ranks::of(world);
    let mut mixer = Mixer::default();
    let into = &mut mixer;
    for (side, node) in world.nodes.iter().enumerate() {
        let flags = u64::from(node.serving) | u64::from(node.unguarded) << 1 | u64::from(node.duty.is_some()) << 2;
        into.push(flags);
        into.push(u64::from(node.paused));
        if plan.alarms {
            into.push(age(node.clock, node.served_at, plan.longest(|timing| timing.promise) * 2));
        }
        if plan.removals || plan.relapses || plan.sudden[side] {
            into.push(u64::from(node.runs));
        }
        if plan.removals {
            into.push(age(node.clock, node.removed, ticks_of(255)));
            into.push(node.duty.map_or(0, |duty| left(node.clock, duty.permit.look)));
        }
        into.push(age(node.clock, node.fencing, ticks_of(255)));
        if plan.refusals {
            into.push(u64::from(node.refuses) | u64::from(node.denied) << 1 | u64::from(node.runs) << 2);
            let lapse = node.duty.filter(Duty::serves).and_then(|duty| duty.permit.until);
            into.push(lapse.map_or(255, |until| left(node.clock, until)));
        }
        let permit = if plan.orphans || plan.refusals || plan.sudden[side] { node.permit } else { None };
        into.push(permit.map_or(255, |until| left(node.clock, until)));
        disk(node.disk.as_ref().map(|disk| &disk.vote), world, &ranks, into);
        into.push(node.disk.map_or(255, |disk| ranks.rank(Side::BOTH[side], disk.campaign)));
        if plan.operators {
            into.push(node.disk.map_or(255, |disk| disk.wishes.choice as u64));
        }
        if plan.relapses || plan.sudden[side] {
            into.push(u64::from(node.slow));
            disk(node.unwritten.as_ref().map(|memory| &memory.vote), world, &ranks, into);
            for memory in [node.disk, node.unwritten] {
                into.push(memory.map_or(255, |memory| ranks.rank(Side::BOTH[side], memory.campaign)));
                into.push(memory.map_or(255, |memory| u64::from(memory.relapses.min(MOST_FAILED))));
            }
        }
        if let Some(known) = &node.duty {
            duty(known, node.clock, Side::BOTH[side], plan, world, &ranks, into);
        }
    }
    disk(world.witness_disk.as_ref(), world, &ranks, into);
    match &world.witness {
        None => into.push(254u64),
        Some(voter) => {
            vote(voter, world.witness_clock, world, &ranks, into);
        }
    }
    into.push(u64::from(world.credit));
    for (link, state) in world.links.iter().enumerate() {
        message(*state, link, world, &ranks, plan, into);
    }
    // Which of the late ones is which does not matter.
    let mut late = world.late.map(|late| {
        late.map_or(0, |(link, late)| {
            let mut one = Mixer::default();
            one.push(link as u64);
            message(late, link, world, &ranks, plan, &mut one);
            one.flush();
            one.finish()
        })
    });
    late.sort_unstable();
    late.iter().for_each(|one| into.write_u64(*one));
    into.flush();
    into.flush();
    mixer.finish()
}

fn message(message: Link, link: usize, world: &World, ranks: &Ranks, plan: &Plan, into: &mut Mixer) {
    let (side, clock) = (Side::BOTH[link / 2], world.nodes[link / 2].clock);
    match message {
        Link::Idle => into.push(0u64),
        Link::Asking { request: asked, sent } => {
            into.push(1u64);
            into.push(age(clock, Some(sent), plan.timing[link / 2].lease));
            into.push(u64::from(asked.instance == world.nodes[link / 2].instance));
            request(&asked, link, ranks, plan, into);
        }
        Link::Answering { answer, sent } => {
            into.push(2 + answer.ruling as u64 * 4 + answer.to as u64 * 16);
            into.push(age(clock, Some(sent), plan.timing[link / 2].lease));
            into.push(ranks.rank(side, answer.campaign));
            report(answer.report, plan, into);
        }
    }
}

const fn ticks_of(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn record(record: Record, world: &World, ranks: &Ranks, into: &mut Mixer) {
    match record {
        Record::Free => into.push(0u64),
        Record::Unknown => into.push(1u64),
        Record::Promised(promise) => {
            // Whether it is this machine's that runs now; its length follows from whose it is.
            let its = promise.instance == Some(world.nodes[promise.holder as usize].instance);
            into.push(2 + promise.holder as u64 + 2 * u64::from(its));
            into.push(ranks.rank(promise.holder, promise.campaign));
        }
    }
}

fn vote(voter: &Voter, clock: Instant, world: &World, ranks: &Ranks, into: &mut Mixer) {
    record(voter.record, world, ranks, into);
    into.push(if voter.is_free() { 0 } else { left(clock, voter.until) });
    Side::BOTH.into_iter().for_each(|side| into.push(ranks.rank(side, voter.unproven[side])));
}

fn disk(memory: Option<&Memory>, world: &World, ranks: &Ranks, into: &mut Mixer) {
    match memory {
        None => into.push(253u64),
        Some(memory) => record(memory.record, world, ranks, into),
    }
}

fn report(report: Option<Report>, plan: &Plan, into: &mut Mixer) {
    let Some(report) = report.filter(|_| plan.reports()) else { return };
    let flags = u64::from(report.fit) | u64::from(report.witness_out) << 1 | u64::from(report.unguarded) << 2;
    into.push(flags | (report.status as u64) << 3);
}

fn request(request: &Request, link: usize, ranks: &Ranks, plan: &Plan, into: &mut Mixer) {
    // That it hears counts with a want, that it is fit only when Main asks Standby.
    let hears = request.ask == Ask::Want && request.hears;
    let told = u64::from(hears) | u64::from(link == 0 && request.report.fit) << 1;
    into.push(request.ask as u64 | told << 2);
    into.push(ranks.rank(Side::BOTH[link / 2], request.campaign));
    report(Some(request.report), plan, into);
}

fn asked(asking: &Asking, clock: Instant, lease: Duration, side: Side, wants: bool, ranks: &Ranks, into: &mut Mixer) {
    for grant in [asking.grants.peer, asking.grants.witness] {
        into.push(age(clock, grant, lease));
    }
    // What it hears counts with a want.
    for heard in [asking.heard.peer, asking.heard.witness] {
        into.push(if wants { age(clock, heard, lease) } else { 0 });
    }
    for owed in [asking.owed.peer, asking.owed.witness] {
        into.push(owed.map_or(255, |owed| ranks.rank(side, owed)));
    }
    into.push(if asking.owed.peer.or(asking.owed.witness).is_some() { left(clock, asking.owed_until) } else { 0 });
    into.push(asking.last.peer as u64 | (asking.last.witness as u64) << 2);
    into.push(left(clock, asking.next.peer) | left(clock, asking.next.witness) << 4);
}

fn duty(duty: &Duty, clock: Instant, side: Side, plan: &Plan, world: &World, ranks: &Ranks, into: &mut Mixer) {
    let timing = &plan.timing[side as usize];
    let lease = timing.lease;
    vote(&duty.vote, clock, world, ranks, into);
    into.push(ranks.rank(side, duty.asking.campaign));
    match duty.phase {
        Phase::Inactive => into.push(0u64),
        Phase::Starting { .. } => into.push(1u64),
        Phase::Active { .. } => into.push(2u64),
        Phase::Stopping(stopping) => {
            let why = matches!(stopping.why, super::super::Why::Failback | super::super::Why::MainServes);
            let work = stopping.work == Work::Aborting;
            into.push(3 + u64::from(why) + 2 * u64::from(work) + 4 * u64::from(stopping.fence == Fence::Overdue));
            into.push(ranks.rank(side, stopping.campaign));
            if plan.stuck_stops {
                let until = if let Work::Pausing { until } = stopping.work { Some(until) } else { None };
                into.push(u64::from(stopping.failed > 0));
                into.push(until.map_or(255, |until| left(clock, until)));
            }
        }
    }
    asked(&duty.asking, clock, lease, side, !duty.serves(), ranks, into);
    into.push(left(clock, duty.ready.rest_until));
    // Without a hold-down who is fit is settled: since when it is, and since when it is in touch (`met`), changes nothing.
    into.push(u64::from(duty.ready.fit_since.is_some()) | u64::from(duty.activation.failed_starts > 0) << 1);
    if plan.alarms {
        into.push(age(
            clock,
            duty.serves().then_some(duty.activation.since),
            plan.longest(|timing| timing.promise) * 2,
        ));
        into.push(age(clock, duty.peer.rival.map(|rival| rival.since), lease));
        into.push(u64::from(duty.peer.rival.is_some_and(|rival| rival.is_proven)) | u64::from(duty.peer.told_two) << 1);
    }
    if plan.operators {
        into.push(duty.wishes.choice as u64);
    }
    if plan.operators || plan.relapses {
        into.push(age(clock, Some(duty.ready.yielded_at), timing.takeover_bound() * 2));
    }
    if plan.relapses {
        let limit = plan.hold_down_limit();
        let (failed, on_trial, good_at, ended_at) = duty.activation.relapse.parts();
        into.push(u64::from(failed.min(MOST_FAILED)) | u64::from(on_trial) << 7);
        into.push(good_at.map_or(255, |at| left(clock, at)));
        let since = [duty.ready.fit_since, duty.peer.met.map(|met| met.since), ended_at, duty.ready.disk.well_since];
        since.into_iter().for_each(|since| into.push(age(clock, since, limit)));
        into.push(age(clock, duty.peer.met.map(|met| met.last), timing.promise));
        into.push(u64::from(duty.ready.disk.slow.is_some()) | u64::from(duty.ready.disk.in_time.min(3)) << 1);
        into.push(age(clock, duty.ready.disk.proven_at, TICK * 3));
        into.push(left(clock, duty.ready.disk.look));
    }
    if plan.reports() {
        into.push(age(clock, Some(duty.peer_silent_since()), timing.promise));
        report(duty.peer.report, plan, into);
    }
    if plan.unguarded {
        into.push(age(clock, Some(duty.witness_silent_since()), timing.witness_out));
        into.push(u64::from(duty.guarding.agreed) | duty.guarding.unguarded.map_or(0, |why| (why as u64 + 1) << 1));
        into.push(u64::from(duty.guarding.surroundings.peer_host) | u64::from(duty.guarding.surroundings.anchors) << 1);
    }
}
