//! Throw-away certificates: an authority nobody else trusts, and leaves for names and addresses. For the demo and for
//! tests; the keys of a real site are made elsewhere.

use std::fs::{OpenOptions, create_dir_all};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Long enough for nobody to be warned of the end, too short to be used for anything else.
const VALID_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// Clocks differ: a browser on a machine that is behind must not find it not valid yet.
const VALID_BEFORE: Duration = Duration::from_secs(24 * 3600);
const MODE: u32 = 0o600;

/// A certificate authority whose key is never written.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate chain and its key, PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The leaf, then its authority.
    pub chain: String,
    /// The private key in PKCS #8, not encrypted: it is thrown away with the demo.
    pub key: String,
}

/// Where a [`Leaf`] was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The file of the chain, `NAME.pem`.
    pub chain: PathBuf,
    /// The file of the private key, `NAME.key`.
    pub key: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// It could not be made; most likely a name is no name.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It could not be written.
    #[error("{path}: {source}")]
    Write {
        /// The file that could not be written.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
}

impl Authority {
    /// Makes an authority; `name` is what browsers show of it.
    ///
    /// # Errors
    /// The system gives no randomness for a key.
    pub fn new(name: &str) -> Result<Self, CertError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut parameters, SystemTime::now() - VALID_BEFORE, SystemTime::now() + VALID_FOR);
        let key = KeyPair::generate()?;
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), pem })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a server's certificate for host names and IP addresses, valid now.
    ///
    /// # Errors
    /// A name is none that a certificate can bear.
    pub fn issue(&self, names: &[&str]) -> Result<Leaf, CertError> {
        self.issue_between(names, SystemTime::now() - VALID_BEFORE, SystemTime::now() + VALID_FOR)
    }

    /// Makes a server's certificate that is valid from `from` to `to`, and be it in the past.
    ///
    /// # Errors
    /// A name is none that a certificate can bear.
    pub fn issue_between(&self, names: &[&str], from: SystemTime, to: SystemTime) -> Result<Leaf, CertError> {
        let mut parameters = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        parameters.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or_default());
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        validity(&mut parameters, from, to);
        let key = KeyPair::generate()?;
        let leaf = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Leaf { chain: format!("{leaf}{}", self.pem), key: key.serialize_pem() })
    }

    /// Writes its certificate as `ca.pem` into `directory`.
    ///
    /// # Errors
    /// The system refuses, with the path.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, CertError> {
        write(directory, "ca.pem", &self.pem)
    }
}

impl Leaf {
    /// Writes `NAME.pem` and `NAME.key` into `directory`, for their owner only; replaces what is there.
    ///
    /// # Errors
    /// The system refuses, with the path.
    pub fn write(&self, directory: &Path, name: &str) -> Result<Files, CertError> {
        let chain = write(directory, &format!("{name}.pem"), &self.chain)?;
        let key = write(directory, &format!("{name}.key"), &self.key)?;
        Ok(Files { chain, key })
    }
}

fn validity(parameters: &mut CertificateParams, from: SystemTime, to: SystemTime) {
    parameters.not_before = from.into();
    parameters.not_after = to.into();
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf, CertError> {
    let path = directory.join(name);
    let aside = directory.join(format!(".{name}.new"));
    let written = (|| {
        create_dir_all(directory)?;
        // Never in place: a reader finds the old file or the new one, and an old file's mode does not survive.
        let _ = std::fs::remove_file(&aside);
        OpenOptions::new().write(true).create_new(true).mode(MODE).open(&aside)?.write_all(text.as_bytes())?;
        std::fs::rename(&aside, &path)
    })();
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(CertError::Write { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::server::ParsedCertificate;

    use super::*;

    fn verify(authority: &Authority, leaf: &Leaf, name: &'static str) -> Result<(), rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(leaf.chain.as_bytes()).map(Result::unwrap).collect();
        let parsed = ParsedCertificate::try_from(&chain[0])?;
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &roots,
            &chain[1..],
            UnixTime::now(),
            algorithms.all,
        )?;
        rustls::client::verify_server_name(&parsed, &ServerName::try_from(name).unwrap())
    }

    #[test]
    fn a_leaf_is_good_for_its_names_and_addresses_and_for_no_others() {
        let authority = Authority::new("a test").unwrap();
        let leaf = authority.issue(&["edge.example.org", "127.0.0.1", "::1"]).unwrap();
        for name in ["edge.example.org", "127.0.0.1", "::1"] {
            verify(&authority, &leaf, name).unwrap();
        }
        assert!(verify(&authority, &leaf, "other.example.org").is_err());
        assert!(verify(&Authority::new("another").unwrap(), &leaf, "edge.example.org").is_err());
    }

    #[test]
    fn an_expired_leaf_can_be_made() {
        let authority = Authority::new("a test").unwrap();
        let hour = Duration::from_secs(3600);
        let now = SystemTime::now();
        let leaf = authority.issue_between(&["edge.example.org"], now - 2 * hour, now - hour).unwrap();
        assert!(verify(&authority, &leaf, "edge.example.org").is_err());
    }

    #[test]
    fn files_are_for_their_owner_only_even_where_others_lay() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("a test").unwrap();
        std::fs::write(directory.path().join("main.key"), "open to all").unwrap();
        let files = authority.issue(&["main"]).unwrap().write(directory.path(), "main").unwrap();
        let ca = authority.write(directory.path()).unwrap();
        for path in [&files.chain, &files.key, &ca] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        }
        assert!(std::fs::read_to_string(&files.key).unwrap().contains("PRIVATE KEY"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "nothing is left aside");
    }
}
