//! Main goes away, and comes back.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::session::Session;
use crate::config::HOLD_DOWN_SECONDS;
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, ensure, wait_for};
use crate::site::Site;

/// From the fault until users are served in full by Standby.
const PROMISED: Duration = Duration::from_secs(5);
/// In which an Asterisk starts, of what is promised.
const STARTS: Duration = Duration::from_millis(700);
/// No scenario waits longer for a site to be whole again.
pub(super) const BACK: Duration = Duration::from_secs(HOLD_DOWN_SECONDS + 15);
const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;

/// Waits until a node serves in full, and prints when each part did, as seconds since then.
pub(super) fn phases(site: &Site, node: Host, since: Instant, limit: Duration) -> Outcome<Duration> {
    site.serves(node, limit)?;
    let side = crate::config::side(node).unwrap_or_default();
    let phases = [
        ("telephony", site.watch().first_answer(node, since)),
        ("registered at mds1", site.watch().first_registered(node, since)),
        ("user served", site.user.first_answer(side, since)),
    ];
    let mut last = Duration::ZERO;
    let mut text = Vec::new();
    for (name, at) in phases {
        let at = at.ok_or_else(|| format!("{name}: never seen"))?.duration_since(since);
        last = last.max(at);
        text.push(format!("{name} {:.2} s", at.as_secs_f64()));
    }
    println!("  {side}: {}", text.join(", "));
    Ok(last)
}

/// Main is in touch again since then: it is back after its hold-down and not before, in order.
pub(super) fn failback(site: &Site, since: Instant) -> Outcome {
    returned(site, since)?;
    held_down(site, since)
}

/// Main did not answer before its hold-down, counted from then, was over.
fn held_down(site: &Site, since: Instant) -> Outcome {
    const HOLD_DOWN: Duration = Duration::from_secs(HOLD_DOWN_SECONDS);
    let first = site.watch().first_answer(MAIN, since).map_or(Duration::ZERO, |first| first.duration_since(since));
    ensure(first >= HOLD_DOWN, || {
        format!("Main is back after {:.2} s, before its hold-down is over", first.as_secs_f64())
    })
}

/// Main serves again, in order: Standby is silent before Main answers.
pub(super) fn returned(site: &Site, since: Instant) -> Outcome {
    phases(site, MAIN, since, BACK)?;
    let (last, first) = (site.watch().last_answer(STANDBY, since), site.watch().first_answer(MAIN, since));
    ensure(last.is_none() || last < first, || format!("not in order: {}", site.watch().story(since)))?;
    if let (Some(last), Some(first)) = (last, first) {
        println!("  nobody served for {:.2} s of the way back", first.duration_since(last).as_secs_f64());
    }
    follows(site, MAIN)?;
    let call = site.call(MAIN)?;
    println!("  a call on Main: answered in {:.0} ms", call.answered_after.as_secs_f64() * 1000.0);
    Ok(())
}

/// The contact centre of that side runs, and the other does not.
fn follows(site: &Site, node: Host) -> Outcome {
    let (runs, rests) = if node == MAIN { (Host::MainCc, Host::StandbyCc) } else { (Host::StandbyCc, Host::MainCc) };
    wait_for("contact centres follow", BACK, || {
        let now = (site.contact_centre_runs(runs), site.contact_centre_runs(rests));
        ensure(now == (true, false), || format!("{} runs: {}, {} runs: {}", runs.name(), now.0, rests.name(), now.1))
    })
}

/// What is promised, where Standby's telephony starts within [`STARTS`]; what it takes longer is the machine's, not Bascule's.
fn promised(site: &mut Site) -> Outcome<Duration> {
    let journal = site.watchdog(STANDBY)?.journal()?;
    let started = |entry: &serde_json::Value| {
        let (count, unit) =
            entry.get("sentence")?.as_str()?.strip_prefix("started in ")?.split_once(',')?.0.split_once(' ')?;
        let unit = if unit == "ms" { 0.001 } else { 1.0 };
        Some(Duration::from_secs_f64(count.parse::<f64>().ok()? * unit))
    };
    let start = journal.iter().filter_map(started).next_back().unwrap_or_default();
    Ok(PROMISED + start.saturating_sub(STARTS))
}

/// Fails beyond what is promised, and says how busy this machine is: that may be why.
fn in_time(all: Duration, promised: Duration) -> Outcome {
    ensure(all <= promised, || {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (all, promised) = (all.as_secs_f64(), promised.as_secs_f64());
        format!("{all:.2} s in all, promised {promised:.1} s (load {}, {cores} cores)", load.trim())
    })
}

pub(super) fn main_cut_off(site: &mut Site) -> Outcome {
    let sessions = [Session::softphone(site)?, Session::cti(site)?];
    for session in &sessions {
        let (side, _) = session.next("on", PROMISED)?;
        ensure(side == "main", || format!("a session is on {side}"))?;
    }
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    let all = phases(site, STANDBY, since, Duration::from_secs(20))?;
    if let Some(silent) = site.watch().fell_silent(MAIN, since) {
        println!(
            "  Main, alone in its black hole, fell silent after {:.2} s",
            silent.duration_since(since).as_secs_f64()
        );
    }
    let call = site.call(STANDBY)?;
    println!("  a call on Standby: answered in {:.0} ms", call.answered_after.as_secs_f64() * 1000.0);
    let promised = promised(site)?;
    for session in sessions {
        session.moves("standby", since, promised)?;
        session.end()?;
    }
    in_time(all, promised)?;

    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

pub(super) fn asterisk_killed(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.asterisk(MAIN).kill()?;
    let all = phases(site, STANDBY, since, Duration::from_secs(20))?;
    site.call(STANDBY)?;
    in_time(all, promised(site)?)?;
    returned(site, Instant::now())?;
    // Nothing but its Asterisk was dead: it can serve again once it has recovered from that. The slots at the kill itself
    // are still Main's.
    held_down(site, since + Duration::from_secs(1))
}

pub(super) fn main_rebooted(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.power_off(MAIN)?;
    let all = phases(site, STANDBY, since, Duration::from_secs(20))?;
    site.call(STANDBY)?;
    in_time(all, promised(site)?)?;
    let booted = Instant::now();
    site.power_on(MAIN)?;
    failback(site, booted)
}

/// A watchdog is killed: its node serves on, or hands over, but never both; it comes back as systemd brings it back.
fn watchdog_killed(site: &mut Site, host: Host) -> Outcome {
    let since = Instant::now();
    site.watchdog(host)?.kill()?;
    std::thread::sleep(Duration::from_secs(1));
    site.watchdog(host)?.start()?;
    site.serves(MAIN, BACK)?;
    println!("  seen: {}", site.watch().story(since));
    Ok(())
}

pub(super) fn main_watchdog_killed(site: &mut Site) -> Outcome {
    watchdog_killed(site, MAIN)
}

pub(super) fn standby_watchdog_killed(site: &mut Site) -> Outcome {
    watchdog_killed(site, STANDBY)
}

/// Nobody brings the watchdog back: the lease runs out and the kernel closes the fence on an Asterisk that lives.
pub(super) fn main_watchdog_gone(site: &mut Site) -> Outcome {
    // A lease, and what a busy machine needs to look.
    const FENCED: Duration = Duration::from_millis(1600 + 400);
    let since = Instant::now();
    site.watchdog(MAIN)?.kill()?;
    let all = phases(site, STANDBY, since, Duration::from_secs(20))?;
    let silent = site.watch().fell_silent(MAIN, since).map_or(Duration::ZERO, |at| at.duration_since(since));
    println!("  the kernel closed Main's fence after {:.2} s", silent.as_secs_f64());
    ensure(silent <= FENCED, || format!("Main was heard for {:.2} s without a watchdog", silent.as_secs_f64()))?;
    ensure(site.asterisk(MAIN).runs(), || "Main's Asterisk does not live: nothing was fenced".to_owned())?;
    site.call(STANDBY)?;
    in_time(all, promised(site)?)?;
    let started = Instant::now();
    site.watchdog(MAIN)?.start()?;
    failback(site, started)
}

/// A watchdog stands still although its node runs: the kernel closes the fence, the other side takes over.
pub(super) fn main_watchdog_frozen(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.watchdog(MAIN)?.signal(Signal::STOP)?;
    phases(site, STANDBY, since, Duration::from_secs(20))?;
    site.call(STANDBY)?;
    let thawed = Instant::now();
    site.watchdog(MAIN)?.signal(Signal::CONT)?;
    failback(site, thawed)
}

/// A Main that would serve alone (`alone: serve`) stands still until it has heard nobody for longer than a witness is waited
/// for, and wakes: the silence was its own. Standby serves meanwhile, and Main is not heard beside it for a slot.
pub(super) fn alone_frozen(site: &mut Site) -> Outcome {
    // The witness is out after 15 s.
    const LONG: Duration = Duration::from_secs(18);
    let main = site.watchdog(MAIN)?;
    main.reconfigure(|text| format!("{text}alone: serve\n"))?;
    // Phones are served while one watchdog follows another: not before this one has begun is it Main's.
    wait_for("Main's watchdog has begun", BACK, || site.watchdog(MAIN)?.says("status", "active"))?;
    site.serves(MAIN, BACK)?;
    let since = Instant::now();
    site.watchdog(MAIN)?.signal(Signal::STOP)?;
    phases(site, STANDBY, since, Duration::from_secs(20))?;
    std::thread::sleep(LONG.saturating_sub(since.elapsed()));
    let thawed = Instant::now();
    site.watchdog(MAIN)?.signal(Signal::CONT)?;
    failback(site, thawed)?;
    site.watchdog(MAIN)?.reconfigure(str::to_owned)?;
    site.serves(MAIN, BACK)
}

pub(super) fn standby_watchdog_frozen(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.watchdog(STANDBY)?.signal(Signal::STOP)?;
    super::cuts::main_serves_on(site, since, Duration::from_secs(8))?;
    site.watchdog(STANDBY)?.signal(Signal::CONT)?;
    site.serves(MAIN, BACK)
}

/// An operator moves the site to Standby and back, from the Edge.
pub(super) fn planned(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.edge.verb(&["switch", "--to", "standby", "--reason", "lab"])?;
    phases(site, STANDBY, since, Duration::from_secs(20))?;
    site.call(STANDBY)?;
    println!("  nobody served for {:.2} s", site.watch().longest_silence(since).as_secs_f64());
    // An operator's choice stands: Main does not take it back by itself.
    std::thread::sleep(Duration::from_secs(HOLD_DOWN_SECONDS + 5));
    site.serves(STANDBY, Duration::from_secs(2))?;
    let back = Instant::now();
    site.edge.verb(&["switch", "--to", "main", "--reason", "lab"])?;
    returned(site, back)
}
