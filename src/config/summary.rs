//! What `bascule check` shows: what a file came to.

use std::fmt;

use failover::Side;

use super::file::{Size, Span};
use super::{
    Backend, Check, CheckKind, Config, Failback, ProxyHeader, Service, SipTransport, UnknownName, Verify, Warning, Zone,
};

/// What a file came to, for people: displays as lines.
#[derive(Debug)]
pub struct Summary<'a> {
    config: &'a Config,
    warnings: &'a [Warning],
}

impl Config {
    /// Says what was resolved, and `warnings` with it.
    pub fn summary<'a>(&'a self, warnings: &'a [Warning]) -> Summary<'a> {
        Summary { config: self, warnings }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        write!(f, "{}", config.fqdn)?;
        config.aliases.iter().try_for_each(|alias| write!(f, ", {alias}"))?;
        writeln!(f, " on {}", list(&config.listen.https))?;
        for proxied in &config.listen.proxied {
            writeln!(f, "{} believes by the PROXY protocol: {}", proxied.listener, list(&proxied.from))?;
        }
        for side in [Side::Main, Side::Standby] {
            writeln!(f, "{}", if side == Side::Main { "main" } else { "standby" })?;
            for service in config.services.iter().filter(|service| !service.is_shared()) {
                service_line(f, service, service.backends(side))?;
            }
        }
        let shared: Vec<_> = config.services.iter().filter(|service| service.is_shared()).collect();
        if !shared.is_empty() {
            writeln!(f, "shared")?;
            shared.iter().try_for_each(|service| service_line(f, service, service.backends(Side::Main)))?;
        }
        write!(f, "routes: {}", config.routes.len())?;
        for (index, left) in config.left_out.iter().enumerate() {
            let lead = if index == 0 { "; left out: " } else { ", " };
            write!(f, "{lead}{} (no {})", left.path, left.service)?;
        }
        writeln!(f)?;
        passes(f, config)?;
        if let Some(live) = &config.live {
            writeln!(f, "the live side is told: http://{}/live, to {}", live.listen, list(&live.from))?;
        }
        bounds(f, config)?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

/// What is handed on undecrypted; nothing is said where nothing is.
fn passes(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    for pass in &config.pass {
        write!(f, "passed on as it comes: {} to {}, ", pass.names.join(", "), list(&pass.to))?;
        match pass.proxy_protocol {
            ProxyHeader::None => {}
            ProxyHeader::V1 => write!(f, "told by PROXY v1 who the client is, ")?,
            ProxyHeader::V2 => write!(f, "told by PROXY v2 who the client is, ")?,
        }
        writeln!(f, "ended when nothing moves for {}", Span(pass.idle))?;
    }
    match config.unknown_name {
        UnknownName::Serve => Ok(()),
        UnknownName::Refuse => writeln!(f, "a ClientHello that asks for another name, or none, is refused"),
    }
}

fn service_line(f: &mut fmt::Formatter<'_>, service: &Service, backends: &[Backend]) -> fmt::Result {
    let scheme = if service.tls.is_some() { "https" } else { "http" };
    let addresses: Vec<_> = backends.iter().map(|backend| format!("{scheme}://{}", backend.address)).collect();
    let addresses = if addresses.is_empty() { "nowhere".to_owned() } else { addresses.join(" ") };
    write!(f, "  {}{}: {addresses}", service.name, if service.required { " (required)" } else { "" })?;
    if let Some(tls) = &service.tls {
        let trust = match &tls.verify {
            Verify::System => "the system's roots".to_owned(),
            Verify::Ca(path) => path.display().to_string(),
            Verify::Pin(pins) => format!("{} pinned", if pins.len() == 1 { "a key" } else { "keys" }),
            // In capitals, as it is the one kind of trust that is none.
            Verify::Off => "NOT VERIFIED".to_owned(),
        };
        write!(f, ", trust: {trust}")?;
    }
    let checks: Vec<_> = service.checks.iter().map(check_in_words).collect();
    writeln!(f, ", checks: {}", if checks.is_empty() { "tcp".to_owned() } else { checks.join(", ") })
}

fn check_in_words(check: &Check) -> String {
    let port = check.port.map(|port| format!(" on port {port}")).unwrap_or_default();
    match &check.kind {
        CheckKind::Tcp => format!("tcp{port}"),
        CheckKind::Tls(_) => format!("tls{port}"),
        CheckKind::Http(http) => {
            let json = if http.json { " with JSON" } else { "" };
            format!("{} {}{port} answers {}{json}", http.method, http.path, statuses(&http.status))
        }
        CheckKind::WebSocket(upgrade) => format!("WebSocket {}{port}", upgrade.path),
        CheckKind::Sip(sip) => {
            let transport = if sip.transport == SipTransport::Udp { "udp" } else { "tcp" };
            format!("SIP OPTIONS over {transport}{port} answers {}", statuses(&sip.status))
        }
    }
}

fn bounds(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    let policy = config.probe.policy();
    writeln!(
        f,
        "a killed upstream is left at most {} after the first bad sign, a silent one {}; with no traffic to give one, {} \
         and {} after the fault",
        Span(policy.detection_bound_refused()),
        Span(policy.detection_bound_silent()),
        Span(policy.fault_bound_refused()),
        Span(policy.fault_bound_silent())
    )?;
    let back = match config.failback {
        Failback::Sticky => "sticky".to_owned(),
        Failback::PreferMain { hold_down } => format!("to Main once it has worked for {}", Span(hold_down)),
    };
    let drain = Span(config.switch.drain_limit);
    match config.switch.reconnect_rate {
        Some(rate) => {
            // Rate and limit bound each other, and nobody multiplies them in their head.
            let paced = u64::from(rate.get()) * config.switch.drain_limit.as_secs();
            writeln!(
                f,
                "a switch closes the sessions of {rate} users a second, what is left after {drain} ({paced} users) at once"
            )?;
        }
        None => writeln!(f, "a switch closes the sessions of all users at once, by force after {drain}")?,
    }
    memory(f, config)?;
    zones(f, config)?;
    let moves = if config.switch.observe { "observes only: moves nothing" } else { "moves traffic" };
    writeln!(f, "failback: {back}; at most {} automatic switches an hour; {moves}", config.switch.per_hour)?;
    match &config.nodes {
        None => writeln!(f, "nodes: none; judged by probes alone"),
        Some(nodes) => writeln!(
            f,
            "nodes: {}; the witness keeps a promise for {}, and after a lost disk is quiet for {}",
            nodes.listen,
            Span(nodes.timing.promise),
            Span(nodes.timing.quiet)
        ),
    }
}

/// What a connection costs besides the head it is reading and the requests it carries: TLS and HTTP, or a WebSocket with both
/// its chunks full. Measured in a release build, 200 of each, at most: 20 KiB idle over HTTP/1, 46 KiB over h2; a WebSocket 20 KiB
/// idle and 58 KiB when neither end reads. An HTTP/1 request that nobody reads holds 94 KiB, of which `budget` counts 74: the
/// rest, a TLS record, is the connection's. What is left of it is for uploads that are answered before they end.
pub(crate) const CONNECTION: u64 = 96 << 10;
/// What the Edge needs before anybody comes.
const ALONE: u64 = 64 << 20;

impl Config {
    /// What all clients together can make the Edge hold in memory, in bytes.
    pub fn memory_bound(&self) -> u64 {
        let bytes = |size: std::num::NonZeroUsize| u64::try_from(size.get()).unwrap_or(u64::MAX);
        // A head is read before its request is admitted, so `limits.memory` does not count it: each connection may be
        // reading one.
        let each = CONNECTION + bytes(self.limits.head_bytes);
        ALONE + bytes(self.limits.memory) + each * bytes(self.limits.connections) + self.accounts_bound()
    }

    /// What the zones remember of client addresses, in bytes.
    fn accounts_bound(&self) -> u64 {
        self.zones.iter().map(Zone::bytes).sum()
    }
}

/// What a zone remembers of one client address.
const ACCOUNT: u64 = 16;
/// Accounts of a set: a zone's room is rounded up to whole ones (`traffic::zones::table`).
const ACCOUNTS: u64 = 8;

impl Zone {
    /// What it remembers of client addresses, in bytes: `traffic/zones/table` makes its room a power of two.
    pub fn bytes(&self) -> u64 {
        let addresses = u64::try_from(self.addresses.get()).unwrap_or(u64::MAX / 2);
        addresses.div_ceil(ACCOUNTS).checked_next_power_of_two().unwrap_or(1).saturating_mul(ACCOUNT * ACCOUNTS)
    }
}

/// Zones, and what they remember at most. What delayed requests hold is counted by `limits.memory`.
fn zones(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    if config.zones.is_empty() {
        return writeln!(f, "zones: none; no request rates are limited");
    }
    let limits = &config.rate_limits;
    writeln!(
        f,
        "zones: per client address, IPv6 by /{}; {} for their accounts; {} requests at most wait for their time",
        limits.ipv6_prefix,
        Size(config.accounts_bound()),
        limits.delayed,
    )?;
    for zone in &config.zones {
        let how = if zone.delay { "delayed" } else { "not delayed" };
        let (name, rate, burst, addresses, size) = (&zone.name, zone.rate, zone.burst, zone.addresses, zone.bytes());
        writeln!(f, "  {name}: {rate}, burst {burst}, {how}; {addresses} addresses in {}", Size(size))?;
    }
    let exempt = if limits.exempt.is_empty() { "nobody".to_owned() } else { list(&limits.exempt) };
    match limits.relax {
        None => writeln!(f, "  exempt: {exempt}; no wider after a switch"),
        Some(relax) => {
            let (factor, over) = (relax.factor, Span(relax.over));
            writeln!(f, "  exempt: {exempt}; after a switch {factor} times as wide, and as before within {over}")
        }
    }
}

fn memory(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    let limits = &config.limits;
    let mib = |bytes: u64| format!("{}MiB", bytes.div_ceil(1 << 20));
    writeln!(
        f,
        "memory: {} at most, whatever clients do: {} connections of {} (limits.connections; a head of limits.head_bytes each) \
         and {} for requests under way (limits.memory); the accounts of the zones are in it",
        mib(config.memory_bound()),
        limits.connections,
        Size(CONNECTION + limits.head_bytes.get() as u64),
        Size(limits.memory.get() as u64),
    )
}

fn statuses(ranges: &[(u16, u16)]) -> String {
    let words: Vec<_> =
        ranges.iter().map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") }).collect();
    words.join(" or ")
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
