//! What those who ask for the Edge's vote show of themselves: what they need, and whether two machines ask under one name.

use std::time::Duration;

use failover::lease::{Namesakes, Request, Timing};
use failover::{Instant, PerSide, Side};
use protocol::wire::Times;
use protocol::wire::times::not_promised;

/// What a node that is gone needed is shown for so long: it may come back with it.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What the node of each side showed of itself when it asked.
pub(super) struct Askers {
    own: Times,
    /// A machine that speaks at all does so at least as often.
    silence: Duration,
    sides: PerSide<Asker>,
}

#[derive(Default)]
struct Asker {
    machines: Namesakes,
    /// For how long it needs the vote, and when it said so.
    needs: Option<(u64, Instant)>,
}

impl Askers {
    pub(super) fn new(timing: &Timing) -> Self {
        Self { own: Times::from(timing), silence: timing.promise, sides: PerSide::default() }
    }

    /// Takes in what a request tells of the machine that asks.
    pub(super) fn hear(&mut self, request: &Request, now: Instant) {
        let asker = &mut self.sides[request.from];
        asker.machines.hear(request.instance, now);
        asker.needs = Some((u64::try_from(request.needs.as_millis()).unwrap_or(u64::MAX), now));
    }

    /// What of that needs a person, one sentence each.
    pub(super) fn alarms(&self, now: Instant) -> Vec<String> {
        let mut alarms = Vec::new();
        for side in Side::BOTH {
            let asker = &self.sides[side];
            if asker.machines.are_two(self.silence, now) {
                alarms.push(format!(
                    "TWO MACHINES ask as the XiVO node of {side}, each with its certificate: one is a copy of the other. One \
                     of them is given the vote; switch the copy off"
                ));
            }
            if let Some((needs, _)) = asker.needs.filter(|(_, at)| now.since(*at) < REMEMBERED) {
                let node = format!("the XiVO node of {side}");
                alarms.extend(not_promised("the Edge", self.own.promises_ms, &node, needs));
            }
        }
        alarms
    }
}

#[cfg(test)]
mod tests {
    use failover::health::Status;
    use failover::lease::{Ask, Report};

    use super::*;

    fn request(instance: u64, needs: Duration) -> Request {
        let report = Report { status: Status::Inactive, fit: true, witness_out: false, unguarded: false };
        let (from, ask) = (Side::Main, Ask::Want);
        Request { from, ask, campaign: 1, epoch: 0, report, settled: true, hears: true, instance, needs }
    }

    #[test]
    fn a_machine_restored_beside_main_is_named_and_so_is_a_main_whose_times_the_edge_does_not_have() {
        let mut askers = Askers::new(&Timing::DEFAULT);
        let at = |ms| Instant::ORIGIN + Duration::from_millis(ms);
        let needs = Timing::DEFAULT.shortest_promise();
        for beat in 0..20 {
            askers.hear(&request(1, needs), at(beat * 500));
        }
        assert_eq!(askers.alarms(at(9_500)), Vec::<String>::new());
        for beat in 20..31 {
            askers.hear(&request(1, needs), at(beat * 500));
            askers.hear(&request(2, needs), at(beat * 500));
        }
        let alarms = askers.alarms(at(15_000));
        assert!(alarms.len() == 1 && alarms[0].starts_with("TWO MACHINES ask as the XiVO node of main"), "{alarms:?}");
        askers.hear(&request(1, Duration::from_secs(4)), at(30_000));
        let alarms = askers.alarms(at(30_000));
        assert!(alarms.len() == 1 && alarms[0].contains("the Edge promises its own for 2.5 s at most"), "{alarms:?}");
        assert_eq!(askers.alarms(at(90_000)), Vec::<String>::new());
    }
}
