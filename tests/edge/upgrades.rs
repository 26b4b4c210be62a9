//! The two heads of an upgrade, as nobody's browser and no good server would write them.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::Client;
use crate::odd::Odd;
use crate::raw::{say, status};
use crate::site::{FQDN, wait_until};

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// An upgrade with these fields besides the usual.
fn upgrade(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {FQDN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

/// A 101 to any of these upgrades, with these fields besides.
fn accepted(fields: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n{fields}\r\n",
        derive_accept_key(KEY.as_bytes())
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_two_servers_read_in_two_ways_reaches_none() {
    let odd = Odd::saying(accepted(""));
    let site = odd.site();
    let client = Client::of(&site);
    for fields in [
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Key: BBBBBBBBBBBBBBBBBBBBBB==\r\n",
        "Connection: Host\r\n",
        "Connection: Sec-WebSocket-Key\r\n",
        "Connection: \"x\"\r\n",
    ] {
        let answer = say(&client, upgrade("/odd/refused", fields).as_bytes()).await;
        assert_eq!(status(&answer), 400, "{fields} {answer}");
    }
    for target in ["/odd/refused?a=b#c", "/odd/refused#c", "/odd/refused?#"] {
        let answer = say(&client, upgrade(target, "").as_bytes()).await;
        assert_eq!(status(&answer), 400, "{target} {answer}");
    }
    let short = upgrade("/odd/refused", "").replace(KEY, "AAAAAAAAAAAAAAAAAAAA====");
    assert_eq!(status(&say(&client, short.as_bytes()).await), 400);
    for version in ["8", "14", "13, 8", ""] {
        let old = upgrade("/odd/refused", "").replace("Version: 13", &format!("Version: {version}"));
        let answer = say(&client, old.as_bytes()).await;
        assert_eq!(status(&answer), 426, "{answer}");
        for line in ["Upgrade: websocket", "sec-websocket-version: 13", "Connection: Upgrade, close"] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} in {answer}");
        }
    }
    assert_eq!(odd.count("/odd/refused"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_subprotocol_slips_by_in_a_line_of_its_own() {
    let odd = Odd::answering(|head| {
        accepted(if head.contains("Protocol: sip") { "Sec-WebSocket-Protocol: sip\r\n" } else { "" }).into()
    });
    let site = odd.site();
    let client = Client::of(&site);
    for (fields, expected) in [
        ("", 403),
        ("Sec-WebSocket-Protocol: other\r\n", 403),
        ("Sec-WebSocket-Protocol: sip, other\r\n", 403),
        ("Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Protocol: other\r\n", 403),
        ("Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: sip\r\n", 403),
        ("Sec-WebSocket-Protocol: sip\r\nX: y\r\nsec-websocket-protocol: SIP\r\n", 403),
        ("Sec-WebSocket-Protocol:\r\n", 403),
        ("Sec-WebSocket-Protocol: sip\r\n", 101),
        ("Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Protocol: sip\r\n", 101),
        ("Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Protocol:\r\n", 101),
    ] {
        let answer = say(&client, upgrade("/sip-only", fields).as_bytes()).await;
        assert_eq!(status(&answer), expected, "{fields} {answer}");
    }
    assert_eq!(odd.count("/sip-only"), 3);
    let refused = "bascule_refused_requests_total{reason=\"subprotocol\"}";
    wait_until("those that were refused are counted", || site.metric(refused) == 7.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_the_clients_connection_reach_no_upstream() {
    let odd = Odd::answering(|head| match head.contains("Upgrade: websocket") {
        true => accepted("").into(),
        false => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let site = odd.site();
    let client = Client::of(&site);
    let fields = "X-Hop: 1\r\nX-End: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
        Trailer: x\r\nProxy-Authorization: Basic eA==\r\n";
    let ordinary = format!(
        "GET /odd/request HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close, X-Hop\r\nConnection: x-other\r\n{fields}\r\n"
    );
    let mut upgrading =
        upgrade("/odd/upgrade", fields).replace("Connection: Upgrade", "Connection: keep-alive, X-Hop, Upgrade");
    upgrading = upgrading.replace("X-End", "Connection: X-Other\r\nX-Other: 1\r\nX-End");
    assert_eq!(status(&say(&client, upgrading.as_bytes()).await), 101);
    assert_eq!(status(&say(&client, ordinary.as_bytes()).await), 200);
    for target in ["/odd/request", "/odd/upgrade"] {
        let head = odd.heard(target).unwrap().to_ascii_lowercase();
        assert!(head.contains("\r\nx-end: 1\r\n"), "{head}");
        for name in ["x-hop", "x-other", "keep-alive", "proxy-connection", "te", "trailer", "proxy-authorization"] {
            assert!(!head.contains(&format!("\r\n{name}:")), "{name} in {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_has_its_whole_body() {
    let long = "x".repeat(300_000);
    let chunks = format!("3\r\nno \r\n{:x};x=y\r\n{long}\r\n0\r\nTrailer: t\r\n\r\n", long.len());
    let answers = [
        ("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno".to_owned(), "no".to_owned()),
        (format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{long}", long.len()), long.clone()),
        (format!("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"), format!("no {long}")),
        (format!("HTTP/1.1 200 Ok\r\nX: a\r\n b\r\n\r\n{long}"), long.clone()),
        (format!("HTTP/1.0 500 Oh\r\n\r\n{long}"), long.clone()),
        ("HTTP/1.1 403 No\r\nTransfer-Encoding: identity\r\n\r\nno".to_owned(), "no".to_owned()),
        ("HTTP/1.1 403 No\r\nContent-Length: 2, 2\r\n\r\nno".to_owned(), "no".to_owned()),
        ("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), String::new()),
        ("HTTP/1.1 426 Old\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n".to_owned(), String::new()),
    ];
    let said = answers.clone();
    let odd = Odd::answering(move |head| {
        let number = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().parse::<usize>().unwrap();
        said[number].0.clone().into_bytes()
    });
    let site = odd.site();
    let client = Client::of(&site);
    for (number, (answer, body)) in answers.iter().enumerate() {
        let said = say(&client, upgrade(&format!("/odd/{number}"), "").as_bytes()).await;
        let (head, got) = said.split_once("\r\n\r\n").unwrap();
        assert_eq!(status(&said).to_string(), answer[9..12], "{head}");
        let head = format!("{}\r\n", head.to_ascii_lowercase());
        let lengths = head.matches("content-length:").count() + head.matches("transfer-encoding:").count();
        assert_eq!(lengths, usize::from(!answer.contains("204")), "{head}");
        assert_eq!(&unchunked(&head, got), body, "{head}");
        assert_eq!(head.contains("\r\nupgrade: websocket\r\n"), answer.contains("426"), "{head}");
    }
    // Half of a body is not passed off as the whole.
    for half in [
        "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nno",
        "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nno",
    ] {
        let odd = Odd::saying(half);
        let site = odd.site();
        let said = say(&Client::of(&site), upgrade("/odd", "").as_bytes()).await;
        assert!(status(&said) == 403 && !said.ends_with("0\r\n\r\n") && said.contains("no"), "{said}");
    }
}

/// The body behind a head, by its framing.
fn unchunked(head: &str, body: &str) -> String {
    if !head.contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(after, "\r\n");
            return whole;
        }
        whole.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_101_that_a_browser_would_not_take_opens_nothing() {
    let whole = accepted("");
    let table = [
        (whole.clone(), 101),
        (whole.replace("Connection: Upgrade", "Connection : keep-alive,\r\n Upgrade"), 101),
        (format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{whole}"), 101),
        (accepted("Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Extensions: permessage-deflate; a=1\r\n"), 101),
        (accepted("Sec-WebSocket-Protocol: other\r\n"), 502),
        (accepted("Sec-WebSocket-Protocol: sip, sip\r\n"), 502),
        (accepted("Sec-WebSocket-Extensions: other\r\n"), 502),
        (whole.replace("Accept: ", "Accept: x"), 502),
        (whole.replace("Connection: Upgrade\r\n", ""), 502),
        (whole.replace("Upgrade: websocket\r\n", ""), 502),
        (whole.replace("Upgrade: websocket", "Upgrade: h2c"), 502),
        (whole.replace("HTTP/1.1", "HTTP/1.0"), 502),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(), 502),
        ("HTTP/1.1 403 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nno".to_owned(), 502),
        ("no HTTP\r\n\r\n".to_owned(), 502),
    ];
    let said: Vec<String> = table.iter().map(|(answer, _)| answer.clone()).collect();
    let odd = Odd::answering(move |head| {
        let number = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().parse::<usize>().unwrap();
        said[number].clone().into_bytes()
    });
    let site = odd.site();
    let client = Client::of(&site);
    for (number, (answer, expected)) in table.iter().enumerate() {
        let offer = "Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Extensions: permessage-deflate; b\r\n";
        let got = say(&client, upgrade(&format!("/odd/{number}"), offer).as_bytes()).await;
        assert_eq!(status(&got), *expected, "{answer}\n{got}");
    }
    wait_until("the log tells it", || site.access_log().contains("upstream_protocol"));
}
