//! Which duty epochs are believed.

use crate::traps::{Trap, made};

/// How far above the highest epoch known a told one may be: more failovers than any site sees.
pub(crate) const LEAP: u64 = 1 << 20;

/// Returns the epoch that another voter or node told if it can be true, else nothing.
///
/// Epochs only grow, and by one with each start. Whoever took in the highest number that there is would know of no newer
/// epoch ever after: by one voter that is faulty or taken each later start would be in the same one, even when it is gone.
/// So an epoch far above the own one is no knowledge. In leaps that are believed, a thousand of them a second, the end is
/// not reached in five hundred years.
pub(crate) fn believed(told: u64, own: u64) -> Option<u64> {
    (told.saturating_sub(own) <= LEAP || made(Trap::AnyEpoch)).then_some(told)
}

/// Returns what a voter tells of its epoch to one who knows that much: no more than can be believed. A peer that tells ever
/// higher epochs could else raise a voter beyond all belief of the other node, which would take no grant of it ever after.
pub(crate) fn tellable(epoch: u64, known: u64) -> u64 {
    if made(Trap::BeyondBelief) { epoch } else { epoch.min(known.saturating_add(LEAP)) }
}
