//! Heads over h2 that RFC 9113 section 8 calls malformed, frame by frame: refused, counted, and never carried.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::accounts::{lines, refused};
use crate::bad_input::{SMALL, assert_alive};
use crate::client::{Client, Speaks};
use crate::site::{FQDN, PATIENCE, Site, wait_until};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Fields<'a> = Vec<(&'a str, &'a [u8])>;

pub fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header block of literals that are never indexed (RFC 7541 section 6.2.3).
pub fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let text = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    fields.iter().flat_map(|(name, value)| [vec![0x10], text(name.as_bytes()), text(value)].concat()).collect()
}

/// What came of the request: the first frame that ends it.
async fn outcome(client: &Client, frames: &[u8]) -> u8 {
    let mut stream = client.tls(Speaks::H2).await.unwrap();
    let sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, b"")[..], frames].concat();
    stream.write_all(&sent).await.unwrap();
    stream.flush().await.unwrap();
    let ending = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return GOAWAY;
            }
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            stream.read_exact(&mut payload).await.unwrap();
            if [HEADERS, RST_STREAM, GOAWAY].contains(&head[3]) {
                return head[3];
            }
        }
    };
    timeout(PATIENCE, ending).await.expect("an answer or a refusal")
}

fn head<'a>(with: &[(&'a str, &'a [u8])]) -> Fields<'a> {
    let mut fields: Fields<'a> = vec![
        (":method", b"POST"),
        (":scheme", b"https"),
        (":path", b"/xuc/lab/count"),
        (":authority", FQDN.as_bytes()),
    ];
    for (name, value) in with {
        match fields.iter_mut().find(|field| field.0 == *name) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    fields
}

#[tokio::test]
async fn each_malformed_head_is_refused_and_has_a_line_and_a_count() {
    let mut site = Site::start_with(SMALL);
    let client = Client::of(&site);
    let twice = |value: &'static [u8]| {
        let mut fields = head(&[("content-length", b"1")]);
        fields.push(("content-length", value));
        fields
    };
    for (what, fields) in [
        ("two equal lengths", twice(b"1")),
        ("two lengths", twice(b"2")),
        ("a list of lengths", head(&[("content-length", b"1, 1")])),
        ("a length of words", head(&[("content-length", b"one")])),
        ("an empty scheme", head(&[(":scheme", b"")])),
        ("a scheme of scripts", head(&[(":scheme", b"javascript")])),
        ("a scheme of no URI", head(&[(":scheme", b"ht tp")])),
        ("an empty path", head(&[(":path", b"")])),
        ("a relative path", head(&[(":path", b"xuc")])),
        ("an asterisk", head(&[(":path", b"*")])),
        ("a path no URI holds", head(&[(":path", b"/xuc/<`>")])),
        ("a query no URI holds", head(&[(":path", b"/xuc?\"<>")])),
        ("a path of Latin-1", head(&[(":path", b"/caf\xe9")])),
        ("a space in the path", head(&[(":path", b"/xuc /lab")])),
        ("a CONNECT with a path", head(&[(":method", b"CONNECT")])),
        ("Connection", head(&[("connection", b"close")])),
        ("Transfer-Encoding", head(&[("transfer-encoding", b"chunked")])),
        ("Upgrade", head(&[("upgrade", b"websocket")])),
        ("TE of a coding", head(&[("te", b"gzip")])),
        ("another Host", head(&[("host", b"elsewhere.org")])),
        ("a foreign authority", head(&[(":authority", b"elsewhere.org")])),
        ("an authority with a password", head(&[(":authority", b"u:p@edge.example.org")])),
        ("a name in upper case", head(&[("X-Upper", b"1")])),
        ("an unknown pseudo-field", head(&[(":odd", b"1")])),
        ("a status", head(&[(":status", b"200")])),
    ] {
        let (counted, logged) = (refused(&site), lines(&site).len());
        let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        outcome(&client, &[head, frame(DATA, END_STREAM, 1, b"7")].concat()).await;
        wait_until(&format!("it is counted: {what}"), || refused(&site) == counted + 1.0);
        wait_until(&format!("it has a line: {what}"), || lines(&site).len() == logged + 1);
    }
    let connect: Fields<'_> = vec![(":method", b"CONNECT"), (":authority", FQDN.as_bytes())];
    let counted = refused(&site);
    outcome(&client, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&connect))).await;
    wait_until("a CONNECT is counted", || refused(&site) == counted + 1.0);
    assert_eq!(site.main.requests() + site.standby.requests(), 0);
    tokio::time::timeout(Duration::from_secs(60), assert_alive(&mut site)).await.unwrap();
}

#[tokio::test]
async fn trailers_over_h2_go_no_further_whatever_is_in_them() {
    let mut site = Site::start();
    let client = Client::of(&site);
    let head = frame(HEADERS, END_HEADERS, 1, &block(&head(&[])));
    let with = |trailers: &[(&str, &[u8])]| {
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers));
        [&head[..], &frame(DATA, 0, 1, b"7"), &trailers].concat()
    };
    assert_eq!(outcome(&client, &with(&[("checksum", b"1")])).await, HEADERS);
    wait_until("it was carried", || site.main.ledger() == ["7"]);
    // The library refuses them or passes them over: they name no other request.
    outcome(&client, &with(&[(":path", b"/admin")])).await;
    outcome(&client, &with(&[("Upper", b"1")])).await;
    outcome(&client, &with(&[("content-length", b"9"), ("transfer-encoding", b"chunked")])).await;
    assert!(site.main.ledger().iter().all(|entry| entry == "7"));
    assert_alive(&mut site).await;
}
