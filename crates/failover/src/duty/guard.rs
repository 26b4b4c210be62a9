//! How well a serving node is guarded against a second one.

use core::fmt;

use super::ask::RemoteVoter;
use super::machine::Duty;
use super::settings::{Alone, Witness};
use crate::time::Instant;
use crate::traps::{Trap, made};

/// How a serving node is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// It has its own vote and both others.
    Guarded,
    /// It has its own vote and one other: the next failure stops it.
    Exposed {
        /// The voter whose grant is not fresh.
        lacks: RemoteVoter,
    },
    /// It has no majority: the other node may serve, too.
    Unguarded(Unguarded),
}

crate::closed_set! {
    /// Why a node serves without a majority.
    pub enum Unguarded {
        /// No witness is configured, and the peer is silent.
        NoWitness => "no_witness",
        /// Both nodes told each other that the witness is silent, then the peer fell silent.
        WitnessOut => "witness_out",
        /// `alone: serve`, and everybody is silent.
        Alone => "alone",
        /// An operator forced it to serve, whatever the voters said.
        Forced => "forced",
    }
}
crate::spelled!(Unguarded);

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guarded => f.write_str("guarded by a majority and a spare vote"),
            Self::Exposed { lacks } => write!(f, "exposed: guarded by a bare majority, without the vote of {lacks}"),
            Self::Unguarded(why) => write!(f, "UNGUARDED: {why}"),
        }
    }
}

impl fmt::Display for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoWitness => "there is no witness, and the peer is silent",
            Self::WitnessOut => "both nodes agreed that the witness is out, and the peer is silent",
            Self::Alone => "witness and peer are silent, and this node was told to serve alone",
            Self::Forced => "an operator forced it",
        })
    }
}

/// What a node sees beside the watchdogs' messages. It counts only without a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Surroundings {
    /// Whether the peer's host answers (ICMP).
    pub peer_host: bool,
    /// Whether the anchors (gateway, MDS) answer: a sign that it is not this node that is cut off.
    pub anchors: bool,
}

/// What decides whether a node may serve without a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Guarding {
    /// Why the node serves without a majority, if so.
    pub(super) unguarded: Option<Unguarded>,
    pub(super) surroundings: Surroundings,
    /// When the newest answered request to the witness was sent, or this machine began.
    pub(super) witness_at: Instant,
    /// The witness is out for this node, and the peer's last word was that it is for it too.
    pub(super) agreed: bool,
}

impl Guarding {
    pub(super) const fn new(now: Instant) -> Self {
        // Until the driver has looked, the node assumes what keeps it from serving without a majority.
        let surroundings = Surroundings { peer_host: true, anchors: false };
        Self { unguarded: None, surroundings, witness_at: now, agreed: false }
    }
}

impl Duty {
    /// Tells how a serving node is guarded; an unguarded one says so until it is fenced.
    pub fn guard(&self) -> Option<Guard> {
        if let Some(why) = self.guarding.unguarded {
            return Some(Guard::Unguarded(why));
        }
        if !self.serves() {
            return None;
        }
        let lacks = RemoteVoter::BOTH.into_iter().find(|by| !self.is_fresh(self.asking.grants[*by]));
        Some(lacks.map_or(Guard::Guarded, |lacks| Guard::Exposed { lacks }))
    }

    /// Tells whether the witness has been silent for `witness_out`, or there is none.
    pub(super) fn witness_is_out(&self) -> bool {
        self.settings.witness == Witness::None
            || self.now.since(self.witness_silent_since()) >= self.settings.timing.witness_out
    }

    pub(super) fn peer_is_silent(&self) -> bool {
        self.now.since(self.peer_silent_since()) >= self.settings.timing.promise
    }

    /// Since when the witness may have been silent. While this node slept nobody was: it would wake with the silence that is
    /// its own, and serve beside the one that took over.
    pub(super) fn witness_silent_since(&self) -> Instant {
        self.guarding.witness_at.max(self.awake_since)
    }

    pub(super) fn peer_silent_since(&self) -> Instant {
        self.peer.at.max(self.awake_since)
    }

    /// The reason for which this node may serve without a majority.
    pub(super) fn may_be_unguarded(&self) -> Option<Unguarded> {
        // The lease is over or there was none: without a witness that means that the peer grants nothing, and no third
        // one could.
        if self.settings.witness == Witness::None {
            Some(Unguarded::NoWitness)
        } else if !self.witness_is_out() {
            None
        // One node alone cannot tell an outage of the witness from a cut of its own line (`OneSidedSilence`, W1b).
        } else if self.guarding.agreed || made(Trap::OneSidedSilence) {
            Some(Unguarded::WitnessOut)
        } else {
            // Anchors that answer are all that tells this node from one that is cut off; the peer may think the same of
            // itself, so it is the site's choice (`alone: serve`).
            let alone =
                self.settings.alone == Alone::Serve && self.peer_is_silent() && self.guarding.surroundings.anchors;
            alone.then_some(Unguarded::Alone)
        }
    }

    /// The reason for which this node may start without a majority. That Main's host answers keeps Standby back, not the
    /// other way round: Main serves unless it knows better, as it does without a watchdog.
    pub(super) fn may_start_unguarded(&self) -> Option<Unguarded> {
        let host = self.guarding.surroundings.peer_host && self.settings.side == crate::side::Side::Standby;
        // Without an anchor it is as likely to be this node that is cut off.
        let alone = self.peer_is_silent() && !host && self.guarding.surroundings.anchors;
        if alone { self.may_be_unguarded() } else { None }
    }

    /// Returns the end of the lease: the younger of the two grants rules. May change with each call of [`Duty::handle`].
    pub fn lease_until(&self) -> Option<Instant> {
        self.asking.newest_grant().map(|sent| sent + self.settings.timing.lease)
    }

    pub(super) fn is_fresh(&self, sent: Option<Instant>) -> bool {
        sent.is_some_and(|sent| self.now < sent + self.settings.timing.lease)
    }
}
