//! What one run of a check found.

use std::time::Duration;

use crate::failure::Failure;
use crate::tls::CertificateInfo;

/// What one run of a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the target answered, in one short line such as `HTTP 200`, or why that will not do.
    pub result: Result<String, Failure>,
    /// How long the phases took.
    pub timings: Timings,
    /// The target's certificate, when a handshake was completed. Only as trustworthy as the check's verification.
    pub certificate: Option<CertificateInfo>,
}

/// How long the phases took; `None` for one that was not reached or not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the start until TCP was connected.
    pub connect: Option<Duration>,
    /// The time that the TLS handshake alone took.
    pub tls: Option<Duration>,
    /// From the request to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From the start until the result was certain; saying goodbye to a target that passed is not counted.
    pub total: Duration,
}

impl Report {
    /// Returns whether the target passed.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.result.is_ok()
    }

    /// One printable line of at most 240 bytes: the answer, or what is wrong with it.
    #[must_use]
    pub fn detail(&self) -> &str {
        match &self.result {
            Ok(answer) => answer,
            Err(failure) => &failure.detail,
        }
    }
}
