//! Sessions that clients resume: over a restart, too, and never by a key that others may know.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{HandshakeKind, SupportedProtocolVersion};

use crate::shared::blocking;
use crate::site::{FQDN, PATIENCE, Site, wait_until};

/// A client that keeps its sessions.
fn keeping(site: &Site, version: &'static SupportedProtocolVersion) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(site.certificate.clone())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Has a request answered on a connection of its own; how its handshake went.
fn shaken(site: &Site, config: &Arc<rustls::ClientConfig>) -> HandshakeKind {
    let mut tls = rustls::ClientConnection::new(config.clone(), ServerName::try_from(FQDN).unwrap()).unwrap();
    let mut tcp = TcpStream::connect(site.https).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    write!(stream, "GET /version HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    tls.handshake_kind().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_over_a_restart_and_not_by_a_file_that_was_touched() {
    blocking(|| {
        let mut site = Site::start();
        let clients = [&rustls::version::TLS13, &rustls::version::TLS12].map(|version| keeping(&site, version));
        for client in &clients {
            assert_eq!(shaken(&site, client), HandshakeKind::Full);
            assert_eq!(shaken(&site, client), HandshakeKind::Resumed);
        }
        let path = site.path("state").join("ticket-keys");
        let restart = |site: &mut Site, touch: &dyn Fn()| {
            wait_until("the keys are on the disk", || path.is_file());
            site.stop_edge();
            touch();
            site.start_edge();
        };
        for _ in 0..2 {
            restart(&mut site, &|| {});
            for client in &clients {
                assert_eq!(shaken(&site, client), HandshakeKind::Resumed, "{}", site.log());
            }
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!site.log().contains("ticket-keys"), "{}", site.log());
        let keys = fs::read(&path).unwrap();
        let touched: [(&dyn Fn(), &str); 3] = [
            (&|| fs::write(&path, "garbage").unwrap(), "does not hold keys of session tickets"),
            (&|| fs::write(&path, &keys[..keys.len() - 1]).unwrap(), "does not hold keys of session tickets"),
            (
                &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap(),
                "may be read or written by other users",
            ),
        ];
        for (number, (touch, said)) in touched.into_iter().enumerate() {
            restart(&mut site, touch);
            // The admin endpoint answers before the listeners' TLS is made.
            let told = || site.log().matches("it is replaced, and clients shake hands anew").count();
            wait_until("it is told", || told() == number + 1);
            assert!(site.log().contains(said), "{}", site.log());
            for client in &clients {
                assert_eq!(shaken(&site, client), HandshakeKind::Full, "{said}");
                assert_eq!(shaken(&site, client), HandshakeKind::Resumed, "{said}");
            }
            // Replaced by one that is as it must be, which the next round begins with.
            let private = || fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o777 == 0o600);
            wait_until("the file is replaced", || {
                private() && fs::read(&path).is_ok_and(|bytes| bytes.len() == keys.len())
            });
        }
    });
}
