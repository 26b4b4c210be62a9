//! What a XiVO node shows of itself.

use super::Xivo;
use crate::control::api::{
    Activations, DutyView, FenceState, FenceView, IcmpSocket, IcmpView, Link, VoterView, Voters,
};
use crate::node::clock;
use crate::node::echo::{Answering, Socket};
use crate::node::fence;
use crate::node::liveness::Works;
use crate::roles::status::{Line, Requested, millis, own_certificate, running};
use crate::roles::xivo::replication::Replicates;
use crate::state::Kind;
use failover::duty::{Choice, Guard, Relapses, RemoteVoter, Requests, Why, Witness};
use failover::health::Status;
use failover::{Side, Span};
use protocol::wire::{self, Chosen, ServiceState, Times, Watched};
use std::time::Duration;

/// What an operator chose is told to the Edge for so long: a stop, a start and the contact centre's start take half of it at
/// most. Traffic that moves later moves for another reason, though the choice may hold for months on a manual node.
const CHOSEN_LATELY: Duration = Duration::from_secs(600);

impl Xivo {
    /// Shows everything that changed since the last event: to the followers, the Edge, and whoever asks.
    pub(super) fn show(&mut self) {
        let status = self.duty.status();
        let epoch = self.duty.epoch();
        self.watched.send_if_modified(|watched| {
            let changed = watched.status != status;
            if changed {
                *watched = Watched { serial: watched.serial + 1, status, epoch };
            }
            changed
        });
        self.outside.inactive(status == Status::Inactive);
        if let Some(replication) = &self.replication {
            replication.tell(if status == Status::Active { Replicates::Yes } else { Replicates::No });
            self.alarms.replication(replication.failed());
        }
        own_certificate(&self.keyring, &mut self.alarms, &self.shown.metrics);
        let unfit = self.fitness.unfit(clock::now(), self.serves());
        self.alarms.unfit(unfit.as_ref().map(|why| (why.kind(), format!("cannot serve: {why}"))));
        self.leave_lease();
        self.look_for_company();
        self.look_at_others();
        self.look_for_weakness();

        let mut view = self.who.view(&self.doings, &self.alarms, self.acts_of_others.iter().cloned().collect());
        view.status = status;
        let observed = self.observed.borrow().clone();
        if observed.works != Works::Unknown {
            let works = observed.works == Works::Yes;
            view.services.insert("telephony".into(), ServiceState { works, detail: observed.detail });
        }
        view.running = running(&self.worker, &mut self.doing_since);
        view.duty = Some(self.duty_view(unfit.is_none() && self.duty.report().fit));
        self.shown.show(view, Requested { wished: self.wished.clone(), chosen: self.chosen() });
    }

    /// What an operator lately chose, as long as the node goes by it.
    fn chosen(&self) -> Option<Chosen> {
        let (chosen, at) = self.chosen.as_ref()?;
        let here = self.settings.side;
        let serves = match self.duty.memory().wishes.choice {
            Choice::None => return None,
            Choice::Serve => here,
            Choice::StepBack => here.other(),
        };
        (serves == chosen.serves && clock::now() < *at + CHOSEN_LATELY).then(|| chosen.clone())
    }

    /// Says so when nobody who votes answers an inactive node, and when a serving one has no majority.
    fn look_for_company(&mut self) {
        let (status, now) = (self.duty.status(), clock::now());
        let long = self.settings.timing.promise * 2;
        let silent = |by| self.voters.seen[by].answered.unwrap_or(self.began) + long <= now;
        let witness = self.settings.witness == Witness::Configured;
        let alone =
            status == Status::Inactive && silent(RemoteVoter::Peer) && (!witness || silent(RemoteVoter::Witness));
        let who = if witness { "neither the peer nor the witness answers" } else { "the peer does not answer" };
        let alone = alone.then(|| format!("{who}: this node does not serve, as it may be the one that is cut off"));
        if self.alarms.alone(alone.clone())
            && let Some(alone) = alone
        {
            self.tell(Kind::Alarm, &alone);
        }
        // Shown while it lasts, and a while longer.
        if self.duty.two_actives() {
            self.alarms.two_actives(now);
        }
        let unguarded = match self.duty.guard() {
            Some(guard @ Guard::Unguarded(_)) => Some(guard.to_string()),
            _ => None,
        };
        self.alarms.guard(unguarded);
    }

    /// Says so when activations fail, and when the disk is too slow for one.
    fn look_for_weakness(&mut self) {
        let slow = self.duty.slow_disk().map(|took| {
            let most = Span(self.settings.slowest_write());
            format!(
                "the disk is too slow: a write of the state took {}, and a start can wait for {most} at most; this node \
                 serves only if its peer does not",
                Span(took)
            )
        });
        if self.alarms.slow_disk(slow.clone())
            && let Some(slow) = slow
        {
            self.tell(Kind::Alarm, &slow);
        }
        let serves = self.duty.status() == Status::Active;
        let relapses = self.duty.relapses().filter(|_| !serves).and_then(|all| relapses(&all, self.settings.side));
        if self.alarms.relapses(relapses.clone())
            && let Some(relapses) = relapses
        {
            self.tell(Kind::Alarm, &relapses);
        }
    }

    fn activations(&self) -> Activations {
        let relapses = self.duty.relapses();
        let settles = self.duty.settles_at().filter(|_| self.duty.status() == Status::Inactive);
        Activations {
            failed: relapses.map_or(0, |all| all.failed),
            why: relapses.and_then(|all| all.why).map(|why| why.to_string()),
            hold_down_ms: millis(relapses.map_or(self.settings.hold_down, |all| all.hold_down)),
            settles_in_ms: settles.map(|at| millis(at.since(clock::now()))),
        }
    }

    fn duty_view(&self, fit: bool) -> DutyView {
        let (memory, now) = (self.duty.memory(), clock::now());
        let wishes = memory.wishes;
        let within = self.settings.timing.promise;
        let answers = |host| self.echo.answering(host, within) == Answering::Yes;
        DutyView {
            epoch: self.duty.epoch(),
            campaign: memory.campaign,
            guard: self.duty.guard().map(guard),
            fit,
            waiting: self.duty.waiting().filter(|_| !self.serves()).map(|why| why.to_string()),
            mode: wishes.mode.into(),
            failback: wishes.failback.into(),
            frozen: wishes.frozen,
            choice: wishes.choice.into(),
            accept_requests: self.settings.requests == Requests::Accept,
            voters: Voters {
                peer: self.voter(RemoteVoter::Peer),
                witness: (self.settings.witness == Witness::Configured).then(|| self.voter(RemoteVoter::Witness)),
            },
            witness_out: self.duty.report().witness_out,
            vote: memory.vote.record.to_string(),
            lease_ms_left: self.duty.lease_until().map(|until| millis(until.since(now))),
            takeover_ms: millis(self.settings.timing.activation_bound(self.start_limit, Duration::ZERO)),
            times: Some(Times::from(&self.settings.timing)),
            times_differ: self.times_differ(),
            fence: FenceView {
                kind: self.fence.kind().into(),
                state: self.fence_state,
                detail: self.fence_detail.clone(),
            },
            icmp: IcmpView {
                socket: socket(if self.peer_host.is_ipv4() { &self.echo.v4 } else { &self.echo.v6 }),
                peer: match self.echo.answering(self.peer_host, within) {
                    Answering::Yes => Some(true),
                    Answering::No => Some(false),
                    Answering::Unknown => None,
                },
                anchors: (!self.anchors.is_empty()).then(|| self.anchors.iter().copied().any(answers)),
            },
            media_servers: self.registrations.as_ref().map(|all| all.state().borrow().clone()).unwrap_or_default(),
            persisted: !self.alarms.has_disk(),
            activations: self.activations(),
            slow_write_ms: self.duty.slow_disk().map(millis),
            replication_held: self.replication.as_ref().map(|_| self.duty.status() != Status::Active),
            explanation: self.duty.explain().to_string(),
        }
    }

    fn voter(&self, by: RemoteVoter) -> VoterView {
        let seen = &self.voters.seen[by];
        let none = || Link { address: String::new(), connected: false, state: "not configured".into() };
        let mut link = self.voters.line(by).map_or_else(none, Line::view);
        if let Some(why) = &seen.failed {
            link.state.clone_from(why);
        }
        let peer = (by == RemoteVoter::Peer).then_some(self.peer_report).flatten();
        VoterView {
            link,
            answered_ms_ago: seen.answered.map(|at| millis(clock::now().since(at))),
            ruling: seen.ruling.map(Into::into),
            status: peer.map(|report| report.status),
            fit: peer.map(|report| report.fit),
            needs_ms: self.peer_needs.filter(|_| by == RemoteVoter::Peer).map(millis),
            promises_ms: seen.promises.map(millis),
        }
    }

    /// Leaves the lease for the next watchdog, however this one ends. A file of the running system: it costs no disk.
    pub(super) fn leave_lease(&mut self) {
        let handover = self.duty.hand_over();
        if handover == self.left {
            return;
        }
        let written = match handover {
            Some(handover) => crate::state::handover::leave(&self.handover, handover),
            None => crate::state::handover::forget(&self.handover),
        };
        match written {
            Ok(()) => self.left = handover,
            Err(error) => tracing::debug!(%error, "the hand-over cannot be written"),
        }
    }

    pub(super) fn saw_fence(&mut self, state: FenceState, detail: &str) {
        self.fence_state = state;
        detail.clone_into(&mut self.fence_detail);
    }
}

/// Activations that failed, if that needs a person: one that ended for want of votes does not, a second one does.
fn relapses(relapses: &Relapses, side: Side) -> Option<String> {
    let Relapses { failed, why, hold_down } = relapses;
    let own = matches!(why, Some(Why::StartFailed | Why::Unfit));
    if *failed < 2 && !own {
        return None;
    }
    let what = if *failed == 1 { "the last activation".to_owned() } else { format!("the last {failed} activations") };
    let why = why.map(|why| format!(" (the newest: {why})")).unwrap_or_default();
    let then = match side {
        Side::Main => format!(
            ": standby does not stop for this node before it has been fit and in touch for {}, or `resume` is said here",
            Span(*hold_down)
        ),
        Side::Standby => String::new(),
    };
    Some(format!("{what} of this node failed{why}{then}"))
}

/// How a fence is, as people read it.
pub(in crate::roles) fn fence_state(state: &fence::State) -> (FenceState, String) {
    match state {
        fence::State::Open => (FenceState::Open, "phones are let in".into()),
        fence::State::Closed => (FenceState::Closed, "phones are kept out".into()),
        fence::State::Missing(why) => (FenceState::Failed, why.clone()),
        fence::State::Unknown => (FenceState::Absent, "this fence stops no packet".into()),
    }
}

fn guard(guard: Guard) -> wire::Guard {
    match guard {
        Guard::Guarded => wire::Guard::Guarded,
        Guard::Exposed { lacks } => {
            let lacks = if lacks == RemoteVoter::Peer { "peer" } else { "witness" };
            wire::Guard::Exposed { lacks: lacks.into() }
        }
        Guard::Unguarded(why) => wire::Guard::Unguarded { why: why.to_string() },
    }
}

const fn socket(socket: &Socket) -> IcmpSocket {
    match socket {
        Socket::Datagram => IcmpSocket::Dgram,
        Socket::Raw => IcmpSocket::Raw,
        Socket::None(_) | Socket::Unused => IcmpSocket::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_that_failed_alarm_when_they_are_the_nodes_own_fault_or_not_the_first() {
        let told = |failed, why, side| relapses(&Relapses { failed, why, hold_down: Duration::from_secs(240) }, side);
        assert_eq!(told(1, Some(Why::LeaseOver), Side::Main), None);
        assert_eq!(told(1, None, Side::Main), None, "a host that crashed once");
        assert_eq!(
            told(2, Some(Why::StartFailed), Side::Main).unwrap(),
            "the last 2 activations of this node failed (the newest: the services did not start): standby does not stop for \
             this node before it has been fit and in touch for 4 min, or `resume` is said here"
        );
        assert_eq!(
            told(1, Some(Why::Unfit), Side::Standby).unwrap(),
            "the last activation of this node failed (the newest: telephony is dead)"
        );
    }
}
