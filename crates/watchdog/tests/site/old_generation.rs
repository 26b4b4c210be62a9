//! A site up to 2025.10 without watchdogs on its XiVO: xuc runs on both sides, and is stale until its CC's watchdog restarts it.

use std::fs;

use failover::Side;
use failover::health::Status;

use crate::site::{Node, Site};

const SWITCHES: u32 = 10;

fn word(node: &Node, name: &str) -> String {
    fs::read_to_string(node.path(name)).unwrap().trim().to_owned()
}

fn says(site: &Site, name: &str, status: &str) -> bool {
    site.nodes.iter().any(|node| node.name == name && node.status()["status"] == status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w5_many_switches_both_ways_serve_nobody_by_a_stale_xuc_and_need_no_command() {
    let mut site = Site::new().await;
    for side in Side::BOTH {
        site.old_cc(side).start();
    }
    let names = Side::BOTH.map(|side| format!("{side}-old-cc"));
    for switch in 1..=SWITCHES {
        let active = usize::from(switch.is_multiple_of(2));
        let [to, from] = [&names[active], &names[1 - active]];
        site.get(from).write("xivo", "1");
        site.until("the CC that is left is inactive", || says(&site, from, "inactive")).await;
        let node = site.get(to);
        node.touch("not-ready");
        node.write("activation", &switch.to_string());
        node.write("xivo", "0");
        let restarted =
            |site: &Site| site.nodes.iter().any(|node| &node.name == to && word(node, "knows") == switch.to_string());
        site.until("xuc is restarted", || restarted(&site)).await;
        // Restarted is not ready.
        site.until("the CC says that it is starting", || says(&site, to, "starting")).await;
        site.get(to).remove("not-ready");
        site.until("the CC is active", || says(&site, to, "active")).await;
        site.until_told(to, "that it is active", |report| report.status == Status::Active).await;
        let node = site.get(to);
        assert_eq!(word(node, "knows"), switch.to_string(), "a stale xuc is active");
    }
    for name in &names {
        let node = site.get(name);
        assert_eq!(word(node, "log").lines().count(), (SWITCHES / 2) as usize, "one restart for each activation");
        node.end(rustix::process::Signal::TERM);
    }
}
