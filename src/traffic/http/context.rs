//! What is known about one request while it is carried.

use std::sync::Arc;
use std::time::Duration;

use daemon::Time;
use tokio::time::Instant;

use super::forward::ForwardedHeaders;
use crate::config::Route;
use crate::live::View;
use crate::site::maintenance::retry_after;
use crate::telemetry::logging::RequestId;
use crate::traffic::budget::{HOLDING, Holding};
use crate::traffic::downstream::activity::{self, Activity, CURRENT};
use crate::traffic::edge::Site;
use crate::traffic::route::Refusal;
use crate::traffic::upstream::traffic::Awaiting;
use crate::traffic::upstream::{BackendIndex, Upstream};

/// What becomes known of one request, from its head to its line in the log.
pub struct Context {
    /// The connection it came on, where Pingora carries it.
    pub client: Option<Arc<Activity>>,
    /// What it holds, where Pingora carries it.
    pub holding: Option<Arc<Holding>>,
    /// When its head was read.
    pub began: Instant,
    /// Its number in each log it passes, and in the answer.
    pub id: RequestId,
    /// The site it is carried by: one configuration from beginning to end.
    pub site: Arc<Site>,
    /// Its route, once known.
    pub route: Option<Arc<Route>>,
    /// Its route's position in the configuration.
    pub route_index: Option<usize>,
    /// What upstreams are told about it.
    pub forwarded: Option<ForwardedHeaders>,
    /// The request waits for its answer, which its upstream owes.
    pub awaiting: Option<Awaiting>,
    /// The request waits for its answer, having come whole.
    pub whole: Option<activity::Awaiting>,
    /// Path and query to send when they are not as they came.
    pub target: Option<String>,
    /// The request's head went to an upstream in this attempt.
    pub sent: bool,
    /// The view it was last sent under.
    pub view: Option<View>,
    /// The backend it was last sent to.
    pub upstream: Option<Arc<Upstream>>,
    /// Backends that failed it since the view last changed.
    pub tried: Vec<BackendIndex>,
    /// Attempts since the view last changed.
    pub attempts_here: usize,
    /// Attempts that may have reached an upstream and were repeated (E5).
    pub replays: u32,
    /// When it stops waiting for a decision; set by the first wait.
    pub park_until: Option<Instant>,
    /// Interim answers (1xx) of this attempt.
    pub interim: usize,
    /// Bytes of their fields: a client that does not read has all of them waiting for it.
    pub interim_size: usize,
    /// For how long it has waited, the present wait left out.
    pub waited: Duration,
    /// For how long it waited for its time in its zone.
    pub delayed: Duration,
    /// When its client may come again, in seconds, if its zone refused it.
    pub retry_after: u64,
    /// Since when it waits for a decision.
    pub parked_since: Option<Instant>,
    /// Time to get a connection, last attempt.
    pub connected_after: Option<Duration>,
    /// Whether that connection was a pooled one.
    pub pooled: bool,
    /// Time from the last attempt's start to the response head.
    pub answered_after: Option<Duration>,
    /// When the last attempt began.
    pub attempt_began: Instant,
    /// The whole request was handed over in this attempt.
    pub body_ended: bool,
    /// Bytes of the request body so far.
    pub body: u64,
    /// Why it ended the way it did.
    pub ending: Ending,
}

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Answered by an upstream, or not ended yet.
    Served,
    /// The router does not carry it.
    Refused(Refusal),
    /// The request cannot be carried as it is: its framing is broken, or its `Connection` names what it must not.
    Malformed,
    /// The request has more header fields than a head may have.
    HeadTooLarge,
    /// The request's body is larger than the route allows.
    BodyTooLarge,
    /// The client took too long to send its body.
    ClientSlow,
    /// Neither side works: the waiting page.
    Waiting,
    /// The Edge goes away: the waiting page.
    Draining,
    /// No decision came while it was parked.
    ParkedTooLong,
    /// Too many requests were parked.
    ParkingFull,
    /// Requests under way hold as much memory as they may, or its client's do.
    NoMemory,
    /// Its client is over the rate of its zone.
    OverRate,
    /// The upstream broke off and the request must not be sent twice.
    Lost,
    /// What the upstream answered is not HTTP as everybody reads it.
    BadAnswer,
    /// The upstream broke off in the middle of the answer.
    Truncated,
    /// The upstream did not answer in time.
    TimedOut,
    /// The client left before it had an answer.
    ClientGone,
    /// A fault of our own.
    Internal,
}

impl Context {
    /// Notes why the router does not carry it. Of a route in maintenance its route is known all the same: the log and the
    /// counters name it, and the answer has its headers.
    pub fn refuse(&mut self, refusal: Refusal) -> Ending {
        if let Refusal::Maintenance { route, .. } = refusal {
            self.route = self.site.router.routes().get(route).cloned();
            self.route_index = Some(route);
        }
        Ending::Refused(refusal)
    }

    /// What its client is told to wait, in seconds, if it is to come again.
    pub fn retry_after(&self) -> Option<u64> {
        match self.ending {
            Ending::OverRate => Some(self.retry_after),
            Ending::Refused(Refusal::Maintenance { until, .. }) => Some(retry_after(until, Time::now())),
            _ => None,
        }
    }

    /// The request came whole: from here on it is not its client that is waited for.
    pub fn note_whole(&mut self) {
        self.whole = self.client.as_ref().map(Activity::await_answer);
    }

    /// Over HTTP/1, its answer is the last one on its connection.
    pub fn take_no_more(&self) {
        if let Some(client) = &self.client {
            client.set_last();
        }
    }

    /// The request goes on after a wait, which is added to the waits before it.
    pub fn unpark(&mut self) {
        self.waited = self.parked();
        self.parked_since = None;
    }

    /// For how long it waited in all: a client may leave in the middle of a wait.
    pub fn parked(&self) -> Duration {
        self.waited + self.parked_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Nothing is waited for on its connection any more.
    pub fn is_given_up(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.is_given_up())
    }

    /// A request read just now.
    pub fn new(site: Arc<Site>) -> Self {
        let now = Instant::now();
        Self {
            // Upgrades are carried outside of these, and have neither.
            client: CURRENT.try_with(Arc::clone).ok(),
            holding: HOLDING.try_with(Arc::clone).ok(),
            began: now,
            id: RequestId::random(),
            site,
            route: None,
            route_index: None,
            forwarded: None,
            awaiting: None,
            whole: None,
            target: None,
            sent: false,
            view: None,
            upstream: None,
            tried: Vec::new(),
            attempts_here: 0,
            replays: 0,
            park_until: None,
            interim: 0,
            interim_size: 0,
            waited: Duration::ZERO,
            delayed: Duration::ZERO,
            retry_after: 0,
            parked_since: None,
            connected_after: None,
            pooled: false,
            answered_after: None,
            attempt_began: now,
            body_ended: false,
            body: 0,
            // Until something says otherwise: an answer that came whole has nobody to say so.
            ending: Ending::Served,
        }
    }
}
