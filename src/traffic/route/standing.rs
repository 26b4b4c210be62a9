//! Which routes are in service, as each request reads it: one atomic word a route.

use std::sync::atomic::{AtomicI64, Ordering};

use daemon::Time;

use crate::site::maintenance::Standing;

/// No millisecond of the years 1 to 9999.
const IN_SERVICE: i64 = i64::MIN;
const NO_END: i64 = i64::MAX;

/// How each route of a router stands; written by the engine alone, by position.
///
/// Words and no list behind a lock or a pointer: nearly no request ever meets a maintenance, and all of them ask.
#[derive(Debug)]
pub struct Standings(Box<[AtomicI64]>);

impl Standings {
    /// That many routes, all in service.
    pub fn new(routes: usize) -> Self {
        Self((0..routes).map(|_| AtomicI64::new(IN_SERVICE)).collect())
    }

    /// How a route stands.
    #[inline]
    pub fn of(&self, route: usize) -> Standing {
        // Relaxed: the word says all there is to know.
        match self.0.get(route).map_or(IN_SERVICE, |word| word.load(Ordering::Relaxed)) {
            IN_SERVICE => Standing::InService,
            NO_END => Standing::Out { until: None },
            ms => Standing::Out { until: Some(Time::from_unix_ms(ms)) },
        }
    }

    /// Takes a route out of service, or back.
    pub fn set(&self, route: usize, standing: Standing) {
        let word = match standing {
            Standing::InService => IN_SERVICE,
            Standing::Out { until: None } => NO_END,
            Standing::Out { until: Some(until) } => until.unix_ms(),
        };
        if let Some(place) = self.0.get(route) {
            place.store(word, Ordering::Relaxed);
        }
    }
}
