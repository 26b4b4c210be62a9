//! How registrations are held: the figures, and their relations.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::time::Span;

/// The pauses and limits of a [`Registrar`](super::Registrar).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How many MDS there are, at most [`Settings::MOST`]: they are numbered from 0.
    pub mds: u8,
    /// The pause before a failed registration is tried again; doubled each time.
    pub retry: Duration,
    /// Where the pause, doubled by each failure, stops growing.
    pub retry_limit: Duration,
    /// A registration that stands is verified again so often.
    pub verify_every: Duration,
    /// A registration that stands is made again so often, instead of verified: who holds it for the node says that it stands,
    /// whatever the MDS forgot.
    pub refresh_every: Duration,
    /// An attempt without an outcome for so long has failed. The driver ends it by then: it must not take effect later.
    pub answer_limit: Duration,
}

impl Settings {
    /// The most MDS of a site.
    pub const MOST: u8 = 64;

    /// Returns the settings for so many MDS with the default times.
    pub const fn new(mds: u8) -> Self {
        Self {
            mds,
            retry: Duration::from_secs(1),
            retry_limit: Duration::from_secs(30),
            verify_every: Duration::from_secs(10),
            refresh_every: Duration::from_secs(15),
            answer_limit: Duration::from_secs(1),
        }
    }

    /// Checks every relation between the figures.
    ///
    /// # Errors
    /// Returns all that do not hold.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        let mut found = Vec::new();
        if self.mds > Self::MOST {
            found.push(Violation::TooMany { mds: self.mds });
        }
        let moment = Duration::from_millis(1);
        for (field, value, least, least_field) in [
            ("retry", self.retry, moment, "1 ms"),
            ("retry_limit", self.retry_limit, self.retry, "retry"),
            ("answer_limit", self.answer_limit, moment, "1 ms"),
            // The attempt before must have ended: two at one MDS do not overlap.
            ("verify_every", self.verify_every, self.answer_limit, "answer_limit"),
            // A registration that is made again takes the place of a look at it, so it cannot be due more often.
            ("refresh_every", self.refresh_every, self.verify_every, "verify_every"),
        ] {
            if value < least {
                found.push(Violation::TooShort { field, value, least, least_field });
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Returns the pause after so many failed attempts.
    pub(super) fn pause_after(&self, attempts: u32) -> Duration {
        let factor = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.retry.saturating_mul(factor).min(self.retry_limit)
    }
}

/// A figure that does not fit the others. Field names are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// There are more MDS than a site can have.
    TooMany {
        /// How many media servers were configured.
        mds: u8,
    },
    /// A time is too short.
    TooShort {
        /// The setting that is too short.
        field: &'static str,
        /// What the configuration gives it.
        value: Duration,
        /// The shortest value that makes sense.
        least: Duration,
        /// What gives the shortest value.
        least_field: &'static str,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooMany { mds } => write!(f, "mds: {mds} are more than {}", Settings::MOST),
            Self::TooShort { field, value, least, least_field } => {
                write!(f, "{field} ({}) must be at least {least_field} ({})", Span(value), Span(least))
            }
        }
    }
}

impl core::error::Error for Violation {}
