//! What a XiVO node shows of itself.

use std::time::Duration;

use failover::duty::{Guard, Relapses, RemoteVoter, Requests, Why};
use failover::health::Status;
use failover::{Side, Span};
use protocol::wire::{self, Times};

use super::Xivo;
use crate::control::api::{Activations, DutyView};
use crate::node::clock;
use crate::roles::alarms::Alarm;
use crate::roles::status::{Requested, millis, own_certificate};

impl Xivo {
    /// Shows everything that changed since the last event: to the followers, the Edge, and whoever asks.
    pub(super) fn show(&mut self) {
        let (status, serves) = (self.duty.status(), self.serves());
        // CCs act on the status: they are told first.
        self.telling.followers(status, self.duty.epoch());
        self.condition.outside.inactive(status == Status::Inactive);
        self.telephony.replicate(status, &mut self.telling);
        own_certificate(&self.telling.keyring, &mut self.telling.alarms, &self.telling.metrics);
        let fit = self.condition.show(serves, &mut self.telling);
        // The lease is left with each turn, so that the newest one lies there however this watchdog ends.
        self.left.leave(self.duty.hand_over());
        self.others.look_for_company(status, &mut self.telling);
        self.look_at_votes();
        self.others.look(&mut self.telling);
        self.look_for_weakness();

        let acts = self.condition.acts_of_others();
        let mut view = self.telling.who.view(&self.telling.doings, &self.telling.alarms, acts);
        view.status = status;
        view.services.extend(self.telephony.state().map(|state| ("telephony".to_owned(), state)));
        view.running = self.telephony.running();
        view.duty = Some(self.duty_view(fit && self.duty.report().fit));
        let choice = self.duty.memory().wishes.choice;
        let requested = Requested { wished: self.operators.wished(), chosen: self.operators.chosen(choice) };
        self.telling.shown.show(view, requested);
    }

    /// Shows it when another node serves too, and when a serving one has no majority.
    fn look_at_votes(&mut self) {
        let alarms = &mut self.telling.alarms;
        // Shown while it lasts, and a while longer.
        if self.duty.two_actives() {
            alarms.two_actives(clock::now());
        }
        let unguarded = match self.duty.guard() {
            Some(guard @ Guard::Unguarded(_)) => Some(guard.to_string()),
            _ => None,
        };
        alarms.set(Alarm::Guard, unguarded);
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
        self.telling.raise(Alarm::SlowDisk, slow);
        let serves = self.duty.status() == Status::Active;
        let relapses = self.duty.relapses().filter(|_| !serves).and_then(|all| relapses(&all, self.settings.side));
        self.telling.raise(Alarm::Relapses, relapses);
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
        DutyView {
            epoch: self.duty.epoch(),
            campaign: memory.campaign,
            guard: self.duty.guard().map(guard),
            fit,
            waiting: self.duty.waiting().filter(|_| !self.serves()).map(|why| why.to_string()),
            mode: wishes.mode,
            failback: wishes.failback,
            frozen: wishes.frozen,
            choice: wishes.choice,
            accept_requests: self.settings.requests == Requests::Accept,
            voters: self.others.view(),
            witness_out: self.duty.report().witness_out,
            vote: memory.vote.record.to_string(),
            lease_ms_left: self.duty.lease_until().map(|until| millis(until.since(now))),
            takeover_ms: millis(self.settings.timing.activation_bound(self.start_limit, Duration::ZERO)),
            times: Some(Times::from(&self.settings.timing)),
            times_differ: self.others.times_differ(),
            fence: self.fencing.view(),
            icmp: self.surroundings.view(),
            media_servers: self.telephony.media_servers(),
            persisted: !self.telling.alarms.has(Alarm::Disk),
            activations: self.activations(),
            slow_write_ms: self.duty.slow_disk().map(millis),
            replication_held: self.telephony.replication.as_ref().map(|_| self.duty.status() != Status::Active),
            explanation: self.duty.explain().to_string(),
        }
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
