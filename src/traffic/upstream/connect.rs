//! Opens a connection to a backend: TCP, then TLS, under one time limit, given up at once on a demotion.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use failover::Side;
use pingora::{Error as PingoraError, ErrorType};
use probe::Transport;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use super::connections::{Connections, Half, Registered};
use super::stream::UpstreamStream;
use crate::live::Live;

/// A backend that vanished is noticed after twenty seconds, however idle a WebSocket to it is and whether or not its side
/// is probed: two probes without an answer.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 2);
/// What a backend has not acknowledged for so long, or has had no room for, ends its connection: what the browser of a
/// silent CTI socket waits at most, and less than `write_stall` by default, so that a host that is gone is told from one
/// that is slow. Where this is set, keepalive ends by it and not by its count, so the two agree.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a connection did not open. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there: the host answers and refuses.
    #[error("{0} refused the connection")]
    Refused(SocketAddr),
    /// Closed while being set up.
    #[error("{0} reset the connection")]
    Reset(SocketAddr),
    /// No answer in time, to TCP or TLS.
    #[error("{0} did not answer within {1:?}")]
    TimedOut(SocketAddr, Duration),
    /// No way there: a router, or our own kernel, says so.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// The TLS handshake failed.
    #[error("TLS with {0} failed: {1}")]
    Tls(SocketAddr, String),
    /// Our own trouble: no descriptors, no ports.
    #[error("no socket for {0}: {1}")]
    Local(SocketAddr, #[source] io::Error),
    /// The backend's side is not live any more.
    #[error("{0} was demoted")]
    Demoted(SocketAddr),
}

impl ConnectError {
    /// The same in Pingora's words.
    pub fn into_pingora(self) -> Box<PingoraError> {
        let kind = match self {
            Self::Refused(_) => ErrorType::ConnectRefused,
            Self::TimedOut(..) => ErrorType::ConnectTimedout,
            Self::Unreachable(..) => ErrorType::ConnectNoRoute,
            Self::Tls(..) => ErrorType::TLSHandshakeFailure,
            Self::Local(..) => ErrorType::SocketError,
            Self::Reset(_) => ErrorType::ConnectionClosed,
            Self::Demoted(_) => ErrorType::Custom(DEMOTED),
        };
        PingoraError::because(kind, "upstream", self).into_up()
    }
}

/// Opens connections to one backend.
#[derive(Debug)]
pub struct Connector {
    /// Where it listens.
    pub address: SocketAddr,
    /// Client configuration and the name its certificate must bear.
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// Its side; none for a shared service.
    pub side: Option<Side>,
    /// Register of the side's connections.
    pub connections: Arc<Connections>,
    /// Checked after registering: a connection never opens to a side that is not live.
    pub live: Arc<Live>,
    /// For TCP and TLS together.
    pub limit: Duration,
    /// What TLS last failed with.
    pub trouble: Trouble,
}

impl Connector {
    /// Opens one connection, TLS included, with our own verification.
    ///
    /// # Errors
    /// How far it came, and what was in the way.
    pub async fn open(&self) -> Result<UpstreamStream, ConnectError> {
        let registered = self.register()?;
        let opened = self.within_limit(&registered, self.transport()).await;
        if self.tls.is_some() {
            self.trouble.note(self.address, opened.as_ref().err());
        }
        Ok(UpstreamStream::new(opened?, registered))
    }

    fn register(&self) -> Result<Registered, ConnectError> {
        let registered = self.connections.register();
        // Registered first, looked second: a demotion in between cuts us.
        if self.side.is_some_and(|side| side != self.live.view().side) {
            return Err(ConnectError::Demoted(self.address));
        }
        Ok(registered)
    }

    async fn within_limit<T>(
        &self,
        registered: &Registered,
        opening: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        // Cut even before it is open: a demotion does not wait for a handshake with a dead side.
        let mut opening = pin!(opening);
        let unless_cut = poll_fn(|cx| {
            if registered.cut().poll(Half::Read, cx) {
                return Poll::Ready(Err(ConnectError::Demoted(self.address)));
            }
            opening.as_mut().poll(cx)
        });
        tokio::time::timeout(self.limit, unless_cut)
            .await
            .unwrap_or(Err(ConnectError::TimedOut(self.address, self.limit)))
    }

    async fn tcp(&self) -> Result<TcpStream, ConnectError> {
        let stream = TcpStream::connect(self.address).await.map_err(|e| self.classify(e))?;
        // A request's head and body are written as they come: Nagle's algorithm would hold the last part of each.
        stream.set_nodelay(true).map_err(|e| ConnectError::Local(self.address, e))?;
        Ok(stream)
    }

    async fn transport(&self) -> Result<Transport, ConnectError> {
        let stream = self.tcp().await?;
        watch(&stream);
        let Some((config, name)) = &self.tls else { return Ok(Either::Left(stream)) };
        let tls = TlsConnector::from(config.clone());
        match tls.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Either::Right(Box::new(stream))),
            // A backend that dies in the middle of a handshake has not failed at TLS: the sign, and the alarm, would be
            // another.
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
                Err(ConnectError::Reset(self.address))
            }
            Err(e) => Err(ConnectError::Tls(self.address, probe::tls::in_words(&e))),
        }
    }

    fn classify(&self, error: io::Error) -> ConnectError {
        use io::ErrorKind::*;
        match error.kind() {
            ConnectionRefused => ConnectError::Refused(self.address),
            ConnectionReset | ConnectionAborted => ConnectError::Reset(self.address),
            TimedOut => ConnectError::TimedOut(self.address, self.limit),
            // Said by a router or by our own kernel; a host that refuses has been reached.
            HostUnreachable | NetworkUnreachable | NetworkDown => ConnectError::Unreachable(self.address, error),
            _ => ConnectError::Local(self.address, error),
        }
    }
}

/// Lets the kernel notice that the other host is gone. A WebSocket has no time limit of its own, as a request has.
fn watch(stream: &TcpStream) {
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    let socket = SockRef::from(stream);
    // Comforts: a connection without them still works.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
}

/// What TLS with a backend fails with, said in the log once and not for each request.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Looked at by each connection that opens; the lock is taken only while there is trouble.
    any: AtomicBool,
    said: Mutex<Option<LoggedFailure>>,
}

/// What a backend's TLS failed with.
#[derive(Debug)]
struct LoggedFailure {
    sentence: String,
    /// When the log had it last.
    at: Instant,
    /// Since when nothing but failures came.
    began: SystemTime,
    failed: Instant,
}

/// The same trouble is said again after so long; reasons that alternate are said no faster. Where nobody asked for anything
/// for so long, nothing is known any more.
const SAID_AGAIN: Duration = Duration::from_secs(600);
/// Another reason is news, but a backend may have a new one for each connection.
const NEWS: Duration = Duration::from_secs(10);

impl Trouble {
    /// Notes how opening a connection ended. Only what TLS says counts: probes tell of all else.
    fn note(&self, address: SocketAddr, error: Option<&ConnectError>) {
        match error {
            None if self.any.load(Ordering::Acquire) && self.any.swap(false, Ordering::AcqRel) => {
                tracing::info!("TLS with {address} works again");
            }
            // Said, and no verdict: where a service works by its checks, everybody would get the waiting page for what
            // one route needs.
            Some(error @ ConnectError::Tls(..)) => {
                let sentence = error.to_string();
                if self.is_news(&sentence, Instant::now()) {
                    tracing::warn!("requests cannot be carried: {sentence}");
                }
            }
            _ => {}
        }
    }

    fn is_news(&self, sentence: &str, now: Instant) -> bool {
        let began = !self.any.swap(true, Ordering::AcqRel);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(said) = said.as_mut() else {
            let (sentence, began) = (sentence.to_owned(), SystemTime::now());
            *said = Some(LoggedFailure { sentence, at: now, began, failed: now });
            return true;
        };
        // Trouble that begins again is news even with the same words; a backend that fails every other time says so no
        // faster.
        let silence = if said.sentence == sentence && !began { SAID_AGAIN } else { NEWS };
        let news = now.saturating_duration_since(said.at) >= silence;
        if began {
            said.began = SystemTime::now();
        }
        if news {
            (said.sentence, said.at) = (sentence.to_owned(), now);
        }
        said.failed = now;
        news
    }

    /// What it fails with, and since when, if it failed not long ago and has not worked since.
    pub fn standing(&self, now: Instant) -> Option<(String, SystemTime)> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |said: &&LoggedFailure| now.saturating_duration_since(said.failed) < SAID_AGAIN;
        said.as_ref().filter(recent).map(|said| (said.sentence.clone(), said.began))
    }
}

/// Error type of a connection given up because its side was demoted.
pub const DEMOTED: &str = "demoted";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_once_and_again_only_when_it_is_news() {
        let (trouble, began) = (Trouble::default(), Instant::now());
        let table = [
            (0, "expired", true),
            (1, "expired", false),
            (2, "another name", false),
            (NEWS.as_secs(), "another name", true),
            (NEWS.as_secs() * 2, "another name", false),
            (NEWS.as_secs() + SAID_AGAIN.as_secs(), "another name", true),
        ];
        for (after, sentence, said) in table {
            assert_eq!(trouble.is_news(sentence, began + Duration::from_secs(after)), said, "{after}: {sentence}");
        }
    }

    #[test]
    fn trouble_stands_until_a_connection_opens_or_nobody_has_tried_for_long() {
        let (trouble, began) = (Trouble::default(), Instant::now());
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        assert_eq!(trouble.standing(began), None);
        trouble.note(address, Some(&ConnectError::Refused(address)));
        assert_eq!(trouble.standing(began), None, "probes tell of it");
        assert!(trouble.is_news("expired", began));
        trouble.is_news("expired", began + SAID_AGAIN / 2);
        assert_eq!(trouble.standing(began + SAID_AGAIN).unwrap().0, "expired");
        assert_eq!(trouble.standing(began + SAID_AGAIN * 2), None);
        trouble.note(address, None);
        assert_eq!(trouble.standing(began + SAID_AGAIN), None);
    }

    #[tokio::test]
    async fn a_backend_that_vanishes_is_given_up_after_twenty_seconds_idle_or_not() {
        let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(backend.local_addr().unwrap()).await.unwrap();
        watch(&stream);
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        let (time, interval, retries) = KEEPALIVE;
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), time);
        assert_eq!(time + interval * retries, USER_TIMEOUT);
    }
}
