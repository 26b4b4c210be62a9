//! Where a watchdog begins to count its campaigns: above all that this node ever counted, whatever became of its disk and of
//! its wall clock.
//!
//! The wall clock's milliseconds are above all that was counted in other boots; one that was set back says less. So where
//! the last watchdog of this boot began is kept beside the control socket, and as much is added as the machine's own clock
//! has gone on since: nobody begins a thousand campaigns a second.

use std::path::Path;

use failover::Instant;
use serde::{Deserialize, Serialize};
use store::Document;

use super::handover::boot;

const DOCUMENT: Document = Document {
    format: "bascule campaigns",
    version: 1,
    program: "bascule-watchdog",
    what: "beginning of campaigns",
    anew: "to begin by the wall clock",
};

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    boot: String,
    /// Where the newest watchdog began to count.
    base: u64,
    /// When, in microseconds of the machine's own clock.
    at_us: u64,
}

/// Returns where a watchdog begins that starts now, and keeps it at `path`. `wall` is the wall clock's milliseconds of the
/// Unix epoch.
pub fn base(path: &Path, wall: u64, now: Instant) -> u64 {
    #[cfg(test)]
    if crate::node::played::stage().is_some() {
        return wall;
    }
    let boot = boot().unwrap_or_default();
    let kept = DOCUMENT.load::<Kept>(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "campaigns begin by the wall clock");
        None
    });
    let kept = kept.filter(|kept| kept.boot == boot).map_or(0, |kept| {
        let since = now.as_micros().saturating_sub(kept.at_us) / 1000;
        // One campaign a millisecond is more than anybody begins, so this is above whatever the last watchdog counted.
        kept.base.saturating_add(since).saturating_add(1)
    });
    let base = wall.max(kept);
    if let Err(error) = DOCUMENT.save_until_boot(path, &Kept { boot, base, at_us: now.as_micros() }) {
        tracing::warn!(%error, path = %path.display(), "where campaigns begin cannot be kept");
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_begin_above_those_of_the_watchdog_before_whatever_the_wall_clock_says() {
        const HOUR: u64 = 3_600_000;
        const NOON: u64 = 1_700_000_000_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("campaigns.json");
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        assert_eq!(base(&path, NOON, at(10_000)), NOON);
        assert_eq!(base(&path, NOON + 5_000, at(15_000)), NOON + 5_001, "above, though no millisecond is left between");
        // Set back by a day; a campaign is begun each millisecond at most.
        let second = base(&path, NOON - 24 * HOUR, at(20_000));
        assert!(second > NOON + 10_000, "{second}");
        assert!(base(&path, NOON - 24 * HOUR, at(20_000)) > second, "at the same instant");
        assert_eq!(base(&path, NOON + HOUR, at(21_000)), NOON + HOUR, "set forward again");
        DOCUMENT.save(&path, &Kept { boot: "another boot".into(), base: u64::MAX, at_us: 0 }).unwrap();
        assert_eq!(base(&path, NOON, at(1)), NOON, "another boot is another machine to the voters");
        std::fs::write(&path, "{").unwrap();
        assert_eq!(base(&path, NOON, at(2)), NOON);
        assert_eq!(base(&dir.path().join("missing/campaigns.json"), NOON, at(3)), NOON);
    }
}
