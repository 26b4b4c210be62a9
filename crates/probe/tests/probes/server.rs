//! The other end: small servers with one behaviour each, and what tests say about reports.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use probe::tls::{Tls, TlsTrust, Verify};
use probe::{Check, Failure, FailureKind, Kind, Phase, Report};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Longer than any test needs on a busy machine; a test that waits for it has failed.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);
/// For targets that will not answer.
pub(crate) const SHORT: Duration = Duration::from_millis(250);
/// How much later than its limit a probe may end: one that ends later says that it stood still.
pub(crate) const SLACK: Duration = Duration::from_millis(100);

/// Accepts for ever on a port of its own.
pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
    handle: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// Reads one request, writes `answer`, closes.
pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = Arc::new(answer.into());
    serve(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(&answer).await;
        }
    })
    .await
}

/// Accepts, reads, never answers, and never closes of its own accord.
pub(crate) async fn silent() -> SocketAddr {
    serve(|mut stream| async move { drain(&mut stream).await }).await
}

/// An address where nobody listens.
pub(crate) async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads up to the empty line of a request.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the peer is gone.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

/// Asks. On a busy machine a prober may not be on a processor when its time is up: it says that it stood still, has found
/// out nothing, and asks again.
pub(crate) async fn run(target: SocketAddr, time_limit: Duration, kind: Kind) -> Report {
    let check = Check::new(target, time_limit, kind);
    let mut report = check.run().await;
    for _ in 0..20 {
        if !report.result.as_ref().is_err_and(|failure| failure.detail.contains("stood still")) {
            break;
        }
        report = check.run().await;
    }
    report
}

#[track_caller]
pub(crate) fn failure(report: &Report) -> &Failure {
    report.result.as_ref().expect_err("the probe should have failed")
}

#[track_caller]
pub(crate) fn assert_fails(report: &Report, kind: FailureKind, phase: Phase, words: &str) {
    let failure = failure(report);
    assert_eq!((failure.kind, failure.phase), (kind, phase), "{failure}");
    assert!(failure.detail.contains(words), "{failure}");
}

#[track_caller]
pub(crate) fn assert_answers(report: &Report, answer: &str) {
    assert_eq!(report.result.as_deref(), Ok(answer));
}

/// Silence is noticed when the limit is reached: not before, not after.
#[track_caller]
pub(crate) fn assert_silent_at_the_limit(report: &Report, phase: Phase, limit: Duration) {
    assert_fails(report, FailureKind::Silent, phase, "");
    let total = report.timings.total;
    assert!(total >= limit && total < limit + SLACK, "{total:?}");
}

/// A private authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

pub(crate) fn valid_days(parameters: &mut CertificateParams, from: i64, to: i64) {
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now + time::Duration::days(from);
    // An hour more, so that no count of days stands on its edge.
    parameters.not_after = now + time::Duration::days(to) + time::Duration::hours(1);
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("XiVO authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate for `name` (a DNS name or an IP address), valid from `from` to `to`, in days from now.
    pub(crate) fn issue(&self, name: &str, from: i64, to: i64) -> Identity {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        valid_days(&mut parameters, from, to);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().der().clone();
        Identity { certificate, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    pub(crate) fn trust(&self) -> TlsTrust {
        TlsTrust::new(Verify::Ca(vec![self.certificate.clone()])).unwrap()
    }
}

/// Named, not taken from the process: Pingora's tree turns on a second provider, so that rustls does not choose by itself.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Identity {
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

pub(crate) fn named(trust: &TlsTrust, name: &'static str, alpn: &[&[u8]]) -> Tls {
    Tls::new(trust, ServerName::try_from(name).unwrap(), alpn)
}
