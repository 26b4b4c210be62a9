//! The certificates the Edge shows: they exist, parse, belong to their keys, and cover its names.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use probe::tls::{End, Term};
use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;
use settings::{Findings, KeyPath, quoted};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::CertificateFiles;
use super::super::chain::{File, Flaw, certified};
use super::super::file::{CertificateFile, OneOrMany};
use super::super::load::{Files, in_words};
use super::{endpoints, item};

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
    let mut covered: Option<Vec<(String, SignatureAlgorithm)>> = Some(Vec::new());
    for (index, pair) in written.into_iter().enumerate() {
        let at = item(&at, index, findings);
        let Some(Pair { paths, chain, kind }) = pair_of_files(pair, &at, files, findings) else {
            // A pair that could not be read may cover what seems to be missing: nothing more is said of names.
            covered = None;
            continue;
        };
        if let (Some(found), Some(covered)) = (inspect(&chain, &at.key("chain"), now, findings), &mut covered) {
            // Of another kind it is for clients that cannot verify the first.
            if let Some(name) =
                found.iter().find(|name| covered.iter().any(|(other, of)| other == *name && *of == kind))
            {
                findings.warn(
                    &at,
                    format!("is never shown to those who ask for {name}: a certificate above has that name and a key of that kind, too"),
                    "keep one of each kind of key (ECDSA, RSA) for each name",
                );
            }
            covered.extend(found.into_iter().map(|name| (name, kind)));
        }
        pairs.push(paths);
    }
    for name in covered
        .iter()
        .flat_map(|covered| names.iter().filter(|name| !covered.iter().any(|(pattern, _)| covers(pattern, name))))
    {
        findings.warn(&at, format!("covers no {name}"), "get one with that name, or browsers refuse it");
    }
    pairs
}

struct Pair {
    paths: CertificateFiles,
    chain: Vec<CertificateDer<'static>>,
    kind: SignatureAlgorithm,
}

fn pair_of_files(written: CertificateFile, at: &KeyPath, files: &dyn Files, findings: &mut Findings) -> Option<Pair> {
    let chain_at = at.key("chain");
    let key_at = at.key("key");
    let chain_file = read(written.chain, &chain_at, files, findings);
    // Both are read before either is given up: two mistakes, two messages.
    let key_file = read(written.key, &key_at, files, findings);
    let ((chain_path, chain), (key_path, key)) = (chain_file?, key_file?);
    let certified = match certified(&chain, &key) {
        Ok(certified) => certified,
        Err(Flaw { file, problem, remedy }) => {
            let named = |path: &PathBuf| format!("{} {problem}", quoted(&path.display().to_string()));
            match file {
                File::Chain => findings.error(&chain_at, named(&chain_path), remedy),
                File::Key => findings.error(&key_at, named(&key_path), remedy),
                File::Both => findings.error(at, problem, remedy),
            }
            return None;
        }
    };
    if files.is_open_to_all(&key_path) {
        findings.warn(
            &key_at,
            format!("{} may be read by every user of this machine", quoted(&key_path.display().to_string())),
            "chmod 640 it, with the group of the Edge",
        );
    }
    let paths = CertificateFiles { chain: chain_path, key: key_path };
    Some(Pair { paths, chain: certified.cert.clone(), kind: certified.key.algorithm() })
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
    if !endpoints::absolute(&path, at, findings) {
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

/// Names the leaf of a chain is for; warns about its dates and about those who follow it.
fn inspect(
    chain: &[CertificateDer<'static>],
    at: &KeyPath,
    now: SystemTime,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let parsed: Vec<X509Certificate<'_>> =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)).collect();
    let (certificate, issuers) = parsed.split_first()?;
    order(certificate, issuers, at, findings);
    dates(&parsed, at, now, findings);
    let names = certificate.subject_alternative_name().ok().flatten();
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    Some(names.map(|names| names.value.general_names.iter().filter_map(dns).collect()).unwrap_or_default())
}

/// Browsers find their way from the leaf to a root they know only if each certificate is followed by its issuer's.
fn order(leaf: &X509Certificate<'_>, issuers: &[X509Certificate<'_>], at: &KeyPath, findings: &mut Findings) {
    if issuers.is_empty() {
        if leaf.subject() != leaf.issuer() {
            let message = format!("has the leaf alone, without its issuer's certificate ({})", leaf.issuer());
            findings.warn(
                at,
                message,
                "append the intermediate certificates, unless browsers know that issuer itself: else some refuse it",
            );
        }
        return;
    }
    let mut below = leaf;
    for (index, certificate) in issuers.iter().enumerate() {
        let number = index + 2;
        // By names, not by signatures: it is to find files that were put together wrongly, not forgeries.
        if below.issuer() != certificate.subject() {
            let elsewhere = issuers.iter().any(|other| below.issuer() == other.subject());
            let (message, remedy) = match elsewhere {
                true => (
                    format!("has its certificates in the wrong order: number {number} did not issue the one before it"),
                    "put the leaf first, then its issuer, then that one's",
                ),
                false => (
                    format!(
                        "has a stranger: certificate number {number} ({}) did not issue the one before it, {} did",
                        certificate.subject(),
                        below.issuer()
                    ),
                    "put the leaf and its own intermediates there alone",
                ),
            };
            findings.warn(at, message, remedy);
            return;
        }
        below = certificate;
    }
}

/// The leaf's dates, and those of its issuers: browsers refuse a chain of which a part is over, unless they know another way.
fn dates(chain: &[X509Certificate<'_>], at: &KeyPath, now: SystemTime, findings: &mut Findings) {
    for (index, certificate) in chain.iter().enumerate() {
        let (term, validity) = (Term::of(certificate), certificate.validity());
        let (which, refuse) = match index {
            0 => (String::new(), "browsers refuse it"),
            _ => (format!("certificate number {} ({}) ", index + 1, certificate.subject()), "some browsers refuse it"),
        };
        match term.end(now) {
            End::Far => {}
            End::Soon(days) => {
                findings.warn(at, format!("{which}expires on {}, in {days} days", validity.not_after), "renew it");
            }
            End::Past(_) => {
                findings.warn(at, format!("{which}expired on {}", validity.not_after), format!("renew it: {refuse}"));
            }
        }
        // A certificate from the future is as a rule a clock that is wrong, and the remedy says so.
        let not_before = UNIX_EPOCH + Duration::from_secs(u64::try_from(term.not_before).unwrap_or(0));
        if not_before > now {
            let message = format!("{which}is valid from {} only", validity.not_before);
            findings.warn(at, message, "check the clock of this machine");
        }
    }
}

/// Whether a certificate's `pattern` is for `name` (RFC 6125: a star stands for the first label alone).
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => pattern == name,
    }
}
