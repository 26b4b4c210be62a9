//! E8: decisions explain themselves afterwards, and nothing written down holds a token.

use failover::Side;
use http::{Method, Request};

use crate::client::{Client, Speaks};
use crate::failover::BRISK;
use crate::site::{Site, wait_until};

#[tokio::test]
async fn e8_a_switch_is_explained_by_facts_rule_and_phases() {
    let mut site = Site::start_with(BRISK);
    let client = Client::of(&site);
    site.wait_ready_to_switch();
    assert_eq!(client.get("/version").await.unwrap().side(), "main");
    let calm = site.order(&["explain"]);
    for phrase in
        ["traffic stays on main, which works", "fact", "rule", "if main died now: traffic would move to standby"]
    {
        assert!(calm.contains(phrase), "no `{phrase}` in\n{calm}");
    }
    assert!(site.order(&["report"]).contains("no switch yet"));
    site.main.kill();
    assert_eq!(client.get("/version").await.unwrap().side(), "standby");
    wait_until("all of Main is seen to be down", || site.order(&["explain"]).contains("main does not work: dead"));
    let explained = site.order(&["explain"]);
    for phrase in [
        "traffic stays on standby, which works",
        "main does not work: dead",
        "(http: connection refused",
        "standby works",
        "standby is live in epoch 1",
        "1 of 4 automatic switches of this hour are used",
        "failover main -> standby (epoch 1)",
        "if standby died now",
    ] {
        assert!(explained.contains(phrase), "no `{phrase}` in\n{explained}");
    }
    let history = site.order(&["history"]);
    for phrase in ["started", "health", "SWITCHED", "the Edge", "main does not work"] {
        assert!(history.contains(phrase), "no `{phrase}` in\n{history}");
    }
    wait_until("the report is complete", || site.report(1)["phases"]["first_served"].is_object());
    let report = site.order(&["report", "1"]);
    for phrase in
        ["#1 failover, Main → Standby", "first bad sign", "decision", "on the disk", "first request served by Standby"]
    {
        assert!(report.contains(phrase), "no `{phrase}` in\n{report}");
    }
    for line in report.lines().filter(|line| line.contains("first bad sign") || line.contains("first request")) {
        assert!(line.trim_start().starts_with('+'), "{line}");
    }
    let (code, text) = site.verb(&["report", "7"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no report 7"), "{text}");
    // The journal survives, once it is on the disk.
    let report = site.path("state").join("reports/00000001.json");
    wait_until("it is written", || site.journal().contains(r#""event":"switched""#) && report.exists());
    site.edge().kill();
    site.start_edge();
    assert!(site.order(&["history"]).contains("SWITCHED") && site.order(&["report", "1"]).contains("failover"));
}

#[tokio::test]
async fn e8_no_token_is_ever_written_down() {
    const SEGMENT: &str = "c2VjcmV0LXNlZ21lbnQ";
    let mut site = Site::start_with(BRISK);
    let client = Client::of(&site);
    let token = format!("eyJhbGciOiJub25lIn0.{SEGMENT}.{SEGMENT}");
    let targets = [
        format!("/xuc/api/2.0/cti?token={token}"),
        format!("/version?token={token}"),
        format!("/version?x=1&access_token={token}&y"),
        format!("/nowhere/{token}?token={token}"),
        format!("/xuc/%2f?token={token}"),
        format!("/xuc/lab/status?code=500&token={token}"),
    ];
    for speaks in [Speaks::H1, Speaks::H2] {
        for target in &targets {
            let builder = Request::builder()
                .method(Method::GET)
                .uri(target)
                .header("authorization", format!("Bearer {token}"))
                .header("cookie", format!("session={token}"))
                .header("referer", format!("https://edge.example.org/?token={token}"));
            client.connect(speaks).await.unwrap().request(builder, "").await.unwrap();
        }
    }
    for raw in [
        format!("GET /xuc?token={token} HTTP/9\r\n\r\n"),
        format!("GET /version?token={token} HTTP/1.1\r\nHost: elsewhere.org\r\nConnection: close\r\n\r\n"),
        format!(
            "GET /xuc/api/2.0/cti?token={token} HTTP/1.1\r\nHost: edge.example.org\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 9\r\n\r\n"
        ),
    ] {
        crate::raw::say(&client, raw.as_bytes()).await;
    }
    // On a switch, too.
    site.wait_health(Side::Standby, "working");
    site.main.kill();
    client.get(&targets[1]).await.unwrap();
    site.wait_live(Side::Standby);
    // Nothing is written after the end.
    site.edge().signal(rustix::process::Signal::TERM);
    assert_eq!(site.edge().wait(), Some(0));
    let written = site.written();
    assert!(written.contains("/version") && written.contains("SWITCH") || written.contains("switched"), "{written}");
    if let Some(line) = written.lines().find(|line| line.contains(SEGMENT)) {
        panic!("written down: {line}");
    }
}
