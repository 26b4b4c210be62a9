//! Which duty epochs are believed.

use crate::traps::{Trap, made};

/// How far above the highest epoch known a told one may be: more failovers than any site sees.
pub(crate) const LEAP: u64 = 1 << 20;

/// Returns the epoch that another voter or node told if it can be true, else nothing.
///
/// Epochs only grow, and by one with each start. Whoever took in the highest number that there is would know of no newer
/// epoch ever after: one voter that is faulty or taken would keep both nodes from serving for ever, even when it is gone.
/// So an epoch far above the own one is no knowledge. In leaps that are believed, one with each heartbeat's answer, the end
/// is not reached in a thousand years.
pub(crate) fn believed(told: u64, own: u64) -> Option<u64> {
    (told.saturating_sub(own) <= LEAP || made(Trap::AnyEpoch)).then_some(told)
}
