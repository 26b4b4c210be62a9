//! Links break, and nobody else: who served goes on serving, or is silent before another begins.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::failover::{BACK, failback, phases, returned};
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, ensure, wait_for};
use crate::site::Site;

const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;
/// Longer than any promise lasts, and any start takes.
const WHILE: Duration = Duration::from_secs(6);

/// For so long Standby never answers, and Main is never silent for long.
pub(super) fn main_serves_on(site: &Site, since: Instant, time: Duration) -> Outcome {
    const BLINK: Duration = Duration::from_millis(500);
    std::thread::sleep(time);
    let standby = site.watch().first_answer(STANDBY, since);
    ensure(standby.is_none(), || format!("Standby serves: {}", site.watch().story(since)))?;
    let silence = site.watch().longest_silence(since);
    ensure(silence < BLINK, || format!("Main was silent for {:.2} s", silence.as_secs_f64()))?;
    let lost = site.user.requests(since).iter().filter(|request| request.answer.as_deref() != Ok("main")).count();
    println!("  Main served on for {:.0} s, {lost} of the user's requests were lost", time.as_secs_f64());
    ensure(lost == 0, || format!("users lose requests: {}", site.user.story(since)))
}

/// A firewall forgets all connections of Main, over and over: new ones are dialled well within the lease.
pub(super) fn forgotten(site: &mut Site) -> Outcome {
    for _ in 0..3 {
        let since = Instant::now();
        let count = site.net().forget(MAIN)?;
        ensure(count >= 6, || format!("Main has {count} connections only"))?;
        main_serves_on(site, since, Duration::from_secs(4))?;
        println!("  {count} connections were forgotten");
    }
    site.watchdog(MAIN)?.says("because", "guarded by a majority")?;
    site.net().heal()
}

fn main_serves_through(site: &mut Site, faults: &[Fault]) -> Outcome {
    let since = Instant::now();
    faults.iter().try_for_each(|fault| site.net().fault(*fault))?;
    main_serves_on(site, since, WHILE)?;
    site.net().heal()?;
    let healed = Instant::now();
    main_serves_on(site, healed, Duration::from_secs(3))
}

pub(super) fn standby_unplugged(site: &mut Site) -> Outcome {
    main_serves_through(site, &[Fault::Unplugged(STANDBY)])
}

pub(super) fn between_nodes(site: &mut Site) -> Outcome {
    main_serves_through(site, &[Fault::Cut(MAIN, STANDBY)])
}

pub(super) fn one_way_to_standby(site: &mut Site) -> Outcome {
    main_serves_through(site, &[Fault::OneWay(MAIN, STANDBY)])
}

pub(super) fn one_way_to_main(site: &mut Site) -> Outcome {
    main_serves_through(site, &[Fault::OneWay(STANDBY, MAIN)])
}

pub(super) fn ping_dead(site: &mut Site) -> Outcome {
    main_serves_through(site, &[Fault::NoPing(MAIN), Fault::NoPing(STANDBY)])
}

/// Main sees neither Standby nor the witness, but every phone sees Main: it has to fall silent by itself.
pub(super) fn main_alone(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.net().fault(Fault::Cut(MAIN, STANDBY))?;
    site.net().fault(Fault::Cut(MAIN, Host::Edge))?;
    phases(site, STANDBY, since, Duration::from_secs(20))?;
    let last = site.watch().last_answer(MAIN, since);
    let last = last.map_or(0.0, |last| last.duration_since(since).as_secs_f64());
    println!("  Main fell silent after {last:.2} s: {}", site.watch().story(since));
    site.call(STANDBY)?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

/// Like [`main_alone`], but one direction only: Main hears everybody and nobody but phones hears Main.
pub(super) fn main_mute(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.net().fault(Fault::OneWay(MAIN, STANDBY))?;
    site.net().fault(Fault::OneWay(MAIN, Host::Edge))?;
    phases(site, STANDBY, since, Duration::from_secs(20))?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

pub(super) fn main_deaf(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.net().fault(Fault::OneWay(STANDBY, MAIN))?;
    site.net().fault(Fault::OneWay(Host::Edge, MAIN))?;
    phases(site, STANDBY, since, Duration::from_secs(20))?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

/// A lossy link of Main's for a minute: Main keeps its lease and serves on, and Standby is never heard.
pub(super) fn loss(site: &mut Site) -> Outcome {
    // The observer beside the nodes loses nothing, but a busy machine may keep it waiting. A Main that loses its lease
    // fences itself and stops Asterisk: that takes longer.
    const BLINK: Duration = Duration::from_secs(1);
    // Registrations that failed again and again are tried each 30 s at least (`retry_limit`), for some seconds each.
    const REGISTERS_AGAIN: Duration = Duration::from_secs(35);
    let before = Duty::of(site)?;
    let since = Instant::now();
    site.net().fault(Fault::Lossy(MAIN, 30))?;
    std::thread::sleep(Duration::from_secs(60));
    let after = Duty::of(site)?;
    let beside = site.watch().longest_silence_beside(MAIN, since);
    println!(
        "  Main's longest silence: {:.2} s beside it, {:.2} s for phones",
        beside.as_secs_f64(),
        site.watch().longest_silence(since).as_secs_f64()
    );
    ensure(before == after, || {
        format!("Main's duty was {before:?}, and is {after:?}: {}", site.watch().story_beside(since))
    })?;
    let standby = site.watch().first_answer(STANDBY, since).or(site.watch().fell_silent(STANDBY, since));
    ensure(standby.is_none(), || format!("Standby serves: {}", site.watch().story_beside(since)))?;
    ensure(beside <= BLINK, || format!("Main was silent for {:.2} s beside it", beside.as_secs_f64()))?;
    site.net().heal()?;
    site.serves(MAIN, BACK + REGISTERS_AGAIN)
}

/// What must not change while Main keeps its lease, by its own word.
#[derive(Debug, PartialEq)]
struct Duty {
    status: Option<Value>,
    epoch: Option<Value>,
    campaign: Option<Value>,
    /// Starts, fences and stops in its journal.
    decided: usize,
}

impl Duty {
    fn of(site: &mut Site) -> Outcome<Self> {
        let main = site.watchdog(MAIN)?;
        let status = main.status()?;
        let word = |name: &str| status.get(name).cloned();
        let duty = Self {
            status: word("status"),
            epoch: word("epoch"),
            campaign: word("campaign"),
            decided: main.journal()?.iter().filter(|entry| entry.get("kind") == Some(&Value::from("decided"))).count(),
        };
        let whole = duty.epoch.is_some() && duty.campaign.is_some() && duty.status == Some("active".into());
        ensure(whole, || format!("Main's status: {status}"))?;
        Ok(duty)
    }
}

/// The Edge is dead, and after both nodes agreed on that, Main dies: Standby serves, and says that nobody guards it.
pub(super) fn edge_then_main(site: &mut Site) -> Outcome {
    site.mean("UNGUARDED");
    // Silent for 15 s it is out; then the nodes tell each other.
    const WITNESS_OUT: Duration = Duration::from_secs(15 + 5);
    let since = Instant::now();
    site.power_off(Host::Edge)?;
    std::thread::sleep(WITNESS_OUT);
    site.watchdog(MAIN)?.says("guard", "exposed")?;
    ensure(site.watch().first_answer(STANDBY, since).is_none(), || site.watch().story(since))?;
    let since = Instant::now();
    ensure(site.watch().serving() == [true, false], || "Main does not serve without a witness".to_owned())?;
    site.power_off(MAIN)?;
    wait_for("Standby serves", Duration::from_secs(20), || {
        ensure(site.watch().serving() == [false, true], || site.watch().story(since))
    })?;
    let first = site.watch().first_answer(STANDBY, since).map_or(0.0, |at| at.duration_since(since).as_secs_f64());
    println!("  Standby serves unguarded after {first:.2} s");
    site.call(STANDBY)?;
    site.watchdog(STANDBY)?.says("guard", "unguarded")?;
    site.power_on(Host::Edge)?;
    site.power_on(MAIN)?;
    // No hold-down: the witness's vote is free, and Standby, which serves without it, gives way to whoever gets it.
    returned(site, Instant::now())
}

/// Both vanish at once: Standby cannot know that it is not the one cut off, and stays silent.
pub(super) fn edge_and_main(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.power_off(Host::Edge)?;
    site.power_off(MAIN)?;
    std::thread::sleep(Duration::from_secs(22));
    ensure(site.watch().first_answer(STANDBY, since).is_none(), || site.watch().story(since))?;
    site.watchdog(STANDBY)?.says("alarms", "neither the peer nor the witness answers")?;
    site.power_on(Host::Edge)?;
    site.power_on(MAIN)?;
    site.serves(MAIN, BACK)
}

/// Standby is down for maintenance, and the Edge restarts: Main serves on with its own vote and the witness's, then again.
pub(super) fn maintenance(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.power_off(STANDBY)?;
    std::thread::sleep(Duration::from_secs(3));
    site.edge.kill()?;
    site.edge.start()?;
    std::thread::sleep(WHILE);
    site.serves(MAIN, BACK)?;
    let silence = site.watch().longest_silence(since);
    println!("  Main's longest silence: {:.2} s", silence.as_secs_f64());
    site.power_on(STANDBY)?;
    site.serves(MAIN, BACK)
}
