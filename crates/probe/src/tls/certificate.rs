//! What operators want to know about a target's certificate: above all, when it ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pin::Pin;
use super::term::Term;

/// A target's own certificate, as data: whether to trust it is decided by the verification alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Valid up to and including this second.
    pub not_after: SystemTime,
    /// Whole days left at the time of the check, rounded down; negative once expired.
    pub days_to_expiry: i64,
    /// When it is valid: the whole of it.
    pub term: Term,
    /// The key, in the form in which it can be pinned.
    pub key: Pin,
}

impl CertificateInfo {
    /// `None` for what cannot be parsed: a target may send anything.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let term = Term::of(&parsed);
        Some(Self {
            // A certificate that ended before 1970 is shown as ending then.
            not_after: UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(term.not_after).unwrap_or(0)))?,
            days_to_expiry: term.days_left(SystemTime::now()),
            term,
            key: Pin::of_key(parsed.public_key().raw),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending_in(from_now: time::Duration) -> CertificateDer<'static> {
        let mut parameters = rcgen::CertificateParams::new(["cc.example.org".to_owned()]).unwrap();
        parameters.not_before = time::OffsetDateTime::UNIX_EPOCH;
        parameters.not_after = time::OffsetDateTime::now_utc() + from_now;
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn days_are_whole_and_negative_after_the_end() {
        let table = [
            (time::Duration::hours(71), 2),
            (time::Duration::hours(1), 0),
            (time::Duration::hours(-1), -1),
            (time::Duration::hours(-25), -2),
        ];
        for (left, days) in table {
            assert_eq!(CertificateInfo::of(&ending_in(left)).unwrap().days_to_expiry, days, "{left}");
        }
    }

    #[test]
    fn the_key_is_the_one_to_pin() {
        let certificate = ending_in(time::Duration::days(1));
        assert_eq!(CertificateInfo::of(&certificate).unwrap().key, Pin::of(&certificate).unwrap());
    }

    #[test]
    fn garbage_is_no_certificate() {
        let whole = ending_in(time::Duration::days(1));
        for length in 0..whole.len() {
            assert_eq!(CertificateInfo::of(&CertificateDer::from(&whole[..length])), None, "{length}");
        }
    }
}
