//! W2 beside a node that cannot serve and goes on trying: for which share of the time does somebody serve?

use std::boxed::Box;

use super::super::machine::{Event, Outcome, Phase};
use super::heal::{Scene, bound, converse};
use super::world::{Action, Plan, WITNESS, World};

/// What a node does with each activation, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Each of its starts fails, as with a broken database.
    StartFails,
    /// They die a tick after they were verified.
    DiesSoon,
    /// Its host crashes a tick after they were verified, and boots again.
    CrashesSoon,
    /// Its disk is too slow for a start.
    SlowDisk,
}

impl Flaw {
    pub(super) const ALL: [Self; 4] = [Self::StartFails, Self::DiesSoon, Self::CrashesSoon, Self::SlowDisk];

    /// So many of a hundred ticks somebody serves, at least. A start that is tried costs five ticks and is tried again after
    /// up to 120; a disk is known to be slow before.
    pub(super) const fn promised(self) -> u32 {
        match self {
            Self::SlowDisk => 100,
            Self::StartFails | Self::DiesSoon | Self::CrashesSoon => 94,
        }
    }
}

/// Telephony that died is fit again so many ticks after the stop, and a host takes as long to boot.
const RECOVERS: u32 = 5;

/// For so many ticks it is looked at who serves, once the site has settled.
const WATCHED: u32 = 600;

/// Lets one side be flawed and all else be well; returns for how many of a hundred ticks somebody served.
pub(super) fn share(plan: &Plan, scene: &Scene, flawed: usize, flaw: Flaw, from: &World) -> Result<u32, Box<World>> {
    let mut world = *from;
    world.late = [None; 2];
    let (mut served, mut away) = (0, 0);
    for whom in 0..3 {
        if !world.is_up(whom) {
            world.act(plan, Action::Boot(whom));
        }
    }
    for side in 0..2 {
        if world.nodes[side].slow != (side == flawed && flaw == Flaw::SlowDisk) {
            world.act(plan, Action::DiskTurns(side));
        }
    }
    debug_assert!(world.is_up(WITNESS));
    for tick in 0..bound(plan) + WATCHED {
        converse(plan, scene, &mut world);
        if world.breaks_w1() {
            return Err(Box::new(world));
        }
        let works = |side: usize| {
            let node = &world.nodes[side];
            node.serving && node.duty.is_some_and(|duty| matches!(duty.phase, Phase::Active { .. }))
        };
        served += u32::from(tick >= bound(plan) && (works(0) || works(1)));
        // Commands take a tick.
        for side in 0..2 {
            let has = |which| side == flawed && flaw == which;
            match world.nodes[side].duty.map(|duty| duty.phase) {
                None if away > 0 => away -= 1,
                None => world.act(plan, Action::Boot(side)),
                Some(Phase::Starting { .. }) => {
                    let fails = has(Flaw::StartFails) || !world.nodes[side].runs;
                    let outcome = if fails { Outcome::Failed } else { Outcome::Done };
                    world.act(plan, Action::Started(side, outcome));
                }
                Some(Phase::Active { .. }) if has(Flaw::DiesSoon) => {
                    world.feed(plan, side, Event::Unfit);
                    away = RECOVERS;
                }
                Some(Phase::Inactive) if has(Flaw::DiesSoon) && away > 0 => {
                    away -= 1;
                    if away == 0 {
                        world.feed(plan, side, Event::Fit);
                    }
                }
                Some(Phase::Active { .. }) if has(Flaw::CrashesSoon) => {
                    world.act(plan, Action::Crash(side));
                    away = RECOVERS;
                }
                Some(Phase::Stopping(_)) if world.nodes[side].fencing.is_none() => {
                    world.act(plan, Action::Stopped(side));
                }
                _ => {}
            }
        }
        world.act(plan, Action::Tick);
    }
    Ok(served * 100 / WATCHED)
}
