//! Where Asterisk listens, by its own word: PJSIP's transports, its web server's WebSocket, the older `chan_sip`; and the
//! ports of the servers it registers with, which it reaches from a port of no meaning when that is not over UDP.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::table;

/// Ports by number, each with all that it is there for: who looks for UDP must not read of TCP alone. The fence itself holds
/// for both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    of: BTreeMap<u16, String>,
}

/// A port, and what it is there for.
pub type Port = (u16, String);

/// Reads the ports out of one command's answer.
type Read = fn(&str) -> Vec<Port>;

/// What is asked, and how the answer is read.
pub(super) const ASKED: [(&str, Read); 4] = [
    ("pjsip show transports", transports),
    ("http show status", websocket),
    ("sip show settings", chan_sip),
    ("pjsip show registrations", servers),
];

impl Ports {
    pub(super) fn extend(&mut self, found: impl IntoIterator<Item = Port>) {
        for (port, what) in found {
            let all = self.of.entry(port).or_default();
            if !all.split("; ").any(|known| known == what) {
                let between = if all.is_empty() { "" } else { "; " };
                all.push_str(between);
                all.push_str(&what);
            }
        }
    }

    /// Says which ports a fence does not reach, if any.
    pub fn beyond(&self, fenced: &[u16]) -> Option<String> {
        let open: Vec<_> = self.of.iter().filter(|(port, _)| !fenced.contains(port)).collect();
        let named: Vec<_> = open.iter().map(|(port, what)| format!("{port} ({what})")).collect();
        let all: Vec<_> = fenced.iter().chain(open.iter().map(|(port, _)| *port)).map(ToString::to_string).collect();
        (!open.is_empty()).then(|| {
            format!(
                "the fence leaves ports of Asterisk's open: {}; write `sip: {{ ports: [{}] }}` and restart the watchdog",
                named.join(", "),
                all.join(", ")
            )
        })
    }

    /// Says in one sentence which they are, and what for.
    pub fn sentence(&self) -> String {
        let named: Vec<_> = self.of.iter().map(|(port, what)| format!("{port} ({what})")).collect();
        named.join(", ")
    }
}

/// Reads `Transport:  transport-udp   udp   0   0  0.0.0.0:5060`. Those of WebSockets have no port of their own.
pub(super) fn transports(text: &str) -> Vec<Port> {
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix("Transport:"));
    rows.filter_map(|row| {
        let words: Vec<_> = row.split_whitespace().collect();
        let [name, kind, .., bound] = words[..] else { return None };
        let address = reachable(bound)?;
        (!matches!(kind, "ws" | "wss")).then(|| (address, format!("{kind}, transport {name}")))
    })
    .collect()
}

/// Reads `Server Enabled and Bound to 0.0.0.0:5039`, if phones find a WebSocket there.
pub(super) fn websocket(text: &str) -> Vec<Port> {
    // A web server without it serves no phones.
    if !text.contains("HTTP WebSocket") {
        return Vec::new();
    }
    let bound = text.lines().filter_map(|line| line.trim().split_once("Enabled and Bound to ").map(|(_, bound)| bound));
    bound.filter_map(|bound| Some((reachable(bound)?, "WebSocket, http.conf".to_owned()))).collect()
}

/// Reads `UDP Bindaddress:        0.0.0.0:5060` of `chan_sip`.
pub(super) fn chan_sip(text: &str) -> Vec<Port> {
    let bound = text.lines().filter_map(|line| line.trim().split_once("Bindaddress:"));
    bound.filter_map(|(what, bound)| Some((reachable(bound)?, format!("{}, chan_sip", what.trim())))).collect()
}

fn servers(text: &str) -> Vec<Port> {
    let registrations = table::registrations(text).unwrap_or_default();
    let ports = registrations.into_iter().filter_map(|found| Some((found.port?, found.name)));
    ports.map(|(port, name)| (port, format!("server of registration {name}"))).collect()
}

/// The port of an address that others reach: not of one that is of this host alone, and not of none.
fn reachable(bound: &str) -> Option<u16> {
    let address: SocketAddr = bound.trim().parse().ok()?;
    (address.port() > 0 && !address.ip().is_loopback()).then_some(address.port())
}
