//! The other voters as a XiVO node sees them: what they answer, and what of them needs a person: times that do not agree,
//! another version, a second machine under the peer's name.

use std::time::Duration;

use failover::Instant;
use failover::duty::{Event, RemoteVoter, Settings, Witness};
use failover::health::Status;
use failover::lease::{Namesakes, Report, Request};
use tokio::sync::mpsc;

use super::endpoint::Asked;
use super::telling::Telling;
use super::voters::{Answered, Voters};
use crate::control::api::{self, Link, VoterView};
use crate::node::clock;
use crate::roles::alarms::Alarm;
use crate::roles::status::{Line, millis};
use crate::roles::times::{Compared, Told, compare};

/// The ways to and from the other voters, and what was heard of them.
pub(super) struct Others {
    settings: Settings,
    /// When this watchdog began, on this node's clock: until then nobody could answer it.
    began: Instant,
    pub(super) voters: Voters,
    pub(super) answers: mpsc::Receiver<Answered>,
    /// The peer's requests, as the endpoint passes them on; each waits for its answer.
    pub(super) asked: mpsc::Receiver<Asked>,
    /// What the peer said of itself last.
    report: Option<Report>,
    /// For how long the peer needs this node's vote.
    needs: Option<Duration>,
    /// The machines that ask under the peer's name.
    machines: Namesakes,
}

impl Others {
    pub(super) fn new(
        settings: Settings,
        voters: Voters,
        answers: mpsc::Receiver<Answered>,
        asked: mpsc::Receiver<Asked>,
    ) -> Self {
        let machines = Namesakes::default();
        Self { settings, began: clock::now(), voters, answers, asked, report: None, needs: None, machines }
    }

    /// A voter answered, or did not. Returns what the duty is to know of it.
    pub(super) fn answered(&mut self, answered: Answered, telling: &Telling) -> Option<Event> {
        match &answered.told {
            Ok(answer) => {
                telling.metrics.answered(answered.by, answer.ruling, clock::now().since(answered.sent));
            }
            Err(_) => telling.metrics.unanswered(answered.by),
        }
        let (by, sent, answer) = self.voters.note(answered)?;
        // The witness tells nothing of itself: its answers leave the peer's word alone.
        self.report = answer.report.or(self.report);
        Some(Event::Answered { by, sent, answer })
    }

    /// Takes in what a request of the peer tells of the machine that asks.
    pub(super) fn meet(&mut self, request: &Request) {
        self.needs = Some(request.needs);
        self.machines.hear(request.instance, clock::now());
    }

    fn witness(&self) -> bool {
        self.settings.witness == Witness::Configured
    }

    /// What the others told of their times.
    fn told(&self) -> Told {
        let promises = |by: RemoteVoter| self.voters.seen[by].promises.map(millis);
        Told {
            peer_needs: self.needs.map(millis),
            peer_promises: promises(RemoteVoter::Peer),
            witness_promises: promises(RemoteVoter::Witness),
        }
    }

    /// How the others' times differ from this node's, though each is promised what it needs, or is not.
    pub(super) fn times_differ(&self) -> Vec<String> {
        compare(&self.settings.timing, &self.told()).remarks
    }

    /// Says so when nobody who votes answers an inactive node.
    pub(super) fn look_for_company(&self, status: Status, telling: &mut Telling) {
        let now = clock::now();
        let long = self.settings.timing.promise * 2;
        let silent = |by| self.voters.seen[by].answered.unwrap_or(self.began) + long <= now;
        let witness = self.witness();
        // A node that serves has votes, or is an alarm of its own without them.
        let alone =
            status == Status::Inactive && silent(RemoteVoter::Peer) && (!witness || silent(RemoteVoter::Witness));
        let who = if witness { "neither the peer nor the witness answers" } else { "the peer does not answer" };
        let alone = alone.then(|| format!("{who}: this node does not serve, as it may be the one that is cut off"));
        telling.raise(Alarm::Alone, alone);
    }

    /// Says what of the other voters needs a person, and shows it while it lasts.
    pub(super) fn look(&self, telling: &mut Telling) {
        let Compared { alarms, .. } = compare(&self.settings.timing, &self.told());
        telling.raise(Alarm::Times, (!alarms.is_empty()).then(|| alarms.join("; ")));
        let of_version = RemoteVoter::BOTH.map(|by| {
            let seen = &self.voters.seen[by];
            let why = seen.failed.as_deref().filter(|_| seen.other_version)?;
            Some(format!("{by} gives no vote, and is given none, until it has this node's version: {why}"))
        });
        let of_version: Vec<_> = of_version.into_iter().flatten().collect();
        telling.raise(Alarm::Version, (!of_version.is_empty()).then(|| of_version.join("; ")));
        let silence = self.settings.timing.promise;
        let namesake = self.machines.are_two(silence, clock::now()).then(|| {
            format!(
                "TWO MACHINES ask as the XiVO node of {}, each with its certificate: one is a copy of the other. One of them \
                 is given the votes; switch the copy off",
                self.settings.side.other()
            )
        });
        telling.raise(Alarm::Namesake, namesake);
    }

    /// The other voters, as they are shown.
    pub(super) fn view(&self) -> api::Voters {
        api::Voters {
            peer: self.voter(RemoteVoter::Peer),
            witness: self.witness().then(|| self.voter(RemoteVoter::Witness)),
        }
    }

    fn voter(&self, by: RemoteVoter) -> VoterView {
        let seen = &self.voters.seen[by];
        let none = || Link { address: String::new(), connected: false, state: "not configured".into() };
        let mut link = self.voters.line(by).map_or_else(none, Line::view);
        if let Some(why) = &seen.failed {
            link.state.clone_from(why);
        }
        let peer = (by == RemoteVoter::Peer).then_some(self.report).flatten();
        VoterView {
            link,
            answered_ms_ago: seen.answered.map(|at| millis(clock::now().since(at))),
            ruling: seen.ruling,
            status: peer.map(|report| report.status),
            fit: peer.map(|report| report.fit),
            needs_ms: self.needs.filter(|_| by == RemoteVoter::Peer).map(millis),
            promises_ms: seen.promises.map(millis),
        }
    }
}
