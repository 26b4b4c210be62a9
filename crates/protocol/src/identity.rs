//! A node's own certificate and key, the site's authority, and how both ends of a connection are checked.

mod verify;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use probe::tls::explain;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::who::{NoRole, Who};
use crate::wire::VERSION;
pub use verify::Expected;

/// The file of the site's authority, in an identity's directory.
pub const CA: &str = "ca.pem";
/// The file of the certificate and what is between it and the authority.
pub const CHAIN: &str = "chain.pem";
/// The file of the private key.
pub const KEY: &str = "key.pem";

/// For so many days after its end a certificate of the site's own authority is taken all the same, a person's apart.
///
/// Certificates of one site end close to each other. Nodes that were installed together would all be strangers to each
/// other at the first blip after that day, and nobody would serve, for the sake of a date: whom the authority vouched for
/// yesterday is not another one today. What is over is shown as loudly as can be for all that time.
pub const GRACE_DAYS: u32 = 60;
/// From so many days before its end on a certificate is spoken of.
pub const SOON_DAYS: i64 = 30;

/// Says what is to be said of a certificate that ends in so many days.
pub fn expiry(whose: &str, days: i64) -> Option<String> {
    let remedy = "renew it with `bascule certs renew`";
    match days {
        SOON_DAYS.. => None,
        0.. => Some(format!("the certificate of {whose} expires in {days} days: {remedy}")),
        _ => {
            let over = days.saturating_neg();
            let left = i64::from(GRACE_DAYS) - over;
            let until = match left {
                0.. => format!("others take it for {left} days more, and then never again"),
                _ => "nobody takes it any more".to_owned(),
            };
            Some(format!("THE CERTIFICATE OF {whose} EXPIRED {over} days ago: {until}; {remedy}"))
        }
    }
}

/// A longer file is no certificate of ours.
const FILE_BYTES: u64 = 256 << 10;

/// Who we are, and how we know others.
#[derive(Debug)]
pub struct Identity {
    who: Who,
    expires: u64,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    server: Arc<ServerConfig>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read.
    #[error("{path}: {source}; `bascule certs` makes this file")]
    Read {
        /// The file of an identity that could not be read.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path}: {problem}; `bascule certs` makes this file")]
    Content {
        /// The file that does not hold what it should.
        path: PathBuf,
        /// What is wrong with it, in words.
        problem: String,
    },
    /// The certificate names no role.
    #[error("{path}: {source}")]
    Role {
        /// The file whose contents TLS refuses.
        path: PathBuf,
        /// The name in it that is no role.
        #[source]
        source: NoRole,
    },
}

impl Identity {
    /// Reads an identity's directory: [`CA`], [`CHAIN`], [`KEY`]. An expired certificate is read too: it is for the others
    /// to refuse.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(directory: &Path) -> Result<Self, IdentityError> {
        let (ca, chain_path, key_path) = (directory.join(CA), directory.join(CHAIN), directory.join(KEY));
        let wrong = |path: &Path, problem: String| IdentityError::Content { path: path.to_owned(), problem };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca)? {
            roots.add(certificate).map_err(|error| wrong(&ca, format!("no authority: {}", explain(&error))))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&chain_path)?;
        let leaf = chain.first().ok_or_else(|| wrong(&chain_path, "no certificate in it".into()))?;
        let (who, expires) = read(leaf).map_err(|flaw| match flaw {
            Flaw::Role(source) => IdentityError::Role { path: chain_path.clone(), source },
            Flaw::Certificate(problem) => wrong(&chain_path, problem),
        })?;
        let text = file(&key_path)?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|error| wrong(&key_path, format!("no private key in it: {error}")))?;
        // This compares the keys too.
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider()).map_err(|error| {
            wrong(&key_path, format!("is not the key of {}: {}", chain_path.display(), explain(&error)))
        })?;
        // The chain is checked as of a time when it was valid: an expired certificate is no reason not to start, it is
        // for others to refuse.
        if let Err(error) = verify::chain_of(&chain, &roots, expires) {
            return Err(wrong(
                &chain_path,
                format!("not issued by the authority in {}: {}", ca.display(), explain(&error)),
            ));
        }
        let server = server(&roots, &chain, &key).map_err(|error| wrong(&chain_path, explain(&error)))?;
        Ok(Self { who, expires, roots, chain, key, server })
    }

    /// Returns who we are, by our own certificate.
    pub const fn who(&self) -> &Who {
        &self.who
    }

    /// Returns the days until the certificate expires, rounded down; negative once it has.
    pub fn days_left(&self) -> i64 {
        let now = host::unix_ms() / 1_000;
        let left = i64::try_from(self.expires).unwrap_or(i64::MAX) - i64::try_from(now).unwrap_or(i64::MAX);
        left.div_euclid(24 * 3600)
    }

    /// Returns when the certificate expires.
    pub fn expires(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.expires)
    }

    /// Returns how to accept connections.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// Returns how to dial somebody who must be the one expected.
    pub(crate) fn client(&self, expected: Expected) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verify::ServerRole::new(Arc::clone(&self.roots), expected, &provider))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![VERSION.into()];
        // A resumed session would not look at certificates again.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

fn server(
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let clients = Arc::new(verify::Clients(clients));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain.to_vec(), key.clone_key())?;
    config.alpn_protocols = vec![VERSION.into()];
    // No session is resumed here, either: it would not look at certificates again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// An identity that can be read anew while connections use it.
#[derive(Debug)]
pub struct Keyring {
    directory: PathBuf,
    current: ArcSwap<Identity>,
    not_taken: ArcSwapOption<NotTaken>,
}

/// What stands in the directory is not what is shown: it was to be read anew, and could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Since the first of the attempts in a row that failed.
    pub since: SystemTime,
    /// What is wrong with it.
    pub why: String,
}

impl Keyring {
    /// Reads an identity's directory.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn open(directory: &Path) -> Result<Self, IdentityError> {
        let identity = Identity::load(directory)?;
        let (current, not_taken) = (ArcSwap::from_pointee(identity), ArcSwapOption::empty());
        Ok(Self { directory: directory.to_owned(), current, not_taken })
    }

    /// Returns the identity as it was read last.
    pub fn current(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// Returns the files it is read from.
    pub fn files(&self) -> Vec<PathBuf> {
        [CA, CHAIN, KEY].map(|name| self.directory.join(name)).to_vec()
    }

    /// Reads the directory anew: for connections from now on. After an error the old identity stays.
    ///
    /// # Errors
    /// As [`Identity::load`]; also when the new certificate is somebody else's.
    pub fn reload(&self) -> Result<(), IdentityError> {
        let read = self.read();
        self.not_taken.store(read.as_ref().err().map(|error| {
            let since = self.not_taken().map_or_else(SystemTime::now, |before| before.since);
            Arc::new(NotTaken { since, why: error.to_string() })
        }));
        read
    }

    /// Returns why the last reading failed, if it did.
    pub fn not_taken(&self) -> Option<Arc<NotTaken>> {
        self.not_taken.load_full()
    }

    fn read(&self) -> Result<(), IdentityError> {
        let fresh = Identity::load(&self.directory)?;
        let who = self.current().who().clone();
        // Everybody knows this node by its name: under another's it would be given, and refused, another's votes.
        if *fresh.who() != who {
            let problem = format!("is the certificate of {}, and this is {who}", fresh.who());
            return Err(IdentityError::Content { path: self.directory.join(CHAIN), problem });
        }
        self.current.store(Arc::new(fresh));
        Ok(())
    }
}

fn file(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let read = |path: &Path| {
        let found = fs::metadata(path)?;
        // Reading a fifo waits for a writer, without end.
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        if found.len() > FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a certificate"));
        }
        fs::read(path)
    };
    read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = file(path)?;
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(IdentityError::Content { path: path.to_owned(), problem: "no certificate in it".into() }),
        Err(error) => Err(IdentityError::Content { path: path.to_owned(), problem: error.to_string() }),
    }
}

/// Reads whose the certificate of a directory is, and its public key, whether it has expired or not; it must have been issued
/// by that authority.
///
/// # Errors
/// Names the file and what is wrong with it.
#[cfg(feature = "issue")]
pub(crate) fn issued(directory: &Path, authority: &str) -> Result<(Who, Vec<u8>), IdentityError> {
    let path = directory.join(CHAIN);
    let wrong = |problem: String| IdentityError::Content { path: path.clone(), problem };
    let chain = certificates(&path)?;
    let leaf = chain.first().ok_or_else(|| wrong("no certificate in it".into()))?;
    let (who, expires) = read(leaf).map_err(|flaw| match flaw {
        Flaw::Role(source) => IdentityError::Role { path: path.clone(), source },
        Flaw::Certificate(problem) => wrong(problem),
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()).flatten() {
        let _ = roots.add(certificate);
    }
    if let Err(error) = verify::chain_of(&chain, &roots, expires) {
        return Err(wrong(format!("not issued by this authority: {}", explain(&error))));
    }
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| wrong("not a certificate".into()))?;
    Ok((who, parsed.public_key().raw.to_vec()))
}

/// What is wrong with a certificate.
#[derive(Debug)]
pub(crate) enum Flaw {
    Role(NoRole),
    Certificate(String),
}

/// Reads who a certificate is of, and when it expires, in seconds of the Unix epoch.
pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<(Who, u64), Flaw> {
    let broken = |problem: &str| Flaw::Certificate(problem.to_owned());
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| broken("not a certificate"))?;
    let names = parsed.subject_alternative_name().map_err(|_| broken("its names cannot be read"))?;
    let uris = names.into_iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let mut roles = uris.filter(|uri| uri.starts_with(crate::who::SCHEME));
    let role = roles.next().ok_or_else(|| broken("names no role (a URI bascule:…)"))?;
    // A certificate that names two roles would be whichever of them a reader looks at first.
    if roles.next().is_some() {
        return Err(broken("names more than one role"));
    }
    let expires = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok((role.parse().map_err(Flaw::Role)?, expires))
}

#[cfg(test)]
mod tests;
