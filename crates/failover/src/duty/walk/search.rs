//! The worlds that can be reached, each once.

use std::collections::VecDeque;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use super::key::key;
use super::world::{Action, Plan, World};
use crate::chance::Chance;

/// A set of keys: open addressing, no deletion.
pub(super) struct Seen {
    slots: Vec<u64>,
    len: usize,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { slots: vec![0; 1 << 16], len: 0 }
    }

    /// Tells whether the key is new.
    pub(super) fn insert(&mut self, key: u64) -> bool {
        if self.len * 10 > self.slots.len() * 7 {
            let doubled = vec![0; self.slots.len() * 2];
            for old in core::mem::replace(&mut self.slots, doubled) {
                if old != 0 {
                    self.place(old);
                }
            }
        }
        let new = self.place(key.max(1));
        self.len += usize::from(new);
        new
    }

    fn place(&mut self, key: u64) -> bool {
        let mask = self.slots.len() - 1;
        let mut at = key as usize & mask;
        loop {
            match self.slots[at] {
                0 => {
                    self.slots[at] = key;
                    return true;
                }
                same if same == key => return false,
                _ => at = (at + 1) & mask,
            }
        }
    }
}

/// What came of a search.
pub(super) struct Found {
    pub(super) states: usize,
    /// How many steps the last one is away from the first.
    pub(super) depth: usize,
    pub(super) edges: u64,
    /// Whether nothing was left to explore.
    pub(super) complete: bool,
    /// The way to the first world that breaks a promise.
    pub(super) broken: Option<Vec<Action>>,
}

/// A world to be explored, as its parent and an action: siblings share the parent, which is a tenth of the memory.
struct Waiting {
    from: Option<(Rc<World>, Action)>,
    at: u32,
}

/// Explores breadth first, at most about `limit` worlds, until `breaks` says that a promise is broken. Calls `each` with every
/// new world.
pub(super) fn search(
    plan: &Plan,
    limit: usize,
    breaks: impl Fn(&World, &World) -> bool,
    mut each: impl FnMut(&World),
) -> Found {
    let mut seen = Seen::new();
    let first = World::new(plan);
    seen.insert(key(&first, plan));
    each(&first);
    let mut ways: Vec<(u32, Action)> = vec![(0, Action::Tick)];
    let mut queue = VecDeque::from([Waiting { from: None, at: 0 }]);
    let (mut actions, mut edges) = (Vec::new(), 0);
    while let Some(Waiting { from, at }) = queue.pop_front() {
        let mut world = first;
        if let Some((parent, action)) = from {
            world = *parent;
            world.act(plan, action);
        }
        let world = Rc::new(world);
        world.actions(plan, &mut actions);
        edges += actions.len() as u64;
        for action in &actions {
            let mut next = *world;
            next.act(plan, *action);
            if breaks(&world, &next) {
                ways.push((at, *action));
                let broken = way(&ways, ways.len() - 1);
                let (states, depth) = (seen.len, broken.len());
                return Found { states, depth, edges, complete: false, broken: Some(broken) };
            }
            if !seen.insert(key(&next, plan)) {
                continue;
            }
            each(&next);
            // Worlds beyond the limit are looked at, but not from.
            if seen.len < limit {
                ways.push((at, *action));
                let way = u32::try_from(ways.len() - 1).expect("fewer than 2^32 states");
                queue.push_back(Waiting { from: Some((Rc::clone(&world), *action)), at: way });
            }
        }
    }
    let depth = way(&ways, ways.len() - 1).len();
    Found { states: seen.len, depth, edges, complete: seen.len < limit, broken: None }
}

/// Follows one long way at random, where faults are rarer than messages: it comes to worlds far from the first. Calls `each`
/// with every world, until that says that a promise is broken.
pub(super) fn wander(
    plan: &Plan,
    seed: u64,
    steps: usize,
    mut each: impl FnMut(&World) -> bool,
) -> Option<Vec<Action>> {
    let mut chance = Chance::new(seed);
    let (mut world, mut actions, mut way) = (World::new(plan), Vec::new(), Vec::new());
    for _ in 0..steps {
        world.actions(plan, &mut actions);
        actions.retain(|action| match action {
            Action::Crash(_)
            | Action::WatchdogDies(_)
            | Action::BootEmpty(_)
            | Action::TelephonyDies(_)
            | Action::KernelRefuses(_) => chance.percent(4),
            Action::Lose(_) | Action::Boot(_) => chance.percent(20),
            _ => true,
        });
        if actions.is_empty() {
            continue;
        }
        let action = chance.one_of(&actions);
        world.act(plan, action);
        way.push(action);
        if each(&world) {
            return Some(way.split_off(way.len().saturating_sub(60)));
        }
    }
    None
}

fn way(ways: &[(u32, Action)], mut at: usize) -> Vec<Action> {
    let mut way = Vec::new();
    while at != 0 {
        way.push(ways[at].1);
        at = ways[at].0 as usize;
    }
    way.reverse();
    way
}
