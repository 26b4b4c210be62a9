//! For how much of any window in which one node could serve somebody did: a whole day's share hides an hour of nothing.

use std::time::Duration;

/// What a caller waits, and what a manager notices: a share of a whole day hides an outage of an hour.
const WINDOWS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];

type Span = (Duration, Duration);

#[derive(Default)]
pub(super) struct Windows {
    served: Vec<Span>,
    /// When nothing kept a node from it, of either node.
    able: [Vec<Span>; 2],
}

impl Windows {
    /// Somebody served from `at` until `served`; what each node could, it could until `until`.
    pub(super) fn pass(&mut self, at: Duration, served: Duration, until: Duration, able: [bool; 2]) {
        extend(&mut self.served, at, served);
        for (spans, able) in self.able.iter_mut().zip(able) {
            if able {
                extend(spans, at, until);
            }
        }
    }

    /// The least part of any window of each length, in percent; none where no node could serve for so long.
    pub(super) fn least(&self, end: Duration) -> [Option<f64>; 2] {
        WINDOWS.map(|window| {
            let stretches = self.able.iter().flatten().filter(|(from, until)| *until - *from >= window);
            let shares = stretches.map(|stretch| self.least_of(window, *stretch, end));
            shares.min_by(f64::total_cmp)
        })
    }

    /// The share is least in a window that begins where a service ends, or ends where one begins.
    fn least_of(&self, window: Duration, (from, until): Span, end: Duration) -> f64 {
        let last = until.min(end).saturating_sub(window).max(from);
        let begin_at_end = self.served.iter().map(|(_, end)| *end);
        let end_at_begin = self.served.iter().map(|(begin, _)| begin.saturating_sub(window));
        let begins = begin_at_end.chain(end_at_begin).chain([from, last]).map(|begin| begin.clamp(from, last));
        let shares = begins.map(|begin| {
            let within = |(from, until): &Span| (*until).min(begin + window).saturating_sub((*from).max(begin));
            let served: Duration = self.served.iter().map(within).sum();
            100.0 * served.as_secs_f64() / window.as_secs_f64()
        });
        shares.min_by(f64::total_cmp).unwrap_or(100.0)
    }
}

fn extend(spans: &mut Vec<Span>, from: Duration, until: Duration) {
    if until <= from {
        return;
    }
    match spans.last_mut() {
        Some(last) if last.1 == from => last.1 = until,
        _ => spans.push((from, until)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(at: u64) -> Duration {
        Duration::from_secs(at)
    }

    #[test]
    fn the_worst_window_is_found_wherever_it_lies_and_only_while_one_node_can_serve() {
        let mut windows = Windows::default();
        // Nine of ten minutes somebody serves; in the fifth nobody does for 45 s, in two pieces.
        windows.pass(second(0), second(250), second(250), [true, false]);
        windows.pass(second(250), second(250), second(270), [true, false]);
        windows.pass(second(270), second(275), second(275), [true, true]);
        windows.pass(second(275), second(275), second(300), [true, false]);
        windows.pass(second(300), second(640), second(640), [true, false]);
        let least = windows.least(second(640));
        let of = |share: f64, least: Option<f64>| least.is_some_and(|least| (least - share).abs() < 0.001);
        assert!(of(100.0 * 15.0 / 60.0, least[0]) && of(92.5, least[1]), "{least:?}");
        // Two that can by turns are none.
        let mut windows = Windows::default();
        for part in 0..10 {
            windows.pass(second(part * 50), second(part * 50), second(part * 50 + 50), [part % 2 == 0, part % 2 == 1]);
        }
        assert_eq!(windows.least(second(500)), [None; 2]);
    }
}
