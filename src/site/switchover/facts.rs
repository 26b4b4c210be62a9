//! What a switch of the whole site knows at one instant.

use std::collections::BTreeMap;

use failover::health::Status;
use failover::{PerSide, Side};
use protocol::wire::{FailedStarts, MediaServer, Vote, Wished};

/// What is known at one instant.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Each side.
    pub sides: PerSide<Half>,
    /// Whether any CC node reports, or ever did.
    pub has_cc_nodes: bool,
    /// Media servers with both XiVO nodes registered for too long.
    pub conflicts: Vec<String>,
    /// The side that receives traffic.
    pub live: Side,
    /// The Edge only observes.
    pub observe: bool,
}

/// What is known of a side.
#[derive(Debug, Clone, Default)]
pub struct Half {
    /// Its XiVO node, if it was heard of lately.
    pub xivo: Option<Xivo>,
    /// Its CC nodes that were heard of lately.
    pub cc: Vec<Cc>,
    /// Whether the side works as the Edge judges it.
    pub works: bool,
    /// Why, or why not.
    pub health: String,
    /// Whether anything of it answers the Edge's probes, if only to refuse.
    pub answers: bool,
    /// Sessions that end there.
    pub sessions: u64,
}

/// A XiVO node.
#[derive(Debug, Clone)]
pub struct Xivo {
    /// Its name.
    pub name: String,
    /// What it does.
    pub status: Status,
    /// Its program's version.
    pub version: String,
    /// Its place in the vote.
    pub vote: Option<Vote>,
    /// Its starts that failed, if the newest did.
    pub failed_starts: Option<FailedStarts>,
    /// Its registrations, by media server.
    pub media_servers: BTreeMap<String, MediaServer>,
    /// What became of the newest wish.
    pub wished: Option<Wished>,
}

/// A CC node.
#[derive(Debug, Clone)]
pub struct Cc {
    /// Its name.
    pub name: String,
    /// What it does.
    pub status: Status,
}

impl Facts {
    pub(super) fn half(&self, side: Side) -> &Half {
        &self.sides[side]
    }

    pub(super) fn xivo(&self, side: Side) -> Option<&Xivo> {
        self.sides[side].xivo.as_ref()
    }

    pub(super) fn is_active(&self, side: Side) -> bool {
        self.has_status(side, &[Status::Active])
    }

    pub(super) fn is_inactive(&self, side: Side) -> bool {
        self.has_status(side, &[Status::Inactive])
    }

    pub(super) fn serves(&self, side: Side) -> bool {
        self.has_status(side, &[Status::Active, Status::Starting])
    }

    /// Serves, or has not quite ceased to.
    pub(super) fn runs(&self, side: Side) -> bool {
        self.has_status(side, &[Status::Active, Status::Starting, Status::Stopping])
    }

    fn has_status(&self, side: Side, of: &[Status]) -> bool {
        self.xivo(side).is_some_and(|xivo| of.contains(&xivo.status))
    }

    pub(super) fn in_words(&self, side: Side) -> String {
        self.xivo(side).map_or_else(|| "is not heard of".to_owned(), |xivo| format!("is {}", xivo.status))
    }
}
