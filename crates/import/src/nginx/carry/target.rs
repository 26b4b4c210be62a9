//! Where `proxy_pass` leads: through `upstream` blocks and variables that are `set`, to an address.

use std::collections::HashMap;

use crate::address::address;
use crate::nginx::Directive;
use crate::note::Note;

#[derive(Debug, Default)]
pub(super) struct Upstreams {
    servers: HashMap<String, String>,
    variables: HashMap<String, String>,
}

impl Upstreams {
    /// The first server is carried over; a service of several is a list that its administrator must look at.
    pub(super) fn define(&mut self, name: &str, block: &[Directive], notes: &mut Vec<Note>) {
        for directive in block {
            if directive.name != "server" {
                notes.push(Note::new(
                    &directive.origin(),
                    &directive.name,
                    "connections are kept and shared out anyway",
                ));
            } else if self.servers.contains_key(name) {
                let why = "another server of its upstream: make the address in the new file a list";
                notes.push(Note::new(&directive.origin(), "server", why));
            } else {
                self.servers.insert(name.to_owned(), directive.arg(0).to_owned());
            }
        }
    }

    pub(super) fn set(&mut self, variable: &str, value: &str) {
        self.variables.insert(variable.trim_start_matches('$').to_owned(), value.to_owned());
    }

    /// The address of a `proxy_pass` with its scheme, or why there is none. `path` is the location's: a target with
    /// another path rewrites.
    pub(super) fn resolve(&self, target: &str, path: &str) -> Result<String, String> {
        // Once: a variable that names another one is named as not resolved.
        let target = match target.split_once('$') {
            None => target.to_owned(),
            Some((before, rest)) => {
                let rest = rest.trim_start_matches('{');
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                let value = self.variables.get(name).ok_or_else(|| format!("${name} is not set in this server"))?;
                format!("{before}{value}{}", after.trim_start_matches('}'))
            }
        };
        if target.contains('$') {
            return Err("names a variable that is not known before a request".to_owned());
        }
        let (scheme, rest) = target.split_once("://").ok_or("is no http:// or https://")?;
        let (authority, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if rest.trim_end_matches('/') != path.trim_end_matches('/') && !rest.is_empty() {
            return Err(format!("rewrites {path} to {rest}; nothing is rewritten here"));
        }
        let authority = self.servers.get(authority).map_or(authority, String::as_str);
        address(&format!("{scheme}://{authority}"))
            .ok_or_else(|| format!("{authority} is no IP address; say it as --main, --standby or --shared"))
    }
}
