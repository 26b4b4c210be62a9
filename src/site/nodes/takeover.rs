//! What would become of telephony if a side died now, in one sentence.

use std::time::Duration;

use failover::health::Status;
use failover::{PerSide, Side, Span};
use protocol::wire::{FailedStarts, Vote};

/// A XiVO node, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Half<'a> {
    /// What it says it does.
    pub status: Status,
    /// Its place in the vote.
    pub vote: Option<&'a Vote>,
    /// Its starts that failed, if the newest did.
    pub failed_starts: Option<&'a FailedStarts>,
    /// How long ago it said so.
    pub ago: Duration,
    /// Whether that still counts.
    pub fresh: bool,
}

/// What the witness, a vote of three, would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// The witness can grant its vote.
    Ready,
    /// The witness's disk was lost: it grants nothing for so long.
    Quiet(Duration),
    /// The witness can write nothing and therefore grants nothing.
    Mute,
}

/// Says what would happen if `side` died now.
pub fn if_died(side: Side, halves: &PerSide<Option<Half<'_>>>, witness: &Witness) -> String {
    let fate = fate(side, halves, witness);
    format!("if {} died now: {fate}", Side::title(side))
}

fn fate(side: Side, halves: &PerSide<Option<Half<'_>>>, witness: &Witness) -> String {
    let (its, other) = (&halves[side], &halves[side.other()]);
    let heir = Side::title(side.other());
    let serving = |half: &Option<Half<'_>>| half.is_some_and(|half| half.fresh && half.status == Status::Active);
    // First: what the node that serves would do decides, whatever is known of the one that dies.
    if serving(other) {
        return format!("{heir} would go on serving, with nobody to take over from it");
    }
    if its.is_some_and(|half| half.fresh && half.status == Status::Inactive) && other.is_some_and(|half| half.fresh) {
        return "nothing would change: it does not serve".to_owned();
    }
    match takeover(other.as_ref(), witness) {
        Ok(within) => format!("{heir} would take over within {}", Span(within)),
        Err(why) => format!("nobody would take over: {}", why.replace("HEIR", heir)),
    }
}

/// Within what time a node would take over, or why it would not. The witness's quiet time delays it.
fn takeover(heir: Option<&Half<'_>>, witness: &Witness) -> Result<Duration, String> {
    let Some(half) = heir else { return Err("HEIR was never heard of".to_owned()) };
    if !half.fresh {
        return Err(format!("HEIR was not heard of for {}", Span(half.ago)));
    }
    let Some(vote) = half.vote else { return Err("HEIR does not say whether it could".to_owned()) };
    // What a person decided comes before what failed: a word undoes it.
    if vote.frozen {
        return Err("HEIR is frozen".to_owned());
    }
    if !vote.automatic {
        return Err("HEIR is in manual mode".to_owned());
    }
    if !vote.fit {
        let why = vote.waiting.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        return Err(format!("HEIR is not fit{why}"));
    }
    // It would try, and has shown what comes of it.
    if let Some(failed) = half.failed_starts {
        let times = if failed.count == 1 { "once" } else { &format!("{} times", failed.count) };
        return Err(format!("HEIR failed to start {times}: {}", failed.words));
    }
    if matches!(half.status, Status::Faulty | Status::Stopping) {
        return Err(format!("HEIR is {}", half.status));
    }
    let bound = Duration::from_millis(vote.takeover_ms);
    match witness {
        Witness::Ready => Ok(bound),
        // It grants nothing before that, and the heir needs its vote.
        Witness::Quiet(left) => Ok(bound + *left),
        Witness::Mute => Err("this Edge, the witness, cannot write its vote".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::nodes::fake::vote;

    #[test]
    fn the_sentence_says_who_would_take_over_and_when_or_why_nobody_would() {
        let well = vote();
        let frozen = Vote { frozen: true, ..vote() };
        let unfit = Vote { fit: false, waiting: Some("Asterisk is not installed".into()), ..vote() };
        let manual = Vote { automatic: false, ..vote() };
        let ago = Duration::from_millis(300);
        let half = |status, vote| Some(Half { status, vote: Some(vote), failed_starts: None, ago, fresh: true });
        let silent = Half { ago: Duration::from_secs(12), fresh: false, ..half(Status::Inactive, &well).unwrap() };
        let failed = FailedStarts { count: 8, since: 0, newest: 9, words: "exit code 3: licence missing".into() };
        let fails = Half { failed_starts: Some(&failed), ..half(Status::Inactive, &well).unwrap() };
        let active = half(Status::Active, &well);
        let rows = [
            (half(Status::Inactive, &well), Witness::Ready, "Standby would take over within 5.2 s"),
            (
                half(Status::Inactive, &well),
                Witness::Quiet(Duration::from_secs(2)),
                "Standby would take over within 7.2 s",
            ),
            (
                half(Status::Inactive, &well),
                Witness::Mute,
                "nobody would take over: this Edge, the witness, cannot write its vote",
            ),
            (half(Status::Inactive, &frozen), Witness::Ready, "nobody would take over: Standby is frozen"),
            (half(Status::Inactive, &manual), Witness::Ready, "nobody would take over: Standby is in manual mode"),
            (
                half(Status::Inactive, &unfit),
                Witness::Ready,
                "nobody would take over: Standby is not fit (Asterisk is not installed)",
            ),
            (half(Status::Faulty, &well), Witness::Ready, "nobody would take over: Standby is faulty"),
            (
                Some(fails),
                Witness::Ready,
                "nobody would take over: Standby failed to start 8 times: exit code 3: licence missing",
            ),
            (Some(silent), Witness::Ready, "nobody would take over: Standby was not heard of for 12 s"),
            (None, Witness::Ready, "nobody would take over: Standby was never heard of"),
            (active, Witness::Ready, "Standby would go on serving, with nobody to take over from it"),
        ];
        for (standby, witness, expected) in rows {
            let said = if_died(Side::Main, &PerSide { main: active, standby }, &witness);
            assert_eq!(said, format!("if Main died now: {expected}"));
        }
        let halves = PerSide { main: half(Status::Faulty, &well), standby: half(Status::Inactive, &well) };
        let said = if_died(Side::Standby, &halves, &Witness::Ready);
        assert_eq!(said, "if Standby died now: nothing would change: it does not serve");
        let halves = PerSide { main: active, standby: half(Status::Inactive, &well) };
        let said = if_died(Side::Standby, &halves, &Witness::Ready);
        assert_eq!(said, "if Standby died now: Main would go on serving, with nobody to take over from it");
    }
}
