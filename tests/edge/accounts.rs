//! Nothing that a client sends ends unseen: each request has its answer of ours, its line and its count.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::bad_input::{SMALL, assert_alive};
use crate::client::{Client, Speaks};
use crate::raw::{say, status, until_closed};
use crate::site::{FQDN, Site, wait_until};

/// All refusals counted so far.
pub fn refused(site: &Site) -> f64 {
    let text = site.metrics_text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("bascule_refused_requests_total{"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// The access log's lines so far, without those of probes.
pub fn lines(site: &Site) -> Vec<Value> {
    site.access_log().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends what must be refused; looks at answer, line and count.
pub async fn judge(site: &Site, what: &str, sent: &[u8], expected: u16) {
    let client = Client::of(site);
    let (counted, logged) = (refused(site), lines(site).len());
    let answer = say(&client, sent).await;
    assert_eq!(status(&answer), expected, "{what}: {answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(page.starts_with("<!") && !head.to_ascii_lowercase().contains("\r\nserver:"), "{what}: {answer}");
    wait_until(&format!("it has a line: {what}"), || lines(site).len() > logged);
    let fresh = lines(site).split_off(logged);
    assert_eq!(fresh.len(), 1, "{what}: {fresh:?}");
    assert_eq!(fresh[0]["status"], expected, "{what}: {fresh:?}");
    wait_until(&format!("it is counted: {what}"), || refused(site) == counted + 1.0);
}

fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {FQDN}\r\n{fields}Connection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn each_refused_request_has_a_page_a_line_and_a_count() {
    let mut site = Site::start_with(SMALL);
    for (what, sent, expected) in [
        ("a backslash", get("/xuc\\lab", ""), 400),
        ("odd bytes to nowhere", get("/\"<>`{|}^", ""), 404),
        ("odd bytes in a query to nowhere", get("/nowhere?\"<>`{|}^\\", ""), 404),
        ("a script's URL", get("javascript://x/%0aalert(1)", ""), 400),
        ("a URL of FTP", get(&format!("ftp://{FQDN}/xuc"), ""), 400),
        ("a WebSocket's URL", get(&format!("wss://{FQDN}/xuc"), ""), 400),
        ("a URL without slashes", get(&format!("https:{FQDN}/xuc"), ""), 400),
        ("a URL without a host", get("https:///xuc", ""), 400),
        ("a URL with a password", get(&format!("https://u:p@{FQDN}/xuc"), ""), 400),
        ("a URL with a backslash", get(&format!("https://{FQDN}\\x/xuc"), ""), 421),
        ("a foreign URL", get("https://elsewhere.org/xuc", ""), 421),
        ("a URL of two hosts", get(&format!("https://elsewhere.org#@{FQDN}/xuc"), ""), 421),
        ("an authority", get(&format!("{FQDN}:443"), ""), 400),
        ("a query alone", get("?a", ""), 400),
        ("a word", get("xuc", ""), 400),
        ("an asterisk", get("*", ""), 400),
        ("a space in the path", get("/xuc /lab", ""), 400),
        ("a tab in the path", get("/xuc\t/lab", ""), 400),
        ("a DEL in the path", get("/xuc\x7f", ""), 400),
        ("an escaped control", get("/xuc%0d%0a", ""), 400),
        ("no version", format!("GET /xuc\r\nHost: {FQDN}\r\n\r\n").into_bytes(), 400),
        ("HTTP/0.9", b"GET /xuc\r\n\r\n".to_vec(), 400),
        ("HTTP/3.0", format!("GET /xuc HTTP/3.0\r\nHost: {FQDN}\r\n\r\n").into_bytes(), 400),
        ("a Host with a password", b"GET /xuc HTTP/1.1\r\nHost: u:p@edge.example.org\r\n\r\n".to_vec(), 400),
        (
            "a Host of no port",
            format!("GET /xuc HTTP/1.1\r\nHost: {FQDN}:99999\r\nConnection: close\r\n\r\n").into(),
            421,
        ),
        ("a Host of Latin-1", b"GET /xuc HTTP/1.1\r\nHost: caf\xe9\r\nConnection: close\r\n\r\n".to_vec(), 400),
        ("an empty Host", b"GET /xuc HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n".to_vec(), 421),
        ("a length nobody counts", get("/xuc", "Content-Length: 99999999999999999999\r\n"), 400),
        ("a length beyond 2^63", get("/xuc", "Content-Length: 9223372036854775808\r\n"), 400),
        ("a length of words", get("/xuc", "Content-Length: ten\r\n"), 400),
        ("a coding nobody speaks", get("/xuc", "Transfer-Encoding: identity\r\n"), 400),
        ("too large a head", get(&format!("/{}", "a".repeat(5000)), ""), 431),
        ("TRACE", format!("TRACE /xuc HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n").into_bytes(), 403),
        ("CONNECT", format!("CONNECT {FQDN}:443 HTTP/1.1\r\nHost: {FQDN}\r\n\r\n").into_bytes(), 403),
        ("a slow head", b"GET /xuc HTT".to_vec(), 408),
    ] {
        judge(&site, what, &sent, expected).await;
    }
    assert_eq!(site.main.requests() + site.standby.requests(), 0);
    assert!(!site.access_log().contains("u:p"), "a password is in the log");
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_head_that_breaks_off_has_a_line_and_a_count_and_silence_has_none() {
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    let logged = lines(&site).len();
    for sent in [&b""[..], b"\r\n"] {
        let mut stream = client.tls(Speaks::H1).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        until_closed(&mut stream).await;
    }
    let mut stream = client.tls(Speaks::H1).await.unwrap();
    stream.write_all(b"GET /xuc/lab HTTP/1.1\r\nHo").await.unwrap();
    stream.shutdown().await.unwrap();
    until_closed(&mut stream).await;
    let count = "bascule_refused_requests_total{reason=\"head_incomplete\"}";
    wait_until("it is counted", || site.metric(count) == 1.0);
    wait_until("it has a line", || lines(&site).len() == logged + 1);
    let line = lines(&site).pop().unwrap();
    assert_eq!((&line["path"], &line["ended"]), (&"/xuc/lab".into(), &"client_gone".into()), "{line}");
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn the_plain_port_keeps_accounts_too() {
    let mut site = Site::start_with(SMALL);
    for (sent, expected, counts) in [
        (format!("GET /xuc?a=\"<\" HTTP/1.1\r\nHost: {FQDN}\r\n\r\n"), 301, 0.0),
        ("GET /xuc HTTP/1.0\r\n\r\n".to_owned(), 301, 0.0),
        (format!("GET http://{FQDN}/xuc HTTP/1.1\r\nHost: x\r\n\r\n"), 301, 0.0),
        ("GET / HTTP/1.1\r\nHost: elsewhere.org\r\n\r\n".to_owned(), 421, 1.0),
        (format!("GET ftp://{FQDN}/ HTTP/1.1\r\nHost: {FQDN}\r\n\r\n"), 400, 1.0),
        ("hello\r\n\r\n".to_owned(), 400, 1.0),
    ] {
        let (counted, logged) = (refused(&site), lines(&site).len());
        let mut tcp = tokio::net::TcpStream::connect(site.http).await.unwrap();
        tcp.write_all(sent.as_bytes()).await.unwrap();
        let answer = until_closed(&mut tcp).await;
        assert_eq!(status(&answer), expected, "{sent}{answer}");
        wait_until("it has a line", || lines(&site).len() == logged + 1);
        assert_eq!(lines(&site)[logged]["status"], expected, "{sent}");
        wait_until("it is counted", || refused(&site) == counted + counts);
    }
    tokio::time::timeout(Duration::from_secs(60), assert_alive(&mut site)).await.unwrap();
}
