//! A site to test with: certificates that need no disk, and the smallest file that works.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair};

use super::super::load::Files;
use super::super::{Config, Errors, Warning};

/// The smallest file that works.
pub(super) const MINIMAL: &str = "\
preset: xivo
fqdn: edge.example.org
certificate: { chain: /etc/bascule/tls/chain.pem, key: /etc/bascule/tls/key.pem }
sides:
  main: { cc: 10.0.0.21, xivo: 10.0.0.11 }
  standby: { cc: 10.0.0.22, xivo: 10.0.0.12 }
";

/// Files that stand nowhere.
pub(super) struct Shelf(pub(super) HashMap<PathBuf, Vec<u8>>);

impl Files for Shelf {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_open_to_all(&self, _: &Path) -> bool {
        false
    }
}

/// The files MINIMAL and conf/edge.yaml name, and some that are wrong.
pub(super) static SHELF: LazyLock<Shelf> = LazyLock::new(|| {
    let (chain, key) = certificate(&["edge.example.org", "*.alias.example.org"]);
    let (other_chain, other_key) = certificate(&["other.example.org"]);
    let files = [
        ("/etc/bascule/tls/chain.pem", chain.clone()),
        ("/etc/bascule/tls/key.pem", key),
        ("/etc/bascule/xivo-ca.pem", chain),
        ("/other/chain.pem", other_chain),
        ("/other/key.pem", other_key),
        ("/bad/empty.pem", String::new()),
        ("/bad/text.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".to_owned()),
        ("/bad/der.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
    ];
    Shelf(files.into_iter().map(|(path, text)| (path.into(), text.into_bytes())).collect())
});

/// A self-signed certificate, valid for long, and its key.
pub(super) fn certificate(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Reads `text` as edge.yaml beside [`SHELF`].
pub(super) fn parse(text: &str) -> Result<(Config, Vec<Warning>), Errors> {
    Config::parse_with(text, "edge.yaml", &*SHELF, SystemTime::now())
}

/// The lines that tell what is wrong with `text`.
pub(super) fn errors(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}
