//! The thread through everything.

use failover::Side;

use crate::client::{Client, Speaks};
use crate::site::Site;

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
