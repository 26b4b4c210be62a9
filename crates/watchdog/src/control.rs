//! The control socket: status and history for anybody it lets in, acts for the driver. Who may come in is the socket's mode;
//! who did what is the kernel's word (`SO_PEERCRED`). What is decided is left to the driver.

pub mod api;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use daemon::{
    Answer, Handler, ServerLimits, Socket, SocketError, clean, json, not_allowed, not_found, refuse, well, who,
};
use http::{Method, Request, StatusCode};
use tokio::net::unix::UCred;
use tokio::sync::{mpsc, oneshot, watch};

use self::api::{ActRequest, Done, Order, StatusView};
use crate::state::Journal;

/// Orders that wait for the driver: people give one at a time.
pub const ORDERS: usize = 8;
/// Entries of an answer, unless asked otherwise, and at most.
const ROWS: usize = 20;

/// The socket, open but not served yet.
#[derive(Debug)]
pub struct Control {
    socket: Socket,
}

impl Control {
    /// Binds the socket, mode 0660, for root and, if it exists, the group `bascule`.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn open(path: &Path) -> Result<Self, SocketError> {
        let group = daemon::group(GROUP).map(|_| GROUP);
        Ok(Self { socket: Socket::bind(path, group).await? })
    }
}

/// Where operators look and act.
pub trait Operators: Send + 'static {
    /// Serves until the future is dropped. Without `orders` (a node that does not vote) acts are refused.
    fn serve(
        self,
        status: watch::Receiver<Arc<StatusView>>,
        journal: Journal,
        orders: Option<mpsc::Sender<Order>>,
    ) -> impl Future<Output = ()> + Send + 'static;
}

impl Operators for Control {
    async fn serve(
        self,
        status: watch::Receiver<Arc<StatusView>>,
        journal: Journal,
        orders: Option<mpsc::Sender<Order>>,
    ) {
        let desk = RequestHandler { status, journal, orders };
        daemon::serve("control", &self.socket.listener, Arc::new(desk), ServerLimits::ADMIN).await;
    }
}

/// Operators that are not root.
const GROUP: &str = "bascule";

/// Answers operators, from the newest published status.
struct RequestHandler {
    status: watch::Receiver<Arc<StatusView>>,
    journal: Journal,
    orders: Option<mpsc::Sender<Order>>,
}

impl Handler<UCred> for RequestHandler {
    async fn answer(&self, request: Request<Bytes>, peer: UCred) -> Answer {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" if read => well(self.alive()),
            "/status" if read => {
                let status = Arc::clone(&self.status.borrow());
                json(StatusCode::OK, &*status)
            }
            "/history" if read => self.history(&request),
            "/act" if *request.method() == Method::POST => self.act(&request, peer).await,
            "/act" => not_allowed(request.method(), "POST"),
            "/healthz" | "/status" | "/history" => not_allowed(request.method(), "GET"),
            path => not_found(path),
        }
    }
}

impl RequestHandler {
    fn alive(&self) -> Result<(), String> {
        match self.status.has_changed() {
            Ok(_) => Ok(()),
            Err(_) => Err("The driver has ended; the process follows it.".into()),
        }
    }

    fn history(&self, request: &Request<Bytes>) -> Answer {
        let asked = match request.uri().query() {
            None | Some("") => Some(ROWS),
            Some(query) => query.strip_prefix("limit=").and_then(|text| text.parse().ok()),
        };
        match asked.filter(|limit| (1..=crate::state::RECENT).contains(limit)) {
            Some(limit) => json(StatusCode::OK, &self.journal.history(limit)),
            None => {
                let sentence = format!("Say how many: ?limit=1 to {}.", crate::state::RECENT);
                refuse(StatusCode::BAD_REQUEST, "invalid", sentence)
            }
        }
    }

    async fn act(&self, request: &Request<Bytes>, peer: UCred) -> Answer {
        let order: ActRequest = match serde_json::from_slice(request.body()) {
            Ok(order) => order,
            Err(error) => {
                return refuse(StatusCode::BAD_REQUEST, "invalid", format!("The act makes no sense: {error}."));
            }
        };
        // A CC or a media server has no vote: what it does follows from its XiVO.
        let Some(orders) = &self.orders else {
            let sentence = "This node follows its XiVO: act there.".to_owned();
            return refuse(StatusCode::CONFLICT, "refused", sentence);
        };
        let (reply, answer) = oneshot::channel();
        // The kernel's word on who is at the other end comes first; what the caller says of itself is added to it.
        let who = who(&daemon::user(peer.uid()), &order.by);
        let order = Order { act: order.act.into(), who, reason: clean(&order.reason), reply };
        // An order that finds no room is refused: one that is carried out long after it was given does harm.
        if orders.try_send(order).is_err() {
            let sentence = "The driver is busy or has ended; look at its log.".to_owned();
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", sentence);
        }
        match answer.await {
            Ok(Ok(sentence)) => json(StatusCode::OK, &Done { sentence }),
            Ok(Err(sentence)) => refuse(StatusCode::CONFLICT, "refused", sentence),
            Err(_) => {
                refuse(StatusCode::SERVICE_UNAVAILABLE, "ended", "The driver ended before it answered.".to_owned())
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
