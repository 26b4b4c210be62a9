//! The times that voters tell each other, and what is to be said when they do not agree.

use failover::lease::Timing;
use serde::{Deserialize, Serialize};

/// What a node asks of the other voters, and what it would promise them, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// For so long a vote must be promised to it.
    pub needs_ms: u64,
    /// For so long it promises its own vote at most.
    pub promises_ms: u64,
}

/// A voter by its name, as people know it: `the Edge`.
#[derive(Debug, Clone, Copy)]
pub struct Voter<'a> {
    /// Who that is, as people call it.
    pub name: &'a str,
    /// What it needs, and what it would promise.
    pub times: Times,
}

impl From<&Timing> for Times {
    fn from(timing: &Timing) -> Self {
        // Both are rounded so that nobody is told of a longer promise than is given, nor of a shorter need.
        let needs = timing.shortest_promise().as_micros().div_ceil(1_000);
        Self {
            needs_ms: u64::try_from(needs).unwrap_or(u64::MAX),
            promises_ms: u64::try_from(timing.quiet.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Writes a time to the millisecond, as it is compared: `2.405 s`.
pub fn seconds(ms: u64) -> String {
    let exact = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    format!("{} s", exact.trim_end_matches('0').trim_end_matches('.'))
}

/// Says that a node does not get a vote, as the voter may not promise it for so long; nothing if it may.
pub fn not_promised(voter: &str, promises_ms: u64, node: &str, needs_ms: u64) -> Option<String> {
    (needs_ms > promises_ms).then(|| {
        format!(
            "{node} needs a vote for {}, and {voter} promises its own for {} at most (`quiet`), so it gives it none: write \
             the same `timing` on both XiVO nodes and at the Edge",
            seconds(needs_ms),
            seconds(promises_ms)
        )
    })
}

/// Says how the times of two voters differ, if they do; in both directions each is promised what it needs, or
/// [`not_promised`] says so.
pub fn differ(one: Voter<'_>, other: Voter<'_>) -> Option<String> {
    let told = |voter: Voter<'_>| {
        let Times { needs_ms, promises_ms } = voter.times;
        format!(
            "{} needs a vote for {} and promises its own for {} at most",
            voter.name,
            seconds(needs_ms),
            seconds(promises_ms)
        )
    };
    (one.times != other.times)
        .then(|| format!("the times differ: {}; {}; write the same `timing` everywhere", told(one), told(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_differ_are_told_and_those_that_are_not_promised_by_their_own_sentence() {
        let usual = Times::from(&Timing::DEFAULT);
        assert_eq!(usual, Times { needs_ms: 2_405, promises_ms: 2_500 });
        let longer = Times { needs_ms: 3_805, promises_ms: 4_000 };
        let voter = |name, times| Voter { name, times };
        assert_eq!(differ(voter("the peer", usual), voter("the Edge", usual)), None);
        let said = differ(voter("this node", longer), voter("the peer", usual)).unwrap();
        assert!(said.contains("this node needs a vote for 3.805 s and promises its own for 4 s at most"), "{said}");
        assert_eq!(not_promised("the Edge", 2_500, "the XiVO node of main", 2_500), None);
        let said = not_promised("the Edge", 2_500, "the XiVO node of main", 3_805).unwrap();
        assert!(said.starts_with("the XiVO node of main needs a vote for 3.805 s, and the Edge promises"), "{said}");
    }
}
