//! Which variable is which key. Names that XiVO's public documentation has are taken as they are; those that are not in
//! it are guesses, marked so in the draft, and any name can be told its key by hand.

use std::str::FromStr;

use super::Variable;
use crate::address::{address, is_name};
use crate::note::{Note, is_word};
use crate::site::{Found, Site};

/// The key of edge.yaml that a variable's value is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `fqdn`: what users browse.
    Fqdn,
    /// One of `aliases`.
    Alias,
    /// `xivo` of the side that the file names.
    Xivo,
    /// `cc` of that side.
    Cc,
    /// `shared.sip`: the SIP proxy that both sides' users reach.
    Sip,
    /// `shared.video`: the meeting-room server.
    Video,
    /// `shared.mds.NAME`, with that name.
    Mds(String),
    /// The name that TURN over TLS is asked for on port 443.
    TurnName,
    /// Whether that name is served on port 443 at all.
    TurnOn,
    /// Where this host is reached: coturn listens there.
    Host,
    /// `zone.burst` of the routes that applications are loaded from.
    AssetsBurst,
    /// `certificate.chain`, an absolute path.
    Chain,
    /// `certificate.key`, an absolute path.
    Key,
    /// No key, and no note either: somebody has looked at it.
    Ignore,
}

/// The keys a variable can be told, as they are typed.
pub const ROLES: &str =
    "fqdn, alias, xivo, cc, sip, video, mds.NAME, turn_name, turn_on, host, assets_burst, chain, key or ignore";

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "fqdn" => Self::Fqdn,
            "alias" => Self::Alias,
            "xivo" => Self::Xivo,
            "cc" => Self::Cc,
            "sip" => Self::Sip,
            "video" => Self::Video,
            "turn_name" => Self::TurnName,
            "turn_on" => Self::TurnOn,
            "host" => Self::Host,
            "assets_burst" => Self::AssetsBurst,
            "chain" => Self::Chain,
            "key" => Self::Key,
            "ignore" => Self::Ignore,
            _ => match text.strip_prefix("mds.") {
                Some(name) if is_word(name) => Self::Mds(name.to_owned()),
                _ => return Err(format!("`{text}` is no key of an import; write {ROLES}")),
            },
        })
    }
}

/// What is known of a variable: its key, and whether that is a guess.
fn known(name: &str) -> Option<(Role, bool)> {
    Some(match name {
        // XiVO documentation, Edge: installation, features, resilience administration.
        "EDGE_FQDN" => (Role::Fqdn, false),
        "XIVO_HOST" => (Role::Xivo, false),
        "XIVOCC_HOST" => (Role::Cc, false),
        "TURN_FQDN" => (Role::TurnName, false),
        "EDGE_NGINX_TURN_PROXY" => (Role::TurnOn, false),
        "EDGE_HOST_IP" => (Role::Host, false),
        // Not in the public documentation: said to exist, or named by analogy.
        "ASSETS_BURST" => (Role::AssetsBurst, true),
        "EDGE_KAMAILIO_HOST" | "KAMAILIO_HOST" | "SIP_PROXY_HOST" => (Role::Sip, true),
        "MEETINGROOM_HOST" | "MEETINGROOMS_HOST" | "JITSI_HOST" => (Role::Video, true),
        _ => {
            let media_server = name.strip_prefix("XIVO_MDS_HOST_").filter(|name| *name != "DEFAULT")?;
            // Variables are in capitals, the names in routes (/wssip-NAME) are not.
            (Role::Mds(media_server.to_ascii_lowercase()), true)
        }
    })
}

/// Why a variable has no key, for those that are known to have none.
fn without_key(name: &str) -> &'static str {
    match name {
        "XIVO_MDS_HOST_DEFAULT" => {
            "`default` is the media server of the XiVO itself: /wssip follows the live side, and Kamailio is told it by \
             live_file (conf/kamailio)"
        }
        "TURN_ALLOWED_PEERS" => {
            "coturn's own: let it allow both XiVO and every media server always, and change nothing at a switch \
             (conf/coturn)"
        }
        "OCSP_ENABLE" => {
            "no staples are fetched: Let's Encrypt ended OCSP in 2025, and other certificates name no responder"
        }
        "NGINX_WORKER_CONNECTIONS" | "NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE" => {
            "nginx counts both ends of a connection, for each worker; limits.connections counts clients, 20000 unless written"
        }
        "TIMEZONE" | "TZ" => "logs have the time zone of the host",
        name if name.ends_with("_TAG") || name.ends_with("_DIST") || name.ends_with("_VERSION") => {
            "the version of a container image that is not run any more"
        }
        name if name.starts_with("TURN_") => "coturn's own, which goes on as it is (conf/coturn)",
        name if name.starts_with("KAMAILIO_") || name.starts_with("EDGE_KAMAILIO_") => {
            "Kamailio's own, which goes on as it is (conf/kamailio)"
        }
        _ => "not known here; if it says something that edge.yaml has a key for, name it: --map NAME=KEY",
    }
}

/// Puts each variable under its key; one without a key, or whose value cannot stand there, becomes a note.
pub(crate) fn carry(variables: Vec<Variable>, roles: &[(String, Role)], site: &mut Site, notes: &mut Vec<Note>) {
    for (index, variable) in variables.iter().enumerate() {
        let Variable { name, value, origin, unresolved } = variable;
        if variables[index + 1..].iter().any(|later| later.name == *name) {
            notes.push(Note::new(origin, name, "set again further down; the last one counts"));
            continue;
        }
        let told = roles.iter().find(|(told, _)| told == name).map(|(_, role)| (role.clone(), false));
        let Some((role, guessed)) = told.or_else(|| known(name)) else {
            notes.push(Note::new(origin, name, without_key(name)));
            continue;
        };
        if let Some(missing) = unresolved.first() {
            notes.push(Note::new(
                origin,
                name,
                format!("names {missing}, which is not set above; write the value itself, or set {missing} there"),
            ));
            continue;
        }
        if value.is_empty() {
            if role != Role::Ignore {
                notes.push(Note::new(origin, name, "is empty"));
            }
            continue;
        }
        let found = Found { text: value.clone(), origin: Some(origin.clone()), subject: name.clone(), guessed };
        if let Err(reason) = take(role, found, site) {
            notes.push(Note::new(origin, name, reason));
        }
    }
    for (name, _) in roles.iter().filter(|(name, _)| !variables.iter().any(|variable| variable.name == *name)) {
        let origin = variables.first().map_or_else(Default::default, |first| first.origin.file.clone());
        let origin = crate::Origin { file: origin, line: 1 };
        notes.push(Note::new(&origin, name, "named by --map, but the file does not set it"));
    }
}

/// One value under its key, or why it cannot stand there.
fn take(role: Role, mut found: Found, site: &mut Site) -> Result<(), String> {
    let no_address = "is no IP address; names are not resolved, so that a switch waits for no DNS: say its address by \
                      --main, --standby or --shared";
    match role {
        Role::Fqdn | Role::Alias | Role::TurnName if !is_name(&found.text) => {
            return Err("is no full name such as edge.example.org".to_owned());
        }
        Role::Xivo | Role::Cc | Role::Sip | Role::Video | Role::Mds(_) | Role::Host => {
            found.text = address(&found.text).ok_or(no_address)?;
        }
        Role::Chain | Role::Key
            if !found.text.starts_with('/') || found.text.chars().any(|c| !crate::note::is_plain(c)) =>
        {
            return Err("is no absolute path".to_owned());
        }
        _ => {}
    }
    let place = match role {
        Role::Alias => {
            site.aliases.push(found);
            return Ok(());
        }
        Role::Xivo => return site.put_side("xivo", found),
        Role::Cc => return site.put_side("cc", found),
        Role::Sip => return site.put_shared("sip", found),
        Role::Video => return site.put_shared("video", found),
        Role::Mds(name) if !is_word(&name) => {
            return Err("its name is no media server's; --map it to mds.NAME".to_owned());
        }
        Role::Mds(name) => return site.put_shared(&format!("mds.{name}"), found),
        Role::TurnOn => {
            site.turn.is_on = found.text.eq_ignore_ascii_case("true") || found.text == "1";
            return Ok(());
        }
        Role::AssetsBurst => {
            let burst = found.text.parse::<u32>().ok().filter(|burst| *burst > 0);
            site.assets_burst = Some((burst.ok_or("is no number of requests")?, found));
            return Ok(());
        }
        Role::Ignore => return Ok(()),
        Role::Fqdn => &mut site.fqdn,
        Role::TurnName => &mut site.turn.name,
        Role::Host => &mut site.turn.host,
        Role::Chain => &mut site.chain,
        Role::Key => &mut site.key,
    };
    match place {
        Some(before) => Err(format!("{} says it already", before.subject)),
        None => {
            *place = Some(found);
            Ok(())
        }
    }
}
