//! Whether each alarm of a node is true, and none is missing.

use std::time::Duration;

use failover::health::Status;

use super::super::world::{Stop, Tool, name};
use super::{Company, Event, Known, Seen};

/// An alarm is shown within so long.
const ALARMED: Duration = Duration::from_secs(5);
/// What is over may be shown for so long: until the next look, answer or write says so.
const LINGERS: Duration = Duration::from_secs(20);
/// A disk is proven slow, and well, by writes: the last of them may be so long ago.
const PROVEN: Duration = Duration::from_secs(120);
/// The drivers' figures, written again: a judge that took theirs would follow a driver that shows an alarm for too long.
const TWO_ACTIVES: Duration = Duration::from_secs(60);
const FENCE_REMOVED: Duration = Duration::from_secs(600);
const SLOW_WRITE: Duration = Duration::from_secs(2);
/// Nobody answered for so long: twice the promise.
const ALONE: Duration = Duration::from_secs(5);
/// A node that hears its peer has heard within so long that it serves.
const TOLD: Duration = Duration::from_secs(3);
/// What a node does is shown within so long.
const SHOWN: Duration = Duration::from_secs(1);

/// A fence that is back so soon was being written when somebody removed it: nobody could see that.
const WRITTEN: Duration = Duration::from_millis(100);

/// What says that the fence cannot be worked.
const FENCE: [&str; 8] = [
    "cannot install the fence",
    "cannot let phones in",
    "cannot close",
    "cannot read",
    "the fence was told to",
    "cannot be read back",
    "the fence does not work",
    "permit",
];

#[derive(Default)]
pub(super) struct Alarms<'a> {
    shown: [&'a [String]; 2],
    /// Whether a node can ask somebody.
    pub(super) company: [Company; 2],
    /// Whether it shows that it is unguarded.
    unguarded: [bool; 2],
    removed: [Option<Duration>; 2],
    /// The same, if that can be seen; and since when the fence is gone.
    seen_removed: [Option<Duration>; 2],
    gone: [Option<Duration>; 2],
    /// When both were last meant to serve, and since when they do without a pause.
    both: Option<Duration>,
    both_since: Option<Duration>,
    /// That two serve was told before both showed it.
    early: Option<Duration>,
    /// When telephony last ran on a node, and when it did not though it should.
    ran: [Option<Duration>; 2],
    dead: [Option<Duration>; 2],
    /// Since when a node's newest start, stop or write has failed, or its write is under way.
    start_failed: [Option<Duration>; 2],
    stop_failed: [Option<Duration>; 2],
    unwritten: [Option<Duration>; 2],
    writes: [Option<Duration>; 2],
    /// Since when it cannot work its fence, and has nobody to ask.
    nft_fails: [Option<Duration>; 2],
    leaves: [bool; 2],
    alone: [Option<Duration>; 2],
}

impl<'a> Alarms<'a> {
    pub(super) fn take(&mut self, at: Duration, event: &'a Event, known: &Known) -> Result<(), String> {
        match event {
            Event::Boots(side) | Event::Dies(side) if *side < 2 => self.forget(*side),
            Event::FenceRemoved(side) => (self.removed[*side], self.seen_removed[*side]) = (Some(at), Some(at)),
            Event::Ordered(side) | Event::Starts(side) => self.start_failed[*side] = None,
            Event::StartFails(side) => self.start_failed[*side] = Some(at),
            Event::StopFails(side) => self.stop_failed[*side] = self.stop_failed[*side].or(Some(at)),
            Event::HandsOver(side) => self.leaves[*side] = true,
            Event::Writes(side) => self.writes[*side] = Some(at),
            Event::Written(side, done) => {
                self.writes[*side] = None;
                self.unwritten[*side] = if *done { None } else { self.unwritten[*side].or(Some(at)) };
            }
            Event::Shown { side, unguarded, alarms, .. } => {
                (self.shown[*side], self.unguarded[*side]) = (alarms, *unguarded);
                self.are_true(at, *side, known)?;
                if *unguarded && !self.shows(*side, &["UNGUARDED"]) {
                    return Err(format!("{} tells nobody that it is unguarded", name(*side)));
                }
            }
            Event::ShowsStill(side) => self.are_true(at, *side, known)?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn shown(&self, side: usize) -> usize {
        self.shown[side].len()
    }

    fn are_true(&mut self, at: Duration, side: usize, known: &Known) -> Result<(), String> {
        let wrong = self.shown[side].iter().find(|alarm| !self.is_true(at, side, alarm, known));
        if let Some(alarm) = wrong {
            return Err(format!("a false alarm of {}: {alarm:?}", name(side)));
        }
        // A node tells its peer that it serves before it shows it.
        if self.shows(side, &["TWO ACTIVES"]) && self.both.is_none_or(|both| at >= both + TWO_ACTIVES + ALARMED) {
            self.early = self.early.or(Some(at));
        }
        Ok(())
    }

    /// A process that begins has nothing to tell yet of what was before.
    fn forget(&mut self, side: usize) {
        (self.shown[side], self.leaves[side]) = (&[], false);
        for since in [
            &mut self.removed,
            &mut self.seen_removed,
            &mut self.start_failed,
            &mut self.stop_failed,
            &mut self.unwritten,
            &mut self.writes,
            &mut self.nft_fails,
            &mut self.alone,
        ] {
            since[side] = None;
        }
    }

    /// An alarm is missing when time passes without it, whatever is shown.
    pub(super) fn pass(
        &mut self,
        at: Duration,
        until: Duration,
        known: &Known,
        seen: &[Seen; 2],
    ) -> Result<(), String> {
        for (side, seen) in seen.iter().enumerate() {
            let gone = matches!(seen, Seen::Serves { fence_gone: true } | Seen::Silent { fence_gone: true, .. });
            match self.gone[side] {
                Some(since) if !gone && at <= since + WRITTEN => {
                    (self.gone[side], self.seen_removed[side]) = (None, None)
                }
                before => self.gone[side] = before.or(Some(at)).filter(|_| gone),
            }
            let runs = !matches!(seen, Seen::Silent { runs: false, .. });
            let works = !matches!(seen, Seen::Silent { .. });
            if runs {
                self.ran[side] = Some(until);
            } else {
                self.stop_failed[side] = None;
            }
            if known.status[side].is_some_and(|status| status != Status::Inactive) && !works {
                self.dead[side] = Some(until);
            }
            let there = known.alive[side] && !known.frozen[side];
            let since = |before: Option<Duration>, now: bool| before.or(Some(at)).filter(|_| there && now);
            self.nft_fails[side] = since(self.nft_fails[side], known.sick[side].nft == Tool::Broken);
            let alone = self.company[side] == Company::None && known.status[side] == Some(Status::Inactive);
            self.alone[side] = since(self.alone[side], alone);
        }
        if known.is_meant(0, seen) && known.is_meant(1, seen) {
            self.both = Some(until);
            self.both_since = self.both_since.or(Some(at));
            self.early = None;
        } else {
            self.both_since = None;
        }
        if self.early.is_some_and(|early| until > early + SHOWN) {
            return Err("a false alarm: TWO ACTIVES, and never did both serve".into());
        }
        (0..2).filter(|side| known.alive[*side] && !known.frozen[*side]).try_for_each(|side| {
            let missing = self.missing(until, side, known);
            missing.map_or(Ok(()), |what| Err(format!("{} tells nobody that {what}", name(side))))
        })
    }

    fn shows(&self, side: usize, words: &[&str]) -> bool {
        self.shown[side].iter().any(|alarm| words.iter().any(|words| alarm.contains(words)))
    }

    fn is_true(&self, at: Duration, side: usize, alarm: &str, known: &Known) -> bool {
        let lately = |then: Duration| at < then + LINGERS;
        let is = |words: &[&str]| words.iter().any(|words| alarm.contains(words));
        let was_ill =
            known.ill[side] > Duration::ZERO || known.unable[side] > Duration::ZERO || self.dead[side].is_some();
        if alarm.starts_with("TWO ACTIVES") {
            // Judged over time: see `are_true`.
            true
        } else if is(&["removes the fence"]) {
            let removed = self.removed[side].is_some_and(|removed| at < removed + FENCE_REMOVED + ALARMED);
            removed || at < known.nft_ill[side] + FENCE_REMOVED + ALARMED
        } else if is(&["cannot serve: telephony"]) {
            self.dead[side].is_some_and(lately) || known.sick[side].stop != Stop::Well
        } else if is(&["the state cannot be written", "the state has not been written"]) {
            lately(known.disk_ill[side])
        } else if is(&["the disk is too slow"]) {
            at < known.disk_ill[side] + PROVEN
        } else if is(&["does not start"]) {
            // Until a start comes well. A vote that a peer gave when it woke may be over when it comes.
            let peer_was_ill = known.ill[1 - side] > Duration::ZERO;
            (was_ill || peer_was_ill)
                && !(known.status[side] == Some(Status::Active) && at > known.since[side] + ALARMED)
        } else if is(&["the stop could not be verified"]) {
            // Until a stop comes well.
            was_ill && !(known.status[side] == Some(Status::Inactive) && at > known.since[side] + ALARMED)
        } else if is(&["of this node failed"]) {
            was_ill
        } else if is(&["answer: this node", "answers: this node"]) {
            lately(known.lonely[side])
        } else if alarm.starts_with("UNGUARDED") {
            self.unguarded[side]
        } else if alarm.starts_with("somebody else started the services") {
            self.ran[side].is_some_and(lately)
        } else if is(&FENCE) {
            // The next renewal, or the next look, says that it is over.
            let removed = self.removed[side].is_some_and(|removed| at < removed + ALARMED);
            removed || at < known.nft_ill[side] + ALARMED
        } else {
            // Nothing of what is played here is a reason for any other.
            false
        }
    }

    /// What a node should have shown by now, and does not.
    fn missing(&self, now: Duration, side: usize, known: &Known) -> Option<&'static str> {
        if self.leaves[side] {
            return None;
        }
        let well_since = known.ill[side];
        let long = |since: Option<Duration>, limit: Duration| {
            since.is_some_and(|since| now > since.max(known.halted[side]) + limit)
        };
        let removed = self.seen_removed[side].filter(|removed| *removed > well_since && now < *removed + FENCE_REMOVED);
        if long(removed, ALARMED) && !self.shows(side, &["removes the fence"]) {
            return Some("its fence is removed");
        }
        if long(self.nft_fails[side], ALARMED) && !self.shows(side, &FENCE) {
            return Some("its fence cannot be worked");
        }
        if long(self.unwritten[side], ALARMED) && !self.shows(side, &["the state cannot be written"]) {
            return Some("its state cannot be written");
        }
        if long(self.writes[side], SLOW_WRITE + ALARMED)
            && !self.shows(side, &["the state has not been written", "the state cannot be written"])
        {
            return Some("its disk is slow");
        }
        if long(self.start_failed[side], ALARMED) && !self.shows(side, &["does not start"]) {
            return Some("it does not start");
        }
        if long(self.stop_failed[side], ALARMED * 2) && !self.shows(side, &["the stop could not be verified"]) {
            return Some("its stop fails");
        }
        if long(self.alone[side], ALONE + ALARMED) && !self.shows(side, &["answer: this node", "answers: this node"]) {
            return Some("nobody answers it");
        }
        let sound = |since: Duration| {
            (0..2).fold(since.max(known.apart), |since, side| since.max(known.ill[side]).max(known.unable[side]))
        };
        if long(self.both_since.map(sound), TOLD) && !self.shows(side, &["TWO ACTIVES"]) {
            return Some("both serve");
        }
        None
    }
}
