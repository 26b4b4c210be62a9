//! Whether two machines go by one name.

use core::time::Duration;

use super::message::Instance;
use crate::time::Instant;

/// As many machines of one name are told apart.
const MACHINES: usize = 4;

/// The machines that were heard under one name of late.
///
/// A machine that is restored from a copy beside the one that runs has its certificate, its name and its numbers. Voters
/// give it nothing while the other holds their vote; but a person must learn of it, as either may be dialled by that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namesakes {
    heard: [Option<Heard>; MACHINES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    instance: Instance,
    first: Instant,
    last: Instant,
}

impl Namesakes {
    /// Takes in that a machine of this name was heard.
    pub fn hear(&mut self, instance: Instance, now: Instant) {
        let known = self.heard.iter_mut().flatten().find(|heard| heard.instance == instance);
        if let Some(heard) = known {
            heard.last = heard.last.max(now);
            return;
        }
        // The one that was heard longest ago makes room.
        if let Some(slot) = self.heard.iter_mut().min_by_key(|heard| heard.map(|heard| heard.last)) {
            *slot = Some(Heard { instance, first: now, last: now });
        }
    }

    /// Tells whether two machines speak under this name, each of them every `silence` at least. A boot makes one machine
    /// another, and a word of the old one may come late: so each must have been heard for twice that time, which takes a
    /// word of the old one that is late by more than `silence` to be wrong.
    pub fn are_two(&self, silence: Duration, now: Instant) -> bool {
        let speaks = |heard: &&Heard| {
            now.since(heard.last) < silence && heard.last.since(heard.first) >= silence.saturating_mul(2)
        };
        self.heard.iter().flatten().filter(speaks).count() > 1
    }
}

#[cfg(test)]
mod tests {
    use core::iter;

    use super::*;

    const SILENCE: Duration = Duration::from_millis(2_500);
    const BEAT: Duration = Duration::from_millis(500);

    /// Has each of these machines speak with each heartbeat, and tells when two are seen.
    fn speak(namesakes: &mut Namesakes, machines: &[Instance], from: Instant, time: Duration) -> Option<Duration> {
        let moments = iter::successors(Some(from), |at| Some(*at + BEAT)).take_while(|at| *at <= from + time);
        let mut seen = None;
        for now in moments {
            machines.iter().for_each(|machine| namesakes.hear(*machine, now));
            if namesakes.are_two(SILENCE, now) {
                seen = seen.or(Some(now.since(from)));
            }
        }
        seen
    }

    const START: Instant = Instant::from_micros(1_000_000_000);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn two_machines_under_one_name_are_seen_soon_and_while_both_speak() {
        for machines in [&[1, 2][..], &[1, 2, 3], &[1, 2, 3, 4]] {
            let mut namesakes = Namesakes::default();
            assert_eq!(speak(&mut namesakes, &machines[..1], START, LONG), None);
            let restored = START + LONG;
            assert_eq!(speak(&mut namesakes, machines, restored, LONG), Some(SILENCE * 2));
            let gone = restored + LONG;
            speak(&mut namesakes, &machines[1..2], gone, LONG);
            assert!(!namesakes.are_two(SILENCE, gone + LONG));
        }
    }

    #[test]
    fn a_machine_that_boots_is_no_second_one_though_a_word_of_its_last_life_is_late() {
        for late in [Duration::ZERO, BEAT, SILENCE - BEAT] {
            let mut namesakes = Namesakes::default();
            let mut now = START;
            for instance in 1..20 {
                assert_eq!(speak(&mut namesakes, &[instance], now, LONG), None);
                let booted = now + LONG;
                let until = booted + late;
                now = booted;
                while now <= until {
                    namesakes.hear(instance + 1, now);
                    namesakes.hear(instance, now);
                    now += BEAT;
                }
            }
        }
    }
}
