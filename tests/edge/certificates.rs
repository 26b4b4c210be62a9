//! The certificates that browsers see: whatever stands in their files is read in one way by `check`, at the start and on a
//! reload, and their end is on every screen before it comes.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

use crate::client::Client;
use crate::site::{FQDN, Site, wait_until};

const RELOADED: &str = "bascule_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "bascule_config_reloads_total{result=\"failed\"}";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A root, an intermediate, and a leaf of that.
struct Chain {
    root: Vec<u8>,
    intermediate: String,
    leaf: String,
    key: String,
    request: String,
    revoked: String,
}

impl Chain {
    fn make() -> Self {
        let authority = |name: &str| {
            let mut parameters = CertificateParams::new(Vec::new()).unwrap();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
            (parameters, KeyPair::generate().unwrap())
        };
        let (root, root_key) = authority("the root");
        let root_certificate = root.self_signed(&root_key).unwrap();
        let root = Issuer::new(root, root_key);
        let (between, between_key) = authority("the intermediate");
        let intermediate = between.signed_by(&between_key, &root).unwrap();
        let between = Issuer::new(between, between_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([FQDN.to_owned()]).unwrap();
        let request = leaf.serialize_request(&key).unwrap().pem().unwrap();
        assert!(CertificateSigningRequestParams::from_pem(&request).is_ok());
        let now = time::OffsetDateTime::now_utc();
        let revoked = rcgen::CertificateRevocationListParams {
            this_update: now,
            next_update: now + DAY,
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Self {
            root: root_certificate.der().to_vec(),
            intermediate: intermediate.pem(),
            leaf: leaf.signed_by(&key, &between).unwrap().pem(),
            key: key.serialize_pem(),
            request,
            revoked: revoked.signed_by(&between).unwrap().pem().unwrap(),
        }
    }
}

/// Writes a certificate's files and has it loaded anew; whether it was taken.
fn reload(site: &mut Site, chain: &str, key: &str) -> bool {
    fs::write(site.path("chain.pem"), chain).unwrap();
    fs::write(site.path("key.pem"), key).unwrap();
    let (taken, refused) = (site.metric(RELOADED), site.metric(REFUSED));
    let loaded = |site: &Site| site.log().matches("the configuration was loaded anew").count();
    let before = loaded(site);
    site.edge().signal(Signal::HUP);
    wait_until("it is loaded anew, or not", || site.metric(RELOADED) + site.metric(REFUSED) > taken + refused);
    let is_taken = site.metric(RELOADED) > taken;
    if is_taken {
        // It is counted before it is at work.
        wait_until("it is at work", || loaded(site) > before);
    }
    is_taken
}

#[tokio::test]
async fn a_chain_file_with_key_request_or_revocations_is_served_after_check_start_and_reload() {
    let Chain { root, intermediate, leaf, key, request, revoked } = Chain::make();
    let mut site = Site::prepare("");
    site.certificate = root;
    let all = format!("{leaf}{intermediate}{key}");
    let table = [
        ("one file for all", all.clone(), all),
        ("a key between", format!("{leaf}{key}{intermediate}"), key.clone()),
        ("a request", format!("{request}{leaf}{intermediate}"), key.clone()),
        ("a list of revocations", format!("{leaf}{intermediate}{revoked}"), key.clone()),
        ("words", format!("Bag Attributes\n{leaf}# the intermediate\n{intermediate}"), format!("# mine\n{key}")),
    ];
    for (what, chain, key) in &table {
        fs::write(site.path("chain.pem"), chain).unwrap();
        fs::write(site.path("key.pem"), key).unwrap();
        let told = site.order(&["check"]);
        assert!(!told.contains("chain.pem"), "{what}: {told}");
        site.start_edge();
        assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200, "{what}");
        site.stop_edge();
    }
    site.start_edge();
    for (what, chain, key) in &table {
        assert!(reload(&mut site, chain, key), "{what}: {}", site.log());
        assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200, "{what}");
    }
}

#[tokio::test]
async fn a_chain_file_that_cannot_be_served_is_refused_by_check_start_and_reload_alike() {
    let Chain { root, intermediate, leaf, key, request, revoked } = Chain::make();
    let mut site = Site::prepare("");
    site.certificate = root;
    let well = format!("{leaf}{intermediate}");
    fs::write(site.path("chain.pem"), &well).unwrap();
    fs::write(site.path("key.pem"), &key).unwrap();
    site.start_edge();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAAAAAA\n-----END CERTIFICATE-----\n";
    let other = KeyPair::generate().unwrap().serialize_pem();
    let table = [
        (format!("{leaf}{broken}"), key.clone(), "number 2"),
        (format!("{leaf}{}", &intermediate[..200]), key.clone(), "number 2"),
        (format!("{request}{revoked}{key}"), key.clone(), "holds no certificate"),
        (well.clone(), other, "do not belong together"),
        (well.clone(), request, "holds no private key"),
    ];
    for (chain, other_key, said) in &table {
        assert!(!reload(&mut site, chain, other_key), "{said}");
        assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200, "{said}: the old one serves on");
        for verb in ["check", "run"] {
            let (code, told) = site.verb(&[verb]);
            assert!(code == Some(2) && told.contains(said) && !told.contains("panic"), "{verb}: {told}");
            assert!(told.contains("certificate"), "{told}");
        }
    }
    assert!(reload(&mut site, &well, &key), "{}", site.log());
}

/// A certificate of a year that ends then.
fn ending(site: &mut Site, end: SystemTime) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([FQDN.to_owned()]).unwrap();
    parameters.not_before = (end - DAY * 365).into();
    parameters.not_after = end.into();
    let made = parameters.self_signed(&key).unwrap();
    site.certificate = made.der().to_vec();
    (made.pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_certificate_that_ends_is_on_every_screen_before_and_after() {
    let mut site = Site::start();
    let alarms = |site: &Site| site.status()["alarms"].to_string();
    assert!(!alarms(&site).contains("certificate"), "{}", alarms(&site));
    for (end, alarm, warning) in [
        (SystemTime::now() + DAY * 31, "", ""),
        (SystemTime::now() + DAY * 10 + HOUR, "expires in 10 days", "in 10 days"),
        (SystemTime::now() - DAY * 3 - HOUR, "EXPIRED 3 days ago, browsers refuse it", "expired on"),
    ] {
        let (chain, key) = ending(&mut site, end);
        assert!(reload(&mut site, &chain, &key), "{}", site.log());
        let (told, screen, check) = (alarms(&site), site.order(&["status"]), site.order(&["check"]));
        let seconds = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let metric = site.metric(&format!("bascule_certificate_not_after_timestamp_seconds{{name=\"{FQDN}\"}}"));
        assert_eq!(metric, seconds as f64);
        if alarm.is_empty() {
            assert!(!told.contains("certificate") && !check.contains("expire"), "{told} {check}");
            continue;
        }
        let sentence = format!("the certificate of {FQDN} {alarm}");
        assert!(told.contains(&sentence) && screen.contains(&sentence), "{told}\n{screen}");
        assert!(screen.contains("systemctl reload bascule"), "{screen}");
        assert!(check.contains("chain.pem") || check.contains("certificate.chain"), "{check}");
        assert!(check.contains(warning), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_serves_by_itself_and_a_pair_that_does_not_fit_waits() {
    let mut site = Site::start_with("tls: { watch: true }");
    let old = Client::of(&site);
    assert_eq!(old.shown_certificate().await.unwrap(), site.certificate);
    // Its key comes later than the looks: the old one serves, and the screen says why.
    let made = rcgen::generate_simple_self_signed([FQDN.to_owned()]).unwrap();
    fs::write(site.path("chain.pem"), made.cert.pem()).unwrap();
    let told = || site.status()["alarms"].to_string();
    wait_until("the pair that does not fit is told", || told().contains("does not load"));
    assert_eq!(old.shown_certificate().await.unwrap(), site.certificate);
    fs::write(site.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    wait_until("the pair is taken", || site.metric(RELOADED) == 2.0);
    wait_until("nothing is told of it any more", || !told().contains("does not load"));
    let renewed = Client::trusting(&site, &[made.cert.der()]);
    assert_eq!(renewed.shown_certificate().await.unwrap(), made.cert.der().to_vec());
    // What the file says stays as it was, whatever somebody writes meanwhile.
    site.write_config("fqdn: [");
    site.renew_certificate();
    wait_until("the next is taken, too", || site.metric(RELOADED) == 3.0);
    assert_eq!(Client::of(&site).shown_certificate().await.unwrap(), site.certificate);
    assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200);
}

/// A certificate for the site's name by a key of that kind.
fn certificate_of(kind: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, String, String) {
    let key = match kind == &rcgen::PKCS_RSA_SHA256 {
        false => KeyPair::generate_for(kind).unwrap(),
        // The library of rcgen makes none.
        true => {
            let made = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
            let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&made).unwrap();
            KeyPair::from_pkcs8_der_and_sign_algo(&der.as_ref().into(), kind).unwrap()
        }
    };
    let made = CertificateParams::new([FQDN.to_owned()]).unwrap().self_signed(&key).unwrap();
    (made.der().to_vec(), made.pem(), key.serialize_pem())
}

/// A client that can verify these signatures alone, and believes whoever makes one.
#[derive(Debug)]
struct Verifies(Vec<SignatureScheme>);

impl ServerCertVerifier for Verifies {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// What the Edge shows to such a client.
async fn shown_to(
    site: &Site,
    schemes: &[SignatureScheme],
    version: &'static SupportedProtocolVersion,
    name: &'static str,
) -> std::io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifies(schemes.to_vec())))
        .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(site.https).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(ServerName::try_from(name).unwrap(), tcp).await?;
    Ok(tls.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

#[tokio::test]
async fn of_two_certificates_for_one_name_a_client_sees_the_one_it_can_verify() {
    let mut site = Site::prepare("");
    let (ecdsa, ecdsa_pem, ecdsa_key) = certificate_of(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (rsa, rsa_pem, rsa_key) = certificate_of(&rcgen::PKCS_RSA_SHA256);
    site.certificate = ecdsa.clone();
    let at = |name: &str| site.path(name).display().to_string();
    let before = format!("{{ chain: {}, key: {} }}", at("chain.pem"), at("key.pem"));
    // RSA stands first: who can verify both sees ECDSA all the same.
    let both = format!("[ {{ chain: {}, key: {} }}, {before} ]", at("rsa.pem"), at("rsa-key.pem"));
    for (name, text) in
        [("chain.pem", &ecdsa_pem), ("key.pem", &ecdsa_key), ("rsa.pem", &rsa_pem), ("rsa-key.pem", &rsa_key)]
    {
        fs::write(site.path(name), text).unwrap();
    }
    let config = site.config();
    assert!(config.contains(&before), "{config}");
    site.write_config(&config.replace(&before, &both));
    let told = site.order(&["check"]);
    assert!(!told.contains("never shown"), "{told}");
    site.start_edge();
    let of_ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
    let of_rsa = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
    let all = [&of_rsa[..], &of_ecdsa].concat();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        // Whoever asks for another name gets the default ones, and what it can verify of them.
        for name in [FQDN, "elsewhere.example.org"] {
            for (schemes, certificate) in [(&of_ecdsa[..], &ecdsa), (&of_rsa, &rsa), (&all, &ecdsa)] {
                let shown = shown_to(&site, schemes, version, name).await.unwrap();
                assert!(shown == *certificate, "{version:?} {name} {schemes:?}");
            }
        }
        assert!(shown_to(&site, &[SignatureScheme::ED25519], version, FQDN).await.is_err());
    }
    // Two of one kind: one of them is for nobody.
    site.write_config(&config.replace(&before, &format!("[ {before}, {before} ]")));
    assert!(site.order(&["check"]).contains("is never shown to those who ask for"));
}
