//! TLS failures in the words of somebody who has to repair them.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};

use super::verifier::NotPinned;
use crate::failure::{Failure, FailureKind};

pub(crate) fn failure(error: &Error) -> Failure {
    let tls = |detail: std::fmt::Arguments<'_>| Failure::new(FailureKind::Tls, detail);
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(_) => tls(format_args!("what it speaks is not TLS ({error})")),
        Error::AlertReceived(alert) => tls(format_args!("the server refused the handshake: {alert:?}")),
        Error::NoApplicationProtocol => tls(format_args!("the server speaks none of the offered protocols (ALPN)")),
        Error::FailedToGetRandomBytes | Error::FailedToGetCurrentTime => Failure::local("prepare TLS", error),
        other => tls(format_args!("{other}")),
    }
}

fn certificate(error: &CertificateError) -> Failure {
    let tls = |detail: std::fmt::Arguments<'_>| Failure::new(FailureKind::Tls, detail);
    match error {
        CertificateError::Expired => tls(format_args!("the certificate has expired")),
        CertificateError::ExpiredContext { time, not_after } => {
            tls(format_args!("the certificate expired {} ago", span(*not_after, *time)))
        }
        CertificateError::NotValidYet => tls(format_args!("the certificate is not valid yet")),
        CertificateError::NotValidYetContext { time, not_before } => tls(format_args!(
            "the certificate is not valid yet: {} to go (is a clock wrong?)",
            span(*time, *not_before)
        )),
        CertificateError::BadSignature => tls(format_args!(
            "a signature does not verify: the certificate is of another authority of the same name, or shown without its key"
        )),
        CertificateError::UnknownIssuer => tls(format_args!("the certificate is not issued by a trusted authority")),
        CertificateError::NotValidForName => tls(format_args!("the certificate is for another name")),
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            tls(format_args!("the certificate is not for {}: it has no subject alternative name", expected.to_str()))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            tls(format_args!("the certificate is not for {} but for {}", expected.to_str(), presented.join(", ")))
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<NotPinned>() {
            Some(not_pinned) => tls(format_args!("{not_pinned}")),
            // webpki keeps "an authority's certificate used by a server" here.
            None => tls(format_args!("the certificate is not acceptable: {other}")),
        },
        other => tls(format_args!("the certificate is not acceptable: {other}")),
    }
}

fn span(from: UnixTime, to: UnixTime) -> String {
    let span = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()));
    match span.as_secs() {
        seconds if seconds < 2 * 3600 => format!("{} minutes", seconds / 60),
        seconds if seconds < 2 * 86_400 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
