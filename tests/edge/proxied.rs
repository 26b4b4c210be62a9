//! A load balancer in front that says by the PROXY protocol whose connections it hands on, and others who say so, too.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bad_input::assert_alive;
use crate::client::Client;
use crate::passing::{Echo, TURN, echoes};
use crate::raw::{status, until_closed};
use crate::site::{FQDN, Site, wait_until};

/// Where the load balancer is.
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 50000 443\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13\xcb\x00\x71\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb\x04\x00\x04more";
const V2_IPV6: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xc3\x50\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// A site both of whose listeners believe the load balancer.
fn site(extra: &str) -> Site {
    let mut site = Site::prepare(extra);
    let mut config = site.config();
    for address in [site.https, site.http] {
        let long = format!("{{ address: '{address}', proxy_protocol: {{ from: [ {PROXY} ] }} }}");
        config = config.replacen(&format!("['{address}']"), &format!("[ {long} ]"), 1);
    }
    site.write_config(&config);
    site.start_edge();
    site
}

async fn dial(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let tcp = socket.connect(to).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// A connection of the load balancer's on which it says something, and then speaks TLS with the site.
async fn handed_on(site: &Site, said: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut tcp = dial(PROXY, site.https).await;
    tcp.write_all(said).await?;
    secured(site, tcp).await
}

async fn secured(site: &Site, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(site.certificate.clone())).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(FQDN).unwrap(), tcp).await
}

/// Asks a side what it is told.
async fn headers(mut stream: TlsStream<TcpStream>) -> String {
    let asked = format!(
        "GET /xuc/lab/headers HTTP/1.1\r\nHost: {FQDN}\r\nX-Forwarded-For: 10.9.9.9\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    until_closed(&mut stream).await.to_ascii_lowercase()
}

fn refused(site: &Site, why: &str) -> f64 {
    site.metric(&format!("bascule_connections_refused_total{{reason=\"{why}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_that_a_load_balancer_names_is_the_client_everywhere() {
    let mut site = site("");
    for (said, client, logged) in [
        (V1, "203.0.113.7", "203.0.113.7:50000"),
        (V2, "203.0.113.7", "203.0.113.7:50000"),
        (V2_IPV6, "2001:db8::7", "[2001:db8::7]:50000"),
    ] {
        let told = headers(handed_on(&site, said).await.unwrap()).await;
        assert!(told.contains(&format!("x-forwarded-for: {client}\n")) && !told.contains("10.9.9.9"), "{told}");
        assert!(told.contains(&format!("x-real-ip: {client}\n")), "{told}");
        let line = format!("\"client\":\"{logged}\"");
        wait_until("the line names it", || site.access_log().contains(&line));
    }
    // What it says of itself: a check of its own, which is its own.
    for said in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let told = headers(handed_on(&site, said).await.unwrap()).await;
        assert!(told.contains(&format!("x-forwarded-for: {PROXY}\n")), "{told}");
    }
    // Byte by byte, and at the plain port.
    let mut tcp = dial(PROXY, site.https).await;
    for byte in V2 {
        tcp.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(headers(secured(&site, tcp).await.unwrap()).await.contains("x-forwarded-for: 203.0.113.7\n"));
    let mut plain = dial(PROXY, site.http).await;
    plain.write_all(b"PROXY TCP4 203.0.113.99 198.51.100.1 50001 80\r\n").await.unwrap();
    plain.write_all(format!("GET /there HTTP/1.1\r\nHost: {FQDN}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(until_closed(&mut plain).await.contains("/there\r\n"));
    wait_until("the line names it", || site.access_log().contains("\"client\":\"203.0.113.99:50001\""));
    // Everybody else is the client it is.
    assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200);
    assert_eq!(refused(&site, "proxy_header") + refused(&site, "proxy_stranger"), 0.0);
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_believed_and_who_is_believed_must_say_so() {
    let mut site = site("limits: { client_hello: 2s }");
    for header in [V1, V2, LOCAL] {
        let mut stranger = dial([127, 0, 0, 1].into(), site.https).await;
        stranger.write_all(header).await.unwrap();
        assert!(secured(&site, stranger).await.is_err());
    }
    wait_until("each is counted", || refused(&site, "proxy_stranger") == 3.0);
    // At the plain port it is no request.
    let mut stranger = dial([127, 0, 0, 1].into(), site.http).await;
    stranger.write_all(&[V1, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"].concat()).await.unwrap();
    assert!(until_closed(&mut stranger).await.starts_with("HTTP/1.1 400 "));
    // No header, one that nobody understands, half of one and the end, and one that does not come.
    assert!(handed_on(&site, b"").await.is_err());
    assert!(handed_on(&site, b"PROXY TCP4 203.0.113.7 198.51.100.1 +1 443\r\n").await.is_err());
    for half in [&V1[..20], &V2[..20]] {
        let mut tcp = dial(PROXY, site.https).await;
        tcp.write_all(half).await.unwrap();
        tcp.shutdown().await.unwrap();
        until_closed(&mut tcp).await;
    }
    let mut slow = dial(PROXY, site.https).await;
    slow.write_all(&V2[..20]).await.unwrap();
    until_closed(&mut slow).await;
    wait_until("each is counted", || refused(&site, "proxy_header") == 5.0);
    // Whoever only looks whether somebody listens is no mistake.
    drop(dial(PROXY, site.https).await);
    assert!(!headers(handed_on(&site, V1).await.unwrap()).await.is_empty());
    assert_eq!(refused(&site, "proxy_header"), 5.0);
    assert_eq!(refused(&site, "proxy_stranger"), 3.0);
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancers_connections_count_for_their_clients() {
    let site = site("limits: { connections: 100, connections_per_client: 2 }");
    let named = |last: u8| format!("PROXY TCP4 203.0.113.{last} 198.51.100.1 50000 443\r\n").into_bytes();
    let mut held = Vec::new();
    for client in [1, 1, 2, 2, 3] {
        held.push(handed_on(&site, &named(client)).await.unwrap());
    }
    assert!(handed_on(&site, &named(1)).await.is_err());
    wait_until("it is counted", || refused(&site, "client_limit") == 1.0);
    held.push(handed_on(&site, &named(3)).await.unwrap());
    wait_until("six are open", || site.metric("bascule_connections_open") == 6.0);
    drop(held);
    wait_until("all have ended", || site.metric("bascule_connections_open") == 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_both_is_told_the_client_that_the_first_one_named() {
    let echo = Echo::behind(28).await;
    let site = site(&format!("pass: [ {{ names: {TURN}, to: '{}', proxy_protocol: v2 }} ]\n", echo.address));
    let mut tcp = dial(PROXY, site.https).await;
    tcp.write_all(V1).await.unwrap();
    let mut stream = echo.secure(tcp, TURN, vec![]).await.unwrap();
    echoes(&mut stream, b"through both").await;
    let expected =
        [&V2[..13], b"\x11\x00\x0c\xcb\x00\x71\x07\x7f\0\0\x01\xc3\x50", &site.https.port().to_be_bytes()].concat();
    assert_eq!(echo.told(), expected);
    stream.shutdown().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), stream.read(&mut [0; 1])).await.unwrap().unwrap();
    wait_until("its line names it", || site.access_log().contains("\"client\":\"203.0.113.7:50000\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zones_count_the_client_that_is_named_and_one_of_ipv6_by_its_prefix() {
    let zones = "zones: { auth: { rate: 1/min, burst: 2 } }\nrate_limits:\n  exempt: [ '2001:db8:0:3::/64' ]\n";
    let site = site(&format!("{zones}  relax_after_switch: off\n"));
    let login = async |client: &str| {
        let said = format!("PROXY TCP6 {client} 2001:db8::1 50000 443\r\n");
        let mut stream = handed_on(&site, said.as_bytes()).await.unwrap();
        let asked = format!("GET /xuc/api/2.0/auth/login HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        status(&until_closed(&mut stream).await)
    };
    // Who has a /64 has all its addresses: a rate for each would be none.
    for client in ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff:ffff:ffff:ffff"] {
        assert_ne!(login(client).await, 429, "{client}");
    }
    for client in ["2001:db8:0:1::4", "2001:db8:0:1::1"] {
        assert_eq!(login(client).await, 429, "{client}");
    }
    // The next prefix is somebody else, though one load balancer hands on both, and an exempt one is not counted at all.
    for _ in 0..3 {
        assert_ne!(login("2001:db8:0:2::1").await, 429);
    }
    assert_eq!(login("2001:db8:0:2::1").await, 429);
    for _ in 0..6 {
        assert_ne!(login("2001:db8:0:3::1").await, 429);
    }
    assert_eq!(site.metric(r#"bascule_zone_addresses{zone="auth"}"#), 2.0);
    assert_eq!(site.metric(r#"bascule_zone_requests_total{outcome="refused",zone="auth"}"#), 3.0);
    assert_eq!(site.metric(r#"bascule_zone_requests_total{outcome="exempt",zone="auth"}"#), 6.0);
}
