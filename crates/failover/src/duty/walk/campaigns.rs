//! The campaign numbers in a world.

use super::super::machine::Phase;
use super::world::{Link, World};
use crate::lease;
use crate::side::Side;

impl World {
    pub(super) fn newest_campaign(&self, side: Side) -> u64 {
        let mut newest = self.nodes[side as usize].disk.map_or(0, |memory| memory.campaign);
        self.each_campaign(|of, campaign| {
            if of == side {
                newest = newest.max(*campaign);
            }
        });
        newest
    }

    /// Calls for each campaign number that still matters, with the side whose it is.
    pub(super) fn each_campaign(&self, mut call: impl FnMut(Side, &u64)) {
        let mut record = |record: &lease::Record| {
            if let lease::Record::Promised(promise) = record {
                call(promise.holder, &promise.campaign);
            }
        };
        for node in &self.nodes {
            node.disk.iter().chain(&node.unwritten).for_each(|disk| record(&disk.vote.record));
            node.duty.iter().for_each(|duty| record(&duty.vote.record));
        }
        self.witness.iter().for_each(|voter| record(&voter.record));
        self.witness_disk.iter().for_each(|disk| record(&disk.record));
        for voter in self.nodes.iter().filter_map(|node| node.duty.as_ref().map(|duty| &duty.vote)).chain(&self.witness)
        {
            Side::BOTH.into_iter().for_each(|side| call(side, &voter.unproven[side]));
        }
        for (side, node) in self.nodes.iter().enumerate() {
            let side = Side::BOTH[side];
            node.disk.iter().chain(&node.unwritten).for_each(|disk| call(side, &disk.campaign));
            if let Some(duty) = &node.duty {
                call(side, &duty.asking.campaign);
                [duty.asking.owed.peer, duty.asking.owed.witness].iter().flatten().for_each(|owed| call(side, owed));
                if let Phase::Stopping(stopping) = &duty.phase {
                    call(side, &stopping.campaign);
                }
            }
        }
        let late = self.late.iter().flatten().map(|(link, message)| (*link, message));
        for (link, message) in self.links.iter().enumerate().chain(late) {
            match message {
                Link::Idle => {}
                Link::Asking { request, .. } => call(Side::BOTH[link / 2], &request.campaign),
                Link::Answering { answer, .. } => call(Side::BOTH[link / 2], &answer.campaign),
            }
        }
    }
}
