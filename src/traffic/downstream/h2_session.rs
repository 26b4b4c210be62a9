//! One request over h2 as Pingora carries it, on the h2 library's own stream.
//!
//! Pingora's session of its own keeps that stream to itself: it drops interim answers, writes its own `Date` over an
//! upstream's, and waits for an upload without end. This one differs in these, and in nothing else that a client sees.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::time::timeout;

use super::stall::Stall;
use crate::traffic::budget::{HOLDING, KEPT_FOR_REPLAY};
use crate::traffic::http::answer;

/// Fields by which an answer is framed for HTTP/1, ours too, and which none may have over h2 (RFC 9113 section 8.2.2).
const OF_HTTP1: [http::HeaderName; 3] = [TRANSFER_ENCODING, CONNECTION, UPGRADE];

/// A stream. Dropped before its end it is reset, so that no client takes half an answer for a whole one.
pub struct H2Session {
    head: RequestHeader,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    /// The answer's body, once its head is written.
    answer: Option<SendStream<Bytes>>,
    /// That head, without its fields: nobody asks for more than the status.
    written: Option<ResponseHeader>,
    /// END_STREAM was sent: what comes behind it is dropped.
    ended: bool,
    received: usize,
    sent: usize,
    kept: Option<FixedBuffer>,
    connection: Arc<Digest>,
    reading: Stall,
    writing: Stall,
    drain_limit: Option<Duration>,
}

impl H2Session {
    /// Of a stream whose head is read, on a connection that looks like `connection`.
    pub fn new(head: Parts, body: RecvStream, respond: SendResponse<Bytes>, connection: Arc<Digest>) -> Self {
        Self {
            head: head.into(),
            body,
            respond,
            answer: None,
            written: None,
            ended: false,
            received: 0,
            sent: 0,
            kept: None,
            connection,
            reading: Stall::default(),
            writing: Stall::default(),
            drain_limit: None,
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        // What is there is looked at before the clock: a part that has come came in time, however late it is asked for.
        let Poll::Ready(part) = self.body.poll_data(cx) else {
            ready!(self.reading.poll_over(cx));
            return Poll::Ready(Error::e_explain(ErrorType::ReadTimedout, "the request's body stopped coming"));
        };
        self.reading.moved();
        let Some(part) = part.transpose().or_err(ErrorType::ReadError, "reading the request's body")? else {
            return Poll::Ready(Ok(None));
        };
        self.received += part.len();
        // Nothing is kept of a body that will not be sent again: it would only hold memory.
        let keeps = HOLDING.try_with(|holding| holding.keeps_body()).unwrap_or(true);
        if let (true, Some(kept)) = (keeps, &mut self.kept) {
            kept.write_to_buffer(&part);
        }
        // Refused of a stream that is no more alone, of which nothing more is read.
        let _ = self.body.flow_control().release_capacity(part.len());
        Poll::Ready(Ok(Some(part)))
    }

    /// Ready once the client has given the stream up, or the connection has ended.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        let reset = match &mut self.answer {
            Some(answer) => answer.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        Poll::Ready(match ready!(reset) {
            Ok(_) => Error::explain(ErrorType::H2Error, "the client gave the request up"),
            Err(error) => Error::because(ErrorType::H2Error, "waiting behind a request", error),
        })
    }

    async fn write_head(&mut self, mut head: ResponseHeader, end: bool) -> Result<()> {
        // No head follows the final one, interim or not (RFC 9113 section 8.1).
        if self.ended || self.written.is_some() {
            return Ok(());
        }
        for name in &OF_HTTP1 {
            head.remove_header(name);
        }
        if head.status.is_informational() {
            return self.write_interim(head).await;
        }
        answer::date(&mut head);
        let written = ResponseHeader::build_no_case(head.status, None)?;
        let answer = self.respond.send_response(Response::from_parts(head.into(), ()), end);
        self.answer = Some(answer.or_err(ErrorType::WriteError, "writing the answer's head")?);
        self.written = Some(written);
        self.ended = end;
        Ok(())
    }

    /// RFC 9113 section 8.1: any number of heads before the final one. `http` bounds how many.
    async fn write_interim(&mut self, mut head: ResponseHeader) -> Result<()> {
        // It would be the end of HTTP, which h2 knows not.
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        // RFC 9110 section 8.6: an interim answer has none.
        head.remove_header(&CONTENT_LENGTH);
        // The library does not look whether anybody is there to take it.
        if let Poll::Ready(gone) = poll_fn(|cx| Poll::Ready(self.poll_given_up(cx))).await {
            return Err(gone);
        }
        let interim = self.respond.send_informational(Response::from_parts(head.into(), ()));
        interim.or_err(ErrorType::WriteError, "writing an interim answer")
    }

    async fn write_part(&mut self, mut part: Bytes, end: bool) -> Result<()> {
        if self.ended || (part.is_empty() && !end) {
            return Ok(());
        }
        let size = part.len();
        self.writing.moved();
        poll_fn(|cx| self.poll_write(cx, &mut part, end)).await?;
        self.sent += size;
        self.ended = end;
        Ok(())
    }

    /// Hands over as much as the client's windows and the connection's bound of what waits for them allow.
    fn poll_write(&mut self, cx: &mut Context<'_>, part: &mut Bytes, end: bool) -> Poll<Result<()>> {
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(Error::e_explain(ErrorType::H2Error, "a body before its head"));
        };
        loop {
            let mut now = part.len();
            if now > 0 {
                answer.reserve_capacity(now);
                match answer.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(room))) => now = now.min(room),
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Error::because(ErrorType::WriteError, "writing the answer", error)));
                    }
                    Poll::Ready(None) => {
                        return Poll::Ready(Error::e_explain(ErrorType::WriteError, "the client gave the answer up"));
                    }
                    Poll::Pending => {
                        ready!(self.writing.poll_over(cx));
                        return Poll::Ready(Error::e_explain(
                            ErrorType::WriteTimedout,
                            "the client takes nothing of the answer",
                        ));
                    }
                }
            }
            let next = part.split_to(now);
            answer.send_data(next, end && part.is_empty()).or_err(ErrorType::WriteError, "writing the answer")?;
            if part.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn end_with(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Some(answer) = &mut self.answer else {
            return Error::e_explain(ErrorType::H2Error, "trailers before a head");
        };
        answer.send_trailers(trailers).or_err(ErrorType::WriteError, "writing the answer's trailers")?;
        self.ended = true;
        Ok(())
    }

    /// Ends the answer, if there is one: a stream that is dropped before is reset, and its client knows.
    fn end(&mut self) -> Result<()> {
        let Some(answer) = self.answer.as_mut().filter(|_| !self.ended) else { return Ok(()) };
        answer.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending the answer")?;
        self.ended = true;
        Ok(())
    }

    /// Writes one thing that came from the upstream; returns whether it was the last.
    async fn write(&mut self, task: HttpTask) -> Result<bool> {
        match task {
            HttpTask::Header(head, end) => self.write_head(*head, end).await.map(|()| end),
            HttpTask::Body(part, end) => {
                // Its end is written with the last of them, or by itself behind it.
                if let Some(part) = part.filter(|part| !part.is_empty()) {
                    self.write_part(part, end).await?;
                }
                Ok(end)
            }
            HttpTask::UpgradedBody(..) => Error::e_explain(ErrorType::InternalError, "h2 knows no upgrades"),
            HttpTask::Trailer(Some(trailers)) => self.end_with(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::Failed(error) => Err(error),
        }
    }

    async fn read_all(&mut self) -> Result<()> {
        while poll_fn(|cx| self.poll_body(cx)).await?.is_some() {}
        Ok(())
    }

    fn has_no_body(&self) -> bool {
        let announced = self.head.headers.get(CONTENT_LENGTH);
        self.received == 0 && (self.body.is_end_stream() || announced.is_some_and(|length| length.as_bytes() == b"0"))
    }
}

#[async_trait]
impl Session for H2Session {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_body(cx)).await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.is_body_done() {
            return Err(poll_fn(|cx| self.poll_given_up(cx)).await);
        }
        poll_fn(|cx| self.poll_body(cx)).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if self.is_body_done() {
            return Ok(());
        }
        let Some(limit) = self.drain_limit else { return self.read_all().await };
        match timeout(limit, self.read_all()).await {
            Ok(read) => read,
            Err(_) => Error::e_explain(ErrorType::ReadTimedout, "reading the rest of a body"),
        }
    }

    fn is_body_done(&mut self) -> bool {
        self.has_no_body() || self.body.is_end_stream()
    }

    fn is_body_empty(&mut self) -> bool {
        self.has_no_body()
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(*head, end).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(head.clone(), end).await
    }

    async fn write_body(&mut self, part: Bytes, end: bool) -> Result<()> {
        self.write_part(part, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.end_with(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut end = false;
        for task in tasks {
            end |= self.write(task).await.map_err(|error| match error.esource() {
                // By whose fault an answer fails decides whose it is in the metrics, and whether a backend is
                // suspected.
                // Said by whoever read the answer.
                pingora::ErrorSource::Upstream => error,
                _ => error.into_down(),
            })?;
        }
        if end {
            self.end().map_err(|error| error.into_down())?;
        }
        Ok(end)
    }

    async fn finish(&mut self) -> Result<()> {
        self.end()
    }

    async fn shutdown(&mut self, code: u32, _: &str) {
        if !self.ended {
            // A reset, not an end: the client must not take half an answer for a whole one.
            self.respond.send_reset(Reason::from(code));
        }
    }

    async fn abandon(&mut self, context: &str) {
        self.shutdown(Reason::INTERNAL_ERROR.into(), context).await;
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_ref()
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.received
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.reading.set_limit(limit);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.reading.limit()
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.writing.set_limit(limit);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.writing.limit()
    }

    fn set_total_drain_timeout(&mut self, limit: Option<Duration>) {
        self.drain_limit = limit;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_limit
    }

    fn request_summary(&self) -> String {
        // Without the query, which may hold a token: Pingora makes its log lines of this.
        format!("{} {}", self.head.method, self.head.uri.path())
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.connection)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.connection)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.connection.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.connection.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.head).map(bytes::BytesMut::freeze).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.kept.get_or_insert_with(|| FixedBuffer::new(KEPT_FOR_REPLAY));
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.kept.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        // The beginning of a body must not be sent again as all of it.
        self.kept.as_ref().filter(|kept| !kept.is_truncated())?.get_buffer()
    }

    /// Messages of a protocol's own: h2 has none.
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

#[cfg(test)]
mod tests {
    use h2::client::ResponseFuture;
    use http::Method;
    use tokio::io::duplex;
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A client's side of a request, and the session that it is to us.
    async fn posted() -> (h2::SendStream<Bytes>, ResponseFuture, H2Session) {
        let (near, far) = duplex(64 * 1024);
        let (client, server) = tokio::join!(h2::client::handshake(near), h2::server::handshake(far));
        let ((mut client, connection), mut server) = (client.unwrap(), server.unwrap());
        tokio::spawn(connection);
        let request = http::Request::builder()
            .method(Method::POST)
            .uri("https://edge.example.org/?token=a.b.c")
            .body(())
            .unwrap();
        let (answer, body) = client.send_request(request, false).unwrap();
        let (request, respond) = server.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let (head, request) = request.into_parts();
        let mut session = H2Session::new(head, request, respond, Arc::default());
        session.set_read_timeout(Some(LIMIT));
        session.set_write_timeout(Some(LIMIT));
        // The client ends with the last of these.
        tokio::spawn(async move {
            sleep(LIMIT * 1000).await;
            drop(client);
        });
        (body, answer, session)
    }

    #[tokio::test(start_paused = true)]
    async fn e8_what_libraries_may_log_of_a_request_has_no_token() {
        let (_body, _answer, session) = posted().await;
        assert_eq!(session.request_summary(), "POST /");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_goes_on_is_waited_for_and_one_that_stops_is_not() {
        let (mut client, _answer, mut session) = posted().await;
        tokio::spawn(async move {
            for _ in 0..10 {
                sleep(LIMIT - Duration::from_secs(1)).await;
                client.send_data(Bytes::from_static(b"part"), false).unwrap();
            }
            sleep(LIMIT * 100).await;
        });
        for _ in 0..10 {
            assert_eq!(session.read_body_or_idle(false).await.unwrap().unwrap(), "part");
        }
        let began = Instant::now();
        let error = session.read_body_or_idle(false).await.unwrap_err();
        assert_eq!((error.etype(), began.elapsed()), (&ErrorType::ReadTimedout, LIMIT));
        assert_eq!(session.body_bytes_read(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_not_waited_for() {
        let (_body, answer, mut session) = posted().await;
        let head = Box::new(ResponseHeader::build(200, None).unwrap());
        session.write_response_header(head, false).await.unwrap();
        let _unread = answer.await.unwrap();
        let began = Instant::now();
        let error = loop {
            if let Err(error) = session.write_body(Bytes::from_static(&[7; 16 * 1024]), false).await {
                break error;
            }
            assert!(session.body_bytes_sent() < 1 << 20, "a megabyte is held for it");
        };
        assert_eq!((error.etype(), began.elapsed()), (&ErrorType::WriteTimedout, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_follows_the_end_and_no_head_another() {
        let (_body, answer, mut session) = posted().await;
        let head = |status: u16| Box::new(ResponseHeader::build(status, None).unwrap());
        let tasks = |status, end| vec![HttpTask::Header(head(status), end)];
        for status in [103, 101, 100] {
            assert!(!session.response_duplex_vec(tasks(status, false)).await.unwrap());
            assert!(session.response_written().is_none(), "{status}");
        }
        assert!(!session.response_duplex_vec(tasks(200, false)).await.unwrap());
        for status in [103, 500] {
            session.write_response_header(head(status), false).await.unwrap();
        }
        let last = vec![HttpTask::Body(Some("ok".into()), false), HttpTask::Trailer(None), HttpTask::Done];
        assert!(session.response_duplex_vec(last).await.unwrap());
        session.write_body("more".into(), true).await.unwrap();
        session.write_trailers(HeaderMap::new()).await.unwrap();
        session.finish().await.unwrap();
        assert_eq!(session.response_written().unwrap().status, 200);
        let mut answer = answer.await.unwrap();
        assert_eq!((answer.status(), answer.headers().len()), (StatusCode::OK, 1), "{:?}", answer.headers());
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "ok");
        // The end comes by itself, in a part of nothing.
        while let Some(part) = answer.body_mut().data().await {
            assert!(part.unwrap().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_given_up_is_never_passed_off_as_whole() {
        for abandons in [true, false] {
            let (_body, answer, mut session) = posted().await;
            let head = Box::new(ResponseHeader::build(200, None).unwrap());
            session.write_response_header(head, false).await.unwrap();
            session.write_body("half".into(), false).await.unwrap();
            let mut answer = answer.await.unwrap();
            assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "half");
            if abandons {
                session.abandon("").await;
            }
            drop(session);
            assert!(answer.body_mut().data().await.unwrap().unwrap_err().is_reset());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_gives_up_is_noticed_whatever_was_sent_before() {
        for answered in [false, true] {
            let (mut body, _answer, mut session) = posted().await;
            if answered {
                let head = Box::new(ResponseHeader::build(200, None).unwrap());
                session.write_response_header(head, false).await.unwrap();
            }
            body.send_reset(Reason::CANCEL);
            let error = session.read_body_or_idle(true).await.unwrap_err();
            assert_eq!(error.etype(), &ErrorType::H2Error);
            let interim = Box::new(ResponseHeader::build(103, None).unwrap());
            assert_eq!(session.write_response_header(interim, false).await.is_ok(), answered);
        }
    }
}
