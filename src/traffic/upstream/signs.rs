//! Bad signs seen by live traffic, handed to the engine: coalesced, bounded, without a lock.

use std::sync::atomic::{AtomicU8, Ordering};

use failover::verdict::Sign;
use tokio::sync::Notify;

const ALL: [Sign; 4] = [Sign::Refused, Sign::Reset, Sign::TimedOut, Sign::Tls];

fn bit(sign: Sign) -> u8 {
    match sign {
        Sign::Refused => 1,
        Sign::Reset => 2,
        Sign::TimedOut => 4,
        Sign::Tls => 8,
    }
}

/// One cell per backend.
#[derive(Debug)]
pub struct Signs {
    cells: Vec<AtomicU8>,
    raised: Notify,
}

impl Signs {
    /// For `backends` backends.
    pub fn new(backends: usize) -> Self {
        Self { cells: (0..backends).map(|_| AtomicU8::new(0)).collect(), raised: Notify::new() }
    }

    /// Notes that `backend` showed `sign`.
    pub fn raise(&self, backend: usize, sign: Sign) {
        if let Some(cell) = self.cells.get(backend)
            // Only the first wakes the engine: a side that dies under load fails thousands of requests in the same
            // instant.
            && cell.fetch_or(bit(sign), Ordering::AcqRel) & bit(sign) == 0
        {
            self.raised.notify_one();
        }
    }

    /// Returns once a sign was raised since the last [`Signs::take`].
    pub async fn raised(&self) {
        self.raised.notified().await;
    }

    /// Takes all signs raised so far.
    pub fn take(&self) -> Vec<(usize, Sign)> {
        let mut taken = Vec::new();
        for (backend, cell) in self.cells.iter().enumerate() {
            let bits = cell.swap(0, Ordering::AcqRel);
            taken.extend(ALL.iter().filter(|sign| bits & bit(**sign) != 0).map(|sign| (backend, *sign)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_storm_of_signs_is_one_sign() {
        let signs = Signs::new(2);
        for _ in 0..1000 {
            signs.raise(1, Sign::Refused);
        }
        signs.raise(1, Sign::TimedOut);
        signs.raised().await;
        assert_eq!(signs.take(), [(1, Sign::Refused), (1, Sign::TimedOut)]);
        assert_eq!(signs.take(), []);
    }
}
