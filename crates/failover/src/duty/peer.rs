//! What is known of the other XiVO node, by its own words.

use core::time::Duration;

use crate::lease::Report;
use crate::time::Instant;

/// The peer's words, and when they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    /// When the peer was heard last, or this machine began.
    pub(super) at: Instant,
    pub(super) report: Option<Report>,
    /// Since when the peer answers, and when it last did.
    pub(super) met: Option<Met>,
    /// The peer's words since this node serves that it serves, too.
    pub(super) rival: Option<Rival>,
    /// The journal has been told that both serve: once for each time that they do.
    pub(super) told_two: bool,
}

/// For how long a node has been in touch with its peer: its own requests were answered. To hear the peer's requests is not
/// enough, for the peer may hear nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Met {
    /// The first answer ever, or after a silence of a promise's time.
    pub(super) since: Instant,
    /// The newest answer: older than a promise's time, and the touch is lost.
    pub(super) last: Instant,
}

/// What the peer has said since this node serves: that it serves, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rival {
    /// When the first of an unbroken row of such words came.
    pub(super) since: Instant,
    /// One of them was surely said after this node's start.
    pub(super) is_proven: bool,
}

impl Peer {
    pub(super) const fn new(now: Instant) -> Self {
        Self { at: now, report: None, met: None, rival: None, told_two: false }
    }

    /// Takes in the peer's word, in place of the one before.
    pub(super) const fn hear(&mut self, report: Report, now: Instant) {
        (self.at, self.report) = (now, Some(report));
    }

    /// Takes in that the peer answered; a silence of a promise's time ends a touch.
    pub(super) fn touch(&mut self, now: Instant, promise: Duration) {
        let again = |met: &Met| now.since(met.last) < promise;
        let since = self.met.filter(again).map_or(now, |met| met.since);
        self.met = Some(Met { since, last: now });
    }

    /// Takes in that the peer says that it serves beside this node. Word that is surely newer than this node's start proves
    /// it; other word does once the peer has said so for a lease.
    pub(super) fn serves_too(&mut self, newer: bool, now: Instant, lease: Duration) {
        let since = self.rival.map_or(now, |rival| rival.since);
        let lasts = now.since(since) >= lease;
        let is_proven = newer || lasts || self.rival.is_some_and(|rival| rival.is_proven);
        self.rival = Some(Rival { since, is_proven });
    }

    /// Takes in whether both serve, and tells whether that is new.
    pub(super) const fn begins_beside(&mut self, two: bool) -> bool {
        let begins = two && !self.told_two;
        self.told_two = two;
        begins
    }
}
