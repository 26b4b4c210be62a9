//! Answers never name an upstream, upstreams are who they claim to be, and each request can be found again by its id.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use http::Request;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::client::{Client, Speaks};
use crate::odd::Odd;
use crate::site::{FQDN, Site, wait_until};

#[tokio::test]
async fn redirects_and_cookies_of_an_upstream_become_the_sites_own() {
    let site = Site::start();
    let client = Client::of(&site);
    let upstream = site.main.address.to_string();
    for (host, expected) in [(FQDN.to_owned(), FQDN.to_owned()), (format!("{FQDN}:8443"), format!("{FQDN}:8443"))] {
        let builder = Request::builder().uri("/xuc/lab/redirect?to=/ccagent?x=1").header("host", &host);
        let answer = client.connect(Speaks::H1).await.unwrap().request(builder, "").await.unwrap();
        assert_eq!(answer.status, 302);
        assert_eq!(answer.headers["location"], format!("https://{expected}/ccagent?x=1"));
        assert!(!format!("{:?}", answer.headers).contains(&upstream));
    }
    let answer = client.connect(Speaks::H2).await.unwrap().get("/xuc/lab/redirect").await.unwrap();
    assert_eq!(answer.headers["location"], format!("https://{FQDN}/ucassistant"));
    for speaks in [Speaks::H1, Speaks::H2] {
        let answer = client.connect(speaks).await.unwrap().get("/xuc/lab/cookie").await.unwrap();
        assert_eq!(answer.headers["set-cookie"], "demo=main; Path=/; HttpOnly");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_leads_to_an_upstream_however_it_is_written() {
    let odd = Odd::answering(|head| {
        let host = head.lines().find_map(|line| line.strip_prefix("x-upstream: ")).unwrap_or("nobody");
        let port = host.rsplit(':').next().unwrap();
        format!(
            "HTTP/1.1 302 Found\r\nLocation: HTTP://user@{host}/caf\u{e9}\r\nContent-Location: http://127.0.0.1.:80/a\r\n\
             Refresh: 5;URL='http://{host}/b'\r\nLink: <//[::ffff:127.0.0.1]:{port}/c>; rel=next\r\n\
             Set-Cookie: a=\u{e9}; domain=127.0.0.1; Path=/\r\nAccess-Control-Allow-Origin: http://{host}\r\n\
             Content-Length: 0\r\n\r\n"
        )
        .into()
    });
    let site = odd.site();
    let upstream = odd.address.to_string();
    for speaks in [Speaks::H1, Speaks::H2] {
        let builder = Request::builder().uri("/odd").header("x-upstream", &upstream);
        let answer = Client::of(&site).connect(speaks).await.unwrap().request(builder, "").await.unwrap();
        let field = |name: &str| String::from_utf8(answer.headers[name].as_bytes().to_vec()).unwrap();
        assert_eq!(field("location"), format!("https://{FQDN}/caf\u{e9}"));
        assert_eq!(field("content-location"), format!("https://{FQDN}/a"));
        assert_eq!(field("refresh"), format!("5;URL='https://{FQDN}/b'"));
        assert_eq!(field("link"), format!("<https://{FQDN}/c>; rel=next"));
        assert_eq!(field("set-cookie"), "a=\u{e9}; Path=/");
        assert_eq!(field("access-control-allow-origin"), format!("http://{upstream}"));
    }
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_upstream_and_in_the_log() {
    let site = Site::start();
    let client = Client::of(&site);
    let mut seen = Vec::new();
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = client.connect(speaks).await.unwrap();
        for _ in 0..3 {
            let builder = Request::builder().uri("/xuc/lab/headers").header("x-request-id", "chosen-by-the-client");
            let text = connection.request(builder, "").await.unwrap().text();
            let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
            assert_eq!(ids.len(), 1, "{text}");
            assert!(ids[0].len() == 32 && ids[0].bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
            seen.push(ids[0].to_owned());
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
    wait_until("the access log names them", || seen.iter().all(|id| site.access_log().contains(id.as_str())));
}

/// A CA, and what the sides show: made for their address.
struct Papers {
    ca: PathBuf,
    chain: PathBuf,
    key: PathBuf,
    /// SHA-256 of the key the sides hold.
    pin: String,
}

fn papers(site: &Site, name: &str) -> Papers {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} CA"));
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let write = |what: &str, pem: String| {
        let path = site.path(&format!("{name}-{what}.pem"));
        fs::write(&path, pem).unwrap();
        path
    };
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf.der()).unwrap();
    let pin = digest(&SHA256, parsed.public_key().raw).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Papers { ca: write("ca", ca.pem()), chain: write("chain", leaf.pem()), key: write("key", key.serialize_pem()), pin }
}

/// Both sides serve HTTPS with these papers.
fn over_tls() -> (Site, Papers) {
    let mut site = Site::plan("");
    let papers = papers(&site, "good");
    for side in [&mut site.main, &mut site.standby] {
        side.tls = Some((papers.chain.clone(), papers.key.clone()));
        side.start();
    }
    (site, papers)
}

#[tokio::test]
async fn an_upstream_is_believed_by_its_ca_or_by_its_key() {
    let (mut site, papers) = over_tls();
    for trust in [format!("ca: {}", papers.ca.display()), format!("pin: {}", papers.pin)] {
        site.extra = format!("upstream_tls: {{ {trust} }}");
        site.rewrite_config();
        site.start_edge();
        let client = Client::of(&site);
        for speaks in [Speaks::H1, Speaks::H2] {
            let mut connection = client.connect(speaks).await.unwrap();
            for _ in 0..3 {
                let answer = connection.get("/xuc/lab/headers").await.unwrap();
                assert_eq!((answer.status.as_u16(), answer.side()), (200, "main"), "{trust}");
            }
            let answer = connection.get("/xuc/lab/redirect").await.unwrap();
            assert_eq!(answer.headers["location"], format!("https://{FQDN}/ucassistant"));
        }
        site.stop_edge();
    }
}

#[tokio::test]
async fn an_upstream_with_other_papers_gets_no_request_and_status_says_why() {
    let (mut site, _) = over_tls();
    let other = papers(&site, "other");
    let refused = |site: &Site, what: &str| {
        let status = site.status();
        let reason = status["sides"]["main"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("certificate") || reason.contains("TLS"), "{what}: {reason}");
    };
    for trust in [format!("ca: {}", other.ca.display()), format!("pin: {}", other.pin), "verify: system".to_owned()] {
        site.extra = format!("upstream_tls: {{ {trust} }}");
        site.rewrite_config();
        site.spawn_edge();
        wait_until("it runs", || site.ask("GET", "/healthz", "").is_some_and(|(status, _)| status == 200));
        site.wait_health(failover::Side::Main, "not_working");
        refused(&site, &trust);
        let answer = Client::of(&site).get("/xuc/lab/headers").await.unwrap();
        assert!(answer.status.is_server_error() && answer.side() == "none", "{trust}: {answer:?}");
        site.stop_edge();
    }
    // A check that asks no more than whether somebody listens shakes hands as well: what keeps requests out must not look
    // well.
    site.extra = format!("upstream_tls: {{ pin: {} }}", other.pin);
    let config = site.config();
    let tcp = "xivo: { checks: [ tcp ] }\n  cc: { checks: [ tcp ] }";
    site.write_config(&config.replace("xivo: { checks: [ { http: { path: /version } } ] }", tcp));
    site.spawn_edge();
    wait_until("it runs", || site.ask("GET", "/healthz", "").is_some_and(|(status, _)| status == 200));
    site.wait_health(failover::Side::Main, "not_working");
    refused(&site, "tcp checks");
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        let answer = client.connect(speaks).await.unwrap().get("/xuc/lab/headers").await.unwrap();
        assert!(answer.status.is_server_error() && answer.side() == "none", "{answer:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_plain_is_not_spoken_to_where_tls_is_due() {
    let mut site = Site::plan("");
    let papers = papers(&site, "good");
    // Configured for TLS, but the sides do not speak it.
    site.main.tls = Some((papers.chain.clone(), papers.key.clone()));
    site.extra = format!("upstream_tls: {{ ca: {} }}", papers.ca.display());
    site.rewrite_config();
    site.main.tls = None;
    site.main.start();
    site.standby.start();
    site.spawn_edge();
    wait_until("it runs", || site.ask("GET", "/healthz", "").is_some_and(|(status, _)| status == 200));
    site.wait_health(failover::Side::Main, "not_working");
    let answer = Client::of(&site).get("/xuc/lab/headers").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.side()), (503, "none"));
    assert_eq!(site.main.requests() + site.standby.requests(), 0);
}
