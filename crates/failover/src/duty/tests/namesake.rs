//! A machine that was restored from a copy of Main's disk, and runs beside it.

use core::time::Duration;

use super::super::*;
use super::pair::Pair;
use super::{BEAT, MAIN, STANDBY};
use crate::health::Status;
use crate::side::Side;
use crate::traps::{Trap, making};
use crate::walked;

const SOON: Duration = Duration::from_secs(20);

/// Restores a copy of Main that has Main's numbers or higher ones, and tells whether it begins to serve beside Main.
fn serves_beside(pair: &mut Pair, ahead: u64) -> bool {
    let memory = pair.disks[Side::Main];
    let memory = Memory { campaign: memory.campaign + ahead, ..memory };
    let life = Life { instance: 1_000, campaign_base: 0 };
    let (mut copy, mut outputs) = Duty::new(MAIN, Some(&memory), life, Found::Stopped, pair.now);
    outputs.extend(copy.handle(Event::Fit, pair.now));
    for _ in 0..100 {
        for output in outputs {
            let Output::Ask { voter, request, sent } = output else { continue };
            if let Some(answer) = pair.asked_by(Side::Main, voter, request) {
                copy.handle(Event::Answered { by: voter, sent, answer }, pair.now);
            }
            if copy.status() != Status::Inactive {
                return true;
            }
        }
        pair.pass(BEAT);
        outputs = copy.handle(Event::Timer, pair.now);
    }
    false
}

#[test]
fn w1_a_machine_that_was_restored_beside_main_serves_in_no_case_and_main_goes_on() {
    for ahead in [0, 1, 10] {
        let mut pair = Pair::new(MAIN, STANDBY);
        pair.pass(SOON);
        assert_eq!(pair.active(), Some(Side::Main));
        assert!(!serves_beside(&mut pair, ahead), "{ahead} ahead");
        assert_eq!(pair.active(), Some(Side::Main));
    }
    let mut pair = Pair::new(MAIN, STANDBY);
    pair.pass(SOON);
    let caught = making(Some(Trap::AnyInstance), || serves_beside(&mut pair, 10));
    walked::mistake("AnyInstance", caught, "a restored machine serves beside main");
}
