//! What clients ask for, in all the ways they may write it: the upstream is asked in one.

use http::Request;

use crate::bad_input::assert_alive;
use crate::client::{Client, Connection, Speaks};
use crate::raw::{say, status};
use crate::site::{FQDN, Site};

/// What the upstream was asked: the first line and the fields that name the host.
fn asked(answer: &str) -> (String, Vec<String>) {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let line = body.lines().find(|line| line.ends_with(" HTTP/1.1")).unwrap_or_default();
    let hosts = body.lines().filter(|line| line.starts_with("host: ") || line.starts_with("x-forwarded-host: "));
    let mut hosts: Vec<_> = hosts.map(str::to_owned).collect();
    hosts.sort();
    (line.to_owned(), hosts)
}

#[tokio::test]
async fn bytes_no_uri_may_hold_reach_the_upstream_encoded() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for (sent, expected) in [
        (&b"/xuc/lab/headers?q={\"a\":1}"[..], "/xuc/lab/headers?q=%7B%22a%22:1%7D"),
        (b"/xuc/lab/headers?<script>", "/xuc/lab/headers?%3Cscript%3E"),
        (b"/xuc/lab/headers?`|\\^", "/xuc/lab/headers?%60%7C%5C%5E"),
        (b"/xuc/lab/headers?q=caf\xc3\xa9", "/xuc/lab/headers?q=caf%C3%A9"),
        (b"/xuc/lab/headers?q=caf\xe9\xff", "/xuc/lab/headers?q=caf%E9%FF"),
        (b"/xuc/lab/headers?a[]=1&b='()*", "/xuc/lab/headers?a[]=1&b='()*"),
        (b"/xuc/lab/headers?a#b\"", "/xuc/lab/headers?a"),
        (b"/xuc/lab/\"<`>{|}^\x80\xe9[]/../headers", "/xuc/lab/headers"),
    ] {
        let head = [b"GET ", sent, b" HTTP/1.1\r\nHost: ", FQDN.as_bytes(), b"\r\nConnection: close\r\n\r\n"].concat();
        let answer = say(&client, &head).await;
        assert_eq!(status(&answer), 200, "{}: {answer}", sent.escape_ascii());
        assert_eq!(asked(&answer).0, format!("GET {expected} HTTP/1.1"), "{}", sent.escape_ascii());
    }
    let mut h2 = client.connect(Speaks::H2).await.unwrap();
    for (sent, expected) in [
        ("/xuc/lab/headers?q={é|`^\\}", "/xuc/lab/headers?q=%7B%C3%A9%7C%60%5E%5C%7D"),
        ("/xuc/lab/é\"{|}^/../headers", "/xuc/lab/headers"),
    ] {
        let answer = h2.get(sent).await.unwrap().text();
        assert!(answer.starts_with(&format!("GET {expected} HTTP/1.1\n")), "{sent}: {answer}");
    }
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_whole_url_is_asked_for_as_a_path_of_the_host_it_names() {
    let mut site = Site::start();
    let client = Client::of(&site);
    let loud = FQDN.to_ascii_uppercase();
    for (target, host) in [
        (format!("https://{FQDN}/xuc/lab/headers"), FQDN),
        (format!("HTTPS://{loud}:443/xuc/lab/headers"), FQDN),
        (format!("http://{FQDN}:80/xuc/lab/headers"), FQDN),
        // The URL counts (RFC 9112 section 3.2.2).
        (format!("https://{FQDN}/xuc/lab/headers"), "elsewhere.org"),
        (format!("https://{FQDN}./xuc/lab/../lab/headers"), FQDN),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = say(&client, head.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{target}: {answer}");
        let (line, hosts) = asked(&answer);
        assert_eq!(line, "GET /xuc/lab/headers HTTP/1.1", "{target}");
        assert_eq!(hosts, [format!("host: {FQDN}"), format!("x-forwarded-host: {FQDN}")], "{target}");
    }
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn a_host_is_ours_however_it_is_written_and_upstreams_see_one_form() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for (version, host, seen) in [
        ("1.1", format!("Host: {}\r\n", FQDN.to_ascii_uppercase()), FQDN.to_owned()),
        ("1.1", format!("Host: {FQDN}:443\r\n"), FQDN.to_owned()),
        ("1.1", format!("Host: {FQDN}.:0443\r\n"), FQDN.to_owned()),
        ("1.1", format!("Host:{FQDN}:\r\n"), FQDN.to_owned()),
        ("1.1", format!("Host: {FQDN}:8443\r\n"), format!("{FQDN}:8443")),
        ("1.0", String::new(), FQDN.to_owned()),
        ("1.0", format!("Host: {FQDN}\r\n"), FQDN.to_owned()),
    ] {
        let head = format!("GET /xuc/lab/headers HTTP/{version}\r\n{host}Connection: close\r\n\r\n");
        let answer = say(&client, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 "), "{head}{answer}");
        assert_eq!(asked(&answer).1, [format!("host: {seen}"), format!("x-forwarded-host: {seen}")], "{head}");
    }
    let Ok(Connection::H2(mut sender)) = client.connect(Speaks::H2).await else { panic!("no h2") };
    for authority in [FQDN.to_ascii_uppercase(), format!("{FQDN}:443")] {
        let request = Request::get(format!("https://{authority}/xuc/lab/headers")).body(Default::default()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains(&format!("\nhost: {FQDN}\n")), "{body}");
        assert!(body.contains(&format!("\nx-forwarded-host: {FQDN}\n")), "{body}");
    }
    assert_alive(&mut site).await;
}
