//! What goes wrong, and when.

use std::sync::Arc;
use std::time::Duration;

use failover::Side;
use failover::duty::Act;
use protocol::wire::Wish;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::followers;
use super::net::{GOOD, Link};
use super::record::Event;
use super::world::{CC, Check, HOSTS, Plate, Sick, Start, Stop, Telephony, Tool, VOTERS, World, name};
use crate::control::api::Order;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every fault there is, several at once, on voters alone.
    Days,
    /// The fence's tools are slow or broken, and somebody removes its rules, all at random moments.
    Fences,
    /// Disks whose every step takes up to five seconds, or that are full, through every kind of failover.
    Disks,
    /// A Main that is not able to start, for long, beside a Standby that is.
    Starts,
    /// What is between XiVO nodes, CCs and a media server fails, and what runs there, through failovers.
    Followers,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Days => "days",
            Self::Fences => "fences",
            Self::Disks => "disks",
            Self::Starts => "starts",
            Self::Followers => "followers",
        }
    }

    /// How many of a thousand seeds are of it.
    pub(super) const fn of_thousand(self) -> u64 {
        match self {
            Self::Days => 659,
            Self::Fences => 200,
            Self::Disks => 100,
            // Of half an hour each.
            Self::Starts => 1,
            Self::Followers => 40,
        }
    }

    /// Voters alone, where nothing is judged of who follows: each machine costs time.
    pub(super) const fn hosts(self) -> usize {
        match self {
            Self::Followers => HOSTS,
            Self::Days | Self::Fences | Self::Disks | Self::Starts => VOTERS,
        }
    }

    /// The least part of any minute, and of any ten, in which somebody serves though one and the same node could all the
    /// time, in percent.
    pub(super) const fn windows(self) -> [f64; 2] {
        match self {
            Self::Days => [75.0, 88.0],
            Self::Followers => [70.0, 88.0],
            // It is started in vain, ever more rarely, and its peer stops for that.
            Self::Starts => [65.0, 88.0],
            // Tools that are slow or broken are a reason not to serve: few have a minute without one.
            Self::Fences | Self::Disks => [60.0, 88.0],
        }
    }

    /// The least part of the time in which a node could serve that one must serve in, over all seeds, in percent.
    pub(super) const fn share(self) -> f64 {
        match self {
            // Short ones, of which the first start takes its part.
            Self::Days => 47.0,
            Self::Fences => 57.0,
            Self::Disks => 62.0,
            Self::Starts => 90.0,
            Self::Followers => 50.0,
        }
    }

    /// The most start commands on one node within an hour.
    pub(super) const fn starts(self) -> usize {
        match self {
            Self::Days | Self::Fences | Self::Disks | Self::Followers => 30,
            Self::Starts => 10,
        }
    }

    pub(super) async fn play(self, world: &Arc<World>) {
        (0..world.hosts).for_each(|host| world.boot(host));
        // Before the first node serves, while it begins to, or later.
        sleep(Duration::from_millis(world.below(6_500))).await;
        match self {
            Self::Days => {
                let faults = world.inner().chance.u32(2..9);
                for _ in 0..faults {
                    let which = world.below(24);
                    world.strike(which);
                    let calm = world.pick(&[50, 400, 1_500, 5_000]);
                    let calm = world.below(calm) + 1;
                    sleep(Duration::from_millis(calm)).await;
                }
            }
            Self::Fences => {
                let faults = world.inner().chance.u32(4..14);
                for _ in 0..faults {
                    let which = world.pick(&[4, 7, 7, 7, 8, 8, 9, 13, 16, 18, 19]);
                    world.strike(which);
                    let calm = world.below(2_500) + 1;
                    sleep(Duration::from_millis(calm)).await;
                }
            }
            Self::Disks => {
                let ill = 1 + world.below(7);
                for host in (0..HOSTS).filter(|host| ill & (1 << host) != 0) {
                    let plate = match world.below(8) {
                        0 => Plate::Full,
                        1 => Plate::Fails(world.pick(&[10, 50])),
                        _ => Plate::Slow(world.pick(&[150, 400, 1_000, 5_000])),
                    };
                    world.sicken(host, Duration::from_secs(3_600), |sick| sick.disk = plate);
                }
                // One failover of each kind there is, or two.
                for _ in 0..2 {
                    let which = world.pick(&[0, 1, 3, 4, 6, 13, 14, 15, 16, 18, 20]);
                    world.strike(which);
                    let calm = 500 + world.below(20_000);
                    sleep(Duration::from_millis(calm)).await;
                }
            }
            Self::Followers => followers::faults::play(world).await,
            Self::Starts => {
                let how = world.pick(&[Start::Fails, Start::Lies, Start::DiesSoon, Start::Hangs]);
                world.sicken(0, Duration::from_secs(3_600), |sick| sick.start = how);
                let which = world.pick(&[0, 1, 4, 6, 16]);
                world.strike(which);
                sleep(Duration::from_secs(1_750)).await;
            }
        }
        world.heal();
        // Whatever was wrong, one serves again: judged by the record.
        let longest = super::PATIENCE + Duration::from_secs(3);
        let mut calm = 0;
        for _ in 0..longest.as_millis() / 500 {
            sleep(Duration::from_millis(500)).await;
            world.observe();
            let right = world.one_serves() && (world.hosts == VOTERS || world.followers_are_right());
            calm = if right { calm + 1 } else { 0 };
            if calm >= 5 {
                break;
            }
        }
    }
}

impl World {
    pub(super) fn below(&self, limit: u64) -> u64 {
        self.inner().chance.u64(0..limit)
    }

    pub(super) fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.inner().chance.usize(0..of.len())]
    }

    fn one_serves(&self) -> bool {
        use super::record::Seen;
        let inner = self.inner();
        let last = inner.events.iter().rev().find_map(|(_, event)| match event {
            Event::Seen { seen, .. } => Some(*seen),
            _ => None,
        });
        let now = self.began.elapsed();
        last.is_some_and(|seen| {
            let serve = seen.iter().filter(|seen| match seen {
                Seen::Silent { .. } => false,
                Seen::ServesUntil(end) => now < *end,
                Seen::Serves { .. } => true,
            });
            serve.count() == 1
        })
    }

    /// Something goes wrong, somewhere, for some time.
    #[allow(clippy::too_many_lines, reason = "one arm for each fault")]
    pub(super) fn strike(self: &Arc<Self>, which: u64) {
        let takes = Duration::from_millis(self.pick(&[300, 1_000, 3_000, 10_000, 30_000]));
        let (from, host) = (self.below(3) as usize, self.below(3) as usize);
        let to = (from + 1 + self.below(2) as usize) % VOTERS;
        let side = self.below(2) as usize;
        let fault = |text: String| self.note(Event::Fault(text));
        match which {
            0 => {
                fault(format!("{} loses its power for {takes:?}", name(host)));
                self.power_off(host);
                self.then(takes, move |world| world.boot(host));
            }
            1 | 2 => {
                fault(format!("the process on {} is killed", name(host)));
                self.end_process(host);
                self.then(takes.min(Duration::from_secs(3)), move |world| world.boot(host));
            }
            3 => {
                fault(format!("the watchdog of {} hands over", name(side)));
                self.hand_over(side);
            }
            4 | 5 => {
                let time = Duration::from_millis(50 + self.below(5_000));
                fault(format!("{} stands still for {time:?}", name(host)));
                self.freeze(host, time);
            }
            6 => {
                let how = self.pick(&[Telephony::Stopped, Telephony::Hangs]);
                if self.inner().machines[side].telephony == Telephony::Works {
                    fault(format!("telephony of {}: {how:?}", name(side)));
                    self.inner().machines[side].telephony = how;
                    self.note(Event::Struck(side));
                    self.observe();
                }
            }
            7 => {
                fault(format!("somebody removes the fence of {}", name(side)));
                self.remove_fence(side);
            }
            8 => {
                let time = 30 + self.below(300);
                self.sicken(side, takes, move |sick| sick.nft = Tool::Slow(time));
            }
            9 => {
                let how = self.pick(&[Tool::Broken, Tool::Hangs, Tool::Missing]);
                self.sicken(side, takes, move |sick| sick.nft = how);
            }
            10 => {
                let time = 100 + self.below(1_600);
                self.sicken(host, takes, move |sick| sick.disk = Plate::Slow(time));
            }
            11 => {
                let how = self.pick(&[Plate::Full, Plate::Fails(10), Plate::Fails(60)]);
                self.sicken(host, takes, move |sick| sick.disk = how);
            }
            12 => {
                let how = self.pick(&[Start::Fails, Start::Lies, Start::DiesSoon, Start::Hangs]);
                self.sicken(side, takes, move |sick| sick.start = how);
            }
            13 => {
                let how = self.pick(&[Stop::Hangs, Stop::Hangs, Stop::Fails, Stop::Lies]);
                self.sicken(side, takes, move |sick| sick.stop = how);
            }
            14 | 22 => {
                let acts = [Act::Deactivate, Act::Activate, Act::Activate, Act::ForceActivate];
                let act = self.pick(&acts);
                fault(format!("an operator at {}: {act}", name(side)));
                self.inner().forced |= act == Act::ForceActivate;
                drop(self.order(side, act));
            }
            15 => {
                let to = Side::BOTH[self.below(2) as usize];
                fault(format!("the Edge wishes that {to} serves"));
                self.wish(to);
            }
            16 => {
                fault(format!("{} is cut off for {takes:?}", name(host)));
                for other in (0..self.hosts).filter(|other| *other != host) {
                    self.cut(host, other, takes);
                    self.cut(other, host, takes);
                }
            }
            17 => {
                let link = self.pick(&[Link { loss: 40, ..GOOD }, Link { delay: 1_500, ..GOOD }]);
                fault(format!("{} to {}: {link:?} for {takes:?}", name(from), name(to)));
                self.inner().links[from][to] = link;
                self.then(takes, move |world| world.inner().links[from][to] = GOOD);
            }
            19 => self.sicken(side, takes, |sick| sick.check = Check::Hangs),
            20 | 21 => {
                fault(format!("what is between {} and {} forgets their connections", name(from), name(to)));
                let mut inner = self.inner();
                inner.forgot[from][to] += 1;
                inner.forgot[to][from] += 1;
            }
            _ => {
                fault(format!("{} to {} is cut for {takes:?}", name(from), name(to)));
                self.cut(from, to, takes);
            }
        }
        self.observe();
    }

    pub(super) fn then(self: &Arc<Self>, after: Duration, what: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(after).await;
            what(&world);
            world.observe();
        });
    }

    pub(super) fn cut(self: &Arc<Self>, from: usize, to: usize, takes: Duration) {
        self.inner().links[from][to] = Link { cut: true, ..GOOD };
        self.then(takes, move |world| world.inner().links[from][to] = GOOD);
    }

    pub(super) fn power_off(self: &Arc<Self>, host: usize) {
        let mut inner = self.inner();
        let machine = &mut inner.machines[host];
        machine.powered = false;
        machine.boots += 1;
        if let Some((_, task)) = machine.busy.take() {
            task.abort();
        }
        machine.telephony = Telephony::Stopped;
        machine.nft.flush();
        machine.handover = None;
        drop(inner);
        self.end_process(host);
    }

    pub(super) fn freeze(self: &Arc<Self>, index: usize, time: Duration) {
        let Some(host) = self.inner().machines[index].host.clone().filter(|host| !host.is_frozen()) else { return };
        let life = self.inner().machines[index].life;
        host.freeze();
        self.note(Event::Frozen(index, true));
        self.then(time, move |world| {
            // Of another life by now, maybe; then it is of no meaning.
            host.thaw();
            if world.inner().machines[index].life == life {
                world.excuse(index);
                world.note(Event::Frozen(index, false));
            }
        });
    }

    /// A watchdog is told to end, and another is started after it.
    pub(super) fn hand_over(&self, side: usize) {
        self.note(Event::HandsOver(side));
        if let Some(end) = &self.inner().machines[side].end {
            end.send_replace(true);
        }
    }

    /// The Edge hands an operator's wish to every node, with each heartbeat.
    pub(super) fn wish(&self, to: Side) {
        let mut inner = self.inner();
        let id = inner.wish.as_ref().map_or(1, |wish| wish.id + 1);
        inner.wish = Some(Wish { id, to, who: "ann".into(), reason: String::new() });
    }

    pub(super) fn remove_fence(self: &Arc<Self>, side: usize) {
        let whole = self.below(2) == 0;
        let mut inner = self.inner();
        match whole {
            true => inner.machines[side].nft.flush(),
            false => inner.machines[side].nft.empty("input"),
        }
        drop(inner);
        self.note(Event::FenceRemoved(side));
        self.observe();
    }

    pub(super) fn sicken(self: &Arc<Self>, host: usize, takes: Duration, how: impl FnOnce(&mut Sick)) {
        how(&mut self.inner().machines[host].sick);
        let sick = self.inner().machines[host].sick;
        self.note(Event::Fault(format!("{} for {takes:?}: {sick:?}", name(host))));
        self.note(Event::Sick(host, sick));
        self.then(takes, move |world| world.cure(host));
    }

    pub(super) fn cure(self: &Arc<Self>, host: usize) {
        if self.inner().machines[host].sick == Sick::default() {
            return;
        }
        self.excuse(host);
        self.inner().machines[host].sick = Sick::default();
        self.note(Event::Sick(host, Sick::default()));
        self.observe();
    }

    /// An operator acts at a node; what comes of it may be waited for.
    pub(super) fn order(&self, side: usize, act: Act) -> oneshot::Receiver<Result<String, String>> {
        self.note(Event::Ordered(side));
        let (reply, told) = oneshot::channel();
        if let Some(orders) = &self.inner().machines[side].orders {
            let _ = orders.try_send(Order { act, who: "ann".into(), reason: String::new(), reply });
        }
        told
    }

    pub(super) fn heal(self: &Arc<Self>) {
        self.note(Event::Healed);
        self.inner().links = [[GOOD; HOSTS]; HOSTS];
        for host in 0..self.hosts {
            self.cure(host);
            let frozen = self.inner().machines[host].host.clone().filter(host::played::Host::is_frozen);
            if let Some(frozen) = frozen {
                frozen.thaw();
                self.excuse(host);
                self.note(Event::Frozen(host, false));
            }
            self.boot(host);
        }
        for host in [0, 1].into_iter().chain(CC) {
            if self.inner().machines[host].telephony == Telephony::Hangs {
                self.inner().machines[host].telephony = Telephony::Stopped;
                self.note(Event::Struck(host));
            }
        }
        if std::mem::take(&mut self.inner().forced) {
            drop(self.order(1, Act::Deactivate));
            self.then(Duration::from_secs(4), |world| drop(world.order(1, Act::Resume)));
        }
        self.observe();
    }
}
