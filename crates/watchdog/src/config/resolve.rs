//! From what was written to what is meant: the only validation there is. Each part notes its errors and gives what it can.

mod commands;
mod endpoints;
mod nodes;
mod timing;
mod xivo;

use failover::Side;
use protocol::wire;
use protocol::wire::Role::{Cc, Mds, Xivo};
use settings::{Findings, KeyPath, quoted};

use super::file::File;
use super::{Config, Role};

/// Keys that are not for every role.
const FOR_ROLES: &[(&str, &[wire::Role])] = &[
    ("side", &[Xivo, Cc]),
    ("listen", &[Xivo]),
    ("peer", &[Xivo]),
    ("witness", &[Xivo]),
    ("edge", &[Cc, Mds]),
    ("xivo", &[Cc, Mds]),
    ("mode", &[Xivo]),
    ("failback", &[Xivo]),
    ("window", &[Xivo]),
    ("hold_down", &[Xivo]),
    ("hold_down_limit", &[Xivo]),
    ("alone", &[Xivo]),
    ("anchors", &[Xivo]),
    ("accept_requests", &[Xivo]),
    ("fence", &[Xivo]),
    ("retry", &[Xivo, Cc]),
    ("retry_limit", &[Xivo, Cc]),
    ("sip", &[Xivo]),
    ("mds", &[Xivo]),
    ("asterisk", &[Xivo, Mds]),
    ("services", &[Xivo, Cc]),
    ("replication", &[Xivo]),
    ("ready", &[Cc]),
    ("legacy_failover", &[Xivo]),
];

/// Resolves a file. None when an error was noted.
pub(super) fn resolve(mut file: File, findings: &mut Findings) -> Option<Config> {
    let name = name(file.name.take(), findings);
    let endpoints = endpoints::resolve(&mut file, findings);
    let Some(role) = file.role else {
        let at = KeyPath::top("role");
        findings.missing(&at, "is missing", "write `role: xivo`, `role: cc` or `role: mds`");
        return None;
    };
    // A key that this role does not read would be taken for set: a CC with a `witness` is not voted for.
    for (key, roles) in FOR_ROLES {
        let at = KeyPath::top(key);
        if !roles.contains(&role) && findings.tree().has(&at) {
            let remedy = format!("remove it; it is for {}", roles.iter().map(word).collect::<Vec<_>>().join(" and "));
            findings.error(&at, format!("has no meaning for {}", word(&role)), remedy);
        }
    }
    // Telephony that was restarted in place of a stop would serve beside its peer.
    for key in ["restart", "instance"] {
        let at = KeyPath::top("services").key(key);
        if role != Cc && findings.tree().has(&at) {
            findings.error(&at, format!("has no meaning for {}", word(&role)), "remove it; it is for role: cc");
        }
    }
    let role = match role {
        Xivo => xivo::resolve(file, findings).map(|xivo| Role::Xivo(Box::new(xivo))),
        Cc => nodes::cc(file, findings).map(|cc| Role::Cc(Box::new(cc))),
        Mds => nodes::mds(file, findings).map(Role::Mds),
    };
    if findings.has_errors() {
        return None;
    }
    let endpoints::Endpoints { identity, state, control, metrics, legacy_failover } = endpoints;
    Some(Config { name, role: role?, identity, state, control, metrics, legacy_failover })
}

fn word(role: &wire::Role) -> String {
    format!("role: {role}")
}

fn side(written: Option<Side>, findings: &mut Findings) -> Option<Side> {
    if written.is_none() {
        let remedy = "write which half of the site this node is: `side: main` or `side: standby`";
        findings.missing(&KeyPath::top("side"), "is missing", remedy);
    }
    written
}

fn name(written: Option<String>, findings: &mut Findings) -> Option<String> {
    let name = written?;
    if is_name(&name) {
        return Some(name);
    }
    let at = KeyPath::top("name");
    findings.error(&at, format!("{} is no plain name", quoted(&name)), "write 1 to 64 letters, digits, - _ and .");
    None
}

/// Letters, digits, `-`, `_` and `.`, as certificates and metrics take them.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}
