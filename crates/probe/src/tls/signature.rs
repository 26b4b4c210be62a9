//! Whether a handshake's signature was made with the key of a certificate that is pinned.
//!
//! The library's own check first wants a certificate it could also build a chain with: X.509v3, an RSA key of 2048 bits.
//! Of a pinned key nothing but the key counts, so that what Asterisk's own script makes (X.509v1, 1024 bits) can be
//! pinned too.

use std::sync::Arc;

use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RsaParameters,
    UnparsedPublicKey,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, ProtocolVersion, SignatureScheme,
};
use x509_parser::asn1_rs::Sequence;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Below this an RSA key is verified by PKCS#1 v1.5 alone, which TLS 1.3 has not.
const RSA_BITS: usize = 2048;

/// A key that cannot be verified in this handshake.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server's RSA key has {0} bits, too few to prove itself in this handshake; give it a key of 2048 bits, or let it \
     speak TLS 1.2"
)]
pub(super) struct ShortKey(usize);

/// The ways to sign that are offered. PKCS#1 before PSS: the only one a short RSA key can be verified by, and the server
/// takes the first it can.
pub(super) fn schemes(algorithms: &WebPkiSupportedAlgorithms) -> Vec<SignatureScheme> {
    let mut schemes = algorithms.supported_schemes();
    schemes.sort_by_key(|scheme| {
        matches!(scheme, SignatureScheme::RSA_PKCS1_SHA384) as u8 + u8::from(is_pss(*scheme)) * 2
    });
    schemes
}

/// Verifies `signature` over `message` by the key in `certificate`.
pub(super) fn verify(
    version: ProtocolVersion,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let unreadable = || Error::from(CertificateError::BadEncoding);
    if version == ProtocolVersion::TLSv1_3 && !in_tls13(signature.scheme) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
    let key = parsed.public_key();
    let bits = &key.subject_public_key.data;
    if let Ok(PublicKey::RSA(rsa)) = key.parsed()
        && rsa.key_size() < RSA_BITS
    {
        let legacy = legacy(signature.scheme)
            .ok_or_else(|| Error::from(CertificateError::Other(OtherError(Arc::new(ShortKey(rsa.key_size()))))))?;
        return UnparsedPublicKey::new(legacy, bits)
            .verify(message, signature.signature())
            .map(|()| HandshakeSignatureValid::assertion())
            .map_err(|_| CertificateError::BadSignature.into());
    }
    let identifier = algorithm(key.raw).ok_or_else(unreadable)?;
    let (_, candidates) = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signature.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    // In TLS 1.3 a scheme names its curve, which is the first; before, any curve goes with any hash.
    let allowed = if version == ProtocolVersion::TLSv1_3 { &candidates[..candidates.len().min(1)] } else { candidates };
    let verified = allowed
        .iter()
        .filter(|candidate| candidate.public_key_alg_id().as_ref() == identifier)
        .any(|candidate| candidate.verify_signature(bits, message, signature.signature()).is_ok());
    if verified { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
}

/// The AlgorithmIdentifier's content within a SubjectPublicKeyInfo.
fn algorithm(subject_public_key_info: &[u8]) -> Option<Vec<u8>> {
    let (_, outer) = Sequence::from_der(subject_public_key_info).ok()?;
    let (_, inner) = Sequence::from_der(&outer.content).ok()?;
    Some(inner.content.to_vec())
}

fn legacy(scheme: SignatureScheme) -> Option<&'static RsaParameters> {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => Some(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        SignatureScheme::RSA_PKCS1_SHA512 => Some(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        _ => None,
    }
}

fn is_pss(scheme: SignatureScheme) -> bool {
    use SignatureScheme::{RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512};
    matches!(scheme, RSA_PSS_SHA256 | RSA_PSS_SHA384 | RSA_PSS_SHA512)
}

/// RFC 8446 section 4.2.3: no PKCS#1 v1.5 and no SHA-1 in handshakes.
fn in_tls13(scheme: SignatureScheme) -> bool {
    use SignatureScheme::{ECDSA_NISTP256_SHA256, ECDSA_NISTP384_SHA384, ECDSA_NISTP521_SHA512, ED448, ED25519};
    is_pss(scheme)
        || matches!(scheme, ECDSA_NISTP256_SHA256 | ECDSA_NISTP384_SHA384 | ECDSA_NISTP521_SHA512 | ED25519 | ED448)
}
