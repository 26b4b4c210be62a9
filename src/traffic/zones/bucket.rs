//! The arithmetic of a rate: nginx's `limit_req`, as a generic cell rate algorithm. Without a clock: times are nanoseconds
//! since an instant of the caller's choice.
//!
//! nginx keeps how many requests a client is ahead of its rate (`excess`), and when that was so. Here one number says both:
//! the instant at which the client is ahead of nothing any more, and one request more would be on time (ITU-T I.371 calls it
//! the theoretical arrival time). One number fits one atomic.

use std::time::Duration;

use crate::config::Relax;

/// What one request of a client costs, and how far ahead of its rate the client may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Nanoseconds between two requests that come at the rate.
    pub interval: u64,
    /// nginx's `burst`, in nanoseconds: so many intervals.
    pub tolerance: u64,
}

/// What is said of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It is let through; from then on the client is even with its rate at `even_at`.
    Pass {
        /// By how much the request came before its time, in nanoseconds: what a delayed one waits.
        ahead: u64,
        /// The client's new account, to be kept in the place of the old one.
        even_at: u64,
    },
    /// It is not. The account stays as it is: whoever goes on asking loses nothing by it.
    Refuse {
        /// In how many nanoseconds a request would be let through.
        retry_after: u64,
    },
}

impl Pace {
    /// `burst` requests ahead of one each `interval`.
    pub fn new(interval: Duration, burst: u32) -> Self {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { interval, tolerance: interval.saturating_mul(u64::from(burst)) }
    }

    /// Rules on a request at `now` that costs `cost`, of a client that is even with its rate at `even_at` (0: a new one).
    pub fn rule(self, even_at: u64, now: u64, cost: u64) -> Ruling {
        let ahead = even_at.saturating_sub(now);
        match ahead.checked_sub(self.tolerance) {
            None | Some(0) => Ruling::Pass { ahead, even_at: even_at.max(now).saturating_add(cost) },
            Some(too_early) => Ruling::Refuse { retry_after: too_early },
        }
    }
}

/// What a request costs `since` after zones widened, where one costs `interval` otherwise: at first a `factor`th, and more
/// and more until `over` has passed. The rate shrinks in a straight line.
///
/// The tolerance stays what it is. So a burst of `factor` times as many requests fits into it, and yet nobody is ever further
/// ahead than without: when the time is over every account is one that the narrow zone could have made.
pub fn relaxed(interval: u64, relax: Relax, since: Duration) -> u64 {
    let (left, over) = (relax.over.saturating_sub(since).as_nanos(), relax.over.as_nanos());
    if left == 0 || relax.factor <= 1 {
        return interval;
    }
    // interval / (1 + (factor - 1) * left / over), without fractions.
    let divisor = over.saturating_add(u128::from(relax.factor - 1).saturating_mul(left));
    let cost = u128::from(interval).saturating_mul(over) / divisor;
    u64::try_from(cost).unwrap_or(interval).max(1)
}

#[cfg(test)]
mod tests;
