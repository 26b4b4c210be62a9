//! What a certificate's two files come to: read by this one function at the load, by `check`, at the start and on a reload,
//! so that none of them takes what another refuses.

use std::sync::Arc;

use probe::tls::explain;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Authorities are named by two or three; a bundle of all the world's roots is a mistake.
const MOST: usize = 32;

/// Which of the two files is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The chain file, whatever key belongs to it.
    Chain,
    /// The key file, whatever chain it is for.
    Key,
    /// Neither alone: they do not belong together.
    Both,
}

/// What is wrong with a certificate's files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct Flaw {
    /// Where.
    pub file: File,
    /// What, as the end of a sentence that begins with the file.
    pub problem: String,
    /// What the administrator does about it, as an imperative.
    pub remedy: &'static str,
}

/// Picks the certificates out of `chain` and the key out of `key`, whatever else stands there: HAProxy keeps all of it in
/// one file, others add requests, parameters and comments. Each certificate must be one, and the key the first one's.
///
/// # Errors
/// Names the file at fault and what to do.
pub fn certified(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, Flaw> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| no_key(key, &error))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Flaw {
            file: File::Both,
            problem: "chain and key do not belong together".to_owned(),
            remedy: "name the key the leaf was made for; the leaf stands first in chain",
        },
        other => Flaw {
            file: File::Both,
            problem: format!("cannot be used: {}", explain(&other)),
            remedy: "make a new certificate and key",
        },
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let flaw = |problem: String, remedy| Err(Flaw { file: File::Chain, problem, remedy });
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let number = chain.len() + 1;
        match certificate {
            Err(error) => {
                let problem = format!("is not PEM from certificate number {number} on: {error}");
                return flaw(problem, "put the leaf and its intermediates there, in PEM");
            }
            // Each is parsed here, and with nothing behind it: a broken intermediate would be shown to browsers as it
            // is.
            Ok(certificate) if X509Certificate::from_der(&certificate).is_ok_and(|(rest, _)| rest.is_empty()) => {
                chain.push(certificate);
            }
            Ok(_) => {
                let problem = format!("has a certificate number {number} that cannot be read");
                return flaw(problem, "put the leaf there first, then its intermediates, each as it was issued");
            }
        }
        if number > MOST {
            return flaw(
                format!("holds more than {MOST} certificates"),
                "put the leaf and its intermediates there alone",
            );
        }
    }
    if !chain.is_empty() {
        return Ok(chain);
    }
    // Told apart from nonsense, so that the remedy can name the command.
    if X509Certificate::from_der(pem).is_ok() {
        return flaw("is DER, not PEM".to_owned(), "convert it: openssl x509 -inform der -in FILE -out chain.pem");
    }
    flaw("holds no certificate".to_owned(), "put the leaf and its intermediates there, in PEM")
}

fn no_key(pem: &[u8], error: &rustls::pki_types::pem::Error) -> Flaw {
    // Nobody is there to type a passphrase when systemd starts the Edge.
    let encrypted = pem.windows(9).any(|word| word == b"ENCRYPTED");
    let problem = match encrypted {
        true => "holds no private key that can be read: it is encrypted".to_owned(),
        false => format!("holds no private key: {error}"),
    };
    Flaw { file: File::Key, problem, remedy: "put the private key there, PEM, not encrypted (PKCS#8, PKCS#1 or SEC1)" }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made {
        leaf: String,
        issuer: String,
        key: String,
    }

    fn made() -> Made {
        let issuer_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = authority.self_signed(&issuer_key).unwrap().pem();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["edge.example.org".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(authority, issuer_key)).unwrap().pem();
        Made { leaf, issuer, key: key.serialize_pem() }
    }

    fn block(label: &str, content: &str) -> String {
        format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n")
    }

    #[test]
    fn certificates_are_picked_out_of_whatever_else_stands_in_the_file() {
        let Made { leaf, issuer, key } = made();
        let others = [
            String::new(),
            key.clone(),
            block("CERTIFICATE REQUEST", "AAAA"),
            block("X509 CRL", "AAAA"),
            block("DH PARAMETERS", "AAAA"),
            block("EC PARAMETERS", "BggqhkjOPQMBBw=="),
            "# a comment\n\nBag Attributes\n    friendlyName: edge\n".to_owned(),
        ];
        for other in &others {
            for text in
                [format!("{other}{leaf}{issuer}"), format!("{leaf}{other}{issuer}"), format!("{leaf}{issuer}{other}")]
            {
                for text in [text.clone(), text.replace('\n', "\r\n")] {
                    let certified = certified(text.as_bytes(), format!("{other}{key}").as_bytes());
                    assert_eq!(certified.map(|certified| certified.cert.len()), Ok(2), "{text}");
                }
            }
        }
        let all = format!("{leaf}{issuer}{key}");
        assert!(certified(all.as_bytes(), all.as_bytes()).is_ok(), "one file may hold it all");
    }

    #[test]
    fn what_cannot_be_served_is_named_with_what_to_do() {
        let Made { leaf, issuer, key } = made();
        let garbage = block("CERTIFICATE", "AAAAAAAA");
        let der = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap().to_vec();
        let table: [(&[u8], &[u8], File, &str); 9] = [
            (b"", key.as_bytes(), File::Chain, "holds no certificate"),
            (b"nonsense", key.as_bytes(), File::Chain, "holds no certificate"),
            (&der, key.as_bytes(), File::Chain, "is DER"),
            (garbage.as_bytes(), key.as_bytes(), File::Chain, "number 1"),
            (&[leaf.as_bytes(), garbage.as_bytes()].concat(), key.as_bytes(), File::Chain, "number 2"),
            (&[leaf.as_bytes(), &issuer.as_bytes()[..200]].concat(), key.as_bytes(), File::Chain, "number 2"),
            (issuer.as_bytes(), key.as_bytes(), File::Both, "do not belong together"),
            (leaf.as_bytes(), b"", File::Key, "holds no private key"),
            (leaf.as_bytes(), b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n", File::Key, "encrypted"),
        ];
        for (chain, key, file, problem) in table {
            let flaw = certified(chain, key).unwrap_err();
            assert!(
                flaw.file == file && flaw.problem.contains(problem) && !flaw.remedy.is_empty(),
                "{problem}: {flaw:?}"
            );
        }
    }

    #[test]
    fn no_mutation_of_a_file_makes_it_panic() {
        let Made { leaf, issuer, key } = made();
        let whole = format!("{leaf}{issuer}{key}").into_bytes();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..3_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..8) {
                let at = random.usize(..bytes.len());
                match random.u8(..4) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at.max(1)),
                    2 => drop(bytes.drain(at..(at + random.usize(..80)).min(bytes.len()))),
                    _ => bytes.insert(at, random.alphanumeric() as u8),
                }
                if bytes.is_empty() {
                    bytes.push(b'-');
                }
            }
            let _ = certified(&bytes, &whole);
            let _ = certified(&whole, &bytes);
            let _ = certified(&bytes, &bytes);
        }
    }
}
