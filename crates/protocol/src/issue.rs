//! Makes a site's authority and the certificates of its nodes, Edges and operators.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SubjectPublicKeyInfo,
};

use crate::identity::{CA, CHAIN, IdentityError, KEY, issued};
use crate::who::Who;

/// The file of the authority's private key, in the authority's directory.
pub const CA_KEY: &str = "ca-key.pem";
/// How long an authority is valid.
pub const AUTHORITY_DAYS: u32 = 3650;
/// Certificates are valid from so long ago, as clocks differ.
const VALID_BEFORE: Duration = HOUR;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A site's authority: whoever has its key can make any node.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What is to be renewed is none of this authority's.
    #[error(transparent)]
    Issued(#[from] IdentityError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file that could not be read or written.
        path: PathBuf,
        /// What the system says of it.
        #[source]
        source: io::Error,
    },
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    from: SystemTime,
    to: SystemTime,
}

impl Validity {
    /// From an hour ago on, for so many days.
    pub fn days(days: u32) -> Self {
        let now = SystemTime::now();
        Self { from: now - VALID_BEFORE, to: now + DAY * days }
    }

    /// Already over, for tests: since so many days and an hour.
    pub fn ended(days: u32) -> Self {
        let end = SystemTime::now() - DAY * days - HOUR;
        Self { from: end - DAY, to: end }
    }

    /// From an hour ago, for so many seconds from now, for tests.
    pub fn seconds(seconds: u64) -> Self {
        let now = SystemTime::now();
        Self { from: now - VALID_BEFORE, to: now + Duration::from_secs(seconds) }
    }
}

impl Authority {
    /// Makes an authority in a directory: [`CA`] and [`CA_KEY`]. Overwrites nothing.
    ///
    /// # Errors
    /// A file that exists or cannot be written.
    pub fn create(directory: &Path, site: &str) -> Result<Self, IssueError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, format!("{site} Bascule authority"));
        // No certificate of the authority's can be one itself: who takes a node's key must not be able to make nodes.
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let valid = Validity::days(AUTHORITY_DAYS);
        (parameters.not_before, parameters.not_after) = (valid.from.into(), valid.to.into());
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        make_directory(directory)?;
        write(&directory.join(CA_KEY), &key.serialize_pem(), 0o600)?;
        write(&directory.join(CA), &certificate, 0o644)?;
        Ok(Self { issuer: Issuer::new(parameters, key), certificate })
    }

    /// Opens an authority that was made before.
    ///
    /// # Errors
    /// A file that cannot be read, or is none of ours.
    pub fn open(directory: &Path) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(&text(&directory.join(CA_KEY))?)?;
        let certificate = text(&directory.join(CA))?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&certificate, key)?, certificate })
    }

    /// Makes an identity's directory. Overwrites nothing.
    ///
    /// # Errors
    /// A file that exists or cannot be written.
    pub fn issue(&self, who: &Who, directory: &Path, valid: Validity) -> Result<(), IssueError> {
        let key = KeyPair::generate()?;
        let leaf = leaf(who, valid)?.signed_by(&key, &self.issuer)?;
        make_directory(directory)?;
        write(&directory.join(KEY), &key.serialize_pem(), 0o600)?;
        write(&directory.join(CHAIN), &leaf.pem(), 0o644)?;
        write(&directory.join(CA), &self.certificate, 0o644)
    }

    /// Makes the certificate of an identity's directory anew, in one step, for who it is of and the key that it has: neither
    /// leaves the directory. Expired or not, this authority must have issued it. Returns whose it is.
    ///
    /// # Errors
    /// A certificate that is missing, no identity's, or another authority's; a file that cannot be written.
    pub fn renew(&self, directory: &Path, valid: impl FnOnce(&Who) -> Validity) -> Result<Who, IssueError> {
        let (who, key) = issued(directory, &self.certificate)?;
        let key = SubjectPublicKeyInfo::from_der(&key)?;
        let renewed = leaf(&who, valid(&who))?.signed_by(&key, &self.issuer)?;
        let (path, fresh) = (directory.join(CHAIN), directory.join(format!("{CHAIN}.new")));
        // A renewal that was cut off half-way may have left one.
        let _ = fs::remove_file(&fresh);
        write(&fresh, &renewed.pem(), 0o644)?;
        fs::rename(&fresh, &path).map_err(|source| IssueError::File { path, source })?;
        Ok(who)
    }
}

fn leaf(who: &Who, valid: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, who.name());
    parameters.subject_alt_names = vec![SanType::URI(Ia5String::try_from(who.uri())?)];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Nodes dial each other: each certificate is a client's and a server's.
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    (parameters.not_before, parameters.not_after) = (valid.from.into(), valid.to.into());
    Ok(parameters)
}

fn make_directory(path: &Path) -> Result<(), IssueError> {
    fs::create_dir_all(path).map_err(|source| IssueError::File { path: path.to_owned(), source })
}

fn text(path: &Path) -> Result<String, IssueError> {
    fs::read_to_string(path).map_err(|source| IssueError::File { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), IssueError> {
    let write = || {
        // A file that is there is never written over: it may be the only copy of a key.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| IssueError::File { path: path.to_owned(), source })
}
