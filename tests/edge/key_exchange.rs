//! The secret of a client's connection: against whoever records it today and has a quantum computer one day, from whoever can
//! agree on such a one; and from all others as before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::NamedGroup;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::client::Client;
use crate::passing::in_records;
use crate::shared::blocking;
use crate::site::{FQDN, PATIENCE, Site, wait_until};

/// A client's end that offers these groups, the first of them with its share.
fn offering(site: &Site, groups: &[&'static dyn SupportedKxGroup]) -> rustls::ClientConnection {
    let provider = rustls::crypto::CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(site.certificate.clone())).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(FQDN).unwrap()).unwrap()
}

/// Says the first message by `say`, then finishes the handshake and has a request answered; what was agreed upon.
fn agreed(site: &Site, mut tls: rustls::ClientConnection, say: impl FnOnce(&mut TcpStream, &[u8])) -> NamedGroup {
    let mut tcp = TcpStream::connect(site.https).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    say(&mut tcp, &hello);
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    write!(stream, "GET /version HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    tls.negotiated_key_exchange_group().unwrap().name()
}

fn at_once(tcp: &mut TcpStream, hello: &[u8]) {
    tcp.write_all(hello).unwrap();
}

fn counted(site: &Site, group: &str) -> f64 {
    site.metric(&format!("bascule_tls_key_exchanges_total{{group=\"{group}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_quantum_secret_is_agreed_upon_with_whoever_offers_one_and_a_curve_with_all_others() {
    let site = Site::start();
    Client::of(&site).get("/version").await.unwrap();
    blocking(|| {
        let table: [(&[&'static dyn SupportedKxGroup], NamedGroup, &str); 5] = [
            (&[kx_group::X25519MLKEM768], NamedGroup::X25519MLKEM768, "x25519mlkem768"),
            (&[kx_group::X25519MLKEM768, kx_group::X25519], NamedGroup::X25519MLKEM768, "x25519mlkem768"),
            // Preferred by the Edge, though the client names it last and brings no share for it: it is asked for one.
            (
                &[kx_group::X25519, kx_group::SECP256R1, kx_group::X25519MLKEM768],
                NamedGroup::X25519MLKEM768,
                "x25519mlkem768",
            ),
            (&[kx_group::X25519, kx_group::SECP256R1], NamedGroup::X25519, "x25519"),
            (&[kx_group::SECP384R1], NamedGroup::secp384r1, "secp384r1"),
        ];
        for (offer, group, label) in table {
            let before = counted(&site, label);
            assert_eq!(agreed(&site, offering(&site, offer), at_once), group, "{offer:?}");
            wait_until("it is counted", || counted(&site, label) > before);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_quantum_client_hello_is_understood_in_any_segments_and_records() {
    let site = Site::start();
    blocking(|| {
        for record in [usize::MAX, 500, 100, 1] {
            for segment in [usize::MAX, 1400, 600, 1] {
                let tls = offering(&site, &[kx_group::X25519MLKEM768]);
                let group = agreed(&site, tls, |tcp, hello| {
                    assert!(hello.len() > 1200, "as large as its share");
                    let said = in_records(hello, record.min(hello.len()));
                    said.chunks(segment.min(said.len())).for_each(|piece| tcp.write_all(piece).unwrap());
                });
                assert_eq!(group, NamedGroup::X25519MLKEM768, "records of {record}, segments of {segment}");
            }
        }
    });
}
