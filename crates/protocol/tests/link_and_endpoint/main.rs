//! Links and endpoints over real sockets: who is let in, who is turned away and what either is told.

#![allow(clippy::disallowed_methods, reason = "real programs take real time")]
#![allow(clippy::unwrap_used)]

mod lanes;

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::Side;
use failover::health::Status;
use failover::lease;
use protocol::endpoint::{Endpoint, Handler};
use protocol::identity::{Expected, GRACE_DAYS, Identity, Keyring};
use protocol::issue::{Authority, Validity};
use protocol::link::{Limits, Link, LinkError, State};
use protocol::who::Who;
use protocol::wire::{Ask, Role, Told, Watched};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Where a fresh connection is not what is tested.
const NEVER: Duration = Duration::from_secs(600);

const LIMITS: Limits = Limits { dial: Duration::from_secs(2), patience: NEVER, silence: NEVER, lanes: NonZeroU8::MIN };

struct Site {
    dir: TempDir,
    authority: Authority,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&dir.path().join("ca"), "test").unwrap();
        Self { dir, authority }
    }

    fn path(&self, who: &Who) -> PathBuf {
        self.dir.path().join(who.uri().replace(['/', ':'], "-"))
    }

    fn keyring(&self, who: &Who, valid: Validity) -> Arc<Keyring> {
        let path = self.path(who);
        self.authority.issue(who, &path, valid).unwrap();
        Arc::new(Keyring::open(&path).unwrap())
    }
}

fn main_node() -> Who {
    Who::of_side(Role::Xivo, Side::Main, "main-xivo")
}

fn standby_node() -> Who {
    Who::of_side(Role::Xivo, Side::Standby, "standby-xivo")
}

/// Answers a watch with a serial one higher, after as many milliseconds as was seen, and a vote after as many as its
/// campaign.
#[derive(Default)]
struct Echo {
    turned_away: Mutex<Vec<String>>,
    asked: AtomicUsize,
}

impl Echo {
    fn seen(&self) -> Vec<String> {
        self.turned_away.lock().unwrap().clone()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Handler for Echo {
    async fn told(&self, who: &Who, ask: Ask) -> Told {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match ask {
            Ask::Vote(lease::Request { ask: to, campaign, epoch, needs, .. }) => {
                tokio::time::sleep(Duration::from_millis(campaign)).await;
                let ruling = lease::VoteReply::Grant;
                Told::Vote(lease::Answer { to, campaign, ruling, epoch, promises: needs, report: None })
            }
            Ask::Watch { seen } => {
                tokio::time::sleep(Duration::from_millis(seen)).await;
                Told::Watch(Watched { serial: seen + 1, status: Status::Active, epoch: 1 })
            }
            _ => Told::Refused { reason: format!("not for {who}") },
        }
    }

    fn turned_away(&self, _: SocketAddr, why: &str) {
        self.turned_away.lock().unwrap().push(why.to_owned());
    }

    fn speaks_another_version(&self, address: SocketAddr, offered: &str) {
        self.turned_away.lock().unwrap().push(format!("{} speaks {offered}", address.ip()));
    }
}

async fn open(keyring: Arc<Keyring>) -> (SocketAddr, Arc<Echo>, JoinHandle<()>) {
    let endpoint = Endpoint::open("127.0.0.1:0".parse().unwrap(), keyring).await.unwrap();
    let (address, handler) = (endpoint.address().unwrap(), Arc::new(Echo::default()));
    (address, Arc::clone(&handler), tokio::spawn(endpoint.serve(handler)))
}

async fn until(mut condition: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it comes about");
}

fn serial(told: Result<Told, LinkError>) -> u64 {
    match told {
        Ok(Told::Watch(watched)) => watched.serial,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_calls_share_a_connection_and_are_answered_in_any_order() {
    let site = Site::new();
    let (address, _, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let link = Link::new(address, Expected::Xivo(Side::Main), keyring, LIMITS);
    assert_eq!(link.state(), State::Idle);
    let slow = tokio::spawn({
        let link = link.clone();
        async move { link.ask(Ask::Watch { seen: 300 }).await }
    });
    until(|| link.state() == State::Up).await;
    for seen in 0..20 {
        assert_eq!(serial(link.ask(Ask::Watch { seen }).await), seen + 1);
    }
    assert_eq!(serial(slow.await.unwrap()), 301);
}

#[tokio::test]
async fn who_answers_there_must_be_whom_we_meant() {
    let site = Site::new();
    let (address, _, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    for (expected, right) in
        [(Expected::AnyXivo, true), (Expected::Edge, false), (Expected::Xivo(Side::Standby), false)]
    {
        let link = Link::new(address, expected, Arc::clone(&keyring), LIMITS);
        let told = link.ask(Ask::Watch { seen: 0 }).await;
        assert_eq!(told.is_ok(), right, "{told:?}");
        if let Err(error) = told {
            assert!(error.to_string().contains("the xivo node main-xivo of main answers there"), "{error}");
        }
    }
}

#[tokio::test]
async fn long_expired_and_foreign_certificates_are_refused_and_both_ends_say_so() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let elsewhere = Site::new();
    let foreign = elsewhere.keyring(&standby_node(), Validity::days(1));
    let told = Link::new(address, Expected::AnyXivo, foreign, LIMITS).ask(Ask::Watch { seen: 0 }).await;
    assert!(told.unwrap_err().to_string().contains("foreign authority"));
    until(|| endpoint.seen().iter().any(|why| why.contains("refuses our certificate"))).await;

    let expired = site.keyring(&standby_node(), Validity::ended(GRACE_DAYS));
    let told = Link::new(address, Expected::AnyXivo, expired, LIMITS).ask(Ask::Watch { seen: 0 }).await;
    assert!(told.unwrap_err().to_string().contains("our certificate has expired"));
    until(|| endpoint.seen().iter().any(|why| why == "its certificate has expired")).await;

    let (address, _, _endpoint) = open(site.keyring(&Who::edge("old"), Validity::ended(GRACE_DAYS))).await;
    let keyring = site.keyring(&Who::media_server("mds1"), Validity::days(1));
    let told = Link::new(address, Expected::Edge, keyring, LIMITS).ask(Ask::Watch { seen: 0 }).await;
    assert!(told.unwrap_err().to_string().contains("has expired"));
}

/// All certificates of a site end on one day: whom its authority vouched for goes on, and has weeks for it. A person
/// does not, nor does anybody else's.
#[tokio::test]
async fn an_expired_certificate_of_the_sites_own_authority_is_taken_for_weeks_at_both_ends() {
    let (site, elsewhere) = (Site::new(), Site::new());
    let yesterday = Validity::ended(GRACE_DAYS - 1);
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), yesterday)).await;
    let asked = |keyring| async move {
        Link::new(address, Expected::Xivo(Side::Main), keyring, LIMITS).ask(Ask::Watch { seen: 0 }).await
    };
    assert_eq!(serial(asked(site.keyring(&standby_node(), yesterday)).await), 1);
    assert_eq!(serial(asked(site.keyring(&Who::edge("edge"), Validity::ended(0))).await), 1);
    let person = site.keyring(&Who::Operator { name: "ann".into() }, Validity::ended(0));
    assert!(asked(person).await.unwrap_err().to_string().contains("our certificate has expired"));
    until(|| endpoint.seen().iter().any(|why| why == "its certificate has expired")).await;
    // What is over is looked at as closely as what is not.
    let foreign = elsewhere.keyring(&standby_node(), Validity::ended(0));
    assert!(asked(foreign).await.unwrap_err().to_string().contains("foreign authority"));
    let path = elsewhere.path(&standby_node());
    let both = [path.join("ca.pem"), site.path(&main_node()).join("ca.pem")].map(|path| std::fs::read(path).unwrap());
    std::fs::write(path.join("ca.pem"), both.concat()).unwrap();
    let both = Arc::new(Keyring::open(&path).unwrap());
    assert!(asked(both).await.unwrap_err().to_string().contains("does not know the authority"));
    let other = site.keyring(&Who::media_server("mds1"), yesterday);
    let told = Link::new(address, Expected::Edge, other, LIMITS).ask(Ask::Watch { seen: 0 }).await;
    assert!(told.unwrap_err().to_string().contains("not an Edge"));
}

/// A client of ours with another authority's trust: it accepts the endpoint, and the endpoint must not accept it.
#[tokio::test]
async fn a_door_turns_away_who_has_a_certificate_of_another_authority() {
    let (site, elsewhere) = (Site::new(), Site::new());
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    elsewhere.keyring(&standby_node(), Validity::days(1));
    let path = elsewhere.path(&standby_node());
    // It trusts both, its own chain stays the foreign one.
    let both = [path.join("ca.pem"), site.path(&main_node()).join("ca.pem")].map(|path| std::fs::read(path).unwrap());
    std::fs::write(path.join("ca.pem"), both.concat()).unwrap();
    let keyring = Arc::new(Keyring::open(&path).unwrap());
    let told = Link::new(address, Expected::AnyXivo, keyring, LIMITS).ask(Ask::Watch { seen: 0 }).await;
    assert!(told.unwrap_err().to_string().contains("does not know the authority of our certificate"));
    until(|| endpoint.seen().iter().any(|why| why == "its certificate is of a foreign authority")).await;
}

#[tokio::test]
async fn a_connection_outlives_its_certificate() {
    let site = Site::new();
    let (address, _, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let keyring = site.keyring(&standby_node(), Validity::seconds(2));
    let link = Link::new(address, Expected::AnyXivo, Arc::clone(&keyring), LIMITS);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 1 }).await), 2);
    until(|| keyring.current().days_left() < 0).await;
    assert_eq!(serial(link.ask(Ask::Watch { seen: 2 }).await), 3);
    // Anew, too, within the grace.
    let again = Link::new(address, Expected::AnyXivo, keyring, LIMITS);
    assert_eq!(serial(again.ask(Ask::Watch { seen: 0 }).await), 1);
}

#[tokio::test]
async fn a_silent_peer_is_given_up_and_dialled_again() {
    let site = Site::new();
    let (address, _, endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let limits = Limits { silence: Duration::from_millis(600), ..LIMITS };
    let link = Link::new(address, Expected::AnyXivo, keyring, limits);
    let told = link.ask(Ask::Watch { seen: 60_000 }).await;
    assert!(told.unwrap_err().to_string().contains("has not answered for 600ms"));
    assert_eq!(serial(link.ask(Ask::Watch { seen: 1 }).await), 2);
    endpoint.abort();
    until(|| endpoint.is_finished()).await;
    let told = link.ask(Ask::Watch { seen: 1 }).await;
    assert!(told.is_err());
    until(|| matches!(link.state(), State::Down(_))).await;
    let told = link.ask(Ask::Watch { seen: 1 }).await;
    assert!(told.unwrap_err().to_string().contains("no watchdog runs there"));
}

#[tokio::test]
async fn a_peer_that_takes_the_connection_and_says_nothing_costs_the_dial_limit() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let limits = Limits { dial: Duration::from_millis(200), ..LIMITS };
    let link = Link::new(listener.local_addr().unwrap(), Expected::AnyXivo, keyring, limits);
    let told = link.ask(Ask::Watch { seen: 1 }).await;
    assert!(told.unwrap_err().to_string().contains("does not answer within 200ms"));
}

#[tokio::test]
async fn garbage_and_strangers_are_turned_away_and_the_door_goes_on() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    until(|| endpoint.seen().iter().any(|why| why.contains("does not speak TLS"))).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let link = Link::new(address, Expected::AnyXivo, keyring, LIMITS);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 1 }).await), 2);
}

#[tokio::test]
async fn a_caller_has_eight_connections_at_most_and_the_oldest_makes_room() {
    let site = Site::new();
    let (address, _, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let links: Vec<_> = (0..9).map(|_| Link::new(address, Expected::AnyXivo, Arc::clone(&keyring), LIMITS)).collect();
    for link in &links {
        assert_eq!(serial(link.ask(Ask::Watch { seen: 1 }).await), 2);
    }
    until(|| matches!(links[0].state(), State::Down(_))).await;
    for link in &links[1..] {
        assert_eq!(serial(link.ask(Ask::Watch { seen: 1 }).await), 2);
    }
}

/// Connects, and says nothing.
async fn idle(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn idle_connections_of_one_address_keep_no_other_out() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(idle([127, 0, 0, 2], address).await);
    }
    // All but sixteen are sent away at once, not after the limit of a handshake.
    let of_its_address = || endpoint.seen().iter().filter(|why| why.contains("of its address")).count();
    until(|| of_its_address() == 84).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let link = Link::new(address, Expected::AnyXivo, Arc::clone(&keyring), LIMITS);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 1 }).await), 2);
    // The sixteen lose their places in time, and others get them.
    until(|| endpoint.seen().iter().filter(|why| why.contains("no handshake within 2s")).count() == 16).await;
    strangers.push(idle([127, 0, 0, 2], address).await);
    assert_eq!(of_its_address(), 84);
}

#[tokio::test]
async fn who_has_shown_a_certificate_needs_no_place_among_strangers() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let link = Link::new(address, Expected::AnyXivo, Arc::clone(&keyring), LIMITS);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 1 }).await), 2);
    // Strangers of eight addresses take every place that is for them.
    let mut strangers = Vec::new();
    for last in 2..=9 {
        for _ in 0..16 {
            strangers.push(idle([127, 0, 0, last], address).await);
        }
    }
    strangers.push(idle([127, 0, 0, 10], address).await);
    // One of them makes room for a ninth.
    until(|| endpoint.seen().iter().any(|why| why.contains("others needed its place"))).await;
    assert_eq!(serial(link.ask(Ask::Watch { seen: 2 }).await), 3);
}

#[tokio::test]
async fn another_version_is_named() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    site.keyring(&standby_node(), Validity::days(1));
    let path = site.path(&standby_node());
    Identity::load(&path).unwrap();
    assert_eq!(other_version(address, &path).await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    until(|| endpoint.seen().iter().any(|why| why.contains("another version of the protocol (bascule/9)"))).await;
    until(|| endpoint.seen().iter().any(|why| why == "127.0.0.1 speaks bascule/9")).await;
    // A foreign certificate is no other version.
    let foreign = Site::new().keyring(&standby_node(), Validity::days(1));
    let link = Link::new(address, Expected::AnyXivo, foreign, LIMITS);
    assert!(link.ask(Ask::Watch { seen: 1 }).await.is_err());
    assert_eq!(
        endpoint.seen().iter().filter(|why| why.contains(" speaks bascule/")).count(),
        1,
        "{:?}",
        endpoint.seen()
    );
}

/// Dials as a program of another version would.
async fn other_version(address: SocketAddr, identity: &std::path::Path) -> std::io::Result<()> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let read = |name: &str| std::fs::read(identity.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read("ca.pem")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(&read("chain.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"bascule/9".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(drop)
}
