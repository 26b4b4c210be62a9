use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// `ngx_http_limit_req_lookup`, for one client: requests in thousandths, times in milliseconds.
struct Nginx {
    rate: i64,
    burst: i64,
    account: Option<(i64, i64)>,
}

impl Nginx {
    fn new(per_second: i64, burst: i64) -> Self {
        Self { rate: per_second * 1000, burst: burst * 1000, account: None }
    }

    /// The delay in milliseconds of a zone without `nodelay`; none: refused.
    fn asks(&mut self, now: i64) -> Option<i64> {
        let excess = match self.account {
            None => 0,
            Some((excess, last)) => (excess - self.rate * (now - last) / 1000 + 1000).max(0),
        };
        if excess > self.burst {
            return None;
        }
        self.account = Some((excess, now));
        Some(excess * 1000 / self.rate)
    }
}

/// One client of ours.
struct Client {
    pace: Pace,
    even_at: u64,
}

impl Client {
    fn new(pace: Pace) -> Self {
        Self { pace, even_at: 0 }
    }

    fn asks(&mut self, now: u64) -> Option<u64> {
        self.asks_for(now, self.pace.interval)
    }

    fn asks_for(&mut self, now: u64, cost: u64) -> Option<u64> {
        match self.pace.rule(self.even_at, now, cost) {
            Ruling::Pass { ahead, even_at } => {
                self.even_at = even_at;
                Some(ahead)
            }
            Ruling::Refuse { .. } => None,
        }
    }
}

/// Rates of which nginx's thousandths and our nanoseconds are whole: nothing is rounded, so that nothing may differ.
const EXACT: [i64; 6] = [1, 2, 5, 10, 20, 100];

#[test]
fn every_sequence_of_eight_gaps_is_ruled_as_nginx_rules_it() {
    // Together, within, at and beyond the interval, and after a rest.
    let gaps = |rate: i64| [0, 500 / rate, 1000 / rate, 2500 / rate];
    let mut ruled = 0_u64;
    for (rate, burst) in [(1, 1), (2, 3), (10, 2), (20, 5)] {
        for sequence in 0..4_u32.pow(8) {
            let (mut nginx, mut now) = (Nginx::new(rate, burst), 1000);
            let pace = Pace::new(Duration::from_nanos(SECOND / rate as u64), burst as u32);
            let mut ours = Client::new(pace);
            for step in 0..8 {
                now += gaps(rate)[(sequence >> (2 * step) & 3) as usize];
                let (theirs, ours) = (nginx.asks(now), ours.asks(now as u64 * MS));
                assert_eq!(
                    theirs,
                    ours.map(|ahead| (ahead / MS) as i64),
                    "{rate}/s, burst {burst}, {sequence:o}, {now}"
                );
                ruled += 1;
            }
        }
    }
    assert_eq!(ruled, 4 * 8 * 65_536);
}

#[test]
fn a_random_client_is_ruled_as_nginx_rules_it() {
    let mut random = fastrand::Rng::with_seed(20);
    for _ in 0..2000 {
        let rate = EXACT[random.usize(..EXACT.len())];
        let burst = random.i64(1..60);
        let (mut nginx, mut now) = (Nginx::new(rate, burst), random.i64(1..1_000_000));
        let mut ours = Client::new(Pace::new(Duration::from_nanos(SECOND / rate as u64), burst as u32));
        let mostly = random.i64(1..4000 / rate + 2);
        for _ in 0..200 {
            now += if random.u8(..) < 250 { random.i64(0..mostly) } else { random.i64(0..600_000) };
            let (theirs, ours) = (nginx.asks(now), ours.asks(now as u64 * MS));
            assert_eq!(theirs, ours.map(|ahead| (ahead / MS) as i64), "{rate}/s, burst {burst}, at {now}");
        }
    }
}

#[test]
fn a_new_client_has_its_burst_and_one_more_and_then_its_rate() {
    let mut client = Client::new(Pace::new(Duration::from_secs(3), 12));
    let at_once = (0..100).filter(|_| client.asks(7).is_some()).count();
    assert_eq!(at_once, 13, "as nginx: the first is ahead of nothing");
    assert_eq!(client.asks(7 + 3 * SECOND - 1), None);
    assert!(client.asks(7 + 3 * SECOND).is_some());
    assert_eq!(client.asks(7 + 3 * SECOND), None);
}

#[test]
fn a_client_that_waits_as_long_as_it_was_told_is_let_through() {
    let mut random = fastrand::Rng::with_seed(21);
    for _ in 0..100_000 {
        let pace = Pace::new(Duration::from_nanos(random.u64(10_000..60 * SECOND)), random.u32(1..1000));
        let (even_at, now) = (random.u64(..1 << 50), random.u64(..1 << 50));
        if let Ruling::Refuse { retry_after } = pace.rule(even_at, now, pace.interval) {
            assert!(matches!(pace.rule(even_at, now + retry_after, pace.interval), Ruling::Pass { .. }));
            assert!(matches!(pace.rule(even_at, now + retry_after - 1, pace.interval), Ruling::Refuse { .. }));
        }
    }
}

#[test]
fn nobody_is_ever_further_ahead_than_the_burst_whatever_the_numbers() {
    let mut random = fastrand::Rng::with_seed(22);
    let extremes = [0, 1, SECOND, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    for round in 0..100_000 {
        let mut any = || if round % 2 == 0 { random.u64(..) } else { extremes[random.usize(..extremes.len())] };
        let (pace, even_at, now, cost) = (Pace { interval: any(), tolerance: any() }, any(), any(), any());
        if let Ruling::Pass { ahead, even_at: after } = pace.rule(even_at, now, cost) {
            assert!(ahead <= pace.tolerance);
            assert!(after >= now && after >= even_at, "an account never goes back");
        }
    }
}

#[test]
fn the_measured_rate_is_the_configured_one_within_two_percent() {
    // The zones of a XiVO site; asked each millisecond for ten minutes, the burst left out.
    for (name, requests, per, burst) in
        [("webapp", 30, 1, 20), ("apis", 30, 1, 10), ("auth", 20, 60, 12), ("dapp", 20, 60, 15), ("video", 20, 1, 12)]
    {
        let mut client = Client::new(Pace::new(Duration::from_secs(per) / requests, burst));
        let passed = (0..600_000).filter(|ms| client.asks((ms + 1) * MS).is_some()).count() as f64;
        let measured = (passed - f64::from(burst) - 1.0) / 600.0;
        let wanted = f64::from(requests) / per as f64;
        assert!((measured / wanted - 1.0).abs() < 0.02, "{name}: {measured}/s instead of {wanted}/s");
    }
}

#[test]
fn a_widened_zone_becomes_narrow_again_smoothly_and_never_narrower() {
    let relax = Relax { factor: 30, over: Duration::from_secs(60) };
    let interval = 3 * SECOND;
    let mut before = 0;
    for ms in 0..=70_000 {
        let cost = relaxed(interval, relax, Duration::from_millis(ms));
        assert!(before <= cost && cost <= interval, "{ms}ms: {cost} after {before}");
        // The rate, not the cost, goes down in a straight line: by the same step each millisecond.
        let factor = interval as f64 / cost as f64;
        let wanted = 1.0 + 29.0 * (60_000 - ms.min(60_000)) as f64 / 60_000.0;
        assert!((factor / wanted - 1.0).abs() < 1e-6, "{ms}ms: {factor} instead of {wanted}");
        before = cost;
    }
    assert_eq!(relaxed(interval, relax, Duration::ZERO), interval / 30);
    assert_eq!(relaxed(interval, relax, Duration::from_secs(60)), interval);
    assert_eq!(relaxed(interval, relax, Duration::MAX), interval);
    let no_factor = Relax { factor: 1, ..relax };
    assert_eq!(relaxed(interval, no_factor, Duration::ZERO), interval);
}

#[test]
fn a_company_behind_one_address_is_back_within_five_seconds_of_a_switch() {
    // Zone auth of a XiVO site: 20 a minute, 12 ahead. A hundred users with three requests each, spread over the five
    // seconds, all at once, or at the end of them.
    let relax = Relax { factor: 30, over: Duration::from_secs(60) };
    let spread: [fn(u64) -> u64; 3] = [|n| n * 5 * SECOND / 300, |_| 0, |_| 5 * SECOND];
    for (shape, at) in spread.into_iter().enumerate() {
        let (switch, pace) = (1_000 * SECOND, Pace::new(Duration::from_secs(3), 12));
        let mut company = Client::new(pace);
        let mut narrow = Client::new(pace);
        let back = (0..300).filter(|n| {
            let cost = relaxed(pace.interval, relax, Duration::from_nanos(at(*n)));
            company.asks_for(switch + at(*n), cost).is_some()
        });
        assert_eq!(back.count(), 300, "shape {shape}");
        let without = (0..300).filter(|n| narrow.asks(switch + at(*n)).is_some()).count();
        assert!(without < 16, "shape {shape}: without widening {without} are");
        // And when all is as before, so is the company.
        let later = switch + 60 * SECOND;
        assert!(company.even_at.saturating_sub(later) <= pace.tolerance + pace.interval);
    }
}
