//! What goes wrong where a XiVO is followed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::super::net::{GOOD, Link};
use super::super::record::Event;
use super::super::world::{CC, Check, Cli, MDS, Sick, Start, Stop, Telephony, World, name};

/// Faults, one after another, some at once.
pub(in super::super) async fn play(world: &Arc<World>) {
    let faults = world.inner().chance.u32(3..11);
    for _ in 0..faults {
        strike(world);
        let calm = world.pick(&[50, 1_500, 5_000, 12_000]);
        let calm = world.below(calm) + 1;
        sleep(Duration::from_millis(calm)).await;
    }
}

fn strike(world: &Arc<World>) {
    let takes = Duration::from_millis(world.pick(&[300, 1_000, 3_000, 10_000, 30_000]));
    let side = world.below(2) as usize;
    let cc = CC[side];
    let fault = |text: String| world.note(Event::Fault(text));
    match world.below(18) {
        // Those faults of the voters that bring a failover, by their number in `strike`.
        0..4 => {
            let which = world.pick(&[0, 1, 3, 4, 6, 13, 14, 14, 15, 16, 20]);
            world.strike(which);
        }
        4 | 5 => cut(world, side, cc, takes),
        6 => {
            let link = world.pick(&[Link { loss: 40, ..GOOD }, Link { delay: 1_500, ..GOOD }]);
            fault(format!("{} to {}: {link:?} for {takes:?}", name(side), name(cc)));
            world.inner().links[side][cc] = link;
            world.then(takes, move |world| world.inner().links[side][cc] = GOOD);
        }
        7 => {
            let how = world.pick(&[Start::Fails, Start::Lies, Start::DiesSoon, Start::Hangs]);
            world.sicken(cc, takes, move |sick| sick.start = how);
        }
        8 => {
            let how = world.pick(&[Stop::Hangs, Stop::Fails, Stop::Lies]);
            world.sicken(cc, takes, move |sick| sick.stop = how);
        }
        9 => world.sicken(cc, takes, |sick| sick.check = Check::Hangs),
        10 | 11 => {
            let how = world.pick(&[Telephony::Stopped, Telephony::Hangs]);
            if world.inner().machines[cc].telephony == Telephony::Works {
                fault(format!("the services of {}: {how:?}", name(cc)));
                world.inner().machines[cc].telephony = how;
                world.note(Event::Struck(cc));
            }
        }
        12 => trouble(world, cc, takes),
        13 => trouble(world, MDS, takes),
        14 => {
            let host = world.pick(&[side, MDS, MDS]);
            let how = world.pick(&[Cli::Fails, Cli::Hangs]);
            world.sicken(host, takes, move |sick| sick.cli = how);
        }
        15 => {
            fault("the media server's Asterisk restarts, and forgets who is registered".into());
            world.inner().machines[MDS].asterisk.contacts = [None; 2];
            world.note(Event::Struck(MDS));
        }
        16 => cut(world, side, MDS, takes),
        _ => {
            fault(format!("what is between {} and {} forgets their connections", name(side), name(cc)));
            let mut inner = world.inner();
            inner.forgot[side][cc] += 1;
            inner.forgot[cc][side] += 1;
        }
    }
    world.observe();
}

fn cut(world: &Arc<World>, near: usize, far: usize, takes: Duration) {
    let ways = world.below(3);
    let how = ["there", "back", "both ways"][ways as usize];
    world.note(Event::Fault(format!("{} and {} are cut off ({how}) for {takes:?}", name(near), name(far))));
    if ways != 1 {
        world.cut(near, far, takes);
    }
    if ways != 0 {
        world.cut(far, near, takes);
    }
}

/// A follower's machine, or its watchdog, has trouble.
fn trouble(world: &Arc<World>, host: usize, takes: Duration) {
    let fault = |text: String| world.note(Event::Fault(text));
    match world.below(4) {
        0 => {
            fault(format!("{} loses its power for {takes:?}", name(host)));
            world.power_off(host);
            world.then(takes, move |world| world.boot(host));
        }
        1 => {
            fault(format!("the process on {} is killed", name(host)));
            world.end_process(host);
            world.then(takes.min(Duration::from_secs(3)), move |world| world.boot(host));
        }
        2 => {
            fault(format!("the watchdog of {} ends", name(host)));
            if let Some(end) = &world.inner().machines[host].end {
                end.send_replace(true);
            }
        }
        _ => {
            let time = Duration::from_millis(50 + world.below(5_000));
            fault(format!("{} stands still for {time:?}", name(host)));
            world.freeze(host, time);
        }
    }
}

impl World {
    /// Whether all who follow are where their XiVO is.
    pub(in super::super) fn followers_are_right(&self) -> bool {
        let inner = self.inner();
        let Some(Event::Followers { services, contacts, .. }) = &inner.followed else { return true };
        (0..2).all(|side| {
            let serves = inner.machines[side].active.is_some();
            (services[side] == Telephony::Works) == serves
                && (services[side] == Telephony::Stopped) != serves
                && contacts[side].is_some() == serves
                && inner.machines[CC[side]].sick == Sick::default()
        })
    }

    /// The media server's Asterisk runs as soon as its machine does.
    pub(in super::super) fn power_of_mds(&self, host: usize) {
        if host == MDS {
            let machine = &mut self.inner().machines[MDS];
            if machine.telephony != Telephony::Works {
                (machine.telephony, machine.asterisk.contacts) = (Telephony::Works, [None; 2]);
            }
        }
    }
}
