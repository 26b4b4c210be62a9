//! The certificates the Edge shows: they exist, parse, belong to their keys, and cover its names.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::CertificateFiles;
use super::super::file::{CertificateFile, OneOrMany};
use super::super::load::{Files, in_words};
use super::{doors, item};
use settings::{Findings, KeyPath, quoted};

/// Renewal should have happened by then.
const SOON_DAYS: i64 = 14;

pub(super) fn resolve(
    written: Option<OneOrMany<CertificateFile>>,
    names: &[&str],
    files: &dyn Files,
    now: SystemTime,
    findings: &mut Findings,
) -> Vec<CertificateFiles> {
    let at = KeyPath::top("certificate");
    let written = written.map(|list| list.0).unwrap_or_default();
    if written.is_empty() {
        findings.missing(
            &at,
            "is missing",
            "write `certificate: { chain: /etc/bascule/tls/chain.pem, key: /etc/bascule/tls/key.pem }`",
        );
        return Vec::new();
    }
    let mut pairs = Vec::new();
    let mut covered: Option<Vec<String>> = Some(Vec::new());
    for (index, pair) in written.into_iter().enumerate() {
        let at = item(&at, index, findings);
        let Some(Pair { paths, leaf }) = pair_of_files(pair, &at, files, findings) else {
            covered = None;
            continue;
        };
        if let (Some(found), Some(covered)) = (inspect(&leaf, &at.key("chain"), now, findings), &mut covered) {
            covered.extend(found);
        }
        pairs.push(paths);
    }
    for name in covered
        .iter()
        .flat_map(|covered| names.iter().filter(|name| !covered.iter().any(|pattern| covers(pattern, name))))
    {
        findings.warn(&at, format!("covers no {name}"), "get one with that name, or browsers refuse it");
    }
    pairs
}

struct Pair {
    paths: CertificateFiles,
    leaf: CertificateDer<'static>,
}

fn pair_of_files(written: CertificateFile, at: &KeyPath, files: &dyn Files, findings: &mut Findings) -> Option<Pair> {
    let chain_at = at.key("chain");
    let key_at = at.key("key");
    let chain_file = read(written.chain, &chain_at, files, findings);
    let key_file = read(written.key, &key_at, files, findings);
    let chain = chain_file.and_then(|(path, pem)| {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let flaw = match certificates {
            Ok(list) if list.is_empty() => "holds no certificate".to_owned(),
            Ok(list) => return Some((path, list)),
            Err(error) => format!("is not PEM: {error}"),
        };
        findings.error(
            &chain_at,
            format!("{} {flaw}", quoted(&path.display().to_string())),
            "put the leaf and its intermediates there, in PEM",
        );
        None
    });
    let key = key_file.and_then(|(path, pem)| match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => Some((path, key)),
        Err(error) => {
            let remedy = "put the private key there, PEM, not encrypted (PKCS#8, PKCS#1 or SEC1)";
            findings.error(
                &key_at,
                format!("{} holds no private key: {error}", quoted(&path.display().to_string())),
                remedy,
            );
            None
        }
    });
    let ((chain_path, chain), (key_path, key)) = (chain?, key?);
    let leaf = chain.first()?.clone();
    let provider = rustls::crypto::ring::default_provider();
    if let Err(error) = CertifiedKey::from_der(chain, key, &provider) {
        let (message, remedy) = match error {
            rustls::Error::InconsistentKeys(_) => (
                "chain and key do not belong together".to_owned(),
                "name the key the leaf was made for; the leaf stands first in chain",
            ),
            other => (format!("cannot be used: {other}"), "make a new certificate and key"),
        };
        findings.error(at, message, remedy);
        return None;
    }
    if files.is_open_to_all(&key_path) {
        findings.warn(
            &key_at,
            format!("{} may be read by every user of this machine", quoted(&key_path.display().to_string())),
            "chmod 640 it, with the group of the Edge",
        );
    }
    Some(Pair { paths: CertificateFiles { chain: chain_path, key: key_path }, leaf })
}

fn read(
    written: Option<String>,
    at: &KeyPath,
    files: &dyn Files,
    findings: &mut Findings,
) -> Option<(PathBuf, Vec<u8>)> {
    let Some(text) = written else {
        findings.missing(at, "is missing", "write the path of a PEM file");
        return None;
    };
    let path = PathBuf::from(&text);
    if !doors::absolute(&path, at, findings) {
        return None;
    }
    match files.read(&path) {
        Ok(pem) => Some((path, pem)),
        Err(error) => {
            let (problem, remedy) = in_words(&error);
            findings.error(at, format!("{} {problem}", quoted(&text)), remedy);
            None
        }
    }
}

/// Names a leaf is for; warns about its dates. None when it cannot be read.
fn inspect(leaf: &CertificateDer<'_>, at: &KeyPath, now: SystemTime, findings: &mut Findings) -> Option<Vec<String>> {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        findings.error(at, "its first certificate cannot be read", "put the leaf first, in PEM");
        return None;
    };
    let now = now.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0);
    let validity = certificate.validity();
    let days_left = (validity.not_after.timestamp() - now).div_euclid(86_400);
    if validity.not_after.timestamp() < now {
        findings.warn(at, format!("expired on {}", validity.not_after), "renew it: browsers refuse it");
    } else if days_left < SOON_DAYS {
        findings.warn(at, format!("expires on {}, in {days_left} days", validity.not_after), "renew it");
    }
    if validity.not_before.timestamp() > now {
        findings.warn(at, format!("is valid from {} only", validity.not_before), "check the clock of this machine");
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    Some(names.map(|names| names.value.general_names.iter().filter_map(dns).collect()).unwrap_or_default())
}

/// Whether a certificate's `pattern` is for `name` (RFC 6125: a star stands for the first label alone).
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => pattern == name,
    }
}
