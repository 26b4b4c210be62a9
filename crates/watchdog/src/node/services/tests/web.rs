//! Services that are asked over HTTP, through a proxy that lives on when they are stopped.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// A proxy: answers 401 for a service that is there, and 502 for one that is not.
async fn proxy(files: &Files) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, runs) = (listener.local_addr().unwrap(), files.path("runs"));
    let answers = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let status = if runs.exists() { "401 Unauthorized" } else { "502 Bad Gateway" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, answers)
}

/// As a CC's: no check, asked through its own proxy.
fn spec(files: &Files, address: SocketAddr) -> ServicesSpec {
    let mut question = probe::HttpCheck::get("/ready".parse().unwrap(), "localhost".parse().unwrap());
    question.status = "200,401".parse().unwrap();
    let kind = probe::Kind::Http(question);
    let probe = Some(Arc::new(probe::Check::new(address, LONG, kind)));
    ServicesSpec { check: None, probe, ..files.spec() }
}

#[tokio::test]
async fn a_web_service_is_stopped_when_the_proxy_before_it_answers_502() {
    let files = Files::new();
    let (address, _proxy) = proxy(&files).await;
    let services = Services::new(spec(&files, address));
    assert_eq!(services.look().await, Found::Stopped);
    let (worker, mut events) = services.work();
    worker.order(start()).unwrap();
    let report = started(&mut events).await;
    assert!(report.outcome == Outcome::Done && report.text.contains("401"), "{report:?}");
    assert_eq!(services.look().await, Found::Running);
    worker.order(stop()).unwrap();
    let report = stopped(&mut events).await;
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(services.look().await, Found::Stopped);
}

#[tokio::test]
async fn a_web_service_that_still_answers_is_not_stopped_and_a_dead_proxy_is() {
    let files = Files::new();
    std::fs::write(files.path("runs"), "").unwrap();
    let (address, mut proxy) = proxy(&files).await;
    let lies =
        ServicesSpec { stop: files.sh("true"), verify_limit: Duration::from_millis(300), ..spec(&files, address) };
    let services = Services::new(lies);
    let (worker, mut events) = services.work();
    worker.order(stop()).unwrap();
    let report = stopped(&mut events).await;
    assert!(report.outcome == Outcome::Failed && report.text.contains("not verified to be stopped"), "{report:?}");
    proxy.abort();
    let _ = (&mut proxy).await;
    assert_eq!(services.look().await, Found::Stopped);
}

#[tokio::test]
async fn a_probers_own_trouble_and_a_check_that_passes_prove_no_stop() {
    let files = Files::new();
    let (address, _proxy) = proxy(&files).await;
    let mut own = spec(&files, address);
    // Not an address of this machine: the prober cannot ask from it.
    let asked = own.probe.as_deref().unwrap().clone();
    own.probe = Some(Arc::new(probe::Check { source: Some([192, 0, 2, 1].into()), ..asked }));
    let look = Services::new(own).look().await;
    assert!(matches!(look, Found::Unclear(_)), "{look:?}");
    let checked = ServicesSpec { check: Some(files.sh("true")), ..spec(&files, address) };
    let look = Services::new(checked).look().await;
    assert!(matches!(look, Found::Unclear(_)), "{look:?}");
}
