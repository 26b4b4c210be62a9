//! Reads what configures an existing Edge, and drafts the edge.yaml that takes its place.
//!
//! ```text
//!  .env ── env ──▶ variables ── carry ──┐
//!                                       ├──▶ Site ── write ──▶ edge.yaml with comments
//!  nginx ── nginx ▶ directives ─ carry ─┘      └───▶ Notes: what is not carried over, and why
//! ```
//!
//! Nothing is lost without a word: what has no place in edge.yaml becomes a [`Note`], which stands in the draft and is
//! told to the operator. Texts come from elsewhere and are hostile: each reader bounds what it takes, no value that is
//! not known to be harmless is repeated (a `.env` holds secrets), and nothing but printable text reaches a comment.
//!
//! Whether the draft is a sound configuration is left to the program that reads such files.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test"))]

mod address;
mod env;
mod nginx;
mod note;
mod site;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;

pub use env::ROLES;
pub use env::carry::Role;
pub use nginx::carry::{Known, Limit};
pub use nginx::{Disk, Files};
pub use note::{ImportError, Note, Origin};
pub use site::{Given, Site};
pub use write::FILL_IN;

/// A file of the old Edge, read whole.
#[derive(Debug, Clone)]
pub struct Source {
    /// How messages name it: what the administrator typed, or the path of an include.
    pub name: String,
    /// All of it, UTF-8; whoever read it has bounded it.
    pub text: String,
    /// Where it is; what it includes is looked for beside it.
    pub path: PathBuf,
}

/// What an import yields: text, and what its reader must be told.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The text of edge.yaml; it ends with what was not carried over, as comments.
    pub yaml: String,
    /// What is not carried over, or needs a look, in the order of the files.
    pub notes: Vec<Note>,
    /// Keys nobody has said a value for; each stands in the file as [`FILL_IN`].
    pub missing: Vec<String>,
}

/// Drafts edge.yaml from an Edge's `.env`. `roles` are keys that somebody has told variables by hand; they count before what
/// is known here.
///
/// # Errors
/// The first line that is no `NAME=VALUE`, or the limit that the file exceeds.
pub fn from_env(source: &Source, roles: &[(String, Role)], given: &Given) -> Result<Draft, ImportError> {
    let variables = env::read(source)?;
    let mut site = Site::default();
    let mut notes = Vec::new();
    env::carry::carry(variables, roles, &mut site, &mut notes);
    Ok(finish(site, notes, given))
}

/// Drafts edge.yaml from nginx's main file, or one with `server` blocks, and all that it includes. `known` are the routes of
/// the preset.
///
/// # Errors
/// The first line that nginx would not understand either, an include that is not there, or the limit that is exceeded.
pub fn from_nginx(source: &Source, files: &dyn Files, known: &[Known], given: &Given) -> Result<Draft, ImportError> {
    let directives = nginx::read(source, files)?;
    let mut site = Site::default();
    // A name of the site's own, said by an option, is known before locations are placed.
    site.shared
        .extend(given.shared.iter().map(|(name, address)| (name.clone(), site::Found::option(address, "--shared"))));
    let mut notes = Vec::new();
    nginx::carry::carry(&directives, known, &mut site, &mut notes);
    Ok(finish(site, notes, given))
}

fn finish(mut site: Site, mut notes: Vec<Note>, given: &Given) -> Draft {
    site.take(given);
    site.settle(&mut notes);
    let (yaml, missing) = write::write(&site, given, &notes);
    Draft { yaml, notes, missing }
}
