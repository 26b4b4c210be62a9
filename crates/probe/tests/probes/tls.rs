//! TLS: whom the probe trusts, whom not, and in which words it says so.

use std::net::SocketAddr;
use std::sync::Arc;

use probe::tls::{ALPN_HTTP1, Pin, Tls, TlsTrust, Verify};
use probe::{FailureKind, Kind, Phase, Report};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::server::{
    AMPLE, Authority, Identity, assert_answers, assert_fails, closed, drain, named, provider, run, serve, valid_days,
};

/// Shakes hands and waits for the end.
async fn accepting(acceptor: TlsAcceptor) -> SocketAddr {
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                drain(&mut stream).await;
            }
        }
    })
    .await
}

async fn shake(identity: &Identity, tls: Tls) -> Report {
    run(accepting(identity.acceptor()).await, AMPLE, Kind::Tls(tls)).await
}

async fn shake_trusting(identity: &Identity, verify: Verify) -> Report {
    shake(identity, named(&TlsTrust::new(verify).unwrap(), "cc.example.org", &[])).await
}

/// What `openssl req -x509` makes: self-signed, and an authority by its own account.
fn self_signed(name: &str, from: i64, to: i64) -> Identity {
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    valid_days(&mut parameters, from, to);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap().der().clone();
    Identity { certificate, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
}

#[track_caller]
fn assert_untrusted(report: &Report, words: &str) {
    assert_fails(report, FailureKind::Tls, Phase::Tls, words);
    assert!(report.certificate.is_none());
}

#[tokio::test]
async fn a_certificate_of_the_given_authority_is_trusted() {
    let authority = Authority::new();
    let identity = authority.issue("cc.example.org", -1, 90);
    let report = shake(&identity, named(&authority.trust(), "cc.example.org", &[])).await;
    assert_answers(&report, "TLS 1.3");
    let certificate = report.certificate.unwrap();
    assert_eq!(certificate.days_to_expiry, 90);
    assert_eq!(certificate.key, Pin::of(&identity.certificate).unwrap());
    assert!(report.timings.connect.is_some() && report.timings.tls.is_some());
}

#[tokio::test]
async fn a_server_that_insists_on_a_post_quantum_secret_gets_one() {
    let authority = Authority::new();
    let identity = authority.issue("cc.example.org", -1, 90);
    let mut insists = rustls::crypto::aws_lc_rs::default_provider();
    insists.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    let config = ServerConfig::builder_with_provider(Arc::new(insists))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .unwrap();
    let address = accepting(TlsAcceptor::from(Arc::new(config))).await;
    let report = run(address, AMPLE, Kind::Tls(named(&authority.trust(), "cc.example.org", &[]))).await;
    assert_answers(&report, "TLS 1.3");
}

#[tokio::test]
async fn tls_1_2_will_do() {
    let authority = Authority::new();
    let identity = authority.issue("cc.example.org", -1, 90);
    let old: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(old)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .unwrap();
    let target = accepting(TlsAcceptor::from(Arc::new(config))).await;
    let report = run(target, AMPLE, Kind::Tls(named(&authority.trust(), "cc.example.org", &[]))).await;
    assert_answers(&report, "TLS 1.2");
}

#[tokio::test]
async fn an_ip_address_is_a_name_too() {
    let authority = Authority::new();
    let identity = authority.issue("10.0.0.21", -1, 90);
    assert_answers(&shake(&identity, named(&authority.trust(), "10.0.0.21", &[])).await, "TLS 1.3");
    let report = shake(&identity, named(&authority.trust(), "10.0.0.22", &[])).await;
    assert_untrusted(&report, "not for 10.0.0.22 but for");
}

#[tokio::test]
async fn untrusted_certificates_are_refused_in_clear_words() {
    let authority = Authority::new();
    let ours = || Verify::Ca(vec![authority.certificate.clone()]);
    let table = [
        (authority.issue("cc.example.org", -10, -3), "the certificate expired 2 days ago"),
        (authority.issue("cc.example.org", 2, 9), "not valid yet"),
        (authority.issue("other.example.org", -1, 9), "not for cc.example.org but for"),
        (Authority::named("elsewhere").issue("cc.example.org", -1, 9), "not issued by a trusted authority"),
        (Authority::new().issue("cc.example.org", -1, 9), "of another authority of the same name"),
        (self_signed("cc.example.org", -1, 9), ""),
    ];
    for (identity, words) in table {
        assert_untrusted(&shake_trusting(&identity, ours()).await, words);
    }
}

#[tokio::test]
async fn a_private_authority_is_unknown_to_the_system() {
    let Ok(trust) = TlsTrust::new(Verify::System) else {
        eprintln!("skipped: this machine has no certificate authorities");
        return;
    };
    let identity = Authority::new().issue("cc.example.org", -1, 90);
    assert_untrusted(
        &shake(&identity, named(&trust, "cc.example.org", &[])).await,
        "not issued by a trusted authority",
    );
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_given_as_the_authority() {
    let identity = self_signed("cc.example.org", -1, 90);
    let given = |identity: &Identity| Verify::Ca(vec![Authority::new().certificate, identity.certificate.clone()]);
    assert_answers(&shake_trusting(&identity, given(&identity)).await, "TLS 1.3");
    let table = [
        (self_signed("cc.example.org", -9, -2), "expired 47 hours ago"),
        (self_signed("cc.example.org", 1, 9), "not valid yet"),
        (self_signed("other.example.org", -1, 9), "not for cc.example.org"),
    ];
    for (identity, words) in table {
        assert_untrusted(&shake_trusting(&identity, given(&identity)).await, words);
    }
}

#[tokio::test]
async fn a_pinned_key_is_trusted_whatever_the_name_the_date_and_the_issuer() {
    for identity in
        [self_signed("cc.example.org", -1, 9), self_signed("other", -9, -3), Authority::new().issue("other", 1, 9)]
    {
        let pin = Pin::of(&identity.certificate).unwrap();
        let report = shake_trusting(&identity, Verify::Pin(vec![Pin::new([1; 32]), pin])).await;
        assert_answers(&report, "TLS 1.3");
        assert!(report.certificate.is_some());
    }
}

#[tokio::test]
async fn another_key_is_refused_and_shown_in_the_form_to_pin() {
    let identity = self_signed("cc.example.org", -1, 9);
    let report = shake_trusting(&identity, Verify::Pin(vec![Pin::new([1; 32])])).await;
    assert_untrusted(&report, &Pin::of(&identity.certificate).unwrap().to_string());
}

#[tokio::test]
async fn verification_that_is_off_trusts_anybody_and_still_tells_the_expiry() {
    for identity in [self_signed("other", -9, -3), Authority::new().issue("other", -9, -3)] {
        let report = shake_trusting(&identity, Verify::Off).await;
        assert_answers(&report, "TLS 1.3");
        assert_eq!(report.certificate.unwrap().days_to_expiry, -3);
    }
}

/// Shows one server's certificate with another's key, as a thief of certificates would.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_proves_nothing() {
    let authority = Authority::new();
    let identity = authority.issue("cc.example.org", -1, 9);
    let stolen = self_signed("thief", -1, 9).key;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&stolen).unwrap();
    let impostor = Arc::new(Impostor(Arc::new(CertifiedKey::new(vec![identity.certificate.clone()], key))));
    let trusts = [
        Verify::Pin(vec![Pin::of(&identity.certificate).unwrap()]),
        Verify::Ca(vec![authority.certificate.clone()]),
        Verify::Ca(vec![identity.certificate.clone()]),
    ];
    let versions: [&[&SupportedProtocolVersion]; 2] = [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];
    for version in versions {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(version)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&impostor) as Arc<dyn ResolvesServerCert>);
        let target = accepting(TlsAcceptor::from(Arc::new(config))).await;
        for verify in &trusts {
            let tls = named(&TlsTrust::new(verify.clone()).unwrap(), "cc.example.org", &[]);
            assert_untrusted(&run(target, AMPLE, Kind::Tls(tls)).await, "");
        }
    }
}

#[tokio::test]
async fn the_server_sees_the_name_the_protocols_and_a_clean_end() {
    let authority = Authority::new();
    let identity = authority.issue("cc.example.org", -1, 9);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, mut sessions) = mpsc::unbounded_channel();
    let target = serve(move |stream| {
        let (acceptor, sessions) = (acceptor.clone(), sender.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let end = stream.read(&mut [0; 16]).await.map_err(|error| error.kind());
            let session = stream.get_ref().1;
            let name = session.server_name().map(str::to_owned);
            sessions.send((name, session.alpn_protocol().map(<[u8]>::to_vec), session.handshake_kind(), end)).unwrap();
        }
    })
    .await;
    let tls = named(&authority.trust(), "cc.example.org", ALPN_HTTP1);
    let expected = (Some("cc.example.org".to_owned()), Some(b"http/1.1".to_vec()), Some(HandshakeKind::Full), Ok(0));
    // Twice: a probe never resumes, or an expired certificate would go unseen.
    for _ in 0..2 {
        assert_answers(&run(target, AMPLE, Kind::Tls(tls.clone())).await, "TLS 1.3");
        assert_eq!(sessions.recv().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn upstream_connections_resume_their_sessions() {
    let authority = Authority::new();
    let acceptor = authority.issue("cc.example.org", -1, 9).acceptor();
    let target = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            // In TLS 1.3 tickets come after the handshake: with a byte behind them the client has read them.
            stream.write_all(b"x").await.unwrap();
            stream.flush().await.unwrap();
            drain(&mut stream).await;
        }
    })
    .await;
    let connector = TlsConnector::from(authority.trust().client_config(&[]));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let stream = TcpStream::connect(target).await.unwrap();
        let mut stream = connector.connect(ServerName::try_from("cc.example.org").unwrap(), stream).await.unwrap();
        stream.read_u8().await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn a_closed_port_is_refused_and_a_server_that_hangs_up_a_reset() {
    let tls = named(&Authority::new().trust(), "cc.example.org", &[]);
    assert_fails(
        &run(closed().await, AMPLE, Kind::Tls(tls.clone())).await,
        FailureKind::Refused,
        Phase::Connect,
        "refused",
    );
    let hanging_up = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    assert_fails(&run(hanging_up, AMPLE, Kind::Tls(tls)).await, FailureKind::Reset, Phase::Tls, "closed before");
}

#[tokio::test]
async fn what_is_not_tls_is_said_to_be_none() {
    let tls = named(&Authority::new().trust(), "cc.example.org", &[]);
    let table: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not TLS"),
        (b"220 mail.example.org ESMTP\r\n", "not TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "the server refused the handshake: HandshakeFailure"),
    ];
    for (answer, words) in table {
        let target = serve(move |mut stream| async move {
            let _ = stream.write_all(answer).await;
            drain(&mut stream).await;
        })
        .await;
        assert_fails(&run(target, AMPLE, Kind::Tls(tls.clone())).await, FailureKind::Tls, Phase::Tls, words);
    }
}
