//! What the other voters show of themselves that needs a person: times that do not agree, another version, a second machine
//! under the peer's name.

use super::Xivo;
use crate::node::clock;
use crate::roles::times::{Compared, Told, compare};
use crate::state::Kind;
use failover::duty::RemoteVoter;
use failover::lease::Request;
use std::time::Duration;

impl Xivo {
    /// Takes in what a request of the peer tells of the machine that asks.
    pub(super) fn meet(&mut self, request: &Request) {
        self.peer_needs = Some(request.needs);
        self.peer_machines.hear(request.instance, clock::now());
    }

    /// What the others told of their times.
    fn told(&self) -> Told {
        let promises = |by: RemoteVoter| self.voters.seen[by].promises.map(ms);
        Told {
            peer_needs: self.peer_needs.map(ms),
            peer_promises: promises(RemoteVoter::Peer),
            witness_promises: promises(RemoteVoter::Witness),
        }
    }

    /// How the others' times differ from this node's, though each is promised what it needs, or is not.
    pub(super) fn times_differ(&self) -> Vec<String> {
        compare(&self.settings.timing, &self.told()).remarks
    }

    /// Says what of the other voters needs a person, and shows it while it lasts.
    pub(super) fn look_at_others(&mut self) {
        let Compared { alarms, .. } = compare(&self.settings.timing, &self.told());
        let times = (!alarms.is_empty()).then(|| alarms.join("; "));
        let of_version = RemoteVoter::BOTH.map(|by| {
            let seen = &self.voters.seen[by];
            let why = seen.failed.as_deref().filter(|_| seen.other_version)?;
            Some(format!("{by} gives no vote, and is given none, until it has this node's version: {why}"))
        });
        let of_version: Vec<_> = of_version.into_iter().flatten().collect();
        let version = (!of_version.is_empty()).then(|| of_version.join("; "));
        let silence = self.settings.timing.promise;
        let namesake = self.peer_machines.are_two(silence, clock::now()).then(|| {
            format!(
                "TWO MACHINES ask as the XiVO node of {}, each with its certificate: one is a copy of the other. One of them \
                 is given the votes; switch the copy off",
                self.settings.side.other()
            )
        });
        for (changed, alarm) in [
            (self.alarms.times(times.clone()), times),
            (self.alarms.version(version.clone()), version),
            (self.alarms.namesake(namesake.clone()), namesake),
        ] {
            if let (true, Some(alarm)) = (changed, alarm) {
                self.tell(Kind::Alarm, &alarm);
            }
        }
    }
}

fn ms(time: Duration) -> u64 {
    crate::roles::status::millis(time)
}
