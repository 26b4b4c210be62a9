use std::collections::BTreeMap;

use failover::Side;
use failover::duty::{self, Choice, Failback, Mode};
use failover::health::Status;
use failover::lease::VoteReply;
use protocol::wire::{Guard, MediaServer, Role, Times};
use serde_json::{Value, json};

use super::api::*;
use super::*;
use crate::state::{Entry, Kind, Time};

/// An active Main with everything there is to say.
pub(crate) fn view() -> StatusView {
    let link = Link { address: "10.0.0.12:9602".into(), connected: true, state: "connected for 3 min".into() };
    let peer = VoterView {
        link: link.clone(),
        answered_ms_ago: Some(120),
        ruling: Some(VoteReply::Grant),
        status: Some(Status::Inactive),
        fit: Some(true),
        needs_ms: Some(2405),
        promises_ms: Some(2500),
    };
    let media = MediaServer { registered: true, state: "Registered".into() };
    let duty = DutyView {
        epoch: 7,
        campaign: u64::MAX,
        guard: Some(Guard::Exposed { lacks: "witness".into() }),
        fit: true,
        waiting: None,
        mode: Mode::Automatic,
        failback: Failback::Auto,
        frozen: false,
        choice: Choice::None,
        accept_requests: false,
        voters: Voters { witness: Some(VoterView { status: None, fit: None, needs_ms: None, ..peer.clone() }), peer },
        vote: "the vote is promised to main (campaign 1, epoch 7)".into(),
        witness_out: false,
        lease_ms_left: Some(1500),
        takeover_ms: 3800,
        times: Some(Times { needs_ms: 2405, promises_ms: 2500 }),
        times_differ: Vec::new(),
        fence: FenceView { kind: "nft".into(), state: FenceState::Open, detail: "5060, 5061".into() },
        icmp: IcmpView { socket: IcmpSocket::Raw, peer: Some(true), anchors: None },
        media_servers: BTreeMap::from([("mds1".to_owned(), media)]),
        persisted: true,
        activations: Activations { failed: 2, why: None, hold_down_ms: 240_000, settles_in_ms: Some(90_000) },
        slow_write_ms: Some(1_800),
        replication_held: None,
        explanation: "main is active".into(),
    };
    StatusView {
        role: Role::Xivo,
        side: Some(Side::Main),
        name: "main-xivo".into(),
        instance: 42,
        version: "0.1.0".into(),
        status: Status::Active,
        since: Time::from_unix_ms(1_700_000_000_000),
        because: "it has its own vote and that of peer".into(),
        alarms: vec!["the witness is silent".into()],
        failed_starts: None,
        services: BTreeMap::new(),
        certificate_days: Some(300),
        outside: Vec::new(),
        running: None,
        edge: Some(link),
        duty: Some(duty),
        follows: None,
        presence: None,
    }
}

struct Node {
    dir: tempfile::TempDir,
    orders: mpsc::Receiver<Order>,
    _status: watch::Sender<Arc<StatusView>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Node {
    async fn new(votes: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(&dir.path().join("watchdog.sock")).await.unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.append(Entry::new(Kind::Run, "The watchdog began."));
        let (status, view) = watch::channel(Arc::new(view()));
        let (sender, orders) = mpsc::channel(ORDERS);
        let serving = tokio::spawn(control.serve(view, journal, votes.then_some(sender)));
        Self { dir, orders, _status: status, serving }
    }

    fn client(&self) -> daemon::Client {
        daemon::Client { socket: self.dir.path().join("watchdog.sock"), program: &crate::cli::WATCHDOG }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, daemon::AskError> {
        let body = if method == Method::GET { Vec::new() } else { body.to_string().into_bytes() };
        Ok(serde_json::from_slice(&self.client().ask(method, path, body).await?).unwrap())
    }
}

#[test]
fn a_status_reads_back_what_it_writes_and_its_names_are_fixed() {
    let text = serde_json::to_string(&view()).unwrap();
    assert_eq!(serde_json::from_str::<StatusView>(&text).unwrap(), view());
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["side"], "main");
    assert_eq!(value["campaign"], u64::MAX);
    assert_eq!(value["guard"], json!({ "exposed": { "lacks": "witness" } }));
    assert_eq!(value["voters"]["peer"]["ruling"], "grant");
    assert_eq!(value["fence"]["state"], "open");
    let follower = StatusView { role: Role::Cc, duty: None, ..view() };
    let text = serde_json::to_string(&follower).unwrap();
    assert_eq!(serde_json::from_str::<StatusView>(&text).unwrap(), follower);
}

#[tokio::test]
async fn status_and_history_are_told() {
    let node = Node::new(true).await;
    let status = node.ask(Method::GET, "/status", &Value::Null).await.unwrap();
    assert_eq!(status["epoch"], 7);
    let history = node.ask(Method::GET, "/history?limit=1", &Value::Null).await.unwrap();
    assert_eq!(history[0]["sentence"], "The watchdog began.");
    assert!(node.ask(Method::GET, "/history?limit=0", &Value::Null).await.is_err());
    assert!(node.ask(Method::POST, "/status", &Value::Null).await.is_err());
}

#[tokio::test]
async fn an_act_reaches_the_driver_with_who_and_why_and_its_answer_comes_back() {
    let mut node = Node::new(true).await;
    for (body, act) in [
        (json!({ "act": "activate_force" }), duty::Act::ForceActivate),
        (json!({ "act": "mode", "to": "manual" }), duty::Act::Mode(duty::Mode::Manual)),
        (json!({ "act": "failback", "to": "window" }), duty::Act::Failback(duty::Failback::Window)),
    ] {
        let mut body = body;
        body["reason"] = "a test\n".into();
        body["by"] = "ann".into();
        let client = node.client();
        let asked = tokio::spawn(async move { client.ask(Method::POST, "/act", body.to_string().into_bytes()).await });
        let order = node.orders.recv().await.unwrap();
        assert_eq!((order.act, order.reason.as_str()), (act, "a test"));
        assert!(order.who.ends_with("(says: ann)"), "{}", order.who);
        order.reply.send(Ok("Done.".into())).unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), br#"{"sentence":"Done."}"#.as_slice());
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_words_and_nonsense_reaches_nobody() {
    let mut node = Node::new(true).await;
    let client = node.client();
    let asked = tokio::spawn(async move { client.ask(Method::POST, "/act", br#"{"act":"activate"}"#.to_vec()).await });
    node.orders.recv().await.unwrap().reply.send(Err("The peer serves.".into())).unwrap();
    let error = asked.await.unwrap().unwrap_err();
    assert!(error.is_refusal() && error.to_string() == "The peer serves.");
    for nonsense in [json!({ "act": "dance" }), json!({ "act": "mode" }), json!({})] {
        let error = node.ask(Method::POST, "/act", &nonsense).await.unwrap_err();
        assert!(!error.is_refusal() && error.to_string().contains("makes no sense"), "{error}");
    }
    assert!(node.orders.try_recv().is_err());
}

#[tokio::test]
async fn a_node_that_does_not_vote_takes_no_orders() {
    let node = Node::new(false).await;
    let error = node.ask(Method::POST, "/act", &json!({ "act": "activate" })).await.unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("act there"), "{error}");
}

// Scripts of the site's own read these words.
#[test]
fn every_word_of_the_status_is_spelled_as_it_always_was() {
    let whole = serde_json::to_value(view()).unwrap();
    let spelled = |path: &str, word: Value, told: &str| {
        let mut status = whole.clone();
        *status.pointer_mut(path).unwrap() = word.clone();
        let read: StatusView = serde_json::from_value(status.clone()).unwrap_or_else(|error| panic!("{path}: {error}"));
        let words = format!("{read:?}");
        assert!(words.contains(told), "{path} {word} is {words}, not {told}");
        assert_eq!(serde_json::to_value(read).unwrap(), status);
    };
    for (path, words) in [
        ("/role", ["xivo role: Xivo", "cc role: Cc", "mds role: Mds"].as_slice()),
        ("/side", &["main side: Some(Main)", "standby side: Some(Standby)"]),
        (
            "/status",
            &[
                "active status: Active",
                "inactive status: Inactive",
                "starting status: Starting",
                "stopping status: Stopping",
                "faulty status: Faulty",
            ],
        ),
        ("/mode", &["automatic mode: Automatic", "manual mode: Manual"]),
        ("/failback", &["auto failback: Auto", "window failback: Window", "manual failback: Manual"]),
        ("/choice", &["none choice: None", "serve choice: Serve", "step_back choice: StepBack"]),
        ("/voters/peer/ruling", &["grant Some(Grant)", "deny Some(Deny)", "lost Some(Lost)", "too_long Some(TooLong)"]),
        ("/voters/peer/status", &["faulty status: Some(Faulty)"]),
        ("/fence/state", &["closed state: Closed", "open state: Open", "failed state: Failed", "absent state: Absent"]),
        ("/icmp/socket", &["dgram socket: Dgram", "raw socket: Raw", "none socket: None"]),
    ] {
        for word in words {
            let (word, told) = word.split_once(' ').unwrap();
            spelled(path, word.into(), told);
        }
    }
    spelled("/side", Value::Null, "side: None");
    spelled("/voters/peer/status", Value::Null, "fit: Some(true)");
    for guard in [json!("guarded"), json!({"exposed": {"lacks": "peer"}}), json!({"unguarded": {"why": "forced"}})] {
        spelled("/guard", guard, "guard: Some(");
    }
    for act in [
        json!({"act": "activate"}),
        json!({"act": "activate_force"}),
        json!({"act": "deactivate"}),
        json!({"act": "freeze"}),
        json!({"act": "resume"}),
        json!({"act": "mode", "to": "automatic"}),
        json!({"act": "mode", "to": "manual"}),
        json!({"act": "failback", "to": "auto"}),
        json!({"act": "failback", "to": "window"}),
        json!({"act": "failback", "to": "manual"}),
    ] {
        let word: ActWord = serde_json::from_value(act.clone()).unwrap();
        assert_eq!(serde_json::to_value(word).unwrap(), act);
    }
}
