//! What was asked of the other two voters, and what they granted: the state of a campaign.

use super::ask::{PerVoter, RemoteVoter};
use crate::lease::{Ask, Campaign, Instance};
use crate::time::Instant;

/// The requests of a campaign, and what came of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asking {
    /// Tells this machine from others of its name.
    pub(super) instance: Instance,
    /// The campaign that wants or serves; grows when it ends.
    pub(super) campaign: Campaign,
    /// When the newest granted request of this campaign was sent.
    pub(super) grants: PerVoter<Option<Instant>>,
    /// When the newest answered request of this campaign was sent.
    pub(super) heard: PerVoter<Option<Instant>>,
    /// When each voter is asked next, if nothing new is to be asked before.
    pub(super) next: PerVoter<Instant>,
    /// What was asked of each voter last.
    pub(super) last: PerVoter<Ask>,
    /// The campaign whose votes are to be released.
    pub(super) owed: PerVoter<Option<Campaign>>,
    /// When the votes to be released have lapsed anyway.
    pub(super) owed_until: Instant,
}

impl Asking {
    pub(super) const fn new(instance: Instance, campaign: Campaign, now: Instant) -> Self {
        Self {
            instance,
            campaign,
            grants: PerVoter::both(None),
            heard: PerVoter::both(None),
            next: PerVoter::both(now),
            last: PerVoter::both(Ask::Hello),
            owed: PerVoter::both(None),
            owed_until: now,
        }
    }

    /// Tells whether this is asked of a voter now. Something new is asked at once: a release that waited for its heartbeat
    /// would have the peer wait as long.
    pub(super) fn is_due(&self, voter: RemoteVoter, ask: Ask, now: Instant) -> bool {
        now >= self.next[voter] || self.last[voter] != ask
    }

    /// Takes in that a voter is being asked, and returns the campaign that the request names. A release names the one that
    /// ended, which the voter's record bears; the present one is newer.
    pub(super) fn asks(&mut self, voter: RemoteVoter, ask: Ask, next: Instant) -> Campaign {
        self.next[voter] = next;
        self.last[voter] = ask;
        match (ask, self.owed[voter]) {
            (Ask::Release, Some(ended)) => ended,
            _ => self.campaign,
        }
    }

    /// Returns when the newest granted request was sent. One vote beside the own is a majority: so the younger of the two
    /// carries the lease.
    pub(super) fn newest_grant(&self) -> Option<Instant> {
        self.grants.peer.max(self.grants.witness)
    }

    /// Ends the campaign, and returns its number. The number changes at once: grants of the old campaign that are still on
    /// their way count no longer.
    pub(super) const fn end(&mut self) -> Campaign {
        let ended = self.campaign;
        self.campaign = ended.saturating_add(1);
        (self.grants, self.heard) = (PerVoter::both(None), PerVoter::both(None));
        ended
    }

    /// Has the votes of a campaign given back; they lapse by themselves at that instant.
    pub(super) const fn owe(&mut self, ended: Campaign, until: Instant) {
        (self.owed, self.owed_until) = (PerVoter::both(Some(ended)), until);
    }

    /// Has no votes given back any more.
    pub(super) const fn owe_nothing(&mut self) {
        self.owed = PerVoter::both(None);
    }

    /// Lets time pass. By then the promises have lapsed by themselves: a voter that is gone is not asked for ever.
    pub(super) fn lapse(&mut self, now: Instant) {
        if now >= self.owed_until {
            self.owe_nothing();
        }
    }

    /// Takes in that a voter has the vote of a campaign back.
    pub(super) fn released(&mut self, by: RemoteVoter, campaign: Campaign) {
        if self.owed[by] == Some(campaign) {
            self.owed[by] = None;
        }
    }
}
