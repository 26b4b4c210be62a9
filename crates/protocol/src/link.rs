//! The way to one other: connections that are dialled when there is something to ask, and again when they fail.
//!
//! Where an answer is worth nothing when it is late, a link has several lanes, each a connection of its own: they take
//! turns, and a vote that one has not answered at once is asked on the next as well. On a wire that loses a third of all
//! packets one connection stands still for seconds every minute; several hardly ever do so together.
//!
//! A NAT or a firewall that forgot a connection drops its packets without a word, and mostly those of all lanes at once.
//! So a lane on which nothing comes back dials afresh beside the old connection, and goes on with whichever speaks first.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use failover::lease;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::frames::{self, Connection};
use crate::identity::{Expected, Keyring};
use crate::wire::{Ask, Call, Reply, Told, VERSION};

/// Calls that may wait for the connection, and calls that may be unanswered: each caller has a few at most.
const CALLS: usize = 32;

/// The limits of a link.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the dial and the handshake together.
    pub dial: Duration,
    /// A connection on which a call has been unanswered for so long may be forgotten by somebody on the way: another one is
    /// dialled beside it. For a watch it includes the time the other end holds it.
    pub patience: Duration,
    /// A connection on which a call has been unanswered for so long is given up. For a watch it includes the time the other
    /// end holds it.
    pub silence: Duration,
    /// How many connections there may be.
    pub lanes: NonZeroU8,
}

/// An answer that has not come after so long is asked for on the next lane as well: a hundred times what a LAN takes.
const NEXT_LANE: Duration = Duration::from_millis(120);

/// How the connections of a link are, for status and alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing was tried yet: the link is a moment old.
    Idle,
    /// At least one connection is there.
    Up,
    /// Not connected, and why, for people.
    Down(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("not tried yet"),
            Self::Up => f.write_str("connected"),
            Self::Down(why) => f.write_str(why),
        }
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no connection to ask over; it says why.
    #[error("{0}")]
    Down(String),
    /// The other end speaks another version of the protocol: until one of the two is upgraded nothing else will come of it.
    #[error("{0}")]
    OtherVersion(String),
    /// Too many calls wait already.
    #[error("too many calls are unanswered")]
    Busy,
}

/// The way to one other.
#[derive(Debug, Clone)]
pub struct Link {
    lanes: Arc<[Lane]>,
    /// Whose turn it is among the connections.
    turn: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Lane {
    calls: mpsc::Sender<Waiting>,
    state: watch::Receiver<State>,
}

#[derive(Debug)]
struct Waiting {
    ask: Ask,
    answer: oneshot::Sender<Result<Told, LinkError>>,
}

impl Link {
    /// Starts a link; nothing is dialled before the first call. It ends with the last clone.
    pub fn new(address: SocketAddr, expected: Expected, keyring: Arc<Keyring>, limits: Limits) -> Self {
        let lane = |_| {
            let (calls, queue) = mpsc::channel(CALLS);
            let (state, seen) = watch::channel(State::Idle);
            let line = Line { address, expected, keyring: Arc::clone(&keyring), limits, queue, state, next: 0 };
            host::spawn(line.run());
            Lane { calls, state: seen }
        };
        Self { lanes: (0..limits.lanes.get()).map(lane).collect(), turn: Arc::default() }
    }

    /// Asks. The answer may come late: who waits sets the limit. Where one lane fails the next is asked, and a vote whose
    /// answer is late is asked on the next as well.
    ///
    /// # Errors
    /// When there is no connection, or too many calls are unanswered.
    pub async fn ask(&self, ask: Ask) -> Result<Told, LinkError> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut asked = FuturesUnordered::new();
        let mut failed = LinkError::Busy;
        for next in 0..self.lanes.len() {
            asked.push(self.lanes[first.wrapping_add(next) % self.lanes.len()].ask(ask.clone()));
            let told = if next + 1 == self.lanes.len() {
                // The last one is waited for below, however long it takes.
                break;
            } else if is_asked_twice(&ask) {
                // The first lane is not given up: whichever answers sooner counts, and a vote asked for twice is given
                // once.
                timeout(NEXT_LANE, asked.next()).await.ok().flatten()
            } else {
                asked.next().await
            };
            match told {
                Some(Ok(told)) => return Ok(told),
                Some(Err(error)) => failed = error,
                None => {}
            }
        }
        while let Some(told) = asked.next().await {
            match told {
                Ok(told) => return Ok(told),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Returns how it is: the best that any lane is.
    pub fn state(&self) -> State {
        let states: Vec<_> = self.lanes.iter().map(|lane| lane.state.borrow().clone()).collect();
        let down = states.iter().find(|state| matches!(state, State::Down(_)));
        states.iter().find(|state| **state == State::Up).or(down).cloned().unwrap_or(State::Idle)
    }
}

/// A vote that comes late is lost, and one asked for twice is given once. A release is not asked twice: the copy may arrive
/// after what was asked next. A report and a watch have time.
fn is_asked_twice(ask: &Ask) -> bool {
    matches!(ask, Ask::Vote(request) if request.ask != lease::Ask::Release)
}

/// Whether the other end may get it twice, as nobody knows whether it did once. A release may not, for the same reason.
fn may_be_asked_again(ask: &Ask) -> bool {
    !matches!(ask, Ask::Vote(request) if request.ask == lease::Ask::Release)
}

fn give_up(call: Waiting, why: &str) {
    let _ = call.answer.send(Err(LinkError::Down(why.to_owned())));
}

/// Waits for a dial under way; for ever if there is none.
async fn ended<F: Future>(dial: &mut Option<Pin<Box<F>>>) -> Option<F::Output> {
    Some(dial.as_mut()?.as_mut().await)
}

impl Lane {
    async fn ask(&self, ask: Ask) -> Result<Told, LinkError> {
        let (answer, told) = oneshot::channel();
        self.calls.try_send(Waiting { ask, answer }).map_err(|_| LinkError::Busy)?;
        told.await.unwrap_or(Err(LinkError::Busy))
    }
}

/// The task behind a lane.
struct Line {
    address: SocketAddr,
    expected: Expected,
    keyring: Arc<Keyring>,
    limits: Limits,
    queue: mpsc::Receiver<Waiting>,
    state: watch::Sender<State>,
    next: u64,
}

impl Line {
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let why = match self.dial().await {
                Ok(Ok(connection)) => {
                    self.state.send_replace(State::Up);
                    match self.carry(connection, first).await {
                        Some(why) => why,
                        None => return,
                    }
                }
                Ok(Err(error)) => {
                    let why = self.explain(&error);
                    let failed = if is_other_version(&error) { LinkError::OtherVersion } else { LinkError::Down };
                    let _ = first.answer.send(Err(failed(why.clone())));
                    why
                }
                Err(_) => {
                    let why = format!("{} does not answer within {:?}", self.address, self.limits.dial);
                    let _ = first.answer.send(Err(LinkError::Down(why.clone())));
                    why
                }
            };
            // A reason that stays the same is no news: whoever follows the state is not woken by each attempt.
            self.state.send_if_modified(|state| {
                let now = State::Down(why);
                let changed = *state != now;
                *state = now;
                changed
            });
        }
    }

    /// Dials once, within the limit that a dial has.
    fn dial(&self) -> impl Future<Output = Result<io::Result<Connection>, Elapsed>> + Send + use<> {
        let (address, expected, keyring) = (self.address, self.expected, Arc::clone(&self.keyring));
        timeout(self.limits.dial, async move {
            #[cfg(feature = "played")]
            if let Some(net) = crate::played::net() {
                return Ok(frames::framed(net.dial(address).await?));
            }
            // The identity is taken anew for each dial: a certificate that was renewed is shown from the next
            // connection on.
            let config = keyring.current().client(expected).map_err(io::Error::other)?;
            let stream = TcpStream::connect(address).await?;
            frames::tune(&stream)?;
            // The verifier goes by role; the name is of no meaning.
            let name = ServerName::IpAddress(address.ip().into());
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            // A server that ignores ALPN would go on without it, and take frames for something else.
            if stream.get_ref().1.alpn_protocol() != Some(VERSION.as_bytes()) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak the nodes' protocol"));
            }
            Ok(frames::framed(stream))
        })
    }

    /// Carries calls until the connection fails, and says why; nothing when nobody can call any more.
    async fn carry(&mut self, mut connection: Connection, first: Waiting) -> Option<String> {
        let mut open: BTreeMap<u64, (Instant, Waiting)> = BTreeMap::new();
        let mut todo = VecDeque::from([first]);
        // The connection that is dialled beside this one, and when one was last begun, or this one last spoke.
        let mut fresh: Option<Pin<Box<_>>> = None;
        let mut doubted = Instant::now();
        let why = loop {
            if let Some(call) = todo.pop_front() {
                if let Err(error) = self.send(&mut connection, call, &mut open).await {
                    break self.explain(&error);
                }
                continue;
            }
            // Ids grow with time: the first is the oldest.
            let oldest = open.first_key_value().map(|(_, (since, _))| *since);
            let doubtful = oldest.filter(|_| fresh.is_none()).map(|since| since.max(doubted) + self.limits.patience);
            let oldest = oldest.map(|since| since + self.limits.silence);
            tokio::select! {
                // What was answered while this process stood still is no silence.
                biased;
                frame = connection.next() => match frame {
                    Some(Ok(frame)) => match frames::read::<Reply>(&frame) {
                        Ok(Reply { id, answer }) => {
                            // A connection that speaks was forgotten by nobody on the way: the dial beside it is
                            // dropped.
                            (fresh, doubted) = (None, Instant::now());
                            if let Some((_, call)) = open.remove(&id) {
                                let _ = call.answer.send(Ok(answer));
                            }
                        }
                        Err(error) => break format!("{} sends what is no reply: {error}", self.address),
                    },
                    Some(Err(error)) => break self.explain(&error),
                    None => break format!("{} closed the connection", self.address),
                },
                call = self.queue.recv() => match call {
                    Some(call) => todo.push_back(call),
                    None => return None,
                },
                Some(dialled) = ended(&mut fresh) => {
                    fresh = None;
                    if let Ok(Ok(another)) = dialled {
                        connection = another;
                        // Nobody knows which of these the old connection carried: each is asked again, unless a copy
                        // could do harm.
                        for (_, (_, call)) in std::mem::take(&mut open) {
                            match may_be_asked_again(&call.ask) {
                                true => todo.push_back(call),
                                false => give_up(call, "the connection had to be dialled afresh"),
                            }
                        }
                    }
                }
                () = sleep_until(doubtful.unwrap_or_else(Instant::now)), if doubtful.is_some() => {
                    doubted = Instant::now();
                    fresh = Some(Box::pin(self.dial()));
                }
                () = sleep_until(oldest.unwrap_or_else(Instant::now)), if oldest.is_some() => {
                    break format!("{} has not answered for {:?}", self.address, self.limits.silence);
                }
            }
        };
        for call in open.into_values().map(|(_, call)| call).chain(todo) {
            give_up(call, &why);
        }
        Some(why)
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        call: Waiting,
        open: &mut BTreeMap<u64, (Instant, Waiting)>,
    ) -> io::Result<()> {
        // Whoever asked has given up: an answer would come to nobody, and a vote asked for late is worth nothing.
        if call.answer.is_closed() {
            return Ok(());
        }
        if open.len() >= CALLS {
            let _ = call.answer.send(Err(LinkError::Busy));
            return Ok(());
        }
        self.next += 1;
        let frame = frames::write(&Call { id: self.next, ask: call.ask.clone() })?;
        open.insert(self.next, (Instant::now(), call));
        // A peer that takes nothing is silent.
        let sent = timeout(self.limits.silence, connection.send(frame)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Says what failed and, where it is known, what to do.
    fn explain(&self, error: &io::Error) -> String {
        let address = self.address;
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return match error.kind() {
                io::ErrorKind::ConnectionRefused => format!("{address} refuses connections: no watchdog runs there"),
                io::ErrorKind::UnexpectedEof => format!("{address} closed the connection"),
                _ => format!("{address}: {error}"),
            };
        };
        use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
        match tls {
            Error::AlertReceived(Alert::NoApplicationProtocol) => {
                format!("{address} speaks another version of the protocol than ours ({VERSION})")
            }
            Error::AlertReceived(Alert::CertificateExpired) => {
                format!("{address} says that our certificate has expired")
            }
            Error::AlertReceived(Alert::UnknownCA | Alert::DecryptError | Alert::BadCertificate) => {
                format!("{address} does not know the authority of our certificate")
            }
            Error::AlertReceived(alert) => format!("{address} refuses our certificate: {alert:?}"),
            Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
                format!("the certificate of {address} has expired")
            }
            Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
                format!("the certificate of {address} is not valid yet: is a clock wrong?")
            }
            Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
                format!("{address} shows a certificate of a foreign authority")
            }
            Error::Other(other) => format!("{address}: {other}"),
            other => format!("{address}: {other}"),
        }
    }
}

fn is_other_version(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)))
}
