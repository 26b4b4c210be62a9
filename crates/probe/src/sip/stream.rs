//! OPTIONS over TCP or TLS: messages are cut out of the stream by their Content-Length (RFC 3261, 18.3).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::{Head, Malformed, head_end};
use super::{HEAD_LIMIT, Meaning, SipCheck, Transaction, Waiting, request};
use crate::check::Check;
use crate::failure::Failure;
use crate::meter::Meter;
use crate::wire::Wire;

/// A body in front of the answer is skipped, not kept; one larger than this is not worth it.
const BODY_LIMIT: usize = 64 * 1024;

pub(super) async fn ask(
    sip: &SipCheck,
    check: &Check,
    mut wire: Wire,
    transaction: &Transaction,
    meter: &mut Meter,
) -> Result<u16, Failure> {
    let local = wire.local_address().map_err(|error| Failure::local("read the local address", error))?;
    let request = request(sip, check.target, local, transaction);
    wire.write_all(request.as_bytes()).await.map_err(|error| Failure::of_io(&error))?;
    wire.flush().await.map_err(|error| Failure::of_io(&error))?;
    let mut waiting = Waiting::new(meter);
    let mut messages = Messages::default();
    let mut buffer = vec![0; 4 * 1024];
    loop {
        while let Some(head) =
            messages.next().map_err(|error| Failure::wrong(format_args!("not a SIP answer: {error}")))?
        {
            match transaction.meaning(&head) {
                Meaning::Final(status) => {
                    wire.end_tls().await;
                    return Ok(status);
                }
                Meaning::Provisional(status) => waiting.provisional(status),
                Meaning::Stray => waiting.stray()?,
            }
        }
        match wire.read(&mut buffer).await {
            Ok(0) => return Err(Failure::of_io(&std::io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => messages.push(&buffer[..length]),
            Err(error) => return Err(Failure::of_io(&error)),
        }
    }
}

/// Cuts a stream into heads. Holds at most one head and one read; bodies pass by.
#[derive(Debug, Default)]
struct Messages {
    bytes: Vec<u8>,
    /// How far `bytes` has been searched for the end of a head.
    searched: usize,
    /// What is still to come of the last message's body.
    body: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("its head is larger than {HEAD_LIMIT} bytes")]
    Head,
    #[error("a body of {0} bytes")]
    Body(usize),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Messages {
    fn push(&mut self, bytes: &[u8]) {
        let skipped = self.body.min(bytes.len());
        self.body -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped..]);
    }

    /// Returns the next complete head. The body is not waited for: the head says it all.
    fn next(&mut self) -> Result<Option<Head>, Unusable> {
        if self.searched == 0 {
            // Line ends between messages keep connections alive (RFC 3261, 7.5; RFC 5626, 3.5.1).
            let blank = self.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.bytes.drain(..blank);
        }
        let Some(end) = head_end(&self.bytes, self.searched) else {
            self.searched = self.bytes.len();
            return if self.bytes.len() > HEAD_LIMIT { Err(Unusable::Head) } else { Ok(None) };
        };
        let head = Head::parse(&self.bytes[..end])?;
        if head.content_length > BODY_LIMIT {
            return Err(Unusable::Body(head.content_length));
        }
        let here = head.content_length.min(self.bytes.len() - end);
        self.body = head.content_length - here;
        self.bytes.drain(..end + here);
        self.searched = 0;
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\r\n\r\nSIP/2.0 100 Trying\r\nContent-Length: 5\r\n\r\nbody!\r\nOPTIONS sip:probe SIP/2.0\nl: 2\n\nxxSIP/2.0 200 OK\r\nv: SIP/2.0/TCP a;branch=b\r\n\r\n";

    fn statuses(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<Option<u16>> {
        let mut messages = Messages::default();
        let mut found = Vec::new();
        for piece in pieces {
            messages.push(piece.as_ref());
            while let Some(head) = messages.next().unwrap() {
                found.push(head.status);
            }
        }
        found
    }

    #[test]
    fn a_stream_is_cut_alike_however_it_arrives() {
        let expected = [Some(100), None, Some(200)];
        for size in 1..=STREAM.len() {
            assert_eq!(statuses(STREAM.as_bytes().chunks(size)), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut messages = Messages::default();
        messages.push(b"SIP/2.0 200 OK\r\n");
        let result = (0..HEAD_LIMIT).find_map(|_| {
            messages.push(b"X: y\r\n");
            messages.next().transpose()
        });
        assert_eq!(result.unwrap().unwrap_err(), Unusable::Head);
        assert!(messages.bytes.len() <= HEAD_LIMIT + 6);
    }

    #[test]
    fn a_huge_body_is_not_waited_for() {
        let mut messages = Messages::default();
        messages.push(b"SIP/2.0 100 Trying\r\nContent-Length: 4000000000\r\n\r\n");
        assert_eq!(messages.next().unwrap_err(), Unusable::Body(4_000_000_000));
    }

    #[test]
    fn line_ends_alone_are_not_kept() {
        let mut messages = Messages::default();
        for _ in 0..100_000 {
            messages.push(b"\r\n");
            assert_eq!(messages.next(), Ok(None));
        }
        assert!(messages.bytes.is_empty());
    }
}

#[cfg(test)]
mod fuzz;
