//! A whole site over seeded faults: both XiVO nodes, the witness, both CCs and the Edge's decision on one virtual time.
//!
//! Links lose, delay and are cut one way; hosts crash, and lose disks; watchdogs die, hand over and are kept waiting; clocks
//! differ; commands fail; operators act. The times are those of the daemons. The promises are checked after all that happens;
//! after each time of healing the whole site works again on one side.

mod checks;
mod drive;
mod edge;
mod flaws;
mod net;
mod node;
mod world;

use alloc::string::String;
use core::time::Duration;
use std::time::Instant as Clock;

use crate::Side;
use crate::duty::{Act, Event, Found};
use crate::traps::{Trap, making};
use crate::walked;
use net::{EDGE, GOOD, HOSTS, Link, ms};
use node::{Gate, WRITE};
use world::{Happening, Note, Site};

/// What goes wrong on a day, and how often.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut {
        from: usize,
        to: usize,
    },
    Isolated(usize),
    Lossy {
        from: usize,
        to: usize,
    },
    Slow {
        from: usize,
        to: usize,
    },
    Crash {
        host: usize,
        disk: Disk,
    },
    WatchdogDies(usize),
    WatchdogHandsOver(Side),
    Paused(usize, Duration),
    TelephonyDies(Side),
    /// Somebody removes the fence of a node that may not serve.
    FenceRemoved(Side),
    /// The disk takes so long for a write.
    DiskSlow(Side, Duration),
    /// The witness's disk does: it rules over nothing meanwhile.
    WitnessDiskSlow(Duration),
    /// A node's kernel takes no permit for so long.
    KernelRefuses(Side, Duration),
    CcDies(Side),
    Operator(Side, Act),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Disk {
    Kept,
    Lost,
}

const FAULTY: Duration = Duration::from_secs(60);
/// After so long one node is active: its longest pause after failures, its start and the takeover.
const ACTIVE_WITHIN: Duration = Duration::from_secs(55);
/// After so long more Main has held down, failed back if it may, and the rest has followed.
const HEALED: Duration = Duration::from_secs(85);
/// What a failback under way takes at most, its CC and the Edge among them.
const FOLLOWS: Duration = Duration::from_secs(15);
const ROUNDS: usize = 6;
/// Seeds that are played unless `SITE_SEEDS` says how many: more find rarer things.
const SEEDS: u64 = 100;
/// A mistake is looked for in so many: the rarest needs more than are run without one.
const MISTAKE_SEEDS: u64 = 800;

impl Site {
    #[allow(clippy::too_many_lines, reason = "one arm for each fault")]
    fn strike(&mut self) {
        let takes = ms(self.chance.one_of(&[300, 1_000, 3_000, 10_000, 30_000]));
        let fault = self.fault();
        self.note(Note::Fault(fault));
        let heals = |site: &mut Self, from, to| site.later(takes, Happening::Mended(from, to));
        match fault {
            Fault::Cut { from, to } => {
                self.links[from][to].cut = true;
                heals(self, from, to);
            }
            Fault::Isolated(host) => {
                for other in (0..HOSTS).filter(|other| *other != host) {
                    for (from, to) in [(host, other), (other, host)] {
                        self.links[from][to].cut = true;
                        heals(self, from, to);
                    }
                }
            }
            Fault::Lossy { from, to } => {
                self.links[from][to] = Link { loss: 40, ..GOOD };
                heals(self, from, to);
            }
            Fault::Slow { from, to } => {
                self.links[from][to] = Link { delay: 2_500, ..GOOD };
                heals(self, from, to);
            }
            Fault::Crash { host, disk } => {
                self.kill(host, false);
                match host {
                    _ if disk == Disk::Kept => {}
                    EDGE => self.edge.vote_disk = None,
                    0 | 1 => self.xivos[Side::BOTH[host]].disk = None,
                    _ => {}
                }
                self.later(takes, Happening::Boot(host));
            }
            Fault::WatchdogDies(host) => {
                self.kill(host, true);
                self.later(takes.min(ms(3_000)), Happening::Boot(host));
            }
            Fault::WatchdogHandsOver(side) => {
                let handed = self.xivos[side].duty.and_then(|duty| duty.hand_over());
                if let Some(handed) = handed.filter(|_| self.paused_until[side as usize] <= self.now) {
                    self.kill(side as usize, true);
                    self.boot_xivo(side, Found::HandedOver(handed));
                }
            }
            Fault::Paused(host, time) => {
                self.paused_until[host] = self.now + time;
                if host == EDGE {
                    self.at(self.now + time, Happening::Lagged(time));
                }
            }
            Fault::TelephonyDies(side) => self.telephony_dies(side),
            Fault::FenceRemoved(side) => {
                let xivo = &mut self.xivos[side];
                if xivo.gate == Gate::Closed && xivo.duty.is_some() {
                    xivo.gate = Gate::Removed(self.now);
                }
            }
            Fault::DiskSlow(side, write) => {
                self.xivos[side].write = write;
                self.later(takes, Happening::DiskWell(side));
            }
            Fault::WitnessDiskSlow(write) => {
                self.edge.write = write;
                self.later(takes, Happening::WitnessDiskWell);
            }
            Fault::KernelRefuses(side, time) => self.xivos[side].refuses_until = self.now + time,
            Fault::CcDies(side) => self.cc_dies(side),
            Fault::Operator(side, act) => {
                self.feed(side, Event::Act(act));
            }
        }
    }

    fn fault(&mut self) -> Fault {
        let (from, host) = (self.chance.below(5) as usize, self.chance.below(5) as usize);
        let to = (from + 1 + self.chance.below(4) as usize) % HOSTS;
        let side = self.chance.one_of(&Side::BOTH);
        let up = self.is_up(host);
        let lost = self.lost_disks && self.chance.percent(30);
        match self.chance.below(17) {
            0 | 1 if up => Fault::Crash { host, disk: if lost { Disk::Lost } else { Disk::Kept } },
            2 if up => Fault::WatchdogDies(host),
            3 => Fault::WatchdogHandsOver(side),
            4 => Fault::Paused(host, ms(50 + self.chance.below(4_000))),
            5 => Fault::TelephonyDies(side),
            6 => Fault::CcDies(side),
            7 => {
                let act =
                    [Act::Deactivate, Act::Activate, Act::HandOver { to: side }, Act::HandOver { to: side.other() }];
                Fault::Operator(side, self.chance.one_of(&act))
            }
            8 => Fault::Isolated(host),
            9 => Fault::Lossy { from, to },
            10 => Fault::Slow { from, to },
            11 => Fault::FenceRemoved(side),
            12 => Fault::DiskSlow(side, ms(self.chance.one_of(&[100, 900, 1_800, 5_000, 20_000]))),
            14 => Fault::WitnessDiskSlow(ms(self.chance.one_of(&[100, 900, 1_800, 5_000]))),
            13 => Fault::KernelRefuses(side, ms(500 + self.chance.below(15_000))),
            _ => Fault::Cut { from, to },
        }
    }

    fn heal(&mut self) {
        self.note(Note::Heals);
        self.links = [[GOOD; HOSTS]; HOSTS];
        self.paused_until = [self.now; HOSTS];
        Side::BOTH.into_iter().for_each(|side| self.xivos[side].refuses_until = self.now);
        self.failures = 0;
        Side::BOTH.into_iter().for_each(|side| self.xivos[side].write = WRITE);
        self.edge.write = WRITE;
        (0..HOSTS).for_each(|host| self.boot(host));
    }
}

/// What came of one seed.
struct Run {
    starts: usize,
    moves: usize,
    calm: (u64, usize),
    time: Duration,
}

fn run(seed: u64) -> Result<Run, String> {
    run_from(Site::new(seed), seed)
}

fn run_from(mut site: Site, seed: u64) -> Result<Run, String> {
    site.run(Duration::from_secs(20));
    for _ in 0..ROUNDS {
        let end = site.now + FAULTY;
        site.failures = 10;
        while site.now < end && site.broken.is_none() {
            site.strike();
            let calm = site.chance.one_of(&[50, 400, 2_000, 8_000]);
            let calm = ms(1 + site.chance.below(calm));
            site.run(calm);
        }
        site.heal();
        site.expect_active(ACTIVE_WITHIN);
        site.expect_calm(HEALED);
        site.expect_all_follow(FOLLOWS);
        if let Some(broken) = site.broken {
            return Err(std::format!("seed {seed}: {broken}"));
        }
    }
    Ok(Run { starts: site.starts, moves: site.moves, calm: site.calm, time: site.now.since(crate::Instant::ORIGIN) })
}

/// Whether one of some seeds shows a mistake.
fn shows(trap: Trap) -> Option<String> {
    making(Some(trap), || (0..MISTAKE_SEEDS).find_map(|seed| run(seed).err()))
}

#[test]
fn a_site_of_many_faults_shows_the_mistakes_in_the_rules() {
    for trap in [
        Trap::LeaseFromReceipt,
        Trap::OwnLength,
        Trap::EarlyRelease,
        Trap::ActivateAlone,
        Trap::HearingIsAGrant,
        Trap::PromiseForgotten,
        Trap::OwnVoteIgnored,
        Trap::OldAnswers,
        Trap::EpochForgotten,
        Trap::FencedOnce,
        Trap::LapsedServes,
        Trap::StaleWord,
        Trap::SilenceIsInactive,
        Trap::StartingIsActive,
    ] {
        let broken = shows(trap).unwrap_or_default();
        let how: String = broken.lines().next().unwrap_or_default().chars().take(60).collect();
        walked::mistake(std::format!("{trap:?}"), !broken.is_empty(), how);
    }
    let hasty = |seed| {
        let mut site = Site::new(seed);
        site.edge.answers_first = true;
        run_from(site, seed).err()
    };
    let broken = (0..MISTAKE_SEEDS).find_map(hasty);
    let how: String =
        broken.iter().flat_map(|broken| broken.lines().next()).flat_map(|line| line.chars()).take(60).collect();
    walked::mistake("a witness that answers before it has written", broken.is_some(), how);
}

#[test]
fn w1_w2_w4_w5_e1_e2_e4_hold_on_a_site_of_many_faults_and_it_works_again_after_each_time_of_healing() {
    let began = Clock::now();
    let (mut starts, mut moves, mut calm, mut time) = (0, 0, (0, 0), Duration::ZERO);
    let seeds = std::env::var("SITE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        let run = run(seed).unwrap_or_else(|broken| panic!("{broken}"));
        (starts, moves, time) = (starts + run.starts, moves + run.moves, time + run.time);
        calm = (run.calm.0.max(calm.0), run.calm.1.max(calm.1));
    }
    let (unserved, most) = calm;
    let what = std::format!(
        "{seeds} seeds, {starts} starts of a node, {moves} switches of the Edge; healed, {unserved} s without service and \
         {most} starts at most"
    );
    walked::simulated("site", time, began.elapsed(), &what);
    assert!(starts > 200 && moves > 100, "{what}");
}
