//! How upstreams prove who they are.

use std::net::IpAddr;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use settings::{Findings, KeyPath, quoted};

use super::super::file::{OneOrMany, UpstreamTlsFile, VerifyFile};
use super::super::load::{Files, in_words};
use super::super::{UpstreamTls, Verify, address};
use super::{endpoints, item};

/// Resolves the settings at `at`. None when an error was noted.
pub(super) fn resolve(
    written: &UpstreamTlsFile,
    at: &KeyPath,
    files: &dyn Files,
    findings: &mut Findings,
) -> Option<UpstreamTls> {
    let verify = verify(written, at, files, findings);
    let name = match &written.name {
        None => Some(None),
        Some(name) => name_to_check(name, &at.key("name"), findings).map(Some),
    };
    Some(UpstreamTls { verify: verify?, name: name? })
}

fn verify(written: &UpstreamTlsFile, at: &KeyPath, files: &dyn Files, findings: &mut Findings) -> Option<Verify> {
    match (&written.ca, &written.pin, written.verify) {
        (None, None, None | Some(VerifyFile::System)) => Some(Verify::System),
        (None, None, Some(VerifyFile::Off)) => {
            let message =
                "is off: WHOEVER ANSWERS AT AN UPSTREAM'S ADDRESS IS BELIEVED, and can read passwords and tokens";
            // Loud at each start, and not refused: a site whose certificates nobody can mend must work.
            findings.warn(&at.key("verify"), message, "write ca: or pin: as soon as you can");
            Some(Verify::Off)
        }
        (Some(ca), None, None) => ca_file(ca, &at.key("ca"), files, findings).map(Verify::Ca),
        (None, Some(pins), None) => pin_list(pins, &at.key("pin"), findings).map(Verify::Pin),
        _ => {
            findings.error(at, "says more than one of ca, pin and verify", "keep one of them");
            None
        }
    }
}

fn ca_file(text: &str, at: &KeyPath, files: &dyn Files, findings: &mut Findings) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    if !endpoints::absolute(&path, at, findings) {
        return None;
    }
    let pem = match files.read(&path) {
        Ok(pem) => pem,
        Err(error) => {
            let (problem, remedy) = in_words(&error);
            findings.error(at, format!("{} {problem}", quoted(text)), remedy);
            return None;
        }
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let mut roots = rustls::RootCertStore::empty();
    let flaw = match certificates {
        Ok(list) if list.is_empty() => "holds no certificate".to_owned(),
        // Added to a store, not only parsed: what cannot be an anchor is refused here, and not with the first request.
        Ok(list) => match list.into_iter().try_for_each(|certificate| roots.add(certificate)) {
            Ok(()) => return Some(path),
            Err(error) => format!("holds a certificate that cannot be trusted: {}", probe::tls::explain(&error)),
        },
        Err(error) => format!("is not PEM: {error}"),
    };
    findings.error(
        at,
        format!("{} {flaw}", quoted(text)),
        "put the CA's certificate there, from BEGIN CERTIFICATE to END CERTIFICATE",
    );
    None
}

fn pin_list(pins: &OneOrMany<String>, at: &KeyPath, findings: &mut Findings) -> Option<Vec<[u8; 32]>> {
    if pins.0.is_empty() {
        findings.error(at, "the list is empty", "write the SHA-256 of at least one public key");
        return None;
    }
    let read = |(index, text): (usize, &String)| {
        let pin = text.parse().ok().map(probe::tls::Pin::sha256);
        if pin.is_none() {
            let at = item(at, index, findings);
            let remedy = "write the 64 hex digits of the SHA-256 of its public key: openssl x509 -pubkey -noout -in cert.pem \
                          | openssl pkey -pubin -outform der | sha256sum";
            findings.error(&at, format!("{} is no SHA-256", quoted(text)), remedy);
        }
        pin
    };
    // Collected before it is judged, so that each wrong pin has its message.
    let all: Vec<_> = pins.0.iter().enumerate().map(read).collect();
    all.into_iter().collect()
}

/// An empty name would silently switch verification off in the proxy library.
fn name_to_check(name: &str, at: &KeyPath, findings: &mut Findings) -> Option<String> {
    if address::is_hostname(name) || name.parse::<IpAddr>().is_ok() {
        return Some(name.to_ascii_lowercase());
    }
    findings.error(
        at,
        format!("{} is no name a certificate can have", quoted(name)),
        "write the name in the upstream's certificate, or remove the line",
    );
    None
}
