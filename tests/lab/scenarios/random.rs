//! Random days: faults drawn from the other scenarios' by a seed, several at once, on real daemons. Whatever happens, no two
//! nodes serve, and in the end Main does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::weak::{SlowDisk, compiler};
use crate::asterisk::Spoiled;
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::site::Site;

const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;
const NODES: [Host; 2] = [MAIN, STANDBY];
const VOTERS: [Host; 3] = [MAIN, STANDBY, Host::Edge];
/// Faults go on for so long.
const LONG: Duration = Duration::from_secs(20);
/// Then the site has to be whole again: a slow disk proves three writes first, ten seconds from one to the next.
const WHOLE: Duration = Duration::from_secs(120);
/// A fence that was removed is back within a second or so; no machine is too busy for this.
const MENDED: Duration = Duration::from_secs(15);
const NFT: &str = "/usr/sbin/nft";

pub(super) fn day(site: &mut Site, seed: u64) -> Outcome {
    println!("  seed {seed}: tests/lab/run --random {seed}");
    let mut disks = BTreeMap::new();
    // Without a compiler no disk is slow: the faults drawn are the same.
    if compiler() {
        for host in NODES {
            let disk = SlowDisk::of(site, host)?;
            site.watchdog(host)?.restart_with(disk.variables.clone())?;
            disks.insert(host, disk);
        }
        site.settle(WHOLE)?;
    }
    let mut chance = fastrand::Rng::with_seed(seed);
    let since = Instant::now();
    while since.elapsed() < LONG {
        let round = Instant::now();
        let mut text = Vec::new();
        for _ in 0..chance.u8(1..=2) {
            text.push(strike(site, &disks, &mut chance)?);
        }
        println!("  {:5.1} s: {}", since.elapsed().as_secs_f64(), text.join("; "));
        std::thread::sleep(Duration::from_millis(chance.u64(200..5_000)));
        undo(site, &disks)?;
        std::thread::sleep(Duration::from_millis(chance.u64(100..3_000)));
        site.watch().never_two_serving(round)?;
    }
    println!("  seen: {}", site.watch().story(since));
    let healed = Instant::now();
    site.settle(WHOLE)?;
    for host in NODES {
        site.watchdog(host)?.set_variables(Vec::new());
    }
    println!("  Main serves in full again after {:.1} s", healed.elapsed().as_secs_f64());
    Ok(())
}

/// Returns what it did, in words for the record and for whoever reads a failure.
#[allow(clippy::too_many_lines, reason = "one arm for each fault")]
fn strike(site: &mut Site, disks: &BTreeMap<Host, SlowDisk>, chance: &mut fastrand::Rng) -> Outcome<String> {
    let node = if chance.bool() { MAIN } else { STANDBY };
    let host = VOTERS[chance.usize(0..VOTERS.len())];
    let other = VOTERS[(VOTERS.iter().position(|voter| *voter == host).unwrap_or(0) + chance.usize(1..3)) % 3];
    let percent = chance.u8(10..50);
    let delay = Duration::from_millis(chance.u64(100..5_000));
    let (on, name, far) = (node.name(), host.name(), other.name());
    // Who stands still mends nothing, and who does not run neither.
    let lives = |site: &mut Site| -> Outcome<bool> {
        let daemon = site.watchdog(node)?;
        Ok(daemon.runs() && !daemon.stands_still())
    };
    Ok(match chance.u8(0..18) {
        0 | 1 => {
            site.watchdog(node)?.kill()?;
            format!("the watchdog of {on} is killed")
        }
        2 | 3 if lives(site)? => {
            site.watchdog(node)?.signal(Signal::STOP)?;
            format!("the watchdog of {on} stands still")
        }
        4 => {
            site.power_off(node)?;
            format!("{on} loses its power")
        }
        5 => {
            site.edge.kill()?;
            "the Edge is killed".to_owned()
        }
        6 => {
            site.net().fault(Fault::BlackHole(host))?;
            format!("{name} is cut off")
        }
        7 => {
            site.net().fault(Fault::Cut(host, other))?;
            format!("{name} and {far} do not hear each other")
        }
        8 => {
            site.net().fault(Fault::OneWay(host, other))?;
            format!("nothing arrives from {name} at {far}")
        }
        9 => {
            site.net().fault(Fault::Lossy(host, percent))?;
            format!("{name} loses {percent} %")
        }
        10 => {
            // It may not run at all.
            let _ = site.asterisk(node).kill();
            format!("Asterisk on {on} is killed")
        }
        11 => {
            site.mean("the stop could not be verified");
            site.asterisk(node).spoil(Spoiled::HangStop)?;
            format!("the next stop on {on} hangs")
        }
        12 => {
            site.asterisk(node).spoil(Spoiled::FailStart(1))?;
            format!("the next start on {on} fails")
        }
        13 => {
            site.mean("the stop could not be verified");
            site.asterisk(node).spoil(Spoiled::HangCheck)?;
            format!("the check on {on} hangs")
        }
        14 | 15 if disks.contains_key(&node) => {
            site.mean("cannot be written");
            site.mean("has not been written for");
            disks.get(&node).map_or(Ok(()), |disk| disk.slow(delay))?;
            format!("each sync on {on} takes {} ms longer", delay.as_millis())
        }
        16 | 17 if lives(site)? => {
            let back = flushed(site, node)?;
            format!("somebody flushes the rules of {on}, which are back after {:.2} s", back.as_secs_f64())
        }
        _ => "nothing".to_owned(),
    })
}

/// Somebody flushes the rules of a node whose watchdog lives; returns after how long the fence was there again.
fn flushed(site: &mut Site, node: Host) -> Outcome<Duration> {
    let begin = Instant::now();
    site.remove_fence(node, &["nft", "flush", "ruleset"])?;
    let there = wait_for("the fence is written anew", MENDED, || {
        let machine = site.telephony.machine(node)?;
        machine.must(&["nft", "list", "table", "inet", "bascule"], Duration::from_secs(5)).map(drop)
    });
    let back = begin.elapsed();
    // Another slot: what was asked before is answered in it.
    site.telephony.watch.allow_two(begin, Instant::now() + crate::watch::SLOT);
    there.map(|()| back)
}

/// Ends all that was begun.
fn undo(site: &mut Site, disks: &BTreeMap<Host, SlowDisk>) -> Outcome {
    site.net().heal()?;
    disks.values().for_each(SlowDisk::well);
    for host in NODES {
        site.asterisk(host).mend();
        let daemon = site.watchdog(host)?;
        if daemon.runs() {
            daemon.signal(Signal::CONT)?;
        } else {
            site.power_on(host)?;
        }
    }
    if !site.edge.runs() {
        site.edge.start()?;
    }
    Ok(())
}

/// What is done to a fence: its words, the command, and whether phones get in by it.
const TOUCHES: [(&str, &str, bool); 6] = [
    ("all rules are flushed", "nft flush ruleset", true),
    ("the table is deleted", "nft delete table inet bascule", true),
    ("a chain is flushed", "nft flush chain inet bascule input", true),
    ("the set of ports is flushed", "nft flush set inet bascule sip", true),
    ("a big interval set is added elsewhere", "nft -f /run/big", false),
    ("it is deleted", "nft 'add table inet big; delete table inet big'", false),
];

/// Main is fenced and cannot stop; for a while somebody does to its rules what can be done to them, at random moments, and
/// its `nft` is slow at times: it is closed again each time, and nobody is heard beside Standby otherwise.
pub(super) fn fence(site: &mut Site) -> Outcome {
    /// Enough to make each call of nft slow, as on a host with big sets of its own.
    const ELEMENTS: u32 = 10_000;
    const ACTS: usize = 10;
    site.mean("the stop could not be verified");
    let machine = site.telephony.machine(MAIN)?.clone();
    let big: Vec<_> = (0..ELEMENTS).map(|n| format!("10.{}.{}.0-10.{0}.{1}.99", n >> 8, n & 255)).collect();
    let big = format!(
        "add table inet big\nadd set inet big ranges {{ type ipv4_addr; flags interval; }}\nadd element inet big ranges {{ {} }}\n",
        big.join(", ")
    );
    let path = machine.dir.join("run/big");
    std::fs::write(&path, big).map_err(because(path.display()))?;
    let real = machine.dir.join("nft");
    std::fs::copy(NFT, &real).map_err(because(real.display()))?;
    let slow = format!("#!/bin/sh\nsleep 0.2\nexec {} \"$@\"\n", real.display());

    site.asterisk(MAIN).spoil(Spoiled::HangStop)?;
    let since = Instant::now();
    site.net().fault(Fault::Cut(MAIN, STANDBY))?;
    site.net().fault(Fault::Cut(MAIN, Host::Edge))?;
    super::failover::phases(site, STANDBY, since, Duration::from_secs(30))?;
    let mut chance = fastrand::Rng::with_seed(1);
    let mut is_slow = false;
    for _ in 0..ACTS {
        if chance.bool() {
            is_slow = !is_slow;
            site.watchdog(MAIN)?.replace(NFT, is_slow.then_some(slow.as_str()))?;
        }
        let (what, command, opens) = TOUCHES[chance.usize(0..TOUCHES.len())];
        let command = ["/bin/sh", "-c", command];
        std::thread::sleep(Duration::from_millis(chance.u64(0..1_000)));
        let begin = Instant::now();
        if opens {
            site.remove_fence(MAIN, &command)?;
            let closed = closed_again(site, begin);
            site.telephony.watch.allow_two(begin, Instant::now());
            closed?;
        } else {
            machine.must(&command, Duration::from_secs(20))?;
        }
        let last = site.watch().last_answer(MAIN, begin).map_or(Duration::ZERO, |last| last.duration_since(begin));
        let with = if is_slow { ", and nft is slow" } else { "" };
        println!("  {what}{with}: Main answered for {:.2} s", last.as_secs_f64());
    }
    site.watch().never_two_serving(since)?;
    if is_slow {
        site.watchdog(MAIN)?.replace(NFT, None)?;
    }
    machine.must(&["nft", "add table inet big; delete table inet big"], Duration::from_secs(20))?;
    site.asterisk(MAIN).mend();
    site.net().heal()?;
    site.serves(MAIN, Duration::from_secs(60))
}

/// Waits until Main has not been heard for half a second, and its table is there.
pub(super) fn closed_again(site: &Site, begin: Instant) -> Outcome {
    const QUIET: Duration = Duration::from_millis(500);
    wait_for("Main is closed again", MENDED, || {
        ensure(begin.elapsed() > QUIET, || "a moment".to_owned())?;
        let heard = site.watch().last_answer(MAIN, begin).is_some_and(|at| at.elapsed() < QUIET);
        ensure(!heard, || format!("it serves on: {}", site.watch().story(begin)))?;
        let list = ["nft", "list", "table", "inet", "bascule"];
        site.telephony.machine(MAIN)?.must(&list, Duration::from_secs(5)).map(drop)
    })
}
