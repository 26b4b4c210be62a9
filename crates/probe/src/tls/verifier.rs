//! How a server is verified beyond the ordinary way: by given certificates, by pinned keys, or not at all.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, ProtocolVersion, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pin::Pin;
use super::signature;

/// Whom to take for the server.
#[derive(Debug)]
pub(super) enum Verifier {
    /// Whose chain leads to one of the given authorities; and whose certificate is itself a given one, if name and dates
    /// fit. The second is for self-signed servers: the certificate `openssl req -x509` makes calls itself an authority,
    /// which chain building forbids for a server.
    Anchored { chain: Arc<WebPkiServerVerifier>, given: Vec<CertificateDer<'static>> },
    /// Whoever proves, by the handshake's signature, to hold a pinned key.
    Pinned { pins: Vec<Pin>, algorithms: WebPkiSupportedAlgorithms },
    /// Anybody. Checking signatures would prove nothing about a key nobody vouches for, and would refuse old certificates.
    Anybody { algorithms: WebPkiSupportedAlgorithms },
}

/// Carries the key a server showed instead of a pinned one to the failure's words.
#[derive(Debug, thiserror::Error)]
#[error("the server's key {0} is not one of the pinned keys")]
pub(super) struct NotPinned(Pin);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self {
            Self::Anchored { given, .. } if given.iter().any(|given| given == certificate) => {
                verify_dates(certificate, now)?;
                verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
            }
            Self::Anchored { chain, .. } => {
                return chain.verify_server_cert(certificate, intermediates, server_name, ocsp_response, now);
            }
            Self::Pinned { pins, .. } => {
                let shown = Pin::of(certificate).map_err(|_| CertificateError::BadEncoding)?;
                if !pins.contains(&shown) {
                    return Err(CertificateError::Other(OtherError(Arc::new(NotPinned(shown)))).into());
                }
            }
            Self::Anybody { .. } => {}
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Self::Anchored { chain, .. } => chain.verify_tls12_signature(message, certificate, signature),
            Self::Pinned { algorithms, .. } => {
                signature::verify(ProtocolVersion::TLSv1_2, message, certificate, signature, algorithms)
            }
            Self::Anybody { .. } => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    // Without the signatures a pin would prove nothing: a certificate is public, only its signature shows who holds the key.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Self::Anchored { chain, .. } => chain.verify_tls13_signature(message, certificate, signature),
            Self::Pinned { algorithms, .. } => {
                signature::verify(ProtocolVersion::TLSv1_3, message, certificate, signature, algorithms)
            }
            Self::Anybody { .. } => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Anchored { chain, .. } => chain.supported_verify_schemes(),
            Self::Pinned { algorithms, .. } => signature::schemes(algorithms),
            Self::Anybody { algorithms } => algorithms.supported_schemes(),
        }
    }
}

fn verify_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = i64::try_from(now.as_secs()).map_err(|_| Error::FailedToGetCurrentTime)?;
    let validity = parsed.validity();
    let at = |timestamp: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(timestamp).unwrap_or(0)))
    };
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if seconds < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before: at(not_before) }.into());
    }
    if seconds > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after: at(not_after) }.into());
    }
    Ok(())
}
