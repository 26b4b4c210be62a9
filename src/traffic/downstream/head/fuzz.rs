//! A head is read alike however it arrives, and what is let pass says the same to another reader, that of Pingora.

use std::pin::Pin;
use std::task::{Context, Poll};

use ::fuzz::Target;
use pingora::protocols::http::v1::server::HttpSession;
use tokio::io::ReadBuf;

use super::*;

const WORDS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"OPTIONS * HTTP/1.1\r\n",
    b"CONNECT ",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"Host: a\r\n",
    b"host:",
    b"Content-Length: 3\r\n",
    b"Content-Length:",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding: ",
    b"chunked",
    b"identity",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Upgrade: h2c\r\n",
    b"http://",
    b"https://b:443",
    b"://",
    b"@",
    b"?",
    b"#",
    b"%",
    b"\"<>`{}",
    b"/../",
    b",",
    b";",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\xff",
    b"X: y\r\n",
];

/// As long a head as a third of what is let pass: encoding makes three bytes of one.
const LONGEST: usize = 1300;
const LIMITS: HeadLimits =
    HeadLimits { idle: Duration::from_secs(75), whole: Duration::from_secs(10), bytes: 4096, fields: 20 };

/// A client that sends `bytes` in pieces of `size`, and leaves.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let length = self.size.min(self.bytes.len()).min(buf.remaining());
        let (piece, rest) = self.bytes.split_at(length);
        buf.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

/// The head that `bytes` begin with, and what is behind it.
async fn arriving(bytes: &[u8], size: usize) -> Result<(Kind, BytesMut, Vec<u8>), NoHead> {
    let mut client = Pieces { bytes, size };
    let mut buf = BytesMut::new();
    let kind = read(&mut client, &mut buf, LIMITS).await?.kind;
    let rest = buf.split_off(length(kind));
    Ok((kind, buf, [&rest, client.bytes].concat()))
}

fn length(kind: Kind) -> usize {
    match kind {
        Kind::Request { length, .. } | Kind::Upgrade(length) => length,
    }
}

/// What Pingora makes of a head: method, target, and whether no body follows.
async fn in_pingoras_eyes(head: &[u8]) -> (String, String, bool) {
    let mut session = HttpSession::new(Box::new(std::io::Cursor::new(head.to_vec())));
    let read = session.read_request().await;
    assert!(matches!(read, Ok(Some(_))), "Pingora takes it for none: {read:?}");
    let header = session.req_header();
    let target = String::from_utf8_lossy(header.raw_path()).into_owned();
    (header.method.to_string(), target, session.is_body_empty())
}

#[test]
fn a_head_is_read_alike_however_it_arrives_and_by_whoever_carries_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let property = async |input: &[u8]| {
        let whole = arriving(input, usize::MAX).await;
        for size in [1, 3, 50] {
            // Of two reasons to refuse a head either may be found first; and who leaves within a line has left.
            assert_eq!(arriving(input, size).await.ok(), whole.clone().ok(), "in pieces of {size}");
        }
        let (kind, head, rest) = match whole {
            Ok(read) => read,
            Err(why) => return (Some(format!("{why:?}")), None, 0),
        };
        assert!(input.ends_with(&rest), "what is behind the head is not touched");
        assert!(head.len() <= 3 * input.len() + 64, "{} bytes of {}", head.len(), input.len());
        let again = arriving(&[&head[..], &rest].concat(), usize::MAX).await;
        assert_eq!(again, Ok((kind, head.clone(), rest)), "one form, and then no other");

        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        assert_eq!(request.parse(&head), Ok(httparse::Status::Complete(head.len())));
        let target = request.path.unwrap();
        let uri = target.parse::<http::uri::PathAndQuery>();
        assert!(uri.is_ok() && (target == "*" || target.starts_with('/')), "{target}");
        let hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host")).count();
        assert!(hosts == 1 || (hosts == 0 && request.version == Some(0)));

        let (method, carried, bodiless) = in_pingoras_eyes(&head).await;
        // A fragment is for nobody (RFC 9112 section 3.2), and Pingora leaves it out; an upgrade that has one is refused.
        let target = target.split_once('#').map_or(target, |(before, _)| before);
        assert_eq!((method.as_str(), carried.as_str()), (request.method.unwrap(), target));
        let body = match kind {
            Kind::Request { body, .. } => body,
            Kind::Upgrade(_) => Body::None,
        };
        assert_eq!(bodiless, body == Body::None, "{body:?}");
        (None, Some((std::mem::discriminant(&kind), std::mem::discriminant(&body))), request.headers.len().min(8))
    };
    Target::new("request-head", 12_000)
        .words(WORDS)
        .longest(LONGEST)
        .allocates(1 << 20, 256)
        .check(|input| runtime.block_on(property(input)));
}
