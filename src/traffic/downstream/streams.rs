//! The streams of one h2 connection: each is carried in a task of its own, and the client may send more ahead of what is
//! read the further its uploads have gone on.
//!
//! This is Pingora's own loop (`accept_downstream_sessions`) but for the sessions it hands over and for the windows: it leaves
//! them at the 64 KiB that RFC 9113 begins with, which is all that an upload moves in a round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::{Digest, GetSocketDigest, Ssl};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::{Notify, watch};

use super::activity::{Activity, After};
use super::client::ClientStream;
use super::connection::carried;
use super::h2_head::{self, Malformed};
use super::h2_session::H2Session;
use crate::traffic::http::Proxy;
use crate::traffic::upstream::dial::Dialing;

/// What a client may send ahead from the beginning (RFC 9113 section 6.9.2), on all streams together and on each.
pub const FIRST_WINDOW: u32 = 65_535;
/// What it may in the end: 140 Mbit/s at a round trip of 120 ms.
const WIDEST_WINDOW: u32 = 2 << 20;
/// How much wider a window becomes when one window's worth has gone on to upstreams.
const WIDER: u32 = 8;
/// Malformed requests of one connection: more are abuse. Pingora's own figure.
const MOST_MALFORMED: usize = 32;
/// A client that does not acknowledge the first GOAWAY gets the last one so long behind its last answer: less than a
/// connection has that is given up at the end of a drain.
const UNACKNOWLEDGED: Duration = Duration::from_millis(300);

/// Carries the requests of one h2 connection.
pub struct Streams {
    /// What a connection may use up.
    pub options: h2::server::Builder,
    /// Pingora's proxy around our logic.
    pub proxy: Arc<HttpProxy<Proxy, Dialing>>,
    /// The connection, as its requests and the drain see it.
    pub activity: Arc<Activity>,
    /// Ends a late connection behind its first answer.
    pub answered: watch::Sender<bool>,
    /// How long it may be without a stream.
    pub idle: Duration,
}

/// How many streams are carried, to know when there is none.
#[derive(Default)]
struct Carried {
    count: AtomicUsize,
    none: Notify,
}

/// One of them, until dropped.
struct One(Arc<Carried>);

impl Drop for One {
    fn drop(&mut self) {
        // `notify_one` leaves a permit where nobody waits yet, so that an end between a look at the count and the wait
        // is not lost.
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_one();
        }
    }
}

impl Carried {
    fn begin(self: &Arc<Self>) -> One {
        self.count.fetch_add(1, Ordering::AcqRel);
        One(self.clone())
    }

    /// Waits until there has been none for so long.
    async fn idle_for(&self, idle: Duration) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.none.notified().await;
        }
        // A stream that begins meanwhile has `accept` ready first, and the whole wait begins anew.
        tokio::time::sleep(idle).await;
    }
}

impl Streams {
    /// Serves the connection to its end.
    pub async fn serve(self: Arc<Self>, stream: Box<ClientStream>, mut shutdown: ShutdownWatch) {
        let (ssl_digest, socket_digest) = (stream.get_ssl_digest(), stream.get_socket_digest());
        let digest = Arc::new(Digest { ssl_digest, socket_digest, ..Digest::default() });
        // An error here and below is a client that left, or broke the protocol and was told so.
        let Ok(mut connection) = self.options.handshake::<_, Bytes>(stream).await else { return };
        let carried = Arc::new(Carried::default());
        let account = self.activity.account().clone();
        let (mut window, mut widen_at) = (FIRST_WINDOW, FIRST_WINDOW as usize);
        let (mut told, mut closing, mut malformed) = (false, false, 0);
        loop {
            let next = tokio::select! {
                biased;
                // First of all: a busy connection must not put off the word that it may ask no more.
                _ = shutdown.changed(), if !told => {
                    connection.graceful_shutdown();
                    told = true;
                    continue;
                }
                () = account.bodies_went_on(widen_at), if window < WIDEST_WINDOW => {
                    let wider = WIDEST_WINDOW.min(window * WIDER);
                    // Refused while the client has not acknowledged the last one.
                    // Only what there is memory for, as a client may send all that it was allowed at once.
                    if account.open_window(wider as usize) && connection.set_initial_window_size(wider).is_ok() {
                        // The connection's own window as well: it bounds all streams together, and one upload alone
                        // would stop at it.
                        connection.set_target_window_size(wider);
                        window = wider;
                    }
                    widen_at = account.went_on() + window as usize;
                    continue;
                }
                next = connection.accept() => next,
                () = carried.idle_for(if told { UNACKNOWLEDGED } else { self.idle }), if !closing => {
                    // Names the last stream that was taken: what the client sends meanwhile it may send again elsewhere.
                    connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                    self.activity.set_after(After::Ends);
                    (told, closing) = (true, true);
                    continue;
                }
            };
            let Some(Ok((request, respond))) = next else { return };
            let (mut head, body) = request.into_parts();
            if !h2_head::is_well_formed(&head) {
                // Answered with a page, not reset: so it has a line and a count like any other refusal.
                head.extensions.insert(Malformed);
                malformed += 1;
            }
            let session = Box::new(H2Session::new(head, body, respond, digest.clone()));
            let (streams, one, shutdown) = (self.clone(), carried.begin(), shutdown.clone());
            // Each in a task of its own: a request that is parked or slow holds up none of its neighbours.
            tokio::spawn(async move {
                streams.carry(session, &shutdown).await;
                drop(one);
            });
            if malformed >= MOST_MALFORMED {
                return;
            }
        }
    }

    async fn carry(&self, session: Box<H2Session>, shutdown: &ShutdownWatch) {
        let carrying = self.proxy.process_new_http(ServerSession::new_custom(session), shutdown);
        let carrying = carried(&self.activity, carrying);
        tokio::select! {
            biased;
            _ = carrying => {}
            // Dropping it resets its stream; the connection's last GOAWAY follows when all are gone.
            () = self.activity.streams_given_up() => {}
        }
        self.answered.send_replace(true);
    }
}
