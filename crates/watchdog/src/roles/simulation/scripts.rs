//! What is written, not drawn: one thing goes wrong, or is ordered, in the middle of another, and the XiVO role's driver is
//! to do one thing. The record judges these runs as it does all others.

use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use failover::duty::{Act, Failback, Mode};
use failover::health::Status;
use tokio::time::sleep;

use super::faults::Kind;
use super::record::{self, Event, Limits, Seen};
use super::world::{EDGE, Plate, Sick, Start, Stop, Telephony, Tool, VOTERS, World, name};
use super::{PATIENCE, play};

const MAIN: usize = 0;
const STANDBY: usize = 1;
/// What is wrong stays so until the script mends it.
const FOR_GOOD: Duration = Duration::from_secs(7_200);

struct Script(Arc<World>);

/// Plays a script with each of a few seeds, so that it hangs on no one order of things, and has each run judged.
fn script(happens: impl AsyncFn(&Script)) {
    for seed in 0..4 {
        let (events, end, _) = play(seed, VOTERS, async |world| happens(&Script(world)).await);
        let limits = Limits { patience: PATIENCE, starts: Kind::Days.starts(), windows: [0.0; 2] };
        record::judge(&events, end, limits).unwrap_or_else(|why| panic!("with seed {seed}: {why}"));
    }
}

/// One that begins with all machines being switched on, and nobody who serves.
fn from_boot(happens: impl AsyncFn(&Script)) {
    script(async |script| {
        (0..VOTERS).for_each(|host| script.0.boot(host));
        happens(script).await;
    });
}

/// One that begins while Main serves and Standby is in touch; Standby never served.
fn while_main_serves(happens: impl AsyncFn(&Script)) {
    script(async |script| {
        script.0.boot(EDGE);
        script.0.boot(MAIN);
        script.is_active(MAIN).await;
        script.0.boot(STANDBY);
        script.until("standby is there", |script| script.is(STANDBY, Status::Inactive)).await;
        sleep(Duration::from_secs(4)).await;
        happens(script).await;
    });
}

impl Script {
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 10 {
            if holds(self) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let [main, standby] = [MAIN, STANDBY].map(|side| self.shown(side));
        panic!("never: {what}; main {main:?}, standby {standby:?}");
    }

    /// What a node showed last since its watchdog began.
    fn shown(&self, side: usize) -> Option<(Status, Vec<String>)> {
        let inner = self.0.inner();
        let newest = inner.events.iter().rev().find(|(_, event)| match event {
            Event::Shown { side: of, .. } => *of == side,
            Event::Dies(host) => *host == side,
            _ => false,
        });
        match newest {
            Some((_, Event::Shown { status, alarms, .. })) => Some((*status, alarms.clone())),
            _ => None,
        }
    }

    fn is(&self, side: usize, status: Status) -> bool {
        self.shown(side).is_some_and(|shown| shown.0 == status)
    }

    fn alarms(&self, side: usize, words: &str) -> bool {
        self.shown(side).is_some_and(|shown| shown.1.iter().any(|alarm| alarm.contains(words)))
    }

    async fn is_active(&self, side: usize) {
        self.until(&format!("{} is active", name(side)), |script| script.is(side, Status::Active)).await;
    }

    async fn alarm(&self, side: usize, words: &str) {
        self.until(&format!("{} says: {words}", name(side)), |script| script.alarms(side, words)).await;
    }

    /// How often something happened since the world began.
    fn times(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.0.inner().events.iter().filter(|(_, event)| of(event)).count()
    }

    fn starts(&self, side: usize) -> usize {
        self.times(|event| *event == Event::Starts(side))
    }

    fn stops(&self, side: usize) -> usize {
        self.times(|event| *event == Event::Stops(side))
    }

    /// Whether phones are served by a node now.
    fn serves(&self, side: usize) -> bool {
        self.0.observe();
        let now = self.0.began.elapsed();
        let inner = self.0.inner();
        let seen = inner.events.iter().rev().find_map(|(_, event)| match event {
            Event::Seen { seen, .. } => Some(seen[side]),
            _ => None,
        });
        match seen {
            Some(Seen::ServesUntil(end)) => now < end,
            Some(Seen::Serves { .. }) => true,
            Some(Seen::Silent { .. }) | None => false,
        }
    }

    fn sicken(&self, host: usize, how: impl FnOnce(&mut Sick)) {
        self.0.sicken(host, FOR_GOOD, how);
    }

    async fn ordered(&self, side: usize, act: Act) -> Result<String, String> {
        self.0.order(side, act).await.unwrap_or_else(|_| Err("nobody answered".to_owned()))
    }
}

#[test]
fn a_start_waits_until_its_campaign_is_on_the_disk() {
    from_boot(async |script| {
        script.sicken(MAIN, |sick| sick.disk = Plate::Slow(150));
        script.until("main starts", |script| script.starts(MAIN) == 1).await;
        let inner = script.0.inner();
        let at = |of: &Event| inner.events.iter().position(|(_, event)| event == of);
        assert!(at(&Event::Written(MAIN, true)) < at(&Event::Starts(MAIN)), "nothing was written before");
    });
}

#[test]
fn a_node_whose_disk_takes_nothing_says_so_and_leaves_telephony_to_its_peer() {
    from_boot(async |script| {
        script.sicken(MAIN, |sick| sick.disk = Plate::Full);
        script.is_active(STANDBY).await;
        script.alarm(MAIN, "the state cannot be written").await;
        assert_eq!(script.starts(MAIN), 0);
        script.0.cure(MAIN);
        script.is_active(MAIN).await;
        script.until("that is over", |script| !script.alarms(MAIN, "the state cannot be written")).await;
    });
}

#[test]
fn a_serving_node_whose_disk_fills_up_goes_on() {
    while_main_serves(async |script| {
        script.sicken(MAIN, |sick| sick.disk = Plate::Full);
        sleep(Duration::from_secs(30)).await;
        assert!(script.is(MAIN, Status::Active) && script.serves(MAIN));
        assert_eq!((script.stops(MAIN), script.starts(STANDBY)), (0, 0));
    });
}

#[test]
fn an_operator_whose_order_is_not_on_the_disk_is_told_so() {
    while_main_serves(async |script| {
        script.sicken(STANDBY, |sick| sick.disk = Plate::Full);
        let told = script.ordered(STANDBY, Act::Freeze).await;
        assert!(told.as_ref().is_err_and(|why| why.contains("done, but it is not on the disk")), "{told:?}");
        script.0.cure(STANDBY);
        script.until("the disk is well", |script| !script.alarms(STANDBY, "the state")).await;
        assert_eq!(script.ordered(STANDBY, Act::Resume).await, Ok("resume".to_owned()));
    });
}

#[test]
fn a_second_order_in_the_middle_of_a_stop_waits_for_its_end() {
    while_main_serves(async |script| {
        assert!(script.ordered(MAIN, Act::Deactivate).await.is_ok());
        script.until("it stops", |script| script.is(MAIN, Status::Stopping)).await;
        // Serving again is taken, and begins when all is stopped: W4 is judged.
        let told = script.ordered(MAIN, Act::Activate).await;
        script.until("it is stopped", |script| !script.is(MAIN, Status::Stopping)).await;
        let serves = if told.is_ok() { MAIN } else { STANDBY };
        script.is_active(serves).await;
    });
}

#[test]
fn an_order_to_serve_beside_a_serving_peer_is_refused_and_says_why() {
    while_main_serves(async |script| {
        let told = script.ordered(STANDBY, Act::Activate).await;
        assert!(told.is_err_and(|why| why.contains("peer") || why.contains("serves")));
        assert_eq!(script.starts(STANDBY), 0);
    });
}

#[test]
fn a_wish_that_comes_with_each_heartbeat_is_followed_once() {
    while_main_serves(async |script| {
        assert!(script.ordered(MAIN, Act::Failback(Failback::Manual)).await.is_ok());
        assert!(script.ordered(STANDBY, Act::Failback(Failback::Manual)).await.is_ok());
        script.0.wish(Side::Standby);
        script.is_active(STANDBY).await;
        // Back by hand at the node: the wish is still handed over, and is of no meaning any more.
        assert!(script.ordered(STANDBY, Act::Deactivate).await.is_ok());
        script.is_active(MAIN).await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!((script.stops(MAIN), script.starts(MAIN), script.starts(STANDBY)), (1, 2, 1));
    });
}

#[test]
fn the_next_watchdog_goes_on_with_the_lease_and_starts_nothing() {
    while_main_serves(async |script| {
        script.0.hand_over(MAIN);
        script.until("it ended", |script| script.shown(MAIN).is_none()).await;
        assert!(script.serves(MAIN), "phones are served while no watchdog is there");
        script.is_active(MAIN).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!((script.starts(MAIN), script.stops(MAIN), script.starts(STANDBY)), (1, 0, 0));
    });
}

#[test]
fn a_watchdog_that_comes_back_after_its_lease_begins_anew() {
    while_main_serves(async |script| {
        script.0.end_process(MAIN);
        script.is_active(STANDBY).await;
        assert!(!script.serves(MAIN), "the kernel closed the fence");
        script.0.boot(MAIN);
        script.until("main stopped what ran", |script| script.is(MAIN, Status::Inactive)).await;
        assert_eq!(script.0.inner().machine(Side::Main).telephony, Telephony::Stopped);
    });
}

#[test]
fn a_short_freeze_of_the_watchdog_moves_nothing() {
    while_main_serves(async |script| {
        script.0.freeze(MAIN, Duration::from_millis(600));
        sleep(Duration::from_secs(10)).await;
        assert!(script.is(MAIN, Status::Active) && script.serves(MAIN));
        assert_eq!((script.starts(STANDBY), script.stops(MAIN)), (0, 0));
    });
}

#[test]
fn who_wakes_from_a_long_freeze_stops_before_anything_else() {
    while_main_serves(async |script| {
        script.0.freeze(MAIN, Duration::from_secs(20));
        script.is_active(STANDBY).await;
        script.until("main wakes, and stops", |script| script.stops(MAIN) == 1).await;
        assert!(!script.serves(MAIN));
        script.until("it is inactive", |script| script.is(MAIN, Status::Inactive)).await;
    });
}

#[test]
fn a_program_that_hangs_at_the_fence_ends_no_telephony() {
    while_main_serves(async |script| {
        script.sicken(MAIN, |sick| sick.nft = Tool::Hangs);
        sleep(Duration::from_secs(40)).await;
        assert!(script.serves(MAIN), "renewals are the kernel's own");
        script.0.cure(MAIN);
        script
            .until("no alarm of it is left", |script| script.shown(MAIN).is_some_and(|shown| shown.1.is_empty()))
            .await;
        assert_eq!((script.stops(MAIN), script.starts(STANDBY)), (0, 0));
    });
}

#[test]
fn a_node_whose_permit_cannot_be_renewed_steps_down_and_says_why() {
    while_main_serves(async |script| {
        script.sicken(MAIN, |sick| sick.nft = Tool::Broken);
        script.is_active(STANDBY).await;
        script.alarm(MAIN, "fence").await;
        script.0.cure(MAIN);
        script.is_active(MAIN).await;
    });
}

#[test]
fn a_fence_that_somebody_removes_is_written_again_whoever_serves() {
    while_main_serves(async |script| {
        for side in [MAIN, STANDBY] {
            script.0.remove_fence(side);
            script.alarm(side, "removes the fence").await;
        }
        sleep(Duration::from_secs(3)).await;
        assert!(script.serves(MAIN) && !script.serves(STANDBY));
        assert_eq!((script.stops(MAIN), script.starts(STANDBY)), (0, 0));
    });
}

#[test]
fn telephony_that_dies_is_stopped_and_left_to_the_peer() {
    while_main_serves(async |script| {
        script.0.set_telephony(MAIN, Telephony::Stopped);
        script.0.note(Event::Struck(MAIN));
        script.is_active(STANDBY).await;
        assert_eq!(script.stops(MAIN), 1);
        script.is_active(MAIN).await;
    });
}

#[test]
fn services_that_somebody_starts_on_an_inactive_node_are_left_alone_and_shown() {
    while_main_serves(async |script| {
        script.0.set_telephony(STANDBY, Telephony::Works);
        script.alarm(STANDBY, "somebody else started the services").await;
        assert_eq!((script.stops(STANDBY), script.serves(STANDBY)), (0, false), "the fence keeps phones away");
        script.0.set_telephony(STANDBY, Telephony::Stopped);
        script.until("that is over", |script| !script.alarms(STANDBY, "somebody else")).await;
    });
}

#[test]
fn a_start_command_that_hangs_is_ended_and_what_it_left_is_stopped() {
    from_boot(async |script| {
        script.sicken(MAIN, |sick| sick.start = Start::Hangs);
        script.alarm(MAIN, "does not start").await;
        script.is_active(STANDBY).await;
        assert!(script.stops(MAIN) >= 1 && !script.serves(MAIN));
        script.0.cure(MAIN);
        script.is_active(MAIN).await;
        script.until("the alarm is over", |script| !script.alarms(MAIN, "does not start")).await;
    });
}

#[test]
fn who_says_that_a_start_is_mended_has_it_tried_at_once() {
    from_boot(async |script| {
        script.sicken(MAIN, |sick| sick.start = Start::Fails);
        script.until("it failed more than once", |script| script.starts(MAIN) >= 2).await;
        script.is_active(STANDBY).await;
        script.0.cure(MAIN);
        assert!(script.ordered(MAIN, Act::Resume).await.is_ok());
        script.until("the alarm is over", |script| !script.alarms(MAIN, "does not start")).await;
        script.is_active(MAIN).await;
    });
}

#[test]
fn a_stop_that_hangs_keeps_the_votes_from_nobody_once_the_fence_is_closed() {
    while_main_serves(async |script| {
        script.sicken(MAIN, |sick| sick.stop = Stop::Hangs);
        assert!(script.ordered(MAIN, Act::Deactivate).await.is_ok());
        script.is_active(STANDBY).await;
        script.alarm(MAIN, "the stop could not be verified").await;
        assert!(!script.serves(MAIN));
    });
}

#[test]
fn a_node_that_nobody_answers_says_so_and_does_not_start() {
    while_main_serves(async |script| {
        for other in [MAIN, EDGE] {
            script.0.cut(STANDBY, other, FOR_GOOD);
            script.0.cut(other, STANDBY, FOR_GOOD);
        }
        script.0.observe();
        script.alarm(STANDBY, "neither the peer nor the witness answers").await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!(script.starts(STANDBY), 0);
        script.0.heal();
        script.until("that is over", |script| !script.alarms(STANDBY, "answers")).await;
    });
}

#[test]
fn a_manual_node_does_not_start_for_a_dead_peer_and_does_when_it_is_told() {
    while_main_serves(async |script| {
        assert!(script.ordered(STANDBY, Act::Mode(Mode::Manual)).await.is_ok());
        script.0.power_off(MAIN);
        sleep(Duration::from_secs(20)).await;
        assert_eq!(script.starts(STANDBY), 0);
        assert!(script.ordered(STANDBY, Act::Activate).await.is_ok());
        script.is_active(STANDBY).await;
    });
}

#[test]
fn a_forced_start_beside_a_serving_node_is_told_on_both() {
    while_main_serves(async |script| {
        script.0.inner().forced = true;
        assert!(script.ordered(STANDBY, Act::ForceActivate).await.is_ok());
        script.alarm(STANDBY, "UNGUARDED").await;
        script.alarm(MAIN, "TWO ACTIVES").await;
        script.alarm(STANDBY, "TWO ACTIVES").await;
        script.0.heal();
        script.until("standby is inactive", |script| script.is(STANDBY, Status::Inactive)).await;
    });
}
