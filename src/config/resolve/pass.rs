//! Connections that are handed on as they are: for which names, and where to.

use std::collections::HashMap;
use std::net::SocketAddr;

use settings::{Findings, KeyPath, quoted};

use super::super::file::{OneOrMany, PassFile};
use super::super::{Listen, Pass, ProxyHeader, UnknownName, address, defaults};
use super::{endpoints, item, tuning};

/// Every name but the site's, and none.
const ANY: &str = "*";

pub(super) fn pass(
    written: Option<Vec<PassFile>>,
    unknown_name: UnknownName,
    own: &[&str],
    listen: &Listen,
    findings: &mut Findings,
) -> Vec<Pass> {
    let at = KeyPath::top("pass");
    let mut taken = HashMap::new();
    let entries = written.unwrap_or_default().into_iter().enumerate();
    let passes: Vec<Pass> = entries
        .filter_map(|(index, entry)| {
            let at = at.item(index);
            let names = names(entry.names, own, &mut taken, &at.key("names"), findings);
            let to = addresses(entry.to, listen, &at.key("to"), findings);
            let idle = tuning::span(entry.idle, defaults::PASS_IDLE, &at.key("idle"), findings);
            let proxy_protocol = entry.proxy_protocol.unwrap_or(ProxyHeader::None);
            Some(Pass { names, to, proxy_protocol, idle: idle? })
        })
        .collect();
    if let (UnknownName::Refuse, Some(by)) = (unknown_name, taken.get(ANY)) {
        findings.error(
            &KeyPath::top("tls").key("unknown_name"),
            format!("is refuse, but {by} takes every other name"),
            "remove one of the two",
        );
    }
    passes
}

fn names(
    written: Option<OneOrMany<String>>,
    own: &[&str],
    taken: &mut HashMap<String, KeyPath>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Vec<String> {
    let Some(OneOrMany(written)) = written else {
        findings.missing(at, "is missing", "write the name clients ask for, such as `names: turn.example.org`");
        return Vec::new();
    };
    if written.is_empty() {
        findings.error(at, "the list is empty", "write at least one name, such as turn.example.org");
    }
    let mut names = Vec::new();
    for (index, name) in written.into_iter().enumerate() {
        let at = item(at, index, findings);
        let bare = name.strip_prefix("*.").unwrap_or(&name);
        if name != ANY && !address::is_hostname(bare) {
            let remedy = "write a name as clients send it, such as turn.example.org, *.example.org or xn--caf-dma.example, \
                          or * for every other one";
            findings.error(&at, format!("{} is no name in a ClientHello", quoted(&name)), remedy);
            continue;
        }
        let name = name.to_ascii_lowercase();
        if own.contains(&name.as_str()) {
            let remedy = "give the service a name of its own, or remove it here";
            findings.error(&at, format!("{} is a name of the site itself", quoted(&name)), remedy);
        } else if let Some(first) = taken.get(&name) {
            findings.error(&at, format!("{} is passed on already by {first}", quoted(&name)), "keep one of the two");
        } else {
            taken.insert(name.clone(), at);
            names.push(name);
        }
    }
    names
}

fn addresses(
    written: Option<OneOrMany<String>>,
    listen: &Listen,
    at: &KeyPath,
    findings: &mut Findings,
) -> Vec<SocketAddr> {
    const REMEDY: &str = "write IP address and port, such as 127.0.0.1:5349; names are not resolved";
    let Some(OneOrMany(written)) = written else {
        findings.missing(at, "is missing", REMEDY);
        return Vec::new();
    };
    if written.is_empty() {
        findings.error(at, "the list is empty", REMEDY);
    }
    let read = |(index, text): (usize, String)| {
        let at = item(at, index, findings);
        let address = text.parse::<SocketAddr>();
        let host =
            address.as_ref().is_ok_and(|to| to.port() != 0 && !to.ip().is_unspecified() && !to.ip().is_multicast());
        let Some(to) = address.ok().filter(|_| host) else {
            findings.error(&at, format!("{} is no address of a service", quoted(&text)), REMEDY);
            return None;
        };
        if let Some(listener) = endpoints::own_listener(&to, listen) {
            let remedy = "write the address of the service, or let one of the two have another port";
            findings.error(&at, format!("{to} is the Edge itself, which listens on {listener}"), remedy);
            return None;
        }
        Some(to)
    };
    written.into_iter().enumerate().filter_map(read).collect()
}
