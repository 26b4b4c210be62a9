//! Connections that are handed on undecrypted by the name their clients ask for, to a service behind the site's own port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::bad_input::assert_alive;
use crate::client::{Client, Speaks};
use crate::raw::until_closed;
use crate::site::{FQDN, PATIENCE, Site, free_ports, wait_until};

pub const TURN: &str = "turn.example.org";

/// A TLS service with a certificate of its own, which says back what it hears and ends when its client does.
pub struct Echo {
    pub address: SocketAddr,
    pub certificate: Vec<u8>,
    /// What came before each ClientHello, one entry for each connection.
    before: Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
}

impl Echo {
    pub async fn start() -> Self {
        Self::behind(0).await
    }

    /// One to which so many bytes are said first.
    pub async fn behind(header: usize) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed([TURN.to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let before: Arc<std::sync::Mutex<Vec<Vec<u8>>>> = Arc::default();
        let noted = before.clone();
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let (acceptor, noted) = (acceptor.clone(), noted.clone());
                tokio::spawn(async move {
                    let mut first = vec![0; header];
                    tcp.read_exact(&mut first).await?;
                    noted.lock().unwrap().push(first);
                    let (mut reading, mut writing) = tokio::io::split(acceptor.accept(tcp).await?);
                    tokio::io::copy(&mut reading, &mut writing).await?;
                    writing.shutdown().await
                });
            }
        });
        Self { address, certificate: made.cert.der().to_vec(), before }
    }

    /// What came before the last ClientHello.
    pub fn told(&self) -> Vec<u8> {
        self.before.lock().unwrap().last().unwrap().clone()
    }

    /// How many came.
    pub fn connections(&self) -> usize {
        self.before.lock().unwrap().len()
    }

    /// A client of it by way of `at`, which asks for `name`.
    pub async fn dial(&self, at: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.dial_from([127, 0, 0, 1].into(), at, name, vec![]).await
    }

    /// The same from another address, offering protocols.
    pub async fn dial_from(
        &self,
        from: std::net::IpAddr,
        at: SocketAddr,
        name: &str,
        protocols: Vec<Vec<u8>>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        self.secure(socket.connect(at).await?, name, protocols).await
    }

    /// Speaks TLS as a client of it, on a connection that leads there.
    pub async fn secure(
        &self,
        tcp: TcpStream,
        name: &str,
        protocols: Vec<Vec<u8>>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone())).unwrap();
        let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = protocols;
        TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await
    }

    /// The configuration by which the Edge passes connections on to it.
    pub fn passed(&self) -> String {
        format!("pass: [ {{ names: {TURN}, to: '{}' }} ]\n", self.address)
    }
}

/// Has something said back.
pub async fn echoes(stream: &mut TlsStream<TcpStream>, said: &[u8]) {
    stream.write_all(said).await.unwrap();
    stream.flush().await.unwrap();
    let mut back = vec![0; said.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("it is said back").unwrap();
    assert!(back == said);
}

/// Lines of the access log about connections that were passed on.
fn passed_lines(site: &Site) -> Vec<Value> {
    let text = site.access_log();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["protocol"] == "tls").collect()
}

fn open(site: &Site) -> f64 {
    site.metric("bascule_passed_connections_open{name=\"turn.example.org\"}")
}

fn ended(site: &Site, why: &str) -> f64 {
    site.metric(&format!("bascule_passed_connections_total{{name=\"turn.example.org\",reason=\"{why}\"}}"))
}

/// The whole ClientHello that asks for `name`.
fn hello(name: &str) -> Vec<u8> {
    let config =
        rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same handshake message in records of `size` bytes.
pub fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let records = hello[5..].chunks(size);
    records
        .flat_map(|part| [&[22, 3, 1], &u16::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_passed_on_undecrypted_beside_the_site_that_is_served() {
    let echo = Echo::start().await;
    let mut site = Site::start_with(&echo.passed());
    // The client trusts the service's certificate alone: whoever decrypted it would be found out. As many protocols make
    // a ClientHello longer than a segment, as a post-quantum key share does.
    for protocols in [0, 300] {
        let protocols = (0..protocols).map(|number| format!("protocol-{number}").into_bytes()).collect();
        let mut stream =
            echo.dial_from([127, 0, 0, 1].into(), site.https, "Turn.Example.ORG", protocols).await.unwrap();
        echoes(&mut stream, &vec![7; 1 << 20]).await;
        assert_eq!(open(&site), 1.0);
        // Who has said all hears the rest.
        stream.write_all(b"the end").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert_eq!(rest, b"the end");
        drop(stream);
        wait_until("it has ended", || open(&site) == 0.0);
    }
    assert_eq!(ended(&site, "complete"), 2.0);
    wait_until("each has its line", || passed_lines(&site).len() == 2);
    for line in passed_lines(&site) {
        assert_eq!((&line["host"], &line["ended"]), (&TURN.into(), &"complete".into()));
        assert_eq!(line["backend"], echo.address.to_string());
        assert!(
            line["bytes_in"].as_u64().unwrap() > 1 << 20 && line["bytes_out"].as_u64().unwrap() > 1 << 20,
            "{line}"
        );
    }
    assert!(site.metric("bascule_relayed_bytes_total{direction=\"in\"}") > f64::from(2 << 20));
    // Another name is the site's, as without.
    let got = Client::of(&site).get("/version").await.unwrap();
    assert_eq!(got.status, 200);
    assert!(echo.dial(site.https, "other.example.org").await.is_err(), "it is shown the site's certificate");
    assert_eq!(echo.connections(), 2);
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hello_in_any_pieces_reaches_the_service_as_it_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut site = Site::start_with(&format!("pass: [ {{ names: '*.example.org', to: '{to}' }} ]\n"));
    let whole = hello(TURN);
    let said = [whole.clone(), in_records(&whole, 1), in_records(&whole, 7), in_records(&whole, 100)];
    for said in said.map(|hello| [&hello[..], b"and more"].concat()) {
        // In one segment, in two, and byte by byte.
        for size in [said.len(), said.len() / 2, 1] {
            let mut client = TcpStream::connect(site.https).await.unwrap();
            client.set_nodelay(true).unwrap();
            let heard = async {
                let (mut service, _) = listener.accept().await.unwrap();
                let mut heard = vec![0; said.len()];
                service.read_exact(&mut heard).await.unwrap();
                assert!(heard == said, "in pieces of {size}");
            };
            let saying = async {
                for piece in said.chunks(size) {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, async { tokio::join!(saying, heard) }).await.expect("nothing is lost");
        }
    }
    // What is no ClientHello is nobody's.
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\xff\xff\x01", &[0; 100]] {
        let mut client = TcpStream::connect(site.https).await.unwrap();
        client.write_all(garbage).await.unwrap();
        until_closed(&mut client).await;
    }
    // One without end is not kept without end.
    let mut endless = TcpStream::connect(site.https).await.unwrap();
    let message = [&[1, 0, 0xff, 0xff][..], &[0; 0xffff]].concat();
    let _ = endless.write_all(&in_records(&[&[0; 5][..], &message].concat(), 1)).await;
    until_closed(&mut endless).await;
    wait_until("each is counted", || site.metric("bascule_connections_refused_total{reason=\"not_tls\"}") == 5.0);
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_and_none_are_refused_with_their_alert_where_that_is_written() {
    let echo = Echo::start().await;
    let mut site = Site::start_with(&format!("{}tls: {{ unknown_name: refuse }}\n", echo.passed()));
    // RFC 6066 section 3: unrecognized_name, fatal. A client that asks for an address sends no name.
    for name in ["other.example.org", "127.0.0.1", "example.org", "a.turn.example.org"] {
        let mut client = TcpStream::connect(site.https).await.unwrap();
        client.write_all(&hello(name)).await.unwrap();
        let mut alert = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut alert)).await.unwrap().unwrap();
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 112], "{name}");
    }
    let refused = "bascule_connections_refused_total{reason=\"unknown_name\"}";
    wait_until("each is counted", || site.metric(refused) == 4.0);
    let mut stream = echo.dial(site.https, TURN).await.unwrap();
    echoes(&mut stream, b"known").await;
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_no_name_is_passed_on_where_that_is_written() {
    let echo = Echo::start().await;
    let mut site = Site::start_with(&format!("pass: [ {{ names: '*', to: '{}' }} ]\n", echo.address));
    for name in ["127.0.0.1", "anything.example.net"] {
        // The service has another name: its client ends the handshake, which it could begin with nobody else.
        let error = echo.dial(site.https, name).await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
    wait_until("both came", || echo.connections() == 2);
    assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200);
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_told_who_the_client_is() {
    const V1: &str = "PROXY TCP4 127.0.0.7 127.0.0.1 ";
    for (version, length) in [("v1", V1.len() + "50000 20000\r\n".len()), ("v2", 28)] {
        let echo = Echo::behind(length).await;
        let site = Site::start_with(&format!(
            "pass: [ {{ names: {TURN}, to: '{}', proxy_protocol: {version} }} ]\n",
            echo.address
        ));
        let mut stream = echo.dial_from([127, 0, 0, 7].into(), site.https, TURN, vec![]).await.unwrap();
        echoes(&mut stream, b"told").await;
        let from = stream.get_ref().0.local_addr().unwrap().port();
        let expected = match version {
            "v1" => format!("{V1}{from} {}\r\n", site.https.port()).into_bytes(),
            _ => [
                &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x07\x7f\0\0\x01"[..],
                &from.to_be_bytes(),
                &site.https.port().to_be_bytes(),
            ]
            .concat(),
        };
        assert_eq!(echo.told(), expected, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_is_counted_and_the_next_address_takes_its_connections() {
    let echo = Echo::start().await;
    let [nobody] = free_ports();
    let both = format!("pass: [ {{ names: {TURN}, to: [ '{nobody}', '{}' ] }} ]\n", echo.address);
    let mut site = Site::start_with(&both);
    let failures = "bascule_pass_connect_failures_total{kind=\"refused\",name=\"turn.example.org\"}";
    let mut stream = echo.dial(site.https, TURN).await.unwrap();
    echoes(&mut stream, b"the second").await;
    assert_eq!(site.metric(failures), 1.0);
    // Nobody at all: the connection is ended, and the site goes on.
    site.extra = format!("pass: [ {{ names: {TURN}, to: '{nobody}' }} ]\n");
    site.rewrite_config();
    site.reload_edge();
    assert!(echo.dial(site.https, TURN).await.is_err());
    wait_until("it is counted", || ended(&site, "connect_failed") == 1.0 && site.metric(failures) == 2.0);
    wait_until("it has its line", || passed_lines(&site).iter().any(|line| line["ended"] == "connect_failed"));
    // Who was there before stays.
    echoes(&mut stream, b"still the second").await;
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_switch_nor_another_configuration_ends_a_connection_that_is_passed_on() {
    let echo = Echo::start().await;
    let mut site = Site::start_with(&echo.passed());
    site.wait_ready_to_switch();
    let mut stream = echo.dial(site.https, TURN).await.unwrap();
    echoes(&mut stream, b"before").await;
    site.order(&["switch", "--to", "standby", "--reason", "a test"]);
    site.wait_live(failover::Side::Standby);
    echoes(&mut stream, b"behind the switch").await;
    // Past the time by which a switch has cut everything it cuts.
    site.main.kill();
    site.wait_health(failover::Side::Main, "not_working");
    echoes(&mut stream, b"behind Main's end").await;
    site.extra = String::new();
    site.rewrite_config();
    site.reload_edge();
    echoes(&mut stream, b"behind the reload").await;
    assert!(echo.dial(site.https, TURN).await.is_err(), "a new one is the site's");
    site.main.start();
    assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_ends_waits_for_what_moves_on_a_connection_as_long_as_it_may() {
    let echo = Echo::start().await;
    let mut site = Site::start_with(&format!("{}limits: {{ drain: 3s }}\n", echo.passed()));
    let mut stream = echo.dial(site.https, TURN).await.unwrap();
    echoes(&mut stream, b"before").await;
    site.edge().signal(Signal::TERM);
    wait_until("it goes away", || site.log().contains("draining"));
    echoes(&mut stream, b"meanwhile").await;
    // Whoever comes now is to come again.
    assert!(echo.dial(site.https, TURN).await.is_err());
    let ended = async {
        while stream.write_all(b"on and on").await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it ends with the Edge");
    assert_eq!(site.edge().wait(), Some(0));
    assert!(site.log().contains("the drain limit is over"), "{}", site.log());
    let drained = passed_lines(&site).iter().filter(|line| line["ended"] == "drained").count();
    assert_eq!(drained, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn passed_connections_count_as_their_clients_and_stand_still_no_longer_than_they_may() {
    let echo = Echo::start().await;
    let passed = format!("pass: [ {{ names: {TURN}, to: '{}', idle: 2s }} ]\n", echo.address);
    let mut site = Site::start_with(&format!("{passed}limits: {{ connections: 100, connections_per_client: 2 }}\n"));
    let mut held = vec![echo.dial(site.https, TURN).await.unwrap(), echo.dial(site.https, TURN).await.unwrap()];
    assert!(echo.dial(site.https, TURN).await.is_err() || ended(&site, "idle") > 0.0);
    for stream in &mut held {
        // It was ended without a word of TLS, as nobody here could say one.
        let _ = timeout(PATIENCE, stream.read(&mut [0; 9])).await.expect("it is ended");
    }
    wait_until("both are counted", || ended(&site, "idle") >= 2.0 && open(&site) == 0.0);
    assert_alive(&mut site).await;
    let mut speaks = Client::of(&site).tls(Speaks::H1).await.unwrap();
    speaks.write_all(format!("GET /version HTTP/1.0\r\nHost: {FQDN}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(until_closed(&mut speaks).await.contains(" 200 "));
}

/// coturn itself, if it is installed.
fn coturn(ports: [SocketAddr; 2], directory: &std::path::Path) -> Option<(crate::site::Process, Vec<u8>)> {
    let installed = std::process::Command::new("turnserver").arg("--version").output().is_ok();
    if !installed {
        return None;
    }
    let made = rcgen::generate_simple_self_signed([TURN.to_owned()]).unwrap();
    std::fs::write(directory.join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let [plain, tls] = ports.map(|address| address.port());
    let text = format!(
        "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={plain}\ntls-listening-port={tls}\n\
         cert={0}/chain.pem\npkey={0}/key.pem\nrealm=example.org\nno-auth\nno-cli\nno-udp\n\
         no-dtls\nlog-file=stdout\npidfile={0}/pid\nuserdb={0}/turndb\n",
        directory.display()
    );
    std::fs::write(directory.join("turnserver.conf"), text).unwrap();
    let mut command = std::process::Command::new("turnserver");
    command.arg("-c").arg(directory.join("turnserver.conf")).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    Some((crate::site::Process::spawn(&mut command), made.cert.der().to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn coturn_itself_answers_over_tls_on_the_sites_own_port() {
    // STUN Binding (RFC 8489 section 5), with nothing in it; the answer says in XOR-MAPPED-ADDRESS who asked.
    const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let ask = [&[0, 1, 0, 0][..], &MAGIC, b"transaction."].concat();
    let (directory, ports) = (tempfile::tempdir().unwrap(), free_ports::<2>());
    let Some((_coturn, certificate)) = coturn(ports, directory.path()) else {
        println!("skipped: coturn behind the Edge (no turnserver)");
        return;
    };
    for port in ports {
        wait_until("coturn listens", || std::net::TcpStream::connect(port).is_ok());
    }
    let coturn = Echo { address: ports[1], certificate, before: Arc::default() };
    let mut site = Site::start_with(&coturn.passed());
    let mut stream = coturn.dial(site.https, TURN).await.unwrap();
    stream.write_all(&ask).await.unwrap();
    stream.flush().await.unwrap();
    let mut head = [0; 20];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("coturn answers").unwrap();
    assert_eq!((&head[..2], &head[4..]), (&[1, 1][..], &ask[4..]), "a Binding success");
    let mut fields = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    timeout(PATIENCE, stream.read_exact(&mut fields)).await.unwrap().unwrap();
    let mapped = fields.windows(12).find(|field| field.starts_with(&[0, 0x20, 0, 8, 0, 1])).expect("who asked");
    let heard: Vec<u8> = mapped[8..].iter().zip(MAGIC).map(|(byte, magic)| byte ^ magic).collect();
    // It is the Edge that asked.
    assert_eq!(heard, [127, 0, 0, 1]);
    assert_alive(&mut site).await;
}
