//! Failback, probes, switches, limits: figures and the relations between them.

use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use settings::{Findings, KeyPath};

use super::super::file::{FailbackFile, LimitsFile, ProbeFile, ProfileFile, Short, Size, Span, SwitchFile};
use super::super::{Failback, Limits, MOST_HEAD_FIELDS, Probing, Switching, defaults};

/// No wait of the Edge has a reason to be longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Far beyond any head that is meant. Each connection may be reading one, so that it counts as often as there are any.
const LARGEST_HEAD: u64 = 1 << 20;

/// Sizes of a request's head: least, example, most.
const HEAD_SIZES: (u64, u64, u64) = (1 << 10, 64 << 10, LARGEST_HEAD);
/// Sizes of what requests may hold: least, example, most. With less, one connection could not have a page with all its
/// parts.
const MEMORY_SIZES: (u64, u64, u64) = (64 << 20, 512 << 20, 64 << 30);

/// No machine has descriptors for more; whatever is multiplied by it stays a number.
const MOST_CONNECTIONS: usize = 1 << 24;

/// Forty times what browsers use. Each stream costs something before its request is admitted.
const MOST_STREAMS: u32 = 4096;

pub(super) fn failback(written: Option<Short<FailbackFile>>, findings: &mut Findings) -> Option<Failback> {
    let Some(prefer) = written.and_then(|short| short.0.prefer_main) else { return Some(Failback::Sticky) };
    let at = KeyPath::top("failback").key("prefer-main");
    span(prefer.hold_down, defaults::HOLD_DOWN, &at.key("hold_down"), findings)
        .map(|hold_down| Failback::PreferMain { hold_down })
}

pub(super) fn probing(written: ProbeFile, findings: &mut Findings) -> Option<Probing> {
    let at = KeyPath::top("probe");
    let profile = defaults::profile(written.profile.unwrap_or(ProfileFile::Normal));
    let interval = span(written.interval, profile.interval, &at.key("interval"), findings);
    let time_limit = span(written.time_limit, profile.time_limit, &at.key("time_limit"), findings);
    let rise = count(written.rise, profile.rise, &at.key("rise"), findings).and_then(NonZeroU8::new);
    let fall = count(written.fall, profile.fall, &at.key("fall"), findings).and_then(NonZeroU8::new);
    let reprobe_refused = span(written.reprobe_refused, profile.reprobe_refused, &at.key("reprobe_refused"), findings);
    let reprobe_silent = span(written.reprobe_silent, profile.reprobe_silent, &at.key("reprobe_silent"), findings);
    let suspicion = span(written.suspicion, profile.suspicion, &at.key("suspicion"), findings);
    let stale_after = span(written.stale_after, profile.stale_after, &at.key("stale_after"), findings);
    let probing = Probing {
        interval: interval?,
        time_limit: time_limit?,
        rise: rise?,
        fall: fall?,
        reprobe_refused: reprobe_refused?,
        reprobe_silent: reprobe_silent?,
        suspicion: suspicion?,
        stale_after: stale_after?,
    };
    probe_relations(&probing, &at, findings);
    Some(probing)
}

fn probe_relations(probing: &Probing, at: &KeyPath, findings: &mut Findings) {
    let interval = probing.interval;
    if probing.suspicion > interval {
        // A probe comes once in `interval` anyway: a longer suspicion would never be the first to ask.
        let message = format!("{} is longer than the interval, {}", Span(probing.suspicion), Span(interval));
        findings.error(&at.key("suspicion"), message, "make it shorter: a probe would come sooner by itself");
    }
    for violation in probing.policy().validate().err().unwrap_or_default() {
        let remedy = "make them agree; conf/edge.yaml says how the figures of `probe` hang together";
        findings.error(&at.key(violation.field()), violation.to_string(), remedy);
    }
}

pub(super) fn switching(
    written: SwitchFile,
    observe: Option<bool>,
    probe: Option<&Probing>,
    findings: &mut Findings,
) -> Option<Switching> {
    use defaults::switch as default;
    let at = KeyPath::top("switch");
    let per_hour = count(written.switches_per_hour, default::PER_HOUR, &at.key("switches_per_hour"), findings)
        .and_then(NonZeroU32::new);
    let park_limit = span(written.park_limit, default::PARK_LIMIT, &at.key("park_limit"), findings);
    let park_requests = count(written.park_requests, default::PARK_REQUESTS, &at.key("park_requests"), findings)
        .and_then(NonZeroUsize::new);
    // Two kinds of absence: no line is the default, `all` is no pace at all.
    let rate = match written.reconnect_rate {
        Some(Short(rate)) => rate.0,
        None => Some(default::RECONNECT_RATE),
    };
    let reconnect_rate = match rate {
        None => Some(None),
        Some(rate) => count(Some(rate), rate, &at.key("reconnect_rate"), findings).and_then(NonZeroU32::new).map(Some),
    };
    let drain_limit = span(written.drain_limit, default::DRAIN_LIMIT, &at.key("drain_limit"), findings);
    let switching = Switching {
        observe: observe.unwrap_or(defaults::OBSERVE),
        per_hour: per_hour?,
        park_limit: park_limit?,
        park_requests: park_requests?,
        reconnect_rate: reconnect_rate?,
        drain_limit: drain_limit?,
    };
    // A warning, as nothing breaks by it: requests are answered with the page, which comes back by itself.
    if let Some(bound) =
        probe.map(|probe| probe.policy().detection_bound_silent()).filter(|bound| switching.park_limit <= *bound)
    {
        let message = format!(
            "{} is not longer than the {} a black-holed side takes to be left",
            Span(switching.park_limit),
            Span(bound)
        );
        findings.warn(
            &at.key("park_limit"),
            message,
            "make it longer, or parked requests fail before the switch saves them",
        );
    }
    Some(switching)
}

pub(super) fn limits(written: LimitsFile, findings: &mut Findings) -> Option<Limits> {
    use defaults::limits as default;
    let at = KeyPath::top("limits");
    let mut time = |written, default, key: &str| span(written, default, &at.key(key), findings);
    let client_hello = time(written.client_hello, default::CLIENT_HELLO, "client_hello");
    let handshake = time(written.handshake, default::HANDSHAKE, "handshake");
    let request_head = time(written.request_head, default::REQUEST_HEAD, "request_head");
    let keepalive = time(written.keepalive, default::KEEPALIVE, "keepalive");
    let request_body = time(written.request_body, default::REQUEST_BODY, "request_body");
    let connect = time(written.connect, default::CONNECT, "connect");
    let write_stall = time(written.write_stall, default::WRITE_STALL, "write_stall");
    let drain = time(written.drain, default::DRAIN, "drain");
    let head_bytes = size(written.head_bytes, default::HEAD_BYTES, HEAD_SIZES, &at.key("head_bytes"), findings);
    let memory = size(written.memory, default::MEMORY, MEMORY_SIZES, &at.key("memory"), findings);
    let fields_at = at.key("head_fields");
    let head_fields =
        count(written.head_fields, default::HEAD_FIELDS, &fields_at, findings).and_then(NonZeroUsize::new);
    if head_fields.is_some_and(|fields| fields.get() > MOST_HEAD_FIELDS) {
        findings.error(
            &fields_at,
            format!("more than {MOST_HEAD_FIELDS} are never read"),
            format!("write at most {MOST_HEAD_FIELDS}"),
        );
    }
    let all =
        count(written.connections, default::CONNECTIONS, &at.key("connections"), findings).and_then(NonZeroUsize::new);
    at_most(all, MOST_CONNECTIONS, &at.key("connections"), findings);
    let each_at = at.key("connections_per_client");
    // Whoever lowers `connections` alone should not have to lower this, too.
    let each_default = default::CONNECTIONS_PER_CLIENT.min(written.connections.unwrap_or(usize::MAX));
    let each = count(written.connections_per_client, each_default, &each_at, findings).and_then(NonZeroUsize::new);
    // Not said of a number that was refused itself: one mistake, one message.
    if each > all && all.is_some_and(|all| all.get() <= MOST_CONNECTIONS) {
        findings.error(&each_at, "is more than limits.connections", "make it smaller: one client is part of all");
    }
    let h2_streams =
        count(written.h2_streams, default::H2_STREAMS, &at.key("h2_streams"), findings).and_then(NonZeroU32::new);
    at_most(h2_streams, MOST_STREAMS, &at.key("h2_streams"), findings);
    Some(Limits {
        client_hello: client_hello?,
        handshake: handshake?,
        request_head: request_head?,
        keepalive: keepalive?,
        request_body: request_body?,
        head_bytes: head_bytes?,
        head_fields: head_fields?,
        connections: all?,
        connections_per_client: each?,
        h2_streams: h2_streams?,
        memory: memory?,
        connect: connect?,
        write_stall: write_stall?,
        drain: drain?,
    })
}

/// Notes a number that is greater than any that makes sense.
pub(super) fn at_most<W: Copy + Into<N>, N: PartialOrd + std::fmt::Display>(
    number: Option<W>,
    most: N,
    at: &KeyPath,
    findings: &mut Findings,
) {
    if number.is_some_and(|number| number.into() > most) {
        findings.error(at, format!("is more than {most}"), format!("write at most {most}"));
    }
}

/// A size within bounds, of which the second is an example.
fn size(
    written: Option<Size>,
    default: u64,
    (least, example, most): (u64, u64, u64),
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<NonZeroUsize> {
    let bytes = written.map_or(default, |size| size.0);
    if !(least..=most).contains(&bytes) {
        let bounds = format!("{} is not between {} and {}", Size(bytes), Size(least), Size(most));
        findings.error(at, bounds, format!("write a size such as {}", Size(example)));
        return None;
    }
    usize::try_from(bytes).ok().and_then(NonZeroUsize::new)
}

/// A time that is not zero and not absurd.
pub(super) fn span(
    written: Option<Span>,
    default: Duration,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<Duration> {
    let span = written.map_or(default, |span| span.0);
    // A limit of nothing would fail everything, and an interval of nothing never rest.
    if span.is_zero() {
        findings.error(at, "0s is no time", "write at least 1ms");
        return None;
    }
    if span > LONGEST {
        findings.error(at, format!("{} is longer than {}", Span(span), Span(LONGEST)), "write a shorter time");
        return None;
    }
    Some(span)
}

/// A number that is not zero.
pub(super) fn count<N: Copy + PartialEq + Default>(
    written: Option<N>,
    default: N,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<N> {
    let count = written.unwrap_or(default);
    if count == N::default() {
        findings.error(at, "0 is not possible here", "write at least 1");
        return None;
    }
    Some(count)
}
