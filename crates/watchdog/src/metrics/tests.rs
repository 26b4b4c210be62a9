use super::Metrics;
use super::door::serve_at;
use crate::control::api::{
    Choice, DutyView, Failback, FenceState, FenceView, Followed, IcmpSocket, IcmpView, Link, Mode, StatusView,
    VoterView, Voters,
};
use crate::state::Time;
use failover::Side;
use failover::duty::Elector;
use failover::health::Status;
use failover::lease::Ruling;
use protocol::wire::{Guard, MediaServer, Presence, Role, ServiceState};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn node(role: Role, side: Option<Side>) -> StatusView {
    let works = ServiceState { works: true, detail: "runs".into() };
    StatusView {
        role,
        side,
        name: "main-xivo".into(),
        version: "1".into(),
        status: Status::Active,
        since: Time::now(),
        because: "it was started".into(),
        alarms: vec!["the disk is full".into()],
        services: BTreeMap::from([("telephony".into(), works)]),
        certificate_days: Some(100),
        outside: vec![],
        running: None,
        edge: Some(link(true)),
        duty: None,
        follows: None,
        presence: None,
    }
}

fn link(connected: bool) -> Link {
    Link { address: "10.0.0.12:9602".into(), connected, state: "up".into() }
}

fn voter(status: Option<Status>) -> VoterView {
    VoterView { link: link(true), answered_ms_ago: Some(250), ruling: None, status, fit: status.map(|_| true) }
}

fn xivo() -> StatusView {
    let server = |registered| MediaServer { registered, state: "as it is".into() };
    let duty = DutyView {
        epoch: 7,
        campaign: 1_700_000_000_001,
        guard: Some(Guard::Exposed { lacks: "witness".into() }),
        fit: true,
        waiting: None,
        mode: Mode::Automatic,
        failback: Failback::Auto,
        frozen: false,
        choice: Choice::None,
        accept_requests: false,
        voters: Voters { peer: voter(Some(Status::Inactive)), witness: Some(voter(None)) },
        vote: "its own".into(),
        lease_ms_left: Some(1400),
        takeover_ms: 4800,
        fence: FenceView { kind: "nft".into(), state: FenceState::Open, detail: String::new() },
        icmp: IcmpView { socket: IcmpSocket::Dgram, peer: Some(true), anchors: None },
        media_servers: BTreeMap::from([("mds1".into(), server(true)), ("mds2".into(), server(false))]),
        persisted: true,
        replication_held: Some(false),
        explanation: "it serves".into(),
    };
    StatusView { duty: Some(duty), ..node(Role::Xivo, Some(Side::Main)) }
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.text().unwrap()).unwrap()
}

/// Everything a XiVO node can count, counted.
fn busy() -> Metrics {
    let metrics = Metrics::new();
    metrics.show(&Arc::new(xivo()));
    metrics.persisted(Duration::from_millis(2), false);
    metrics.fenced(Duration::from_millis(20));
    metrics.fence_failed();
    metrics.hard_fenced();
    metrics.two_actives();
    metrics.command("start", true, Duration::from_secs(3));
    metrics.answered(Elector::Peer, Some(Ruling::Grant));
    metrics.answered(Elector::Witness, None);
    metrics.round_trip(Elector::Peer, Duration::from_millis(3));
    metrics.outside();
    metrics.rival(true);
    metrics
}

fn has(text: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(text.lines().any(|l| l == *line), "no `{line}` in\n{text}");
    }
}

async fn ask(address: std::net::SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_scraper_gets_what_happened_and_how_the_node_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve_at(listener, Arc::new(busy())));
    let text = ask(address, "GET /metrics").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("version=0.0.4"), "{text}");
    has(
        &text,
        &[
            r#"bascule_watchdog_status{status="active"} 1"#,
            r#"bascule_watchdog_status{status="inactive"} 0"#,
            r#"bascule_watchdog_node_info{name="main-xivo",role="xivo",side="main"} 1"#,
            "bascule_watchdog_duty_epoch 7",
            "bascule_watchdog_campaign 1700000000001",
            r#"bascule_watchdog_guard{guard="exposed"} 1"#,
            r#"bascule_watchdog_guard{guard="guarded"} 0"#,
            r#"bascule_watchdog_vote_lacking{voter="witness"} 1"#,
            "bascule_watchdog_lease_left_seconds 1.4",
            r#"bascule_watchdog_fence{state="open"} 1"#,
            r#"bascule_watchdog_registered{mds="mds1"} 1"#,
            r#"bascule_watchdog_registered{mds="mds2"} 0"#,
            r#"bascule_watchdog_service_works{service="telephony"} 1"#,
            r#"bascule_watchdog_peer_status{status="inactive"} 1"#,
            r#"bascule_watchdog_icmp_answers{target="peer"} 1"#,
            "bascule_watchdog_alarms 1",
            r#"bascule_watchdog_commands_total{command="start",outcome="done"} 1"#,
            r#"bascule_watchdog_commands_total{command="stop",outcome="failed"} 0"#,
            r#"bascule_watchdog_vote_requests_total{ruling="grant",voter="peer"} 1"#,
            r#"bascule_watchdog_vote_requests_total{ruling="failed",voter="witness"} 1"#,
            r#"bascule_watchdog_vote_duration_seconds_count{voter="peer"} 1"#,
            "bascule_watchdog_persist_failures_total 1",
            "bascule_watchdog_fence_close_duration_seconds_count 1",
            "bascule_watchdog_outside_acts_total 1",
            "bascule_watchdog_rival_present 1",
        ],
    );
    assert!(ask(address, "GET /status").await.starts_with("HTTP/1.1 404"));
    assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
    serving.abort();
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(super::serve(address, Arc::new(Metrics::new())).await.is_err());
}

#[test]
fn what_is_gone_or_cannot_be_has_no_series() {
    let metrics = busy();
    let mut stopped = xivo();
    if let Some(duty) = &mut stopped.duty {
        duty.lease_ms_left = None;
        duty.guard = None;
        duty.media_servers.remove("mds2");
    }
    metrics.show(&Arc::new(stopped));
    let text = text(&metrics);
    has(&text, &[r#"bascule_watchdog_guard{guard="none"} 1"#]);
    for absent in ["lease_left", "mds2", r#"target="anchors""#, "followed", "presence{", "not_after"] {
        assert!(!text.contains(absent), "{absent} in\n{text}");
    }
}

#[test]
fn a_role_shows_what_it_does_and_no_votes() {
    let metrics = Metrics::new();
    let presence = Presence { main: true, standby: true, conflict: true };
    metrics.show(&Arc::new(StatusView { presence: Some(presence), ..node(Role::Mds, None) }));
    let mds = text(&metrics);
    has(&mds, &["bascule_watchdog_mds_conflict 1", r#"bascule_watchdog_mds_presence{side="standby"} 1"#]);
    let follows = Followed { link: link(false), status: Some(Status::Stopping), epoch: 7, heard_ms_ago: Some(3000) };
    metrics.show(&Arc::new(StatusView { follows: Some(follows), ..node(Role::Cc, Some(Side::Standby)) }));
    let cc = text(&metrics);
    has(
        &cc,
        &[
            "bascule_watchdog_followed_connected 0",
            "bascule_watchdog_followed_heard_age_seconds 3",
            r#"bascule_watchdog_followed_status{status="stopping"} 1"#,
        ],
    );
    for text in [mds, cc] {
        assert!(!text.contains("vote_requests") && !text.contains("duty_epoch"), "{text}");
    }
}

#[test]
fn metrics_are_clean_under_promtool() {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        println!("skipped: promtool missing");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text(&busy()).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
