//! A site on which one node cannot serve and goes on trying, in the daemons' own times: how much of the day is served, and
//! how often is a healthy Standby taken down?

use super::node::Flaw;
use super::world::Site;
use crate::Side;
use crate::duty::{Output, Why};
use crate::health::Status;
use crate::traps::{Trap, making};
use crate::walked;
use core::time::Duration;
use std::time::Instant as Clock;
use std::{format, println};

const HOUR: Duration = Duration::from_secs(3_600);

/// What came of a day with a flaw.
#[derive(Debug, Default)]
struct Day {
    /// Of a thousand seconds so many served, from the first flawed start on.
    served: u32,
    /// How often Standby stopped for Main in each hour.
    failbacks: std::vec::Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Ill {
    Flaw(Flaw),
    Disk(Duration),
}

const ILLS: [Ill; 5] = [
    Ill::Flaw(Flaw::StartFails),
    Ill::Flaw(Flaw::DiesAfter(Duration::from_secs(2))),
    Ill::Flaw(Flaw::CrashesAfter(Duration::from_secs(2))),
    // Two syncs of 0.9 s.
    Ill::Disk(Duration::from_millis(1_800)),
    Ill::Disk(Duration::from_millis(900)),
];

/// Of those whose voters all have the default times: whether a write of 0.9 s is too slow hangs on the lease.
const SEED: u64 = 9;

/// Main serves, falls ill, and its host crashes once, so that it has to begin anew.
fn day(ill: Ill, hours: u32) -> Day {
    let mut site = Site::new(SEED);
    site.run(Duration::from_secs(20));
    let main = &mut site.xivos[Side::Main];
    match ill {
        Ill::Flaw(flaw) => main.flaw = Some(flaw),
        Ill::Disk(write) => main.write = write,
    }
    site.kill(Side::Main as usize, false);
    site.run(Duration::from_secs(20));
    site.boot(Side::Main as usize);
    let (mut served, mut seconds, mut day) = (0, 0, Day::default());
    for _ in 0..hours {
        let end = site.now + HOUR;
        let before = site.count(|side, output| side == Side::Standby && *output == Output::Fence(Why::Failback));
        while site.now < end {
            site.run(Duration::from_secs(1));
            seconds += 1;
            let works =
                |side: Side| site.xivos[side].status() == Some(Status::Active) && site.xivos[side].serves(site.now);
            served += u32::from(works(Side::Main) || works(Side::Standby));
        }
        let after = site.count(|side, output| side == Side::Standby && *output == Output::Fence(Why::Failback));
        day.failbacks.push(after - before);
    }
    assert!(site.broken.is_none(), "{:?}", site.broken);
    day.served = served * 1_000 / seconds;
    day
}

#[test]
fn w2_a_main_that_cannot_serve_leaves_telephony_to_standby_for_nearly_all_of_the_day() {
    let began = Clock::now();
    for ill in ILLS {
        let day = day(ill, 4);
        println!("somebody serves {} of 1000 s, failbacks each hour {:?}: {ill:?}", day.served, day.failbacks);
        let (least, most) = match ill {
            Ill::Flaw(_) => (950, 6),
            Ill::Disk(_) => (999, 0),
        };
        assert!(day.served >= least, "{ill:?}: {day:?}");
        assert!(day.failbacks.iter().all(|hour| *hour <= most), "{ill:?}: {day:?}");
        assert!(day.failbacks[1..].iter().all(|hour| *hour <= 2), "{ill:?}: {day:?}");
    }
    walked::simulated(
        "flawed sites",
        HOUR * 4 * 5,
        began.elapsed(),
        "a Main that cannot serve, and a Standby that does",
    );
}

#[test]
fn a_main_that_cannot_serve_shows_the_mistakes_in_the_rules() {
    for (trap, ill) in [
        (Trap::RelapseForgiven, ILLS[0]),
        (Trap::NoDamping, ILLS[1]),
        (Trap::UncountedStart, ILLS[2]),
        (Trap::SlowDiskIsWell, ILLS[3]),
    ] {
        let day = making(Some(trap), || day(ill, 2));
        let (first, second) = (day.failbacks[0], day.failbacks[1]);
        let caught = first > 6 || second > 2 || matches!(ill, Ill::Disk(_)) && first > 0;
        let how = format!("{} of 1000 s served, {first} and {second} failbacks in an hour", day.served);
        walked::mistake(format!("{trap:?}"), caught, how);
    }
}
