use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use demo::certs::Authority;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::process::{PROGRAM, SOON, Side, refused, text, wait};

#[tokio::test]
async fn a_token_of_the_logon_is_taken_by_the_check_and_nothing_else_is() {
    let side = Side::start(&[]);
    let logon = side.post("/xuc/api/2.0/auth/login", r#"{"login":"alice","password":"secret"}"#).await;
    let logon: Value = serde_json::from_slice(logon.body()).unwrap();
    assert_eq!((&logon["login"], &logon["TTL"]), (&"alice".into(), &3600.into()));
    let token = logon["token"].as_str().unwrap();
    assert_eq!(token.split('.').count(), 3);
    let check = |authorization: String| {
        let uri = format!("http://{}/xuc/api/2.0/auth/check", side.address);
        side.send(Request::get(uri).header("authorization", authorization).body(Full::default()).unwrap())
    };
    let well = check(format!("Bearer {token}")).await.unwrap();
    assert_eq!(
        (well.status(), &well.headers()["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    assert!(text(&well).contains("alice"), "{}", text(&well));
    for wrong in ["Bearer x", "Basic YTpi"] {
        let answer = check(wrong.to_owned()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        serde_json::from_slice::<Value>(answer.body()).unwrap();
    }
    assert_eq!(side.get("/xuc/api/2.0/auth/check").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(side.post("/xuc/api/2.0/auth/login", "not json").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_answer_bears_the_name_of_its_side() {
    let side = Side::start(&[]);
    for path in ["/ucassistant", "/ccagent/", "/version", "/nowhere", "/xuc/lab/status?code=503", "/xuc/lab/stats"] {
        assert_eq!(side.get(path).await.headers()["demo-side"], "main", "{path}");
    }
    let page = side.get("/ucassistant").await;
    assert!(text(&page).contains("Main"), "{}", text(&page));
    assert_eq!(side.get("/ucassistants").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_mute_side_takes_everything_and_says_nothing_until_it_is_told_to() {
    let side = Side::start(&[]);
    let mut open = TcpStream::connect(side.address).await.unwrap();
    let mut answer = [0; 12];
    open.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    open.read_exact(&mut answer).await.unwrap();
    let mut rest = vec![0; 1024];
    while !String::from_utf8_lossy(&rest).contains("demo 0") {
        assert!(open.read(&mut rest).await.unwrap() > 0);
    }

    assert_eq!(text(&side.post("/xuc/lab/mode?mode=mute", "").await), "mute\n");
    open.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let fresh = side.get("/version");
    tokio::pin!(fresh);
    let silence = timeout(Duration::from_millis(300), async {
        tokio::select! { _ = open.read(&mut rest) => {}, _ = &mut fresh => {} }
    });
    assert!(silence.await.is_err(), "a mute side spoke");

    assert_eq!(side.post("/xuc/lab/mode?mode=500", "").await.status(), StatusCode::OK);
    assert_eq!(timeout(SOON, fresh).await.unwrap().status(), StatusCode::OK, "what waited is answered");
    timeout(SOON, open.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let failing = side.get("/xuc/api/2.0/auth/check").await;
    assert_eq!(failing.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text(&failing).starts_with("<!DOCTYPE html>"));
    side.post("/xuc/lab/mode?mode=ok", "").await;
    assert_eq!(side.get("/version").await.status(), StatusCode::OK);
    assert_eq!(side.post("/xuc/lab/mode?mode=loud", "").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(side.get("/xuc/lab/mode?mode=mute").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn requests_are_counted_and_probes_and_questions_about_them_are_not() {
    let side = Side::start(&[]);
    side.get("/version").await;
    side.ask(Method::DELETE, "/xuc/lab/status", "").await.unwrap();
    side.ask(Method::from_bytes(b"BREW").unwrap(), "/nowhere", "coffee").await.unwrap();
    let probe = Request::get(format!("http://{}/version", side.address)).header("user-agent", "bascule-probe");
    side.send(probe.body(Full::default()).unwrap()).await.unwrap();
    side.stats().await;
    let stats = side.stats().await;
    assert_eq!(stats["requests"], 3, "{stats}");
    assert_eq!(stats["by_method"], serde_json::json!({ "GET": 1, "DELETE": 1, "other": 1 }));
}

#[tokio::test]
async fn with_a_certificate_it_serves_https() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("a test").unwrap();
    let files = authority.issue(&["main.example.org"]).unwrap().write(directory.path(), "main").unwrap();
    let (chain, key) = (files.chain.to_str().unwrap(), files.key.to_str().unwrap());
    let side = Side::start(&["--cert", chain, "--key", key]);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(side.address).await.unwrap();
    let name = ServerName::try_from("main.example.org").unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    tls.write_all(b"GET /xuc/lab/redirect?to=/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(&format!("location: https://{}/version\r\n", side.address)), "{answer}");

    assert_eq!(refused(&["side", "--side", "main", "--listen", "127.0.0.1:0", "--cert", chain]).0, Some(2));
    let (code, said) = refused(&["side", "--side", "main", "--listen", "127.0.0.1:0", "--cert", chain, "--key", chain]);
    assert_eq!(code, Some(1));
    assert!(said.contains(chain), "{said}");
}

#[test]
fn a_side_that_is_tied_is_killed_with_its_parent_even_while_it_is_stopped() {
    // A shell starts it, says its number, and is killed.
    let script = r#""$0" die-with-parent --parent $$ -- "$0" side --side main --listen 127.0.0.1:0 & echo $!; wait"#;
    let mut shell =
        Command::new("sh").args(["-c", script, PROGRAM]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    // Two processes write, in any order.
    let lines = BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap).take(2);
    let (said, number): (Vec<String>, Vec<String>) = lines.partition(|line| line.starts_with("listening on "));
    let address: SocketAddr = said[0].strip_prefix("listening on ").unwrap().parse().unwrap();
    let pid = &number[0];
    assert!(Command::new("kill").args(["-STOP", pid]).status().unwrap().success());
    shell.kill().unwrap();
    shell.wait().unwrap();
    wait("the side outlived its parent", || std::net::TcpStream::connect(address).is_err());
    let (code, said) = refused(&["die-with-parent", "--parent", &i32::MAX.to_string(), "--", PROGRAM, "--version"]);
    assert!(code == Some(1) && said.contains("has ended"), "{said}");
}

#[tokio::test]
async fn a_killed_side_comes_back_on_its_old_port_at_once() {
    let mut first = Side::start(&[]);
    assert_eq!(first.get("/version").await.status(), StatusCode::OK);
    first.signal("-KILL");
    first.ended();
    let second = Side::start_on(&first.address.to_string(), &[]);
    assert_eq!(second.address, first.address);
    assert_eq!(second.get("/version").await.status(), StatusCode::OK);
}

#[test]
fn an_address_that_is_not_to_be_had_is_named() {
    let (code, said) = refused(&["side", "--side", "main", "--listen", "192.0.2.1:80"]);
    assert!(code == Some(1) && said.contains("192.0.2.1:80"), "{said}");
}
