//! Zones: how many requests a client address may make. What becomes of a request is told to `http` and `websocket`, who
//! answer or hold it.

pub mod bucket;
pub mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Network, RateLimits, Relax, Zone, ZoneUse, masked};
use crate::telemetry::metrics::Standing;
use bucket::{Pace, Ruling, relaxed};
use table::Table;

/// The zones of one configuration. Accounts outlive it where the zone stays what it was.
#[derive(Debug)]
pub struct Zones {
    zones: Vec<Arc<Accounts>>,
    /// By position of the route in the configuration.
    rules: Vec<Option<Rule>>,
    exempt: Vec<Network>,
    ipv6_prefix: u8,
    relax: Option<Relax>,
    /// What the accounts' nanoseconds are counted from.
    origin: Instant,
    /// Requests of all zones that wait for their time.
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
}

/// The accounts of one zone's clients; they outlive a configuration that leaves the zone as it is.
#[derive(Debug)]
struct Accounts {
    name: Arc<str>,
    zone: Zone,
    ipv6_prefix: u8,
    table: Table,
    /// Requests that wait for their time.
    waiting: AtomicUsize,
}

/// What a zone allows on one route.
#[derive(Debug, Clone, Copy)]
struct Rule {
    zone: usize,
    pace: Pace,
    delay: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its client is not limited.
    Exempt,
    /// It goes on at once.
    Pass,
    /// It goes on after that time, if there is a place to wait in.
    Delay(Duration),
    /// It is too many; after that time one would not be.
    Refuse(Duration),
}

/// A request's place among those that wait; given back when dropped.
#[derive(Debug)]
pub struct Place {
    zone: Arc<Accounts>,
    all: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.zone.waiting.fetch_sub(1, Ordering::AcqRel);
        self.all.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Zones {
    /// The zones of a configuration; `uses`: what its routes make of them, by their place. Takes over the accounts of `before`,
    /// so that a reload gives nobody a new burst.
    pub fn new(
        zones: &[Zone],
        uses: impl IntoIterator<Item = Option<ZoneUse>>,
        limits: &RateLimits,
        before: Option<&Self>,
    ) -> Self {
        let accounts = |zone: &Zone| {
            let is_same = |accounts: &&Arc<Accounts>| accounts.serve(zone, limits.ipv6_prefix);
            let kept = before.and_then(|before| before.zones.iter().find(is_same));
            kept.cloned().unwrap_or_else(|| Arc::new(Accounts::new(zone, limits.ipv6_prefix)))
        };
        let rule = |used: ZoneUse| Rule {
            zone: used.zone.0,
            pace: Pace::new(zones[used.zone.0].rate.interval(), used.burst.get()),
            delay: used.delay,
        };
        Self {
            zones: zones.iter().map(accounts).collect(),
            rules: uses.into_iter().map(|used| used.map(rule)).collect(),
            exempt: limits.exempt.clone(),
            ipv6_prefix: limits.ipv6_prefix,
            relax: limits.relax,
            origin: before.map_or_else(Instant::now, |before| before.origin),
            waiting: before.map_or_else(Arc::default, |before| before.waiting.clone()),
            most_waiting: limits.delayed.get(),
        }
    }

    /// Rules on a request of `client` on a route, and books it. `serving_since`: when the present side began to serve.
    /// None: the route has no zone.
    pub fn ask(&self, route: usize, client: IpAddr, now: Instant, serving_since: Instant) -> Option<Verdict> {
        let Rule { zone, pace, delay } = (*self.rules.get(route)?)?;
        if self.exempt.iter().any(|network| network.contains(client)) {
            return Some(Verdict::Exempt);
        }
        let (cost, era) = match self.relax {
            None => (pace.interval, 0),
            // Nobody who was ahead of the rate before everybody had to come back is held to it: a company behind one
            // address may have been.
            Some(relax) => (
                relaxed(pace.interval, relax, now.saturating_duration_since(serving_since)),
                self.nanoseconds(serving_since),
            ),
        };
        let table = &self.zones[zone].table;
        Some(match table.ask(self.counted(client), era, self.nanoseconds(now), cost, pace) {
            Ruling::Pass { ahead, .. } if delay && ahead > 0 => Verdict::Delay(Duration::from_nanos(ahead)),
            Ruling::Pass { .. } => Verdict::Pass,
            Ruling::Refuse { retry_after } => Verdict::Refuse(Duration::from_nanos(retry_after)),
        })
    }

    /// A place to wait in. None: so many wait already, in this zone (half of all may) or in all.
    pub fn wait(&self, route: usize) -> Option<Place> {
        let zone = &self.zones[(*self.rules.get(route)?)?.zone];
        let most_here = self.most_waiting.div_ceil(2);
        let here = zone.waiting.fetch_add(1, Ordering::AcqRel);
        let all = self.waiting.fetch_add(1, Ordering::AcqRel);
        // From here on what was counted is given back whatever happens.
        let place = Place { zone: zone.clone(), all: self.waiting.clone() };
        (here < most_here && all < self.most_waiting).then_some(place)
    }

    /// Who a client counts as: an IPv6 subscriber has a whole network of addresses.
    fn counted(&self, client: IpAddr) -> IpAddr {
        match client.to_canonical() {
            v6 @ IpAddr::V6(_) => masked(v6, self.ipv6_prefix),
            v4 => v4,
        }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// What the zone of a route is called in the log; none without a zone.
    pub fn name(&self, route: usize) -> Option<Arc<str>> {
        self.of_route(route).map(|zone| self.zones[zone].name.clone())
    }

    /// The zone of a route, by its place in the configuration.
    pub fn of_route(&self, route: usize) -> Option<usize> {
        Some((*self.rules.get(route)?)?.zone)
    }

    /// How each zone stands, for those who ask for metrics: looks at every account.
    pub fn standing(&self, now: Instant) -> impl Iterator<Item = Standing> {
        self.zones.iter().map(move |accounts| Standing {
            name: accounts.name.clone(),
            ahead: accounts.table.ahead(self.nanoseconds(now)),
            waiting: accounts.waiting.load(Ordering::Acquire),
            evictions: accounts.table.evictions(),
        })
    }
}

impl Accounts {
    fn new(zone: &Zone, ipv6_prefix: u8) -> Self {
        let table = Table::new(zone.addresses.get());
        Self { name: zone.name.as_str().into(), zone: zone.clone(), ipv6_prefix, table, waiting: AtomicUsize::new(0) }
    }

    /// Whether what is known of clients holds under another configuration. Bursts and delays may differ: the accounts do not
    /// know them.
    fn serve(&self, zone: &Zone, ipv6_prefix: u8) -> bool {
        let Zone { name, rate, addresses, .. } = &self.zone;
        (name, rate, addresses, self.ipv6_prefix) == (&zone.name, &zone.rate, &zone.addresses, ipv6_prefix)
    }
}

#[cfg(test)]
mod tests;
