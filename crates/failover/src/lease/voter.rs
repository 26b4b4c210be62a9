//! The machine that keeps a promise.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::epoch::tellable;
use super::message::{Answer, Ask, Campaign, Instance, Report, Request, VoteReply};
use super::timing::Timing;
use crate::side::{PerSide, Side};
use crate::time::{Instant, Span};
use crate::traps::{Trap, made};

/// Lets at most one node at a time believe that it has this vote.
///
/// ```text
///             want, renew                 want, renew of the holder: its whole length again
///   [ free ] -------------> [ promised ] <--+
///      ^                      |   |  +------+    of the other, or of another machine of that name: lost
///      | release, or its      |   |
///      | length is over       |   |
///      +----------------------+   | restart, disk intact: the same promise, its whole length again
///      |                          | restart, disk lost
///      |        Q over            v
///      +-------------------- [ unknown ]   denies everything
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    promise: Duration,
    quiet: Duration,
    pub(crate) now: Instant,
    pub(crate) record: Record,
    /// When the record lapses; of no meaning while the vote is free.
    pub(crate) until: Instant,
    /// The highest duty epoch known.
    pub(crate) epoch: u64,
    /// The newest campaign of each side that was granted a want without proof that the side hears this voter.
    pub(crate) unproven: PerSide<Campaign>,
}

/// What a voter knows of its vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Record {
    /// Nobody has it: the first sound want gets it.
    Free,
    /// One node has it, until that releases it or the promise lapses.
    Promised(Promise),
    /// The disk was lost: whose it is is not known.
    Unknown,
}

/// A vote that was given, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Promise {
    /// The side of the node that holds it.
    pub holder: Side,
    /// The campaign it is good for; a release frees its own alone.
    pub campaign: Campaign,
    /// The duty epoch that was assigned with it.
    pub epoch: u64,
    /// For how long from the newest answer on. What is written without it is of a version that promised for its own time.
    #[cfg_attr(feature = "serde", serde(default, rename = "length_ms", with = "crate::millis::rounded_up"))]
    pub length: Duration,
    /// To which machine of that name; none: written by a version that did not ask.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub instance: Option<Instance>,
}

impl Promise {
    /// Tells whether the one who asks is the one who was promised the vote. A machine that was restored beside the one that
    /// serves has its name and its campaigns, and is another one all the same.
    fn is_of(&self, request: &Request) -> bool {
        let same = self.instance.is_none_or(|instance| instance == request.instance) || made(Trap::AnyInstance);
        self.holder == request.from && same
    }
}

/// What must survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Memory {
    /// What it knows of its vote.
    #[cfg_attr(feature = "serde", serde(rename = "vote"))]
    pub record: Record,
    /// The highest duty epoch known.
    pub epoch: u64,
}

/// What happens to a [`Voter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The deadline passed, or the driver woke up for any other reason.
    Timer,
    /// A node asks; the answer comes with the outputs.
    Asked(Request),
}

/// What a driver must do for a [`Voter`], in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Keep this across restarts, on the disk before anything that follows is done.
    Persist(Memory),
    /// Answer the request, after all that came before in the batch.
    Answer(Answer),
    /// The vote was promised, became free, or is unknown.
    Changed(Record),
}

impl Voter {
    /// Starts with what was remembered, and says what to do first. With nothing on the disk nobody knows what was promised.
    pub fn new(timing: &Timing, memory: Option<&Memory>, now: Instant) -> (Self, Vec<Output>) {
        let memory = match memory {
            None if made(Trap::NoQuietTime) => Memory { record: Record::Free, epoch: 0 },
            None => Memory { record: Record::Unknown, epoch: 0 },
            Some(memory) if made(Trap::PromiseForgotten) => Memory { record: Record::Free, ..*memory },
            Some(memory) => *memory,
        };
        let Memory { record, epoch } = memory;
        // A restart forgets these: a node that hears nothing is granted one want more in its campaign, and no harm
        // beyond that.
        let unproven = PerSide { main: 0, standby: 0 };
        let mut voter = Self { promise: timing.promise, quiet: timing.quiet, now, record, until: now, epoch, unproven };
        let mut outputs = Vec::new();
        match record {
            // A grant is on the disk before its answer leaves, so a vote that is free on the disk is promised to
            // nobody.
            Record::Free => {}
            // The promise is kept for its whole length again: a renewal writes nothing, so the disk does not know when
            // the newest one was. It may have been promised to a node of longer times, or by longer ones of this
            // voter's.
            Record::Promised(_) if made(Trap::LengthForgotten) => voter.until = now + timing.promise,
            Record::Promised(promise) => voter.until = now + timing.promise.max(promise.length),
            Record::Unknown => {
                // "Unknown" is written before anything is answered. A second restart within the quiet time would else
                // find a clean disk, and grant a vote that a node may still serve on (`SecondRestartIsClean`, W1).
                voter.until = now + timing.quiet;
                let written = if made(Trap::SecondRestartIsClean) { Record::Free } else { record };
                outputs.push(Output::Persist(Memory { record: written, epoch }));
            }
        }
        outputs.push(Output::Changed(record));
        (voter, outputs)
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Output> {
        // A promise that has lapsed is free before the request is ruled over: else the asker would hear `lost` of a
        // vote that nobody has.
        let mut outputs = self.advance(now);
        if let Event::Asked(request) = event {
            let answer = self.rule(&request, None, &mut outputs);
            // The answer comes behind the write in the batch. A promise that was told and is not on the disk is
            // forgotten by a restart, and the vote given away under a node that serves on it (W1).
            outputs.push(Output::Answer(answer));
        }
        outputs
    }

    /// Returns when to call [`Event::Timer`]; may change with each call of [`Voter::handle`].
    pub fn deadline(&self) -> Option<Instant> {
        // A free vote waits for nothing.
        (self.record != Record::Free).then_some(self.until)
    }

    /// Returns what it knows of its vote.
    pub const fn record(&self) -> Record {
        self.record
    }

    /// Tells whether nobody has the vote.
    pub fn is_free(&self) -> bool {
        self.record == Record::Free
    }

    /// Returns the highest duty epoch known.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns what must survive a restart.
    pub const fn memory(&self) -> Memory {
        Memory { record: self.record, epoch: self.epoch }
    }

    /// Lets time pass. That the quiet time is over is written down; that a promise lapsed is not: after a restart it is
    /// kept once more, which costs time and risks nothing.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<Output> {
        // Time that steps back is held: a renewal would else be promised from an instant that is over, and end early.
        self.now = self.now.max(now);
        let mut outputs = Vec::new();
        if self.record == Record::Free || self.now < self.until {
            return outputs;
        }
        let was = core::mem::replace(&mut self.record, Record::Free);
        if was == Record::Unknown {
            outputs.push(Output::Persist(self.memory()));
        }
        outputs.push(Output::Changed(Record::Free));
        outputs
    }

    /// Rules over a request of now, as a voter that does not serve.
    pub(crate) fn rule(&mut self, request: &Request, report: Option<Report>, outputs: &mut Vec<Output>) -> Answer {
        let known = request.epoch;
        let request = &request.with_believed_epoch(self.epoch);
        let before = self.record;
        let ruling = match request.ask {
            // A hello asks for nothing. Its answer is a sign of life, and bears what the voter knows and tells of
            // itself.
            Ask::Hello => VoteReply::Deny,
            // The answer is the same whether the release freed anything or came twice: its sender repeats it until one
            // comes.
            Ask::Release => {
                self.release(request);
                VoteReply::Deny
            }
            Ask::Want | Ask::Renew => self.consider(request),
        };
        // What is only told is not worth a write: the voter that grants an epoch writes that one down.
        self.epoch = self.epoch.max(request.epoch);
        // A renewal leaves the record as it is and waits for no disk: a slow one must not end the lease of a node that
        // serves.
        if self.record != before {
            outputs.push(Output::Persist(self.memory()));
            outputs.push(Output::Changed(self.record));
        }
        let (epoch, promises) = match (ruling, self.record) {
            (VoteReply::Grant, Record::Promised(promise)) => (promise.epoch, promise.length),
            _ => (self.epoch, self.quiet),
        };
        // The limit is measured by what the asker said, not by what was believed of it: it is the asker that must
        // believe the answer.
        let epoch = tellable(epoch, known);
        Answer { to: request.ask, campaign: request.campaign, ruling, epoch, promises, report }
    }

    /// Returns the longest that it promises its vote: as long as it would wait if its disk were lost, and with it what it
    /// promised.
    pub const fn longest(&self) -> Duration {
        self.quiet
    }

    /// Tells whether it may promise its vote for as long as is needed.
    pub fn can_promise(&self, needs: Duration) -> bool {
        needs <= self.quiet || made(Trap::AnyLength)
    }

    fn release(&mut self, request: &Request) {
        // A release frees the vote of the campaign that it names alone: one of an older campaign that was late on its
        // way would free it under a node that serves on it again (`AnyRelease`).
        if let Record::Promised(promise) = self.record
            && promise.is_of(request)
            && (promise.campaign == request.campaign || made(Trap::AnyRelease))
        {
            self.record = Record::Free;
        }
    }

    fn consider(&mut self, request: &Request) -> VoteReply {
        let held = match self.record {
            Record::Unknown if request.ask == Ask::Renew && made(Trap::QuietRenewals) => None,
            // Renewals are denied, too: nothing shows that the vote was the asker's before the disk was lost
            // (`QuietRenewals`).
            Record::Unknown => return VoteReply::Deny,
            // The answer is `Lost` and not `Deny`: an asker that still counts on this vote must learn that it is
            // another's.
            Record::Promised(promise) if !promise.is_of(request) => return VoteReply::Lost,
            // Late, and of a campaign that is over: to follow it would let a late release of the same free the newer one.
            Record::Promised(promise) if request.campaign < promise.campaign && !made(Trap::OldWants) => {
                return VoteReply::Deny;
            }
            Record::Promised(promise) => Some(promise),
            Record::Free => None,
        };
        // A disk that is lost is waited for as long as `quiet`. A longer promise would outlive the wait, and the vote
        // be given away within it (`AnyLength`).
        if !self.can_promise(request.needs) {
            return VoteReply::TooLong;
        }
        if request.ask == Ask::Want && !request.hears && !self.trusts(request) {
            return VoteReply::Deny;
        }
        let kept = held.filter(|promise| promise.campaign == request.campaign);
        // The epoch is assigned by the voter that grants it. Any two majorities share a voter, which has noted the one before
        // it assigns the next.
        let epoch = match (request.ask, kept) {
            // A renewal begins nothing: it goes on in the epoch in which its node serves, even if the promise lapsed
            // meanwhile.
            (Ask::Renew, kept) => kept.map_or(request.epoch, |promise| promise.epoch.max(request.epoch)),
            // The node asks again because the answer was lost. If it knows that epoch already, the other node may have
            // served in it: then only a new one tells the two apart.
            (_, Some(promise)) if promise.epoch > request.epoch => promise.epoch,
            _ => self.epoch.max(request.epoch).saturating_add(1),
        };
        if !made(Trap::EpochForgotten) {
            self.epoch = self.epoch.max(epoch);
        }
        // While one holds the vote its promise grows and does not shrink: an earlier, longer one still binds.
        let length = held.map_or(self.promise, |promise| promise.length.max(self.promise)).max(request.needs);
        let (holder, campaign, instance) = (request.from, request.campaign, Some(request.instance));
        self.record = Record::Promised(Promise { holder, campaign, epoch, length, instance });
        // The promise counts from the answer, the lease from the question: so the promise outlives the lease however
        // long either was on its way.
        self.until = self.now + if made(Trap::OwnLength) { self.promise } else { length };
        VoteReply::Grant
    }
}

impl Voter {
    /// Tells whether a want may be granted without proof of a round trip: once in a campaign. A node that is heard and hears
    /// nothing would else keep the vote for ever, and nobody would serve; to one that hears, the denial is the proof.
    fn trusts(&mut self, want: &Request) -> bool {
        // Numbers only grow, so one number for each side is enough to know which campaigns were granted once.
        let newest = &mut self.unproven[want.from];
        let first = want.campaign > *newest;
        *newest = want.campaign.max(*newest);
        first || made(Trap::DeafWants)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("the vote is free"),
            Self::Promised(Promise { holder, campaign, epoch, .. }) => {
                write!(f, "the vote is promised to {holder} (campaign {campaign}, epoch {epoch})")
            }
            Self::Unknown => f.write_str("the vote is unknown: the disk was lost, and nothing is granted"),
        }
    }
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Record::Free => write!(f, "{}", self.record),
            _ => write!(f, "{}, for {} more", self.record, Span(self.until.since(self.now))),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persist(memory) => write!(f, "remember that {}, epoch {}", memory.record, memory.epoch),
            Self::Answer(answer) => write!(f, "answer {} to {}", answer.ruling, answer.to),
            Self::Changed(record) => write!(f, "{record}"),
        }
    }
}
