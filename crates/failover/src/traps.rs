//! The mistakes that the rules invite, the nodes' above all. Each rule that avoids one names it, and the tests make each once to see that
//! the promises notice.

/// A mistake that can be made in a rule, to see that a test notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trap {
    /// A lease counts from the answer's receipt.
    LeaseFromReceipt,
    /// A restarted voter whose disk is lost grants at once.
    NoQuietTime,
    /// A restarted voter whose disk is intact forgets its promise.
    PromiseForgotten,
    /// A node starts although its own vote is promised.
    OwnVoteIgnored,
    /// Hearing the peer refreshes the lease.
    HearingIsAGrant,
    /// The votes are released before the stop is verified.
    EarlyRelease,
    /// A node whose lease is over goes on.
    NoStepDown,
    /// A fence that was verified once is taken to stay.
    FencedOnce,
    /// A node whose fence the kernel has closed goes on, as its lease does.
    LapsedServes,
    /// A node starts with no vote but its own.
    ActivateAlone,
    /// A voter grants renewals in its quiet time.
    QuietRenewals,
    /// A release frees whatever its sender was promised.
    AnyRelease,
    /// A want of an older campaign takes the place of a newer one.
    OldWants,
    /// An answer to an older campaign counts.
    OldAnswers,
    /// After a lost disk, "unknown" is not written, and a second restart looks clean.
    SecondRestartIsClean,
    /// A voter keeps its promise for its own time, whatever the asker needs.
    OwnLength,
    /// A restarted voter keeps its promise for its own time, whatever was promised.
    LengthForgotten,
    /// A voter promises more than it would wait if its disk were lost.
    AnyLength,
    /// A voter takes another machine of the same name for the one that it promised its vote to.
    AnyInstance,
    /// A watchdog that goes on with a lease counts it by its own times.
    LeaseOfOtherTimes,
    /// Standby stops for a Main to which it cannot promise its vote.
    FailbackInVain,
    /// Standby stops for Main as soon as it has started.
    NoRest,
    /// A node whose stop is not verified gives its vote away before it is fenced.
    UnfencedVote,
    /// A node that slept takes its own sleep for the silence of others.
    SleepIsSilence,
    /// Standby stops for a Main that does not hear its answers.
    OneWayFailback,
    /// A node that wants and hears no answer keeps the vote.
    DeafWants,
    /// A node that stepped back waits for its peer for ever.
    EndlessPatience,
    /// Word of the peer's that is older than its start is taken to mean that it stopped.
    OldWord,
    /// Any word of the peer's that it serves is taken to be newer than the own start.
    StaleWord,
    /// A voter grants without noting the epoch.
    EpochForgotten,
    /// Any epoch that is told is believed.
    AnyEpoch,
    /// An epoch that anybody told since a want makes its grant one of an older want.
    HearsayOutranks,
    /// A grant counts although the own vote was another's since it was asked for.
    VoteLostSince,
    /// A voter tells an epoch that the asker cannot believe.
    BeyondBelief,
    /// A watchdog counts its campaigns on from what is on the disk, although one may have begun and not been written.
    CampaignOfTheDisk,
    /// A node whose activation failed is as settled as before.
    RelapseForgiven,
    /// Activations that fail lengthen no hold-down.
    NoDamping,
    /// An activation counts when it ends, and a host that dies with it counts nothing.
    UncountedStart,
    /// A start whose lease ended before it was verified is tried again at once.
    AbortedStartsForgotten,
    /// A disk that is too slow for a start is no reason not to want one.
    SlowDiskIsWell,
    /// One node alone judges that the witness is silent.
    OneSidedSilence,
    /// A CC whose XiVO is out of sight takes it for inactive.
    SilenceIsInactive,
    /// A CC starts as soon as its XiVO does.
    StartingIsActive,
    /// A CC that runs on both sides is active although nobody restarted it since its XiVO became active.
    StaleServes,
    /// A registration counts as verified when it was asked for.
    AnswerIsProof,
    /// A registration that was verified once is taken to last.
    VerifiedOnce,
    /// A registration that its node's own side believes in is not made again.
    NeverRefreshed,
    /// A registration is taken back while it is still being made.
    OverlappingAttempts,
    /// Only a registration known to stand is taken back.
    RegistrationLeft,
    /// A move of traffic that somebody wished for counts as the Edge's own.
    WishIgnored,
    /// Users of a side that is ill, and that traffic may not leave, get the waiting page.
    PageForTheIll,
}

/// Tells whether a test makes this mistake.
#[cfg(not(test))]
pub(crate) const fn made(_: Trap) -> bool {
    false
}

#[cfg(test)]
pub(crate) use making::{made, making};

#[cfg(test)]
mod making {
    use core::cell::Cell;

    use super::Trap;

    std::thread_local! {
        static MADE: Cell<Option<Trap>> = const { Cell::new(None) };
    }

    /// Tells whether this thread makes this mistake.
    pub(crate) fn made(trap: Trap) -> bool {
        MADE.get() == Some(trap)
    }

    /// Runs a test that makes a mistake.
    pub(crate) fn making<T>(trap: Option<Trap>, run: impl FnOnce() -> T) -> T {
        MADE.set(trap);
        let result = run();
        MADE.set(None);
        result
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_architecture_says_what_each_rule_protects_from() {
        let told = include_str!("../../../docs/ARCHITECTURE.md");
        let (_, rest) = told.split_once("### What each rule protects from").unwrap();
        let (rows, _) = rest.split_once("\n### ").unwrap();
        let (_, list) = include_str!("traps.rs").split_once("enum Trap {").unwrap();
        let (list, _) = list.split_once("\n}").unwrap();
        let names: alloc::vec::Vec<_> = list
            .lines()
            .filter_map(|line| line.trim().strip_suffix(','))
            .filter(|line| !line.starts_with('/'))
            .collect();
        assert!(names.len() > 40);
        for name in names {
            assert!(rows.contains(&alloc::format!("`{name}`")), "{name} has no row");
        }
    }
}
