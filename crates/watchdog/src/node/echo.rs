//! ICMP echo to the peer and the anchors: does the host answer? A diagnosis, and without a witness a vote.
//!
//! Own, over two sockets: what a library would add is small, and it must be known which kind of socket the system
//! granted.

mod packet;
mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use failover::Instant;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::packet::Token;
use self::socket::{EchoSocket, Family};
use super::clock;

/// More targets are not asked.
const TARGETS: usize = 64;
/// Requests that may still be answered; at 64 targets eight rounds.
const UNANSWERED: usize = 512;

/// Whom to ask, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoSpec {
    /// Whom to ask; 64 addresses at most.
    pub targets: Vec<IpAddr>,
    /// Time between two requests to one target.
    pub interval: Duration,
}

/// What the system granted to send echo requests by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// An unprivileged socket: `net.ipv4.ping_group_range` holds the group.
    Datagram,
    /// A raw socket, which needs `CAP_NET_RAW`.
    Raw,
    /// Neither; why. Nothing can be said about any host.
    None(String),
    /// No target of this family.
    Unused,
}

/// Which hosts answered, and when they did so last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The start of the newest answered request by address; none: no answer yet.
    pub last: BTreeMap<IpAddr, Option<Instant>>,
}

/// Whether a host answers echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// It did within the time asked for.
    Yes,
    /// It did not, within the time that counts.
    No,
    /// It cannot be asked: this node has no socket for it.
    Unknown,
}

/// The way to the task that asks, which ends when this is dropped.
#[derive(Debug)]
pub struct Echo {
    /// The socket that IPv4 hosts are asked by.
    pub v4: Socket,
    /// The socket that IPv6 hosts are asked by.
    pub v6: Socket,
    pub(super) began: Instant,
    pub(super) answers: watch::Receiver<Answers>,
}

impl Echo {
    /// Opens the sockets and starts to ask. Needs a tokio runtime.
    pub fn start(spec: EchoSpec) -> Self {
        #[cfg(test)]
        if let Some(stage) = super::played::stage() {
            return super::played::echo(stage, spec);
        }
        let mut targets = spec.targets;
        targets.truncate(TARGETS);
        let open = |family: Family| match targets.iter().any(|target| family.holds(*target)) {
            true => EchoSocket::open(family),
            false => (Socket::Unused, None),
        };
        let ((v4, socket4), (v6, socket6)) = (open(Family::V4), open(Family::V6));
        let last = targets.iter().map(|target| (*target, None)).collect();
        let (tell, answers) = watch::channel(Answers { last });
        // A period of zero would be a flood, and a panic.
        let period = spec.interval.max(Duration::from_millis(10));
        let asker = Asker { sockets: [socket4, socket6], targets, period, tell, asked: VecDeque::new(), next: 0 };
        host::spawn(asker.ask());
        Self { v4, v6, began: clock::now(), answers }
    }

    /// Returns who answered, now and at each change.
    pub fn answers(&self) -> watch::Receiver<Answers> {
        self.answers.clone()
    }

    /// Returns whether `target` answered a request not older than `within`; unknown, if nobody could ask for so long.
    pub fn answering(&self, target: IpAddr, within: Duration) -> Answering {
        let socket = if target.is_ipv4() { &self.v4 } else { &self.v6 };
        let now = clock::now();
        match (socket, self.answers.borrow().last.get(&target)) {
            (Socket::None(_) | Socket::Unused, _) | (_, None) => Answering::Unknown,
            (_, Some(Some(last))) if now.since(*last) <= within => Answering::Yes,
            // The host has not been asked for long enough: silence that short would let a node that has just begun
            // serve beside its peer.
            _ if now.since(self.began) < within => Answering::Unknown,
            _ => Answering::No,
        }
    }
}

struct Asker {
    sockets: [Option<EchoSocket>; 2],
    targets: Vec<IpAddr>,
    period: Duration,
    tell: watch::Sender<Answers>,
    /// Number, target and time of requests, oldest first.
    asked: VecDeque<(u16, IpAddr, Instant)>,
    next: u16,
}

impl Asker {
    async fn ask(mut self) {
        let token = Token::new();
        let mut rounds = interval(self.period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let [v4, v6] = &self.sockets;
            let answer = tokio::select! {
                biased;
                () = self.tell.closed() => return,
                _ = rounds.tick() => None,
                answer = receive(v4.as_ref(), &token) => answer,
                answer = receive(v6.as_ref(), &token) => answer,
            };
            match answer {
                Some((from, number)) => self.take(from, number),
                None => self.send(&token),
            }
        }
    }

    fn send(&mut self, token: &Token) {
        for target in &self.targets {
            let Some(socket) = &self.sockets[usize::from(target.is_ipv6())] else { continue };
            self.next = self.next.wrapping_add(1);
            if self.asked.len() == UNANSWERED {
                self.asked.pop_front();
            }
            self.asked.push_back((self.next, *target, clock::now()));
            socket.send(*target, token, self.next);
        }
    }

    fn take(&mut self, from: IpAddr, number: u16) {
        // An answer is known by number and address: one to somebody else's request, or a forged one, is none.
        let asked = self.asked.iter().find(|(asked, target, _)| *asked == number && *target == from);
        let Some((.., sent)) = asked.copied() else { return };
        self.tell.send_modify(|answers| {
            let last = answers.last.entry(from).or_default();
            // The answer counts as of its question: one that was long on its way says nothing of the time since.
            *last = (*last).max(Some(sent));
        });
    }
}

async fn receive(socket: Option<&EchoSocket>, token: &Token) -> Option<(IpAddr, u16)> {
    match socket {
        Some(socket) => Some(socket.receive(token).await),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
