//! Requests no honest client sends: each is answered or closed, counted, and never carried; the Edge goes on.

use std::time::Duration;

use http::{HeaderName, Request};

use crate::client::{Client, Speaks};
use crate::raw::{drip, say, status, until_closed};
use crate::site::{FQDN, PATIENCE, Site, wait_until};

/// Small limits, so that a test reaches them soon.
pub const SMALL: &str = "limits: { request_head: 2s, keepalive: 2s, \
                     head_bytes: 4KiB, head_fields: 20, request_body: 2s }\nroutes: [ { path: /xuc, body_limit: 64KiB } ]";

/// What is sent, the status it must get (0: none, only a close), and the reason it is counted under ("": none).
struct Case {
    what: &'static str,
    sent: String,
    status: u16,
    reason: &'static str,
}

fn case(what: &'static str, sent: impl Into<String>, status: u16, reason: &'static str) -> Case {
    Case { what, sent: sent.into(), status, reason }
}

/// A GET of this target for this host, with more fields.
fn get(target: &str, host: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /xuc/lab/headers HTTP/1.1\r\nHost: {FQDN}\r\n{fields}\r\n{body}")
}

fn upgrade(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {FQDN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n")
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

fn framing() -> Vec<Case> {
    let many: String = (0..30).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = "x".repeat(5000);
    vec![
        case("not HTTP at all", "\x16\x03\x01 hello\r\n\r\n", 400, "framing"),
        case("a malformed request line", "GET\r\n\r\n", 400, "framing"),
        case("a version of its own", format!("GET / HTTP/7.3\r\nHost: {FQDN}\r\n\r\n"), 400, "framing"),
        case("bare CR in a line", format!("GET /version HTTP/1.1\r\nHost: {FQDN}\rX: y\r\n\r\n"), 400, "framing"),
        case("an oversized head", get("/version", FQDN, &format!("X: {long}\r\n")), 431, "head_too_large"),
        case("an oversized target", get(&format!("/xuc/{long}"), FQDN, ""), 431, "head_too_large"),
        case("too many fields", get("/version", FQDN, &many), 431, "head_too_large"),
        case("two framings", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400, "framing"),
        case("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "123456"), 400, "framing"),
        case("equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "12345"), 400, "framing"),
        case("a list of lengths", post("Content-Length: 5, 5\r\n", "12345"), 400, "framing"),
        case("a signed length", post("Content-Length: +5\r\n", "12345"), 400, "framing"),
        case("a length below zero", post("Content-Length: -1\r\n", ""), 400, "framing"),
        case("gzip as transfer coding", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400, "framing"),
        case("an obscured coding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400, "framing"),
        case(
            "two codings",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            400,
            "framing",
        ),
        case("a space before the colon", post("Content-Length : 5\r\n", "12345"), 400, "framing"),
        case("a folded line", get("/version", FQDN, "X-Long: one\r\n two\r\n"), 400, "framing"),
        case("a NUL in a value", get("/version", FQDN, "X-Nul: a\0b\r\n"), 400, "framing"),
        case("a NUL in the target", get("/ver\0sion", FQDN, ""), 400, "framing"),
        case(
            "chunked in HTTP/1.0",
            format!("POST /version HTTP/1.0\r\nHost: {FQDN}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
            "framing",
        ),
        case("no Host", "GET /version HTTP/1.1\r\nConnection: close\r\n\r\n", 400, "framing"),
        case("two Hosts", get("/version", FQDN, &format!("Host: {FQDN}\r\n")), 400, "framing"),
    ]
}

fn routing() -> Vec<Case> {
    vec![
        case("a Host that is not ours", get("/version", "elsewhere.org", ""), 421, "bad_host"),
        case("a Host that only begins like ours", get("/version", &format!("{FQDN}.evil.org"), ""), 421, "bad_host"),
        case("an upstream's address as Host", get("/version", "127.0.0.1", ""), 421, "bad_host"),
        case("a foreign absolute form", get("http://elsewhere.org/version", FQDN, ""), 421, "bad_host"),
        case(
            "an absolute form of which Host knows",
            get("http://elsewhere.org/version", "elsewhere.org", ""),
            421,
            "bad_host",
        ),
        case("an escape in absolute form", get(&format!("https://{FQDN}/xuc/../etc"), FQDN, ""), 404, "no_route"),
        case("a path nobody lists", get("/admin", FQDN, ""), 404, "no_route"),
        case("a path that only begins like a listed one", get("/xucx", FQDN, ""), 404, "no_route"),
        case("the root", get("/", FQDN, ""), 404, "no_route"),
        case("an escape by dots", get("/xuc/../etc/passwd", FQDN, ""), 404, "no_route"),
        case("an escape by encoded dots", get("/xuc/%2e%2e/etc/passwd", FQDN, ""), 404, "no_route"),
        case("an escape above the root", get("/xuc/../../etc/passwd", FQDN, ""), 400, "bad_path"),
        case("an escape by parameters", get("/xuc/..;/etc/passwd", FQDN, ""), 404, "no_route"),
        case("a hidden separator", get("/xuc%2f..%2fetc", FQDN, ""), 400, "bad_path"),
        case("a backslash", get("/xuc/..%5cetc", FQDN, ""), 400, "bad_path"),
        case("an encoded NUL", get("/xuc/%00", FQDN, ""), 400, "bad_path"),
        case("a broken encoding", get("/xuc/%zz", FQDN, ""), 400, "bad_path"),
        case(
            "an upgrade nobody takes",
            upgrade("/ucassistant/", &format!("{KEY}{VERSION}")),
            403,
            "upgrade_not_allowed",
        ),
        case("an upgrade to nowhere", upgrade("/nowhere", &format!("{KEY}{VERSION}")), 404, "no_route"),
        case("an upgrade without a token", upgrade("/xuc/api/2.0/cti", &format!("{KEY}{VERSION}")), 400, "token"),
        case(
            "an upgrade with a token of no shape",
            upgrade("/xuc/api/2.0/cti?token=abc", &format!("{KEY}{VERSION}")),
            400,
            "token",
        ),
        case(
            "a wrong version",
            upgrade("/xuc/api/2.0/cti?token=a.b.c", &format!("{KEY}Sec-WebSocket-Version: 8\r\n")),
            426,
            "upgrade_not_allowed",
        ),
        case("no version", upgrade("/xuc/api/2.0/cti?token=a.b.c", KEY), 426, "upgrade_not_allowed"),
        case("no key", upgrade("/xuc/api/2.0/cti?token=a.b.c", VERSION), 400, "upgrade_not_allowed"),
        case(
            "an upgrade with a body",
            upgrade("/xuc/api/2.0/cti?token=a.b.c", &format!("{KEY}{VERSION}Content-Length: 3\r\n")),
            400,
            "framing",
        ),
        case("an announced body over the limit", post("Content-Length: 65537\r\n", ""), 413, "body_too_large"),
        case(
            "a CONNECT",
            format!("CONNECT {FQDN}:443 HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n"),
            403,
            "method",
        ),
        case(
            "an asterisk",
            format!("OPTIONS * HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n"),
            400,
            "bad_path",
        ),
    ]
}

/// Sends each case and looks at what came of it.
async fn judge(site: &Site, cases: Vec<Case>) {
    let client = Client::of(site);
    let mut wrong = Vec::new();
    for Case { what, sent, status: expected, reason } in cases {
        let line = format!("bascule_refused_requests_total{{reason=\"{reason}\"}}");
        let before = site.metric(&line);
        let answer = say(&client, sent.as_bytes()).await;
        let got = status(&answer);
        if got != expected {
            wrong.push(format!("{what}: {got} instead of {expected}"));
        }
        if answer.matches("HTTP/1.1 ").count() > 1 {
            wrong.push(format!("{what}: more than one answer"));
        }
        // A line is counted when the request ends, which is after its answer.
        let limit = tokio::time::Instant::now() + PATIENCE;
        while site.metric(&line) < before + 1.0 && tokio::time::Instant::now() < limit {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if site.metric(&line) != before + 1.0 {
            wrong.push(format!("{what}: counted {} times as {reason}", site.metric(&line) - before));
        }
        if site.main.requests() + site.standby.requests() > 0 {
            wrong.push(format!("{what}: carried"));
            break;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The Edge serves as before.
pub async fn assert_alive(site: &mut Site) {
    for speaks in [Speaks::H1, Speaks::H2] {
        let answer = Client::of(site).connect(speaks).await.unwrap().get("/version").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.side()), (200, "main"));
    }
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused_and_counted() {
    let mut site = Site::start_with(SMALL);
    judge(&site, framing()).await;
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_request_for_what_is_not_here_is_refused_and_counted() {
    let mut site = Site::start_with(SMALL);
    judge(&site, routing()).await;
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_target_in_absolute_form_is_carried_as_any_other() {
    let mut site = Site::start();
    let target = format!("https://{FQDN}/xuc/lab/../lab/headers?a=/../b");
    let answer = say(&Client::of(&site), get(&target, FQDN, "").as_bytes()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("GET /xuc/lab/headers?a=/../b HTTP/1.1"), "{answer}");
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn what_is_smuggled_behind_a_request_is_never_answered() {
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    for head in ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked, identity\r\n"] {
        let answer = say(&client, post(head, &format!("0\r\n\r\n{}", get("/version", FQDN, ""))).as_bytes()).await;
        assert_eq!((status(&answer), answer.matches("HTTP/1.1").count()), (400, 1), "{answer}");
    }
    assert_eq!(site.main.requests(), 0);
    // Bare line feeds end lines for some servers and not for others.
    let bare = format!("GET /version HTTP/1.1\nHost: {FQDN}\nConnection: close\n\n");
    let answer = say(&client, bare.as_bytes()).await;
    let seen = site.main.requests();
    match status(&answer) {
        400 => assert_eq!(seen, 0),
        // Carried with line ends of our own.
        200 => assert_eq!(seen, 1),
        other => panic!("{other}: {answer}"),
    }
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn h2_requests_for_what_is_not_here_are_refused_and_counted() {
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    let mut connection = client.connect(Speaks::H2).await.unwrap();
    for (target, expected, reason) in [
        ("/admin", 404, "no_route"),
        ("/xuc/%2e%2e/etc/passwd", 404, "no_route"),
        ("/xuc%2f..%2fetc", 400, "bad_path"),
        ("/xuc/%00", 400, "bad_path"),
    ] {
        let line = format!("bascule_refused_requests_total{{reason=\"{reason}\"}}");
        let before = site.metric(&line);
        assert_eq!(connection.get(target).await.unwrap().status, expected, "{target}");
        wait_until("it is counted", || site.metric(&line) == before + 1.0);
    }
    let Ok(crate::client::Connection::H2(mut sender)) = client.connect(Speaks::H2).await else { panic!() };
    let foreign = Request::builder().uri("https://elsewhere.org/version").body(Default::default()).unwrap();
    assert_eq!(sender.send_request(foreign).await.unwrap().status(), 421);
    assert_eq!(site.main.requests(), 0);
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn what_a_client_claims_about_itself_is_replaced() {
    let site = Site::start();
    let hostile = [
        ("x-forwarded-for", "10.9.8.7"),
        ("x-real-ip", "10.9.8.7"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.org"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=10.9.8.7;host=evil.org"),
        ("true-client-ip", "10.9.8.7"),
        ("x-request-id", "mine-evil.org"),
        ("x_forwarded_for", "10.9.8.7"),
        ("x-harmless", "kept"),
    ];
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut builder = Request::builder().uri("/xuc/lab/headers");
        for (name, value) in hostile {
            builder = builder.header(HeaderName::from_static(name), value);
        }
        let seen = Client::of(&site).connect(speaks).await.unwrap().request(builder, "").await.unwrap().text();
        assert!(!seen.contains("10.9.8.7") && !seen.contains("evil.org"), "{seen}");
        for line in [
            "x-forwarded-for: 127.0.0.1",
            "x-real-ip: 127.0.0.1",
            "x-forwarded-proto: https",
            &format!("x-forwarded-host: {FQDN}"),
            &format!("host: {FQDN}"),
            "x-harmless: kept",
        ] {
            assert_eq!(seen.lines().filter(|seen| *seen == line).count(), 1, "{line} in\n{seen}");
        }
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    let began = std::time::Instant::now();
    let answer = drip(&client, get("/version", FQDN, "").as_bytes(), Duration::from_millis(100)).await;
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(began.elapsed() >= Duration::from_secs(2));
    wait_until("it is counted", || site.metric("bascule_refused_requests_total{reason=\"head_timeout\"}") == 1.0);
    // Nothing at all: closed without a word, once idle for too long.
    let mut idle = client.tls(Speaks::H1).await.unwrap();
    assert_eq!(until_closed(&mut idle).await, "");
    // A body that stops coming.
    let answer = say(&client, post("Content-Length: 10\r\n", "half ").as_bytes()).await;
    assert!([0, 408, 400].contains(&status(&answer)), "{answer}");
    assert_alive(&mut site).await;
}
