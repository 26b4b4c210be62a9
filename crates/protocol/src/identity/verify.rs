//! Whether the one we dialled is the one we meant: its chain leads to the site's authority, and its role is the expected one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme};

use super::{Flaw, GRACE_DAYS, read};
use crate::who::Who;
use crate::wire::Role;

const GRACE_SECONDS: u64 = GRACE_DAYS as u64 * 24 * 3600;

/// Whom we expect at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The certificate must be the Edge's.
    Edge,
    /// The XiVO node of a side.
    Xivo(Side),
    /// A XiVO node of either side.
    AnyXivo,
}

impl Expected {
    fn is(self, who: &Who) -> bool {
        match self {
            Self::Edge => matches!(who, Who::Edge { .. }),
            Self::Xivo(side) => who.is_node(Role::Xivo, Some(side)),
            Self::AnyXivo => matches!(who, Who::Node { role: Role::Xivo, .. }),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge => f.write_str("an Edge"),
            Self::Xivo(side) => write!(f, "the XiVO node of {side}"),
            Self::AnyXivo => f.write_str("a XiVO node"),
        }
    }
}

/// Why a certificate of the site's own authority is not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongRole(String);

/// Checks a server by its chain and role; its address may change without a new certificate.
#[derive(Debug)]
pub(super) struct ServerRole {
    roots: Arc<RootCertStore>,
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerRole {
    pub(super) fn new(roots: Arc<RootCertStore>, expected: Expected, provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self { roots, expected, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for ServerRole {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        within_grace(certificate, now, |now| {
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)
        })?;
        let refuse = |problem| Error::Other(OtherError(Arc::new(WrongRole(problem))));
        match read(certificate) {
            Ok((who, _)) if self.expected.is(&who) => Ok(ServerCertVerified::assertion()),
            Ok((who, _)) => Err(refuse(format!("{who} answers there, not {}", self.expected))),
            Err(Flaw::Role(role)) => Err(refuse(role.to_string())),
            Err(Flaw::Certificate(problem)) => Err(refuse(format!("its certificate {problem}"))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.2 is not offered, so nobody comes here; were it offered by mistake, nothing would pass.
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks whoever dials by rustls' own verifier, with the grace.
#[derive(Debug)]
pub(super) struct Clients(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Clients {
    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        within_grace(certificate, now, |now| self.0.verify_client_cert(certificate, intermediates, now))
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Checks a certificate now; one that is over and was not for longer than the grace, as of its last second. Everything else
/// about it is checked all the same.
fn within_grace<T>(
    certificate: &CertificateDer<'_>,
    now: UnixTime,
    verify: impl Fn(UnixTime) -> Result<T, Error>,
) -> Result<T, Error> {
    use rustls::CertificateError::{Expired, ExpiredContext};
    let verified = verify(now);
    let Err(Error::InvalidCertificate(Expired | ExpiredContext { .. })) = verified else { return verified };
    match read(certificate) {
        Ok((who, end)) if !matches!(who, Who::Operator { .. }) && now.as_secs() < end.saturating_add(GRACE_SECONDS) => {
            verify(UnixTime::since_unix_epoch(Duration::from_secs(end.saturating_sub(1))))
        }
        _ => verified,
    }
}

/// Checks that a chain leads to the authority, at a time when it had not expired.
pub(super) fn chain_of(chain: &[CertificateDer<'_>], roots: &RootCertStore, expires: u64) -> Result<(), Error> {
    let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    let algorithms = default_provider().signature_verification_algorithms;
    let valid = UnixTime::since_unix_epoch(Duration::from_secs(expires.saturating_sub(1)));
    let parsed = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, valid, algorithms.all)
}
