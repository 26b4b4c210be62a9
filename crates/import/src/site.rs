//! What is known of the site so far, from files and from options, each with where it stood.

use failover::Side;

use crate::nginx::Directive;
use crate::note::{Note, Origin};

/// A value with its source, which its comment in the draft names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) text: String,
    /// None where an option says it: then there is no line to name.
    pub(crate) origin: Option<Origin>,
    /// The name of the variable, directive or option that says it.
    pub(crate) subject: String,
    /// The variable's meaning is not in the public documentation.
    pub(crate) guessed: bool,
}

impl Found {
    pub(crate) fn option(text: &str, subject: &str) -> Self {
        Self { text: text.to_owned(), origin: None, subject: subject.to_owned(), guessed: false }
    }

    pub(crate) fn directive(text: &str, directive: &Directive) -> Self {
        let origin = Some(directive.origin());
        Self { text: text.to_owned(), origin, subject: directive.name.clone(), guessed: false }
    }
}

/// What the old files do not say, told by options. Addresses are `(service, address)`.
#[derive(Debug, Clone)]
pub struct Given {
    /// The name that `preset:` gets; it is not looked up here.
    pub preset: String,
    /// Whose addresses the old file holds: it names one side, the one that is live as it was written.
    pub holds: Side,
    /// Main's, over what the old file says of that side.
    pub main: Vec<(String, String)>,
    /// Standby's, which an old file holds only after an outage.
    pub standby: Vec<(String, String)>,
    /// Services both sides share; media servers are `mds.NAME`.
    pub shared: Vec<(String, String)>,
    /// Path of the certificate's full chain, PEM; over what the old file says.
    pub chain: Option<String>,
    /// Path of the certificate's key, PEM.
    pub key: Option<String>,
    /// The authority that signed the upstreams' certificates, PEM.
    pub upstream_ca: Option<String>,
    /// Addresses to listen on; none: 0.0.0.0:443.
    pub listen: Vec<String>,
    /// Whether the new Edge only watches at first.
    pub observe: bool,
}

/// TURN over TLS on the site's own port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn {
    pub(crate) name: Option<Found>,
    pub(crate) is_on: bool,
    /// This host, as its users and coturn know it.
    pub(crate) host: Option<Found>,
    /// The service itself, where the old files name it.
    pub(crate) to: Option<Found>,
}

/// What is known by now, in the shape of edge.yaml; what is still missing is none or empty.
#[derive(Debug, Clone, Default)]
pub struct Site {
    pub(crate) fqdn: Option<Found>,
    pub(crate) aliases: Vec<Found>,
    pub(crate) chain: Option<Found>,
    pub(crate) key: Option<Found>,
    /// The side that the old files name.
    pub(crate) held: Vec<(String, Found)>,
    pub(crate) main: Vec<(String, Found)>,
    pub(crate) standby: Vec<(String, Found)>,
    pub(crate) shared: Vec<(String, Found)>,
    pub(crate) turn: Turn,
    pub(crate) assets_burst: Option<(u32, Found)>,
    /// The oldest version of TLS, where it is not the default.
    pub(crate) tls_min: Option<Found>,
    pub(crate) zones: Vec<Zone>,
    pub(crate) routes: Vec<RouteDraft>,
    /// Routes of the preset that the old Edge had not.
    pub(crate) removed: Vec<String>,
    /// Paths that the old Edge carried; what the preset has beside them is taken away.
    pub(crate) seen: Vec<String>,
}

/// A zone of the old Edge; `text` is its mapping in YAML.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) found: Found,
}

/// A route that the preset has otherwise, or not at all.
#[derive(Debug, Clone)]
pub(crate) struct RouteDraft {
    pub(crate) path: String,
    pub(crate) is_exact: bool,
    /// None where the preset's own service is right.
    pub(crate) service: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) has_websocket: bool,
    pub(crate) found: Found,
}

impl Site {
    /// A service of the side that the old files name.
    pub(crate) fn put_side(&mut self, service: &str, found: Found) -> Result<(), String> {
        put(&mut self.held, service, found)
    }

    /// A service both sides share; the first address counts, and a second one is an error that names the first.
    pub(crate) fn put_shared(&mut self, service: &str, found: Found) -> Result<(), String> {
        put(&mut self.shared, service, found)
    }

    /// Lays options over what was read: whoever types one knows better than an old file.
    pub(crate) fn take(&mut self, given: &Given) {
        let held = std::mem::take(&mut self.held);
        match given.holds {
            Side::Main => self.main = held,
            Side::Standby => self.standby = held,
        }
        for (told, option, services) in [
            (&given.main, "--main", &mut self.main),
            (&given.standby, "--standby", &mut self.standby),
            (&given.shared, "--shared", &mut self.shared),
        ] {
            for (service, address) in told {
                services.retain(|(name, _)| name != service);
                services.push((service.clone(), Found::option(address, option)));
            }
        }
        if let Some(chain) = &given.chain {
            self.chain = Some(Found::option(chain, "--chain"));
        }
        if let Some(key) = &given.key {
            self.key = Some(Found::option(key, "--key"));
        }
    }

    /// Drops what several values together make void, and puts the notes in the order of the files.
    pub(crate) fn settle(&mut self, notes: &mut Vec<Note>) {
        if self.assets_burst.as_ref().is_some_and(|(burst, _)| *burst == ASSETS_BURST) {
            self.assets_burst = None;
        }
        // Without the switch the old Edge had TURN on 3478 alone, whatever name it had.
        if let Some(name) = self.turn.name.take_if(|_| !self.turn.is_on)
            && let Some(origin) = &name.origin
        {
            let why = "EDGE_NGINX_TURN_PROXY is not true: port 443 is not shared, and coturn goes on at 3478";
            notes.push(Note::new(origin, &name.subject, why));
        }
        notes.sort_by(|a, b| (&a.origin.file, a.origin.line).cmp(&(&b.origin.file, b.origin.line)));
    }

    /// Whether a shared service has an address by now, so that routes to it can stand.
    pub(crate) fn shares(&self, service: &str) -> bool {
        self.shared.iter().any(|(name, _)| name == service)
    }
}

/// The burst of what applications load, in the preset and where nothing is said.
const ASSETS_BURST: u32 = 50;

fn put(services: &mut Vec<(String, Found)>, service: &str, found: Found) -> Result<(), String> {
    match services.iter().find(|(name, _)| name == service) {
        Some((_, before)) if before.text == found.text => Ok(()),
        Some((_, before)) => {
            Err(format!("{} says another address for {service}; give one with --map or as an option", before.subject))
        }
        None => {
            services.push((service.to_owned(), found));
            Ok(())
        }
    }
}
