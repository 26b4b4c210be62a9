//! Connections that never become requests, and clients that want too many of them.

use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bad_input::{SMALL, assert_alive};
use crate::client::{Client, Speaks};
use crate::raw::{status, until_closed};
use crate::site::{FQDN, Site, wait_until};

async fn wait_counted(site: &Site, line: &str, times: f64) {
    wait_until(&format!("{line} counts {times}"), || site.metric(line) == times);
}

/// A whole ClientHello as rustls would send it.
pub fn client_hello() -> Vec<u8> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config =
        rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(FQDN).unwrap();
    let mut session = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    bytes
}

/// A ClientHello of TLS 1.1 (RFC 4346 section 7.4.1.2), without extensions.
fn old_hello() -> Vec<u8> {
    const TLS_1_1: [u8; 2] = [3, 2];
    const SUITES: [u8; 6] = [0, 4, 0xc0, 0x13, 0, 0x2f];
    let body = [&TLS_1_1[..], &[7; 32], &[0], &SUITES, &[1, 0]].concat();
    let message = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    [&[22, 3, 1, 0, u8::try_from(message.len()).unwrap()][..], &message].concat()
}

async fn tcp(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    tcp
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended() {
    let mut site = Site::start_with("limits: { client_hello: 2s, handshake: 2s }");
    // A hello of which only the beginning comes.
    let mut stream = tcp(site.https, &client_hello()[..20]).await;
    until_closed(&mut stream).await;
    wait_counted(&site, "bascule_connections_refused_total{reason=\"client_hello_timeout\"}", 1.0).await;
    // Nothing at all.
    until_closed(&mut tcp(site.https, b"").await).await;
    wait_counted(&site, "bascule_connections_refused_total{reason=\"client_hello_timeout\"}", 2.0).await;
    // A whole hello, and then nothing.
    until_closed(&mut tcp(site.https, &client_hello()).await).await;
    wait_counted(&site, "bascule_tls_handshake_failures_total{reason=\"timeout\"}", 1.0).await;
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_handshake_that_fails_is_counted_by_whose_doing_it_was() {
    let mut site = Site::start_with(SMALL);
    let failed = |why: &str| format!("bascule_tls_handshake_failures_total{{reason=\"{why}\"}}");
    // It trusts somebody else, and says so when it has seen the certificate.
    let stranger = rcgen::generate_simple_self_signed([FQDN.to_owned()]).unwrap();
    for round in [1.0, 2.0] {
        Client::trusting(&site, &[stranger.cert.der()]).tls(Speaks::H1).await.unwrap_err();
        wait_counted(&site, &failed("certificate"), round).await;
    }
    // It leaves behind its hello.
    drop(tcp(site.https, &client_hello()).await);
    wait_counted(&site, &failed("gone"), 1.0).await;
    // It answers the certificate with what is no TLS.
    let mut stream = tcp(site.https, &client_hello()).await;
    stream.read_exact(&mut [0]).await.unwrap();
    stream.write_all(&[0xff; 64]).await.unwrap();
    until_closed(&mut stream).await;
    wait_counted(&site, &failed("protocol"), 1.0).await;
    assert_eq!(site.metric(&failed("other")), 0.0);
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn what_is_not_tls_or_too_old_is_refused() {
    let mut site = Site::start_with(SMALL);
    let mut plain = tcp(site.https, format!("GET / HTTP/1.1\r\nHost: {FQDN}\r\n\r\n").as_bytes()).await;
    until_closed(&mut plain).await;
    wait_counted(&site, "bascule_connections_refused_total{reason=\"not_tls\"}", 1.0).await;
    let mut old = tcp(site.https, &old_hello()).await;
    let mut alert = [0; 7];
    old.read_exact(&mut alert).await.unwrap();
    // A fatal alert: protocol_version or handshake_failure (RFC 8446 section 6).
    assert!(alert[0] == 21 && alert[5] == 2 && [40, 70].contains(&alert[6]), "{alert:?}");
    until_closed(&mut old).await;
    // It says what nobody here speaks, which is counted as not speaking TLS.
    wait_counted(&site, "bascule_connections_refused_total{reason=\"not_tls\"}", 2.0).await;
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn an_h2_connection_that_stalls_is_closed() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    for beginning in [&b""[..], &PREFACE[..7], b"GET /version HTTP/1.1\r\nHost: edge.example.org\r\n\r\n", PREFACE] {
        let mut stream = client.tls(Speaks::H2).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        stream.flush().await.unwrap();
        until_closed(&mut stream).await;
    }
    assert_eq!(site.main.requests(), 0);
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn one_client_holds_no_more_connections_than_it_may() {
    let mut site = Site::start_with("limits: { connections: 100, connections_per_client: 3 }");
    let client = Client::of(&site);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(client.connect(Speaks::H1).await.unwrap());
    }
    assert!(client.connect(Speaks::H1).await.is_err());
    wait_counted(&site, "bascule_connections_refused_total{reason=\"client_limit\"}", 1.0).await;
    // Those that are in are served, and one that leaves makes room.
    assert_eq!(held[0].get("/version").await.unwrap().status, 200);
    drop(held);
    let limit = tokio::time::Instant::now() + crate::site::PATIENCE;
    while client.get("/version").await.is_err() {
        assert!(tokio::time::Instant::now() < limit);
    }
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn the_plain_port_redirects_to_the_name_and_to_nothing_else() {
    let mut site = Site::start_with(SMALL);
    let port = site.https.port();
    let ask = async |request: String| {
        let mut stream = tcp(site.http, request.as_bytes()).await;
        until_closed(&mut stream).await
    };
    let to = |path: &str| format!("Location: https://{FQDN}:{port}{path}\r\n");
    let got = ask(format!("GET /ucassistant/?a=1&b=%20 HTTP/1.1\r\nHost: {FQDN}\r\n\r\n")).await;
    assert_eq!(status(&got), 301);
    assert!(got.contains(&to("/ucassistant/?a=1&b=%20")), "{got}");
    let got = ask(format!("POST /xuc/api HTTP/1.1\r\nHost: {FQDN}:80\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(status(&got), 308);
    assert!(got.contains(&to("/xuc/api")), "{got}");
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: elsewhere.org\r\n\r\n".to_owned(), 421),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET http://elsewhere.org/ HTTP/1.1\r\nHost: {FQDN}\r\n\r\n"), 421),
        (format!("GET / HTTP/1.1\r\nHost: {FQDN}\r\nX: {}\r\n\r\n", "x".repeat(5000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: {FQDN}\r\n"), 408),
        ("\x16\x03\x01\x02\x00\r\n\r\n".to_owned(), 400),
    ] {
        let got = ask(request.clone()).await;
        assert_eq!(status(&got), expected, "{request:.60}: {got}");
        assert!(!got.contains("Location:"), "{got}");
    }
    // No way out of the line.
    let got = ask(format!("GET /a\tb HTTP/1.1\r\nHost: {FQDN}\r\n\r\n")).await;
    assert_eq!(status(&got), 400, "{got}");
    assert_eq!(site.main.requests(), 0);
    assert_alive(&mut site).await;
}
