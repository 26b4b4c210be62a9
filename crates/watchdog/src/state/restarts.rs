//! Slows down a watchdog that does not last. systemd starts it again within a lease, for ever: that is right for an upgrade
//! or a single crash, and fills the journal ten times a second when nothing but a person will mend it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use failover::Instant;

use crate::node::clock;

/// A watchdog that was there for so long was well.
const LASTING: Duration = Duration::from_secs(10);
/// So many in a row begin at once: upgrades that go wrong and are taken back, a crash and the next.
const FREE: u32 = 5;
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// What cannot be counted waits so long.
const UNCOUNTED: Duration = Duration::from_secs(1);

/// A start that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How many starts in a row did not last; none: that cannot be counted.
    pub starts: Option<u32>,
    /// For how long to wait before anything else.
    pub wait: Duration,
}

/// Counts this start in a file of the running system, and tells whether it is to wait first.
pub fn count(file: &Path) -> Option<Pause> {
    let now = clock::now();
    let before = fs::read_to_string(file).ok().and_then(|text| read(&text));
    let (starts, wait) = next(before, now);
    // The file is of no use half written: then it counts anew.
    match fs::write(file, format!("{starts} {}\n", (now + wait).as_micros())) {
        Ok(()) => (!wait.is_zero()).then_some(Pause { starts: Some(starts), wait }),
        // The directory is made with the control socket: before the first start there is none, and nothing to count.
        Err(_) if file.parent().is_some_and(|directory| !directory.exists()) => None,
        Err(_) => Some(Pause { starts: None, wait: UNCOUNTED }),
    }
}

fn read(text: &str) -> Option<(u32, Instant)> {
    let (starts, began) = text.trim().split_once(' ')?;
    Some((starts.parse().ok()?, Instant::from_micros(began.parse().ok()?)))
}

/// The number of this start in the row, and its pause.
fn next(before: Option<(u32, Instant)>, now: Instant) -> (u32, Duration) {
    // One that began later than now is of another boot.
    let Some((starts, _)) = before.filter(|(_, began)| *began <= now && now.since(*began) < LASTING) else {
        return (1, Duration::ZERO);
    };
    let starts = starts.saturating_add(1);
    let wait = match starts.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doubled) => FIRST.saturating_mul(1 << doubled.min(16)).min(LONGEST),
    };
    (starts, wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_short_lives_is_slowed_down_and_one_that_lasted_ends_it() {
        let mut now = Instant::from_micros(1_000_000_000);
        let mut before = None;
        let mut waits = Vec::new();
        for _ in 0..20 {
            let (starts, wait) = next(before, now);
            before = Some((starts, now + wait));
            now = now + wait + Duration::from_millis(100);
            waits.push(wait.as_millis());
        }
        assert_eq!(waits[..12], [0, 0, 0, 0, 0, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(waits[19], 10_000);
        assert_eq!(next(before, now + LASTING), (1, Duration::ZERO));
        assert_eq!(next(Some((9, now + LASTING)), now), (1, Duration::ZERO), "of another boot");
    }

    #[test]
    fn it_is_counted_in_a_file_and_what_cannot_be_counted_waits() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("starts");
        assert!((0..FREE).all(|_| count(&file).is_none()));
        assert_eq!(count(&file), Some(Pause { starts: Some(FREE + 1), wait: FIRST }));
        fs::write(&file, "nonsense").unwrap();
        assert_eq!(count(&file), None);
        assert_eq!(count(dir.path()), Some(Pause { starts: None, wait: UNCOUNTED }), "a directory");
        assert_eq!(count(&dir.path().join("none/starts")), None, "there is nothing to run in");
    }
}
