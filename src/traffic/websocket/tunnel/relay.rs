//! One tunnel from the 101 to the last byte: carries both directions, and says goodbye properly when it must (E6).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::flow::{Broken, Flow, Stopped, Until};
use super::{Carried, Close, Command, Outcome, Party, Report, Session};
use crate::traffic::scratch::Chunk;

/// Carries one upgraded connection; resolves when it is over. Each direction waits for nothing but its own ends.
///
/// ```text
///  Open ──told, upstream lost or stalled, bad frame──▶ Finishing ──frame complete──▶ Parting ──client's Close──▶ Shutting
///   │ └──a side's upstream lost──▶ Orphaned ──told─────▲  │ frame_limit                 │ goodbye_limit           ▲
///   │                                       orphan_limit  │                             │                         │
///   └──both Closes passed─────────────────────────────────┴─────────────────────────────┴─────────────────────────┘
/// ```
///
/// *Orphaned* waits for the engine's decision about the side whose upstream went without a Close, so that a user's
/// sockets still close together and at the pace of the switch; nothing the client sends meanwhile is answered.
/// *Finishing* reads the upstream to the end of the frame the client is in the middle of; then the client gets its Close,
/// the upstream a Close where its own direction allows one, and is dropped at once. *Parting* swallows what the client
/// still sends. There is no idle limit.
#[derive(Debug)]
pub struct Relay<C, U> {
    client: C,
    upstream: Option<U>,
    to_client: Flow,
    to_upstream: Flow,
    phase: Phase,
    first_close: Option<Party>,
    /// The upstream takes nothing any more; what it still has to say is awaited.
    upstream_deaf: bool,
    /// When the phase must be over.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    on_upstream_lost: Option<Hook>,
    limits: Limits,
    began: Instant,
    session: Session,
}

/// How long each wait may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An end that takes not one byte for so long while there are some for it is given up.
    pub write_stall: Duration,
    /// From the command to the Close frame: the frame that is on its way must be complete by then.
    pub frame_limit: Duration,
    /// From our Close to the client's.
    pub goodbye_limit: Duration,
    /// From one end's Close to the other's answer, when neither is ours.
    pub answer_limit: Duration,
    /// For the end of TLS and TCP towards the client.
    pub shutdown_limit: Duration,
    /// From the loss of a side's upstream to the client's Close, unless a switch tells it sooner: the longest time the
    /// engine needs to find the side dead. A session whose side is already demoted waits for its user's turn instead,
    /// which `drain_limit` bounds. Zero: nobody waits.
    pub orphan_limit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            write_stall: Duration::from_secs(30),
            frame_limit: Duration::from_secs(1),
            goodbye_limit: Duration::from_secs(2),
            answer_limit: Duration::from_secs(10),
            shutdown_limit: Duration::from_secs(1),
            orphan_limit: Duration::from_secs(2),
        }
    }
}

/// Bytes that were read behind the heads of the upgrade.
#[derive(Clone, Debug, Default)]
pub struct Early {
    /// Read behind the request: for the upstream.
    pub from_client: Vec<u8>,
    /// Read behind the 101: for the client.
    pub from_upstream: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Phase {
    Open,
    Orphaned,
    Finishing { why: Why, close: Close },
    Parting { why: Why, told: bool },
    Shutting(Outcome),
}

/// The reason of an end that the client is told of.
#[derive(Debug, Clone, Copy)]
enum Why {
    Demoted,
    Drained,
    ClientClosed,
    UpstreamClosed,
    UpstreamLost,
    UpstreamStalled,
    ProtocolError(Party),
}

enum Turn {
    /// Something changed: look again.
    Again,
    Wait,
    /// There is more to do at once, but others first.
    Yield,
    Done(Outcome),
}

impl<C, U> Relay<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Takes both ends after the 101 has been sent.
    pub fn new(session: Session, client: C, upstream: U, early: Early, limits: Limits) -> Self {
        Self {
            client,
            upstream: Some(upstream),
            to_client: Flow::new(early.from_upstream),
            to_upstream: Flow::new(early.from_client),
            phase: Phase::Open,
            first_close: None,
            upstream_deaf: false,
            deadline: None,
            timer: None,
            on_upstream_lost: None,
            limits,
            began: Instant::now(),
            session,
        }
    }

    /// Calls `hook` once, as soon as the upstream is found to have gone without a Close, unless the session was told to
    /// leave before. It must not block.
    #[must_use]
    pub fn on_upstream_lost(mut self, hook: impl FnOnce() + Send + 'static) -> Self {
        self.on_upstream_lost = Some(Hook(Box::new(hook)));
        self
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> Poll<Outcome> {
        loop {
            let turn = match &self.phase {
                Phase::Open => self.carry(cx, chunk),
                Phase::Orphaned => self.await_decision(cx, chunk),
                Phase::Finishing { why, close } => {
                    let (why, close) = (*why, close.clone());
                    self.finish(cx, chunk, why, &close)
                }
                Phase::Parting { why, told } => {
                    let (why, told) = (*why, *told);
                    self.part(cx, chunk, why, told)
                }
                Phase::Shutting(outcome) => match Pin::new(&mut self.client).poll_shutdown(cx) {
                    Poll::Ready(_) => Turn::Done(*outcome),
                    Poll::Pending => Turn::Wait,
                },
            };
            match turn {
                Turn::Done(outcome) => return Poll::Ready(outcome),
                Turn::Again => continue,
                Turn::Yield => cx.waker().wake_by_ref(),
                Turn::Wait => {}
            }
            ready!(self.poll_due(cx));
            if let Turn::Done(outcome) = self.time_out(cx) {
                return Poll::Ready(outcome);
            }
        }
    }

    /// Carries both directions of an open tunnel, as far as neither has to wait.
    fn carry(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> Turn {
        // First: a tunnel under full load must hear an order between two turns, not when it has nothing more to do.
        if let Poll::Ready(command) = self.session.poll_told(cx) {
            return self.obey(command);
        }
        let Some(upstream) = self.upstream.as_mut() else { return self.upstream_ended() };
        let down = self.to_client.pump(cx, upstream, &mut self.client, chunk, Until::End);
        self.note_close(Party::Upstream);
        let Some(upstream) = self.upstream.as_mut() else { return self.upstream_ended() };
        let up = if self.upstream_deaf {
            self.to_upstream.swallow(cx, &mut self.client, chunk)
        } else {
            self.to_upstream.pump(cx, &mut self.client, upstream, chunk, Until::End)
        };
        self.note_close(Party::Client);
        match &down {
            Ok(Stopped::Ended) | Err(Broken::Source) => return self.upstream_ended(),
            Err(Broken::Sink) => return self.client_lost(cx),
            Err(Broken::Malformed) => {
                self.leave_upstream(cx);
                // No Close of ours: the client may be inside the frame that makes no sense, and would take it for
                // payload.
                return self.shut(Outcome::ProtocolError(Party::Upstream));
            }
            Ok(_) => {}
        }
        match &up {
            Ok(Stopped::Ended) | Err(Broken::Source) if !self.to_upstream.tracker.close_seen() => {
                return self.client_lost(cx);
            }
            Err(Broken::Malformed) => return self.end(Why::ProtocolError(Party::Client), Close::protocol_error()),
            Err(Broken::Sink) => {
                // It may have said why before it closed: what it sent, its Close above all, is still read for as long
                // as a frame may take.
                self.upstream_deaf = true;
                self.to_upstream.discard();
                self.deadline = Some(Instant::now() + self.limits.frame_limit);
                return Turn::Again;
            }
            _ => {}
        }
        if self.both_closed() {
            self.leave_upstream(cx);
            return self.shut(self.closed().outcome(true));
        }
        match (down, up) {
            (Ok(Stopped::TurnOver), _) | (_, Ok(Stopped::TurnOver)) => Turn::Yield,
            _ => Turn::Wait,
        }
    }

    /// Keeps the client, whose upstream is lost, until the session is told or the limit comes.
    fn await_decision(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> Turn {
        if let Poll::Ready(command) = self.session.poll_told(cx) {
            return self.obey(command);
        }
        if let Poll::Ready(Err(_)) = self.to_client.poll_deliver(cx, &mut self.client) {
            return self.client_lost(cx);
        }
        let swallowed = self.to_upstream.swallow(cx, &mut self.client, chunk);
        self.note_close(Party::Client);
        match swallowed {
            // Its upstream cannot answer any more: the client gets the answer that ends its own Close.
            _ if self.first_close.is_some() => self.end(Why::ClientClosed, Close::normal()),
            Err(Broken::Malformed) => self.end(Why::ProtocolError(Party::Client), Close::protocol_error()),
            Ok(Stopped::Ended) | Err(_) => self.client_lost(cx),
            Ok(Stopped::TurnOver) => Turn::Yield,
            Ok(_) => Turn::Wait,
        }
    }

    /// Completes the frame the client is in the middle of, then parts.
    fn finish(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk, why: Why, close: &Close) -> Turn {
        let Some(upstream) = self.upstream.as_mut() else {
            return if self.to_client.tracker.at_boundary() {
                self.say_close(cx, why, close)
            } else {
                self.cut(cx, why)
            };
        };
        // Both directions stop at a frame's end: only there may a Close of ours stand (RFC 6455 section 5.4).
        let down = self.to_client.pump(cx, upstream, &mut self.client, chunk, Until::Boundary);
        let up = if self.upstream_deaf {
            Ok(Stopped::Waiting)
        } else {
            self.to_upstream.pump(cx, &mut self.client, upstream, chunk, Until::Boundary)
        };
        match &up {
            // No Close can follow there any more; the client's own frame goes on to its end.
            Err(Broken::Sink | Broken::Malformed) => self.upstream_deaf = true,
            Ok(Stopped::Ended) | Err(Broken::Source) if !self.to_upstream.tracker.close_seen() => {
                return self.client_lost(cx);
            }
            _ => {}
        }
        match down {
            Ok(Stopped::AtBoundary) => self.say_close(cx, why, close),
            Ok(Stopped::Ended) | Err(Broken::Source) if self.to_client.tracker.at_boundary() => {
                self.say_close(cx, why, close)
            }
            Ok(Stopped::Ended) | Err(Broken::Source | Broken::Malformed) => self.cut(cx, why),
            Err(Broken::Sink) => self.client_lost(cx),
            Ok(Stopped::Waiting) if !matches!(up, Ok(Stopped::TurnOver)) => Turn::Wait,
            Ok(_) => Turn::Yield,
        }
    }

    /// Hands the Close over, then swallows what the client sends until it answers.
    fn part(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk, why: Why, mut told: bool) -> Turn {
        if !told {
            match self.to_client.poll_deliver(cx, &mut self.client) {
                Poll::Ready(Ok(())) => {
                    told = true;
                    self.phase = Phase::Parting { why, told };
                    // From when the client has the Close, not from when it was written for it.
                    self.deadline = Some(Instant::now() + self.limits.goodbye_limit);
                }
                Poll::Ready(Err(_)) => return Turn::Done(Outcome::ClientLost),
                Poll::Pending => {}
            }
        }
        match self.to_upstream.swallow(cx, &mut self.client, chunk) {
            _ if told && self.to_upstream.tracker.close_seen() => self.shut(why.outcome(true)),
            Ok(Stopped::TurnOver) => Turn::Yield,
            Ok(Stopped::Ended) | Err(Broken::Malformed) if told => self.shut(why.outcome(true)),
            Err(Broken::Source) => Turn::Done(if told { why.outcome(true) } else { Outcome::ClientLost }),
            _ => Turn::Wait,
        }
    }

    /// Waits for whichever limit comes first; never ready without one.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(due) = self.due() else {
                // Under load a limit comes and goes with every write: a timer once made is kept until it has run out.
                self.timer.take_if(|timer| timer.is_elapsed());
                return Poll::Pending;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            // Only ever earlier: a limit that has moved on is found when the timer runs out. To set it for each write
            // would cost.
            if due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let stalled = [self.client_stalled_at(), self.upstream_stalled_at()];
        stalled.into_iter().chain([self.deadline]).flatten().min()
    }

    fn client_stalled_at(&self) -> Option<Instant> {
        self.stalled_at(&self.to_client)
    }

    fn upstream_stalled_at(&self) -> Option<Instant> {
        self.stalled_at(&self.to_upstream)
    }

    /// The other phases have a deadline of their own.
    fn stalled_at(&self, flow: &Flow) -> Option<Instant> {
        let since = flow.blocked_since().filter(|_| matches!(self.phase, Phase::Open))?;
        Some(since + self.limits.write_stall)
    }

    /// Ends the phase whose limit has come.
    fn time_out(&mut self, cx: &mut Context<'_>) -> Turn {
        let now = Instant::now();
        match self.phase {
            Phase::Open if self.client_stalled_at().is_some_and(|at| at <= now) => {
                self.leave_upstream(cx);
                Turn::Done(Outcome::ClientStalled)
            }
            Phase::Open if self.upstream_stalled_at().is_some_and(|at| at <= now) => {
                self.end(Why::UpstreamStalled, Close::upstream_lost())
            }
            Phase::Open => match self.first_close {
                None => self.upstream_lost(),
                // The upstream owes the answer to the client's Close; it is given in its place.
                Some(Party::Client) => self.end(Why::ClientClosed, Close::normal()),
                Some(Party::Upstream) => {
                    self.leave_upstream(cx);
                    self.shut(Outcome::UpstreamClosed)
                }
            },
            Phase::Orphaned if self.session.must_leave() => {
                // The decision has come: the user's turn will.
                self.deadline = None;
                Turn::Again
            }
            Phase::Orphaned => self.end(Why::UpstreamLost, Close::upstream_lost()),
            Phase::Finishing { why, .. } => self.cut(cx, why),
            Phase::Parting { why, told: false } => {
                self.session.record_truncated();
                Turn::Done(why.outcome(false))
            }
            Phase::Parting { why, told: true } => self.shut(why.outcome(true)),
            Phase::Shutting(outcome) => Turn::Done(outcome),
        }
    }

    fn obey(&mut self, command: Command) -> Turn {
        match command {
            Command::Move => self.end(Why::Demoted, self.session.close().clone()),
            Command::Drain => self.end(Why::Drained, Close::going_away()),
        }
    }

    /// Begins an end of which the client is told.
    fn end(&mut self, why: Why, close: Close) -> Turn {
        self.phase = Phase::Finishing { why, close };
        self.deadline = Some(Instant::now() + self.limits.frame_limit);
        Turn::Again
    }

    /// At a frame boundary: our Close follows what is written, unless the upstream's own went before.
    fn say_close(&mut self, cx: &mut Context<'_>, why: Why, close: &Close) -> Turn {
        // A second Close would be a fault: nothing follows the first (RFC 6455 section 5.5.1).
        if !self.to_client.tracker.close_seen() {
            self.to_client.append(&close.to_client());
        }
        // The client first: it is the one that waits. What goes wrong here shows again in the next phase.
        let _ = self.to_client.poll_deliver(cx, &mut self.client);
        self.leave_upstream(cx);
        self.phase = Phase::Parting { why, told: false };
        Turn::Again
    }

    /// Inside a frame: no Close is possible any more.
    fn cut(&mut self, cx: &mut Context<'_>, why: Why) -> Turn {
        self.session.record_truncated();
        self.leave_upstream(cx);
        if self.to_client.is_delivered() { self.shut(why.outcome(false)) } else { Turn::Done(why.outcome(false)) }
    }

    fn upstream_ended(&mut self) -> Turn {
        self.upstream = None;
        match self.first_close {
            None => self.upstream_lost(),
            Some(_) => self.end(self.closed(), Close::normal()),
        }
    }

    /// No Close has passed, and the upstream will take none. Who is inside a frame has nothing to wait for.
    fn upstream_lost(&mut self) -> Turn {
        // At once, before anybody waits: the decision that orphans wait for begins with this sign.
        if let Some(Hook(hook)) = self.on_upstream_lost.take() {
            hook();
        }
        let may_wait = self.session.belongs_to_a_side() && !self.limits.orphan_limit.is_zero();
        if !may_wait || !self.to_client.tracker.at_boundary() {
            return self.end(Why::UpstreamLost, Close::upstream_lost());
        }
        self.upstream = None;
        self.to_upstream.discard();
        self.phase = Phase::Orphaned;
        self.deadline = Some(Instant::now() + self.limits.orphan_limit);
        Turn::Again
    }

    fn client_lost(&mut self, cx: &mut Context<'_>) -> Turn {
        self.leave_upstream(cx);
        Turn::Done(if self.first_close.is_some() { self.closed().outcome(true) } else { Outcome::ClientLost })
    }

    /// Drops the upstream at once, with a Close if it is not in the middle of a frame.
    fn leave_upstream(&mut self, cx: &mut Context<'_>) {
        let Some(mut upstream) = self.upstream.take() else { return };
        let mut upstream = Pin::new(&mut upstream);
        let tracker = &self.to_upstream.tracker;
        if !self.upstream_deaf && self.to_upstream.is_written() && tracker.at_boundary() && !tracker.close_seen() {
            let close = Close::going_away().to_upstream(fastrand::u32(..).to_ne_bytes());
            // Tried once: the upstream is dropped in any case, and the client does not wait for its buffers.
            let _ = upstream.as_mut().poll_write(cx, &close);
        }
        let _ = upstream.poll_shutdown(cx);
    }

    fn shut(&mut self, outcome: Outcome) -> Turn {
        self.phase = Phase::Shutting(outcome);
        self.deadline = Some(Instant::now() + self.limits.shutdown_limit);
        Turn::Again
    }

    fn note_close(&mut self, party: Party) {
        let flow = match party {
            Party::Client => &self.to_upstream,
            Party::Upstream => &self.to_client,
        };
        if self.first_close.is_none() && flow.tracker.close_seen() {
            self.first_close = Some(party);
            // A limit that runs already, that of an upstream that takes nothing, is the shorter one.
            self.deadline.get_or_insert_with(|| Instant::now() + self.limits.answer_limit);
        }
    }

    fn both_closed(&self) -> bool {
        [&self.to_client, &self.to_upstream].into_iter().all(|flow| flow.tracker.close_seen() && flow.is_delivered())
    }

    fn closed(&self) -> Why {
        match self.first_close {
            Some(Party::Client) => Why::ClientClosed,
            _ => Why::UpstreamClosed,
        }
    }
}

impl<C, U> Future for Relay<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Report;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Report> {
        let relay = self.get_mut();
        let outcome = relay.poll_outcome(cx, &mut Chunk::take());
        // With each turn, so that the list of sessions is true without asking the tunnel.
        relay.session.record(relay.to_client.bytes(), relay.to_upstream.bytes());
        outcome.map(|outcome| Report {
            outcome,
            to_client: Carried::of(&relay.to_client),
            to_upstream: Carried::of(&relay.to_upstream),
            lasted: relay.began.elapsed(),
        })
    }
}

/// Whom to tell of the upstream's loss.
struct Hook(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl Why {
    fn outcome(self, clean: bool) -> Outcome {
        match self {
            Self::Demoted => Outcome::Demoted { clean },
            Self::Drained => Outcome::Drained { clean },
            Self::ClientClosed => Outcome::ClientClosed,
            Self::UpstreamClosed => Outcome::UpstreamClosed,
            Self::UpstreamLost => Outcome::UpstreamLost { clean },
            Self::UpstreamStalled => Outcome::UpstreamStalled { clean },
            Self::ProtocolError(party) => Outcome::ProtocolError(party),
        }
    }
}

#[cfg(test)]
mod tests;
