//! What drivers do: carry out what the machines of XiVO and CC nodes say, and report how it ended.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::net::{EDGE, ms};
use super::node::{Flaw, Gate, WRITE, Xivo};
use super::world::{Happening, Note, Site};
use crate::Side;
use crate::duty::{self, Duty, Found, Life, Outcome, Output, Phones, RemoteVoter, StartReason, Surroundings};
use crate::follow::{self, Follower};
use crate::health::Status;
use crate::lease::{Answer, VoteReply};

const FOLLOW: follow::Settings = follow::Settings {
    stale_after: Duration::from_secs(3),
    retry: Duration::from_secs(1),
    retry_limit: Duration::from_secs(30),
    idle: follow::Idle::Stopped,
};

/// A start that nothing comes of is given up after so many milliseconds.
const VERIFY: u64 = 20_000;

impl Site {
    pub(super) fn is_up(&self, host: usize) -> bool {
        match host {
            EDGE => self.edge.deadline().is_some(),
            0 | 1 => self.xivos[Side::BOTH[host]].duty.is_some(),
            _ => self.ccs[Side::BOTH[host - 2]].follower.is_some(),
        }
    }

    /// Starts what does not run.
    pub(super) fn boot(&mut self, host: usize) {
        if self.is_up(host) {
            return;
        }
        self.note(Note::Boots(host));
        self.powered[host] = true;
        match host {
            EDGE => {
                self.edge.boot(self.now);
                self.wake_edge();
            }
            0 | 1 => {
                let side = Side::BOTH[host];
                let found = if self.xivos[side].runs { Found::Running } else { Found::Stopped };
                self.boot_xivo(side, found);
            }
            _ => {
                let side = Side::BOTH[host - 2];
                let cc = &mut self.ccs[side];
                let found = if cc.runs { Found::Running } else { Found::Stopped };
                cc.follower = Some(Follower::new(FOLLOW, found, self.now));
                (cc.word, cc.failed) = (None, false);
                self.feed_cc(side, follow::Event::Timer);
            }
        }
    }

    pub(super) fn boot_xivo(&mut self, side: Side, found: Found) {
        let (now, xivo) = (self.now, &mut self.xivos[side]);
        // The fence is put up before anything else, closed unless a lease goes on.
        if !matches!(found, Found::HandedOver(_)) {
            xivo.gate = Gate::Closed;
        }
        let base = now.as_micros() / 1_000 + 1;
        let life = Life { instance: xivo.instance, campaign_base: base };
        let (duty, outputs) = Duty::new(xivo.settings, xivo.disk.as_ref(), life, found, xivo.clock.read(now));
        xivo.duty = Some(duty);
        let life = xivo.life;
        self.carry_out(side, &outputs);
        let takes = ms(100 + self.chance.below(1_500));
        self.later(takes, Happening::Fit { side, life });
    }

    /// Ends a process; on a host that loses its power, all that runs there.
    pub(super) fn kill(&mut self, host: usize, powered: bool) {
        self.powered[host] &= powered;
        match host {
            EDGE => self.edge.die(),
            0 | 1 => {
                let xivo = &mut self.xivos[Side::BOTH[host]];
                xivo.duty = None;
                xivo.life += 1;
                xivo.command += 1;
                xivo.busy = None;
                if !powered {
                    (xivo.runs, xivo.gate) = (false, Gate::Closed);
                    xivo.instance += 1;
                }
            }
            _ => {
                let cc = &mut self.ccs[Side::BOTH[host - 2]];
                cc.follower = None;
                cc.life += 1;
                cc.command += 1;
                cc.runs &= powered;
            }
        }
    }

    pub(super) fn wake(&mut self, host: usize) {
        match host {
            EDGE => self.wake_edge(),
            0 | 1 => {
                self.feed(Side::BOTH[host], duty::Event::Timer);
            }
            _ => self.feed_cc(Side::BOTH[host - 2], follow::Event::Timer),
        }
    }

    /// Twice a second every node reports to the Edge, looks around, and a CC asks its XiVO.
    pub(super) fn beat(&mut self) {
        for side in Side::BOTH {
            let at = side as usize;
            let seen =
                |from: usize, to: usize| !self.links[from][to].cut && !self.links[to][from].cut && self.powered[to];
            let surroundings = Surroundings { peer_host: seen(at, 1 - at), anchors: seen(at, 2 + at) };
            self.feed(side, duty::Event::Surroundings(surroundings));
            self.report(at);
            self.report(2 + at);
            let cc = &mut self.ccs[side];
            // Its check finds what nobody told.
            if !cc.runs && cc.follower.is_some_and(|cc| cc.status() == Status::Active) {
                cc.failed = true;
                self.feed_cc(side, follow::Event::Died);
            }
            let cc = &mut self.ccs[side];
            if cc.follower.is_some() {
                let life = cc.life;
                self.numbers += 1;
                let number = self.numbers;
                self.send(2 + at, at, Happening::Polled { side, number, life });
            }
        }
    }

    fn report(&mut self, host: usize) {
        let status = match host {
            0 | 1 => self.xivos[Side::BOTH[host]].status(),
            _ => self.ccs[Side::BOTH[host - 2]].follower.map(|cc| cc.status()),
        };
        let paused = self.paused_until[host] > self.now;
        if let Some(status) = status.filter(|_| !paused) {
            self.numbers += 1;
            let number = self.numbers;
            self.send(host, EDGE, Happening::Told { host, status, number });
        }
    }

    /// Feeds a duty, and returns the answer it gives, if it was asked.
    pub(super) fn feed(&mut self, side: Side, event: duty::Event) -> Option<Answer> {
        if self.paused_until[side as usize] > self.now {
            return None;
        }
        let xivo = &mut self.xivos[side];
        let now = xivo.clock.read(self.now);
        let outputs = xivo.duty.as_mut()?.handle(event, now);
        self.carry_out(side, &outputs);
        self.judge_fence(side);
        // A promise that gets to the disk too late is none.
        let slow = self.xivos[side].write > self.xivos[side].settings.timing.lease;
        let kept = |answer: &Answer| !slow || answer.ruling != VoteReply::Grant;
        let given =
            outputs.iter().find_map(|output| if let Output::Answer(answer) = output { Some(*answer) } else { None });
        given.filter(kept)
    }

    /// A node that could let nobody in last is not fit to start, until its kernel takes permits again.
    fn judge_fence(&mut self, side: Side) {
        let (now, xivo) = (self.now, &mut self.xivos[side]);
        let serves = matches!(xivo.status(), Some(Status::Starting | Status::Active));
        if serves || !xivo.denied {
            return;
        }
        let event = if xivo.refuses_until <= now { duty::Event::Fit } else { duty::Event::Unfit };
        xivo.denied = xivo.refuses_until > now;
        if xivo.denied != xivo.duty.is_some_and(|duty| !duty.report().fit) {
            self.feed(side, event);
        }
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each output")]
    fn carry_out(&mut self, side: Side, outputs: &[Output]) {
        for output in outputs {
            if !matches!(
                output,
                Output::Ask { .. }
                    | Output::Answer(_)
                    | Output::Permit { .. }
                    | Output::Persist(_)
                    | Output::VerifyFence { .. }
                    | Output::ProveDisk
            ) {
                self.note(Note::Xivo(side, *output));
            }
            let Xivo { life, command, .. } = self.xivos[side];
            let xivo = &mut self.xivos[side];
            match *output {
                Output::Persist(memory) => {
                    xivo.writes += 1;
                    let (took, number) = (xivo.write, xivo.writes);
                    if took <= WRITE {
                        xivo.disk = Some(memory);
                    } else {
                        self.later(took, Happening::Written { side, life, took, memory: Some((memory, number)) });
                    }
                }
                Output::ProveDisk => {
                    let took = xivo.write;
                    self.later(took, Happening::Written { side, life, took, memory: None });
                }
                Output::Ask { voter, request, sent } => {
                    let to = if voter == RemoteVoter::Witness { EDGE } else { 1 - side as usize };
                    let asked = Happening::Asked { from: side, to: voter, request, sent, life };
                    self.send(side as usize, to, asked);
                }
                Output::Permit { .. } if xivo.refuses_until > self.now => xivo.denied = true,
                Output::Permit { until } => {
                    (xivo.gate, xivo.denied) = (until.map_or(Gate::Open, Gate::Until), false);
                    self.feed(side, duty::Event::Permitted { until });
                }
                Output::TwoActives => {
                    let served = self.xivos[side.other()].served_at;
                    if served < self.xivos[side].started_at {
                        self.breaks("a false alarm of two actives", (side, served));
                    }
                }
                // The loop waits for the disk, a lease at most.
                Output::Start { epoch, reason } if xivo.write > WRITE => {
                    let waits = xivo.write.min(xivo.settings.timing.lease);
                    let written = xivo.write <= waits;
                    xivo.busy = Some(duty::Event::Started(Outcome::Failed));
                    xivo.command += 1;
                    xivo.started_at = self.now;
                    let command = xivo.command;
                    self.paused_until[side as usize] = self.now + waits;
                    self.later(waits, Happening::DiskDecides { side, command, epoch, reason, written });
                }
                Output::Start { epoch, reason } => {
                    xivo.started_at = self.now;
                    self.starts(side, epoch, reason);
                }
                Output::Stop => {
                    let event = duty::Event::Stopped(self.outcome());
                    self.command(side, 300..2_000, event);
                }
                Output::Kill => {
                    // Of a command that has ended there is nothing to kill.
                    let event = match xivo.busy {
                        Some(duty::Event::Started(_)) => duty::Event::Started(Outcome::Failed),
                        Some(_) => duty::Event::Stopped(Outcome::Failed),
                        None => continue,
                    };
                    self.later(ms(50), Happening::Ended { side, command, event });
                }
                Output::Fence(_) => {
                    // A fence that does not work is closed by the kernel, unless the node is unguarded.
                    let works = xivo.gate == Gate::Open || !self.chance.percent(self.failures);
                    if works {
                        let takes = ms(5 + self.chance.below(480));
                        self.later(takes, Happening::Fenced { side, life });
                    }
                }
                Output::VerifyFence { phones: Phones::KeptOut } => xivo.gate = Gate::Closed,
                Output::HardFence { .. } => self.later(ms(100), Happening::Fenced { side, life }),
                Output::Changed { .. } => self.report(side as usize),
                Output::VerifyFence { .. } | Output::Answer(_) | Output::Acted(_) | Output::Refused { .. } => {}
            }
        }
        self.expect_wake(side as usize);
    }

    /// What becomes of a start that waited for the disk.
    pub(super) fn disk_decides(&mut self, side: Side, command: u64, epoch: u64, reason: StartReason, written: bool) {
        let xivo = &mut self.xivos[side];
        if command != xivo.command || xivo.busy.is_none() {
            return;
        }
        xivo.busy = None;
        let now = xivo.clock.read(self.now);
        let guarded = matches!(reason, StartReason::Granted { .. });
        let over = xivo.duty.and_then(|duty| duty.lease_until()).is_none_or(|until| until <= now);
        if !written || guarded && over {
            self.feed(side, duty::Event::Started(Outcome::Failed));
        } else {
            self.starts(side, epoch, reason);
        }
    }

    fn starts(&mut self, side: Side, epoch: u64, reason: StartReason) {
        let xivo = &mut self.xivos[side];
        xivo.runs = true;
        self.starts += 1;
        if matches!(reason, StartReason::Granted { .. }) {
            if epoch <= self.epoch && !self.lost_disks {
                self.breaks("a duty epoch repeats", epoch);
            }
            self.epoch = self.epoch.max(epoch);
        }
        let fails = self.xivos[side].flaw == Some(Flaw::StartFails);
        let event = duty::Event::Started(if fails { Outcome::Failed } else { self.outcome() });
        self.command(side, if fails { VERIFY..VERIFY + 1 } else { 300..1_500 }, event);
    }

    fn outcome(&mut self) -> Outcome {
        if self.chance.percent(self.failures) { Outcome::Failed } else { Outcome::Done }
    }

    fn command(&mut self, side: Side, range: Range<u64>, event: duty::Event) {
        let takes = range.start + self.chance.below(range.end - range.start);
        let xivo = &mut self.xivos[side];
        if xivo.busy.is_some() {
            self.breaks("W4: commands overlap", side);
            return;
        }
        xivo.busy = Some(event);
        xivo.command += 1;
        let command = xivo.command;
        self.later(ms(takes), Happening::Ended { side, command, event });
    }

    pub(super) fn ended(&mut self, side: Side, command: u64, event: duty::Event) {
        let xivo = &mut self.xivos[side];
        if command != xivo.command || xivo.busy.is_none() {
            return;
        }
        xivo.busy = None;
        if event == duty::Event::Stopped(Outcome::Done) {
            xivo.runs = false;
        }
        self.feed(side, event);
        if let (Some(Flaw::DiesAfter(after) | Flaw::CrashesAfter(after)), duty::Event::Started(Outcome::Done)) =
            (self.xivos[side].flaw, event)
        {
            let life = self.xivos[side].life;
            self.later(after, Happening::Falters { side, life });
        }
    }

    /// What a node with a flaw does a while after its start was verified.
    pub(super) fn falters(&mut self, side: Side) {
        match self.xivos[side].flaw {
            Some(Flaw::DiesAfter(_)) if self.xivos[side].status() == Some(Status::Active) => self.telephony_dies(side),
            Some(Flaw::CrashesAfter(_)) => {
                self.kill(side as usize, false);
                self.later(ms(5_000), Happening::Boot(side as usize));
            }
            _ => {}
        }
    }

    pub(super) fn word(&mut self, side: Side, number: u64, status: Status) {
        let cc = &mut self.ccs[side];
        if number <= cc.asked {
            return;
        }
        cc.asked = number;
        if matches!(status, Status::Active | Status::Inactive) {
            cc.word = Some(status);
        }
        self.feed_cc(side, follow::Event::Xivo(status));
    }

    pub(super) fn feed_cc(&mut self, side: Side, event: follow::Event) {
        let host = 2 + side as usize;
        if self.paused_until[host] > self.now {
            return;
        }
        let now = self.now;
        let Some(follower) = self.ccs[side].follower.as_mut() else { return };
        let outputs: Vec<_> = follower.handle(event, now);
        for output in outputs {
            self.note(Note::Cc(side, output));
            let word = self.ccs[side].word;
            match output {
                follow::Output::Start => {
                    if word != Some(Status::Active) && !self.ccs[side].failed {
                        self.breaks("W5: a CC starts, and its XiVO did not say that it is active", (side, word));
                    }
                    let event = follow::Event::Started(self.outcome());
                    self.cc_command(side, event);
                }
                follow::Output::Stop => {
                    if word != Some(Status::Inactive) && !self.ccs[side].failed {
                        self.breaks("W5: a CC stops, and its XiVO did not say that it is inactive", (side, word));
                    }
                    let event = follow::Event::Stopped(self.outcome());
                    self.cc_command(side, event);
                }
                follow::Output::Changed(_) => self.report(host),
                follow::Output::OutOfSight { .. } | follow::Output::InSight => {}
            }
        }
        self.expect_wake(host);
    }

    fn cc_command(&mut self, side: Side, event: follow::Event) {
        let takes = ms(200 + self.chance.below(1_500));
        let cc = &mut self.ccs[side];
        cc.command += 1;
        let command = cc.command;
        self.later(takes, Happening::CcEnded { side, command, event });
    }

    pub(super) fn cc_ended(&mut self, side: Side, command: u64, event: follow::Event) {
        let cc = &mut self.ccs[side];
        if command != cc.command {
            return;
        }
        match event {
            follow::Event::Started(Outcome::Done) => (cc.runs, cc.failed) = (true, false),
            follow::Event::Stopped(Outcome::Done) => cc.runs = false,
            _ => cc.failed = true,
        }
        self.feed_cc(side, event);
    }

    /// Kills the services of a side's CC.
    pub(super) fn cc_dies(&mut self, side: Side) {
        let cc = &mut self.ccs[side];
        if core::mem::take(&mut cc.runs) {
            cc.failed = true;
            self.feed_cc(side, follow::Event::Died);
        }
    }

    /// Telephony dies on a XiVO node, and comes back after its rest.
    pub(super) fn telephony_dies(&mut self, side: Side) {
        let life = self.xivos[side].life;
        self.feed(side, duty::Event::Unfit);
        self.later(ms(5_000), Happening::Fit { side, life });
    }
}
