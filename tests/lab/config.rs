//! Configuration files of a site.

use crate::asterisk::Asterisk;
use crate::certs::{FQDN, Pair};
use crate::machine::Machine;
use crate::net::Host;

/// Where XiVO nodes listen for votes, and where the Edge does.
pub(crate) const NODE: u16 = 9602;
pub(crate) const WITNESS: u16 = 9601;
/// What Asterisk listens on here: the usual ports, and one of the site's own.
pub(crate) const FENCED: &str = "ports: [5060, 5061, 5039, 5070], ";
/// Shorter than a site would have it: the lab waits for it often.
pub(crate) const HOLD_DOWN_SECONDS: u64 = 3;

/// A command as a YAML list.
fn list(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(", "))
}

fn services(command: impl Fn(&str) -> Vec<String>) -> String {
    format!(
        "services:\n  start: {{ command: {}, time_limit: 10s }}\n  stop: {{ command: {}, time_limit: 10s }}\n  \
         check: {{ command: {}, time_limit: 3s, interval: 1s }}\n",
        list(&command("start")),
        list(&command("stop")),
        list(&command("status")),
    )
}

fn common(machine: &Machine, role: &str, side: Option<&str>) -> String {
    let dir = machine.dir.display();
    let side = side.map_or(String::new(), |side| format!("side: {side}\n"));
    format!(
        "preset: xivo\nrole: {role}\n{side}name: {}\nidentity: {dir}/node\nstate: {dir}/state\n\
         control: /run/bascule/watchdog.sock\nmetrics: 127.0.0.1:9603\n",
        machine.host.name()
    )
}

/// The side a machine is on.
pub(crate) fn side(host: Host) -> Option<&'static str> {
    match host {
        Host::MainXivo | Host::MainCc => Some("main"),
        Host::StandbyXivo | Host::StandbyCc => Some("standby"),
        Host::Mds1 | Host::Edge | Host::Phone | Host::User => None,
    }
}

pub(crate) fn xivo(machine: &Machine, asterisk: &Asterisk) -> String {
    let host = machine.host;
    let peer = if host == Host::MainXivo { Host::StandbyXivo } else { Host::MainXivo };
    let (own, peer, edge, mds) = (host.address(), peer.address(), Host::Edge.address(), Host::Mds1.address());
    format!(
        "{}listen: {own}:{NODE}\npeer: {peer}:{NODE}\nwitness: {edge}:{WITNESS}\nmode: automatic\nfailback: auto\n\
         hold_down: {HOLD_DOWN_SECONDS}s\nhold_down_limit: {HOLD_DOWN_SECONDS}s\nanchors: [{mds}]\naccept_requests: true\nfence: nft\n\
         sip: {{ {FENCED}address: {own}, check: udp }}\nmds: {{ mds1: {mds} }}\n\
         asterisk: {{ command: {}, name: \"{{mds}}\" }}\n{}",
        common(machine, "xivo", side(host)),
        list(&asterisk.console()),
        services(|verb| asterisk.service(verb)),
    )
}

pub(crate) fn cc(machine: &Machine, service: impl Fn(&str) -> Vec<String>) -> String {
    let xivo = if machine.host == Host::MainCc { Host::MainXivo } else { Host::StandbyXivo };
    format!(
        "{}xivo: {}:{NODE}\nedge: {}:{WITNESS}\n{}",
        common(machine, "cc", side(machine.host)),
        xivo.address(),
        Host::Edge.address(),
        services(service),
    )
}

pub(crate) fn mds(machine: &Machine, asterisk: &Asterisk) -> String {
    format!(
        "{}edge: {}:{WITNESS}\nxivo: {{ main: {}, standby: {} }}\nasterisk: {{ command: {} }}\n",
        common(machine, "mds", None),
        Host::Edge.address(),
        Host::MainXivo.address(),
        Host::StandbyXivo.address(),
        list(&asterisk.console()),
    )
}

/// The Edge: with the endpoint for the nodes, or alone.
pub(crate) fn edge(machine: &Machine, shown: &Pair, ca: &std::path::Path, nodes: bool) -> String {
    let dir = machine.dir.display();
    let address = |host: Host| host.address();
    let nodes = if nodes {
        format!("nodes: {{ listen: {}:{WITNESS}, identity: {dir}/node }}\n", address(Host::Edge))
    } else {
        String::new()
    };
    format!(
        "preset: xivo\nfqdn: {FQDN}\ncertificate: {{ chain: {}, key: {} }}\nsides:\n  main: {{ cc: {}, xivo: {} }}\n  \
         standby: {{ cc: {}, xivo: {} }}\nshared:\n  sip: http://127.0.0.1:{}\n  mds: {{ mds1: {} }}\n\
         upstream_tls: {{ ca: {}, name: {FQDN} }}\nstate: {dir}/state\nadmin: /run/bascule/admin.sock\n\
         probe: {{ profile: fast }}\nswitch: {{ switches_per_hour: 1000 }}\n{nodes}",
        shown.chain.display(),
        shown.key.display(),
        address(Host::MainCc),
        address(Host::MainXivo),
        address(Host::StandbyCc),
        address(Host::StandbyXivo),
        crate::relay::PORT,
        address(Host::Mds1),
        ca.display(),
    )
}
