//! Asterisk's command line: registers this node with media servers, tells who is registered with one, and where it listens.
//!
//! Its exit code says only whether Asterisk could be reached: everything else is read from what it prints. The tables
//! are those of Asterisk 13 to 22.

mod ports;
mod table;

use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

pub use self::ports::{Port, Ports};
use super::command::{CommandSpec, Ran, Run};
use super::line::one_line;

/// Room for the tables of some thousand contacts.
const TABLES: usize = 1024 * 1024;

/// How Asterisk's command line is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsteriskSpec {
    /// The program and leading arguments: `asterisk`.
    pub command: Vec<String>,
    /// How long each call may take.
    pub time_limit: Duration,
}

/// An outbound registration, as Asterisk lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The registration object's name; Asterisk shows 53 characters of it at most, so compare by [`Registration::is`].
    pub name: String,
    /// Whether the name is longer than what is shown of it.
    pub cut: bool,
    /// The server's port, if it is written and shown.
    pub port: Option<u16>,
    /// Whether the server has it, by Asterisk's word.
    pub state: RegistrationState,
}

/// How an outbound registration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// The server has it, and said so.
    Registered,
    /// It does not (yet, or any more).
    Unregistered,
    /// The server refused it; it may be tried again.
    Rejected,
    /// Asterisk gave it up, or was told to stop.
    Stopped,
    /// Something else, in Asterisk's word.
    Other(String),
}

/// A contact registered with this Asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The address of record's name.
    pub aor: String,
    /// Where it is; Asterisk may show the beginning only.
    pub uri: String,
    /// The URI's host, if it is an address and shown whole.
    pub address: Option<IpAddr>,
    /// Whether it answers, in Asterisk's word: `Avail`, `Unavail`, `NonQual`.
    pub status: String,
}

/// Who of the two sides is registered with a media server, and not known to be gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Main is registered, by an unexpired contact.
    pub main: bool,
    /// Standby is registered, by an unexpired contact.
    pub standby: bool,
}

/// Asterisk could not be asked or told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AsteriskError {
    /// Its command line could not be run, or failed.
    #[error("asterisk: `{asked}`: {said}")]
    Command {
        /// Of Asterisk's command line, to be typed again.
        asked: String,
        /// How it ended, and what it said.
        said: String,
    },
    /// The registration does not exist.
    #[error("asterisk knows no registration `{0}`")]
    NoSuchRegistration(String),
    /// Its answer is not the expected table.
    #[error("asterisk: cannot read the answer to `{asked}`: {said}")]
    Unreadable {
        /// Of Asterisk's command line, to be typed again.
        asked: String,
        /// The end of what it answered.
        said: String,
    },
    /// The name cannot be one of an object.
    #[error("`{0}` cannot be the name of a registration")]
    BadName(String),
}

/// Asterisk's command line, one call at a time.
#[derive(Clone, Debug)]
pub struct Asterisk {
    spec: AsteriskSpec,
}

impl Asterisk {
    /// Makes a command line that is reached by `spec`.
    pub fn new(spec: AsteriskSpec) -> Self {
        Self { spec }
    }

    /// Has a registration sent now.
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be told, or knows no such registration.
    pub async fn register(&self, name: &str) -> Result<(), AsteriskError> {
        self.send("register", name).await
    }

    /// Has a registration ended now (`Expires: 0`).
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be told, or knows no such registration.
    pub async fn unregister(&self, name: &str) -> Result<(), AsteriskError> {
        self.send("unregister", name).await
    }

    /// Returns the command that ends a registration, for [`super::services::Order::Stop`]. Its exit code tells only
    /// whether Asterisk could be told.
    pub fn unregistering(&self, name: &str) -> CommandSpec {
        CommandSpec { argv: self.argv(&format!("pjsip send unregister {name}")), time_limit: self.spec.time_limit }
    }

    /// Returns all outbound registrations.
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be asked, or its answer not be read.
    pub async fn registrations(&self) -> Result<Vec<Registration>, AsteriskError> {
        const ASKED: &str = "pjsip show registrations";
        table::registrations(&self.ask(ASKED).await?).map_err(|said| unreadable(ASKED, said))
    }

    /// Returns all contacts registered with this Asterisk, and those of its configuration.
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be asked, or its answer not be read.
    pub async fn contacts(&self) -> Result<Vec<Contact>, AsteriskError> {
        const ASKED: &str = "pjsip show contacts";
        table::contacts(&self.ask(ASKED).await?).map_err(|said| unreadable(ASKED, said))
    }

    /// Returns where phones and trunks reach this Asterisk, and the ports at which it reaches others.
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be asked. What it has no module for is not asked.
    pub async fn ports(&self) -> Result<Ports, AsteriskError> {
        let mut ports = Ports::default();
        let mut failed = None;
        for (asked, read) in ports::ASKED {
            match self.ask(asked).await {
                Ok(text) => ports.extend(read(&text)),
                // A module that is not loaded listens nowhere.
                Err(AsteriskError::Command { said, .. }) if said.starts_with("No such command") => {}
                // The other questions are asked all the same, but what is known in part must not be taken for all.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(ports),
        }
    }

    async fn send(&self, what: &str, name: &str) -> Result<(), AsteriskError> {
        // It becomes part of a line that Asterisk takes apart; `*all` is a name to it.
        let plain = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(AsteriskError::BadName(one_line(name)));
        }
        match self.ask(&format!("pjsip send {what} {name}")).await {
            Err(AsteriskError::Command { said, .. }) if said.starts_with("Unable to retrieve registration") => {
                Err(AsteriskError::NoSuchRegistration(name.to_owned()))
            }
            told => told.map(|_| ()),
        }
    }

    async fn ask(&self, asked: &str) -> Result<String, AsteriskError> {
        let argv = self.argv(asked);
        let time_limit = self.spec.time_limit;
        // A question gets no grace when its time is up: the next one comes soon.
        let run = Run { argv: &argv, time_limit, input: None, grace: Duration::ZERO, keep: TABLES, record: None };
        let ran = run.until(pending()).await;
        match complaint(&ran) {
            Some(said) => Err(AsteriskError::Command { asked: asked.to_owned(), said }),
            None => Ok(ran.output),
        }
    }

    fn argv(&self, asked: &str) -> Vec<String> {
        self.spec.command.iter().cloned().chain(["-rx".to_owned(), asked.to_owned()]).collect()
    }
}

/// Returns what went wrong. Warnings about the host may stand before and after it.
fn complaint(ran: &Ran) -> Option<String> {
    const COMPLAINTS: [&str; 5] =
        ["Unable to connect to remote", "Unable to retrieve registration", "No such command", "Command '", "Usage:"];
    let complaint = ran.output.lines().find(|line| COMPLAINTS.iter().any(|complaint| line.starts_with(complaint)));
    match complaint {
        Some(complaint) => Some(one_line(complaint)),
        None if ran.is_done() => None,
        None => Some(ran.to_string()),
    }
}

fn unreadable(asked: &str, said: String) -> AsteriskError {
    AsteriskError::Unreadable { asked: asked.to_owned(), said }
}

impl Registration {
    /// Returns whether it is the one of that name, as far as its name is shown.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.cut && name.starts_with(&self.name)
    }
}

impl std::fmt::Display for RegistrationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Registered => "registered",
            Self::Unregistered => "unregistered",
            Self::Rejected => "rejected",
            Self::Stopped => "stopped",
            Self::Other(word) => word,
        })
    }
}

impl Present {
    /// Finds the sides' addresses among contacts. A contact that is known not to answer does not count: a dead node's
    /// registration stays until it expires.
    pub fn among(contacts: &[Contact], main: IpAddr, standby: IpAddr) -> Self {
        let there = |side| contacts.iter().any(|contact| contact.address == Some(side) && contact.status != "Unavail");
        Self { main: there(main), standby: there(standby) }
    }
}

#[cfg(test)]
mod tests;
