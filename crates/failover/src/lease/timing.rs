//! The protocol's times, the inequalities between them, and the bounds that follow.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::time::Span;

/// The times of the nodes' protocol. All three voters of a site use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// A node asks each voter this often (h).
    pub heartbeat: Duration,
    /// An answer takes so long at most; every bound counts on it. A later one still counts, from when it was asked.
    pub request_limit: Duration,
    /// A node serves for so long after it sent the last request that was granted (L).
    pub lease: Duration,
    /// The longest time that the scheduler keeps a node's watchdog waiting (P).
    pub pause: Duration,
    /// The longest time from the decision to fence until no phone can reach the node (F).
    pub fence: Duration,
    /// How far any clock's rate is from the true one, in parts per million (ρ).
    pub drift_ppm: u32,
    /// The coarseness of timers (g).
    pub granularity: Duration,
    /// A voter keeps its promise for so long after its answer (TTL).
    pub promise: Duration,
    /// A voter whose disk was lost grants nothing for so long (Q).
    pub quiet: Duration,
    /// The witness is out when it has been silent for so long (T_out).
    pub witness_out: Duration,
    /// The longest restart of the witness that is no outage.
    pub witness_restart: Duration,
}

impl Timing {
    /// A promise of 2.5 s.
    pub const DEFAULT: Self = Self {
        heartbeat: Duration::from_millis(500),
        request_limit: Duration::from_millis(400),
        lease: Duration::from_millis(1_600),
        pause: Duration::from_millis(200),
        fence: Duration::from_millis(500),
        drift_ppm: 1_000,
        granularity: Duration::from_millis(100),
        // The times above ask for 2.405 s at least.
        promise: Duration::from_millis(2_500),
        quiet: Duration::from_millis(2_500),
        witness_out: Duration::from_secs(15),
        witness_restart: Duration::from_secs(10),
    };

    /// Returns the shortest sound lease: two heartbeats and a request, so that one lost request ends nothing.
    pub fn shortest_lease(&self) -> Duration {
        self.heartbeat.saturating_mul(2).saturating_add(self.request_limit)
    }

    /// Returns the shortest sound promise: it outlives the lease of which it is the voter's half, the late end of it and
    /// the fence, with the holder's clock slow and the voter's fast.
    pub fn shortest_promise(&self) -> Duration {
        let held = self.fence_bound();
        // The drift counts twice, as both clocks may be wrong, in opposite directions. It is rounded up, as a promise
        // that is a tick too short lets two serve.
        let nanos = held.as_nanos().saturating_mul(2 * u128::from(self.drift_ppm)).div_ceil(1_000_000);
        let drift = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        held.saturating_add(drift).saturating_add(self.granularity)
    }

    /// Returns the longest time that a node cut off from both other voters serves after its last granted request.
    pub fn fence_bound(&self) -> Duration {
        self.lease.saturating_add(self.pause).saturating_add(self.fence)
    }

    /// Returns the longest time from the death of the serving host to the other node's start command: the last request on
    /// its way, the promise, one more heartbeat if the witness's promise is the younger one, and the request.
    pub fn takeover_bound(&self) -> Duration {
        // Two requests take their time: the last one of the host that died, and the one that is granted to the other.
        let requests = self.request_limit.saturating_mul(2);
        self.promise.saturating_add(self.heartbeat).saturating_add(requests)
    }

    /// Returns the longest time from that death to a verified node, when its start and the check take this long.
    pub fn activation_bound(&self, start: Duration, verify: Duration) -> Duration {
        self.takeover_bound().saturating_add(start).saturating_add(verify)
    }

    /// Checks every inequality.
    ///
    /// # Errors
    /// Returns all that do not hold.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        // Without a heartbeat the machine would ask in each turn without end, and without `fence` each fence would be
        // overdue before it can close.
        let moment = Duration::from_millis(1);
        // A restart of the Edge is no outage: both nodes would else agree on one each time, and the peer's next silence
        // make one of them unguarded.
        let out = self.lease.max(self.witness_restart).saturating_add(self.granularity);
        let relations = [
            ("heartbeat", self.heartbeat, moment, "1 ms"),
            ("request_limit", self.request_limit, moment, "1 ms"),
            ("fence", self.fence, moment, "1 ms"),
            ("lease", self.lease, self.shortest_lease(), "2 heartbeat + request_limit"),
            ("promise", self.promise, self.shortest_promise(), "(lease + pause + fence)(1 + 2 drift) + granularity"),
            // A voter may have promised its vote a moment before its disk was lost.
            ("quiet", self.quiet, self.promise, "promise"),
            ("witness_out", self.witness_out, out, "lease and witness_restart, and granularity"),
        ];
        // All violations are told at once: whoever lengthens one time has to lengthen others, and should not learn of
        // them one by one.
        let found: Vec<_> = relations
            .into_iter()
            .filter(|(_, value, least, _)| value < least)
            .map(|(field, value, least, least_field)| Violation { field, value, least, least_field })
            .collect();
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A time that is too short for the others. Field names are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key as it is written in the configuration.
    pub field: &'static str,
    /// The value that is written there.
    pub value: Duration,
    /// The shortest value that keeps the relation.
    pub least: Duration,
    /// What gives the shortest value.
    pub least_field: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, least, least_field } = self;
        write!(f, "{field} ({}) must be at least {least_field} ({least:?})", Span(*value))
    }
}

impl core::error::Error for Violation {}
