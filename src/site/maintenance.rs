//! What operators have taken out of service: the whole site or single routes, until when, by whom and why. Pure
//! bookkeeping, told the time; who answers with the page is the router's business.

use std::time::Duration;

use daemon::Time;
use serde::{Deserialize, Serialize};

use crate::config::Route;

/// Entries that are kept: more routes than any site has. Those of routes that a reload took away stay until they end, and
/// the file they stand in is written before traffic moves.
const MOST: usize = 200;

/// The site or a route in maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// The route, by its name, with those below its path; none: the whole site.
    pub route: Option<String>,
    /// When it ends by itself; none: when an operator says so.
    pub until: Option<Time>,
    /// Who ordered it.
    pub by: String,
    /// Why, in the operator's words; no user is shown it.
    pub why: String,
    /// Since when.
    pub since: Time,
}

impl Maintenance {
    /// What it is about, as the journal and the screen name it.
    pub fn subject(&self) -> String {
        self.route.as_ref().map_or_else(|| "the whole site".to_owned(), |route| format!("route {route}"))
    }
}

/// All that is in maintenance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintenances(Vec<Maintenance>);

impl From<Vec<Maintenance>> for Maintenances {
    fn from(found: Vec<Maintenance>) -> Self {
        Self(found)
    }
}

impl Maintenances {
    /// Each of them, oldest first.
    pub fn all(&self) -> &[Maintenance] {
        &self.0
    }

    /// Puts the site or a route into maintenance, or says anew until when and why.
    ///
    /// # Errors
    /// One sentence: its end is past, or there are too many.
    pub fn begin(&mut self, one: Maintenance, now: Time) -> Result<(), String> {
        if let Some(until) = one.until.filter(|until| *until <= now) {
            // Taken, it would end in the same moment, and who typed yesterday's date would believe the page is up.
            return Err(format!("{until} is past already (it is {now}): say a later time, or --for 2h."));
        }
        let others = self.0.iter().filter(|known| known.route != one.route).count();
        if others >= MOST {
            return Err(format!(
                "{MOST} routes are in maintenance already: put the whole site into it, without --route."
            ));
        }
        self.0.retain(|known| known.route != one.route);
        self.0.push(one);
        Ok(())
    }

    /// Ends that of one route, or without one of everything: who says `off` and no more wants users served. Returns what
    /// ended.
    ///
    /// # Errors
    /// One sentence: that route is not in maintenance by itself.
    pub fn end(&mut self, route: Option<&str>) -> Result<Vec<Maintenance>, String> {
        let Some(route) = route else { return Ok(std::mem::take(&mut self.0)) };
        let ended: Vec<_> = self.0.extract_if(.., |one| one.route.as_deref() == Some(route)).collect();
        match ended.is_empty() {
            false => Ok(ended),
            true if self.0.iter().any(|one| one.route.is_none()) => Err(format!(
                "The whole site is in maintenance, {route} with it and not by itself: `bascule maintenance off` ends all."
            )),
            true => Err(format!("{route} is not in maintenance by itself.")),
        }
    }

    /// Takes out what is over by now.
    pub fn take_over(&mut self, now: Time) -> Vec<Maintenance> {
        self.0.extract_if(.., |one| one.until.is_some_and(|until| until <= now)).collect()
    }

    /// For how long nothing ends by itself; none: nothing will.
    pub fn next_end(&self, now: Time) -> Option<Duration> {
        let next = self.0.iter().filter_map(|one| one.until).min()?;
        Some(Duration::from_millis(u64::try_from(next.ms_since(now)).unwrap_or(0)))
    }

    /// How a route stands. Of a route that is out with the site and by itself the later end counts: one that is over lets
    /// nobody past the other.
    pub fn of(&self, route: &Route) -> Standing {
        let its = |one: &&Maintenance| one.route.as_ref().is_none_or(|name| covers(name, route));
        let mut ends = self.0.iter().filter(its).map(|one| one.until).peekable();
        if ends.peek().is_none() {
            return Standing::InService;
        }
        // None is no end, which is later than any.
        Standing::Out { until: ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max()) }
    }
}

/// Whether a route is out with the one of that name: itself, and each whose path lies below. Who takes `/xuc` out means all of
/// xuc, though its login and its socket are routes of their own.
fn covers(name: &str, route: &Route) -> bool {
    let below = || route.path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    *name == route.name || name.starts_with('/') && below()
}

/// Whether a route is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As the configuration says.
    InService,
    /// Answered with the maintenance page.
    Out {
        /// When that ends, if that is known.
        until: Option<Time>,
    },
}

/// The name of the route that an operator means, by its name or its path.
///
/// # Errors
/// One sentence that lists the routes.
pub fn name_of<'a>(routes: impl Iterator<Item = &'a Route> + Clone, meant: &str) -> Result<String, String> {
    // By the name first: two routes may share a path, one exact and one with all below it, and names are never shared.
    let named = routes.clone().find(|route| route.name == meant);
    match named.or_else(|| routes.clone().find(|route| route.path == meant)) {
        Some(route) => Ok(route.name.clone()),
        None => {
            let known: Vec<_> = routes.map(|route| route.name.as_str()).collect();
            Err(format!("There is no route {meant}. The routes are: {}.", known.join(", ")))
        }
    }
}

/// What a client is told to wait, in seconds.
pub fn retry_after(until: Option<Time>, now: Time) -> u64 {
    /// Without an end: often enough that nobody waits long once it is over, too seldom to be a load.
    const OPEN_END: u64 = 60;
    // Rounded up, and never 0: a program that comes back in the last moment would come back in a loop.
    until.map_or(OPEN_END, |until| u64::try_from(until.ms_since(now)).unwrap_or(0).div_ceil(1000).max(1))
}

#[cfg(test)]
mod tests;
