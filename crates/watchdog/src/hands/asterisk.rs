//! Asterisk's command line: registers this node with media servers, and tells who is registered with one.

use super::command::CommandSpec;
use std::net::IpAddr;
use std::time::Duration;

/// How Asterisk is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsteriskSpec {
    /// The program and leading arguments: `asterisk`.
    pub command: Vec<String>,
    /// For each call.
    pub time_limit: Duration,
}

/// An outbound registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The registration object's name.
    pub name: String,
    /// Whom it registers with.
    pub server: String,
    /// How it is.
    pub state: RegistrationState,
}

/// How an outbound registration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// The server has it.
    Registered,
    /// It does not (yet, or any more).
    Unregistered,
    /// The server refused it; it may be tried again.
    Rejected,
    /// Given up or stopped.
    Stopped,
    /// Something else, in Asterisk's word.
    Other(String),
}

/// A contact registered with this Asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The address of record's name.
    pub aor: String,
    /// Where it is.
    pub uri: String,
    /// The URI's address, if it is one.
    pub address: Option<IpAddr>,
    /// Whether it answers, in Asterisk's word: `Avail`, `Unavail`, `NonQual`.
    pub status: String,
}

/// Who of the two sides is registered with a media server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Main is.
    pub main: bool,
    /// Standby is.
    pub standby: bool,
}

/// Asterisk could not be asked or told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AsteriskError {
    /// Its command line failed.
    #[error("asterisk: `{asked}`: {said}")]
    Command {
        /// What was asked.
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
        /// What was asked.
        asked: String,
        /// The answer's end.
        said: String,
    },
    /// The name cannot be one of an object.
    #[error("`{0}` cannot be the name of a registration")]
    BadName(String),
}

/// Asterisk's command line.
#[derive(Clone, Debug)]
pub struct Asterisk {
    spec: AsteriskSpec,
}

impl Asterisk {
    /// Makes it.
    pub fn new(spec: AsteriskSpec) -> Self {
        Self { spec }
    }

    /// Has a registration sent now.
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be told, or knows no such registration.
    pub async fn register(&self, name: &str) -> Result<(), AsteriskError> {
        let _ = name;
        unimplemented!()
    }

    /// Has a registration ended now (`Expires: 0`).
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be told, or knows no such registration.
    pub async fn unregister(&self, name: &str) -> Result<(), AsteriskError> {
        let _ = name;
        unimplemented!()
    }

    /// Returns the command that ends a registration, for [`super::services::Order::Stop`].
    pub fn unregistering(&self, name: &str) -> CommandSpec {
        let _ = (name, &self.spec);
        unimplemented!()
    }

    /// Returns all outbound registrations.
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be asked, or its answer not be read.
    pub async fn registrations(&self) -> Result<Vec<Registration>, AsteriskError> {
        unimplemented!()
    }

    /// Returns all contacts registered with this Asterisk.
    ///
    /// # Errors
    /// Returns [`AsteriskError`] if Asterisk could not be asked, or its answer not be read.
    pub async fn contacts(&self) -> Result<Vec<Contact>, AsteriskError> {
        unimplemented!()
    }
}

impl Present {
    /// Finds the sides' addresses among contacts.
    pub fn among(contacts: &[Contact], main: IpAddr, standby: IpAddr) -> Self {
        let _ = (contacts, main, standby);
        unimplemented!()
    }
}
