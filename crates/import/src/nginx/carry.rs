//! What nginx's directives come to: names, certificates, where locations lead, and how fast they may be asked. Each
//! directive is carried over, is what happens here anyway, or is noted.

mod limits;
mod routes;
mod target;

use super::Directive;
use crate::address::is_name;
use crate::note::Note;
use crate::site::{Found, Site};
use limits::Limits;
use target::Upstreams;

/// A route of the preset, as the import needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its path, without a slash at the end.
    pub path: String,
    /// The name of its service: `cc`, `xivo`, `sip` or `video`.
    pub service: String,
    /// Its zone, with what it says of burst and delay: of the route, else of the zone.
    pub limit: Option<Limit>,
}

/// The account that a route's requests count in, and what happens to those that come too early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The zone's name in edge.yaml.
    pub zone: String,
    /// How many requests may come before their time.
    pub burst: u32,
    /// Whether they wait for their time; else they are carried at once.
    pub delay: bool,
}

/// Everything of the files that is the same for all locations.
struct Context<'a> {
    known: &'a [Known],
    upstreams: Upstreams,
    limits: Limits,
}

/// Puts directives under their keys, those of the server that is the site above all. `known` are the preset's routes.
pub(crate) fn carry(directives: &[Directive], known: &[Known], site: &mut Site, notes: &mut Vec<Note>) {
    let mut context = Context { known, upstreams: Upstreams::default(), limits: Limits::default() };
    let mut servers = Vec::new();
    main_block(directives, &mut context, &mut servers, notes);
    // The server that carries most is the site; a redirect, a status page and a default server carry nothing.
    let carries = |server: &Directive| locations(server).filter(|location| has(location, "proxy_pass")).count();
    let best = servers.iter().enumerate().max_by_key(|(index, server)| (carries(server), usize::MAX - index));
    let best = best.map(|(index, _)| index);
    for (index, server) in servers.iter().enumerate() {
        if Some(index) == best && carries(server) > 0 {
            self::server(server, &mut context, site, notes);
        } else {
            let names = find(server, "server_name").map(|names| names.args.join(" ")).unwrap_or_default();
            let why = format!("server {names}: another server than the one that carries most; it is not carried over");
            notes.push(Note::new(&server.origin(), "server", why));
        }
    }
    context.limits.write(site);
    routes::take_away(known, site);
}

/// Main and http: what is defined there, and the servers.
fn main_block<'a>(
    block: &'a [Directive],
    context: &mut Context<'_>,
    servers: &mut Vec<&'a Directive>,
    notes: &mut Vec<Note>,
) {
    for directive in block {
        match (directive.name.as_str(), &directive.block) {
            ("http", Some(inner)) => main_block(inner, context, servers, notes),
            ("server", Some(_)) => servers.push(directive),
            ("upstream", Some(inner)) => context.upstreams.define(directive.arg(0), inner, notes),
            ("limit_req_zone", None) => context.limits.define(directive, notes),
            ("limit_req", None) => context.limits.everywhere(directive, notes),
            _ => leave(directive, notes),
        }
    }
}

fn server(server: &Directive, context: &mut Context<'_>, site: &mut Site, notes: &mut Vec<Note>) {
    let block = server.block.as_deref().unwrap_or_default();
    // `set` holds for all locations, wherever it stands among them.
    block.iter().filter(|found| found.name == "set").for_each(|set| context.upstreams.set(set.arg(0), set.arg(1)));
    let inherited = block.iter().find(|found| found.name == "limit_req");
    for directive in block {
        let found = || Found::directive(directive.arg(0), directive);
        match directive.name.as_str() {
            "server_name" => names(directive, site, notes),
            "ssl_certificate" => site.chain = Some(found()),
            "ssl_certificate_key" => site.key = Some(found()),
            "ssl_protocols" => protocols(directive, site, notes),
            "location" => routes::location(directive, inherited, context, site, notes),
            "set" | "limit_req" => {}
            "listen" if directive.args.iter().any(|arg| arg == "ssl") => {
                let why = "0.0.0.0:443 unless --listen says otherwise; h2 is always offered";
                notes.push(Note::new(&directive.origin(), "listen", why));
            }
            _ => leave(directive, notes),
        }
    }
}

fn names(directive: &Directive, site: &mut Site, notes: &mut Vec<Note>) {
    for name in &directive.args {
        if !is_name(name) {
            notes.push(Note::new(&directive.origin(), "server_name", "a pattern or no full name; aliases are names"));
        } else if site.fqdn.is_none() {
            site.fqdn = Some(Found::directive(name, directive));
        } else {
            site.aliases.push(Found::directive(name, directive));
        }
    }
}

/// The oldest version alone is a choice here.
fn protocols(directive: &Directive, site: &mut Site, notes: &mut Vec<Note>) {
    let speaks = |version: &str| directive.args.iter().any(|arg| arg == version);
    if speaks("TLSv1.3") && !speaks("TLSv1.2") {
        site.tls_min = Some(Found::directive("1.3", directive));
    }
    if speaks("TLSv1") || speaks("TLSv1.1") {
        notes.push(Note::new(&directive.origin(), "ssl_protocols", "versions before 1.2 are not spoken any more"));
    }
}

/// What is not carried over, unless it is what happens here anyway.
fn leave(directive: &Directive, notes: &mut Vec<Note>) {
    let reason = match directive.name.as_str() {
        _ if happens_anyway(directive) => return,
        "proxy_set_header" => {
            "no fields are set in requests but those that say who asked; `host` of a service sets Host"
        }
        "proxy_redirect" => "redirections to upstreams become the site's own, and others stay as they are",
        "add_header" => "headers of the site or of a route: headers: { NAME: VALUE }; the preset has five",
        "client_max_body_size" => "body_limit of a route",
        "proxy_read_timeout" | "proxy_send_timeout" => "response_limit of a route, limits.write_stall",
        "proxy_connect_timeout" => "limits.connect",
        "allow" | "deny" | "auth_basic" | "auth_request" | "satisfy" => {
            "NOBODY IS KEPT OUT BY IT ANY MORE; do it in a firewall, or leave the route out"
        }
        "if" | "rewrite" | "return" | "try_files" | "root" | "alias" | "error_page" => {
            "nothing is rewritten or served from files; token: of a route checks tokens, listen.http redirects"
        }
        "map" | "geo" => "exempt networks are rate_limits.exempt, private ones are in it; the rest has no place here",
        "limit_conn" | "limit_conn_zone" => "limits.connections_per_client",
        "resolver" => "names are not resolved",
        "stream" => "what goes by SNI is pass: [{ names: …, to: … }]",
        "real_ip_header" | "set_real_ip_from" => "proxy_protocol of a listener",
        "ssl_trusted_certificate" | "ssl_stapling" | "ssl_stapling_verify" => "no staples are fetched",
        name if name.starts_with("proxy_ssl_") => {
            "upstream_tls says whom upstreams must prove to be: --upstream-ca FILE"
        }
        name if name.starts_with("ssl_") => "ciphers, curves and tickets are rustls' own; there is nothing to choose",
        name if name.starts_with("grpc_") || name.starts_with("fastcgi_") || name.starts_with("uwsgi_") => {
            "HTTP services alone are carried"
        }
        _ => "nginx's own, or without a key here",
    };
    notes.push(Note::new(&directive.origin(), &directive.name, reason));
}

/// What is done here whatever a configuration says. Anything else must be told: it would be missed in silence.
fn happens_anyway(directive: &Directive) -> bool {
    let first = directive.arg(0).to_ascii_lowercase();
    match directive.name.as_str() {
        "proxy_http_version" | "proxy_buffering" => true,
        "proxy_redirect" => first == "default",
        "proxy_set_header" => match first.as_str() {
            // Upgrades are carried where routes say so.
            "upgrade" | "connection" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-real-ip" => {
                true
            }
            "host" => matches!(directive.arg(1), "$host" | "$http_host" | "$server_name"),
            _ => false,
        },
        _ => false,
    }
}

fn locations(server: &Directive) -> impl Iterator<Item = &Directive> {
    server.block.iter().flatten().filter(|found| found.name == "location")
}

fn find<'a>(within: &'a Directive, name: &str) -> Option<&'a Directive> {
    within.block.iter().flatten().find(|found| found.name == name)
}

fn has(within: &Directive, name: &str) -> bool {
    find(within, name).is_some()
}
