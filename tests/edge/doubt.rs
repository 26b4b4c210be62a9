//! E7: an Edge that slept, or to which everything dies at once, doubts itself before it moves anybody.

use failover::Side;
use rustix::process::Signal;

use crate::client::Client;
use crate::failover::BRISK;
use crate::load::Load;
use crate::site::{Site, wait_until};

#[test]
fn e7_an_edge_that_slept_wakes_up_where_it_was() {
    let mut site = Site::start_with(BRISK);
    site.wait_ready_to_switch();
    let load = Load::start(Client::of(&site));
    load.wait_answers(50);
    for _ in 0..3 {
        site.edge().signal(Signal::STOP);
        // Longer than any probe may take, and than what is known keeps.
        std::thread::sleep(std::time::Duration::from_millis(1700));
        site.edge().signal(Signal::CONT);
        load.wait_served(Side::Main, 50);
    }
    let tally = load.stop();
    tally.assert_all_well();
    assert_eq!(tally.by("standby").count(), 0);
    assert_eq!((site.live(), site.standby.requests()), (("main".to_owned(), 0), 0));
    assert!(!site.noted("switched"));
}

#[test]
fn e7_when_both_sides_fall_silent_at_once_nothing_moves() {
    let site = Site::start_with(BRISK);
    site.wait_ready_to_switch();
    for round in 0..3 {
        for signal in [Signal::STOP, Signal::CONT] {
            site.main.signal(signal);
            site.standby.signal(signal);
            let health = if signal == Signal::STOP { "not_working" } else { "working" };
            for side in Side::BOTH {
                site.wait_health(side, health);
            }
        }
        assert_eq!(site.live(), ("main".to_owned(), 0), "round {round}: {}", site.explain());
    }
    wait_until("it trusts itself again", || site.status()["doubt"].is_null());
    // It is no excuse for a side that really dies.
    site.main.signal(Signal::STOP);
    site.wait_live(Side::Standby);
    site.main.signal(Signal::CONT);
    assert!(site.explain()["sentence"].as_str().unwrap().contains("failover main -> standby"), "{}", site.explain());
}

#[test]
fn e2_a_main_whose_process_is_stopped_is_left_and_gets_nothing_when_it_wakes() {
    let site = Site::start();
    site.wait_ready_to_switch();
    let load = Load::start(Client::of(&site));
    load.wait_served(Side::Main, 30);
    site.main.signal(Signal::STOP);
    site.wait_live(Side::Standby);
    load.wait_served(Side::Standby, 50);
    site.main.signal(Signal::CONT);
    site.wait_health(Side::Main, "working");
    // What lay in its sockets it may have read; nothing comes after that.
    let read = site.main.requests();
    load.wait_served(Side::Standby, 50);
    let tally = load.stop();
    tally.assert_all_well_or_broken_off();
    assert_eq!(site.main.requests(), read);
    assert_eq!(site.standby.requests(), tally.by("standby").count() as u64);
}
