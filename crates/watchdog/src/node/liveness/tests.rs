use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::super::telephone::Telephone;
use super::*;

const LONG: Duration = Duration::from_secs(60);

fn spec(telephone: Option<&Telephone>, check: Option<&str>) -> LivenessSpec {
    LivenessSpec {
        probe: telephone.map(|telephone| Telephone::probe(telephone.address)),
        policy: POLICY,
        check: check.map(|script| CommandSpec::new(["sh", "-c", script], Duration::from_millis(300))),
        check_interval: Duration::from_millis(50),
    }
}

async fn until(observed: &mut watch::Receiver<Observed>, works: health::State) -> Observed {
    timeout(LONG, observed.wait_for(|observed| observed.works == works)).await.unwrap().unwrap().clone()
}

#[test]
fn the_policys_figures_fit_each_other() {
    POLICY.validate().unwrap();
    assert!(POLICY.fault_bound_refused() < Duration::from_millis(1100));
    assert!(POLICY.fault_bound_silent() <= Duration::from_millis(1700));
}

#[tokio::test]
async fn a_killed_telephone_is_felt_and_its_return_too() {
    let telephone = Telephone::start().await;
    let liveness = Liveness::start(spec(Some(&telephone), None));
    let mut observed = liveness.observed();
    liveness.watch(Watching::On);
    assert_eq!(until(&mut observed, health::State::Working).await.detail, "SIP 200");
    let (address, died) = (telephone.address, clock::now());
    telephone.die().await;
    let dead = until(&mut observed, health::State::NotWorking).await;
    assert!(dead.detail.contains("3 times in a row"), "{dead:?}");
    assert!(dead.first_sign.unwrap() >= died);
    let _back = Telephone::at(address).await;
    until(&mut observed, health::State::Working).await;
}

#[tokio::test]
async fn a_frozen_telephone_is_noticed() {
    let telephone = Telephone::start().await;
    let liveness = Liveness::start(spec(Some(&telephone), None));
    let mut observed = liveness.observed();
    liveness.watch(Watching::On);
    until(&mut observed, health::State::Working).await;
    telephone.mute.store(true, Ordering::Relaxed);
    assert!(until(&mut observed, health::State::NotWorking).await.detail.contains("no answer"));
}

#[tokio::test]
async fn a_stall_that_the_configuration_allows_is_no_death() {
    for (time_limit, felt_dead) in [(POLICY.time_limit, true), (Duration::from_secs(3), false)] {
        patient(time_limit).validate().unwrap();
        let telephone = Telephone::start().await;
        let liveness = Liveness::start(LivenessSpec { policy: patient(time_limit), ..spec(Some(&telephone), None) });
        let mut observed = liveness.observed();
        liveness.watch(Watching::On);
        until(&mut observed, health::State::Working).await;
        telephone.stall.store(true, Ordering::Relaxed);
        let watched = if felt_dead { LONG } else { Duration::from_millis(2200) };
        let died =
            timeout(watched, observed.wait_for(|observed| observed.works == health::State::NotWorking)).await.is_ok();
        assert_eq!(died, felt_dead, "{time_limit:?}");
    }
}

#[test]
fn every_time_limit_that_can_be_configured_makes_a_sound_policy() {
    for ms in [1, 100, 500, 501, 1000, 30_000] {
        patient(Duration::from_millis(ms)).validate().unwrap();
    }
    assert_eq!(patient(POLICY.time_limit), POLICY);
}

#[tokio::test]
async fn a_contact_centre_is_felt_by_its_readiness() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let status = Arc::new(std::sync::atomic::AtomicU16::new(401));
    let answers = status.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let status = answers.load(Ordering::Relaxed);
            let _ = stream.write_all(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        }
    });
    let ready = probe::HttpCheck::get("/xuc/api/2.0/auth/check".parse().unwrap(), "localhost".parse().unwrap());
    let ready = ready.expecting("200,401".parse().unwrap());
    let check = probe::Check::new(target, LONG, probe::Kind::Http(ready));
    let liveness = Liveness::start(LivenessSpec { probe: Some(Arc::new(check)), ..spec(None, None) });
    let mut observed = liveness.observed();
    liveness.watch(Watching::On);
    until(&mut observed, health::State::Working).await;
    status.store(502, Ordering::Relaxed);
    assert!(until(&mut observed, health::State::NotWorking).await.detail.contains("502"));
}

#[tokio::test]
async fn lost_packets_are_no_death() {
    let telephone = Telephone::start().await;
    // A machine that is busy for a moment loses nothing, but may answer late.
    let liveness =
        Liveness::start(LivenessSpec { policy: patient(Duration::from_secs(3)), ..spec(Some(&telephone), None) });
    let mut observed = liveness.observed();
    liveness.watch(Watching::On);
    until(&mut observed, health::State::Working).await;
    // All that one probe sends at first; what comes after is answered.
    telephone.lose.store(3, Ordering::Relaxed);
    let all_lost = async {
        while telephone.lose.load(Ordering::Relaxed) > 0 {
            assert_eq!(observed.borrow().works, health::State::Working);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, all_lost).await.unwrap();
    assert!(
        timeout(Duration::from_millis(700), observed.wait_for(|observed| observed.works != health::State::Working))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_check_that_refuses_twice_outweighs_sip() {
    let telephone = Telephone::start().await;
    let liveness = Liveness::start(spec(Some(&telephone), Some("echo asterisk stopped; exit 1")));
    let mut observed = liveness.observed();
    liveness.watch(Watching::On);
    until(&mut observed, health::State::Working).await;
    let no = until(&mut observed, health::State::NotWorking).await;
    assert_eq!(no.detail, "check: exit code 1: asterisk stopped");
    assert!(no.first_sign.is_some());
}

#[tokio::test]
async fn a_check_that_refuses_once_is_no_death() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("cd {}; echo >> runs; test \"$(wc -l < runs)\" != 2", directory.path().display());
    let liveness = Liveness::start(spec(None, Some(&script)));
    let mut observed = liveness.observed();
    liveness.watch(Watching::On);
    let runs = || std::fs::read(directory.path().join("runs")).map_or(0, |runs| runs.len());
    let fourth = async {
        while runs() < 4 {
            assert_ne!(observed.borrow_and_update().works, health::State::NotWorking);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, fourth).await.unwrap();
}

#[tokio::test]
async fn a_check_that_hangs_or_is_missing_is_told_and_no_death() {
    let telephone = Telephone::start().await;
    let mut missing = spec(Some(&telephone), None);
    missing.check = Some(CommandSpec::new(["/no/such/check"], LONG));
    for (spec, said) in [(spec(Some(&telephone), Some("exec sleep 600")), "killed"), (missing, "no such program")] {
        let liveness = Liveness::start(spec);
        let mut observed = liveness.observed();
        liveness.watch(Watching::On);
        let told =
            timeout(LONG, observed.wait_for(|observed| observed.detail.contains(said))).await.unwrap().unwrap().clone();
        assert_ne!(told.works, health::State::NotWorking);
    }
}

#[tokio::test]
async fn nothing_is_known_while_nobody_watches() {
    let telephone = Telephone::start().await;
    let liveness = Liveness::start(spec(Some(&telephone), None));
    let mut observed = liveness.observed();
    assert_eq!(observed.borrow().works, health::State::Unknown);
    liveness.watch(Watching::On);
    until(&mut observed, health::State::Working).await;
    liveness.watch(Watching::Off);
    assert_eq!(until(&mut observed, health::State::Unknown).await.detail, "not watched");
    liveness.watch(Watching::On);
    until(&mut observed, health::State::Working).await;
    drop(liveness);
    assert!(timeout(LONG, async { while observed.changed().await.is_ok() {} }).await.is_ok(), "the task ends");
}
