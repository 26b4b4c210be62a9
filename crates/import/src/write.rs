//! The draft as text: each key with where it comes from, what nobody has said as a line that `check` refuses, and at the
//! end what has no place in it.

use std::fmt::Write as _;

use failover::Side;

use crate::note::{Note, printable};
use crate::site::{Found, Given, Site};

/// Stands where somebody must write a value. It is none for any key, so that a draft with a gap cannot start.
pub const FILL_IN: &str = "FILL-IN";

/// Where the preset has the burst of what applications load, and which of them go to meeting rooms.
pub(crate) const ASSETS: [&str; 9] = [
    "/assets",
    "/config",
    "/pwa-worker.js",
    "/static/offline.html",
    "/video/css",
    "/video/images",
    "/video/lang",
    "/video/libs",
    "/video/sounds",
];

/// coturn's port for TURN and TURNS in XiVO's Edge.
const TURN_PORT: u16 = 3478;

/// The text, and the keys that are [`FILL_IN`].
pub(crate) fn write(site: &Site, given: &Given, notes: &[Note]) -> (String, Vec<String>) {
    let mut draft = Text::default();
    draft.say("Drafted by `bascule import`. Lines that hold FILL-IN wait for you; conf/edge.yaml explains every key.");
    draft.say("`bascule check --config THIS-FILE` says what is wrong, and with --live whether every backend answers.");
    draft.blank();
    if given.observe {
        draft.say(
            "First beside the old Edge: probe, decide and journal, but move nothing. Take this line away afterwards.",
        );
        draft.line(0, "observe: true");
    }
    draft.line(0, &format!("preset: {}", quoted(&given.preset)));
    draft.value(0, "fqdn", site.fqdn.as_ref(), "the one name users browse (EDGE_FQDN)");
    if !site.aliases.is_empty() {
        draft.line(0, "aliases:");
        for alias in &site.aliases {
            draft.entry(2, "-", alias);
        }
    }
    certificate(&mut draft, site);
    if let Some(min) = &site.tls_min {
        draft.say(&whence(min));
        draft.line(0, &format!("tls: {{ min: {} }}", min.text));
    }
    listen(&mut draft, given);
    sides(&mut draft, site, given);
    shared(&mut draft, site);
    upstream_tls(&mut draft, given);
    pass(&mut draft, site);
    zones(&mut draft, site);
    assets(&mut draft, site);
    routes(&mut draft, site);
    what_is_left(&mut draft, notes);
    (draft.text, draft.missing)
}

fn certificate(draft: &mut Text, site: &Site) {
    draft.blank();
    draft.line(0, "certificate:");
    draft.within("certificate");
    draft.value(2, "chain", site.chain.as_ref(), "the full chain, PEM: --chain FILE");
    draft.value(2, "key", site.key.as_ref(), "its key, PEM, readable by the user bascule: --key FILE");
    draft.within("");
}

fn listen(draft: &mut Text, given: &Given) {
    if given.listen.is_empty() {
        return;
    }
    draft.line(0, "listen:");
    let addresses: Vec<_> = given.listen.iter().map(|address| quoted(address)).collect();
    draft.line(2, &format!("https: [{}]", addresses.join(", ")));
}

fn sides(draft: &mut Text, site: &Site, given: &Given) {
    draft.blank();
    let (held, told) = match given.holds {
        Side::Main => ("Main", "Standby"),
        Side::Standby => ("Standby", "Main"),
    };
    draft.say(&format!("The old file names one side, taken for {held}; {told}'s addresses are told by options."));
    draft.line(0, "sides:");
    for (side, services) in [("main", &site.main), ("standby", &site.standby)] {
        draft.line(2, &format!("{side}:"));
        draft.within(&format!("sides.{side}"));
        // Both are required by the preset: a side without one of them cannot be judged.
        for (service, what) in [("cc", "the contact centre's web server"), ("xivo", "XiVO")] {
            let found = services.iter().find(|(name, _)| name == service).map(|(_, found)| found);
            draft.value(4, service, found, &format!("the IP address of {what}: --{side} {service}=ADDRESS"));
        }
        for (service, found) in services.iter().filter(|(name, _)| name != "cc" && name != "xivo") {
            draft.entry(4, &format!("{}:", quoted(service)), found);
        }
        draft.within("");
    }
}

fn shared(draft: &mut Text, site: &Site) {
    draft.blank();
    draft.line(0, "shared:");
    draft.within("shared");
    let of = |service: &str| site.shared.iter().find(|(name, _)| name == service).map(|(_, found)| found);
    draft.value(2, "sip", of("sip"), "Kamailio's WebSocket, as in http://127.0.0.1:8080: --shared sip=ADDRESS");
    draft.within("");
    match of("video") {
        Some(found) => draft.entry(2, "video:", found),
        None => {
            draft.say_at(2, "No meeting rooms: the routes below /video are left out. --shared video=ADDRESS has them.")
        }
    }
    let media_servers: Vec<_> =
        site.shared.iter().filter_map(|(name, found)| Some((name.strip_prefix("mds.")?, found))).collect();
    if !media_servers.is_empty() {
        draft.say_at(2, "Each has a route /wssip-NAME; the name must be the one that XiVO has for it.");
        draft.line(2, "mds:");
    }
    for (name, found) in media_servers {
        draft.entry(4, &format!("{}:", quoted(name)), found);
    }
    let other = |name: &str| name != "sip" && name != "video" && !name.starts_with("mds.");
    for (name, found) in site.shared.iter().filter(|(name, _)| other(name)) {
        draft.entry(2, &format!("{}:", quoted(name)), found);
    }
}

fn upstream_tls(draft: &mut Text, given: &Given) {
    draft.blank();
    if let Some(ca) = &given.upstream_ca {
        draft.say("--upstream-ca");
        draft.line(0, &format!("upstream_tls: {{ ca: {} }}", quoted(ca)));
        return;
    }
    draft.say(
        "As nginx does unless it is told otherwise: whoever answers at an upstream's address is believed. Better:",
    );
    draft.say("upstream_tls: { ca: /etc/bascule/xivo-ca.pem } (--upstream-ca FILE), or a pin of its key.");
    draft.line(0, "upstream_tls: { verify: off }");
}

fn pass(draft: &mut Text, site: &Site) {
    let Some(name) = &site.turn.name else { return };
    draft.blank();
    draft.say("TURN over TLS on the site's own port, handed on undecrypted.");
    draft.line(0, "pass:");
    draft.entry(2, "- names:", name);
    match &site.turn.to {
        Some(to) => draft.entry(4, "to:", to),
        None => {
            let host = site.turn.host.as_ref().map_or("127.0.0.1", |host| host.text.as_str());
            draft.say_at(
                4,
                "coturn's port in XiVO's Edge, for TURN and TURNS alike; a guess where the old file does not say it.",
            );
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            draft.line(4, &format!("to: {}", quoted(&format!("{host}:{TURN_PORT}"))));
        }
    }
}

fn assets(draft: &mut Text, site: &Site) {
    let Some((burst, found)) = &site.assets_burst else { return };
    draft.blank();
    draft.say(&whence(found));
    draft.line(0, "routes:");
    for path in ASSETS.iter().filter(|path| site.shares("video") || !path.starts_with("/video")) {
        draft.line(2, &format!("- {{ path: {path}, zone: {{ burst: {burst} }} }}"));
    }
}

fn zones(draft: &mut Text, site: &Site) {
    if site.zones.is_empty() {
        return;
    }
    draft.blank();
    draft.line(0, "zones:");
    for zone in &site.zones {
        draft.say_at(2, &whence(&zone.found));
        draft.line(2, &format!("{}: {}", quoted(&zone.name), zone.text));
    }
}

fn routes(draft: &mut Text, site: &Site) {
    if site.routes.is_empty() && site.removed.is_empty() {
        return;
    }
    draft.blank();
    draft.line(0, "routes:");
    for route in &site.routes {
        draft.say_at(2, &whence(&route.found));
        let mut text = format!("- {{ path: {}", quoted(&route.path));
        if route.is_exact {
            text.push_str(", match: exact");
        }
        // Writing to a string cannot fail.
        if let Some(service) = &route.service {
            let _ = write!(text, ", service: {}", quoted(service));
        }
        if let Some(zone) = &route.zone {
            let _ = write!(text, ", zone: {zone}");
        }
        if route.has_websocket {
            text.push_str(", websocket: true");
        }
        draft.line(2, &format!("{text} }}"));
    }
    if !site.removed.is_empty() {
        draft.say_at(2, "The preset has these, the old Edge had not.");
    }
    for path in &site.removed {
        draft.line(2, &format!("- {{ path: {}, remove: true }}", quoted(path)));
    }
}

fn what_is_left(draft: &mut Text, notes: &[Note]) {
    if notes.is_empty() {
        return;
    }
    draft.blank();
    draft.say("Not carried over:");
    for note in notes {
        draft.say(&format!("  {note}"));
    }
}

/// Where a value comes from, as its comment says it.
fn whence(found: &Found) -> String {
    let guess =
        if found.guessed { " (a guess: this name is in no public documentation; --map says otherwise)" } else { "" };
    match &found.origin {
        Some(origin) => format!("{} in {origin}{guess}", printable(&found.subject)),
        None => printable(&found.subject),
    }
}

/// A scalar that is a text whatever it looks like. What has no plain form in one line was refused as it was read.
pub(crate) fn quoted(text: &str) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'_' | b'-');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_word = matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null");
    if begins && !is_word && text.bytes().all(harmless) {
        return text.to_owned();
    }
    format!("'{}'", printable(text).replace('\'', "''"))
}

#[derive(Debug, Default)]
struct Text {
    text: String,
    missing: Vec<String>,
    within: String,
}

impl Text {
    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn line(&mut self, indent: usize, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    fn say(&mut self, comment: &str) {
        self.say_at(0, comment);
    }

    fn say_at(&mut self, indent: usize, comment: &str) {
        self.line(indent, &format!("# {comment}"));
    }

    /// The mapping that the next keys are in, as messages name it.
    fn within(&mut self, key: &str) {
        key.clone_into(&mut self.within);
    }

    fn entry(&mut self, indent: usize, key: &str, found: &Found) {
        self.say_at(indent, &whence(found));
        self.line(indent, &format!("{key} {}", quoted(&found.text)));
    }

    /// A key that must be there: its value, or what to write.
    fn value(&mut self, indent: usize, key: &str, found: Option<&Found>, what: &str) {
        if let Some(found) = found {
            return self.entry(indent, &format!("{key}:"), found);
        }
        self.say_at(indent, &format!("Nobody has said it: {what}"));
        self.line(indent, &format!("{key}: {FILL_IN}"));
        let separator = if self.within.is_empty() { "" } else { "." };
        self.missing.push(format!("{}{separator}{key}: {what}", self.within));
    }
}
