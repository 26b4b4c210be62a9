//! Carries a duty's requests to the other voters, and brings their answers back, however late.

use std::time::Duration;

use failover::Instant;
use failover::duty::{PerVoter, RemoteVoter};
use failover::lease::{Answer, Request, VoteReply};
use protocol::link::LinkError;
use protocol::wire::{Ask, Told};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::node::clock;
use crate::roles::status::Line;

/// Answers that may wait for the driver: a few heartbeats' worth of two voters.
const ANSWERS: usize = 64;

/// The ways to the other voters.
#[derive(Debug)]
pub(super) struct Voters {
    lines: PerVoter<Option<Line>>,
    /// An answer later than this is worth nothing: its lease is over.
    limit: Duration,
    answers: mpsc::Sender<Answered>,
    pub(super) seen: PerVoter<Seen>,
}

/// What a voter was last seen to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// When it answered last, on this node's clock.
    pub(super) answered: Option<Instant>,
    /// How it ruled with that answer.
    pub(super) ruling: Option<VoteReply>,
    /// For how long it promises its vote at most, if it said so.
    pub(super) promises: Option<Duration>,
    /// Why the newest request had no answer, if it had none.
    pub(super) failed: Option<String>,
    /// It speaks another version of the protocol.
    pub(super) other_version: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) by: RemoteVoter,
    pub(super) sent: Instant,
    pub(super) told: Result<Answer, NoAnswer>,
}

/// Why there is no answer, for people.
#[derive(Debug)]
pub(super) struct NoAnswer {
    why: String,
    other_version: bool,
}

impl From<String> for NoAnswer {
    fn from(why: String) -> Self {
        Self { why, other_version: false }
    }
}

impl From<LinkError> for NoAnswer {
    fn from(error: LinkError) -> Self {
        Self { why: error.to_string(), other_version: matches!(error, LinkError::OtherVersion(_)) }
    }
}

impl Voters {
    pub(super) fn new(lines: PerVoter<Option<Line>>, limit: Duration) -> (Self, mpsc::Receiver<Answered>) {
        let (answers, received) = mpsc::channel(ANSWERS);
        (Self { lines, limit, answers, seen: PerVoter::default() }, received)
    }

    /// Asks; the answer comes through the channel. Nothing is asked of a voter that is not there.
    pub(super) fn ask(&self, voter: RemoteVoter, request: Request, sent: Instant) {
        let Some(link) = self.lines[voter].as_ref().map(|line| line.link.clone()) else { return };
        let (answers, limit) = (self.answers.clone(), self.limit);
        // Each request has a task: an answer that is late must not keep the next request from being sent.
        host::spawn(async move {
            let told = match timeout(limit, link.ask(Ask::Vote(request))).await {
                Ok(Ok(Told::Vote(answer))) => Ok(answer),
                Ok(Ok(Told::Refused { reason })) => Err(reason.into()),
                Ok(Ok(_)) => Err("it answered something else than was asked".to_owned().into()),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(format!("no answer within {limit:?}").into()),
            };
            // A full queue is a driver that stands still: then the answer is as good as lost.
            let _ = answers.try_send(Answered { by: voter, sent, told });
        });
    }

    /// Notes what became of a request, and returns the answer if there is one.
    pub(super) fn note(&mut self, answered: Answered) -> Option<(RemoteVoter, Instant, Answer)> {
        let Answered { by, sent, told } = answered;
        let seen = &mut self.seen[by];
        match told {
            Ok(answer) => {
                // A grant tells for how long the vote is promised; that it could be longer, another answer told.
                let promises = if answer.ruling == VoteReply::Grant { seen.promises } else { Some(answer.promises) };
                let (answered, ruling) = (Some(clock::now()), Some(answer.ruling));
                *seen = Seen { answered, ruling, promises, failed: None, other_version: false };
                Some((by, sent, answer))
            }
            Err(NoAnswer { why, other_version }) => {
                (seen.failed, seen.other_version) = (Some(why), other_version);
                None
            }
        }
    }

    /// The way to a voter.
    pub(super) fn line(&self, by: RemoteVoter) -> Option<&Line> {
        self.lines[by].as_ref()
    }
}
