//! Routes: the user's laid over the preset's, one for each media server where a path says so.

use http::Method;
use http::header::{HeaderName, HeaderValue};
use settings::{Findings, KeyPath, nearest, quoted};

use super::super::file::{CloseFile, File, OneOrMany, RouteFile, Short, WebSocketFile};
use super::super::{
    Close, Follow, LeftOut, Matching, Replay, Route, Service, ServiceIndex, Token, WebSocket, defaults,
};
use super::{checks, headers, item, tuning, zones};

/// In a route, stands for the name of each media server.
const EACH_MDS: &str = "{mds}";

/// What routes refer to.
#[derive(Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) services: &'a [Service],
    /// Added to every route's answers.
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    pub(super) zones: &'a zones::Known,
}

/// The routes in the order in which they are tried, and those of the preset that lead nowhere on this site.
pub(super) fn resolve(
    user: &File,
    beneath: &File,
    common: Common<'_>,
    findings: &mut Findings,
) -> (Vec<Route>, Vec<LeftOut>) {
    let known = common.services;
    let media_servers: Vec<&str> = known.iter().filter_map(|service| service.name.strip_prefix("mds.")).collect();
    let mut left_out = Vec::new();
    // The preset first, then the user's laid over it: what is left open in a file is the preset's.
    let mut drafts = preset_drafts(beneath, &media_servers, &mut left_out);
    overlay(&mut drafts, user_drafts(user, &media_servers, findings), findings);
    let mut routes = Vec::new();
    for draft in drafts {
        // Only the preset's own may be left out: a site without meeting rooms lacks their routes by intention, while a
        // route that somebody wrote is meant.
        if draft.at.is_none() && draft.route.service.as_deref().is_some_and(|name| !is_known(name, known)) {
            let service = draft.route.service.unwrap_or_default();
            left_out.push(LeftOut { path: draft.path, service });
        } else {
            routes.extend(draft.resolve(common, findings));
        }
    }
    let at = KeyPath::top("routes");
    // Said only where it is the first mistake: routes that were refused are none, either.
    if routes.is_empty() && !findings.is_reported(&at) && !findings.has_errors() {
        findings.error(&at, "nothing would be carried", "list the paths to carry, or write `preset: xivo`");
    }
    routes.sort_by(|a, b| {
        // The longest path first, so that `/xuc/api/2.0/cti` is not taken by `/xuc`; an exact one before a prefix of
        // the same length.
        let order = |route: &Route| (std::cmp::Reverse(route.path.len()), route.matching == Matching::Prefix);
        order(a).cmp(&order(b)).then_with(|| a.path.cmp(&b.path))
    });
    (routes, left_out)
}

fn is_known(name: &str, known: &[Service]) -> bool {
    known.iter().any(|service| service.name == name)
}

/// A route on its way: its path is normalised, the rest as written.
struct Draft {
    path: String,
    matching: Matching,
    route: RouteFile,
    /// Where the user wrote it; none: the preset's alone.
    at: Option<KeyPath>,
    /// Made from a path with `{mds}`: gives way to one written out.
    template: bool,
}

fn preset_drafts(beneath: &File, media_servers: &[&str], left_out: &mut Vec<LeftOut>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for route in beneath.routes.iter().flatten() {
        let written = route.path.clone().unwrap_or_default();
        let template = written.contains(EACH_MDS);
        if template && media_servers.is_empty() {
            left_out.push(LeftOut { path: written, service: "mds".to_owned() });
            continue;
        }
        for route in each(route, media_servers) {
            let matching = route.matching.unwrap_or(Matching::Prefix);
            let path = normal(&route.path.clone().unwrap_or_default(), matching);
            drafts.push(Draft { path, matching, route, at: None, template });
        }
    }
    drafts
}

fn user_drafts(user: &File, media_servers: &[&str], findings: &mut Findings) -> Vec<Draft> {
    let at = KeyPath::top("routes");
    let mut drafts: Vec<Draft> = Vec::new();
    for (index, route) in user.routes.iter().flatten().enumerate() {
        let at = item(&at, index, findings);
        let Some(path) = &route.path else {
            findings.missing(&at.key("path"), "is missing", "write where the route begins, such as /xuc");
            continue;
        };
        let template = path.contains(EACH_MDS);
        if template && media_servers.is_empty() {
            findings.error(
                &at.key("path"),
                format!("{} stands for media servers, but there are none", quoted(path)),
                "list them under shared.mds",
            );
        }
        for route in each(route, media_servers) {
            let matching = route.matching.unwrap_or(Matching::Prefix);
            let path = route.path.clone().unwrap_or_default();
            if let Some((message, remedy)) = path_flaw(&path) {
                findings.error(&at.key("path"), format!("{} {message}", quoted(&path)), remedy);
                continue;
            }
            let draft = Draft { path: normal(&path, matching), matching, route, at: Some(at.clone()), template };
            match drafts.iter().position(|other| other.path == draft.path && other.matching == draft.matching) {
                // A route written out for one media server is an exception from the one that is written for all.
                Some(first) if drafts[first].template && !draft.template => drafts[first] = draft,
                Some(first) if !drafts[first].template && draft.template => {}
                Some(_) => findings.error(
                    &at.key("path"),
                    format!("{} is listed already", quoted(&path)),
                    "keep one of the two",
                ),
                None => drafts.push(draft),
            }
        }
    }
    drafts
}

/// The route itself, or one for each media server.
fn each(route: &RouteFile, media_servers: &[&str]) -> Vec<RouteFile> {
    if !route.path.as_deref().is_some_and(|path| path.contains(EACH_MDS)) {
        return vec![route.clone()];
    }
    let with = |text: &Option<String>, name: &str| text.as_ref().map(|text| text.replace(EACH_MDS, name));
    media_servers
        .iter()
        .map(|name| RouteFile {
            path: with(&route.path, name),
            name: with(&route.name, name),
            service: with(&route.service, name),
            ..route.clone()
        })
        .collect()
}

/// Lays each of the user's routes over the preset's of the same path (and reach, if it says one), or adds it.
fn overlay(drafts: &mut Vec<Draft>, user: Vec<Draft>, findings: &mut Findings) {
    for above in user {
        let same = |below: &Draft| {
            let reach = above.route.matching;
            // Brought into the form of the route beneath: `/video/` means the preset's `/video`.
            let path = normal(&above.path, below.matching);
            below.at.is_none() && below.path == path && reach.is_none_or(|reach| reach == below.matching)
        };
        match (drafts.iter().position(same), above.route.remove) {
            (Some(index), Some(true)) => {
                drafts.remove(index);
            }
            (None, Some(true)) => {
                let at = above.at.unwrap_or_default().key("remove");
                findings.error(
                    &at,
                    format!("the preset has no route {}", quoted(&above.path)),
                    "write the path as the preset has it, or remove the item",
                );
            }
            (Some(index), _) => {
                let below = drafts.remove(index);
                let route = RouteFile { matching: Some(below.matching), ..above.route }.over(below.route);
                drafts.insert(
                    index,
                    Draft { path: below.path, matching: below.matching, route, at: above.at, template: above.template },
                );
            }
            (None, _) => drafts.push(above),
        }
    }
}

/// A prefix reaches behind a `/` anyway: one at its end says nothing.
fn normal(path: &str, matching: Matching) -> String {
    match (matching, path.trim_end_matches('/')) {
        (Matching::Exact, _) => path.to_owned(),
        (Matching::Prefix, "") => "/".to_owned(),
        (Matching::Prefix, trimmed) => trimmed.to_owned(),
    }
}

fn path_flaw(path: &str) -> Option<(&'static str, &'static str)> {
    const PLAIN: &[u8] = b"/-._~!$&'()*+,;=:@";
    if !path.starts_with('/') {
        return Some(("is not absolute", "begin it with /"));
    }
    if path.contains(['?', '#']) {
        return Some(("holds a query or fragment", "write the path alone"));
    }
    if path.contains("//") {
        return Some(("holds //", "write one /"));
    }
    // Paths are normalised before they are compared: one with dots would never match.
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Some(("is not normalised", "write it without . and .."));
    }
    if path.contains('*') {
        return Some(("holds a *", "write the beginning of the path; `match: prefix` takes what follows"));
    }
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || PLAIN.contains(&b)) {
        return Some((
            "holds a character that needs no place in a route",
            "write plain characters; percent-encoded ones are decoded before routing",
        ));
    }
    (path.len() > 1024).then_some(("is longer than 1024 bytes", "write a shorter one"))
}

impl Draft {
    fn resolve(self, common: Common<'_>, findings: &mut Findings) -> Option<Route> {
        let at = self.at.unwrap_or_else(|| KeyPath::top("preset"));
        let route = self.route;
        let service = service(route.service.as_deref(), common.services, &at, findings);
        let zone = zones::of_route(route.zone.map(|short| short.0), common.zones, &at.key("zone"), findings);
        let name = route.name.or(route.path).unwrap_or_default();
        if name.is_empty() || name.len() > 1024 || name.chars().any(char::is_control) {
            findings.error(&at.key("name"), "is no name for logs and metrics", "write a short text");
        }
        let websocket = websocket(route.websocket, &at.key("websocket"), findings);
        let close = close(route.close.map(|short| short.0).unwrap_or_default(), &at.key("close"), findings);
        let response_limit =
            tuning::span(route.response_limit, defaults::RESPONSE_LIMIT, &at.key("response_limit"), findings);
        let replay = replay(route.replay, &at.key("replay"), findings);
        let methods = methods(route.methods, &websocket, &at.key("methods"), findings);
        let headers = headers::over(common.headers, route.headers.as_ref(), &at.key("headers"), findings);
        Some(Route {
            name,
            path: self.path,
            matching: self.matching,
            service: service?,
            zone: zone.ok()?,
            websocket,
            token: route.token.unwrap_or(Token::None),
            replay,
            close: close?,
            follow: route.follow.unwrap_or(Follow::Nothing),
            response_limit: response_limit?,
            body_limit: route.body_limit.map_or(defaults::BODY_LIMIT, |size| size.0),
            methods,
            headers,
        })
    }
}

fn service(name: Option<&str>, known: &[Service], at: &KeyPath, findings: &mut Findings) -> Option<ServiceIndex> {
    let at = at.key("service");
    let Some(name) = name else {
        findings.missing(&at, "is missing", "write the service this path goes to");
        return None;
    };
    let index = known.iter().position(|service| service.name == name);
    if index.is_none() {
        let names = known.iter().map(|service| service.name.as_str());
        let remedy = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
        };
        findings.error(&at, format!("{} is no service of this file", quoted(name)), remedy);
    }
    index.map(ServiceIndex)
}

fn websocket(written: Option<Short<WebSocketFile>>, at: &KeyPath, findings: &mut Findings) -> WebSocket {
    let Some(Short(WebSocketFile { refused: false, subprotocols })) = written else { return WebSocket::No };
    let subprotocols = subprotocols.map(|list| list.0).unwrap_or_default();
    let at = at.key("subprotocols");
    for (index, protocol) in subprotocols.iter().enumerate() {
        if !checks::is_token(protocol) {
            findings.error(
                &item(&at, index, findings),
                format!("{} is no subprotocol", quoted(protocol)),
                "write a name such as sip",
            );
        }
    }
    WebSocket::Allowed { subprotocols }
}

fn methods(
    written: Option<OneOrMany<String>>,
    websocket: &WebSocket,
    at: &KeyPath,
    findings: &mut Findings,
) -> Vec<Method> {
    let Some(OneOrMany(written)) = written else { return Vec::new() };
    let mut methods = Vec::new();
    for (index, word) in written.iter().enumerate() {
        let at = item(at, index, findings);
        // RFC 9110 section 9.1: methods are case-sensitive, so that `get` is another one, which no browser sends.
        let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        match Method::from_bytes(word.as_bytes()) {
            Ok(Method::TRACE | Method::CONNECT) => {
                findings.error(&at, format!("{word} is carried on no route"), "take it out");
            }
            Ok(method) if plain && !methods.contains(&method) => methods.push(method),
            Ok(_) if plain => findings.error(&at, format!("{word} is listed already"), "keep one"),
            _ => findings.error(&at, format!("{} is no method", quoted(word)), "write it in capitals, such as GET"),
        }
    }
    if written.is_empty() {
        findings.error(at, "is empty: nothing would be carried", "list methods, or remove the key for all of them");
    }
    let get = methods.contains(&Method::GET);
    if !methods.is_empty() && !get && matches!(websocket, WebSocket::Allowed { .. }) {
        findings.error(at, "has no GET, by which WebSockets are opened", "add GET, or write websocket: false");
    }
    if get && !methods.contains(&Method::HEAD) {
        methods.push(Method::HEAD);
    }
    methods
}

fn close(written: CloseFile, at: &KeyPath, findings: &mut Findings) -> Option<Close> {
    const LONGEST: usize = 123;
    let code = written.code.unwrap_or(defaults::CLOSE_CODE);
    let code_at = if findings.tree().has(&at.key("code")) { at.key("code") } else { at.clone() };
    let reason = written.reason.unwrap_or_else(|| defaults::CLOSE_REASON.to_owned());
    let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !legal {
        let remedy = "write 1012 (service restart), or an application's own from 4000 to 4999";
        findings.error(&code_at, format!("{code} must not stand in a Close frame (RFC 6455 section 7.4)"), remedy);
    }
    if reason.len() > LONGEST {
        let message = format!("{} bytes do not fit a Close frame", reason.len());
        findings.error(&at.key("reason"), message, format!("write at most {LONGEST} bytes"));
    }
    (legal && reason.len() <= LONGEST).then_some(Close { code, reason })
}

fn replay(written: Option<Replay>, at: &KeyPath, findings: &mut Findings) -> Replay {
    let replay = written.unwrap_or(Replay::Idempotent);
    if replay == Replay::Always {
        let message = "always: a POST that reached the dying side is sent again and may be done twice";
        findings.warn(at, message, "keep it only where doing it twice is harmless");
    }
    replay
}
