//! Voters that are not as each other thinks.

use std::fs;

use rustix::process::Signal;

use crate::site::Site;

const ON_MAIN: [&str; 2] = ["main-xivo", "main-cc"];
const ON_STANDBY: [&str; 2] = ["standby-xivo", "standby-cc"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w1_a_main_whose_longer_times_the_others_cannot_promise_gets_no_vote_and_all_say_why() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    let config = site.nodes[0].path("watchdog.yaml");
    let usual = fs::read_to_string(&config).unwrap();
    let longer = usual.replace("timing: { ", "timing: { lease: 3s, promise: 4s, quiet: 4s, ");
    assert_ne!(longer, usual);
    fs::write(&config, longer).unwrap();
    let words = "this node needs a vote for 3.808 s, and the witness promises its own for 2.5 s at most";
    // A file is compared with what the voters told, before a restart takes it in.
    let checked = |site: &Site| site.nodes[0].verb(&["check"]);
    site.until("check knows the others' times", || checked(&site).1.contains(words)).await;
    let (code, said) = checked(&site);
    assert!(code == 1 && said.contains("the times differ: this node needs a vote for 3.808 s"), "{said}");
    let main = site.get("main-xivo");
    main.end(Signal::TERM);
    main.start();
    site.settles_on(&ON_STANDBY).await;
    let alarms = |site: &Site, node: usize| site.nodes[node].status()["alarms"].to_string();
    site.until("main says why", || alarms(&site, 0).contains(words)).await;
    let of_standby = "the peer needs a vote for 3.808 s, and this node promises its own for 2.5 s at most";
    site.until("standby says why", || alarms(&site, 1).contains(of_standby)).await;
    let screen = |site: &Site| site.nodes[1].verb(&["status"]).1;
    let words = "the times differ: this node needs a vote for 2.405 s";
    site.until("its screen says so", || screen(&site).contains(words)).await;
    fs::write(&config, usual).unwrap();
    let main = site.get("main-xivo");
    main.end(Signal::TERM);
    main.start();
    site.settles_on(&ON_MAIN).await;
    site.until("nobody says so any more", || !(alarms(&site, 0) + &alarms(&site, 1)).contains("needs a vote")).await;
}
