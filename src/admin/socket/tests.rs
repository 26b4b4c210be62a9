use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{AdminEndpoint, ServerLimits, who};
use crate::admin::fake::FakeEngine;
use crate::config;

struct Site {
    path: PathBuf,
    engine: Arc<FakeEngine>,
    serving: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn with(engine: FakeEngine, limits: ServerLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let endpoint = AdminEndpoint::open(&config::Admin { socket: path.clone(), group: None }).await.unwrap();
        let engine = Arc::new(engine);
        let serving = tokio::spawn(AdminEndpoint { limits, ..endpoint }.serve(engine.clone()));
        Self { path, engine, serving, _dir: dir }
    }

    async fn new(engine: FakeEngine) -> Self {
        Self::with(engine, ServerLimits::ADMIN).await
    }

    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        parts(&self.raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await)
    }

    async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        parts(&self.raw(format!("{head}{body}").as_bytes()).await)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn parts(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), body.to_owned())
}

fn value(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

fn me() -> String {
    use std::os::unix::fs::MetadataExt;
    daemon::user(std::fs::metadata("/proc/self").unwrap().uid())
}

#[tokio::test]
async fn every_question_is_answered_in_json() {
    let site = Site::new(FakeEngine::default()).await;
    for (path, key) in [("/v1/status", "live"), ("/v1/explain", "rule"), ("/v1/reports/7", "phases")] {
        let (code, body) = site.get(path).await;
        assert_eq!(code, 200, "{path}: {body}");
        assert!(value(&body).get(key).is_some(), "{path}: {body}");
    }
    assert_eq!(value(&site.get("/v1/history?limit=3").await.1).as_array().unwrap().len(), 3);
    assert_eq!(value(&site.get("/v1/sessions?limit=1").await.1).as_array().unwrap().len(), 1);
    assert_eq!(site.get("/healthz").await, (200, "ok\n".into()));
    assert_eq!(site.get("/readyz").await, (200, "ok\n".into()));
}

#[tokio::test]
async fn an_edge_without_a_working_side_is_alive_but_not_ready_and_says_why() {
    let site = Site::new(FakeEngine { not_ready: Some("Neither side works.".into()), ..FakeEngine::default() }).await;
    assert_eq!(site.get("/healthz").await.0, 200);
    assert_eq!(site.get("/readyz").await, (503, "Neither side works.\n".into()));
}

#[tokio::test]
async fn an_order_is_done_in_the_name_the_kernel_gives() {
    let site = Site::new(FakeEngine::default()).await;
    let order = json!({"to": "standby", "reason": "upgrade\nof Main", "by": "mallory"}).to_string();
    let (code, body) = site.post("/v1/switch", &order).await;
    assert_eq!((code, &value(&body)["live"]), (200, &json!("standby")));
    let order = r#"{"on":true,"route":"/xuc","until":"2026-12-01T06:00:00+01:00"}"#;
    assert_eq!(site.post("/v1/maintenance", order).await.0, 200);
    for path in ["/v1/freeze", "/v1/resume", "/v1/drain"] {
        assert_eq!(site.post(path, "").await.0, 200, "{path}");
    }
    let orders = site.engine.orders.lock().unwrap().clone();
    assert_eq!(orders[0], ("switch".into(), format!("{} (says: mallory)", me()), "upgrade of Main".into()));
    assert_eq!(orders[1], ("maintenance true /xuc".into(), me(), String::new()));
    assert_eq!(orders[2], ("freeze".into(), me(), String::new()));
}

#[tokio::test]
async fn a_refusal_is_a_conflict_with_one_clear_sentence() {
    let site = Site::new(FakeEngine { refuse: Some("Standby does not work.".into()), ..FakeEngine::default() }).await;
    let (code, body) = site.post("/v1/switch", r#"{"to":"standby"}"#).await;
    assert_eq!((code, value(&body)), (409, json!({"error": "refused", "sentence": "Standby does not work."})));
}

#[tokio::test]
async fn nonsense_is_answered_with_what_is_wrong_and_reaches_no_brain() {
    let site = Site::new(FakeEngine::default()).await;
    for (answer, code, word) in [
        (site.post("/v1/switch", "{").await, 400, "invalid"),
        (site.post("/v1/switch", r#"{"to":"left"}"#).await, 400, "left"),
        (site.post("/v1/freeze", r#"{"reson":"typo"}"#).await, 400, "reson"),
        (site.post("/v1/maintenance", "").await, 400, "on"),
        (site.post("/v1/maintenance", r#"{"on":true,"until":"06:00"}"#).await, 400, "RFC 3339"),
        (site.get("/v1/maintenance").await, 405, "POST"),
        (site.get("/v1/history?limit=0").await, 400, "limit"),
        (site.get("/v1/history?limit=99999999999999999999").await, 400, "limit"),
        (site.get("/v1/reports/../../etc/passwd").await, 400, "no number"),
        (site.get("/v1/reports/8").await, 404, "no report 8"),
        (site.get("/v2/status").await, 404, "nothing at"),
        (site.get("/v1/switch").await, 405, "POST"),
        (site.post("/v1/status", "").await, 405, "GET"),
        (site.post("/v1/freeze", &"x".repeat(17 * 1024)).await, 413, "16384"),
    ] {
        assert_eq!(answer.0, code, "{}", answer.1);
        assert!(answer.1.contains(word), "{} has no {word}", answer.1);
    }
    assert!(site.engine.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_head_without_end_is_not_read_without_end() {
    let site = Site::new(FakeEngine::default()).await;
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let answer = site.raw(format!("GET /v1/status HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(parts(&answer).0, 431);
    let long = "y".repeat(64 * 1024);
    let mut stream = UnixStream::connect(&site.path).await.unwrap();
    let _ = stream.write_all(format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n").as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
}

#[tokio::test]
async fn callers_who_say_nothing_are_cut_and_make_room() {
    let limits = ServerLimits { connections: 2, head: Duration::from_millis(50), ..ServerLimits::ADMIN };
    let site = Site::with(FakeEngine::default(), limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(UnixStream::connect(&site.path).await.unwrap());
    }
    assert_eq!(site.get("/healthz").await.0, 200, "served once the silent ones are gone");
}

#[tokio::test]
async fn a_brain_that_does_not_answer_is_not_waited_for_without_end() {
    let limits = ServerLimits { answer: Duration::from_millis(30), ..ServerLimits::ADMIN };
    let site = Site::with(FakeEngine { hangs: true, ..FakeEngine::default() }, limits).await;
    let (code, body) = site.get("/v1/status").await;
    assert_eq!((code, &value(&body)["error"]), (504, &json!("time_limit")));
    assert_eq!(site.get("/healthz").await.0, 200, "the endpoint itself lives");
}

#[test]
fn what_a_caller_says_of_itself_stands_beside_what_the_kernel_says() {
    assert_eq!(who("root", ""), "root");
    assert_eq!(who("root", "root"), "root");
    assert_eq!(who("root", "ali\u{1b}ce"), "root (says: ali ce)");
}

#[tokio::test]
async fn a_body_that_drips_is_cut_and_no_half_order_is_done() {
    let limits = ServerLimits { whole: Duration::from_millis(60), ..ServerLimits::ADMIN };
    let site = Site::with(FakeEngine::default(), limits).await;
    let answer = site.raw(b"POST /v1/freeze HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{}").await;
    assert_eq!(answer, "");
    assert!(site.engine.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_connection_carries_one_request() {
    let site = Site::new(FakeEngine::default()).await;
    let twice = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    assert_eq!(site.raw(&twice).await.matches("HTTP/1.1 200").count(), 1);
}
