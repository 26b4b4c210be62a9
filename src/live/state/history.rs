//! What was: decisions, what they rested on, and how switches went.

use daemon::Time;
use failover::Side;
use failover::switch::Kind;
use serde::{Deserialize, Serialize};

/// A decision that explains itself (E8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// All of it in one sentence.
    pub sentence: String,
    /// What was known.
    pub facts: Vec<String>,
    /// The rule that decided, by its promise (E1 to E9) where it has one.
    pub rule: String,
    /// What came of it.
    pub outcome: String,
}

/// What a journal entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The Edge started.
    Started,
    /// The Edge stopped.
    Stopped,
    /// The live side changed: the epoch is a new one.
    Switched,
    /// The live side would have changed (`observe: true`).
    WouldHaveSwitched,
    /// A switch was not made, and why.
    Held,
    /// An operator's order was refused.
    Refused,
    /// A side's or service's health changed.
    Health,
    /// An operator forbade automatic switches.
    Frozen,
    /// An operator allowed them again.
    Resumed,
    /// The switch budget is used up.
    Damped,
    /// The switch budget has room again.
    Undamped,
    /// The Edge began to doubt itself.
    Doubted,
    /// The Edge trusts itself again.
    Trusted,
    /// The last session moved: a switch is over.
    Moved,
    /// An operator let the Edge drain.
    Drained,
    /// The configuration was loaded again, or could not be.
    Reloaded,
    /// Something somebody should look at.
    Alarm,
    /// A node does something else than before.
    Node,
    /// Whose the witness's vote is changed.
    Vote,
    /// A step of a planned switch of the whole site.
    #[serde(rename = "walk")]
    Switchover,
    /// The site or a route went into maintenance, or came back.
    Maintenance,
    /// Written by another version.
    #[serde(other)]
    Other,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When.
    pub at: Time,
    /// The switch epoch after it.
    pub epoch: u64,
    /// What sort.
    pub event: Event,
    /// The live side after it.
    pub live: Side,
    /// The operator who ordered it; none: the Edge by itself.
    pub by: Option<String>,
    /// The operator's reason.
    pub why: Option<String>,
    /// Facts, rule, outcome.
    #[serde(flatten)]
    pub explain: Explain,
}

/// How one switch went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The epoch it began.
    pub number: u64,
    /// What sort.
    pub kind: Kind,
    /// The side that was left.
    pub from: Side,
    /// The side that is live since.
    pub to: Side,
    /// Why, in one sentence.
    pub reason: String,
    /// The operator who ordered it; none: the Edge by itself.
    pub by: Option<String>,
    /// When what happened.
    pub phases: Phases,
    /// What became of whom.
    pub counts: Counts,
    /// Facts, rule, outcome.
    pub explain: Explain,
}

/// The phases of a switch; one that has not come yet is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// A failed probe or live traffic that failed; none if an operator ordered the switch.
    pub first_bad_sign: Option<Moment>,
    /// The switch was decided.
    pub decision: Moment,
    /// The new live side and epoch were on the disk.
    pub persisted: Option<Moment>,
    /// The new side served its first request.
    pub first_served: Option<Moment>,
    /// The last session of the demoted side was gone.
    pub last_moved: Option<Moment>,
}

/// A phase's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall time, for people.
    pub at: Time,
    /// Since the earliest phase, by a clock that never jumps.
    pub offset_ms: u64,
}

/// What became of requests and sessions in a switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests sent again to the new side.
    pub replayed: u64,
    /// Requests that waited.
    pub parked: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Sessions that ended with a Close frame.
    pub sessions_closed: u64,
    /// Sessions that were cut.
    pub sessions_cut: u64,
}

/// Entries for tests that read a history and do not make one.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    pub(crate) fn explain() -> Explain {
        Explain {
            sentence: "Standby is live because Main is dead.".into(),
            facts: vec!["Main: cc refused 3 probes.".into(), "Standby: works for 3 h.".into()],
            rule: "E2: the live side does not work and the other does.".into(),
            outcome: "Switched to Standby.".into(),
        }
    }

    pub(crate) fn entry(epoch: u64) -> JournalEntry {
        JournalEntry {
            at: Time::from_unix_ms(1_700_000_000_000 + epoch as i64 * 1000),
            epoch,
            event: Event::Switched,
            live: Side::Standby,
            by: None,
            why: None,
            explain: explain(),
        }
    }

    pub(crate) fn report(number: u64) -> Report {
        let moment = |ms: u64| Moment { at: Time::from_unix_ms(1_700_000_000_000 + ms as i64), offset_ms: ms };
        Report {
            number,
            kind: Kind::Failover,
            from: Side::Main,
            to: Side::Standby,
            reason: "Main is dead.".into(),
            by: None,
            phases: Phases {
                first_bad_sign: Some(moment(0)),
                decision: moment(31),
                persisted: Some(moment(34)),
                first_served: Some(moment(40)),
                last_moved: None,
            },
            counts: Counts { replayed: 3, parked: 12, failed: 1, sessions_closed: 200, sessions_cut: 2 },
            explain: explain(),
        }
    }
}
