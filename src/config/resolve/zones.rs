//! Zones: the user's laid over the preset's, and which of them a route's requests count in.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use settings::{Findings, KeyPath, nearest, quoted};

use super::super::file::{File, RateLimitsFile, RelaxFile, Short, Span, ZoneFile, ZoneUseFile};
use super::super::{Network, RateLimits, Relax, Zone, ZoneIndex, ZoneUse, defaults};
use super::{item, services, tuning};

/// A faster rate than one upstream answers limits nothing, and leaves too few nanoseconds for a widened zone to divide.
const FASTEST: u32 = 10_000;
/// More requests at once than any client has reason for.
const MOST_BURST: u32 = 100_000;
/// Longer than a browser's user waits for a page. Each request that waits holds its memory and its place meanwhile.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// At 16 bytes each 256 MiB for one zone: whoever writes more means something else.
const MOST_ADDRESSES: usize = 1 << 24;
/// A hundred times what users need to come back.
const LARGEST_FACTOR: u32 = 1000;
/// Providers give networks of /32; whoever counts by less counts them together.
const IPV6_PREFIXES: std::ops::RangeInclusive<u8> = 32..=128;
/// More places to wait than a busy Edge has connections.
const MOST_DELAYED: usize = 100_000;

/// Stands for no zone.
const OFF: &str = "off";

/// The zones of a file, and those that were switched off.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) zones: Vec<Zone>,
    off: Vec<String>,
}

/// Resolves the user's zones over the preset's.
pub(super) fn resolve(user: &File, beneath: &File, findings: &mut Findings) -> Known {
    let at = KeyPath::top("zones");
    let mut known = Known::default();
    let (mine, theirs) = (user.zones.clone().unwrap_or_default(), beneath.zones.clone().unwrap_or_default());
    let of_preset = theirs.names().filter(|name| mine.named(name).is_none()).map(str::to_owned);
    let names: Vec<String> = of_preset.chain(mine.names().map(str::to_owned)).collect();
    for name in names {
        let at = at.key(&name);
        if name == OFF || !services::is_plain_name(&name) {
            findings.error(&at, format!("{} is no name for a zone", quoted(&name)), "write letters, digits, - and _");
            continue;
        }
        let under = theirs.named(&name).cloned().map(|short| short.0).unwrap_or_default();
        let zone = match mine.named(&name).cloned() {
            Some(Short(zone)) => zone.over(under),
            None => under,
        };
        if zone.off {
            known.off.push(name);
        } else {
            known.zones.extend(resolve_one(name, &zone, &at, findings));
        }
    }
    known
}

fn resolve_one(name: String, written: &ZoneFile, at: &KeyPath, findings: &mut Findings) -> Option<Zone> {
    let Some(rate) = written.rate else {
        findings.missing(&at.key("rate"), "is missing", "write how many requests pass, such as 30/s or 20/min");
        return None;
    };
    if rate.requests == 0 {
        let remedy = "write at least 1/min; `off` instead of the zone's keys limits nothing";
        findings.error(&at.key("rate"), format!("{rate} lets nobody in"), remedy);
        return None;
    }
    if rate.interval() < Duration::from_secs(1) / FASTEST {
        let remedy = format!("write at most {FASTEST}/s; `off` instead of the zone's keys limits nothing");
        findings.error(&at.key("rate"), format!("{rate} limits nothing"), remedy);
        return None;
    }
    let Some(burst) = written.burst else {
        findings.missing(
            &at.key("burst"),
            "is missing",
            "write how many requests may come before their time, such as 20",
        );
        return None;
    };
    let burst = burst_of(burst, &at.key("burst"), findings)?;
    let delay = written.delay.unwrap_or(defaults::rate_limits::DELAY);
    let addresses = tuning::count(written.addresses, defaults::rate_limits::ADDRESSES, &at.key("addresses"), findings);
    tuning::at_most(addresses, MOST_ADDRESSES, &at.key("addresses"), findings);
    let zone = Zone { name, rate, burst, delay, addresses: addresses.and_then(NonZeroUsize::new)? };
    bearable(&zone, burst, delay, at, findings)?;
    Some(zone)
}

fn burst_of(burst: u32, at: &KeyPath, findings: &mut Findings) -> Option<NonZeroU32> {
    if burst == 0 {
        findings.error(at, "0 refuses the second of two requests that come together", "write at least 1");
    }
    tuning::at_most(Some(burst), MOST_BURST, at, findings);
    NonZeroU32::new(burst).filter(|burst| burst.get() <= MOST_BURST)
}

/// Notes a delay that nobody would wait for.
fn bearable(zone: &Zone, burst: NonZeroU32, delay: bool, at: &KeyPath, findings: &mut Findings) -> Option<()> {
    let longest = zone.rate.interval() * burst.get();
    if delay && longest > LONGEST_DELAY {
        let message = format!("the last of {burst} requests ahead of {} would wait {}", zone.rate, Span(longest));
        let at = if findings.tree().has(&at.key("delay")) { at.key("delay") } else { at.clone() };
        findings.error(&at, message, "lower burst, raise rate, or write `delay: false`");
        return None;
    }
    Some(())
}

/// The zone of a route; none: it has none. `Err`: an error was noted.
pub(super) fn of_route(
    written: Option<ZoneUseFile>,
    known: &Known,
    at: &KeyPath,
    findings: &mut Findings,
) -> Result<Option<ZoneUse>, ()> {
    let Some(written) = written else { return Ok(None) };
    let name_at = if findings.tree().has(&at.key("name")) { at.key("name") } else { at.clone() };
    let Some(name) = written.name else {
        findings.missing(&at.key("name"), "is missing", "write which of `zones` the route's requests count in");
        return Err(());
    };
    if name == OFF || known.off.contains(&name) {
        return Ok(None);
    }
    let Some(index) = known.zones.iter().position(|zone| zone.name == name) else {
        // What is wrong with a zone that is there is said at the zone.
        if !findings.tree().has(&KeyPath::top("zones").key(&name)) {
            let names = || known.zones.iter().map(|zone| zone.name.as_str());
            let remedy = match nearest(&name, names()) {
                Some(near) => format!("did you mean {near}?"),
                None if known.zones.is_empty() => "describe it under zones, with rate and burst".to_owned(),
                None => format!("known here: {}, {OFF}", names().collect::<Vec<_>>().join(", ")),
            };
            findings.error(&name_at, format!("{} is no zone of this file", quoted(&name)), remedy);
        }
        return Err(());
    };
    let zone = &known.zones[index];
    let burst = match written.burst {
        Some(burst) => burst_of(burst, &at.key("burst"), findings).ok_or(())?,
        None => zone.burst,
    };
    let delay = written.delay.unwrap_or(zone.delay);
    bearable(zone, burst, delay, at, findings).ok_or(())?;
    Ok(Some(ZoneUse { zone: ZoneIndex(index), burst, delay }))
}

/// Warns of the user's own zones that no route names. The preset's may be without one on a site that lacks a service.
pub(super) fn unused(user: &File, beneath: &File, known: &Known, used: &[ZoneIndex], findings: &mut Findings) {
    let names = |file: &File, name: &str| file.zones.as_ref().is_some_and(|zones| zones.named(name).is_some());
    for (index, zone) in known.zones.iter().enumerate() {
        let mine = names(user, &zone.name) && !names(beneath, &zone.name);
        if mine && !used.contains(&ZoneIndex(index)) {
            let at = KeyPath::top("zones").key(&zone.name);
            findings.warn(&at, "no route counts in it", "name it as `zone` of a route, or remove it");
        }
    }
}

pub(super) fn rate_limits(written: RateLimitsFile, findings: &mut Findings) -> Option<RateLimits> {
    use defaults::rate_limits as default;
    let at = KeyPath::top("rate_limits");
    let exempt = match written.exempt {
        Some(list) => list.0,
        None => default::EXEMPT.map(str::to_owned).to_vec(),
    };
    let mut networks = Vec::new();
    for (index, text) in exempt.iter().enumerate() {
        match Network::parse(text) {
            Ok(network) => networks.push(network),
            Err((message, remedy)) => findings.error(&item(&at.key("exempt"), index, findings), message, remedy),
        }
    }
    let ipv6_prefix = written.ipv6_prefix.unwrap_or(default::IPV6_PREFIX);
    if !IPV6_PREFIXES.contains(&ipv6_prefix) {
        let message = format!("{ipv6_prefix} is not from {} to {}", IPV6_PREFIXES.start(), IPV6_PREFIXES.end());
        findings.error(&at.key("ipv6_prefix"), message, "write 64, which is what one subscriber has, or 56 or 48");
    }
    let delayed = tuning::count(written.delayed, default::DELAYED, &at.key("delayed"), findings);
    tuning::at_most(delayed, MOST_DELAYED, &at.key("delayed"), findings);
    let relax = relax(written.relax_after_switch, &at.key("relax_after_switch"), findings);
    Some(RateLimits { exempt: networks, ipv6_prefix, delayed: delayed.and_then(NonZeroUsize::new)?, relax: relax? })
}

/// None: an error was noted. `Some(None)`: zones do not widen.
fn relax(written: Option<Short<RelaxFile>>, at: &KeyPath, findings: &mut Findings) -> Option<Option<Relax>> {
    use defaults::rate_limits as default;
    let written = written.map(|short| short.0).unwrap_or_default();
    if written.off {
        return Some(None);
    }
    let factor = tuning::count(written.factor, default::RELAX_FACTOR, &at.key("factor"), findings);
    tuning::at_most(factor, LARGEST_FACTOR, &at.key("factor"), findings);
    let over = tuning::span(written.over, default::RELAX_OVER, &at.key("over"), findings);
    Some(Some(Relax { factor: factor?, over: over? }))
}
