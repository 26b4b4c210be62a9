//! The counter of rise and fall, recomputed from the whole history in another way.

use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::chance::Chance;
use crate::time::Instant;

#[derive(Clone, Copy)]
struct End {
    id: u64,
    ok: bool,
    at: Instant,
}

/// Says the verdict by looking for the newest run that decides, instead of counting.
fn verdict_of(history: &[End], policy: &Policy, start: Instant, now: Instant) -> Verdict {
    let mut heard = start;
    let mut from = 0;
    for (index, end) in history.iter().enumerate() {
        if end.at - heard >= policy.stale_after {
            from = index;
        }
        heard = end.at;
    }
    if now - heard >= policy.stale_after {
        return Verdict::Unknown;
    }
    let counted: Vec<bool> = (from..history.len())
        .filter(|i| !history[..*i].iter().any(|newer| newer.id > history[*i].id && newer.ok != history[*i].ok))
        .map(|i| history[i].ok)
        .collect();
    let run = |i: usize, length: u32, ok: bool| {
        i + 1 >= length as usize && counted[i + 1 - length as usize..=i].iter().all(|end| *end == ok)
    };
    let fell = (0..counted.len()).filter(|i| run(*i, policy.fall, false)).max();
    let first_fall = (0..counted.len()).find(|i| run(*i, policy.fall, false));
    let rose = (0..counted.len())
        .filter(|i| run(*i, policy.rise, true) || (counted[*i] && first_fall.is_none_or(|fall| *i < fall)))
        .max();
    match (rose, fell) {
        (None, None) => Verdict::Unknown,
        (rose, fell) if rose > fell => Verdict::Up,
        _ => Verdict::Down,
    }
}

#[test]
fn the_counter_agrees_with_the_whole_history() {
    let mut counted = [0_u32; 3];
    for seed in 0..400 {
        let mut chance = Chance::new(seed);
        let policy = Policy {
            fall: 1 + chance.below(4) as u32,
            rise: 1 + chance.below(3) as u32,
            in_flight: 5,
            ..Policy::DEFAULT
        };
        let failing = chance.one_of(&[10, 50, 90]);
        let mut now = Instant::from_micros(chance.below(1_000_000));
        let (mut judge, start) = (Judge::new(policy, now), now);
        let mut flights: Vec<(ProbeId, Instant)> = Vec::new();
        let mut history: Vec<End> = Vec::new();
        for step in 0..300 {
            now += Duration::from_millis(match chance.below(60) {
                0 => 3_500,
                1..20 => 0,
                _ => chance.below(300),
            });
            let event = match chance.below(10) {
                0 => Event::Sign(Sign::TimedOut),
                1 => Event::Reprobe,
                2..5 => Event::Timer,
                _ if flights.is_empty() => Event::Timer,
                _ => {
                    // Any probe under way may end next, old or new.
                    let (id, started) = flights.remove(chance.below(flights.len() as u64) as usize);
                    let ok = !chance.percent(failing);
                    if now - started < policy.stale_after {
                        history.push(End { id: id.0, ok, at: now });
                    }
                    let failure = chance.one_of(&[Failure::Refused, Failure::Silent, Failure::Status(500)]);
                    Event::Finished { id, outcome: if ok { Outcome::Ok } else { Outcome::Failed(failure) } }
                }
            };
            for output in judge.handle(event, now) {
                if let Output::StartProbe { id, .. } = output {
                    flights.push((id, now));
                }
            }
            let expected = verdict_of(&history, &policy, start, now);
            assert_eq!(judge.report().verdict, expected, "seed {seed}, step {step}, at {now}");
            counted[expected as usize] += 1;
        }
    }
    assert!(counted.iter().all(|count| *count > 1000), "each verdict was met often: {counted:?}");
}
