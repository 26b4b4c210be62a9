//! What is written, not drawn: one thing goes wrong, or is ordered, in the middle of another, and the engine is to do one
//! thing. The record judges these runs as it does all others.

mod switchover;

use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use failover::health::State;
use tokio::time::sleep;

use super::faults::{order, reload};
use super::play;
use super::record::{Event, Order};
use super::world::{Condition, Plate, World};
use crate::admin::api::{JournalEntry, Status, SwitchRequest};
use crate::admin::{EngineApi as _, EngineError};
use crate::live::{Mode, View};

const MAIN: usize = 0;
const STANDBY: usize = 1;
const WELL: Condition = Condition::Works(5);

struct Script(Arc<World>);

/// Plays a script for an Edge without nodes, with each of a few seeds, and has each run judged. It begins when both sides
/// are known to work.
fn script(happens: impl AsyncFn(&Script)) {
    for seed in 0..4 {
        let judged = play(seed, async |world| {
            world.inner().site = None;
            world.introduce();
            world.boot();
            let script = Script(world);
            script.until("both sides work", async |script| script.works(Side::Standby).await).await;
            // What the start had to settle is settled.
            sleep(Duration::from_secs(3)).await;
            happens(&script).await;
            ends().await;
        });
        judged.unwrap_or_else(|why| panic!("{why}"));
    }
}

/// What is written beside the loop is on the disk by then.
async fn ends() {
    sleep(Duration::from_secs(60)).await;
}

impl Script {
    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        for _ in 0..6_000 {
            if holds(self).await {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; {:?}, {:?}", self.view(), self.status().await.sentence);
    }

    fn view(&self) -> View {
        self.0.edge().expect("it runs").live.view()
    }

    async fn status(&self) -> Status {
        self.0.handle().expect("it runs").status().await.expect("it is answered")
    }

    async fn works(&self, side: Side) -> bool {
        let sides = self.status().await.sides;
        let side = if side == Side::Main { sides.main } else { sides.standby };
        side.health == State::Working
    }

    async fn goes_to(&self, side: Side) {
        self.until(&format!("traffic goes to {side}"), async |script| script.view().side == side).await;
    }

    async fn mode(&self, mode: Mode) {
        self.until(&format!("requests are {mode:?}"), async |script| script.view().mode == mode).await;
    }

    async fn ordered(&self, what: Order) -> Result<(), EngineError> {
        order(&self.0, what).expect("it runs").await.expect("it is answered")
    }

    async fn history(&self) -> Vec<JournalEntry> {
        self.0.handle().expect("it runs").history(200).await.expect("it is answered")
    }

    fn disk(&self, plate: Plate) {
        self.0.inner().plate = plate;
        self.0.note(Event::Disk(plate));
    }
}

#[test]
fn traffic_moves_though_the_write_fails_and_operators_are_told() {
    script(async |script| {
        script.disk(Plate::Full);
        script.0.set(MAIN, Condition::Refuses);
        script.goes_to(Side::Standby).await;
        script.until("it says so", async |script| !script.status().await.persisted).await;
        script.disk(Plate::Well);
    });
}

#[test]
fn a_slow_disk_holds_traffic_up_for_no_longer_than_its_patience() {
    script(async |script| {
        script.disk(Plate::Slow(20_000));
        script.0.set(MAIN, Condition::Refuses);
        script.until("main is known to be dead", async |script| !script.works(Side::Main).await).await;
        let decided = script.0.began.elapsed();
        script.goes_to(Side::Standby).await;
        let took = script.0.began.elapsed() - decided;
        assert!(took < Duration::from_millis(600), "{took:?}");
        script.disk(Plate::Well);
    });
}

#[test]
fn a_probe_that_never_ends_keeps_no_operator_waiting_and_moves_nothing() {
    script(async |script| {
        script.0.set(STANDBY, Condition::Never);
        for _ in 0..20 {
            let asked = script.0.began.elapsed();
            script.status().await;
            assert!(script.0.began.elapsed() - asked < Duration::from_millis(300));
            sleep(Duration::from_millis(500)).await;
        }
        assert_eq!((script.view().side, script.view().epoch), (Side::Main, 0));
        script.0.set(STANDBY, WELL);
    });
}

#[test]
fn what_hung_when_it_was_needed_gets_the_traffic_as_soon_as_it_answers() {
    script(async |script| {
        script.0.set(STANDBY, Condition::Never);
        script.until("standby is not known to work", async |script| !script.works(Side::Standby).await).await;
        script.0.set(MAIN, Condition::Refuses);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(script.view().side, Side::Main, "E3");
        script.0.set(STANDBY, WELL);
        script.goes_to(Side::Standby).await;
    });
}

#[test]
fn an_order_while_the_live_side_is_dying_moves_traffic_once() {
    script(async |script| {
        script.0.set(MAIN, Condition::Refuses);
        assert!(script.ordered(Order::Switch(Side::Standby, false)).await.is_ok());
        sleep(Duration::from_secs(20)).await;
        assert_eq!((script.view().side, script.view().epoch), (Side::Standby, 1));
    });
}

#[test]
fn an_order_to_a_side_that_does_not_work_is_refused_with_its_reason_and_journaled() {
    script(async |script| {
        script.0.set(STANDBY, Condition::Wrong);
        script.until("that is known", async |script| !script.works(Side::Standby).await).await;
        let refused = script.ordered(Order::Switch(Side::Standby, false)).await;
        let Err(EngineError::Refused(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("standby"), "{why}");
        assert_eq!(script.view().epoch, 0);
        let told = script.history().await;
        assert!(told.iter().any(|entry| entry.explain.sentence == why && entry.by.is_some()), "{told:?}");
    });
}

#[test]
fn a_dry_run_tells_and_moves_nothing() {
    script(async |script| {
        let entries = script.history().await.len();
        let request = SwitchRequest {
            to: Side::Standby,
            dry_run: true,
            force: false,
            reason: String::new(),
            by: "ann".to_owned(),
        };
        let told = script.0.handle().unwrap().switch(request).await.unwrap();
        assert!(told.dry_run && !told.switched && told.refused.is_none(), "{told:?}");
        sleep(Duration::from_secs(5)).await;
        assert_eq!((script.view().epoch, script.history().await.len()), (0, entries));
    });
}

#[test]
fn a_forced_switch_to_a_dead_side_stays_there_until_somebody_says_so() {
    script(async |script| {
        script.0.set(STANDBY, Condition::Refuses);
        script.until("that is known", async |script| !script.works(Side::Standby).await).await;
        assert!(script.ordered(Order::Switch(Side::Standby, true)).await.is_ok());
        sleep(Duration::from_secs(20)).await;
        assert_eq!((script.view().side, script.view().epoch), (Side::Standby, 1));
        assert!(script.status().await.frozen.is_some(), "else it would move back at once");
        script.0.set(STANDBY, WELL);
        assert!(script.ordered(Order::Resume).await.is_ok());
    });
}

#[test]
fn a_frozen_edge_serves_what_is_ill_and_shows_the_page_for_what_is_dead() {
    script(async |script| {
        assert!(script.ordered(Order::Freeze).await.is_ok());
        script.0.set(MAIN, Condition::Wrong);
        script.until("main is ill", async |script| !script.works(Side::Main).await).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(script.view().mode, Mode::Serving);
        script.0.set(MAIN, Condition::Refuses);
        script.mode(Mode::Waiting).await;
        assert_eq!(script.view().side, Side::Main);
        assert!(script.ordered(Order::Resume).await.is_ok());
        script.goes_to(Side::Standby).await;
    });
}

#[test]
fn the_switch_that_a_resume_allows_is_the_edges_own() {
    script(async |script| {
        assert!(script.ordered(Order::Freeze).await.is_ok());
        script.0.set(MAIN, Condition::Refuses);
        script.mode(Mode::Waiting).await;
        assert!(script.ordered(Order::Resume).await.is_ok());
        script.goes_to(Side::Standby).await;
        let told = script.history().await;
        let switched = told.iter().find(|entry| entry.epoch == 1 && entry.event == crate::admin::api::Event::Switched);
        assert!(switched.is_some_and(|entry| entry.by.is_none()), "{told:?}");
    });
}

#[test]
fn neither_side_works_and_the_first_to_work_gets_the_traffic() {
    script(async |script| {
        script.0.set(STANDBY, Condition::Refuses);
        script.0.set(MAIN, Condition::Refuses);
        script.mode(Mode::Waiting).await;
        assert_eq!(script.view().side, Side::Main);
        script.0.set(STANDBY, WELL);
        script.goes_to(Side::Standby).await;
        script.mode(Mode::Serving).await;
    });
}

#[test]
fn a_reload_asks_nobody_to_wait_and_forgets_nothing() {
    script(async |script| {
        script.0.set(MAIN, Condition::Refuses);
        script.goes_to(Side::Standby).await;
        for _ in 0..6 {
            reload(&script.0);
            for _ in 0..100 {
                sleep(Duration::from_millis(5)).await;
                let View { side, mode, epoch } = script.view();
                assert_eq!((side, mode, epoch), (Side::Standby, Mode::Serving, 1));
            }
        }
    });
}

#[test]
fn what_a_probe_of_the_old_configuration_finds_is_held_against_nobody() {
    script(async |script| {
        // The new service's checks come first: each old number is another check's now.
        script.0.set(STANDBY, Condition::Never);
        script.until("standby hangs", async |script| !script.works(Side::Standby).await).await;
        for _ in 0..6 {
            reload(&script.0);
            sleep(Duration::from_millis(400)).await;
        }
        let status = script.status().await;
        assert!(
            status.sides.main.health == State::Working && status.sides.standby.health != State::Working,
            "{}",
            status.sentence
        );
        assert_eq!(script.view().epoch, 0);
        script.0.set(STANDBY, WELL);
    });
}

#[test]
fn more_notes_than_may_wait_are_dropped_and_the_loop_goes_on() {
    script(async |script| {
        let handle = script.0.handle().unwrap();
        for number in 0..1_000 {
            handle.note_soon(crate::admin::api::Event::Other, format!("note {number}"));
        }
        script.0.set(MAIN, Condition::Refuses);
        script.goes_to(Side::Standby).await;
        let told = script.history().await;
        let noted = told.iter().filter(|entry| entry.explain.sentence.starts_with("note ")).count();
        assert!((1..1_000).contains(&noted), "{noted}");
    });
}

#[test]
fn a_killed_edge_goes_on_where_it_was() {
    script(async |script| {
        script.0.set(MAIN, Condition::Refuses);
        script.goes_to(Side::Standby).await;
        script.until("that is on the disk", async |script| script.status().await.persisted).await;
        script.0.set(MAIN, WELL);
        script.0.kill();
        sleep(Duration::from_millis(300)).await;
        script.0.boot();
        script.until("it is there", async |script| script.0.handle().is_some()).await;
        for _ in 0..500 {
            assert_eq!((script.view().side, script.view().epoch), (Side::Standby, 1));
            sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_loop_that_slept_believes_no_old_evidence_whatever_wakes_it() {
    script(async |script| {
        script.0.freeze(Duration::from_secs(3));
        script.0.set(MAIN, Condition::Refuses);
        // Questions wait when it wakes, and are answered first.
        let asked = tokio::spawn({
            let handle = script.0.handle().unwrap();
            async move { handle.status().await }
        });
        let status = asked.await.unwrap().unwrap();
        assert!(status.doubt.is_some() || status.sides.main.health == State::Working, "{}", status.sentence);
        script.goes_to(Side::Standby).await;
        let told = script.history().await;
        assert!(told.iter().any(|entry| entry.event == crate::admin::api::Event::Doubted), "{told:?}");
    });
}
