//! What operators order a XiVO node to do, at its socket or at the Edge, and what comes of it.

use std::time::Duration;

use daemon::clean;
use failover::duty::{Act, Choice, Refusal, Requests};
use failover::{Instant, Side};
use protocol::wire::{Chosen, Wish, WishOutcome, Wished};
use tokio::sync::{mpsc, oneshot};

use super::telling::Telling;
use crate::control::api::Order;
use crate::node::clock;
use crate::state::{Entry, Kind};

/// What an operator chose is told to the Edge for so long: a stop, a start and the contact centre's start take half of it at
/// most. Traffic that moves later moves for another reason, though the choice may hold for months on a manual node.
const CHOSEN_LATELY: Duration = Duration::from_secs(600);

/// The ways operators' orders come by, and what the Edge is told of them.
pub(super) struct Operators {
    side: Side,
    requests: Requests,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) wishes: mpsc::Receiver<Wish>,
    /// What became of the Edge's newest wish.
    wished: Option<Wished>,
    /// Which side an operator chose last, and when.
    chosen: Option<(Chosen, Instant)>,
}

/// Who gave an order, and where the outcome goes.
pub(super) struct Operator {
    pub(super) who: String,
    pub(super) reason: String,
    pub(super) reply: Reply,
}

/// Where the outcome of an order goes.
pub(super) enum Reply {
    /// To an operator at the socket.
    Here(oneshot::Sender<Result<String, String>>),
    /// To the Edge, which handed a wish over.
    Edge(u64),
}

impl Operators {
    pub(super) const fn new(
        side: Side,
        requests: Requests,
        orders: mpsc::Receiver<Order>,
        wishes: mpsc::Receiver<Wish>,
    ) -> Self {
        Self { side, requests, orders, wishes, wished: None, chosen: None }
    }

    /// The Edge hands an operator's wish over, with each heartbeat: it is looked at once. Returns what the duty is to do.
    pub(super) fn wish(&mut self, wish: Wish) -> Option<(Act, Operator)> {
        if self.wished.as_ref().is_some_and(|wished| wished.id >= wish.id) {
            return None;
        }
        let Wish { id, to, who, reason } = wish;
        // Who may not order the node does not fill its journal either.
        if self.requests == Requests::Refuse {
            tracing::debug!(id, "a wish of the Edge's is refused");
            let reason = Refusal::NotAccepted.to_string();
            self.wished = Some(Wished { id, outcome: WishOutcome::Refused { reason } });
            return None;
        }
        // The words come out of the DMZ, and are read on terminals.
        let (who, reason) = (format!("{}, at the Edge", clean(&who)), clean(&reason));
        Some((Act::HandOver { to }, Operator { who, reason, reply: Reply::Edge(id) }))
    }

    /// The duty did as it was told. An operator at the socket is answered when it is on the disk: `written` tells.
    pub(super) fn acted(
        &mut self,
        act: Act,
        operator: Operator,
        written: impl Future<Output = bool> + Send + 'static,
        telling: &Telling,
    ) {
        let serves = match act {
            Act::Activate | Act::ForceActivate => Some(self.side),
            Act::Deactivate => Some(self.side.other()),
            Act::HandOver { to } => Some(to),
            Act::Freeze | Act::Resume | Act::Mode(_) | Act::Failback(_) => None,
        };
        let act = act.to_string();
        telling.journal.append(Entry::new(Kind::Act, &*act).by(&operator.who, &operator.reason));
        match operator.reply {
            // The answer waits beside the loop: an operator may wait for the disk, the lease may not.
            Reply::Here(reply) => {
                host::spawn(async move {
                    let kept = written.await;
                    let _ = reply.send(match kept {
                        true => Ok(act),
                        false => Err(format!("{act}: done, but it is not on the disk: a restart forgets it")),
                    });
                });
            }
            Reply::Edge(id) => self.wished = Some(Wished { id, outcome: WishOutcome::Followed }),
        }
        if let Some(serves) = serves {
            let chosen = Chosen { serves, who: operator.who, reason: operator.reason };
            self.chosen = Some((chosen, clock::now()));
        }
    }

    /// The duty does not do as it was told.
    pub(super) fn refused(&mut self, act: Act, reason: Refusal, operator: Operator, telling: &Telling) {
        let reason = reason.to_string();
        let sentence = format!("refused to {act}: {reason}");
        telling.journal.append(Entry::new(Kind::Act, sentence).by(&operator.who, &operator.reason));
        match operator.reply {
            Reply::Here(reply) => {
                let _ = reply.send(Err(reason));
            }
            Reply::Edge(id) => self.wished = Some(Wished { id, outcome: WishOutcome::Refused { reason } }),
        }
    }

    /// What became of the Edge's newest wish.
    pub(super) fn wished(&self) -> Option<Wished> {
        self.wished.clone()
    }

    /// What an operator lately chose, as long as the node goes by it: `choice` is what the duty remembers.
    pub(super) fn chosen(&self, choice: Choice) -> Option<Chosen> {
        let (chosen, at) = self.chosen.as_ref()?;
        let serves = match choice {
            Choice::None => return None,
            Choice::Serve => self.side,
            Choice::StepBack => self.side.other(),
        };
        (serves == chosen.serves && clock::now() < *at + CHOSEN_LATELY).then(|| chosen.clone())
    }
}
