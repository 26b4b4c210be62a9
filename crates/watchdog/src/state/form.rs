//! How the machine's memory is written.

use failover::duty::{Choice, Failback, Handover, Memory, Mode, PerVoter, Unguarded, Wishes};
use failover::lease::{self, Promise, Record};
use failover::{Instant, Side};
use protocol::wire::SideForm;
use serde::{Deserialize, Serialize};

use crate::control::api;
use std::time::Duration;

/// How [`Memory`] is written on the disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MemoryForm {
    vote: VoteForm,
    epoch: u64,
    campaign: u64,
    wishes: WishesForm,
    /// Not in the files of versions that did not count them.
    #[serde(default)]
    relapses: u8,
}

/// Whose the node's vote is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum VoteForm {
    Free,
    Promised {
        #[serde(with = "SideForm")]
        holder: Side,
        campaign: u64,
        epoch: u64,
        /// For how long from the newest answer on, rounded up. Without it the file is of a version that promised for its own
        /// time.
        #[serde(default)]
        length_ms: u64,
        /// To which machine of that name, if that was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<u64>,
    },
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
struct WishesForm {
    mode: api::Mode,
    failback: api::Failback,
    frozen: bool,
    choice: api::Choice,
}

impl From<Memory> for MemoryForm {
    fn from(memory: Memory) -> Self {
        let vote = match memory.vote.record {
            Record::Free => VoteForm::Free,
            Record::Promised(Promise { holder, campaign, epoch, length, instance }) => {
                let length_ms = u64::try_from(length.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
                VoteForm::Promised { holder, campaign, epoch, length_ms, instance }
            }
            Record::Unknown => VoteForm::Unknown,
        };
        let Wishes { mode, failback, frozen, choice } = memory.wishes;
        let wishes = WishesForm { mode: mode.into(), failback: failback.into(), frozen, choice: choice.into() };
        Self { vote, epoch: memory.vote.epoch, campaign: memory.campaign, wishes, relapses: memory.relapses }
    }
}

impl From<MemoryForm> for Memory {
    fn from(form: MemoryForm) -> Self {
        let record = match form.vote {
            VoteForm::Free => Record::Free,
            VoteForm::Promised { holder, campaign, epoch, length_ms, instance } => {
                let length = Duration::from_millis(length_ms);
                Record::Promised(Promise { holder, campaign, epoch, length, instance })
            }
            VoteForm::Unknown => Record::Unknown,
        };
        let WishesForm { mode, failback, frozen, choice } = form.wishes;
        let (mode, failback, choice): (Mode, Failback, Choice) = (mode.into(), failback.into(), choice.into());
        Self {
            vote: lease::Memory { record, epoch: form.epoch },
            campaign: form.campaign,
            wishes: Wishes { mode, failback, frozen, choice },
            relapses: form.relapses,
        }
    }
}

api::words! {
    /// Why a node serves without a majority.
    UnguardedForm of Unguarded {
        /// The node serves since no witness is configured.
        NoWitness,
        /// Both nodes agreed that the witness is out.
        WitnessOut,
        /// It was told to serve alone.
        Alone,
        /// The node serves since an operator forced it.
        Forced,
    }
}

/// [`Handover`]. Times are microseconds of the boot's clock.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandoverForm {
    epoch: u64,
    campaign: u64,
    peer: Option<u64>,
    witness: Option<u64>,
    /// Microseconds. Without it the file is of a version whose nodes all had the same times.
    #[serde(default)]
    held: Option<u64>,
    unguarded: Option<UnguardedForm>,
}

impl From<Handover> for HandoverForm {
    fn from(from: Handover) -> Self {
        Self {
            epoch: from.epoch,
            campaign: from.campaign,
            peer: from.grants.peer.map(Instant::as_micros),
            witness: from.grants.witness.map(Instant::as_micros),
            held: Some(u64::try_from(from.held.as_micros()).unwrap_or(u64::MAX)),
            unguarded: from.unguarded.map(UnguardedForm::from),
        }
    }
}

impl From<HandoverForm> for Handover {
    fn from(form: HandoverForm) -> Self {
        let instant = |micros: Option<u64>| micros.map(Instant::from_micros);
        Self {
            epoch: form.epoch,
            campaign: form.campaign,
            grants: PerVoter { peer: instant(form.peer), witness: instant(form.witness) },
            held: form.held.map_or(Duration::MAX, Duration::from_micros),
            unguarded: form.unguarded.map(Unguarded::from),
        }
    }
}
