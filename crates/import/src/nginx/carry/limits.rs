//! `limit_req_zone` and `limit_req`: zones, and how routes count in them.

use super::Limit;
use crate::nginx::Directive;
use crate::note::{Note, is_word};
use crate::site::{Found, Site, Zone};

#[derive(Debug, Default)]
pub(super) struct Limits {
    zones: Vec<(String, String, Found)>,
    /// The first use of a zone gives its burst and delay, which nginx has at each use alone.
    used: Vec<Limit>,
    everywhere: Option<Limit>,
}

impl Limits {
    /// Takes `limit_req_zone KEY zone=NAME:SIZE rate=30r/s`; one without a name or rate that is understood becomes a note.
    pub(super) fn define(&mut self, directive: &Directive, notes: &mut Vec<Note>) {
        let mut note = |why: &str| notes.push(Note::new(&directive.origin(), "limit_req_zone", why));
        let value = |key: &str| directive.args.iter().find_map(|arg| arg.strip_prefix(key));
        let name = value("zone=").and_then(|zone| zone.split(':').next()).filter(|name| is_word(name));
        let rate = value("rate=").and_then(|rate| {
            let (count, unit) =
                (rate.strip_suffix("r/s").map(|n| (n, "s"))).or(rate.strip_suffix("r/m").map(|n| (n, "min")))?;
            count.parse::<u32>().ok().filter(|count| *count > 0).map(|count| format!("{count}/{unit}"))
        });
        let (Some(name), Some(rate)) = (name, rate) else {
            return note("has no name or rate that is understood");
        };
        if directive.arg(0) != "$binary_remote_addr" && directive.arg(0) != "$remote_addr" {
            note(
                "counts by a variable of its own; here each client address counts, and networks in rate_limits.exempt do not",
            );
        }
        self.zones.push((name.to_owned(), rate, Found::directive(name, directive)));
    }

    /// Of http: for each location that says nothing itself.
    pub(super) fn everywhere(&mut self, directive: &Directive, notes: &mut Vec<Note>) {
        self.everywhere = self.of(Some(directive), notes);
    }

    /// What a location's `limit_req` says, or without one that of `http`; none: it is not limited.
    pub(super) fn of(&mut self, directive: Option<&Directive>, notes: &mut Vec<Note>) -> Option<Limit> {
        let Some(directive) = directive else { return self.everywhere.clone() };
        let value = |key: &str| directive.args.iter().find_map(|arg| arg.strip_prefix(key));
        let zone = value("zone=").unwrap_or_default();
        if !self.zones.iter().any(|(name, ..)| name == zone) {
            notes.push(Note::new(&directive.origin(), "limit_req", "names a zone that no limit_req_zone defines"));
            return None;
        }
        if value("delay=").is_some() {
            notes.push(Note::new(
                &directive.origin(),
                "limit_req",
                "delay= lets some pass at once; here all wait, or none",
            ));
        }
        // At least one may come before its time: two requests at once are one page.
        let burst = value("burst=").and_then(|burst| burst.parse().ok()).unwrap_or(1).max(1);
        let delay = !directive.args.iter().any(|arg| arg == "nodelay");
        let limit = Limit { zone: zone.to_owned(), burst, delay };
        if !self.used.iter().any(|used| used.zone == zone) {
            self.used.push(limit.clone());
        }
        Some(limit)
    }

    /// Puts the zones that a route counts in into the site; nobody misses the others.
    pub(super) fn write(&self, site: &mut Site) {
        for (name, rate, found) in &self.zones {
            let Some(used) = self.used.iter().find(|used| used.zone == *name) else { continue };
            let text = format!("{{ rate: {rate}, burst: {}, delay: {} }}", used.burst, used.delay);
            site.zones.push(Zone { name: name.clone(), text, found: found.clone() });
        }
    }
}
