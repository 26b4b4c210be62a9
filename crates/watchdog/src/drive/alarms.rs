//! What needs a person, one sentence each: shown while it lasts.

use failover::Instant;
use std::time::Duration;

/// Two actives are shown for so long after they were seen last: whoever looks must not miss it.
const TWO_ACTIVES: Duration = Duration::from_secs(60);
/// That somebody removes the fence is shown for so long after the last time: what does it may do it with every run of a
/// timer.
const FENCE_REMOVED: Duration = Duration::from_secs(600);
/// A certificate is renewed well before.
const CERTIFICATE_DAYS: i64 = 14;

/// The alarms of a node.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    disk: Option<String>,
    fence: Option<String>,
    /// When somebody removed the fence last, and how often without a long pause.
    fence_removed: Option<(Instant, u32)>,
    two_actives: Option<Instant>,
    outside: bool,
    certificate_days: Option<i64>,
    rival: Option<String>,
    unfit: Option<String>,
    conflict: Option<String>,
    replication: Option<String>,
    alone: Option<String>,
    guard: Option<String>,
    times: Option<String>,
    version: Option<String>,
    namesake: Option<String>,
    stop: Option<String>,
}

impl Alarms {
    /// Each of these returns whether the alarm is another one than before.
    pub(super) fn disk(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.disk, sentence)
    }

    /// The first words stay while it lasts: each attempt fails after another time, and it is one trouble all the same.
    pub(super) fn fence(&mut self, sentence: Option<String>) -> bool {
        let began = self.fence.is_none() && sentence.is_some();
        self.fence = sentence.map(|now| self.fence.take().unwrap_or(now));
        began
    }

    /// Somebody removed the fence. Returns how often by now, at each power of two: who does it every second fills no journal.
    pub(super) fn fence_removed(&mut self, now: Instant) -> Option<u32> {
        let again = self.fence_removed.filter(|(at, _)| now.since(*at) < FENCE_REMOVED);
        let count = again.map_or(0, |(_, count)| count).saturating_add(1);
        self.fence_removed = Some((now, count));
        count.is_power_of_two().then_some(count)
    }

    pub(super) fn rival(&mut self, sentence: Option<String>) -> bool {
        replace(&mut self.rival, sentence)
    }

    /// The first words stay while it lasts: what a check says may change with every run.
    pub(super) fn unfit(&mut self, sentence: Option<String>) {
        self.unfit = sentence.map(|now| self.unfit.take().unwrap_or(now));
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

    pub(super) const fn certificate(&mut self, days: i64) {
        self.certificate_days = Some(days);
    }

    /// Returns the sentences of now.
    pub(super) fn sentences(&self, now: Instant) -> Vec<String> {
        let two = self.two_actives.is_some_and(|at| now.since(at) < TWO_ACTIVES);
        let certificate = self.certificate_days.filter(|days| *days < CERTIFICATE_DAYS).map(|days| match days {
            ..0 => "the node's certificate has expired: others refuse new connections; renew it with `bascule certs`"
                .into(),
            _ => format!("the node's certificate expires in {days} days; renew it with `bascule certs`"),
        });
        let texts = [&self.namesake, &self.alone, &self.guard, &self.disk, &self.fence, &self.rival, &self.unfit];
        let texts =
            texts.into_iter().chain([&self.conflict, &self.stop, &self.times, &self.version, &self.replication]);
        let texts = texts.into_iter().flatten().cloned();
        let removed = self.fence_removed.is_some_and(|(at, _)| now.since(at) < FENCE_REMOVED);
        let removed =
            removed.then(|| "somebody on this node removes the fence: it is written anew each second".to_owned());
        let outside = "somebody else started the services of this inactive node";
        two.then(|| "TWO ACTIVES: the peer serves too, or did a moment ago".to_owned())
            .into_iter()
            .chain(texts)
            .chain(removed)
            .chain(self.outside.then(|| outside.to_owned()))
            .chain(certificate)
            .collect()
    }
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
        assert_eq!([0, 1, 2, 3].map(|second| alarms.fence_removed(at(second))), [Some(1), Some(2), None, Some(4)]);
        assert_eq!(alarms.sentences(at(600)).len(), 1);
        assert_eq!(alarms.sentences(at(603)).len(), 0);
        assert_eq!(alarms.fence_removed(at(700)), Some(1), "counted anew");
        let at = |seconds: u64| at(2000 + seconds);
        for (days, count) in [(14, 0), (13, 1), (-1, 1)] {
            alarms.certificate(days);
            assert_eq!(alarms.sentences(at(60)).len(), count, "{days}");
        }
    }
}
