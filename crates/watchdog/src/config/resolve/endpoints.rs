//! Where it is reached, and where it keeps things. Addresses, too.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use settings::{Findings, KeyPath, absolute, address, quoted};

use crate::config::defaults;
use crate::config::file::File;

pub(super) struct Endpoints {
    pub(super) identity: PathBuf,
    pub(super) state: PathBuf,
    pub(super) control: PathBuf,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) legacy_failover: Option<PathBuf>,
}

pub(super) fn resolve(file: &mut File, findings: &mut Findings) -> Endpoints {
    let mut path = |key: &str, written: Option<String>, default: &str| {
        let path = PathBuf::from(written.unwrap_or_else(|| default.to_owned()));
        absolute(&path, &KeyPath::top(key), findings);
        path
    };
    let identity = path("identity", file.identity.take(), defaults::IDENTITY);
    let state = path("state", file.state.take(), defaults::STATE);
    let control = path("control", file.control.take(), defaults::CONTROL);
    let legacy_failover = match file.legacy_failover.take() {
        Some(word) if word == "off" => None,
        written => Some(path("legacy_failover", written, defaults::LEGACY_FAILOVER)),
    };
    // The handover and the socket's own directory stand beside it, with longer names.
    if control.as_os_str().len() > 90 {
        findings.error(&KeyPath::top("control"), "the path is longer than 90 bytes", "write a shorter one");
    }
    Endpoints { identity, state, control, metrics: metrics(file.metrics.take(), findings), legacy_failover }
}

fn metrics(written: Option<String>, findings: &mut Findings) -> Option<SocketAddr> {
    let at = KeyPath::top("metrics");
    let text = written.as_deref().unwrap_or(defaults::METRICS);
    if text == "off" {
        return None;
    }
    let address = match address::listener(text) {
        Ok(address) => address,
        Err((message, _)) => {
            findings.error(&at, message, "write an address such as 127.0.0.1:9603, or off");
            return None;
        }
    };
    if address.ip().is_unspecified() {
        findings.warn(
            &at,
            format!("{address} is reached from everywhere"),
            "write an address of the management network, or filter the port",
        );
    }
    Some(address)
}

/// IP address and port at a key of the top.
pub(super) fn endpoint(key: &str, text: &str, example: &str, findings: &mut Findings) -> Option<SocketAddr> {
    let at = KeyPath::top(key);
    match address::listener(text) {
        Ok(address) => Some(address),
        Err((message, _)) => {
            let remedy = format!("write IP address and port, such as {example}; names are not resolved here");
            findings.error(&at, message, remedy);
            None
        }
    }
}

/// The address and port of another host.
pub(super) fn remote(key: &str, text: &str, example: &str, findings: &mut Findings) -> Option<SocketAddr> {
    let address = endpoint(key, text, example, findings)?;
    is_host(address.ip(), text, &KeyPath::top(key), findings).then_some(address)
}

/// An IP address of a host.
pub(super) fn host(text: &str, at: &KeyPath, findings: &mut Findings) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(ip) => is_host(ip, text, at, findings).then_some(ip),
        Err(_) => {
            findings.error(
                at,
                format!("{} is not an IP address", quoted(text)),
                "write an address such as 10.0.0.1; names are not resolved here, so that a dead DNS stops nobody",
            );
            None
        }
    }
}

fn is_host(ip: IpAddr, text: &str, at: &KeyPath, findings: &mut Findings) -> bool {
    let none = ip.is_unspecified() || ip.is_multicast();
    if none {
        findings.error(at, format!("{} is no address of a host", quoted(text)), "write the other host's address");
    }
    !none
}
