//! What needs a person, one sentence each: shown while it lasts.

use std::time::Duration;

use daemon::alike;
use failover::Instant;
use protocol::wire::FailedStarts;

use super::mistakes::{Mistake, made};
use crate::state::Time;

/// Two actives are shown for so long after they were seen last: whoever looks must not miss it.
const TWO_ACTIVES: Duration = Duration::from_secs(60);
/// That somebody removes the fence is shown for so long after the last time: what does it may do it with every run of a
/// timer.
const FENCE_REMOVED: Duration = Duration::from_secs(600);

/// What is one sentence as long as it lasts; shown in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Two machines under the peer's name.
    Namesake,
    /// Nobody who votes answers an inactive node.
    Alone,
    /// A serving node has no majority.
    Guard,
    /// The state cannot be written.
    Disk,
    /// Phones cannot be let in, or kept out.
    Fence,
    /// XiVO's own failover acts beside the watchdog.
    LegacyFailover,
    /// Both XiVO nodes are registered with a media server.
    Conflict,
    /// A stop could not be verified.
    Stop,
    /// Times of the voters that do not agree.
    Times,
    /// Another voter speaks another version of the protocol.
    Version,
    /// The fence cannot be read back. Renewals say nothing of that.
    Unread,
    /// Asterisk listens where the fence does not reach.
    Unfenced,
    /// The disk is too slow for a start.
    SlowDisk,
    /// Activations that failed one after the other, or by the node's own fault.
    Relapses,
    /// The command of the replication failed.
    Replication,
}

impl Alarm {
    const COUNT: usize = Self::Replication as usize + 1;

    /// Its first words stay while it lasts: each attempt fails after another time, or is tried again and again, and it is
    /// one trouble all the same.
    const fn keeps_its_words(self) -> bool {
        matches!(self, Self::Fence | Self::Stop | Self::Unread | Self::SlowDisk | Self::Replication)
    }
}

/// The alarms of a node.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    sentences: [Option<String>; Alarm::COUNT],
    /// Of what kind, and in words.
    unfit: Option<(&'static str, String)>,
    start: Option<FailingStart>,
    /// When somebody removed the fence last, and how often without a long pause.
    fence_removed: Option<(Instant, u32)>,
    /// Who wrote to the packet filter last then.
    fence_remover: Option<String>,
    two_actives: Option<Instant>,
    outside: bool,
    certificate_days: Option<i64>,
    certificate_not_taken: Option<String>,
}

#[derive(Debug)]
struct FailingStart {
    starts: FailedStarts,
    /// Shown as long as only its numbers would be others.
    sentence: String,
}

impl Alarms {
    /// Raises an alarm, or clears it. Returns whether it is to be told: it is new, or another one than before.
    pub(super) fn set(&mut self, alarm: Alarm, sentence: Option<String>) -> bool {
        if alarm == Alarm::Fence && sentence.is_none() && made(Mistake::AlarmStays) {
            return false;
        }
        let shown = &mut self.sentences[alarm as usize];
        let before = shown.take();
        *shown = match (sentence, &before) {
            (Some(_), Some(_)) if alarm.keeps_its_words() => before.clone(),
            (sentence, _) => sentence,
        };
        shown.is_some() && *shown != before
    }

    /// Whether an alarm is shown now, which outlasts its telling.
    pub(super) const fn has(&self, alarm: Alarm) -> bool {
        self.sentences[alarm as usize].is_some()
    }

    /// Somebody removed the fence. Returns how often by now, at each power of two: who does it every second fills no journal.
    pub(super) fn fence_removed(&mut self, now: Instant, by: Option<String>) -> Option<u32> {
        self.fence_remover = by;
        let again = self.fence_removed.filter(|(at, _)| now.since(*at) < FENCE_REMOVED);
        let count = again.map_or(0, |(_, count)| count).saturating_add(1);
        self.fence_removed = Some((now, count));
        count.is_power_of_two().then_some(count)
    }

    /// Of one kind the first words stay while it lasts: what a check says may change with every run. Another kind is another
    /// reason, and whoever reads of one that is over looks in the wrong place.
    pub(super) fn unfit(&mut self, why: Option<(&'static str, String)>) {
        let before = self.unfit.take();
        self.unfit = why.map(|now| before.filter(|before| before.0 == now.0).unwrap_or(now));
    }

    /// A start failed. Returns the sentence of the alarm if it is new, or another than before.
    pub(super) fn start_failed(&mut self, why: &str, now: Time) -> Option<&str> {
        let at = u64::try_from(now.unix_ms()).unwrap_or(0);
        let before = self.start.take();
        let (count, since) = before.as_ref().map_or((0, at), |before| (before.starts.count, before.starts.since));
        // A start that fails every second with other numbers in its words is one trouble, and must not fill the
        // journal.
        let same = before.filter(|before| alike(&before.starts.words, why)).map(|before| before.sentence);
        let news = same.is_none();
        let since_when = Time::from_unix_ms(i64::try_from(since).unwrap_or(i64::MAX));
        let sentence = same.unwrap_or_else(|| format!("does not start, since {since_when}: {why}"));
        let starts = FailedStarts { count: count.saturating_add(1), since, newest: at, words: why.to_owned() };
        let kept = self.start.insert(FailingStart { starts, sentence });
        news.then_some(kept.sentence.as_str())
    }

    /// A start came well, or an operator says that the cause is mended. Returns how many had failed, if any had.
    pub(super) fn start_is_well(&mut self) -> Option<u32> {
        self.start.take().map(|failing| failing.starts.count)
    }

    /// The starts that failed, if the newest did.
    pub(super) fn failed_starts(&self) -> Option<&FailedStarts> {
        self.start.as_ref().map(|failing| &failing.starts)
    }

    /// Days until the certificate expires, if known.
    pub(super) const fn certificate_days(&self) -> Option<i64> {
        self.certificate_days
    }

    pub(super) fn outside(&mut self, running: bool) -> bool {
        std::mem::replace(&mut self.outside, running) != running
    }

    pub(super) const fn two_actives(&mut self, now: Instant) {
        self.two_actives = Some(now);
    }

    /// The node's own certificate: the days it is good for, and why the one on the disk was not taken, if so.
    pub(super) fn certificate(&mut self, days: i64, not_taken: Option<String>) {
        self.certificate_days = Some(days);
        self.certificate_not_taken = not_taken;
    }

    /// Returns the sentences of now.
    pub(super) fn sentences(&self, now: Instant) -> Vec<String> {
        let two = self.two_actives.is_some_and(|at| now.since(at) < TWO_ACTIVES);
        let certificate = self.certificate_days.and_then(|days| protocol::identity::expiry("this node", days));
        let (first, then) = self.sentences.split_at(Alarm::Conflict as usize);
        let unfit = self.unfit.as_ref().map(|(_, sentence)| sentence);
        let texts = first.iter().flatten().chain(unfit).chain(then.iter().flatten());
        let start = self.start.as_ref().map(|failing| &failing.sentence);
        let texts = start.into_iter().chain(texts).cloned();
        let removed = self.fence_removed.is_some_and(|(at, _)| now.since(at) < FENCE_REMOVED);
        let by =
            self.fence_remover.as_ref().map(|by| format!("; {by} wrote to the packet filter last")).unwrap_or_default();
        let removed =
            removed.then(|| format!("somebody on this node removes the fence: it is written anew each second{by}"));
        let outside = "somebody else started the services of this inactive node";
        two.then(|| "TWO ACTIVES: the peer serves too, or did a moment ago".to_owned())
            .into_iter()
            .chain(texts)
            .chain(removed)
            .chain(self.certificate_not_taken.clone())
            .chain(self.outside.then(|| outside.to_owned()))
            .chain(certificate)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_that_fail_are_one_alarm_with_the_newest_cause_until_one_comes_well() {
        let mut alarms = Alarms::default();
        let at = |second: i64| Time::from_unix_ms(1_700_000_000_000 + second * 1000);
        let cause = |code: u32, words: &str| format!("the start command: exit code {code}: {words}");
        let first = alarms.start_failed(&cause(3, "licence missing, pid 11"), at(0)).map(str::to_owned);
        let said =
            "does not start, since 2023-11-14T22:13:20.000Z: the start command: exit code 3: licence missing, pid 11";
        assert_eq!(first.as_deref(), Some(said));
        assert_eq!(alarms.start_failed(&cause(3, "licence missing, pid 12"), at(5)), None);
        assert_eq!(alarms.sentences(Instant::ORIGIN), [said], "its numbers are no news");
        assert!(alarms.start_failed(&cause(4, "port in use"), at(9)).is_some_and(|said| said.ends_with("port in use")));
        let words = cause(4, "port in use");
        let (since, newest) = (1_700_000_000_000, 1_700_000_009_000);
        assert_eq!(alarms.failed_starts(), Some(&FailedStarts { count: 3, since, newest, words }));
        assert_eq!((alarms.start_is_well(), alarms.start_is_well()), (Some(3), None));
        assert!(alarms.sentences(Instant::ORIGIN).is_empty() && alarms.failed_starts().is_none());
    }

    #[test]
    fn an_alarm_is_told_once_and_shown_while_it_lasts() {
        let mut alarms = Alarms::default();
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        assert!(alarms.set(Alarm::Disk, Some("full".into())) && !alarms.set(Alarm::Disk, Some("full".into())));
        alarms.two_actives(at(0));
        assert_eq!(alarms.sentences(at(59)).len(), 2);
        assert_eq!(alarms.sentences(at(60)), ["full"]);
        assert!(!alarms.set(Alarm::Disk, None) && !alarms.has(Alarm::Disk), "that it is over is no alarm");
        assert!(
            alarms.set(Alarm::Fence, Some("after 250 ms".into()))
                && !alarms.set(Alarm::Fence, Some("after 251 ms".into()))
        );
        assert_eq!(alarms.sentences(at(60)), ["after 250 ms"], "one trouble, one alarm");
        assert!(!alarms.set(Alarm::Fence, None));
        assert!(
            alarms.set(Alarm::SlowDisk, Some("900 ms".into())) && !alarms.set(Alarm::SlowDisk, Some("950 ms".into()))
        );
        assert_eq!(alarms.sentences(at(60)), ["900 ms"]);
        for (kind, words, shown) in [
            ("check", "busy 1", "busy 1"),
            ("check", "idle 2", "busy 1"),
            ("disk", "full", "full"),
            ("check", "3", "3"),
        ] {
            alarms.unfit(Some((kind, words.into())));
            assert!(alarms.sentences(at(60)).iter().any(|sentence| sentence == shown), "{words}");
        }
        alarms.unfit(None);
        assert!(!alarms.set(Alarm::SlowDisk, None) && alarms.set(Alarm::Relapses, Some("2 failed".into())));
        assert!(alarms.set(Alarm::Relapses, Some("3 failed".into())), "each is another");
        assert!(!alarms.set(Alarm::Relapses, None) && !alarms.has(Alarm::Relapses));
        assert_eq!(
            [0, 1, 2, 3].map(|second| alarms.fence_removed(at(second), None)),
            [Some(1), Some(2), None, Some(4)]
        );
        assert_eq!(alarms.sentences(at(600)).len(), 1);
        assert_eq!(alarms.sentences(at(603)).len(), 0);
        assert_eq!(alarms.fence_removed(at(700), Some("nft (process 7)".into())), Some(1), "counted anew");
        assert!(alarms.sentences(at(700))[0].ends_with("; nft (process 7) wrote to the packet filter last"));
        let at = |seconds: u64| at(2000 + seconds);
        for (days, count) in [(30, 0), (29, 1), (-1, 1)] {
            alarms.certificate(days, None);
            assert_eq!(alarms.sentences(at(60)).len(), count, "{days}");
        }
        alarms.certificate(300, Some("chain.pem: no certificate in it".into()));
        assert_eq!(alarms.sentences(at(60)), ["chain.pem: no certificate in it"]);
    }
}
