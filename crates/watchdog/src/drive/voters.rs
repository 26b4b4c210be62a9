//! Carries a duty's requests to the other voters, and brings their answers back, however late.

use super::show::Line;
use crate::hands::clock;
use failover::Instant;
use failover::duty::{Elector, PerElector};
use failover::lease::{Answer, Request, Ruling};
use protocol::wire::{Ask, Told};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Answers that may wait for the driver: a few heartbeats' worth of two voters.
const ANSWERS: usize = 64;

/// The ways to the other voters.
#[derive(Debug)]
pub(super) struct Voters {
    lines: PerElector<Option<Line>>,
    /// An answer later than this is worth nothing: its lease is over.
    limit: Duration,
    answers: mpsc::Sender<Answered>,
    pub(super) seen: PerElector<Seen>,
}

/// What a voter was last seen to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// When it answered last.
    pub(super) answered: Option<Instant>,
    /// How it ruled then.
    pub(super) ruling: Option<Ruling>,
    /// Why the newest request had no answer, if it had none.
    pub(super) failed: Option<String>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) by: Elector,
    pub(super) sent: Instant,
    pub(super) told: Result<Answer, String>,
}

impl Voters {
    pub(super) fn new(lines: PerElector<Option<Line>>, limit: Duration) -> (Self, mpsc::Receiver<Answered>) {
        let (answers, received) = mpsc::channel(ANSWERS);
        (Self { lines, limit, answers, seen: PerElector::default() }, received)
    }

    /// Asks; the answer comes through the channel. Nothing is asked of a voter that is not there.
    pub(super) fn ask(&self, voter: Elector, request: Request, sent: Instant) {
        let Some(link) = self.lines[voter].as_ref().map(|line| line.link.clone()) else { return };
        let (answers, limit) = (self.answers.clone(), self.limit);
        host::spawn(async move {
            let told = match timeout(limit, link.ask(Ask::Vote(request))).await {
                Ok(Ok(Told::Vote(answer))) => Ok(answer),
                Ok(Ok(Told::Refused { reason })) => Err(reason),
                Ok(Ok(_)) => Err("it answered something else than was asked".to_owned()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {limit:?}")),
            };
            // A full queue is a driver that stands still: then the answer is as good as lost.
            let _ = answers.try_send(Answered { by: voter, sent, told });
        });
    }

    /// Notes what became of a request, and returns the answer if there is one.
    pub(super) fn note(&mut self, answered: Answered) -> Option<(Elector, Instant, Answer)> {
        let Answered { by, sent, told } = answered;
        let seen = &mut self.seen[by];
        match told {
            Ok(answer) => {
                *seen = Seen { answered: Some(clock::now()), ruling: Some(answer.ruling), failed: None };
                Some((by, sent, answer))
            }
            Err(why) => {
                seen.failed = Some(why);
                None
            }
        }
    }

    /// The way to a voter.
    pub(super) fn line(&self, by: Elector) -> Option<&Line> {
        self.lines[by].as_ref()
    }
}
