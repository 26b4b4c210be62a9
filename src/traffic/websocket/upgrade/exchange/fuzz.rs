//! Both heads of an upgrade: what the upstream is asked is again an upgrade, of the same handshake; what the client is
//! answered is what the upstream said, in a form that a browser takes.

use std::time::Duration;

use ::fuzz::Target;
use futures_util::FutureExt;
use probe::answer::framing;

use super::*;
use crate::telemetry::logging::RequestId;
use crate::traffic::downstream::head::{self, FIELDS, HeadLimits, Kind};
use crate::traffic::websocket::upgrade::handshake::{Handshake, NoHandshake};

const HANDSHAKE: &[&[u8]] = &[
    b"GET /ws HTTP/1.1\r\n",
    b"Host: edge.example.org\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Connection: Upgrade, X-Hop\r\n",
    b"Upgrade: websocket\r\n",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Protocol: sip, x\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; x=1\r\n",
    b"X-Forwarded-For: 10.0.0.1\r\n",
    b"X_Forwarded_For: 10.0.0.1\r\n",
    b"Forwarded: for=10.0.0.1\r\n",
    b"X-Hop: y\r\n",
    b"Content-Length: 0\r\n",
    b"Cookie: a=b\r\n",
    b"sec-websocket-",
    b"\r\n",
    b"\r\n\r\n",
    b": ",
    b",",
    b"?token=a.b.c",
    b"#",
    b"\xff",
    b"\t",
];

const ANSWER: &[&[u8]] = &[
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204 No\r\n",
    b"HTTP/1.1 426 No\r\n",
    b"Connection: Upgrade, x-hop\r\n",
    b"Connection: close, content-length\r\n",
    b"Upgrade: websocket\r\n",
    b"Upgrade: h2c\r\n",
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    b"Sec-WebSocket-Protocol: sip\r\n",
    b"Sec-WebSocket-Protocol: other\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    b"Content-Length: 2\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"X-Hop: y\r\n",
    b"X : y\r\n",
    b"\r\n y",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b",",
    b"\xff",
    b"\0",
];

/// The example of RFC 6455 section 1.3.
const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

fn offer() -> Offer<'static> {
    Offer { key: KEY, subprotocols: vec![b"sip"], extensions: vec![b"permessage-deflate"] }
}

fn parsed<T>(head: &[u8], of: impl FnOnce(&httparse::Request<'_, '_>) -> T) -> T {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())));
    of(&request)
}

/// Key, subprotocols and extensions: what the answer must keep to.
fn offered(request: &httparse::Request<'_, '_>) -> Result<Vec<Vec<u8>>, NoHandshake> {
    let asked = Handshake::of(request)?;
    let lists = [vec![asked.offer.key], asked.offer.subprotocols, asked.offer.extensions];
    Ok(lists.into_iter().map(|list| list.join(&b'|')).collect())
}

#[test]
fn an_upstream_is_asked_for_the_upgrade_that_the_client_asked_for_and_told_no_claim_of_its() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // Half as many fields as are read at most: ours come on top.
    let limits =
        HeadLimits { idle: Duration::from_secs(9), whole: Duration::from_secs(9), bytes: 8192, fields: FIELDS / 2 };
    let kind_of = |bytes: &[u8]| {
        let mut buf = BytesMut::new();
        let kind = runtime.block_on(head::read(&mut &bytes[..], &mut buf, limits));
        kind.ok().map(|head| (head.kind, buf))
    };
    let forwarded = ForwardedHeaders::new("192.0.2.1".parse().unwrap(), "edge.example.org", RequestId::new(7));
    Target::new("upgrade-request", 12_000).words(HANDSHAKE).longest(2048).check(|input| {
        let Some((Kind::Upgrade(length), head)) = kind_of(input) else { return None };
        let (asked, before) = parsed(&head[..length], |client| {
            let asked = Handshake::of(client).map(|asked| {
                let target = asked.query.map_or(asked.path.to_owned(), |query| format!("{}?{query}", asked.path));
                request(client, &asked.options, &target, &forwarded, &HostHeader::Fqdn)
            });
            (asked, offered(client))
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(why) => return Some((Some(format!("{why:?}")), 0)),
        };
        let again = kind_of(&asked).map(|(kind, _)| kind);
        assert_eq!(again, Some(Kind::Upgrade(asked.len())), "{}", asked.escape_ascii());
        parsed(&asked, |upstream| {
            assert_eq!(offered(upstream), before, "another handshake");
            let all = |name: &str| {
                let fields = upstream.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
                fields.map(|field| field.value.to_vec()).collect::<Vec<_>>()
            };
            assert_eq!(all("host"), [b"edge.example.org"]);
            assert_eq!(all("connection"), [b"Upgrade"]);
            for (name, value) in forwarded.headers() {
                assert_eq!(all(name), [value.as_bytes()], "{name}");
            }
            assert!(!upstream.headers.iter().any(|field| field.name.contains('_')));
            Some((None, upstream.headers.len().min(16)))
        })
    });
}

/// An upstream's answer in pieces of `size`, as far as it is told on; what is behind it.
fn told(mut bytes: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>, Framing), std::mem::Discriminant<NoAnswer>> {
    struct Pieces<'a, 'b>(&'a mut &'b [u8], usize);
    impl AsyncRead for Pieces<'_, '_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            let length = self.1.min(self.0.len()).min(buf.remaining());
            let (piece, rest) = self.0.split_at(length);
            buf.put_slice(piece);
            *self.0 = rest;
            std::task::Poll::Ready(Ok(()))
        }
    }
    let answered = answer(&mut Pieces(&mut bytes, size), &offer()).now_or_never().expect("it waits for nothing");
    let answered = answered.map_err(|why| std::mem::discriminant(&why))?;
    Ok((reply(&answered), [&answered.rest[..], bytes].concat(), answered.framing))
}

#[test]
fn a_client_is_told_what_the_upstream_answered_in_a_form_that_browsers_take() {
    Target::new("upgrade-answer", 20_000).words(ANSWER).longest(2048).allocates(1 << 20, 256).check(|input| {
        let whole = told(input, usize::MAX);
        for size in [1, 3, 50] {
            assert_eq!(told(input, size), whole, "in pieces of {size}");
        }
        let (reply, rest, body) = match whole {
            Ok(told) => told,
            Err(why) => return (Some(why), 0),
        };
        assert!(input.ends_with(&rest), "what is behind the head is not touched");
        let (length, head) = Head::parse(&reply).unwrap().unwrap();
        assert_eq!(length, reply.len());
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            assert_eq!(offer().verify(&head), Ok(()), "a browser would refuse it");
        }
        let expected = match body {
            // The client must see whether it got all.
            Framing::UntilClosed => Framing::Chunked,
            other => other,
        };
        assert_eq!(framing(head.status, &head.headers, false), Ok(expected), "{}", reply.escape_ascii());
        (None, head.status.as_u16())
    });
}
