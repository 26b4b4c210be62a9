//! Certificates by SNI with hot reload, and the TLS configuration of the public listener.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use probe::tls::Term;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::key_exchange::{HYBRID, knows_hybrid};
use super::tickets::Tickets;
use crate::config::chain::{Flaw, certified};
use crate::config::{CertificateFiles, TlsVersion};

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is unreadable.
    #[error("{path} {problem}; {remedy}", problem = settings::in_words(.cause).0, remedy = settings::in_words(.cause).1)]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// What stands in them is no certificate with its key.
    #[error("certificate {chain} with key {key}: {flaw}")]
    Content {
        /// The chain file.
        chain: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        flaw: Flaw,
    },
}

/// A certificate with what operators ask about it.
#[derive(Debug)]
pub struct Served {
    /// Names it is valid for, lower case; `*.` for a wildcard.
    pub names: Vec<String>,
    /// From when until when it is good.
    pub term: Term,
    key: Arc<CertifiedKey>,
}

/// The certificates of the public listener, replaced as a whole.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<Set>,
}

#[derive(Debug)]
struct Set {
    all: Vec<Served>,
    /// Name to positions in `all`, the one preferred first: several for those of which clients choose by what they can
    /// verify.
    names: HashMap<String, Vec<usize>>,
}

impl Certificates {
    /// Loads all `files`; the first is the default.
    ///
    /// # Errors
    /// A file cannot be read, or its certificate and key do not go together; the file is named.
    pub fn load(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        Ok(Self { current: ArcSwap::from_pointee(Set::load(files)?) })
    }

    /// Takes the place of all certificates.
    pub fn replace(&self, new: Self) {
        self.current.store(new.current.into_inner());
    }

    /// The first name of each certificate, and from when until when it is good.
    pub fn terms(&self) -> Vec<(String, Term)> {
        let named = |served: &Served| (served.names.first().cloned().unwrap_or_default(), served.term);
        self.current.load().all.iter().map(named).collect()
    }
}

impl Set {
    fn load(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        let all = files.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (position, served) in all.iter().enumerate() {
            for name in &served.names {
                names.entry(name.clone()).or_default().push(position);
            }
        }
        let is_rsa = |position: &usize| all.get(*position).is_some_and(Served::is_rsa);
        // Whoever has both can verify both: RSA, whose signature costs the Edge many times as much, is for those who can
        // nothing else, in whatever order they are written. The sort is stable: of one kind the first that names it, and
        // `check` warns that a later one is never shown.
        names.values_mut().for_each(|positions| positions.sort_by_key(is_rsa));
        Ok(Self { all, names })
    }

    fn choose(&self, sni: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let of_name = |name: &str| self.names.get(name).map(Vec::as_slice);
        // A star stands for the first label alone (RFC 9525 section 6.3). A name that no certificate has gets the
        // default ones, the first and its siblings of other kinds: the request behind it is answered with 421, which
        // says more than an alert of TLS. rustls hands SNI over in lower case.
        let positions = sni
            .and_then(|sni| of_name(sni).or_else(|| of_name(&format!("*.{}", sni.split_once('.')?.1))))
            .or_else(|| of_name(self.all.first()?.names.first()?))
            .unwrap_or(&[0]);
        let served = || positions.iter().filter_map(|position| self.all.get(*position));
        // Where the client can verify none the first will do: the library ends the handshake and says why.
        let fits = served().find(|served| served.key.key.choose_scheme(schemes).is_some());
        fits.or_else(|| served().next()).map(|served| served.key.clone())
    }
}

impl Served {
    fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().choose(hello.server_name(), hello.signature_schemes())
    }
}

fn load(files: &CertificateFiles) -> Result<Served, CertificateError> {
    let read = |path: &PathBuf| {
        settings::read_bytes(path).map_err(|cause| CertificateError::File { path: path.clone(), cause })
    };
    let refused = |flaw| CertificateError::Content { chain: files.chain.clone(), key: files.key.clone(), flaw };
    let key = certified(&read(&files.chain)?, &read(&files.key)?).map_err(refused)?;
    let parsed = key.end_entity_cert().ok().and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let (_, parsed) = parsed.expect("certified() has parsed the leaf");
    // The subject's common name is not looked at, since no browser looks at it (RFC 9525).
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|san| {
            let dns = |name: &x509_parser::extensions::GeneralName<'_>| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            };
            san.value.general_names.iter().filter_map(dns).collect()
        })
        .unwrap_or_default();
    let term = Term::of(&parsed);
    Ok(Served { names, term, key })
}

/// TLS of the public listener, by what a client can do.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// For clients that know X25519MLKEM768.
    hybrid: Arc<rustls::ServerConfig>,
    /// For all others.
    curves: Arc<rustls::ServerConfig>,
}

impl ServerTls {
    /// Makes it: h2 and http/1.1, stateless resumption.
    ///
    /// # Errors
    /// The TLS library refuses the versions.
    pub fn new(
        certificates: Arc<Certificates>,
        oldest: TlsVersion,
        tickets: Arc<Tickets>,
    ) -> Result<Self, rustls::Error> {
        let versions: &[&rustls::SupportedProtocolVersion] = match oldest {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let hybrid = CryptoProvider { kx_groups: HYBRID.to_vec(), ..aws_lc_rs::default_provider() };
        let config = |provider| config(provider, versions, certificates.clone(), tickets.clone()).map(Arc::new);
        Ok(Self { hybrid: config(hybrid)?, curves: config(aws_lc_rs::default_provider())? })
    }

    /// What serves the client that said `hello`.
    pub fn serving(&self, hello: &ClientHello<'_>) -> Arc<rustls::ServerConfig> {
        match knows_hybrid(hello) {
            true => self.hybrid.clone(),
            false => self.curves.clone(),
        }
    }
}

fn config(
    provider: CryptoProvider,
    versions: &[&'static rustls::SupportedProtocolVersion],
    certificates: Arc<Certificates>,
    tickets: Arc<Tickets>,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Clients keep their sessions themselves: a store of them here would have to be as large as there are clients.
    // The same for both configurations, so that what one has begun the other resumes.
    config.ticketer = tickets;
    // One ticket is what a browser uses; each costs a write in the handshake.
    config.send_tls13_tickets = 1;
    // Early data can be sent again by anybody who saw it (RFC 8446 section 8): a request would be done twice.
    config.max_early_data_size = 0;
    Ok(config)
}
