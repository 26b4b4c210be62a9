mod stale;

use super::*;
use crate::chance::Chance;

const SETTINGS: Settings = Settings {
    stale_after: Duration::from_secs(3),
    retry: Duration::from_secs(1),
    retry_limit: Duration::from_secs(8),
    idle: Idle::Stopped,
};
const START: Instant = Instant::from_micros(1_000_000_000);

fn has(outputs: &[Output], output: Output) -> bool {
    outputs.contains(&output)
}

#[test]
fn w5_it_starts_on_active_and_stops_on_inactive_and_on_nothing_else() {
    let mut cc = Follower::new(SETTINGS, Found::Stopped, START);
    for status in [Status::Starting, Status::Stopping, Status::Faulty, Status::Inactive] {
        assert!(cc.handle(Event::Xivo(status), START).is_empty(), "{status}");
    }
    assert!(has(&cc.handle(Event::Xivo(Status::Active), START), Output::Start));
    assert!(has(&cc.handle(Event::Started(Outcome::Done), START), Output::Changed(Status::Active)));
    for status in [Status::Starting, Status::Stopping, Status::Faulty, Status::Active] {
        assert!(cc.handle(Event::Xivo(status), START).is_empty(), "{status}");
    }
    assert!(has(&cc.handle(Event::Xivo(Status::Inactive), START), Output::Stop));
}

#[test]
fn w5_a_xivo_out_of_sight_is_not_one_that_is_inactive() {
    let mut cc = Follower::new(SETTINGS, Found::Running, START);
    assert_eq!(cc.deadline(), Some(START + SETTINGS.stale_after));
    let outputs = cc.handle(Event::Timer, START + SETTINGS.stale_after);
    assert_eq!(outputs, [Output::OutOfSight { silent: SETTINGS.stale_after }]);
    assert_eq!((cc.status(), cc.deadline()), (Status::Active, None));
    assert_eq!(cc.handle(Event::Xivo(Status::Active), START + Duration::from_secs(60)), [Output::InSight]);
}

#[test]
fn w5_a_start_that_fails_is_stopped_and_tried_again_after_a_pause() {
    let mut cc = Follower::new(SETTINGS, Found::Stopped, START);
    cc.handle(Event::Xivo(Status::Active), START);
    assert!(has(&cc.handle(Event::Started(Outcome::Failed), START), Output::Stop));
    assert!(!has(&cc.handle(Event::Stopped(Outcome::Done), START), Output::Start));
    assert!(has(&cc.handle(Event::Timer, START + SETTINGS.retry), Output::Start));
}

#[test]
fn w4_w5_whatever_happens_commands_never_overlap_and_a_told_follower_follows() {
    for seed in 0..2_000 {
        let mut chance = Chance::new(seed);
        let mut cc = Follower::new(SETTINGS, Found::Stopped, START);
        let (mut now, mut running) = (START, None);
        let mut last = Status::Inactive;
        for step in 0..200 {
            now += Duration::from_millis(chance.below(2_000));
            let outcome = if step > 150 || chance.percent(70) { Outcome::Done } else { Outcome::Failed };
            let told = chance.one_of(&[Status::Active, Status::Inactive, Status::Starting, Status::Faulty]);
            let event = match (chance.below(4), running) {
                (0, _) if step < 150 => {
                    last = if matches!(told, Status::Active | Status::Inactive) { told } else { last };
                    Event::Xivo(told)
                }
                (1, _) if step < 150 => Event::Died,
                (_, Some(Output::Start)) => Event::Started(outcome),
                (_, Some(Output::Stop)) => Event::Stopped(outcome),
                _ => Event::Timer,
            };
            if matches!(event, Event::Started(_) | Event::Stopped(_)) {
                running = None;
            }
            for output in cc.handle(event, now) {
                if matches!(output, Output::Start | Output::Stop) {
                    assert_eq!(running, None, "{output} beside another, seed {seed}");
                    running = Some(output);
                }
            }
        }
        assert_eq!(cc.status(), last, "seed {seed}: {cc:?}");
    }
}
