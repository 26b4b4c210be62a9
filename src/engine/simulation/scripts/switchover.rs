//! What befalls the Edge and its nodes in the middle of a switch of the whole site.

use std::time::Duration;

use failover::Side;
use failover::health::Status;
use tokio::time::sleep;

use super::super::faults::reload;
use super::super::play;
use super::super::record::{Event, Order};
use super::super::site::{self, Mind, PLACES, Site};
use super::super::world::Plate;
use super::{MAIN, STANDBY, Script, ends};
use crate::admin::api::{self, SwitchoverState, SwitchoverStatus};
use crate::admin::{EngineApi as _, EngineError};
use crate::live::View;

/// Where all nodes follow, a switch of the whole site takes some ten seconds.
const WITHIN: Duration = Duration::from_secs(30);

/// Plays a script for an Edge with nodes, as [`super::script`] does for one without. It begins when all nodes are heard of
/// and Main serves.
fn script_with_nodes(happens: impl AsyncFn(&Script)) {
    for seed in 0..4 {
        let judged = play(seed, async |world| {
            world.inner().site = Some(Site::new(seed % 2 == 0));
            site::begin(&world);
            world.boot();
            let script = Script(world);
            script
                .until("all nodes are heard of", async |script| {
                    script.status().await.nodes.iter().filter(|node| node.fresh).count() == PLACES
                })
                .await;
            script.until("main works", async |script| script.works(Side::Main).await).await;
            sleep(Duration::from_secs(3)).await;
            happens(&script).await;
            ends().await;
        });
        judged.unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Script {
    /// Orders a switch of the whole site, which begins.
    async fn begins(&self, to: Side) {
        assert!(self.ordered(Order::Switch(to, false)).await.is_ok());
        assert_eq!(self.switchover().await.state, SwitchoverState::Running);
    }

    async fn switchover(&self) -> SwitchoverStatus {
        self.0.handle().expect("it runs").switchover().await.expect("one was ordered")
    }

    /// How it ended, within so long.
    async fn ended(&self, within: Duration) -> SwitchoverStatus {
        let began = self.0.began.elapsed();
        loop {
            let switchover = self.switchover().await;
            if switchover.state.is_over() {
                return switchover;
            }
            let took = self.0.began.elapsed() - began;
            assert!(took < within, "after {took:?} it goes on: {switchover:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn is_done(&self, to: Side) {
        let switchover = self.ended(WITHIN).await;
        assert_eq!((switchover.state, switchover.to), (SwitchoverState::Done, to), "{switchover:?}");
        assert_eq!(self.view().side, to);
    }

    async fn node(&self, place: usize, is: Status) {
        self.until(&format!("node {place} is {is}"), async |script| {
            script.0.inner().site.as_ref().is_some_and(|site| site.nodes[place].truth.status == is)
        })
        .await;
    }

    fn mind(&self, place: usize, mind: Mind) {
        self.0.change(|site, _| site.nodes[place].mind = mind);
    }
}

#[test]
fn no_order_goes_past_a_switchover_that_is_under_way_not_even_a_forced_one() {
    script_with_nodes(async |script| {
        script.begins(Side::Standby).await;
        script.node(MAIN, Status::Stopping).await;
        for force in [false, true] {
            let refused = script.ordered(Order::Switch(Side::Main, force)).await;
            let Err(EngineError::Refused(why)) = refused else { panic!("{refused:?}") };
            assert!(why.contains("under way"), "{why}");
        }
        script.is_done(Side::Standby).await;
        assert_eq!(script.view().epoch, 1);
        let told = script.history().await;
        assert_eq!(told.iter().filter(|entry| entry.event == api::Event::Refused).count(), 2, "{told:?}");
    });
}

#[test]
fn a_freeze_in_the_middle_of_a_switchover_stops_the_edge_and_not_its_operator() {
    script_with_nodes(async |script| {
        script.begins(Side::Standby).await;
        assert!(script.ordered(Order::Freeze).await.is_ok());
        script.is_done(Side::Standby).await;
        assert!(script.status().await.frozen.is_some());
        assert!(script.ordered(Order::Resume).await.is_ok());
    });
}

#[test]
fn reloads_in_the_middle_of_a_switchover_change_neither_its_steps_nor_whose_it_is() {
    script_with_nodes(async |script| {
        script.begins(Side::Standby).await;
        let limits =
            |switchover: &SwitchoverStatus| -> Vec<u64> { switchover.steps.iter().map(|step| step.limit_ms).collect() };
        let before = limits(&script.switchover().await);
        for _ in 0..8 {
            reload(&script.0);
            sleep(Duration::from_millis(700)).await;
        }
        script.is_done(Side::Standby).await;
        assert_eq!(limits(&script.switchover().await), before);
        // The move may come of a node's word as well as of the step: it is the operator's in both.
        let told = script.history().await;
        let switched: Vec<_> = told.iter().filter(|entry| entry.event == api::Event::Switched).collect();
        assert!(matches!(switched[..], [entry] if entry.by.is_some()), "{switched:?}");
    });
}

#[test]
fn a_slow_disk_holds_up_no_step_of_a_switchover() {
    script_with_nodes(async |script| {
        script.disk(Plate::Slow(20_000));
        script.begins(Side::Standby).await;
        script.is_done(Side::Standby).await;
        script.disk(Plate::Well);
    });
}

#[test]
fn reports_get_past_a_full_channel_and_a_switchover_goes_on() {
    script_with_nodes(async |script| {
        script.begins(Side::Standby).await;
        let asking = tokio::spawn({
            let handle = script.0.handle().unwrap();
            async move {
                loop {
                    // More than may wait; each is answered in the end.
                    let asked: Vec<_> = (0..150)
                        .map(|_| {
                            let handle = handle.clone();
                            tokio::spawn(async move { handle.status().await.map(drop) })
                        })
                        .collect();
                    for one in asked {
                        assert!(one.await.unwrap().is_ok());
                    }
                    sleep(Duration::from_millis(150)).await;
                }
            }
        });
        script.is_done(Side::Standby).await;
        assert!(!asking.is_finished(), "a question was not answered");
        asking.abort();
    });
}

#[test]
fn a_node_that_never_answers_is_given_up_and_told_of() {
    script_with_nodes(async |script| {
        script.mind(MAIN, Mind::Mute);
        script.begins(Side::Standby).await;
        let switchover = script.ended(Duration::from_secs(5 + 240 + 5)).await;
        assert_eq!(switchover.state, SwitchoverState::Failed);
        assert!(switchover.sentence.contains("NOT ALL WAS UNDONE: main"), "{}", switchover.sentence);
        let View { side, epoch, .. } = script.view();
        assert_eq!((side, epoch), (Side::Main, 0));
        script.mind(MAIN, Mind::Follows);
        script.begins(Side::Standby).await;
        script.is_done(Side::Standby).await;
    });
}

#[test]
fn what_a_node_answered_to_an_earlier_switchover_is_no_answer_to_this_one() {
    script_with_nodes(async |script| {
        script.mind(MAIN, Mind::Refuses);
        script.begins(Side::Standby).await;
        let switchover = script.ended(WITHIN).await;
        assert!(switchover.sentence.contains("nothing was changed"), "{}", switchover.sentence);
        script.mind(MAIN, Mind::Follows);
        // Each report bears the old refusal until the node has looked at a new wish.
        script.begins(Side::Standby).await;
        script.is_done(Side::Standby).await;
    });
}

#[test]
fn an_edge_that_was_killed_in_the_middle_leaves_nodes_to_their_rules_and_may_be_ordered_back() {
    script_with_nodes(async |script| {
        script.begins(Side::Standby).await;
        script.node(MAIN, Status::Stopping).await;
        script.0.kill();
        sleep(Duration::from_millis(300)).await;
        script.0.boot();
        script.goes_to(Side::Standby).await;
        script.node(STANDBY + 2, Status::Active).await;
        script.until("standby works", async |script| script.works(Side::Standby).await).await;
        sleep(Duration::from_secs(5)).await;
        // Its wishes must be newer than those of the Edge before it, or no node would look at them.
        script.begins(Side::Main).await;
        script.is_done(Side::Main).await;
    });
}

#[test]
fn a_target_whose_machine_dies_gives_all_back_to_the_source() {
    script_with_nodes(async |script| {
        script.mind(STANDBY, Mind::Dies);
        script.begins(Side::Standby).await;
        let switchover = script.ended(Duration::from_secs(60)).await;
        assert_eq!(switchover.state, SwitchoverState::Failed);
        assert!(switchover.sentence.contains("all was undone"), "{}", switchover.sentence);
        script.node(MAIN, Status::Active).await;
        assert_eq!(script.view().side, Side::Main);
    });
}

#[test]
fn a_target_that_may_not_serve_is_found_before_any_node_is_asked() {
    script_with_nodes(async |script| {
        script.0.change(|site, _| site.nodes[STANDBY].truth.frozen = true);
        script
            .until("that is known", async |script| {
                let nodes = script.status().await.nodes;
                nodes.iter().any(|node| node.report.vote.as_ref().is_some_and(|vote| vote.frozen))
            })
            .await;
        assert!(script.ordered(Order::Switch(Side::Standby, false)).await.is_ok());
        let switchover = script.switchover().await;
        assert_eq!(switchover.state, SwitchoverState::Refused, "{switchover:?}");
        sleep(Duration::from_secs(10)).await;
        assert!(script.0.inner().events.iter().all(|(_, event)| !matches!(event, Event::Wish { .. })));
        assert_eq!((script.view().side, script.view().epoch), (Side::Main, 0));
        script.0.change(|site, _| site.nodes[STANDBY].truth.frozen = false);
    });
}
