//! How a WebSocket ends when it must, and what is told and written of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use failover::Side;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{site, switch};
use crate::client::Client;
use crate::shared::{Shared, blocking, open_at, session_lines, unread_at};
use crate::site::{Site, wait_until};
use crate::socket::{CLOSE, Socket, soon, token};

const STALL: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(50);
const AT_ONCE: &str = "switch: { reconnect_rate: all }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_is_cut_after_write_stall_and_counted() {
    let shared = Shared::start();
    let site = site(&shared, "limits: { write_stall: 1s }\n");
    let client = Client::of(&site);
    let mut idle = Socket::open(&client, "/xuc/lab/ws/echo").await.unwrap();
    let mut deaf = Socket::open(&client, "/xuc/lab/ws/flood?frame=65536&count=1000000").await.unwrap();
    assert!(deaf.frame().await.is_some());
    blocking(|| {
        let counted = r#"bascule_sessions_ended_total{reason="write_stall",route="/xuc/lab/ws"}"#;
        wait_until("the deaf client is cut", || site.metric(counted) == 1.0);
        wait_until("its upstream is closed", || open_at(site.main.address) == 1);
        wait_until("its line is written", || !session_lines(&site).is_empty());
    });
    let line = &session_lines(&site)[0];
    assert_eq!((&line["ended"], &line["side"]), (&json!("write_stall"), &json!("main")), "{line}");
    assert!(line["duration_ms"].as_f64().unwrap() >= STALL.as_secs_f64() * 1000.0, "{line}");
    assert!(idle.echoes("another client is left alone").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_sigterm_websockets_are_closed_with_1001_and_the_edge_ends_within_its_limit() {
    let shared = Shared::start();
    let mut site = site(&shared, &format!("limits: {{ drain: {}s }}\n", DRAIN.as_secs()));
    let (client, token) = (Client::of(&site), token("jdoe"));
    let mut told = JoinSet::new();
    for target in ["/xuc/lab/ws/idle?", "/xuc/api/2.0/cti?", "/wssip?", "/wssip-mds1?"] {
        let socket = Socket::open(&client, &format!("{target}token={token}")).await.unwrap();
        told.spawn(socket.ended());
    }
    let stalled = tokio::spawn(Socket::open(&client, "/xuc/lab/ws/stall").await.unwrap().ended());
    // Hears the Close and never answers it.
    let mut rude = Socket::open(&client, "/xuc/lab/ws/idle").await.unwrap();
    let asked = Instant::now();
    let edge = site.edge.as_ref().unwrap();
    edge.signal(Signal::TERM);
    for ending in soon("the Close frames", told.join_all()).await {
        assert!(ending.is_told(1001, "going away"), "{ending:?}");
    }
    println!("SIGTERM: everybody was told after {:?}", asked.elapsed());
    assert!(soon("the stalled one's end", stalled).await.unwrap().inside_frame);
    assert_eq!(soon("the Close", rude.frame()).await.unwrap().opcode, CLOSE);
    assert_eq!(blocking(|| site.edge.as_mut().unwrap().wait()), Some(0));
    println!("SIGTERM: the Edge ended after {:?}", asked.elapsed());
    assert!(asked.elapsed() < DRAIN, "{:?}", asked.elapsed());
    blocking(|| wait_until("nothing is left", || open_at(site.main.address) + open_at(shared.address) == 0));
    let lines = session_lines(&site);
    assert_eq!(lines.len(), 6);
    let closed = |line: &&Value| line["session"]["close_code"] == 1001;
    assert!(lines.iter().all(|line| line["ended"] == "drained"), "{lines:#?}");
    assert_eq!(lines.iter().filter(closed).count(), 5, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e5_an_upgrade_whose_side_dies_before_it_answers_is_opened_on_the_other_side() {
    let mut site = blocking(Site::start);
    let client = Client::of(&site);
    // Longer than any probe, so that it is known among what waits at Main.
    let target = format!("/xuc/api/2.0/cti?token={}", token(&"j".repeat(100)));
    // The kernel takes the connection, nobody answers.
    site.main.signal(Signal::STOP);
    let opening = tokio::spawn({
        let (client, target) = (client.clone(), target.clone());
        async move { Socket::open(&client, &target).await }
    });
    blocking(|| {
        wait_until("the upgrade has reached Main", || unread_at(site.main.address).first() > Some(&target.len()));
        site.main.kill();
    });
    let mut socket = soon("the upgrade", opening).await.unwrap().unwrap();
    assert_eq!(socket.side, "standby");
    assert!(socket.echoes("hello").await);
    assert_eq!(blocking(|| site.live()), ("standby".to_owned(), 1));
    drop(socket);
    blocking(|| wait_until("its line is written", || session_lines(&site).len() == 1));
    let line = &session_lines(&site)[0];
    assert_eq!(
        (&line["side"], &line["replays"], &line["status"]),
        (&json!("standby"), &json!(1), &json!(101)),
        "{line}"
    );
    assert!(line["parked_ms"].as_f64().unwrap() > 0.0, "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_an_upgrade_that_hangs_in_a_dead_side_opens_on_the_first_side_to_work() {
    let mut site = blocking(Site::start);
    let client = Client::of(&site);
    let target = format!("/xuc/api/2.0/cti?token={}", token("jdoe"));
    site.main.signal(Signal::STOP);
    site.standby.kill();
    let opening = tokio::spawn({
        let (client, target) = (client.clone(), target.clone());
        async move { Socket::open(&client, &target).await }
    });
    blocking(|| {
        wait_until("the upgrade has reached Main", || unread_at(site.main.address).first() > Some(&target.len()));
        // Main hears nothing and says nothing: the upgrade hangs there until Standby is back and takes over.
        site.standby.start();
    });
    let socket = soon("the upgrade", opening).await.unwrap().unwrap();
    assert_eq!(socket.side, "standby");
}

/// The lines of one target, by the word in it.
fn line_of<'l>(lines: &'l [Value], word: &str) -> &'l Value {
    let found = lines.iter().find(|line| line["path"].as_str().unwrap().contains(word));
    found.unwrap_or_else(|| panic!("{word}: {lines:#?}"))
}

/// Everything that was written below a directory.
fn written(directory: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => written(&path),
            false => fs::read(&path)
                .map(|bytes| (path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()))
                .into_iter()
                .collect(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_a_sessions_line_says_where_it_was_and_why_it_ended_and_no_log_has_a_token() {
    let shared = Shared::start();
    let site = site(&shared, &format!("{AT_ONCE}log: {{ level: trace }}\n"));
    let (client, token) = (Client::of(&site), token("jdoe"));
    let main = site.main.address.to_string();
    let mut moved = JoinSet::new();
    for target in ["/xuc/api/2.0/cti", "/wssip", "/xuc/lab/ws/stall"] {
        let socket = Socket::open(&client, &format!("{target}?token={token}")).await.unwrap();
        moved.spawn(socket.ended());
    }
    let media = Socket::open(&client, &format!("/wssip-mds1?token={token}")).await.unwrap();
    let mut left = Socket::open(&client, &format!("/xuc/lab/ws/echo?token={token}")).await.unwrap();
    left.send(CLOSE, &1000_u16.to_be_bytes()).await.unwrap();
    soon("the end", left.ended()).await;
    let refused = Socket::open(&client, &format!("/xuc/api/2.0/nothing?token={token}")).await;
    assert!(refused.unwrap_err().to_string().starts_with("answered with 4"));
    switch(&site, Side::Standby);
    soon("the end", moved.join_all()).await;
    blocking(|| {
        wait_until("each has its line", || session_lines(&site).len() == 5);
        let (_, told) = site.verb(&["sessions"]);
        assert!(told.contains("jdoe") && !told.contains(&token), "{told}");
    });
    drop(media);
    blocking(|| wait_until("the last one has its line", || session_lines(&site).len() == 6));
    let lines = session_lines(&site);
    let told = |word: &str| {
        let line = line_of(&lines, word);
        json!([line["side"], line["backend"], line["ended"], line["session"]["close_code"]])
    };
    assert_eq!(told("/cti"), json!(["main", main, "switched", 1012]));
    assert_eq!(told("/wssip"), json!([null, shared.address.to_string(), "switched", 1012]));
    assert_eq!(told("/stall"), json!(["main", main, "cut", null]));
    assert_eq!(told("/echo"), json!(["main", main, "complete", null]));
    let secrets: Vec<&str> = token.split('.').skip(1).collect();
    for (path, text) in written(&site.path("")) {
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{path} has a token");
    }
    blocking(|| wait_until("the switch is in the log", || site.log().contains("standby")));
}
