//! The endpoint others dial: mutual TLS, then calls, each answered by a [`Handler`].

mod strangers;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, rustls};

use self::strangers::{Stranger, Strangers};
use crate::frames::{self, Connection};
use crate::identity::{Keyring, read};
use crate::who::Who;
use crate::wire::{Ask, Call, Reply, Told, VERSION};

/// Connections of callers that have shown their certificate; a site has a few dozen nodes.
const CONNECTIONS: usize = 256;
/// Connections one caller may have open: its lanes, and as many again that a cut left behind. The oldest makes room.
const CONNECTIONS_EACH: usize = 8;
/// For a handshake. Callers give up sooner.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// A caller that asks nothing for so long has gone: who is there asks twice a second.
const IDLE: Duration = Duration::from_secs(30);
/// A caller that takes no reply for so long has gone.
const WRITE: Duration = Duration::from_secs(2);
/// Calls of one connection that may be unanswered.
const CALLS: usize = 32;

/// Answers calls; the endpoint has seen the caller's certificate.
pub trait Handler: Send + Sync + 'static {
    /// Answers a call. Whether the caller may ask it is decided here.
    fn told(&self, who: &Who, ask: Ask) -> impl Future<Output = Told> + Send;

    /// Learns that somebody was turned away before any call, and why, for people.
    fn turned_away(&self, address: SocketAddr, why: &str);

    /// Learns besides that it was for its version, and what it speaks, by its own word: it has shown no certificate
    /// yet.
    fn speaks_another_version(&self, address: SocketAddr, offered: &str) {
        let _ = (address, offered);
    }
}

/// An endpoint for nodes: mutual TLS, one frame for each call and reply.
#[derive(Debug)]
pub struct Endpoint {
    listener: Listener,
    keyring: Arc<Keyring>,
    known: Vec<IpAddr>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    #[cfg(feature = "played")]
    Played(crate::played::PlayedListener),
}

/// Those that have shown their certificate.
#[derive(Debug, Clone)]
struct Inside {
    places: Arc<Semaphore>,
    connected: Connected,
}

/// Who is connected, oldest connection first.
type Connected = Arc<Mutex<HashMap<Who, Vec<Arc<Notify>>>>>;

impl Endpoint {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn open(address: SocketAddr, keyring: Arc<Keyring>) -> io::Result<Self> {
        #[cfg(feature = "played")]
        if let Some(net) = crate::played::net() {
            return Ok(Self { listener: Listener::Played(net.listen(address)?), keyring, known: Vec::new() });
        }
        Ok(Self::from_listener(TcpListener::bind(address).await?, keyring))
    }

    /// Takes a listener that is open.
    pub const fn from_listener(listener: TcpListener, keyring: Arc<Keyring>) -> Self {
        Self { listener: Listener::Tcp(listener), keyring, known: Vec::new() }
    }

    /// Keeps places for those who dial from these addresses, whoever else fills the endpoint.
    #[must_use]
    pub fn with_places_for(mut self, known: impl IntoIterator<Item = IpAddr>) -> Self {
        self.known.extend(known);
        self
    }

    /// Returns where it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr(),
            #[cfg(feature = "played")]
            Listener::Played(doorway) => Ok(doorway.address),
        }
    }

    /// Answers calls for ever; drop it to close the endpoint and every connection.
    pub async fn serve<H: Handler>(self, handler: Arc<H>) {
        #[cfg_attr(
            not(feature = "played"),
            expect(clippy::infallible_destructuring_match, reason = "played has another")
        )]
        let listener = match self.listener {
            Listener::Tcp(listener) => listener,
            #[cfg(feature = "played")]
            Listener::Played(doorway) => return play(doorway, handler).await,
        };
        let strangers = Strangers::new(self.known.iter().copied());
        let inside = Inside { places: Arc::new(Semaphore::new(CONNECTIONS)), connected: Connected::default() };
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            // Tasks that have ended are taken out with each turn: kept, they would grow without end.
            while tasks.try_join_next().is_some() {}
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: it passes, and a busy loop helps nobody.
                    tracing::warn!(%error, "the nodes' endpoint cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // An IPv4 address that comes as an IPv6 one is the same caller, with one share of the places.
            let stranger = match strangers.admit(address.ip().to_canonical()) {
                Ok(stranger) => stranger,
                Err(why) => {
                    handler.turned_away(address, why);
                    continue;
                }
            };
            let (handler, keyring, inside) = (Arc::clone(&handler), Arc::clone(&self.keyring), inside.clone());
            tasks.spawn(async move {
                if let Err(Away { why, offered }) = welcome(stream, stranger, &keyring, &*handler, &inside).await {
                    handler.turned_away(address, &why);
                    offered.iter().for_each(|offered| handler.speaks_another_version(address, offered));
                }
            });
        }
    }
}

/// Why a handshake failed, and in which version it was tried: an old node is named, a stranger counted.
struct Away {
    why: String,
    /// What it speaks, if it was for that.
    offered: Option<String>,
}

impl From<String> for Away {
    fn from(why: String) -> Self {
        Self { why, offered: None }
    }
}

impl From<&str> for Away {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// Shakes hands and answers; an error is why somebody was turned away.
async fn welcome<H: Handler>(
    stream: TcpStream,
    stranger: Stranger,
    keyring: &Keyring,
    handler: &H,
    inside: &Inside,
) -> Result<(), Away> {
    frames::tune(&stream).map_err(|error| error.to_string())?;
    let stream = tokio::select! {
        shaken = timeout(HANDSHAKE, shake(stream, keyring)) => match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(why)) => return Err(why),
            Err(_) => return Err(format!("no handshake within {HANDSHAKE:?}").into()),
        },
        () = stranger.makes_room() => return Err("it showed no certificate, and others needed its place".into()),
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = certificates.first().ok_or("it showed no certificate")?;
    let (who, _) = read(leaf).map_err(|flaw| match flaw {
        crate::identity::Flaw::Role(role) => role.to_string(),
        crate::identity::Flaw::Certificate(problem) => format!("its certificate {problem}"),
    })?;
    // The caller has shown a certificate: its place is for the next stranger.
    drop(stranger);
    // A caller that finds no place is refused, and not kept waiting: a vote that comes late is worth nothing.
    let Ok(_open) = inside.places.try_acquire() else {
        return Err(format!("too many connections, {who} is one more").into());
    };
    let place = Place::take(&who, &inside.connected);
    tokio::select! {
        // A simulation repeats itself only where no chance decides.
        biased;
        () = place.leave.notified() => {}
        () = converse(frames::framed(stream), &who, handler) => {}
    }
    Ok(())
}

async fn shake(stream: TcpStream, keyring: &Keyring) -> Result<tokio_rustls::server::TlsStream<TcpStream>, Away> {
    // The hello is read first: what it offers names an old node even if no handshake comes of it.
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    let start = start.await.map_err(|error| format!("it does not speak TLS: {error}"))?;
    let offered: Vec<Vec<u8>> = start.client_hello().alpn().into_iter().flatten().map(<[u8]>::to_vec).take(8).collect();
    let stream = start.into_stream(keyring.current().server()).await.map_err(|error| explain(&error, &offered))?;
    if stream.get_ref().1.alpn_protocol() != Some(VERSION.as_bytes()) {
        return Err("it does not speak the nodes' protocol".into());
    }
    Ok(stream)
}

fn explain(error: &io::Error, offered: &[Vec<u8>]) -> Away {
    use rustls::{CertificateError as Certificate, Error};
    let why = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::NoApplicationProtocol) => {
            let offered: Vec<_> = offered.iter().map(|name| String::from_utf8_lossy(name)).collect();
            let offered = offered.join(", ");
            let why = format!("it speaks another version of the protocol ({offered}), we speak {VERSION}");
            return Away { why, offered: Some(offered) };
        }
        Some(Error::NoCertificatesPresented) => "it showed no certificate".to_owned(),
        Some(Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. })) => {
            "its certificate has expired".to_owned()
        }
        Some(Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. })) => {
            "its certificate is not valid yet: is a clock wrong?".to_owned()
        }
        Some(Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature)) => {
            "its certificate is of a foreign authority".to_owned()
        }
        Some(Error::AlertReceived(alert)) => format!("it refuses our certificate: {alert:?}"),
        _ => error.to_string(),
    };
    why.into()
}

/// A caller's place among its connections.
struct Place<'a> {
    who: &'a Who,
    connected: &'a Connected,
    leave: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn take(who: &'a Who, connected: &'a Connected) -> Self {
        let leave = Arc::new(Notify::new());
        let mut all = connected.lock().unwrap_or_else(PoisonError::into_inner);
        let its = all.entry(who.clone()).or_default();
        its.push(Arc::clone(&leave));
        // The oldest goes, as it is the likeliest to have been cut off without a word.
        if its.len() > CONNECTIONS_EACH {
            its[0].notify_one();
        }
        Self { who, connected, leave }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(its) = all.get_mut(self.who) {
            its.retain(|leave| !Arc::ptr_eq(leave, &self.leave));
            if its.is_empty() {
                all.remove(self.who);
            }
        }
    }
}

/// Answers calls in any order until the caller goes or breaks the rules.
async fn converse<H: Handler>(connection: Connection, who: &Who, handler: &H) {
    let (mut replies, mut calls) = connection.split();
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            // Whoever has been answered makes room for the next.
            biased;
            Some(reply) = open.next(), if !open.is_empty() => {
                let Ok(frame) = frames::write(&reply) else { return };
                if !matches!(timeout(WRITE, replies.send(frame)).await, Ok(Ok(()))) {
                    return;
                }
            }
            // While so many calls are unanswered nothing more is read: the caller waits in its own socket.
            call = timeout(IDLE, calls.next()), if open.len() < CALLS => {
                let Ok(Some(Ok(frame))) = call else { return };
                match frames::read::<Call>(&frame) {
                    Ok(Call { id, ask }) => open.push(async move { Reply { id, answer: handler.told(who, ask).await } }),
                    Err(error) => {
                        tracing::warn!(%who, %error, "sends what is no call");
                        return;
                    }
                }
            }
        }
    }
}

/// Answers those that a simulation lets in: they are who it says.
#[cfg(feature = "played")]
async fn play<H: Handler>(mut doorway: crate::played::PlayedListener, handler: Arc<H>) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Some((who, stream)) = doorway.callers.recv().await {
        while tasks.try_join_next().is_some() {}
        let handler = Arc::clone(&handler);
        let answer = async move { converse(frames::framed(stream), &who, &*handler).await };
        match host::played::current() {
            Some(host) => tasks.spawn(host.task(answer)),
            None => tasks.spawn(answer),
        };
    }
}
