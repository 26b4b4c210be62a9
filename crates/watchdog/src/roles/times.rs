//! What is to be said when the times of this node and those of the other voters do not agree.

use failover::lease::Timing;
use protocol::wire::Times;
use protocol::wire::times::{Voter, differ, not_promised};

/// What the other voters told of their times, in milliseconds; nothing as long as they were not heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// For how long the peer needs this node's vote.
    pub(crate) peer_needs: Option<u64>,
    /// For how long the peer promises its vote at most.
    pub(crate) peer_promises: Option<u64>,
    /// For how long the witness promises its vote at most.
    pub(crate) witness_promises: Option<u64>,
}

/// What came of comparing them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Somebody does not get a vote for it.
    pub(crate) alarms: Vec<String>,
    /// Everybody gets what it needs, and still they are not the same.
    pub(crate) remarks: Vec<String>,
}

/// Compares the times of this node with what the others told.
pub(crate) fn compare(timing: &Timing, told: &Told) -> Compared {
    let own = Times::from(timing);
    let refuses = |voter, promises: Option<u64>| {
        promises.and_then(|promises| not_promised(voter, promises, "this node", own.needs_ms))
    };
    let to_peer = told.peer_needs.and_then(|needs| not_promised("this node", own.promises_ms, "the peer", needs));
    let alarms: Vec<_> =
        [refuses("the peer", told.peer_promises), refuses("the witness", told.witness_promises), to_peer]
            .into_iter()
            .flatten()
            .collect();
    // What a voter did not tell is taken to be as here.
    let times = |needs: Option<u64>, promises: Option<u64>| Times {
        needs_ms: needs.unwrap_or(own.needs_ms),
        promises_ms: promises.unwrap_or(own.promises_ms),
    };
    let here = Voter { name: "this node", times: own };
    let peer = Voter { name: "the peer", times: times(told.peer_needs, told.peer_promises) };
    let witness = Voter { name: "the witness", times: times(None, told.witness_promises) };
    let remarks = [differ(here, peer), differ(here, witness)].into_iter().flatten().collect();
    Compared { alarms, remarks }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_main_with_longer_times_is_told_by_whom_it_is_not_promised_what_it_needs() {
        let longer = Timing {
            lease: Duration::from_secs(3),
            promise: Duration::from_secs(4),
            quiet: Duration::from_secs(4),
            ..Timing::DEFAULT
        };
        let usual = Times::from(&Timing::DEFAULT);
        let told = Told {
            peer_needs: Some(usual.needs_ms),
            peer_promises: Some(usual.promises_ms),
            witness_promises: Some(4_000),
        };
        let Compared { alarms, remarks } = compare(&longer, &told);
        assert!(alarms.len() == 1 && alarms[0].contains("the peer promises its own for 2.5 s at most"), "{alarms:?}");
        assert!(remarks.len() == 1 && remarks[0].contains("the peer needs a vote for 2.405 s"), "{remarks:?}");
        // The same, seen from Standby.
        let told = Told { peer_needs: Some(Times::from(&longer).needs_ms), ..Told::default() };
        let Compared { alarms, .. } = compare(&Timing::DEFAULT, &told);
        assert!(alarms.len() == 1 && alarms[0].starts_with("the peer needs a vote for 3.808 s"), "{alarms:?}");
        assert_eq!(compare(&longer, &Told::default()), Compared::default(), "nobody was heard");
    }
}
