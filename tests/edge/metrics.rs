//! What Prometheus reads is what Prometheus understands.

use std::io::Write;
use std::process::{Command, Stdio};

use failover::Side;
use http::Method;

use crate::client::{Client, Speaks};
use crate::site::{Site, wait_until};

#[tokio::test]
async fn promtool_finds_no_fault_in_the_metrics_of_an_edge_that_has_lived() {
    let mut site = Site::start();
    site.wait_ready_to_switch();
    let client = Client::of(&site);
    let mut connection = client.connect(Speaks::H2).await.unwrap();
    for target in ["/version", "/xuc/lab/status?code=500", "/nowhere", "/xuc%2f"] {
        connection.get(target).await.unwrap();
    }
    client.send(Method::POST, "/xuc/lab/count", "1").await.unwrap();
    site.main.kill();
    assert_eq!(client.get("/version").await.unwrap().side(), "standby");
    // Requests are counted after their answers, and a switch after it has moved traffic.
    for line in [
        "bascule_live{side=\"standby\"} 1",
        "bascule_live{side=\"main\"} 0",
        "bascule_switch_epoch 1",
        "bascule_refused_requests_total{reason=\"no_route\"} 1",
        "bascule_refused_requests_total{reason=\"bad_path\"} 1",
    ] {
        wait_until(&format!("there is `{line}`"), || site.metrics_text().lines().any(|found| found == line));
    }
    assert_no_fault(&site.metrics_text());
    assert_eq!(site.live(), (Side::Standby.label().to_owned(), 1));
}

/// Has promtool look, where there is one.
pub fn assert_no_fault(text: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        return println!("skipped: there is no promtool");
    };
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let told = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() && said.trim().is_empty(), "{said}");
}
