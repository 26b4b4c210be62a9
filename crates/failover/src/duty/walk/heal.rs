//! W2: from any world, once what is broken stays broken and the rest works, exactly one node serves, soon and for good.

use std::boxed::Box;

use super::super::ask::RemoteVoter;
use super::super::guard::Surroundings;
use super::super::machine::{Event, Outcome, Phase};
use super::world::{Action, Link, Plan, WITNESS, World, target};
use crate::lease::{self, Ask, LEAP, Request};
use crate::side::Side;

/// What stays broken while everything else heals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) dead: [bool; 3],
    pub(super) cut: [bool; 4],
    /// Links on which requests arrive and answers do not.
    pub(super) deaf: [bool; 4],
    /// A node that tells ever higher epochs, each believed, and whom.
    pub(super) boasts: Option<(usize, RemoteVoter)>,
    /// Nodes whose kernel lets no phone in.
    pub(super) refuses: [bool; 2],
    /// Who must serve in the end.
    pub(super) serves: Serves,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    Main,
    Standby,
    Either,
    Nobody,
}

impl Scene {
    /// Who may serve when operators have a say: whoever can.
    pub(super) fn with_wishes(&self) -> Serves {
        let cut_off = |side: usize| self.cut[2 * side] && self.cut[2 * side + 1];
        match self.serves {
            Serves::Main if !self.dead[1] && !cut_off(1) => Serves::Either,
            serves => serves,
        }
    }
}

const NONE: Scene = Scene {
    name: "nothing",
    dead: [false; 3],
    cut: [false; 4],
    deaf: [false; 4],
    boasts: None,
    refuses: [false; 2],
    serves: Serves::Main,
};

const NODES_CUT: Scene =
    Scene { name: "Main and Standby cut", cut: [true, false, true, false], serves: Serves::Either, ..NONE };

/// Links are Main to Standby, Main to witness, Standby to Main, Standby to witness.
pub(super) const SCENES: [Scene; 13] = [
    NONE,
    Scene { name: "Main dead", dead: [true, false, false], serves: Serves::Standby, ..NONE },
    Scene { name: "Standby dead", dead: [false, true, false], ..NONE },
    Scene { name: "witness dead", dead: [false, false, true], ..NONE },
    NODES_CUT,
    Scene { name: "Main's requests to Standby lost", cut: [true, false, false, false], serves: Serves::Either, ..NONE },
    Scene { name: "Standby's requests to Main lost", cut: [false, false, true, false], serves: Serves::Either, ..NONE },
    Scene { name: "Main and witness cut", cut: [false, true, false, false], serves: Serves::Main, ..NONE },
    Scene { name: "Standby and witness cut", cut: [false, false, false, true], serves: Serves::Main, ..NONE },
    Scene { name: "Main cut off", cut: [true, true, true, false], serves: Serves::Standby, ..NONE },
    Scene { name: "Standby cut off", cut: [true, false, true, true], ..NONE },
    Scene { name: "Main and witness dead", dead: [true, false, true], serves: Serves::Nobody, ..NONE },
    Scene { name: "Standby and witness dead", dead: [false, true, true], serves: Serves::Nobody, ..NONE },
];

/// The kernel of one node lets no phone in: its votes must be free for the other.
pub(super) const REFUSED: [Scene; 3] = [
    NONE,
    Scene { name: "Main's kernel lets nobody in", refuses: [true, false], serves: Serves::Standby, ..NONE },
    Scene { name: "Standby's kernel lets nobody in", refuses: [false, true], ..NONE },
];

/// Standby hears Main, and nobody is heard by Main.
pub(super) const MAIN_IS_DEAF: Scene = Scene {
    name: "Main deaf to Standby, and cut from the witness",
    cut: [false, true, false, false],
    deaf: [true, false, false, false],
    serves: Serves::Standby,
    ..NONE
};

/// One node is heard, and hears nothing: what it wants must not keep the votes of those that hear it for ever.
pub(super) const DEAF: [Scene; 4] = [
    MAIN_IS_DEAF,
    Scene {
        name: "Standby deaf to Main, and cut from the witness",
        cut: [false, false, false, true],
        deaf: [false, false, true, false],
        ..NONE
    },
    Scene {
        name: "Main deaf to the witness, and cut from Standby",
        cut: [true, false, true, false],
        deaf: [false, true, false, false],
        serves: Serves::Standby,
        ..NONE
    },
    Scene {
        name: "Standby deaf to the witness, and cut from Main",
        cut: [true, false, true, false],
        deaf: [false, false, false, true],
        ..NONE
    },
];

/// One node tells epochs that no start had, and is well otherwise: that must keep nobody from starting.
pub(super) const BOASTS: [Scene; 6] = [
    Scene { name: "Standby boasts to Main", boasts: Some((1, RemoteVoter::Peer)), ..NONE },
    Scene { name: "Standby boasts to the witness", boasts: Some((1, RemoteVoter::Witness)), ..NONE },
    Scene { name: "Main boasts to Standby", boasts: Some((0, RemoteVoter::Peer)), ..NONE },
    Scene { name: "Main boasts to the witness", boasts: Some((0, RemoteVoter::Witness)), ..NONE },
    Scene {
        name: "Standby boasts to the witness, cut from Main",
        boasts: Some((1, RemoteVoter::Witness)),
        ..NODES_CUT
    },
    Scene {
        name: "Main boasts to the witness, cut from Standby",
        boasts: Some((0, RemoteVoter::Witness)),
        ..NODES_CUT
    },
];

/// After so many ticks it must be settled, and is watched for as many more.
const BOUND: u32 = 24;

/// A Main whose activations failed comes back after its hold-down.
pub(super) fn bound(plan: &Plan) -> u32 {
    BOUND + plan.hold_down_limit().as_secs() as u32
}

/// Lets a scene settle; returns the ticks until the right node serves alone for good.
#[allow(clippy::too_many_lines, reason = "one tick, in the order in which things happen")]
pub(super) fn heal(plan: &Plan, scene: &Scene, from: &World) -> Result<u32, Box<World>> {
    let plan = &Plan { cut: scene.cut, ..*plan };
    let mut world = *from;
    world.late = [None; 2];
    for side in 0..2 {
        if world.nodes[side].slow {
            world.act(plan, Action::DiskTurns(side));
        }
    }
    for whom in 0..3 {
        let up = if whom == WITNESS { world.witness.is_some() } else { world.nodes[whom].duty.is_some() };
        match (scene.dead[whom], up) {
            (true, true) => world.act(plan, Action::Crash(whom)),
            (false, false) => world.act(plan, Action::Boot(whom)),
            _ => {}
        }
    }
    for side in 0..2 {
        match (scene.refuses[side], world.nodes[side].refuses) {
            (true, false) => world.act(plan, Action::KernelRefuses(side)),
            (false, true) => world.act(plan, Action::KernelTakes(side)),
            _ => {}
        }
    }
    if plan.unguarded {
        for side in 0..2 {
            let peer_host = !scene.dead[1 - side] && !scene.cut[2 * side];
            let anchors = !(scene.cut[2 * side] && scene.cut[2 * side + 1]);
            world.feed(plan, side, Event::Surroundings(Surroundings { peer_host, anchors }));
        }
    }
    for link in (0..4).filter(|link| scene.cut[*link]) {
        world.links[link] = Link::Idle;
    }
    let mut since = None;
    let bound = bound(plan);
    for tick in 0..2 * bound {
        converse(plan, scene, &mut world);
        if world.breaks_w1() {
            return Err(Box::new(world));
        }
        let active = world.nodes.map(|node| node.duty.is_some_and(|duty| matches!(duty.phase, Phase::Active { .. })));
        // One that is cut off and says that it is unguarded cannot know better.
        let serving = [0, 1].map(|side| {
            let excused =
                plan.unguarded && scene.cut[2 * side] && scene.cut[2 * side + 1] && world.nodes[side].unguarded;
            world.nodes[side].serving && !excused
        });
        let right = (active == serving || plan.unguarded)
            && match scene.serves {
                Serves::Main => serving == [true, false],
                Serves::Standby => serving == [false, true],
                Serves::Either => serving[0] != serving[1],
                Serves::Nobody => serving == [false, false],
            };
        since = if right { since.or(Some((tick, serving))) } else { None };
        // Whoever serves goes on: a change is a start again.
        if since.is_some_and(|(_, first)| first != serving) {
            since = Some((tick, serving));
        }
        // Commands take a tick.
        for side in 0..2 {
            match world.nodes[side].duty.map(|duty| duty.phase) {
                Some(Phase::Starting { .. }) => {
                    let outcome = if world.nodes[side].runs { Outcome::Done } else { Outcome::Failed };
                    world.act(plan, Action::Started(side, outcome));
                }
                Some(Phase::Stopping(_)) if world.nodes[side].fencing.is_none() => {
                    world.act(plan, Action::Stopped(side));
                }
                _ => {}
            }
        }
        world.act(plan, Action::Tick);
    }
    match since {
        Some((tick, _)) if tick <= bound => Ok(tick),
        _ => Err(Box::new(world)),
    }
}

/// Delivers what is on its way, and what follows from it, within the tick.
pub(super) fn converse(plan: &Plan, scene: &Scene, world: &mut World) {
    for _ in 0..6 {
        for link in [1, 0, 3, 2] {
            for _ in 0..2 {
                boast(plan, scene, world);
                let asks = matches!(world.links[link], Link::Asking { .. });
                let up = match target(link) {
                    WITNESS => world.witness.is_some(),
                    side => world.nodes[side].duty.is_some(),
                };
                let lost = if asks { !up } else { scene.deaf[link] };
                world.act(plan, if lost { Action::Lose(link) } else { Action::Deliver(link) });
            }
        }
    }
}

/// Tells a higher epoch, between any two other messages.
fn boast(plan: &Plan, scene: &Scene, world: &mut World) {
    let Some((boaster, to)) = scene.boasts else { return };
    let Some(duty) = world.nodes[boaster].duty else { return };
    let hello = |epoch: u64| Request {
        from: Side::BOTH[boaster],
        ask: Ask::Hello,
        campaign: duty.asking.campaign,
        epoch: epoch.saturating_add(LEAP),
        report: duty.report(),
        settled: false,
        hears: false,
        instance: world.nodes[boaster].instance,
        needs: duty.needs(),
    };
    match to {
        RemoteVoter::Peer => {
            if let Some(peer) = world.nodes[1 - boaster].duty {
                let asked = Event::Asked(hello(peer.epoch()));
                world.feed(plan, 1 - boaster, asked);
            }
        }
        RemoteVoter::Witness => {
            if let Some(witness) = &mut world.witness {
                let asked = lease::Event::Asked(hello(witness.epoch()));
                witness.handle(asked, world.witness_clock);
            }
        }
    }
}
