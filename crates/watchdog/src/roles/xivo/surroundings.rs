//! What a XiVO node sees around it: whether the peer's host and the anchors answer, whether a failback is welcome now.

use std::net::IpAddr;
use std::time::Duration;

use failover::duty::{self, Event, Surroundings};

use crate::config::Window;
use crate::control::api::{IcmpSocket, IcmpView};
use crate::node::echo::{Answering, Echo, Socket};

/// Where it looks, and what the duty was told of it.
pub(super) struct SurroundingsMonitor {
    echo: Echo,
    peer_host: IpAddr,
    anchors: Vec<IpAddr>,
    /// An answer that is older than a promise says nothing any more.
    within: Duration,
    window: Option<Window>,
    told: Option<Surroundings>,
    told_window: Option<duty::Window>,
}

impl SurroundingsMonitor {
    pub(super) const fn new(
        echo: Echo,
        peer_host: IpAddr,
        anchors: Vec<IpAddr>,
        within: Duration,
        window: Option<Window>,
    ) -> Self {
        Self { echo, peer_host, anchors, within, window, told: None, told_window: None }
    }

    /// Looks, and returns what of it the duty does not know yet.
    pub(super) fn look(&mut self) -> impl Iterator<Item = Event> + use<> {
        // Who cannot be asked may be there: Standby does not start beside a Main that it cannot ask for.
        let peer_host = self.peer() != Answering::No;
        let surroundings = Surroundings { peer_host, anchors: self.an_anchor_answers() };
        let window = self.window.as_ref().map_or(duty::Window::Closed, Window::now);
        // The surroundings are looked at in every turn, and told when they changed.
        let surroundings = (self.told.replace(surroundings) != Some(surroundings)).then_some(surroundings);
        let window = (self.told_window.replace(window) != Some(window)).then_some(window);
        surroundings.map(Event::Surroundings).into_iter().chain(window.map(Event::Window))
    }

    fn peer(&self) -> Answering {
        self.echo.answering(self.peer_host, self.within)
    }

    fn an_anchor_answers(&self) -> bool {
        self.anchors.iter().any(|anchor| self.echo.answering(*anchor, self.within) == Answering::Yes)
    }

    /// What is seen, as it is shown.
    pub(super) fn view(&self) -> IcmpView {
        IcmpView {
            socket: socket(if self.peer_host.is_ipv4() { &self.echo.v4 } else { &self.echo.v6 }),
            peer: match self.peer() {
                Answering::Yes => Some(true),
                Answering::No => Some(false),
                Answering::Unknown => None,
            },
            anchors: (!self.anchors.is_empty()).then(|| self.an_anchor_answers()),
        }
    }
}

const fn socket(socket: &Socket) -> IcmpSocket {
    match socket {
        Socket::Datagram => IcmpSocket::Dgram,
        Socket::Raw => IcmpSocket::Raw,
        Socket::None(_) | Socket::Unused => IcmpSocket::None,
    }
}
