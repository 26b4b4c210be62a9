//! How programs that are no part of the Edge learn which side is live: by a file, or over HTTP on other machines.

use std::net::SocketAddr;
use std::path::PathBuf;

use settings::{Findings, KeyPath};

use super::super::file::LiveListenFile;
use super::super::{Admin, Listen, LiveListen, Nodes, address, defaults};
use super::endpoints::{absolute, networks, overlap};

/// Beside the admin socket unless it is written, as both are of no use after a restart of the machine.
pub(super) fn live_file(written: Option<String>, admin: &Admin, findings: &mut Findings) -> Option<PathBuf> {
    match written.as_deref() {
        Some("off") => None,
        Some(text) => {
            let path = PathBuf::from(text);
            absolute(&path, &KeyPath::top("live_file"), findings);
            Some(path)
        }
        None => Some(admin.socket.with_file_name(defaults::LIVE_FILE)),
    }
}

/// None when there is no such endpoint, or an error was noted.
pub(super) fn endpoint(
    written: Option<LiveListenFile>,
    listen: &Listen,
    metrics: Option<SocketAddr>,
    nodes: Option<&Nodes>,
    findings: &mut Findings,
) -> Option<LiveListen> {
    let LiveListenFile { listen: address, from } = written?;
    let at = KeyPath::top("live");
    let missing = "write the addresses of the machines that ask, such as 10.1.0.50; nobody else gets an answer";
    // It takes no orders and tells one word, but its places are few, and strangers would fill them.
    let everybody = ("lets everybody take the places of the helpers", "write the machines that ask, or their network");
    let from = networks(from, &at.key("from"), missing, everybody, findings);
    let at = at.key("listen");
    let Some(text) = address else {
        findings.missing(&at, "is missing", "write the address helpers ask, such as 10.1.0.41:9604");
        return None;
    };
    let address = address::listener(&text).map_err(|(message, remedy)| findings.error(&at, message, remedy)).ok()?;
    let nodes = nodes.map(|nodes| nodes.listen);
    let mut taken = listen.https.iter().chain(&listen.http).copied().chain(metrics).chain(nodes);
    if let Some(other) = taken.find(|other| overlap(other, &address)) {
        let message = format!("{address} is used already, by {other} of listen, metrics or nodes");
        findings.error(&at, message, "give the live side a port of its own");
    }
    Some(LiveListen { listen: address, from })
}
