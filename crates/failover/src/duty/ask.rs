//! What a duty asks of the other two voters, and why it does not ask for their votes.

use alloc::vec::Vec;
use core::fmt;
use core::ops::{Index, IndexMut};
use core::time::Duration;

use super::machine::{Duty, Phase};
use super::output::Output;
use super::settings::{Choice, Mode, Witness};
use crate::lease::{Ask, Record, Report, Request};
use crate::side::Side;
use crate::time::{Instant, Span};
use crate::traps::{Trap, made};

/// One of the two voters that are not the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteVoter {
    /// The other XiVO node, which may itself want to serve.
    Peer,
    /// The Edge, which votes and serves no telephony.
    Witness,
}

impl RemoteVoter {
    /// Both other voters, in the order in which they are asked.
    pub const BOTH: [Self; 2] = [Self::Peer, Self::Witness];
}

impl fmt::Display for RemoteVoter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "the peer",
            Self::Witness => "the witness",
        })
    }
}

/// One value for each of the other voters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerVoter<T> {
    /// The value that belongs to the other XiVO node.
    pub peer: T,
    /// The value that belongs to the Edge.
    pub witness: T,
}

impl<T: Copy> PerVoter<T> {
    pub(super) const fn both(value: T) -> Self {
        Self { peer: value, witness: value }
    }
}

impl<T> Index<RemoteVoter> for PerVoter<T> {
    type Output = T;

    fn index(&self, by: RemoteVoter) -> &T {
        match by {
            RemoteVoter::Peer => &self.peer,
            RemoteVoter::Witness => &self.witness,
        }
    }
}

impl<T> IndexMut<RemoteVoter> for PerVoter<T> {
    fn index_mut(&mut self, by: RemoteVoter) -> &mut T {
        match by {
            RemoteVoter::Peer => &mut self.peer,
            RemoteVoter::Witness => &mut self.witness,
        }
    }
}

/// Why an inactive node does not want to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// An operator froze it: no start and no failback by itself.
    Frozen,
    /// It is manual, and no operator chose it.
    Manual,
    /// Something keeps it from serving, so a vote would be of no use to it.
    Unfit,
    /// It has just started, or its services failed to.
    Resting {
        /// It asks again from this instant on.
        until: Instant,
    },
    /// Its disk is too slow for a start, and its peer is there and fit.
    SlowDisk {
        /// How long a write took.
        took: Duration,
    },
    /// An operator had it step back, and its peer is there and fit.
    SteppedBack,
    /// Its own vote is not free.
    VoteTaken(Record),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen => f.write_str("an operator froze it"),
            Self::Manual => f.write_str("it is manual, and no operator chose it"),
            Self::Unfit => f.write_str("it cannot serve"),
            Self::Resting { .. } => f.write_str("it waits a little before it tries"),
            Self::SlowDisk { took } => {
                write!(f, "its disk is too slow ({} for a write), and its peer serves, or is about to", Span(*took))
            }
            Self::SteppedBack => f.write_str("an operator had it step back, and its peer serves, or is about to"),
            Self::VoteTaken(record) => write!(f, "its own vote is not free: {record}"),
        }
    }
}

impl Duty {
    /// Tells why this node, if it is inactive, does not want to serve.
    pub fn waiting(&self) -> Option<Waiting> {
        if self.wishes.frozen {
            Some(Waiting::Frozen)
        } else if self.wishes.mode == Mode::Manual && self.wishes.choice != Choice::Serve {
            Some(Waiting::Manual)
        // A node that cannot serve would keep the votes from one that can (W2).
        } else if self.ready.fit_since.is_none() {
            Some(Waiting::Unfit)
        } else if self.wishes.choice == Choice::StepBack && self.peer_takes_over() {
            Some(Waiting::SteppedBack)
        } else if let Some(took) = self.slow_disk()
            // A node that an operator chose tries all the same.
            && self.wishes.choice != Choice::Serve
            && self.peer_takes_over()
        {
            // A slow node is better than none, and a start that is not carried out costs the other one's: the peer first.
            Some(Waiting::SlowDisk { took })
        } else if self.now < self.ready.rest_until {
            Some(Waiting::Resting { until: self.ready.rest_until })
        // With the own vote promised away the other one makes no majority, and the peer counts on it
        // (`OwnVoteIgnored`).
        } else if !self.vote.is_free() && !made(Trap::OwnVoteIgnored) {
            Some(Waiting::VoteTaken(self.vote.record()))
        } else {
            None
        }
    }

    /// What it asks of a voter now. A node whose own vote is taken wants no other, lest it keeps votes that it cannot use;
    /// but Main tells Standby that it is back.
    fn ask_of(&self, voter: RemoteVoter) -> Ask {
        match self.phase {
            Phase::Starting { .. } | Phase::Active { .. } => Ask::Renew,
            Phase::Stopping(_) if made(Trap::EarlyRelease) && self.asking.owed[voter].is_some() => Ask::Release,
            // The node's services may still run, so its votes stay with it unasked: it gives them back when the stop is
            // verified (`EarlyRelease`, W1).
            Phase::Stopping(_) => Ask::Hello,
            // A vote that is owed is given back before anything is wanted: the peer waits for exactly this.
            Phase::Inactive if self.asking.owed[voter].is_some() => Ask::Release,
            Phase::Inactive => match self.waiting() {
                None => Ask::Want,
                // By this want alone Main says that it is back, and Standby stops for it.
                Some(Waiting::VoteTaken(Record::Promised(_)))
                    if voter == RemoteVoter::Peer && self.settings.side == Side::Main =>
                {
                    Ask::Want
                }
                Some(_) => Ask::Hello,
            },
        }
    }

    /// Asks each voter whose turn it is, and at once the one of whom something new is to be asked.
    pub(super) fn ask(&mut self, outputs: &mut Vec<Output>) {
        for voter in RemoteVoter::BOTH {
            if voter == RemoteVoter::Witness && self.settings.witness == Witness::None {
                continue;
            }
            let ask = self.ask_of(voter);
            if !self.asking.is_due(voter, ask, self.now) {
                continue;
            }
            let campaign = self.asking.asks(voter, ask, self.now + self.settings.timing.heartbeat);
            let request = Request {
                from: self.settings.side,
                ask,
                campaign,
                epoch: self.epoch(),
                report: self.report(),
                settled: self.is_settled(),
                hears: self.is_fresh(self.asking.heard[voter]),
                instance: self.asking.instance,
                needs: self.needs(),
            };
            outputs.push(Output::Ask { voter, request, sent: self.now });
        }
    }

    /// Returns for how long a vote must be promised to this node.
    pub(super) fn needs(&self) -> Duration {
        self.settings.timing.shortest_promise()
    }

    /// Tells whether Standby may stop for it: see [`Duty::settles_at`].
    fn is_settled(&self) -> bool {
        self.settles_at().is_some_and(|at| at <= self.now)
    }

    /// When it will have been fit and in touch with its peer for its hold-down, its disk proven, so that neither services, a
    /// link, a disk nor starts that come and go make telephony do so. A silence that lasts needs no look here: then it does
    /// not hear, either. Nothing while it is not fit. May change with each call of [`Duty::handle`].
    pub fn settles_at(&self) -> Option<Instant> {
        let (fit, disk) = (self.ready.fit_since?, self.disk_is_well_since()?);
        let since =
            [self.peer.met.map(|met| met.since), self.activation.relapse.ended_at(), Some(disk)].into_iter().flatten();
        Some(since.fold(fit, Instant::max) + self.hold_down())
    }

    /// Returns what this node tells of itself.
    pub fn report(&self) -> Report {
        Report {
            status: self.status(),
            fit: self.ready.fit_since.is_some() && (self.serves() || self.slow_disk().is_none()),
            witness_out: self.witness_is_out(),
            unguarded: self.guarding.unguarded.is_some(),
        }
    }
}
