//! What one run of a check found.

use std::time::Duration;

use failover::verdict::{self, Outcome};

use crate::failure::{Failure, FailureKind};
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

    /// What a judge is told of it; nothing if it says nothing about the target. Both programs ask here, so that the same
    /// answer is the same evidence to both.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let failure = match &self.result {
            Ok(_) => return Some(Outcome::Ok),
            Err(failure) => failure,
        };
        Some(Outcome::Failed(match failure.kind {
            FailureKind::Refused => verdict::Failure::Refused,
            FailureKind::Reset => verdict::Failure::Reset,
            FailureKind::Silent => verdict::Failure::Silent,
            FailureKind::Unreachable => verdict::Failure::Unreachable,
            FailureKind::Tls => verdict::Failure::Tls,
            // RFC 6585 section 4, RFC 9110 section 15.6.4, RFC 3261 section 21.5.4: it lives, and asks for less.
            FailureKind::Status(429 | 503) => verdict::Failure::Overloaded,
            FailureKind::Status(status) => verdict::Failure::Status(status),
            FailureKind::Wrong => verdict::Failure::Wrong,
            FailureKind::Local => return None,
        }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Phase;

    fn failed(kind: FailureKind, detail: &str) -> Report {
        let failure = Failure { kind, phase: Phase::Answer, detail: detail.to_owned() };
        Report { result: Err(failure), timings: Timings::default(), certificate: None }
    }

    #[test]
    fn a_status_is_evidence_whatever_the_words_are_and_words_are_none() {
        for status in [429, 503] {
            let report = failed(FailureKind::Status(status), "in other words");
            assert_eq!(report.outcome(), Some(Outcome::Failed(verdict::Failure::Overloaded)));
        }
        let report = failed(FailureKind::Status(500), "in other words");
        assert_eq!(report.outcome(), Some(Outcome::Failed(verdict::Failure::Status(500))));
        let report = failed(FailureKind::Wrong, "HTTP 503 in these words alone");
        assert_eq!(report.outcome(), Some(Outcome::Failed(verdict::Failure::Wrong)));
    }

    #[test]
    fn local_trouble_is_no_evidence() {
        assert_eq!(failed(FailureKind::Local, "cannot open a socket").outcome(), None);
        let well = Report { result: Ok("HTTP 200".into()), timings: Timings::default(), certificate: None };
        assert_eq!(well.outcome(), Some(Outcome::Ok));
    }
}
