use std::num::NonZeroU32;

use super::*;
use crate::config::{Rate, RateUnit, ZoneIndex};

fn zone(name: &str, rate: u32, per: RateUnit, burst: u32, delay: bool) -> Zone {
    let burst = NonZeroU32::new(burst).unwrap();
    Zone { name: name.into(), rate: Rate { requests: rate, per }, burst, delay, addresses: 4096.try_into().unwrap() }
}

fn used(zone: usize, burst: u32, delay: bool) -> Option<ZoneUse> {
    Some(ZoneUse { zone: ZoneIndex(zone), burst: NonZeroU32::new(burst).unwrap(), delay })
}

const APPLICATION: usize = 0;
const ASSETS: usize = 1;
const LOGIN: usize = 2;
const FREE: usize = 3;

/// As the preset has them: an application, what it loads, a login, and a route without a zone.
fn zones(relax: Option<Relax>, before: Option<&Zones>) -> Zones {
    let zones = [zone("webapp", 30, RateUnit::Second, 20, true), zone("auth", 20, RateUnit::Minute, 12, false)];
    let uses = [used(0, 20, true), used(0, 50, false), used(1, 12, false), None];
    let exempt = vec!["10.0.0.0/8".to_owned(), "fc00::/7".to_owned()];
    Zones::new(&zones, uses, &limits(&exempt, relax), before)
}

fn limits(exempt: &[String], relax: Option<Relax>) -> RateLimits {
    let exempt = exempt.iter().map(|text| Network::parse(text).unwrap()).collect();
    RateLimits { exempt, ipv6_prefix: 64, delayed: 10.try_into().unwrap(), relax }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How many of so many requests at one instant are not refused.
fn let_through(zones: &Zones, route: usize, client: &str, requests: usize, at: (Instant, Instant)) -> usize {
    let asked = (0..requests).map(|_| zones.ask(route, ip(client), at.0, at.1).unwrap());
    asked.filter(|verdict| !matches!(verdict, Verdict::Refuse(_))).count()
}

#[test]
fn routes_of_one_zone_share_an_account_and_each_has_its_own_burst() {
    let zones = zones(None, None);
    let now = (Instant::now(), Instant::now());
    assert_eq!(let_through(&zones, APPLICATION, "192.0.2.1", 100, now), 21);
    assert_eq!(
        let_through(&zones, ASSETS, "192.0.2.1", 100, now),
        30,
        "up to fifty ahead, of which twenty are used up"
    );
    assert_eq!(let_through(&zones, LOGIN, "192.0.2.1", 100, now), 13, "another zone, another account");
    assert_eq!(let_through(&zones, APPLICATION, "192.0.2.2", 100, now), 21, "another client, too");
    assert_eq!(zones.ask(FREE, ip("192.0.2.1"), now.0, now.1), None);
}

#[test]
fn requests_ahead_of_the_rate_wait_where_the_route_delays_and_nowhere_else() {
    let zones = zones(None, None);
    let now = Instant::now();
    let ask = |route| zones.ask(route, ip("192.0.2.1"), now, now).unwrap();
    assert_eq!(ask(APPLICATION), Verdict::Pass);
    assert_eq!(ask(APPLICATION), Verdict::Delay(Duration::from_nanos(33_333_333)));
    assert_eq!(ask(APPLICATION), Verdict::Delay(Duration::from_nanos(66_666_666)));
    assert_eq!(ask(ASSETS), Verdict::Pass);
}

#[test]
fn clients_of_exempt_networks_are_not_limited() {
    let zones = zones(None, None);
    let now = Instant::now();
    for client in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
        for _ in 0..100 {
            assert_eq!(zones.ask(LOGIN, ip(client), now, now), Some(Verdict::Exempt));
        }
    }
}

#[test]
fn an_ipv6_client_counts_by_its_network() {
    let zones = zones(None, None);
    let now = (Instant::now(), Instant::now());
    assert_eq!(let_through(&zones, LOGIN, "2001:db8:0:1::1", 13, now), 13);
    assert_eq!(let_through(&zones, LOGIN, "2001:db8:0:1:ffff::2", 1, now), 0);
    assert_eq!(let_through(&zones, LOGIN, "2001:db8:0:2::1", 1, now), 1);
    assert_eq!(let_through(&zones, LOGIN, "192.0.2.7", 13, now), 13);
    assert_eq!(let_through(&zones, LOGIN, "::ffff:192.0.2.7", 1, now), 0, "the same client, written otherwise");
}

#[test]
fn a_reload_keeps_the_accounts_of_zones_that_stay_as_they_are() {
    let now = (Instant::now(), Instant::now());
    let before = zones(None, None);
    assert_eq!(let_through(&before, LOGIN, "192.0.2.1", 100, now), 13);
    let place = before.wait(APPLICATION).unwrap();
    let after = zones(None, Some(&before));
    assert_eq!(let_through(&after, LOGIN, "192.0.2.1", 1, now), 0);
    assert_eq!(after.standing(now.0).map(|zone| (zone.ahead, zone.waiting)).collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    drop(place);
    assert_eq!(after.waiting.load(Ordering::SeqCst), 0);
    let other_rate = [zone("auth", 30, RateUnit::Minute, 12, false)];
    let changed = Zones::new(&other_rate, [used(0, 12, false)], &limits(&[], None), Some(&after));
    assert_eq!(let_through(&changed, 0, "192.0.2.1", 100, now), 13);
}

#[test]
fn requests_that_wait_are_bounded_in_a_zone_and_in_all() {
    let zones = Zones::new(
        &[
            zone("a", 1, RateUnit::Second, 9, true),
            zone("b", 1, RateUnit::Second, 9, true),
            zone("c", 1, RateUnit::Second, 9, true),
        ],
        [used(0, 9, true), used(1, 9, true), used(2, 9, true)],
        &limits(&[], None),
        None,
    );
    let places = |route| std::iter::from_fn(|| zones.wait(route)).take(100).collect::<Vec<_>>();
    let first = places(0);
    assert_eq!(first.len(), 5, "half of all");
    let second = places(1);
    assert_eq!(second.len(), 5);
    assert!(places(2).is_empty(), "nothing is left");
    drop(first);
    assert_eq!(places(2).len(), 5);
    drop(second);
    assert_eq!(zones.waiting.load(Ordering::SeqCst), 0, "every place is given back");
}

#[test]
fn after_a_switch_a_company_behind_one_address_is_let_in_and_then_held_to_the_rate_again() {
    let relax = Relax { factor: 30, over: Duration::from_secs(60) };
    let zones = zones(Some(relax), None);
    let began = Instant::now();
    let long_before = began;
    let at = |seconds: f64| began + Duration::from_secs_f64(1000.0 + seconds);
    // In the middle of the day somebody uses the account up.
    assert_eq!(let_through(&zones, LOGIN, "192.0.2.1", 100, (at(-1.0), long_before)), 13);
    // A switch: a hundred users with three requests each, within five seconds.
    let switched = at(0.0);
    let back = (0..300).filter(|n| {
        let now = at(f64::from(*n) * 5.0 / 300.0);
        zones.ask(LOGIN, ip("192.0.2.1"), now, switched) == Some(Verdict::Pass)
    });
    assert_eq!(back.count(), 300);
    // A minute later it is a zone like any other: the burst, and one each three seconds.
    let late = let_through(&zones, LOGIN, "192.0.2.1", 100, (at(100.0), switched));
    assert_eq!(late, 13);
    assert_eq!(let_through(&zones, LOGIN, "192.0.2.1", 100, (at(103.0), switched)), 1);
}

#[test]
fn the_rate_shrinks_smoothly_after_a_switch() {
    // Asked each five milliseconds, the burst used up: what passes in each five seconds shrinks step by step to the rate.
    let relax = Relax { factor: 30, over: Duration::from_secs(60) };
    let zones = zones(Some(relax), None);
    let switched = Instant::now();
    let mut passed = Vec::new();
    for window in 0..16_u32 {
        let asked = (0..1000).filter(|n| {
            let now = switched + Duration::from_secs(5) * window + Duration::from_millis(5) * *n;
            zones.ask(LOGIN, ip("192.0.2.1"), now, switched) == Some(Verdict::Pass)
        });
        passed.push(asked.count());
    }
    assert!(passed[0] > 390, "the burst, thirty times as wide, and the first five seconds: {passed:?}");
    assert!(passed[1..].is_sorted_by(|a, b| a + 1 >= *b), "{passed:?}");
    assert!(passed[1..12].windows(2).all(|pair| pair[0] - pair[1] <= 5), "no step is high: {passed:?}");
    assert!(passed[13..].iter().all(|passed| (1..=2).contains(passed)), "20 a minute: {passed:?}");
}

#[test]
fn a_zone_takes_the_memory_that_check_says() {
    for addresses in [1, 8, 9, 1000, 65_536, 65_537] {
        let zone = Zone { addresses: addresses.try_into().unwrap(), ..zone("a", 1, RateUnit::Second, 1, false) };
        assert_eq!(zone.bytes(), Table::bytes(addresses) as u64, "{addresses}");
    }
}
