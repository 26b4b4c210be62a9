//! From what was written to what is meant: the only validation there is. Each part notes its errors and gives what it can.

mod commands;
mod endpoints;
mod nodes;
mod timing;
mod xivo;

use failover::Side;
use settings::{Findings, KeyPath, quoted};

use super::file::{File, RoleName, SideName};
use super::{Config, Role};

/// Keys that are not for every role.
const FOR_ROLES: &[(&str, &[RoleName])] = &[
    ("side", &[RoleName::Xivo, RoleName::Cc]),
    ("listen", &[RoleName::Xivo]),
    ("peer", &[RoleName::Xivo]),
    ("witness", &[RoleName::Xivo]),
    ("edge", &[RoleName::Cc, RoleName::Mds]),
    ("xivo", &[RoleName::Cc, RoleName::Mds]),
    ("mode", &[RoleName::Xivo]),
    ("failback", &[RoleName::Xivo]),
    ("window", &[RoleName::Xivo]),
    ("hold_down", &[RoleName::Xivo]),
    ("hold_down_limit", &[RoleName::Xivo]),
    ("alone", &[RoleName::Xivo]),
    ("anchors", &[RoleName::Xivo]),
    ("accept_requests", &[RoleName::Xivo]),
    ("fence", &[RoleName::Xivo]),
    ("retry", &[RoleName::Xivo, RoleName::Cc]),
    ("retry_limit", &[RoleName::Xivo, RoleName::Cc]),
    ("sip", &[RoleName::Xivo]),
    ("mds", &[RoleName::Xivo]),
    ("asterisk", &[RoleName::Xivo, RoleName::Mds]),
    ("services", &[RoleName::Xivo, RoleName::Cc]),
    ("replication", &[RoleName::Xivo]),
    ("ready", &[RoleName::Cc]),
    ("legacy_failover", &[RoleName::Xivo]),
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
    for (key, roles) in FOR_ROLES {
        let at = KeyPath::top(key);
        if !roles.contains(&role) && findings.tree().has(&at) {
            let remedy = format!("remove it; it is for {}", roles.iter().map(word).collect::<Vec<_>>().join(" and "));
            findings.error(&at, format!("has no meaning for {}", word(&role)), remedy);
        }
    }
    let role = match role {
        RoleName::Xivo => xivo::resolve(file, findings).map(|xivo| Role::Xivo(Box::new(xivo))),
        RoleName::Cc => nodes::cc(file, findings).map(|cc| Role::Cc(Box::new(cc))),
        RoleName::Mds => nodes::mds(file, findings).map(Role::Mds),
    };
    if findings.has_errors() {
        return None;
    }
    let endpoints::Endpoints { identity, state, control, metrics, legacy_failover } = endpoints;
    Some(Config { name, role: role?, identity, state, control, metrics, legacy_failover })
}

fn word(role: &RoleName) -> &'static str {
    match role {
        RoleName::Xivo => "role: xivo",
        RoleName::Cc => "role: cc",
        RoleName::Mds => "role: mds",
    }
}

fn side(written: Option<SideName>, findings: &mut Findings) -> Option<Side> {
    match written {
        Some(SideName::Main) => Some(Side::Main),
        Some(SideName::Standby) => Some(Side::Standby),
        None => {
            let at = KeyPath::top("side");
            findings.missing(
                &at,
                "is missing",
                "write which half of the site this node is: `side: main` or `side: standby`",
            );
            None
        }
    }
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
