//! How fast clients may ask, resolved: zones, and what holds for all of them.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::Network;

/// Requests of one client address that count together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name in the file.
    pub name: String,
    /// How many requests pass in the long run.
    pub rate: Rate,
    /// How many may come before their time, where the route says nothing else.
    pub burst: NonZeroU32,
    /// Whether those wait for their time, where the route says nothing else.
    pub delay: bool,
    /// How many client addresses are remembered.
    pub addresses: NonZeroUsize,
}

/// Position of a zone in [`Config::zones`](super::Config::zones).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZoneIndex(pub usize);

/// How a route's requests count in a zone: the same account as other routes', with a burst of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneUse {
    /// Whose account a request counts in.
    pub zone: ZoneIndex,
    /// How many requests may come before their time.
    pub burst: NonZeroU32,
    /// Whether requests within the burst wait for their time, or go on at once.
    pub delay: bool,
}

/// So many requests in a unit of time. Displays as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Never 0 in a resolved configuration.
    pub requests: u32,
    /// The time that so many requests are for.
    pub per: RateUnit,
}

failover::closed_set! {
    /// What rates are counted in.
    pub enum RateUnit {
        /// A second.
        Second => "s",
        /// A minute.
        Minute => "min",
    }
}

impl Rate {
    /// Between two requests that come at this rate.
    pub fn interval(self) -> Duration {
        let unit = match self.per {
            RateUnit::Second => Duration::from_secs(1),
            RateUnit::Minute => Duration::from_secs(60),
        };
        unit / self.requests.max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.label())
    }
}

/// What holds for every zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits {
    /// Networks whose clients are not limited.
    pub exempt: Vec<Network>,
    /// Leading bits by which IPv6 clients are told apart.
    pub ipv6_prefix: u8,
    /// How many requests wait for their time at once.
    pub delayed: NonZeroUsize,
    /// How zones widen when a side begins to serve, or not at all.
    pub relax: Option<Relax>,
}

/// How zones widen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relax {
    /// How many times as many requests pass at first.
    pub factor: u32,
    /// How long it takes until they are as before.
    pub over: Duration,
}
