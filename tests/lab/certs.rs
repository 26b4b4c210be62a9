//! Certificates of a site: for its nodes, by role, and for its web servers, by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use failover::Side;
use protocol::issue::{Authority, Validity};
use protocol::who::Who;
use protocol::wire::Role;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;

use crate::net::Host;
use crate::outcome::{Outcome, because};

/// The name users browse.
pub(crate) const FQDN: &str = "edge.lab.test";

/// Who a machine's certificate says it is; phones and users have none.
fn who(host: Host) -> Outcome<Who> {
    let name = host.name();
    Ok(match host {
        Host::MainXivo => Who::of_side(Role::Xivo, Side::Main, name),
        Host::StandbyXivo => Who::of_side(Role::Xivo, Side::Standby, name),
        Host::MainCc => Who::of_side(Role::Cc, Side::Main, name),
        Host::StandbyCc => Who::of_side(Role::Cc, Side::Standby, name),
        Host::Mds1 => Who::media_server(name),
        Host::Edge => Who::edge(name),
        Host::Phone | Host::User => return Err(format!("{name} is no node")),
    })
}

/// What may be wrong with a node's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It was over an hour ago.
    Expired,
    /// Right authority, another node's role.
    Role(Host),
    /// Another site's authority.
    Foreign,
}

/// The site's own authority for nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    directory: PathBuf,
    authority: Authority,
}

impl Nodes {
    pub(crate) fn new(directory: &Path) -> Outcome<Self> {
        let authority = Authority::create(&directory.join("authority"), "lab").map_err(because("an authority"))?;
        Ok(Self { directory: directory.to_owned(), authority })
    }

    /// Makes a machine's identity directory anew.
    pub(crate) fn issue(&self, host: Host, flaw: Flaw, to: &Path) -> Outcome {
        let _ = std::fs::remove_dir_all(to);
        let valid = match flaw {
            Flaw::Expired => Validity::expired(),
            _ => Validity::days(30),
        };
        let named = match flaw {
            Flaw::Role(other) => who(other)?,
            _ => who(host)?,
        };
        let issued = if flaw == Flaw::Foreign {
            let elsewhere = self.directory.join("foreign");
            let authority = Authority::open(&elsewhere).or_else(|_| Authority::create(&elsewhere, "elsewhere"));
            authority.and_then(|authority| authority.issue(&named, to, valid))
        } else {
            self.authority.issue(&named, to, valid)
        };
        issued.map_err(because(to.display()))
    }
}

/// A certificate chain and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// The authority of the web servers.
pub(crate) struct Web {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) ca: PathBuf,
    directory: PathBuf,
}

impl Web {
    pub(crate) fn new(directory: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(directory).map_err(because(directory.display()))?;
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().map_err(because("a key"))?;
        let own = parameters.self_signed(&key).map_err(because("an authority"))?;
        let ca = directory.join("ca.pem");
        std::fs::write(&ca, own.pem()).map_err(because(ca.display()))?;
        let certificate = own.der().clone();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate, ca, directory: directory.to_owned() })
    }

    /// Makes a server's certificate.
    pub(crate) fn issue(&self, name: &str, names: &[&str]) -> Outcome<Pair> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let parameters = CertificateParams::new(names).map_err(because("a certificate"))?;
        let key = KeyPair::generate().map_err(because("a key"))?;
        let leaf = parameters.signed_by(&key, &self.issuer).map_err(because("a certificate"))?;
        let pair = Pair {
            chain: self.directory.join(format!("{name}-chain.pem")),
            key: self.directory.join(format!("{name}-key.pem")),
        };
        std::fs::write(&pair.chain, leaf.pem()).map_err(because(pair.chain.display()))?;
        std::fs::write(&pair.key, key.serialize_pem()).map_err(because(pair.key.display()))?;
        Ok(pair)
    }

    /// How a user's browser trusts the site.
    pub(crate) fn client(&self) -> Outcome<Arc<rustls::ClientConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(because("the web authority"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(because("TLS"))?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").field("ca", &self.ca).finish_non_exhaustive()
    }
}
