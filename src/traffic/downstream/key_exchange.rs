//! Whose key exchange comes first. rustls goes by the client's order, so that a client that knows X25519MLKEM768 and names a curve
//! before it would get the curve: for those who name it at all, curves are left to TLS 1.2, which has nothing else.

use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::server::ClientHello;
use rustls::{Error, NamedGroup, ProtocolVersion};

/// Groups for clients that name X25519MLKEM768: with TLS 1.3 that one alone. A client that brings no share for it is asked
/// for one (RFC 8446 section 4.1.4), a round trip more; browsers bring it.
pub static HYBRID: [&dyn SupportedKxGroup; 4] = [
    kx_group::X25519MLKEM768,
    &OldVersions(kx_group::X25519),
    &OldVersions(kx_group::SECP256R1),
    &OldVersions(kx_group::SECP384R1),
];

/// Whether the client can agree on a secret that a quantum computer does not find.
pub fn knows_hybrid(hello: &ClientHello<'_>) -> bool {
    hello.named_groups().is_some_and(|groups| groups.contains(&NamedGroup::X25519MLKEM768))
}

/// A curve, for versions before TLS 1.3 alone. It computes nothing itself.
#[derive(Debug)]
struct OldVersions(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for OldVersions {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        self.0.start()
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        self.0.start_and_complete(share)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version != ProtocolVersion::TLSv1_3 && self.0.usable_for_version(version)
    }
}
