//! Locations that lead to a service: the preset's routes with their services, and routes of the site's own.

use super::{Context, Known, Limit, leave};
use crate::nginx::Directive;
use crate::note::Note;
use crate::site::{Found, RouteDraft, Site};

/// Takes one location with its `proxy_pass` as a route; one that leads nowhere we know becomes a note. `inherited` is the
/// server's own `limit_req`, which counts where the location has none.
pub(super) fn location(
    directive: &Directive,
    inherited: Option<&Directive>,
    context: &mut Context<'_>,
    site: &mut Site,
    notes: &mut Vec<Note>,
) {
    let block = directive.block.as_deref().unwrap_or_default();
    let (is_exact, path) = match directive.args.as_slice() {
        [path] => (false, path.as_str()),
        [how, path] if how == "=" => (true, path.as_str()),
        [how, path] if how == "^~" => (false, path.as_str()),
        _ => {
            let why = "a regular expression, or no path; routes are paths, whole or as beginnings";
            return notes.push(Note::new(&directive.origin(), &format!("location {}", directive.args.join(" ")), why));
        }
    };
    let subject = format!("location {path}");
    let mut note = |why: String| notes.push(Note::new(&directive.origin(), &subject, why));
    if !path.starts_with('/') || path.len() > 500 || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return note("is no plain path that begins with /".to_owned());
    }
    let Some(pass) = block.iter().find(|found| found.name == "proxy_pass") else {
        return note("leads to no service; whatever is not a route gets 404".to_owned());
    };
    let target = match context.upstreams.resolve(pass.arg(0), path) {
        Ok(target) => target,
        Err(why) => return notes.push(Note::new(&pass.origin(), &subject, why)),
    };
    let limits = block.iter().find(|found| found.name == "limit_req");
    let limit = context.limits.of(limits.or(inherited), notes);
    for other in block.iter().filter(|found| !std::ptr::eq(*found, pass)) {
        match other.name.as_str() {
            "limit_req" if limits.is_some_and(|first| std::ptr::eq(first, other)) => {}
            "limit_req" => {
                notes.push(Note::new(&other.origin(), "limit_req", "a second one; a route counts in one zone"))
            }
            _ => leave(other, notes),
        }
    }
    let upgrades =
        |found: &&Directive| found.name == "proxy_set_header" && found.arg(0).eq_ignore_ascii_case("upgrade");
    let found = Found { text: target, ..Found::directive("", pass) };
    let at = At { path, is_exact, has_websocket: block.iter().any(|found| upgrades(&found)), limit };
    at.place(context.known, found, directive, site, notes);
}

struct At<'a> {
    path: &'a str,
    is_exact: bool,
    has_websocket: bool,
    limit: Option<Limit>,
}

impl At<'_> {
    fn place(self, known: &[Known], found: Found, directive: &Directive, site: &mut Site, notes: &mut Vec<Note>) {
        let path = if self.path == "/" { "/" } else { self.path.trim_end_matches('/') };
        let media_server = path.strip_prefix("/wssip-");
        if let Some(name) = media_server {
            site.seen.push("/wssip-{mds}".to_owned());
            if !site.shares(&format!("mds.{name}")) {
                let why =
                    format!("a media server's; its own address is not in these files: --shared mds.{name}=ADDRESS");
                notes.push(Note::new(&directive.origin(), &format!("location {path}"), why));
            }
        }
        let preset =
            known.iter().find(|known| known.path == path || media_server.is_some() && known.path == "/wssip-{mds}");
        site.seen.push(path.to_owned());
        let service = preset.map(|preset| preset.service.clone());
        // Where the preset's service is another one already, the route gets a service of its own.
        let service = service.filter(|service| {
            let put = match service.as_str() {
                "cc" | "xivo" => site.put_side(service, found.clone()),
                _ => site.put_shared(service, found.clone()),
            };
            put.is_ok()
        });
        let is_presets = service.is_some();
        let service = service.unwrap_or_else(|| own_service(&found, site));
        let limit = preset.and_then(|preset| preset.limit.clone());
        if media_server.is_some() || is_presets && limit == self.limit {
            return;
        }
        let zone = match self.limit {
            Some(Limit { zone, burst, delay }) => Some(format!("{{ name: {zone}, burst: {burst}, delay: {delay} }}")),
            None if limit.is_some() => Some("off".to_owned()),
            None => None,
        };
        site.routes.push(RouteDraft {
            path: path.to_owned(),
            is_exact: self.is_exact && !is_presets,
            service: (!is_presets).then_some(service),
            zone,
            has_websocket: self.has_websocket && !is_presets,
            found: Found::directive("", directive),
        });
    }
}

/// The service that has this address, or a new one that both sides share: whose it is, no file of nginx says.
fn own_service(found: &Found, site: &mut Site) -> String {
    let all = site.held.iter().chain(&site.shared);
    if let Some((name, _)) = all.into_iter().find(|(_, other)| other.text == found.text) {
        return name.clone();
    }
    let name = format!("other{}", 1 + site.shared.iter().filter(|(name, _)| name.starts_with("other")).count());
    site.shared.push((name.clone(), found.clone()));
    name
}

/// Routes that the preset has and the old Edge had not: a new front door opens no more than the old one.
pub(super) fn take_away(known: &[Known], site: &mut Site) {
    for known in known {
        let leads = matches!(known.service.as_str(), "cc" | "xivo") || site.shares(&known.service);
        // A location at a shorter path carried the longer ones, too.
        let carried = site
            .seen
            .iter()
            .any(|seen| *seen == known.path || known.path.starts_with(&format!("{}/", seen.trim_end_matches('/'))));
        if leads && !carried && !known.path.contains('{') {
            site.removed.push(known.path.clone());
        }
    }
}
