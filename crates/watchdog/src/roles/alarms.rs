//! What needs a person, one sentence each: shown while it lasts.

use super::mistakes::{Mistake, made};
use crate::state::Time;
use daemon::alike;
use failover::Instant;
use protocol::wire::FailedStarts;
use std::time::Duration;

/// Two actives are shown for so long after they were seen last: whoever looks must not miss it.
const TWO_ACTIVES: Duration = Duration::from_secs(60);
/// That somebody removes the fence is shown for so long after the last time: what does it may do it with every run of a
/// timer.
const FENCE_REMOVED: Duration = Duration::from_secs(600);

/// The alarms of a node.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    disk: Option<String>,
    fence: Option<String>,
    unread: Option<String>,
    /// When somebody removed the fence last, and how often without a long pause.
    fence_removed: Option<(Instant, u32)>,
    /// Who wrote to the packet filter last then.
    fence_remover: Option<String>,
    two_actives: Option<Instant>,
    outside: bool,
    certificate_days: Option<i64>,
    certificate_not_taken: Option<String>,
    legacy_failover: Option<String>,
    /// Of what kind, and in words.
    unfit: Option<(&'static str, String)>,
    start: Option<FailingStart>,
    conflict: Option<String>,
    replication: Option<String>,
    unfenced: Option<String>,
    alone: Option<String>,
    guard: Option<String>,
    times: Option<String>,
    version: Option<String>,
    namesake: Option<String>,
    stop: Option<String>,
    slow_disk: Option<String>,
    relapses: Option<String>,
}

#[derive(Debug)]
struct FailingStart {
    starts: FailedStarts,
    /// Shown as long as only its numbers would be others.
    sentence: String,
}

impl Alarms {
    /// Each of these returns whether the alarm is another one than before.
    pub(super) fn disk(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.disk, sentence)
    }

    /// The first words stay while it lasts: each write takes another time.
    pub(super) fn slow_disk(&mut self, sentence: Option<String>) -> bool {
        let began = self.slow_disk.is_none() && sentence.is_some();
        self.slow_disk = sentence.map(|now| self.slow_disk.take().unwrap_or(now));
        began
    }

    /// Raises or clears the alarm about activations that failed.
    pub(super) fn relapses(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.relapses, sentence)
    }

    /// The first words stay while it lasts: each attempt fails after another time, and it is one trouble all the same.
    pub(super) fn fence(&mut self, sentence: Option<String>) -> bool {
        if sentence.is_none() && made(Mistake::AlarmStays) {
            return false;
        }
        begin(&mut self.fence, sentence)
    }

    /// The fence cannot be read back. Renewals say nothing of that.
    pub(super) fn unread(&mut self, sentence: Option<String>) -> bool {
        begin(&mut self.unread, sentence)
    }

    /// Somebody removed the fence. Returns how often by now, at each power of two: who does it every second fills no journal.
    pub(super) fn fence_removed(&mut self, now: Instant, by: Option<String>) -> Option<u32> {
        self.fence_remover = by;
        let again = self.fence_removed.filter(|(at, _)| now.since(*at) < FENCE_REMOVED);
        let count = again.map_or(0, |(_, count)| count).saturating_add(1);
        self.fence_removed = Some((now, count));
        count.is_power_of_two().then_some(count)
    }

    pub(super) fn legacy_failover(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.legacy_failover, sentence)
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

    /// Whom nobody who votes answers.
    pub(super) fn alone(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.alone, sentence)
    }

    /// How a serving node is guarded, if that needs a person.
    pub(super) fn guard(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.guard, sentence)
    }

    /// Times of the voters that do not agree.
    pub(super) fn times(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.times, sentence)
    }

    /// Who speaks another version of the protocol.
    pub(super) fn version(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.version, sentence)
    }

    /// Two machines under the peer's name.
    pub(super) fn namesake(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.namesake, sentence)
    }

    /// A stop that could not be verified. The first words stay while it lasts: it is tried again and again.
    pub(super) fn stop(&mut self, sentence: Option<String>) -> bool {
        let began = self.stop.is_none() && sentence.is_some();
        self.stop = sentence.map(|now| self.stop.take().unwrap_or(now));
        began
    }

    pub(super) fn conflict(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.conflict, sentence)
    }

    /// Asterisk listens where the fence does not reach.
    pub(super) fn unfenced(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.unfenced, sentence)
    }

    pub(super) fn replication(&mut self, sentence: Option<String>) {
        self.replication = sentence.map(|now| self.replication.take().unwrap_or(now));
    }

    /// Whether the state cannot be written.
    pub(super) const fn has_disk(&self) -> bool {
        self.disk.is_some()
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
        let unfit = self.unfit.as_ref().map(|(_, sentence)| sentence.clone());
        let texts = [&self.namesake, &self.alone, &self.guard, &self.disk, &self.fence, &self.legacy_failover, &unfit];
        let texts = texts.into_iter().chain([&self.conflict, &self.stop, &self.times, &self.version]);
        let texts = texts.chain([&self.unread, &self.unfenced, &self.slow_disk, &self.relapses, &self.replication]);
        let start = self.start.as_ref().map(|failing| &failing.sentence);
        let texts = start.into_iter().chain(texts.into_iter().flatten()).cloned();
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

fn begin(alarm: &mut Option<String>, sentence: Option<String>) -> bool {
    let began = alarm.is_none() && sentence.is_some();
    *alarm = sentence.map(|now| alarm.take().unwrap_or(now));
    began
}

fn replace(alarm: &mut Option<String>, sentence: Option<String>) -> bool {
    let changed = *alarm != sentence;
    *alarm = sentence;
    changed
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
        assert!(alarms.disk(Some("full".into())) && !alarms.disk(Some("full".into())));
        alarms.two_actives(at(0));
        assert_eq!(alarms.sentences(at(59)).len(), 2);
        assert_eq!(alarms.sentences(at(60)), ["full"]);
        assert!(alarms.disk(None));
        assert!(alarms.fence(Some("after 250 ms".into())) && !alarms.fence(Some("after 251 ms".into())));
        assert_eq!(alarms.sentences(at(60)), ["after 250 ms"], "one trouble, one alarm");
        assert!(!alarms.fence(None));
        assert!(alarms.slow_disk(Some("900 ms".into())) && !alarms.slow_disk(Some("950 ms".into())));
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
        assert!(!alarms.slow_disk(None) && alarms.relapses(Some("2 failed".into())));
        assert!(alarms.relapses(Some("3 failed".into())), "each is another");
        assert!(alarms.relapses(None));
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
