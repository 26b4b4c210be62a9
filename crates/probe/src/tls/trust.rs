//! Whom to trust, resolved once, and the client configurations made of it.

use std::fmt::{self, Debug};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::pin::Pin;
use super::verifier::Verifier;

/// How a server proves who it is.
#[derive(Clone, Debug)]
pub enum Verify {
    /// By an authority this machine trusts.
    System,
    /// By one of these authorities. A server's own self-signed certificate works too: it is then the only one
    /// accepted, for its names, while it is valid.
    Ca(Vec<CertificateDer<'static>>),
    /// By holding one of these keys. Names, dates and issuers do not count.
    Pin(Vec<Pin>),
    /// Not at all: anybody in the path can pose as the server. Say so loudly.
    Off,
}

/// Why a [`Verify`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is nothing to compare with.
    #[error("no certificate authority and no pin is given: nothing could ever be trusted")]
    Empty,
    /// The machine's store is empty or unreadable.
    #[error("this machine has no usable certificate authorities: {0}")]
    NoSystemRoots(String),
    /// One of the given certificates is unusable.
    #[error("certificate authority number {number} cannot be used")]
    BadCa {
        /// Counted from 1, in the order given.
        number: usize,
        /// What is wrong with it.
        #[source]
        cause: rustls::Error,
    },
    /// The process's cryptography cannot do this.
    #[error("the cryptography provider cannot verify certificates: {0}")]
    Provider(String),
}

/// A [`Verify`] made ready: certificates parsed, verifier built. Cheap to clone.
#[derive(Clone)]
pub struct TlsTrust {
    /// Full handshakes only, no ALPN.
    base: Arc<ClientConfig>,
}

impl TlsTrust {
    /// Resolves `verify` with the process's default [`CryptoProvider`], or *aws-lc-rs* if none was chosen.
    ///
    /// # Errors
    /// See [`TrustError`]. Verification is never weakened instead.
    pub fn new(verify: Verify) -> Result<Self, TrustError> {
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let verifier = verifier(verify, &provider)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Provider(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { base: Arc::new(config) })
    }

    /// Builds a configuration that offers `alpn` and resumes sessions. Build it once per upstream and share it: the
    /// session cache lives in it.
    #[must_use]
    pub fn client_config(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = self.offering(alpn);
        // Traffic saves handshakes: certificates are looked at by the checks beside it, each time.
        config.resumption = Resumption::default();
        Arc::new(config)
    }

    /// Builds a configuration that offers `alpn` and never resumes: each handshake verifies the certificate.
    #[must_use]
    pub fn full_handshake_config(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        Arc::new(self.offering(alpn))
    }

    fn offering(&self, alpn: &[&[u8]]) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.base);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

impl Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTrust").finish_non_exhaustive()
    }
}

fn verifier(verify: Verify, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let algorithms = provider.signature_verification_algorithms;
    match verify {
        Verify::System => Ok(webpki(system_roots()?, provider)?),
        Verify::Ca(certificates) => {
            let chain = webpki(roots(&certificates)?, provider)?;
            Ok(Arc::new(Verifier::Anchored { chain, given: certificates }))
        }
        Verify::Pin(pins) if pins.is_empty() => Err(TrustError::Empty),
        Verify::Pin(pins) => Ok(Arc::new(Verifier::Pinned { pins, algorithms })),
        Verify::Off => Ok(Arc::new(Verifier::Anybody { algorithms })),
    }
}

fn webpki(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| TrustError::Provider(error.to_string()))
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TrustError> {
    if certificates.is_empty() {
        return Err(TrustError::Empty);
    }
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|cause| TrustError::BadCa { number: index + 1, cause })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Stores are known to hold the odd certificate that no parser likes; the others still count.
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let cause = found
            .errors
            .first()
            .map_or_else(|| format!("{ignored} were found, none could be parsed"), ToString::to_string);
        return Err(TrustError::NoSystemRoots(cause));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusting_nobody_is_an_error_and_not_the_same_as_trusting_everybody() {
        assert!(matches!(TlsTrust::new(Verify::Ca(Vec::new())), Err(TrustError::Empty)));
        assert!(matches!(TlsTrust::new(Verify::Pin(Vec::new())), Err(TrustError::Empty)));
    }

    #[test]
    fn a_bad_authority_is_named_by_its_number() {
        let good = rcgen::generate_simple_self_signed(["a.example.org".to_owned()]).unwrap().cert.der().clone();
        let error = TlsTrust::new(Verify::Ca(vec![good, CertificateDer::from(vec![0x30, 0x00])])).unwrap_err();
        assert_eq!(error.to_string(), "certificate authority number 2 cannot be used");
    }

    #[test]
    fn each_configuration_offers_its_own_protocols() {
        let trust = TlsTrust::new(Verify::Pin(vec![Pin::new([0; 32])])).unwrap();
        assert_eq!(trust.client_config(&[b"h2", b"http/1.1"]).alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert!(trust.full_handshake_config(&[]).alpn_protocols.is_empty());
    }
}
