//! What happens when: one list of happenings, and the hosts they happen to.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use std::format;

use super::edge::Edge;
use super::net::{Clock, EDGE, GOOD, HOSTS, Links, ms};
use super::node::{Cc, WRITE, Xivo};
use crate::chance::Chance;
use crate::duty::{self, RemoteVoter};
use crate::health::Status;
use crate::lease::{self, Answer, Request, Timing};
use crate::verdict::{Outcome, ProbeId};
use crate::{Instant, PerSide, Side, follow, switch};

/// What happens to a host. `life` is that of the process it is meant for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    Wake(usize),
    Beat,
    Asked {
        from: Side,
        to: RemoteVoter,
        request: Request,
        sent: Instant,
        life: u32,
    },
    Answered {
        to: Side,
        by: RemoteVoter,
        sent: Instant,
        answer: Answer,
        life: u32,
    },
    /// The witness's vote is on its disk: now the answer may go.
    VoteKept {
        memory: lease::Memory,
        back: Option<Reply>,
        life: u32,
    },
    Told {
        host: usize,
        status: Status,
        number: u64,
    },
    Polled {
        side: Side,
        number: u64,
        life: u32,
    },
    Word {
        side: Side,
        number: u64,
        status: Status,
        life: u32,
    },
    Ended {
        side: Side,
        command: u64,
        event: duty::Event,
    },
    Fenced {
        side: Side,
        life: u32,
    },
    Fit {
        side: Side,
        life: u32,
    },
    /// A write ended; `memory`: it is on the disk from now on.
    Written {
        side: Side,
        life: u32,
        took: Duration,
        memory: Option<(duty::Memory, u64)>,
    },
    /// A start has waited for the disk.
    DiskDecides {
        side: Side,
        command: u64,
        epoch: u64,
        reason: duty::StartReason,
        written: bool,
    },
    /// What follows from a node's flaw.
    Falters {
        side: Side,
        life: u32,
    },
    CcEnded {
        side: Side,
        command: u64,
        event: follow::Event,
    },
    Probed {
        check: usize,
        id: ProbeId,
        outcome: Outcome,
        life: u32,
    },
    Lagged(Duration),
    Boot(usize),
    DiskWell(Side),
    WitnessDiskWell,
    Mended(usize, usize),
}

/// The witness's answer to a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    to: Side,
    sent: Instant,
    answer: Answer,
    life: u32,
}

/// One line of a trace, for people.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "shown by Debug")]
pub(super) enum Note {
    Fault(super::Fault),
    Boots(usize),
    Xivo(Side, duty::Output),
    Cc(Side, follow::Output),
    Edge(switch::Move),
    Heals,
}

pub(super) struct Site {
    pub(super) now: Instant,
    pub(super) chance: Chance,
    queue: BTreeMap<(Instant, u64), Happening>,
    count: u64,
    pub(super) links: Links,
    pub(super) paused_until: [Instant; HOSTS],
    pub(super) powered: [bool; HOSTS],
    wakes: [Option<Instant>; HOSTS],
    pub(super) xivos: PerSide<Xivo>,
    pub(super) ccs: PerSide<Cc>,
    pub(super) edge: Edge,
    /// How many of a hundred commands fail.
    pub(super) failures: u64,
    /// Whether disks get lost; then duty epochs may repeat.
    pub(super) lost_disks: bool,
    pub(super) epoch: u64,
    /// When each side did not fully work, seen from the Edge.
    pub(super) ill_at: PerSide<Instant>,
    pub(super) numbers: u64,
    pub(super) starts: usize,
    pub(super) moves: usize,
    /// The most seconds without service, and the most starts, in any time after healing.
    pub(super) calm: (u64, usize),
    notes: Vec<(Instant, Note)>,
    pub(super) broken: Option<String>,
}

/// The times of Main, Standby and the witness: the same, or each voter its own, which the others can promise.
fn times(seed: u64) -> [Timing; 3] {
    if seed % 3 != 1 {
        return [Timing::DEFAULT; 3];
    }
    // Drawn apart, so that a seed's faults are the same ones with and without it.
    let mut chance = Chance::new(seed + 1_000);
    [(); 3].map(|()| {
        let lease = ms(1_600 + 400 * chance.below(5));
        let timing = Timing { lease, quiet: ms(5_000), ..Timing::DEFAULT };
        Timing { promise: timing.shortest_promise() + ms(chance.below(500)), ..timing }
    })
}

impl Site {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed + 1);
        let mut clock =
            || Clock { origin: chance.below(1 << 40), fast: i64::try_from(chance.below(2_001)).unwrap_or(0) - 1_000 };
        let now = Instant::ORIGIN;
        let [main, standby, witness] = times(seed);
        let xivos =
            PerSide { main: Xivo::new(Side::Main, clock(), main), standby: Xivo::new(Side::Standby, clock(), standby) };
        let edge = Edge::new(clock(), witness);
        let mut site = Self {
            now,
            chance,
            queue: BTreeMap::new(),
            count: 0,
            links: [[GOOD; HOSTS]; HOSTS],
            paused_until: [now; HOSTS],
            powered: [false; HOSTS],
            wakes: [None; HOSTS],
            xivos,
            ccs: PerSide { main: Cc::new(), standby: Cc::new() },
            edge,
            failures: 0,
            lost_disks: seed % 2 == 1,
            epoch: 0,
            ill_at: PerSide { main: now, standby: now },
            numbers: 0,
            starts: 0,
            moves: 0,
            calm: (0, 0),
            notes: Vec::new(),
            broken: None,
        };
        (0..HOSTS).for_each(|host| site.boot(host));
        site.later(ms(1), Happening::Beat);
        site
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.push((self.now, note));
    }

    /// When a node was told what this says, from then on.
    pub(super) fn outputs_of(&self, from: Instant, what: impl Fn(Side, &duty::Output) -> bool) -> Vec<Instant> {
        let told = self
            .notes
            .iter()
            .filter(|(at, note)| *at >= from && matches!(note, Note::Xivo(side, output) if what(*side, output)));
        told.map(|(at, _)| *at).collect()
    }

    /// Notes that a promise is broken, with what came before.
    pub(super) fn breaks(&mut self, promise: &str, how: impl core::fmt::Debug) {
        if self.broken.is_none() {
            let from = self.notes.len().saturating_sub(60);
            let trace: Vec<_> = self.notes[from..].iter().map(|(at, note)| format!("{at}  {note:?}")).collect();
            self.broken = Some(format!("{promise}: {how:?} at {}\n{}", self.now, trace.join("\n")));
        }
    }

    pub(super) fn later(&mut self, after: Duration, what: Happening) {
        self.at(self.now + after, what);
    }

    pub(super) fn at(&mut self, at: Instant, what: Happening) {
        self.count += 1;
        self.queue.insert((at, self.count), what);
    }

    /// Sends a message, which may be lost on the way.
    pub(super) fn send(&mut self, from: usize, to: usize, what: Happening) {
        if let Some(takes) = self.links[from][to].carries(&mut self.chance) {
            self.later(takes, what);
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(((at, _), what)) = self.queue.pop_first() {
            if at > end || self.broken.is_some() {
                self.at(at, what);
                break;
            }
            self.now = at;
            let awake = host_of(&what).map_or(at, |host| self.paused_until[host]);
            if awake > at {
                self.at(awake, what);
                continue;
            }
            self.happen(what);
            self.check();
        }
        self.now = self.now.max(end);
    }

    /// Sends it; nothing is left to be sent then.
    fn reply(&mut self, Reply { to, sent, answer, life }: Reply) -> Option<Reply> {
        self.send(EDGE, to as usize, Happening::Answered { to, by: RemoteVoter::Witness, sent, answer, life });
        None
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each thing that happens")]
    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake(host) => {
                self.wakes[host] = None;
                self.wake(host);
            }
            Happening::Beat => {
                self.later(ms(500), Happening::Beat);
                self.beat();
            }
            Happening::Asked { from, to: RemoteVoter::Peer, request, sent, life } => {
                if let Some(answer) = self.feed(from.other(), duty::Event::Asked(request)) {
                    let back = Happening::Answered { to: from, by: RemoteVoter::Peer, sent, answer, life };
                    self.send(from.other() as usize, from as usize, back);
                }
            }
            Happening::Asked { from, to: RemoteVoter::Witness, request, sent, life } => {
                if self.edge.writes_until > self.now {
                    self.at(self.edge.writes_until, what);
                    return;
                }
                if let Some((answer, kept)) = self.edge.vote(request, self.now) {
                    let back = Reply { to: from, sent, answer, life };
                    match kept {
                        Some(memory) => {
                            let back = if self.edge.answers_first { self.reply(back) } else { Some(back) };
                            self.edge.writes_until = self.now + self.edge.write;
                            self.later(self.edge.write, Happening::VoteKept { memory, back, life: self.edge.life });
                        }
                        None => {
                            self.reply(back);
                        }
                    }
                }
                self.expect_wake(EDGE);
            }
            Happening::VoteKept { memory, back, life } if life == self.edge.life => {
                self.edge.vote_disk = Some(memory);
                back.and_then(|back| self.reply(back));
                self.expect_wake(EDGE);
            }
            Happening::Answered { to, by, sent, answer, life } if life == self.xivos[to].life => {
                self.feed(to, duty::Event::Answered { by, sent, answer });
            }
            Happening::Ended { side, command, event } => self.ended(side, command, event),
            Happening::Fenced { side, life } if life == self.xivos[side].life => {
                self.xivos[side].gate = super::node::Gate::Closed;
                self.feed(side, duty::Event::Fenced);
            }
            Happening::Fit { side, life } if life == self.xivos[side].life => {
                self.feed(side, duty::Event::Fit);
            }
            Happening::Written { side, life, took, memory } if life == self.xivos[side].life => {
                let xivo = &mut self.xivos[side];
                if let Some((memory, _)) = memory.filter(|(_, number)| *number == xivo.writes) {
                    xivo.disk = Some(memory);
                }
                self.feed(side, duty::Event::Written { took });
            }
            Happening::Falters { side, life } if life == self.xivos[side].life => self.falters(side),
            Happening::DiskDecides { side, command, epoch, reason, written } => {
                self.disk_decides(side, command, epoch, reason, written);
            }
            Happening::Polled { side, number, life } => {
                if let Some(status) = self.xivos[side].status() {
                    self.send(side as usize, 2 + side as usize, Happening::Word { side, number, status, life });
                }
            }
            Happening::Word { side, number, status, life } if life == self.ccs[side].life => {
                self.word(side, number, status);
            }
            Happening::CcEnded { side, command, event } => self.cc_ended(side, command, event),
            Happening::Told { host, status, number } => self.told(host, status, number),
            Happening::Probed { check, id, outcome, life } if life == self.edge.life => self.probed(check, id, outcome),
            Happening::Lagged(by) => self.lagged(by),
            Happening::Boot(host) => self.boot(host),
            Happening::DiskWell(side) => self.xivos[side].write = WRITE,
            Happening::WitnessDiskWell => self.edge.write = WRITE,
            Happening::Mended(from, to) => self.links[from][to] = GOOD,
            // Meant for a process that is no more.
            _ => {}
        }
    }

    /// Sees to it that a host wakes at its deadline, or a little later.
    pub(super) fn expect_wake(&mut self, host: usize) {
        let when = match host {
            EDGE => self.edge.deadline().map(|local| self.edge.clock.when(local)),
            0 | 1 => {
                let xivo = &self.xivos[Side::BOTH[host]];
                xivo.duty.and_then(|duty| duty.deadline()).map(|local| xivo.clock.when(local))
            }
            _ => self.ccs[Side::BOTH[host - 2]].follower.and_then(|cc| cc.deadline()),
        };
        let Some(when) = when else { return };
        let when = when.max(self.now) + Duration::from_micros(self.chance.below(20_000));
        if self.wakes[host].is_none_or(|wake| when + ms(20) < wake) {
            self.wakes[host] = Some(when);
            self.at(when, Happening::Wake(host));
        }
    }
}

/// Whose process must run for this to happen.
const fn host_of(what: &Happening) -> Option<usize> {
    match *what {
        Happening::Wake(host) => Some(host),
        Happening::Asked { to: RemoteVoter::Witness, .. }
        | Happening::VoteKept { .. }
        | Happening::Told { .. }
        | Happening::Probed { .. }
        | Happening::Lagged(_) => Some(EDGE),
        Happening::Asked { from, .. } => Some(from.other() as usize),
        Happening::Answered { to: side, .. }
        | Happening::Ended { side, .. }
        | Happening::Fenced { side, .. }
        | Happening::Fit { side, .. }
        | Happening::Written { side, .. }
        | Happening::DiskDecides { side, .. }
        | Happening::Falters { side, .. }
        | Happening::Polled { side, .. } => Some(side as usize),
        Happening::Word { side, .. } | Happening::CcEnded { side, .. } => Some(2 + side as usize),
        Happening::Beat
        | Happening::Boot(_)
        | Happening::DiskWell(_)
        | Happening::WitnessDiskWell
        | Happening::Mended(..) => None,
    }
}
