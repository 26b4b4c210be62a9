//! What fails by itself: hosts, watchdogs, telephony, the witness, commands.

use protocol::wire::FailedStarts;
use rustix::process::Signal;

use crate::site::Site;

const ON_MAIN: [&str; 2] = ["main-xivo", "main-cc"];
const ON_STANDBY: [&str; 2] = ["standby-xivo", "standby-cc"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w1_w5_when_main_dies_standby_serves_and_its_cc_follows_and_back_without_a_command() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    site.get("main-xivo").die();
    // A XiVO out of sight is not one that is inactive: Main's CC goes on.
    site.until("standby serves", || site.running() == ["standby-xivo", "main-cc", "standby-cc"]).await;
    site.get("main-xivo").start();
    site.settles_on(&ON_MAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchdog_that_is_killed_or_upgraded_stops_no_telephony() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    let starts = site.get("main-xivo").starts();
    for signal in [Signal::TERM, Signal::KILL] {
        site.get("main-xivo").end(signal);
        site.get("main-xivo").start();
        site.settles_on(&ON_MAIN).await;
        assert!(site.get("main-xivo").runs());
    }
    assert_eq!(site.get("main-xivo").starts(), starts, "telephony was started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_up_no_vote() {
    let mut site = Site::new().await;
    let _unread = site.get("main-xivo").start_unread();
    for node in ["standby-xivo", "main-cc", "standby-cc"] {
        site.get(node).start();
    }
    site.settles_on(&ON_MAIN).await;
    let (starts, begin) = (site.get("main-xivo").starts(), std::time::Instant::now());
    site.until("it serves on for some leases", || begin.elapsed() > std::time::Duration::from_secs(5)).await;
    site.settles_on(&ON_MAIN).await;
    assert_eq!(site.get("main-xivo").starts(), starts);
    site.get("main-xivo").end(Signal::TERM);
    site.get("main-xivo").start();
    site.settles_on(&ON_MAIN).await;
    assert_eq!(site.get("main-xivo").starts(), starts, "the hand-over waited for a reader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_the_start_left_behind_talks_on_whoever_ends_the_watchdog() {
    let mut site = Site::new().await;
    site.get("main-xivo").touch("talks");
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    let said = |site: &Site| std::fs::metadata(site.nodes[0].path("said")).map_or(0, |file| file.len());
    for signal in [Signal::KILL, Signal::TERM] {
        site.get("main-xivo").end(signal);
        let before = said(&site);
        site.until("it talks while no watchdog is there", || said(&site) > before + 10).await;
        site.get("main-xivo").start();
        site.settles_on(&ON_MAIN).await;
        let before = said(&site);
        site.until("it talks on", || said(&site) > before + 10).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_that_fail_are_an_alarm_with_their_last_words_until_one_comes_well() {
    let mut site = Site::new().await;
    for node in ["main-xivo", "standby-xivo", "main-cc"] {
        std::fs::write(site.get(node).path("broken"), "licence missing\n").unwrap();
    }
    site.start_all();
    let words = "the start command: exit code 3: licence missing";
    let alarmed = |site: &Site, node: usize| {
        let status = site.nodes[node].status();
        let alarms = status["alarms"].as_array().cloned().unwrap_or_default();
        alarms.iter().filter(|alarm| alarm.as_str().unwrap().contains(words)).count() == 1
            && status["failed_starts"]["count"].as_u64() >= Some(2)
            && status["failed_starts"]["words"] == words
    };
    site.until("both say why nobody serves", || alarmed(&site, 0) && alarmed(&site, 1)).await;
    let right = |told: &FailedStarts| told.count >= 1 && told.words == words && told.newest >= told.since;
    site.until_told("main-xivo", "the start's last words", |report| report.failed_starts.as_ref().is_some_and(right))
        .await;
    let (_, screen) = site.get("main-xivo").verb(&["status"]);
    assert!(screen.contains("does not start") && !screen.contains("can serve"), "{screen}");
    let noted = || site.nodes[0].verb(&["history"]).1.matches("does not start, since").count();
    site.until("it is in the journal", || noted() > 0).await;
    assert_eq!(noted(), 1, "one trouble, one line");
    // An operator who mended it says so, or a start shows it.
    site.get("standby-xivo").verb(&["freeze"]);
    site.get("standby-xivo").verb(&["resume"]);
    site.get("main-xivo").remove("broken");
    site.until("main serves", || site.nodes[0].runs()).await;
    site.until("its alarm is over", || site.nodes[0].status()["failed_starts"].is_null()).await;
    site.until("its CC says why it does not", || alarmed(&site, 2)).await;
    site.get("main-cc").remove("broken");
    site.settles_on(&ON_MAIN).await;
    site.until("that is over, too", || site.nodes[2].status()["failed_starts"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telephony_that_dies_on_a_living_host_is_a_failure_too() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    site.get("main-xivo").remove("runs");
    site.settles_on(&ON_STANDBY).await;
    site.settles_on(&ON_MAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_whose_start_hangs_fails_or_lies_gives_the_votes_back() {
    for fault in ["hang", "broken", "lie"] {
        let mut site = Site::new().await;
        site.get("standby-xivo").touch(fault);
        site.start_all();
        site.settles_on(&ON_MAIN).await;
        site.get("main-xivo").die();
        site.until("standby tries twice", || site.nodes[1].starts() >= 2).await;
        assert_ne!(site.nodes[1].status()["status"], "active", "{fault}");
        site.get("main-xivo").start();
        site.settles_on(&ON_MAIN).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_main_whose_start_lies_takes_standby_down_ever_more_rarely_says_so_and_is_believed_when_it_is_mended() {
    let mut site = Site::new().await;
    site.get("main-xivo").configure("hold_down_limit: 1s", "hold_down_limit: 1h");
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    site.get("main-xivo").die();
    site.until("standby serves", || site.nodes[1].runs()).await;
    let before = site.get("main-xivo").starts();
    site.get("main-xivo").touch("lie");
    site.get("main-xivo").start();
    let failed = |site: &Site| site.nodes[0].status()["activations"]["failed"].as_u64().unwrap_or_default();
    // A crash and two starts: the hold-down is 20 s by now.
    site.until("main fails twice", || failed(&site) == 3).await;
    site.until("standby serves", || site.nodes[1].runs()).await;
    let alarms = |site: &Site| site.nodes[0].status()["alarms"].to_string();
    let words = "the last 3 activations of this node failed (the newest: the services did not start)";
    site.until("main alarms", || alarms(&site).contains(words)).await;
    // The next watchdog knows it, too.
    site.get("main-xivo").end(Signal::KILL);
    site.get("main-xivo").start();
    site.until("main knows what failed", || failed(&site) == 3).await;
    assert_eq!(site.get("main-xivo").starts() - before, 2);
    let hold_down = |site: &Site| site.nodes[0].status()["activations"]["hold_down_ms"].as_u64();
    assert!(hold_down(&site) > Some(15_000), "{:?}", hold_down(&site));
    site.get("main-xivo").remove("lie");
    let (code, said) = site.get("main-xivo").verb(&["resume", "--reason", "mended"]);
    assert_eq!(code, 0, "{said}");
    site.until("its hold-down is the usual one", || hold_down(&site) == Some(1000)).await;
    site.settles_on(&ON_MAIN).await;
    site.until("that is over", || !alarms(&site).contains("activations")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w1b_without_the_witness_nothing_switches_and_a_main_whose_host_answers_keeps_standby_back() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    let starts = site.get("main-xivo").starts();
    site.witness.die();
    let exposed = |site: &Site| site.nodes[0].status()["guard"].to_string().contains("exposed");
    site.until("main says that it is exposed", || exposed(&site)).await;
    site.until("standby knows that the witness is out", || site.nodes[1].status()["witness_out"] == true).await;
    assert_eq!(site.get("main-xivo").starts(), starts);
    // Its watchdog and services are gone, and its host still answers an echo request: it may be a Main without a watchdog.
    let before = site.nodes[1].starts();
    site.get("main-xivo").die();
    let silent = |site: &Site| site.nodes[1].status()["explanation"].to_string().contains("the peer is silent");
    site.until("standby hears nobody", || silent(&site)).await;
    assert_eq!(site.nodes[1].starts(), before);
    site.witness.come_back().await;
    site.until("standby serves with the witness's vote", || site.nodes[1].runs()).await;
    assert!(!site.nodes[1].status()["guard"].to_string().contains("unguarded"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_witness_and_main_die_together_standby_stays_inactive() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    let before = site.nodes[1].starts();
    site.witness.die();
    site.get("main-xivo").die();
    let gave_up = |site: &Site| site.nodes[1].status()["witness_out"] == true;
    site.until("standby knows that it is alone", || gave_up(&site)).await;
    assert_eq!(site.nodes[1].starts(), before);
    site.witness.come_back().await;
    site.until("standby serves", || site.nodes[1].runs()).await;
}

/// When a node wrote the newest sentence that begins so, in milliseconds of the Unix epoch; none: never.
fn noted(node: &crate::site::Node, sentence: &str) -> Option<i64> {
    let (_, text) = node.verb(&["history", "--limit", "200", "--json"]);
    let entries: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entries = entries.as_array().or_else(|| entries["entries"].as_array()).unwrap().clone();
    let found = entries.iter().filter(|entry| entry["sentence"].as_str().unwrap().starts_with(sentence));
    let time = |entry: &serde_json::Value| entry["time"].as_str().unwrap().parse::<daemon::Time>().unwrap().unix_ms();
    found.map(time).max()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w5_a_cc_begins_to_follow_within_100_ms_of_its_xivos_change() {
    let mut site = Site::new().await;
    site.start_all();
    site.settles_on(&ON_MAIN).await;
    let (mut start, mut stop) = (i64::MAX, i64::MAX);
    // Tests run side by side, and may hold each other up: the best of ten counts.
    for _ in 0..10 {
        // Main and Standby, and the CC of either.
        let changes = [(1, "active"), (3, "start the services"), (0, "inactive"), (2, "stop the services")];
        let times = |site: &Site| changes.map(|(node, sentence)| noted(&site.nodes[node], sentence));
        let before = times(&site);
        site.get("main-xivo").remove("runs");
        site.settles_on(&ON_STANDBY).await;
        // A journal is written after its act, and each by a process of its own.
        let mut now = before;
        site.until("all four have noted it", || {
            now = times(&site);
            now.iter().zip(&before).all(|(now, before)| now > before)
        })
        .await;
        let [active, starts, inactive, stops] = now.map(Option::unwrap);
        (start, stop) = (start.min(starts - active), stop.min(stops - inactive));
        site.settles_on(&ON_MAIN).await;
        if start <= 100 && stop <= 100 {
            break;
        }
    }
    println!("a CC begins to start {start} ms, to stop {stop} ms after its XiVO's change");
    assert!(start <= 100 && stop <= 100, "start {start} ms, stop {stop} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_renewed_is_read_without_a_signal() {
    let mut site = Site::new().await;
    site.get("main-cc").start();
    let history = |site: &Site| site.nodes[2].verb(&["history"]).1;
    site.until("it runs", || history(&site).contains("begins")).await;
    let read = || history(&site).matches("the certificate was read anew").count();
    assert_eq!(read(), 0);
    site.renew("main-cc");
    site.until("it is read", || read() == 1).await;
}
