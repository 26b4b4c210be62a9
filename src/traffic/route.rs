//! From a request line to a decision: which route, or why not. Carrying it is left to the proxy and the tunnel.

pub mod path;
pub mod standing;
pub mod token;

use std::borrow::Cow;
use std::sync::Arc;

use daemon::Time;

use crate::config::{Config, Matching, Route, WebSocket};
use crate::site::maintenance::Standing;
use path::BadPath;
use standing::Standings;

/// Why a request is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `Host` is missing or given twice.
    NoHost,
    /// `Host` names somebody else (421, RFC 9110 section 7.4).
    WrongHost,
    /// The path is not in a form that can be routed.
    BadPath(BadPath),
    /// No route lists the path.
    NoRoute,
    /// An operator took the route out of service (503).
    Maintenance {
        /// Position of the route in [`Router::routes`].
        route: usize,
        /// When it is back, if that is known.
        until: Option<Time>,
    },
    /// The route carries no upgrade.
    UpgradeNotAllowed,
    /// The route carries upgrades, but none with what is offered as `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// The method is one that nobody here carries (RFC 9110 section 9.3.8: TRACE shows credentials to scripts).
    Method,
    /// The route lists the methods it carries, and this is none of them (405, RFC 9110 section 15.5.6).
    MethodNotAllowed {
        /// Position of the route in [`Router::routes`].
        route: usize,
    },
    /// The token is missing or has not the form of one.
    Token,
}

/// What is asked, as far as routing cares.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Method.
    pub method: &'a str,
    /// `Host` or `:authority`, as sent.
    pub host: Option<&'a str>,
    /// Raw path.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// `Some` for a WebSocket upgrade, with what it offers in `Sec-WebSocket-Protocol`.
    pub upgrade: Option<Option<&'a str>>,
}

/// A request that will be carried.
#[derive(Debug)]
pub struct Carried<'a> {
    /// Position in [`Router::routes`].
    pub route: usize,
    /// The path to send upstream.
    pub path: Cow<'a, str>,
}

/// The listed routes of one site.
#[derive(Debug)]
pub struct Router {
    names: Vec<String>,
    routes: Vec<Arc<Route>>,
    standings: Standings,
}

impl Router {
    /// The router of a configuration.
    pub fn new(config: &Config) -> Self {
        // The configuration has sorted them.
        let routes: Vec<_> = config.routes.iter().cloned().map(Arc::new).collect();
        let names = std::iter::once(&config.fqdn).chain(&config.aliases).cloned().collect();
        Self { names, standings: Standings::new(routes.len()), routes }
    }

    /// All routes, in the order they are tried.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Takes routes out of service and back, as `standing` says of each. Requests under way are carried to their end.
    pub fn stand(&self, standing: impl Fn(&Route) -> Standing) {
        for (index, route) in self.routes.iter().enumerate() {
            self.standings.set(index, standing(route));
        }
    }

    /// Decides about one request. Allocates only when the path is not in its normal form.
    ///
    /// # Errors
    /// Why the request is not carried, and which page it gets.
    pub fn decide<'a>(&self, asked: &Asked<'a>) -> Result<Carried<'a>, Refusal> {
        let host = asked.host.ok_or(Refusal::NoHost)?;
        // The name first: a path says nothing as long as it may be another site's.
        if !self.is_ours(host) {
            return Err(Refusal::WrongHost);
        }
        if matches!(asked.method, "TRACE" | "CONNECT") {
            return Err(Refusal::Method);
        }
        // Matched in the form that is sent: a path that the upstream reads otherwise than the router did could leave
        // its route.
        let path = path::normalise(asked.path).map_err(Refusal::BadPath)?;
        let index = self.routes.iter().position(|route| reaches(route, &path)).ok_or(Refusal::NoRoute)?;
        // Before what the route asks of a request: whoever would be refused otherwise is told the same as all, and comes
        // back with a better request or not when there is somebody to look at it.
        if let Standing::Out { until } = self.standings.of(index) {
            return Err(Refusal::Maintenance { route: index, until });
        }
        let route = &self.routes[index];
        if !route.methods.is_empty() && !route.methods.iter().any(|method| method == asked.method) {
            return Err(Refusal::MethodNotAllowed { route: index });
        }
        if let Some(offered) = asked.upgrade {
            allows(&route.websocket, offered)?;
        }
        if !token::admits(route.token, asked.query) {
            return Err(Refusal::Token);
        }
        Ok(Carried { route: index, path })
    }

    /// Whether an authority (host, optionally with a port) is one of our names.
    pub fn is_ours(&self, authority: &str) -> bool {
        self.canonical(authority).is_some()
    }

    /// An authority of ours in its one form, which upstreams are told: the name as configured, the port only when it is
    /// not that of HTTPS. None: it is not ours.
    ///
    /// Upstreams compare it, and build links from it: `EDGE.example.org.:443` must not become another site there.
    pub fn canonical<'a>(&'a self, authority: &str) -> Option<Cow<'a, str>> {
        let host = host_of(authority);
        let port = authority[host.len()..].trim_start_matches(':');
        let host = host.strip_suffix('.').unwrap_or(host);
        let name = self.names.iter().find(|name| name.eq_ignore_ascii_case(host))?;
        match port {
            "" => Some(Cow::Borrowed(name)),
            port => match port.parse::<u16>().ok()? {
                443 => Some(Cow::Borrowed(name)),
                // Behind a port forward browsers see another port, and links must lead back to it.
                port => Some(Cow::Owned(format!("{name}:{port}"))),
            },
        }
    }

    /// Our first name, for a client that names none: HTTP/1.0 knows no `Host`.
    pub fn default_name(&self) -> &str {
        self.names.first().map_or("", |name| name)
    }
}

/// The host of an authority, without its port.
pub fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    }
}

fn reaches(route: &Route, path: &str) -> bool {
    match route.matching {
        Matching::Exact => path == route.path,
        Matching::Prefix => path
            .strip_prefix(&route.path)
            // At a slash alone: `/xuc` must not reach `/xucmgt`.
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || route.path.ends_with('/')),
    }
}

fn allows(websocket: &WebSocket, offered: Option<&str>) -> Result<(), Refusal> {
    let WebSocket::Allowed { subprotocols } = websocket else { return Err(Refusal::UpgradeNotAllowed) };
    if subprotocols.is_empty() {
        return Ok(());
    }
    let fits = offered.is_some_and(|offered| {
        // RFC 9110 section 5.6.1: an empty item is none.
        let mut offers = offered.split(',').map(str::trim).filter(|offer| !offer.is_empty()).peekable();
        // All of them: the upstream chooses one, and it may be any.
        offers.peek().is_some() && offers.all(|o| subprotocols.iter().any(|s| s == o))
    });
    fits.then_some(()).ok_or(Refusal::Subprotocol)
}

#[cfg(test)]
mod tests;
