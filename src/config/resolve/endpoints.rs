//! Where the Edge is reached, where it keeps its state, how it logs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

pub(super) use settings::absolute;
use settings::{Findings, KeyPath, nearest, quoted};
use tracing_subscriber::EnvFilter;

use super::super::address;
use super::super::defaults;
use super::super::file::{AdminFile, ListenFile, ListenerFile, LogFile, OneOrMany, ProxyFile, Short};
use super::super::{Admin, Listen, Log, LogFormat, Network, Place, Proxied, Service};
use super::item;

pub(super) fn listen(written: Option<ListenFile>, findings: &mut Findings) -> Listen {
    let at = KeyPath::top("listen");
    let written = written.unwrap_or_default();
    let default = |text: &&str| Short(ListenerFile { address: Some((*text).to_owned()), proxy_protocol: None });
    let https = written.https.unwrap_or_else(|| OneOrMany(defaults::HTTPS.iter().map(default).collect()));
    let http = written.http.unwrap_or(OneOrMany(Vec::new()));
    if https.0.is_empty() {
        findings.error(&at.key("https"), "the list is empty", "write at least one address, such as 0.0.0.0:443");
    }
    let (mut seen, mut proxied) = (HashMap::new(), Vec::new());
    let mut listeners = |list: OneOrMany<Short<ListenerFile>>, at: &KeyPath, findings: &mut Findings| {
        let mut addresses = Vec::new();
        for (index, Short(written)) in list.0.into_iter().enumerate() {
            let at = item(at, index, findings);
            let from = written.proxy_protocol.map(|proxies| believed(proxies, &at.key("proxy_protocol"), findings));
            let Some(address) = listener(written.address.as_deref(), &at, findings) else { continue };
            if let Some(first) = seen.insert(address, at.to_string()) {
                findings.error(&at, format!("{address} is listened on already by {first}"), "keep one of the two");
            }
            proxied.extend(from.map(|from| Proxied { listener: address, from }));
            addresses.push(address);
        }
        addresses
    };
    let https = listeners(https, &at.key("https"), findings);
    let http = listeners(http, &at.key("http"), findings);
    let all = https.iter().chain(&http);
    // Listeners take one family each: `[::]` alone leaves out everybody without IPv6.
    for alone in all.clone().filter(|one| one.is_ipv6() && one.ip().is_unspecified()) {
        let port = alone.port();
        if !all.clone().any(|other| other.is_ipv4() && other.port() == port) {
            findings.warn(&at, format!("{alone} takes IPv6 alone"), format!("list 0.0.0.0:{port} beside it for IPv4"));
        }
    }
    Listen { https, http, proxied }
}

fn listener(written: Option<&str>, at: &KeyPath, findings: &mut Findings) -> Option<SocketAddr> {
    let address_at = if findings.tree().has(&at.key("address")) { at.key("address") } else { at.clone() };
    let Some(text) = written else {
        findings.missing(&at.key("address"), "is missing", "write IP address and port, such as 0.0.0.0:443");
        return None;
    };
    address::listener(text).map_err(|(message, remedy)| findings.error(&address_at, message, remedy)).ok()
}

/// Who may say where connections come from.
fn believed(written: ProxyFile, at: &KeyPath, findings: &mut Findings) -> Vec<Network> {
    let missing = "write who sends the header, such as 10.0.0.0/8; nobody else is believed";
    let everybody = ("lets everybody say who they are", "write the networks of the proxies alone");
    networks(written.from, &at.key("from"), missing, everybody, findings)
}

/// Networks that are let in somewhere: some, and not the whole internet. `missing` is the remedy when there are none.
pub(super) fn networks(
    written: Option<OneOrMany<String>>,
    at: &KeyPath,
    missing: &str,
    (everybody, alone): (&str, &str),
    findings: &mut Findings,
) -> Vec<Network> {
    let written = written.map(|list| list.0).unwrap_or_default();
    if written.is_empty() {
        findings.missing(at, "is missing", missing);
    }
    let mut networks = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let at = item(at, index, findings);
        match Network::parse(text) {
            Ok(network) if network.is_everybody() => findings.error(&at, format!("{network} {everybody}"), alone),
            Ok(network) => networks.push(network),
            Err((message, remedy)) => findings.error(&at, message, remedy),
        }
    }
    networks
}

/// A request sent to the Edge's own listener would come back to it until something gives way.
pub(super) fn nobody_calls_the_edge(services: &[Service], listen: &Listen, findings: &mut Findings) {
    let backends = services.iter().flat_map(|service| {
        let all = match &service.place {
            Place::Sides { main, standby } => main.iter().chain(standby),
            Place::Shared(backends) => backends.iter().chain(&[]),
        };
        all.map(move |backend| (service, backend))
    });
    for (service, backend) in backends {
        let address = backend.address;
        if let Some(listener) = own_listener(&address, listen) {
            findings.error(
                &KeyPath::top("listen"),
                format!("{address}, a backend of {}, is the Edge itself, which listens on {listener}", service.name),
                "write the address of the service, or let one of the two have another port",
            );
        }
    }
}

/// The listener that would be reached at `address`.
pub(super) fn own_listener(address: &SocketAddr, listen: &Listen) -> Option<SocketAddr> {
    let own = |listener: &&SocketAddr| {
        // A listener on all addresses is reached by each address of this host.
        let every = listener.ip().is_unspecified() && listener.is_ipv4() == address.is_ipv4();
        listener.port() == address.port() && (listener.ip() == address.ip() || every && is_of_this_host(address.ip()))
    };
    listen.https.iter().chain(&listen.http).find(own).copied()
}

/// Whether the system would deliver to itself what is sent there. Nothing is sent: connecting a datagram socket only asks
/// which address of this host would be used. (Binding would not tell where `ip_nonlocal_bind` is set.)
fn is_of_this_host(ip: IpAddr) -> bool {
    let any = if ip.is_ipv4() { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    ip.is_loopback() || ip.is_unspecified() || from.is_ok_and(|from| from.ip() == ip)
}

pub(super) fn metrics(written: Option<String>, listen: &Listen, findings: &mut Findings) -> Option<SocketAddr> {
    let at = KeyPath::top("metrics");
    let text = written.as_deref().unwrap_or(defaults::METRICS);
    if text == "off" {
        return None;
    }
    let address = address::listener(text)
        .map_err(|(message, _)| findings.error(&at, message, "write an address such as 127.0.0.1:9600, or off"));
    let address = address.ok()?;
    // One port cannot be both, and metrics ask nobody who they are.
    if let Some(public) = listen.https.iter().chain(&listen.http).find(|public| overlap(public, &address)) {
        findings.error(&at, format!("{address} is the public address {public}"), "give metrics a port of their own");
    } else if address.ip().is_unspecified() {
        findings.warn(
            &at,
            format!("{address} is reached from everywhere"),
            "write an address of the management network, or filter the port",
        );
    }
    Some(address)
}

/// Whether two listeners would be in each other's way.
pub(super) fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    one.port() == other.port() && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

pub(super) fn admin(written: Option<Short<AdminFile>>, findings: &mut Findings) -> Admin {
    let at = KeyPath::top("admin");
    let AdminFile { socket, group } = written.map(|short| short.0).unwrap_or_default();
    let socket_at = if findings.tree().has(&at.key("socket")) { at.key("socket") } else { at.clone() };
    let socket = PathBuf::from(socket.unwrap_or_else(|| defaults::ADMIN_SOCKET.to_owned()));
    absolute(&socket, &socket_at, findings);
    // `sun_path` has 108 bytes on Linux, the last of which is a zero.
    if socket.as_os_str().len() > 107 {
        findings.error(
            &socket_at,
            "the path is longer than 107 bytes, more than a unix socket can have",
            "write a shorter one",
        );
    }
    if group.as_deref().is_some_and(|group| group.is_empty() || group.contains([' ', ':'])) {
        findings.error(&at.key("group"), "is no name of a group", "write a group from /etc/group, or remove the line");
    }
    Admin { socket, group }
}

pub(super) fn state(written: Option<String>, findings: &mut Findings) -> PathBuf {
    let state = PathBuf::from(written.unwrap_or_else(|| defaults::STATE.to_owned()));
    absolute(&state, &KeyPath::top("state"), findings);
    state
}

pub(super) fn log(written: LogFile, findings: &mut Findings) -> Log {
    let level = written.level.unwrap_or_else(|| defaults::LOG_LEVEL.to_owned());
    if let Some(message) = level_flaw(&level) {
        findings.error(
            &KeyPath::top("log").key("level"),
            message,
            "write error, warn, info, debug, trace or off, or `info,bascule=debug`",
        );
    }
    let format = written.format.unwrap_or(LogFormat::Auto);
    Log { format, level, access: written.access.unwrap_or(defaults::ACCESS_LOG) }
}

/// `tracing` takes any word without `=` for the name of a target; here it is a mistyped level.
fn level_flaw(level: &str) -> Option<String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let bare = level
        .split(',')
        .map(str::trim)
        .find(|part| !part.contains('=') && !LEVELS.contains(&part.to_ascii_lowercase().as_str()));
    if let Some(word) = bare {
        let meant = nearest(word, LEVELS).map(|near| format!(", did you mean {near}")).unwrap_or_default();
        return Some(format!("{} is not a level{meant}", quoted(word)));
    }
    // Parsed as it is at the start (`telemetry::logging`), where it could be refused without its line only.
    let error = EnvFilter::builder().parse(level).err()?;
    Some(format!("{} is not a filter: {error}", quoted(level)))
}
