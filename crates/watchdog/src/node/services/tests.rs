mod web;

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::time::sleep;

use super::super::telephone::Telephone;
use super::*;

const LONG: Duration = Duration::from_secs(60);

/// Services that are files: `runs` is there while they run, `log` tells what was done to them.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sh(&self, script: &str) -> CommandSpec {
        CommandSpec::new(["sh", "-c", &format!("cd {}; {script}", self.directory.path().display())], LONG)
    }

    fn spec(&self) -> ServicesSpec {
        ServicesSpec {
            start: self.sh("echo start >> log; touch runs; echo /start >> log"),
            stop: self.sh("echo stop >> log; rm -f runs; echo /stop >> log"),
            check: Some(self.sh("test -e runs")),
            stopped: None,
            probe: None,
            instance: None,
            verify_limit: LONG,
            running: None,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default().replace('\n', " ")
    }

    async fn wait_for(&self, word: &str) {
        let there = async {
            while !self.log().contains(word) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, there).await.unwrap();
    }
}

fn start() -> Order {
    Order::Start { before: vec![] }
}

fn stop() -> Order {
    Order::Stop { before: vec![] }
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    timeout(LONG, events.recv()).await.unwrap().unwrap()
}

async fn started(events: &mut mpsc::Receiver<Event>) -> Report {
    match next(events).await {
        Event::Started(report) => report,
        Event::Stopped(report) => panic!("stopped: {report:?}"),
    }
}

async fn stopped(events: &mut mpsc::Receiver<Event>) -> Report {
    match next(events).await {
        Event::Stopped(report) => report,
        Event::Started(report) => panic!("started: {report:?}"),
    }
}

#[tokio::test]
async fn a_restart_is_done_once_another_instance_runs_and_not_by_its_answer() {
    let files = Files::new();
    let restarts = |script| ServicesSpec {
        start: files.sh(script),
        instance: Some(files.sh("cat instance")),
        check: Some(files.sh("true")),
        verify_limit: Duration::from_millis(500),
        ..files.spec()
    };
    let (worker, mut events) = Services::new(restarts("echo b > instance")).work();
    worker.order(start()).unwrap();
    // Nobody knows what ran before: this proves nothing, and the next attempt does.
    let report = started(&mut events).await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.text.contains("not known before the restart"), "{}", report.text);
    worker.order(start()).unwrap();
    // The stale one goes on answering.
    let report = started(&mut events).await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.text.contains("still the one of before"), "{}", report.text);
    let spec = ServicesSpec { verify_limit: LONG, ..restarts("echo c > instance") };
    let (worker, mut events) = Services::new(spec).work();
    worker.order(start()).unwrap();
    assert_eq!(started(&mut events).await.outcome, Outcome::Done);
}

#[tokio::test]
async fn services_are_started_and_stopped_and_each_is_verified() {
    let files = Files::new();
    let services = Services::new(files.spec());
    assert_eq!(services.look().await, Found::Stopped);
    let (worker, mut events) = services.work();
    worker.order(start()).unwrap();
    let report = started(&mut events).await;
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert!(report.text.starts_with("started in "), "{report:?}");
    assert_eq!(services.look().await, Found::Running);
    worker.order(stop()).unwrap();
    assert_eq!(stopped(&mut events).await.outcome, Outcome::Done);
    assert_eq!(services.look().await, Found::Stopped);
    assert_eq!(worker.doing(), Doing::Idle);
}

#[tokio::test]
async fn w4_starts_and_stops_never_overlap() {
    let files = Files::new();
    let slow = |word: &str, act: &str| files.sh(&format!("echo {word} >> log; sleep 0.1; {act}; echo /{word} >> log"));
    let spec = ServicesSpec { start: slow("start", "touch runs"), stop: slow("stop", "rm runs"), ..files.spec() };
    let (worker, mut events) = Services::new(spec).work();
    for _ in 0..3 {
        worker.order(start()).unwrap();
        worker.order(stop()).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(started(&mut events).await.outcome, Outcome::Done);
        assert_eq!(stopped(&mut events).await.outcome, Outcome::Done);
    }
    assert_eq!(files.log(), "start /start stop /stop ".repeat(3));
}

#[tokio::test]
async fn too_many_orders_are_refused_and_the_accepted_ones_answered() {
    let files = Files::new();
    let (worker, mut events) = Services::new(files.spec()).work();
    let accepted = (0..20).filter(|_| worker.order(stop()).is_ok()).count();
    assert_eq!(accepted, ORDERS);
    for _ in 0..accepted {
        stopped(&mut events).await;
    }
}

#[tokio::test]
async fn a_start_command_that_lies_has_failed_after_the_limit() {
    let files = Files::new();
    let spec = ServicesSpec { start: files.sh("true"), verify_limit: Duration::from_millis(400), ..files.spec() };
    let (worker, mut events) = Services::new(spec).work();
    worker.order(start()).unwrap();
    let report = started(&mut events).await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.verifying >= Duration::from_millis(400) && report.text.contains("do not work"), "{report:?}");
}

#[tokio::test]
async fn a_start_command_that_hangs_or_fails_has_failed() {
    let files = Files::new();
    let hangs = CommandSpec { time_limit: Duration::from_millis(200), ..files.sh("touch runs; sleep 600") };
    for (command, said) in
        [(hangs, "killed at its time limit"), (files.sh("touch runs; echo no >&2; exit 2"), "exit code 2")]
    {
        let (worker, mut events) = Services::new(ServicesSpec { start: command, ..files.spec() }).work();
        worker.order(start()).unwrap();
        let report = started(&mut events).await;
        assert!(report.outcome == Outcome::Failed && report.text.contains(said), "{report:?}");
    }
}

#[tokio::test]
async fn a_stop_command_that_lies_has_failed_and_one_that_complains_has_not() {
    let files = Files::new();
    std::fs::write(files.path("runs"), "").unwrap();
    let lies = ServicesSpec { stop: files.sh("true"), verify_limit: Duration::from_millis(300), ..files.spec() };
    let (worker, mut events) = Services::new(lies).work();
    worker.order(stop()).unwrap();
    let report = stopped(&mut events).await;
    assert!(report.outcome == Outcome::Failed && report.text.contains("not verified to be stopped"), "{report:?}");
    let (worker, mut events) = Services::new(ServicesSpec { stop: files.sh("rm runs; exit 7"), ..files.spec() }).work();
    worker.order(stop()).unwrap();
    let report = stopped(&mut events).await;
    assert!(
        report.outcome == Outcome::Done && report.text.contains("though the stop command: exit code 7"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_check_that_cannot_be_run_proves_no_stop() {
    let files = Files::new();
    let check = Some(CommandSpec::new(["/no/such/check"], LONG));
    let services = Services::new(ServicesSpec { check, verify_limit: Duration::from_millis(300), ..files.spec() });
    assert!(matches!(services.look().await, Found::Unclear(_)));
    let (worker, mut events) = services.work();
    worker.order(stop()).unwrap();
    assert_eq!(stopped(&mut events).await.outcome, Outcome::Failed);
}

#[tokio::test]
async fn killing_ends_the_running_command_and_its_outcome_is_told_before_the_next() {
    let files = Files::new();
    let spec = ServicesSpec { start: files.sh("trap '' TERM; echo start >> log; sleep 600"), ..files.spec() };
    let (worker, mut events) = Services::new(spec).work();
    worker.order(start()).unwrap();
    files.wait_for("start").await;
    assert_eq!(worker.doing(), Doing::Starting);
    worker.order(Order::Kill).unwrap();
    worker.order(stop()).unwrap();
    let report = started(&mut events).await;
    assert!(report.outcome == Outcome::Failed && report.text.contains("killed"), "{report:?}");
    assert_eq!(stopped(&mut events).await.outcome, Outcome::Done);
    assert_eq!(files.log(), "start stop /stop ");
}

#[tokio::test]
async fn killing_gives_up_a_verification_and_fails_starts_that_wait_but_no_stop() {
    let files = Files::new();
    let spec = ServicesSpec { start: files.sh("echo start >> log"), ..files.spec() };
    let (worker, mut events) = Services::new(spec).work();
    worker.order(start()).unwrap();
    worker.order(start()).unwrap();
    worker.order(stop()).unwrap();
    files.wait_for("start").await;
    worker.order(Order::Kill).unwrap();
    assert_eq!(started(&mut events).await.outcome, Outcome::Failed);
    let report = started(&mut events).await;
    assert_eq!((report.outcome, report.text.as_str()), (Outcome::Failed, "killed before the start command ran"));
    assert_eq!(stopped(&mut events).await.outcome, Outcome::Done);
    assert_eq!(files.log(), "start stop /stop ");
}

#[tokio::test]
async fn killing_when_nothing_runs_does_nothing() {
    let files = Files::new();
    let (worker, mut events) = Services::new(files.spec()).work();
    worker.order(Order::Kill).unwrap();
    worker.order(start()).unwrap();
    assert_eq!(started(&mut events).await.outcome, Outcome::Done);
}

#[tokio::test]
async fn a_worker_that_is_dropped_kills_its_command() {
    let files = Files::new();
    let spec = ServicesSpec { start: files.sh("echo start >> log; sleep 600"), ..files.spec() };
    let (worker, mut events) = Services::new(spec).work();
    worker.order(start()).unwrap();
    files.wait_for("start").await;
    drop(worker);
    assert_eq!(started(&mut events).await.outcome, Outcome::Failed);
    assert!(timeout(LONG, events.recv()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_runs_is_recorded_until_it_has_ended_or_was_killed() {
    let files = Files::new();
    let hangs = |word: &str| files.sh(&format!("echo {word} >> log; sleep 600"));
    let running = Some(files.path("command"));
    let spec = ServicesSpec { start: hangs("start"), stop: hangs("stop"), running, ..files.spec() };
    let (worker, mut events) = Services::new(spec).work();
    worker.order(start()).unwrap();
    files.wait_for("start").await;
    // As the next watchdog would: the command dies by no hand of its own watchdog's.
    let reaped = recorded(&files).await;
    assert!(reaped.contains("echo start") && reaped.ends_with("has been killed"), "{reaped}");
    let report = started(&mut events).await;
    assert!(report.outcome == Outcome::Failed && report.text.contains("ended by signal 9"), "{report:?}");
    worker.order(stop()).unwrap();
    files.wait_for("stop").await;
    let reaped = recorded(&files).await;
    assert!(reaped.contains("echo stop") && reaped.ends_with("has been killed"), "{reaped}");
    assert_eq!(reap(&files.path("command")).await, None);
}

/// Reaps as soon as there is a record.
async fn recorded(files: &Files) -> String {
    let there = async {
        loop {
            match reap(&files.path("command")).await {
                Some(said) => return said,
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(LONG, there).await.unwrap()
}

#[tokio::test]
async fn commands_before_a_stop_are_bounded_and_no_hindrance() {
    let files = Files::new();
    std::fs::write(files.path("runs"), "").unwrap();
    let (worker, mut events) = Services::new(files.spec()).work();
    let hangs = CommandSpec { time_limit: Duration::from_millis(200), ..files.sh("exec sleep 600") };
    worker.order(Order::Stop { before: vec![files.sh("echo unregister >> log"), hangs] }).unwrap();
    let report = stopped(&mut events).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert!(report.text.contains("before it, `sh -c") && report.took < LONG, "{report:?}");
    assert_eq!(files.log(), "unregister stop /stop ");
}

#[tokio::test]
async fn services_run_when_the_check_passes_and_sip_answers() {
    let files = Files::new();
    let telephone = Telephone::start().await;
    let address: SocketAddr = telephone.address;
    telephone.mute.store(true, std::sync::atomic::Ordering::Relaxed);
    let probe = Some(Telephone::probe(address));
    let services = Services::new(ServicesSpec { probe, ..files.spec() });
    let (worker, mut events) = services.work();
    worker.order(start()).unwrap();
    files.wait_for("/start").await;
    assert!(matches!(services.look().await, Found::Unclear(_)), "the check alone is not enough");
    telephone.mute.store(false, std::sync::atomic::Ordering::Relaxed);
    let report = started(&mut events).await;
    assert!(report.outcome == Outcome::Done && report.text.contains("SIP 200"), "{report:?}");
    assert_eq!(services.look().await, Found::Running);
    let spec = ServicesSpec { verify_limit: Duration::from_millis(300), ..(*services.spec).clone() };
    let (impatient, mut outcomes) = Services::new(spec).work();
    impatient.order(stop()).unwrap();
    assert_eq!(stopped(&mut outcomes).await.outcome, Outcome::Failed, "SIP still answers");
    worker.order(stop()).unwrap();
    telephone.die().await;
    assert_eq!(stopped(&mut events).await.outcome, Outcome::Done);
    assert_eq!(services.look().await, Found::Stopped);
}

#[tokio::test]
async fn a_command_of_its_own_may_say_that_they_are_surely_stopped() {
    let files = Files::new();
    std::fs::write(files.path("runs"), "").unwrap();
    let spec = ServicesSpec { check: None, stopped: Some(files.sh("test ! -e runs")), ..files.spec() };
    let services = Services::new(spec);
    assert!(matches!(services.look().await, Found::Unclear(_)));
    let (worker, mut events) = services.work();
    worker.order(stop()).unwrap();
    assert_eq!(stopped(&mut events).await.outcome, Outcome::Done);
    assert_eq!(services.look().await, Found::Stopped);
}
