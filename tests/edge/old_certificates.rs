//! Backends with certificates as Asterisk's own script makes them: X.509 version 1, an RSA key of 1024 bits. With
//! `verify: off` or a pin, probes, WebSockets and requests judge them alike.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use failover::Side;
use probe::tls::Pin;
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::client::Client;
use crate::site::{Process, Site, free_ports, wait_until};

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut whole = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..128) => whole.push(short),
        _ => {
            whole.push(0x82);
            whole.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    whole.extend(content);
    whole
}

/// A certificate without version, thus of version 1. What it is signed with is nobody's business here.
fn version_1(key: &rcgen::KeyPair) -> CertificateDer<'static> {
    let ecdsa_with_sha256 = der(0x30, &[&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let common_name = der(0x30, &[&[0x06, 3, 0x55, 4, 3], &der(0x0c, &[b"pbx"])]);
    let name = der(0x30, &[&der(0x31, &[&common_name])]);
    let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"490101000000Z"])]);
    let key = key.subject_public_key_info();
    let tbs = der(0x30, &[&[0x02, 1, 1], &ecdsa_with_sha256, &name, &validity, &name, &key]);
    CertificateDer::from(der(0x30, &[&tbs, &ecdsa_with_sha256, &der(0x03, &[&[0; 65]])]))
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// A web server with such a certificate.
struct Old {
    address: SocketAddr,
    pin: Pin,
    connections: Arc<AtomicUsize>,
}

impl Old {
    fn start() -> Self {
        Self::with(rustls::crypto::aws_lc_rs::default_provider())
    }

    fn with(provider: rustls::crypto::CryptoProvider) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = version_1(&key);
        let pin = Pin::of(&certificate).unwrap();
        let provider = Arc::new(provider);
        let signer =
            provider.key_provider.load_private_key(PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
        let shows = Arc::new(Shows(Arc::new(CertifiedKey::new(vec![certificate], signer))));
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_cert_resolver(shows));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = connections.clone();
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (config, counted) = (config.clone(), counted.clone());
                std::thread::spawn(move || {
                    let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), tcp);
                    answer(&mut stream, &counted);
                });
            }
        });
        Self { address, pin, connections }
    }
}

/// Answers every request of a connection. Probes close after one; only users' connections are counted.
fn answer(stream: &mut (impl Read + Write), users: &AtomicUsize) {
    let (mut head, mut byte, mut counted) = (Vec::new(), [0], false);
    while stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if text.contains("x-request-id") && !std::mem::replace(&mut counted, true) {
            users.fetch_add(1, Ordering::SeqCst);
        }
        let upgrade = text.contains("upgrade: websocket");
        let answer = match upgrade {
            true => {
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            }
            false => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        };
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() || upgrade {
            return;
        }
        head.clear();
    }
}

/// A site whose two sides are one server of old, under this rule.
fn site_before(address: SocketAddr, rule: &str) -> Site {
    let mut site = planned_before(address, rule);
    site.start_edge();
    site
}

fn planned_before(address: SocketAddr, rule: &str) -> Site {
    let mut site = Site::plan(&format!("upstream_tls: {{ {rule} }}\nswitch: {{ park_limit: 1s }}"));
    for side in [Side::Main, Side::Standby] {
        site.side(side).address = address;
        site.side(side).tls = Some(Default::default());
    }
    let checks = "services:\n  cc: { checks: [ { http: { path: / } } ] }\n";
    site.write_config(&site.config().replace("services:\n", checks));
    site
}

#[tokio::test]
async fn a_version_1_certificate_is_carried_to_when_unverified_or_pinned_and_its_connections_are_kept() {
    let old = Old::start();
    for rule in ["verify: off".to_owned(), format!("pin: {}", old.pin)] {
        old.connections.store(0, Ordering::SeqCst);
        let site = site_before(old.address, &rule);
        assert!(!site.order(&["check", "--live"]).contains("DOES NOT WORK"));
        let client = Client::of(&site);
        for _ in 0..20 {
            let answer = client.get("/version").await.unwrap();
            assert_eq!(answer.status.as_u16(), 200, "{rule}: {}", site.log());
        }
        let connections = old.connections.load(Ordering::SeqCst);
        // One is enough, unless a request comes before the last one's connection is back in the pool.
        assert!((1..=5).contains(&connections), "{rule}: twenty requests, one after the other, took {connections}");
        // The example of RFC 6455.
        let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let request = format!(
            "GET /xuc/api/2.0/cti?token=a.b.c HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n",
            crate::site::FQDN
        );
        let told = crate::raw::say(&client, request.as_bytes()).await;
        assert_eq!(crate::raw::status(&told), 101, "{rule}: {told}");
    }
}

#[tokio::test]
async fn an_upstream_that_insists_on_a_post_quantum_secret_is_probed_and_carried_to() {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    let insists = Old::with(provider);
    let site = site_before(insists.address, "verify: off");
    assert!(!site.order(&["check", "--live"]).contains("DOES NOT WORK"));
    let answer = Client::of(&site).get("/version").await.unwrap();
    assert_eq!(answer.status.as_u16(), 200, "{}", site.log());
}

#[tokio::test]
async fn a_wrong_pin_is_named_once_with_the_pin_to_write() {
    let old = Old::start();
    let mut site = planned_before(old.address, &format!("pin: '{}'", "00".repeat(32)));
    let said = format!("the server's key {} is not one of the pinned keys", old.pin);
    let (code, told) = site.verb(&["check", "--live"]);
    assert!(code == Some(1) && told.contains(&said), "{told}");
    site.spawn_edge();
    wait_until("the admin endpoint answers", || site.ask("GET", "/v1/status", "").is_some());
    site.wait_health(Side::Main, "not_working");
    site.wait_health(Side::Standby, "not_working");
    assert_eq!(Client::of(&site).get("/version").await.unwrap().status.as_u16(), 503);
    // What is said can be written: hexadecimal, or as curl takes it.
    let working = site_before(old.address, &format!("pin: {}", said.split(' ').nth(3).unwrap()));
    assert_eq!(Client::of(&working).get("/version").await.unwrap().status.as_u16(), 200);
}

#[tokio::test]
async fn requests_that_no_check_looks_at_are_an_alarm_while_they_cannot_be_carried() {
    let old = Old::start();
    let mut site = planned_before(old.address, &format!("pin: '{}'", "00".repeat(32)));
    let [_, sip] = free_ports::<2>();
    let telephony = std::net::UdpSocket::bind(sip).unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = telephony.recv_from(&mut datagram) {
            let asked = String::from_utf8_lossy(&datagram[..length]).into_owned();
            let kept = |line: &&str| ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|name| line.starts_with(name));
            let fields: Vec<&str> = asked.lines().filter(kept).collect();
            let answer = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", fields.join("\r\n"));
            let _ = telephony.send_to(answer.as_bytes(), from);
        }
    });
    let check = format!("checks: [ {{ sip: {{ transport: udp, port: {} }} }} ]", sip.port());
    let config = site.config().replace("services:\n", &format!("services:\n  cc: {{ {check} }}\n"));
    let config = config.replace("checks: [ { http: { path: /version } } ]", &check);
    site.write_config(&config);
    let said = format!("the server's key {} is not one of the pinned keys", old.pin);
    let (code, told) = site.verb(&["check", "--live"]);
    let asked: Vec<_> =
        told.lines().filter(|line| line.contains("(tls, as requests need it): DOES NOT WORK")).collect();
    assert!(code == Some(1) && asked.len() == 4 && asked[0].contains(&said), "{told}");
    site.start_edge();
    site.wait_health(Side::Main, "working");
    assert!(!site.order(&["status"]).contains("cannot be carried"));
    let client = Client::of(&site);
    assert_eq!(client.get("/version").await.unwrap().status.as_u16(), 503);
    let screen = site.order(&["status"]);
    assert!(screen.contains("requests to cc (main) cannot be carried, since 2") && screen.contains(&said), "{screen}");
    assert!(screen.contains("which works"), "nothing moves for that: {screen}");
    // Whoever has it judged writes a check for it: the sides do not work then, by their telephony's web server.
    let judged = check.replace(" ]", ", tls ]");
    site.write_config(&config.replace(&check, &judged));
    site.reload_edge();
    site.wait_health(Side::Main, "not_working");
    site.wait_health(Side::Standby, "not_working");
    // What is right is carried, and no alarm any more.
    site.write_config(&config.replace(&"00".repeat(32), &old.pin.to_string()));
    site.reload_edge();
    wait_until("a side works", || site.ask("GET", "/readyz", "").unwrap().0 == 200);
    assert_eq!(client.get("/version").await.unwrap().status.as_u16(), 200);
    assert!(!site.order(&["status"]).contains("cannot be carried"));
}

#[tokio::test]
async fn an_rsa_key_of_1024_bits_is_carried_to_when_unverified_or_pinned() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let openssl = |words: &[&str]| {
        let done = Command::new("openssl").args(words).stdin(Stdio::null()).output();
        done.is_ok_and(|output| output.status.success())
    };
    let (key, request, chain, der) = (at("key"), at("request"), at("chain"), at("der"));
    let made = openssl(&[
        "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", &key, "-out", &request, "-subj", "/CN=pbx",
    ]) && openssl(&["x509", "-req", "-in", &request, "-signkey", &key, "-days", "9", "-out", &chain])
        && openssl(&["x509", "-in", &chain, "-outform", "der", "-out", &der]);
    if !made {
        eprintln!("skipped: no openssl here that makes a key of 1024 bits");
        return;
    }
    let pin = Pin::of(&CertificateDer::from(std::fs::read(&der).unwrap())).unwrap();
    let table = [
        ("-tls1_2", "verify: off".to_owned()),
        ("-tls1_3", "verify: off".to_owned()),
        ("-tls1_2", format!("pin: {pin}")),
    ];
    for (version, rule) in table {
        let [address] = free_ports();
        let port = address.port().to_string();
        let words = ["s_server", "-www", "-quiet", "-cipher", "DEFAULT@SECLEVEL=0", version, "-port", &port];
        let mut command = Command::new("openssl");
        command.args(words).args(["-key", &key, "-cert", &chain]).stdout(Stdio::null()).stderr(Stdio::null());
        let _server = Process::spawn(command.stdin(Stdio::null()));
        wait_until("it listens", || std::net::TcpStream::connect(address).is_ok());
        let site = site_before(address, &rule);
        let answer = Client::of(&site).get("/version").await.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{version} {rule}: {}", site.log());
    }
}
