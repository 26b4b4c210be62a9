//! One request of HTTP/1 and its answer, as Pingora's proxy carries them: the head as `head` read it, the body without its
//! framing, the answer with one of our own.
//!
//! Pingora's own session would read the head a second time, hold 64 KiB for a body and as much again for a replay, and
//! would take whatever follows a body for a broken client. Ours holds nothing while nothing comes: a body is read into the
//! stack and kept in as many bytes as came.

use std::future::poll_fn;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::activity::{Activity, After};
use super::body::Rest;
use super::client::ClientStream;
use super::head::Body;
use crate::traffic::budget::{HOLDING, KEPT_FOR_REPLAY, Pause};

/// Bytes of a body that are read at once.
const READ: usize = 16 * 1024;
/// Bytes of the next requests kept while one is carried; the kernels hold the others.
const KEPT_BACK: usize = 16 * 1024;
/// What is read of the next requests at once: as a rule there are none, and only the client's end is waited for.
const BEHIND: usize = 2048;
/// Room for an answer's head, and for a small body behind it.
const HEAD: usize = 1024;

/// Holds the connection while it lasts, and hands it back for the next request if the answer was whole.
pub struct H1Session {
    /// Taken when the session is dropped, not before.
    stream: Option<Box<ClientStream>>,
    activity: Arc<Activity>,
    client: PingoraAddr,
    request: RequestHeader,
    /// The client would send another request on this connection.
    keeps_alive: bool,
    /// What was read and not taken yet: of the body, then of the next requests.
    came: BytesMut,
    rest: Rest,
    /// Of reads for an upstream that does not take what was read.
    pause: Pause,
    read: usize,
    replay: Replay,
    answer: Answer,
    response: Option<Box<ResponseHeader>>,
    /// What the answer's head said of the connection.
    goes_on: bool,
    /// Something was written that the kernel may not have yet.
    unflushed: bool,
    sent: usize,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

/// What is kept of a body, to be sent again.
enum Replay {
    Kept(BytesMut),
    /// The body was too much, or will not be sent again.
    Gone,
}

/// How far an answer is: a connection goes on behind `Written` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing is said but interim answers.
    Unsaid,
    /// The head; so much is to come.
    HeadWritten(Left),
    /// All of it, and the kernel may not have it yet.
    Ended,
    /// All of it, and the kernel has it.
    Written,
}

/// What is to come of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Bytes still to come: an answer that ends before them is broken, and says so by its end.
    Length(u64),
    Chunks,
    UntilClosed,
}

impl Left {
    /// Of an answer to a request, whose fields say it once (`http::answer`).
    fn of(response: &ResponseHeader, method: &Method) -> Self {
        // A length in such a head is that of another answer (RFC 9110 section 8.6): to wait for it would hang the
        // connection.
        let bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || method == Method::HEAD {
            return Self::Length(0);
        }
        if response.headers.contains_key(TRANSFER_ENCODING) {
            return Self::Chunks;
        }
        let length = response.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.map_or(Self::UntilClosed, Self::Length)
    }
}

impl H1Session {
    /// Of a request, read from `stream`; `came` was read behind its head.
    pub fn new(
        mut stream: Box<ClientStream>,
        client: SocketAddr,
        request: RequestHeader,
        keeps_alive: bool,
        body: Body,
        came: BytesMut,
    ) -> Self {
        stream.begin_request();
        let activity = stream.activity().clone();
        activity.begin_request();
        Self {
            stream: Some(stream),
            activity,
            client: PingoraAddr::Inet(client),
            request,
            keeps_alive,
            came,
            rest: Rest::of(body),
            pause: Pause::default(),
            read: 0,
            replay: Replay::Kept(BytesMut::new()),
            answer: Answer::Unsaid,
            response: None,
            goes_on: false,
            unflushed: false,
            sent: 0,
            read_timeout: None,
            write_timeout: None,
        }
    }

    fn stream(&mut self) -> &mut ClientStream {
        self.stream.as_mut().expect("taken by drop alone")
    }

    /// Reads more; not before what is held has been written, as far as the client takes it: whoever looks for the client has
    /// nothing more to write for now, and who waits for the rest of a slow answer must see its beginning.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.unflushed {
            // An error will be met again by the next write.
            self.unflushed = Pin::new(self.stream()).poll_flush(cx).is_pending();
        }
        let Self { stream, pause, rest, .. } = self;
        let stream = stream.as_mut().expect("taken by drop alone");
        let mut stream = Pin::new(&mut **stream);
        let read = match rest.is_over() {
            true => stream.poll_read(cx, buf),
            false => pause.read_for(|holding| &holding.body, cx, buf, |cx, buf| stream.as_mut().poll_read(cx, buf)),
        };
        match ready!(read) {
            Ok(()) if buf.filled().is_empty() => {
                Poll::Ready(Error::e_explain(ErrorType::ConnectionClosed, "the client left"))
            }
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Error::e_because(ErrorType::ReadError, "reading from the client", error)),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if !self.rest.is_over() && !self.came.is_empty() {
                let data = self.rest.take(&mut self.came);
                let data = data.map_err(|broken| Error::because(ErrorType::ReadError, "reading a body", broken))?;
                if !data.is_empty() {
                    self.read += data.len();
                    self.keep(&data);
                    return Poll::Ready(Ok(Some(data)));
                }
            }
            if self.rest.is_over() {
                return Poll::Ready(Ok(None));
            }
            // On the stack and not cleared: a session that waits keeps no buffer, and one that reads pays for no zeros.
            let mut chunk = [const { MaybeUninit::uninit() }; READ];
            let mut read = ReadBuf::uninit(&mut chunk);
            ready!(self.poll_read(cx, &mut read))?;
            self.came.extend_from_slice(read.filled());
        }
    }

    /// Keeps what comes behind the request; ready when the client has left.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.came.len() < KEPT_BACK {
            let mut chunk = [const { MaybeUninit::uninit() }; BEHIND];
            let mut read = ReadBuf::uninit(&mut chunk);
            ready!(self.poll_read(cx, &mut read))?;
            self.came.extend_from_slice(read.filled());
        }
        // Read again once the request is done; till then an end is noticed by the writes.
        Poll::Pending
    }

    fn keep(&mut self, data: &Bytes) {
        // Once a part is missing, nothing is kept any more: half a body must not be sent again as a whole one.
        let Replay::Kept(kept) = &mut self.replay else { return };
        // A task that carries no request, as in tests, counts nothing.
        let may = HOLDING.try_with(|holding| holding.keeps_body()).unwrap_or(true);
        if may && kept.len() + data.len() <= KEPT_FOR_REPLAY {
            kept.extend_from_slice(data);
        } else {
            self.replay = Replay::Gone;
        }
    }

    /// Puts an answer's head with what is held.
    fn put_head(&mut self, mut response: Box<ResponseHeader>) {
        let interim = response.status.is_informational();
        // A second final head would be the answer to the next request in the client's eyes.
        // RFC 9110 section 15.2: HTTP/1.0 knows no interim answers.
        if self.answer != Answer::Unsaid || (interim && self.request.version == Version::HTTP_10) {
            return;
        }
        let left = Left::of(&response, &self.request.method);
        // Where a body is not read to its end, nobody could tell where the next request begins.
        let goes_on = self.keeps_alive && !self.activity.is_last() && self.rest.is_over() && left != Left::UntilClosed;
        // What becomes of the connection is decided here alone, and said once below.
        response.remove_header(&CONNECTION);
        self.unflushed = true;
        let held = self.stream().held();
        held.reserve(HEAD);
        // The version is the Edge's own, whatever the upstream or the client speaks (RFC 9110 section 6.2).
        held.extend_from_slice(b"HTTP/1.1 ");
        held.extend_from_slice(response.status.as_str().as_bytes());
        held.push(b' ');
        held.extend_from_slice(response.get_reason_phrase().unwrap_or_default().as_bytes());
        held.extend_from_slice(b"\r\n");
        response.header_to_h1_wire(held);
        if !interim {
            // RFC 9110 section 6.6.1: who passes on an answer without one adds it.
            if !response.headers.contains_key(DATE) {
                held.extend_from_slice(b"Date: ");
                held.extend_from_slice(get_cached_date().as_bytes());
                held.extend_from_slice(b"\r\n");
            }
            // Said in both cases, as 1.0 and 1.1 take silence for opposite things (RFC 9112 section 9.3).
            held.extend_from_slice(match goes_on {
                true => b"Connection: keep-alive\r\n",
                false => b"Connection: close\r\n",
            });
            self.answer = Answer::HeadWritten(left);
            self.goes_on = goes_on;
        }
        self.stream().held().extend_from_slice(b"\r\n");
        if !interim {
            self.response = Some(response);
        }
    }

    /// Puts a part of the answer's body with what is held, or writes both.
    async fn put(&mut self, mut data: Bytes) -> Result<()> {
        let mut tail: &[u8] = b"";
        match &mut self.answer {
            Answer::HeadWritten(Left::Length(left)) => {
                // No more than was announced: a client would read it as the next answer.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
            }
            Answer::HeadWritten(Left::Chunks) if !data.is_empty() => tail = b"\r\n",
            Answer::HeadWritten(_) => {}
            Answer::Unsaid | Answer::Ended | Answer::Written => return Ok(()),
        }
        // An empty chunk would be the last one (RFC 9112 section 7.1).
        if data.is_empty() {
            return Ok(());
        }
        self.unflushed = true;
        let count = data.len();
        let stream = self.stream();
        if !tail.is_empty() {
            // Writing into memory does not fail.
            let _ = write!(stream.held(), "{count:x}\r\n");
        }
        if stream.may_hold(count + tail.len()) {
            stream.held().extend_from_slice(&data);
            stream.held().extend_from_slice(tail);
        } else {
            let limit = self.write_timeout;
            let stream = self.stream();
            within(limit, ErrorType::WriteTimedout, |cx| stream.poll_put(cx, &mut data, &mut tail).map_err(unwritten))
                .await?;
            self.unflushed = false;
        }
        self.sent += count;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if self.unflushed {
            let limit = self.write_timeout;
            let stream = self.stream();
            within(limit, ErrorType::WriteTimedout, |cx| Pin::new(&mut *stream).poll_flush(cx).map_err(unwritten))
                .await?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Ends the answer, and waits until the kernel has it: only then the next request may be read.
    async fn end(&mut self) -> Result<()> {
        match self.answer {
            Answer::HeadWritten(Left::Length(0) | Left::UntilClosed) => self.answer = Answer::Ended,
            Answer::HeadWritten(Left::Length(_)) => {
                // The upstream's failure, not the client's. The connection ends by it, since nothing else tells the
                // client that the answer is not whole (RFC 9112 section 8).
                return Err(Error::explain(ErrorType::ConnectionClosed, "an answer shorter than it says").into_up());
            }
            Answer::HeadWritten(Left::Chunks) => {
                self.unflushed = true;
                self.stream().held().extend_from_slice(b"0\r\n\r\n");
                self.answer = Answer::Ended;
            }
            Answer::Unsaid | Answer::Ended | Answer::Written => {}
        }
        self.flush().await?;
        if self.answer == Answer::Ended {
            self.answer = Answer::Written;
        }
        Ok(())
    }

    /// Passes on parts of an answer; returns whether it is whole.
    async fn pass_on(&mut self, parts: Vec<HttpTask>) -> Result<bool> {
        let mut ended = false;
        let mut interim = false;
        for part in parts {
            ended |= match part {
                HttpTask::Header(response, end) => {
                    interim |= response.status.is_informational();
                    self.put_head(response);
                    end
                }
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    if let Some(data) = data {
                        self.put(data).await?;
                    }
                    end
                }
                // Trailers are dropped: hardly anybody reads them, and some read them as fields.
                // No rule for heads has looked at them, either.
                HttpTask::Trailer(_) | HttpTask::Done => true,
                // What is held leaves when the session is dropped.
                HttpTask::Failed(error) => return Err(error),
            };
        }
        // While a body is read, nobody may look for the client again until there is room for more of it upstream.
        if ended {
            self.end().await?;
        // An interim answer is of use only before the rest: a client that expects 100 sends nothing until it has it.
        } else if interim || !self.rest.is_over() {
            self.flush().await?;
        }
        Ok(ended || matches!(self.answer, Answer::HeadWritten(Left::Length(0)) | Answer::Ended | Answer::Written))
    }
}

fn unwritten(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing to the client", error).into_down()
}

/// Polls until it is ready, for so long at most. No timer is made for what is ready at once, as nearly everything is.
async fn within<T>(
    limit: Option<Duration>,
    too_late: ErrorType,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return poll_fn(poll).await };
    match poll_fn(|cx| Poll::Ready(poll(cx))).await {
        Poll::Ready(done) => done,
        Poll::Pending => match timeout(limit, poll_fn(poll)).await {
            Ok(done) => done,
            Err(_) => Err(Error::explain(too_late, format!("after {limit:?}")).into_down()),
        },
    }
}

impl Drop for H1Session {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let whole = self.answer == Answer::Written;
        // Anything less than a whole answer leaves the client in doubt where the next one begins.
        if whole && self.goes_on {
            stream.end_request();
            return self.activity.hand_back(stream, std::mem::take(&mut self.came));
        }
        self.activity.set_after(if whole { After::Ends } else { After::Broken });
    }
}

#[async_trait]
impl Session for H1Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let limit = self.read_timeout;
        within(limit, ErrorType::ReadTimedout, |cx| self.poll_body(cx)).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        // A connection whose request was not read to its end does not go on.
        Ok(())
    }

    async fn write_response_header(&mut self, response: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.pass_on(vec![HttpTask::Header(response, end)]).await.map(drop)
    }

    async fn write_response_header_ref(&mut self, response: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(response.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.put(data).await?;
        if end { self.end().await } else { Ok(()) }
    }

    async fn write_trailers(&mut self, _: HeaderMap) -> Result<()> {
        Ok(())
    }

    async fn response_duplex_vec(&mut self, parts: Vec<HttpTask>) -> Result<bool> {
        self.pass_on(parts).await
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.read_timeout = limit;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, _: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    fn request_summary(&self) -> String {
        // Without the query, which may hold a token: Pingora makes its log lines of this.
        format!("{} {}", self.request.method, self.request.uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response.as_deref()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        // Pingora asks for this when it gives a request up.
        self.goes_on = false;
    }

    fn is_body_done(&mut self) -> bool {
        self.rest.is_over()
    }

    async fn finish(&mut self) -> Result<()> {
        self.end().await
    }

    /// A body of no bytes is none, however it was framed: sent again, it ends with the head.
    fn is_body_empty(&mut self) -> bool {
        self.rest.is_over() && self.read == 0
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.rest.is_over() {
            poll_fn(|cx| self.poll_behind(cx)).await.map(|()| None)
        } else {
            self.read_body_bytes().await
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.read
    }

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&PingoraAddr> {
        Some(&self.client)
    }

    fn server_addr(&self) -> Option<&PingoraAddr> {
        None
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    /// What comes of a body is kept anyhow, as far as it may be.
    fn enable_retry_buffering(&mut self) {}

    fn retry_buffer_truncated(&self) -> bool {
        matches!(self.replay, Replay::Gone)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.replay {
            Replay::Kept(kept) if !kept.is_empty() => Some(kept.clone().freeze()),
            _ => None,
        }
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
