//! Certificates of a site: for its nodes, by role, and for its web servers, by name.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use failover::Side;
use protocol::issue::{Authority, Validity};
use protocol::who::Who;
use protocol::wire::Role;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;

use crate::net::Host;
use crate::outcome::{Outcome, because, ensure};

/// The name users browse.
pub(crate) const FQDN: &str = "edge.lab.test";

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

/// The site's own authority for nodes, made and asked with `bascule certs`.
#[derive(Debug)]
pub(crate) struct Nodes {
    bascule: PathBuf,
    authority: PathBuf,
    /// Another site's.
    foreign: PathBuf,
}

impl Nodes {
    pub(crate) fn new(directory: &Path, bascule: &Path) -> Outcome<Self> {
        let (authority, foreign) = (directory.join("authority"), directory.join("foreign"));
        let nodes = Self { bascule: bascule.to_owned(), authority, foreign };
        nodes.certs(&["ca", "--site", "lab"], &[("--dir", &nodes.authority)])?;
        nodes.certs(&["ca", "--site", "elsewhere"], &[("--dir", &nodes.foreign)])?;
        Ok(nodes)
    }

    /// Makes a machine's identity directory anew.
    pub(crate) fn issue(&self, host: Host, flaw: Flaw, to: &Path) -> Outcome {
        let _ = std::fs::remove_dir_all(to);
        let authority = if flaw == Flaw::Foreign { &self.foreign } else { &self.authority };
        let named = if let Flaw::Role(other) = flaw { other } else { host };
        match flaw {
            // The program makes none that is over, and one that is not for long is taken.
            Flaw::Expired => {
                let who = Who::of_side(Role::Xivo, Side::Standby, Host::StandbyXivo.name());
                ensure(host == Host::StandbyXivo, || format!("an expired certificate for {}", host.name()))?;
                let authority = Authority::open(authority).map_err(because("the authority"))?;
                authority
                    .issue(&who, to, Validity::ended(protocol::identity::GRACE_DAYS))
                    .map_err(because(to.display()))
            }
            _ => self.certs(&words(named)?, &[("--ca", authority), ("--out", to)]),
        }
    }

    fn certs(&self, words: &[&str], directories: &[(&str, &Path)]) -> Outcome {
        let mut command = Command::new(&self.bascule);
        command.arg("certs").args(words);
        for (option, directory) in directories {
            command.arg(option).arg(directory);
        }
        let what = || format!("bascule certs {}", words.join(" "));
        let output = command.stdin(Stdio::null()).output().map_err(because(what()))?;
        ensure(output.status.success(), || {
            format!("{}: {}: {}", what(), output.status, String::from_utf8_lossy(&output.stderr).trim())
        })
    }
}

/// How a machine's certificate is asked for; phones and users have none.
fn words(host: Host) -> Outcome<Vec<&'static str>> {
    let role = match host {
        Host::MainXivo | Host::StandbyXivo => "xivo",
        Host::MainCc | Host::StandbyCc => "cc",
        Host::Mds1 => "mds",
        Host::Edge => return Ok(vec!["edge", "--name", host.name()]),
        Host::Phone | Host::User => return Err(format!("{} is no node", host.name())),
    };
    let mut words = vec!["node", "--role", role, "--name", host.name()];
    words.extend(crate::config::side(host).into_iter().flat_map(|side| ["--side", side]));
    Ok(words)
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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
