//! TLS failures in the words of somebody who has to repair them.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error, OtherError};

use super::signature::ShortKey;
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

/// What is wrong with a certificate, a chain or a handshake, as a clause: `the certificate has expired`.
#[must_use]
pub fn explain(error: &Error) -> String {
    failure(error).detail
}

fn certificate(error: &CertificateError) -> Failure {
    Failure::new(FailureKind::Tls, sentence(error))
}

/// One for each reason that a certificate can be refused for; the wildcard is for those a newer library brings.
fn sentence(error: &CertificateError) -> String {
    use CertificateError as E;
    let plain = match error {
        E::ExpiredContext { time, not_after } => {
            return format!("the certificate expired {} ago", span(*not_after, *time));
        }
        E::NotValidYetContext { time, not_before } => {
            return format!("the certificate is not valid yet: {} to go (is a clock wrong?)", span(*time, *not_before));
        }
        E::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            return format!("the certificate is not for {}: it has no subject alternative name", expected.to_str());
        }
        E::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            return format!("the certificate is not for {} but for {}", expected.to_str(), names.join(", "));
        }
        E::Other(other) => return of_others(other),
        E::BadEncoding => "what the server shows as its certificate is none that can be read",
        E::Expired => "the certificate has expired",
        E::NotValidYet => "the certificate is not valid yet",
        E::Revoked => "the certificate has been revoked",
        E::UnhandledCriticalExtension => "the certificate demands something this program does not know (an extension)",
        E::UnknownIssuer => "the certificate is not issued by a trusted authority",
        E::UnknownRevocationStatus => "whether the certificate has been revoked cannot be told",
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => "the list of revoked certificates is old",
        E::BadSignature => {
            "a signature does not verify: the certificate is of another authority of the same name, or shown without its \
             key"
        }
        E::UnsupportedSignatureAlgorithmContext { .. } | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            UNSUPPORTED
        }
        E::NotValidForName => "the certificate is for another name",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "the certificate is not made for a server (its extended key usage lacks serverAuth)"
        }
        E::InvalidOcspResponse => "the server's proof that its certificate is not revoked (OCSP) is broken",
        E::ApplicationVerificationFailure => "the certificate was refused",
        other => return unlisted(other),
    };
    plain.to_owned()
}

/// Also for those that are on their way out of the library.
const UNSUPPORTED: &str =
    "a certificate is signed in a way that is not accepted (SHA-1, an RSA key below 2048 bits, or a curve of its own)";

fn unlisted(error: &CertificateError) -> String {
    if format!("{error:?}").starts_with("UnsupportedSignatureAlgorithm") {
        return UNSUPPORTED.to_owned();
    }
    format!("the certificate is not acceptable: {error}")
}

fn of_others(other: &OtherError) -> String {
    if let Some(not_pinned) = other.0.downcast_ref::<NotPinned>() {
        return not_pinned.to_string();
    }
    if let Some(short) = other.0.downcast_ref::<ShortKey>() {
        return short.to_string();
    }
    match other.0.downcast_ref::<webpki::Error>() {
        Some(error) => of_chain(error).to_owned(),
        None => format!("the certificate is not acceptable: {other}"),
    }
}

/// What chain building says beyond what TLS has words for.
fn of_chain(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::CaUsedAsEndEntity => {
            "the server shows an authority's certificate as its own: give it one that is not an authority, or trust this \
             very certificate (ca:) or its key (pin:)"
        }
        E::EndEntityUsedAsCa => "the certificate is issued by one that is no authority",
        E::UnsupportedCertVersion => {
            "the certificate is X.509 version 1, which cannot be verified: make one of version 3"
        }
        E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => {
            "there are more authorities between the certificate and the trusted one than allowed"
        }
        E::NameConstraintViolation => "its authority may not issue certificates for such names",
        E::MaximumSignatureChecksExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumNameConstraintComparisonsExceeded => "the server shows too many certificates to make sense of",
        E::SignatureAlgorithmMismatch => "the certificate contradicts itself about how it is signed",
        E::InvalidSerialNumber | E::InvalidCertValidity => "the certificate's serial number or dates make no sense",
        E::BadDer
        | E::BadDerTime
        | E::ExtensionValueInvalid
        | E::EmptyEkuExtension
        | E::MalformedExtensions
        | E::MalformedDnsIdentifier
        | E::MalformedNameConstraint
        | E::InvalidNetworkMaskConstraint
        | E::UnsupportedNameType
        | E::TrailingData(_) => "the certificate is malformed",
        E::UnsupportedCriticalExtension => {
            "the certificate demands something this program does not know (an extension)"
        }
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            UNSUPPORTED
        }
        E::UnknownIssuer => "the certificate is not issued by a trusted authority",
        E::InvalidSignatureForPublicKey => "a signature in the chain of certificates does not verify",
        _ => "the certificate cannot be verified",
    }
}

/// `DnsName("cc.example.org")` as people write it.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner.strip_suffix(')').unwrap_or(inner));
    inner.trim_matches('"')
}

fn span(from: UnixTime, to: UnixTime) -> String {
    let span = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()));
    match span.as_secs() {
        seconds if seconds < 2 * 3600 => format!("{} minutes", seconds / 60),
        seconds if seconds < 2 * 86_400 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn no_reason_to_refuse_a_certificate_is_told_in_a_librarys_words() {
        let other = |error: webpki::Error| CertificateError::Other(OtherError(Arc::new(error)));
        let chain = [
            webpki::Error::CaUsedAsEndEntity,
            webpki::Error::EndEntityUsedAsCa,
            webpki::Error::UnsupportedCertVersion,
            webpki::Error::PathLenConstraintViolated,
            webpki::Error::NameConstraintViolation,
            webpki::Error::MaximumSignatureChecksExceeded,
            webpki::Error::ExtensionValueInvalid,
            webpki::Error::UnsupportedNameType,
            webpki::Error::IssuerNotCrlSigner,
        ];
        let names = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("cc.example.org").unwrap(),
            presented: vec!["DnsName(\"a.example.org\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()],
        };
        let plain = [
            names,
            CertificateError::BadEncoding,
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::InvalidPurpose,
            CertificateError::UnknownRevocationStatus,
            CertificateError::ApplicationVerificationFailure,
        ];
        for error in chain.into_iter().map(other).chain(plain) {
            let said = explain(&Error::InvalidCertificate(error.clone()));
            let library = said.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
                word.len() > 4
                    && word.chars().skip(1).filter(char::is_ascii_uppercase).count() == 1
                    && word != "serverAuth"
            });
            assert!(!library && !said.contains('"'), "{error:?}: {said}");
        }
    }
}
