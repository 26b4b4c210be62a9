//! The thread through everything.

use std::os::unix::net::UnixDatagram;

use failover::Side;
use rustix::process::Signal;

use crate::client::{Client, Speaks};
use crate::site::{PATIENCE, Site};

#[tokio::test]
async fn e2_when_main_dies_requests_are_served_by_standby() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for speaks in [Speaks::H1, Speaks::H2] {
        let answer = client.connect(speaks).await.unwrap().get("/xuc/lab/headers").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.side()), (200, "main"));
    }
    site.main.kill();
    let answer = client.get("/version").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "standby"));
    site.wait_live(Side::Standby);
    assert_eq!(site.live(), ("standby".to_owned(), 1));
}

/// What the Edge tells systemd, message by message, until one has this line.
fn told(systemd: &UnixDatagram, line: &str) {
    let mut message = [0; 4096];
    loop {
        let length = systemd.recv(&mut message).unwrap_or_else(|error| panic!("systemd was not told {line}: {error}"));
        if std::str::from_utf8(&message[..length]).unwrap().lines().any(|one| one == line) {
            return;
        }
    }
}

#[tokio::test]
async fn systemd_is_told_when_the_edge_listens_which_side_is_live_and_that_it_ends() {
    let mut site = Site::start();
    site.stop_edge();
    let systemd = UnixDatagram::bind(site.path("notify.sock")).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    site.spawn_edge();
    told(&systemd, "READY=1");
    // Nobody has waited for anything else: whoever is ordered behind the unit finds it open.
    assert_eq!(Client::of(&site).get("/version").await.unwrap().status, 200);
    told(&systemd, "STATUS=main is live");
    site.main.kill();
    told(&systemd, "STATUS=standby is live");
    site.edge().signal(Signal::TERM);
    told(&systemd, "STOPPING=1");
    site.stop_edge();
    // A start that fails is never ready: the first message would be that.
    site.write_config(&site.config().replace(&site.https.to_string(), "192.0.2.1:4430"));
    assert_eq!(site.verb(&["run"]).0, Some(1));
    systemd.set_nonblocking(true).unwrap();
    let mut message = [0; 4096];
    while let Ok(length) = systemd.recv(&mut message) {
        let message = String::from_utf8_lossy(&message[..length]);
        assert!(!message.contains("READY=1"), "{message}");
    }
}

#[test]
fn a_start_that_fails_names_what_it_needed_the_systems_cause_and_what_to_do() {
    let site = Site::plan("");
    let config = site.config();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let at = |name: &str| site.path(name).display().to_string();
    std::fs::write(site.path("no-directory"), "").unwrap();
    let used = "Address already in use";
    for (from, to, words) in [
        (site.https.to_string(), taken.clone(), ["another program listens there", used]),
        (site.http.to_string(), taken.clone(), ["another program listens there", used]),
        (site.metrics.to_string(), taken.clone(), ["metrics: cannot listen on", used]),
        (site.https.to_string(), "192.0.2.1:4430".to_owned(), ["this host has no such address", "Cannot assign"]),
        (at("state"), at("no-directory"), ["cannot create", "File exists"]),
    ] {
        site.write_config(&config.replace(&from, &to));
        let (code, told) = site.verb(&["run"]);
        assert!(code == Some(1) && words.iter().all(|word| told.contains(word)), "{to}: {code:?} {told}");
        assert!(told.contains(&to), "{to}: {told}");
        assert!(!told.contains("panicked"), "{told}");
    }
}
