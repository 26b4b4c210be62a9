//! The lab's own parts, before anything is built on them: Asterisk, calls, faults, and observers that see.

use std::time::{Duration, Instant};

use super::Stage;
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, ensure, wait_for};
use crate::sip::Call;
use crate::site::{Telephony, call};

const SOON: Duration = Duration::from_secs(5);

pub(super) fn parts(stage: &mut Stage) -> Outcome {
    let start = Instant::now();
    let site = Telephony::up(&stage.place("parts")?)?;
    println!("  network and media server up in {:.2} s", start.elapsed().as_secs_f64());
    ensure(!site.main.runs(), || "Main's status says running before it is started".to_owned())?;

    let start = Instant::now();
    site.main.start()?;
    println!("  Main's Asterisk up in {:.2} s", start.elapsed().as_secs_f64());
    wait_for("Main answers", SOON, || ensure(site.watch.serving() == [true, false], || site.watch.story(start)))?;
    wait_for("Main registered at mds1", SOON, || {
        let seen = site.watch.registered();
        ensure(seen == [Host::MainXivo.address()], || format!("{seen:?}"))
    })?;
    let call = call(&site, Host::MainXivo)?;
    println!("  echo test on Main: answered in {:.0} ms, {} packets heard", milliseconds(call), call.echoed);

    for fault in [
        Fault::Unplugged(Host::MainXivo),
        Fault::BlackHole(Host::MainXivo),
        Fault::OneWay(Host::MainXivo, Host::Phone),
        Fault::OneWay(Host::Phone, Host::MainXivo),
        Fault::Cut(Host::Phone, Host::MainXivo),
    ] {
        site.net.fault(fault)?;
        wait_for(&format!("{fault:?} is seen"), SOON, || {
            ensure(site.watch.serving() == [false, false], || site.watch.story(start))
        })?;
        site.net.heal()?;
        wait_for(&format!("{fault:?} is healed"), SOON, || {
            ensure(site.watch.serving() == [true, false], || site.watch.story(start))
        })?;
    }
    for (fault, alive) in [(Fault::NoPing(Host::MainXivo), false), (Fault::Lossy(Host::Mds1, 99), true)] {
        site.net.fault(fault)?;
        let ping = ["ping", "-n", "-c1", "-W1", "10.77.0.11"];
        let answered = site.machine(Host::StandbyXivo)?.run(&ping, SOON)?.status.success();
        site.net.heal()?;
        ensure(answered == alive, || format!("{fault:?}: ping answered: {answered}"))?;
    }

    // Two at once is what nobody may do: the observers have to see it.
    let both = Instant::now();
    site.standby.start()?;
    wait_for("both serve", SOON, || ensure(site.watch.serving() == [true, true], || site.watch.story(start)))?;
    wait_for("Standby took the registration", SOON, || {
        let seen = site.watch.registered();
        ensure(seen == [Host::StandbyXivo.address()], || format!("{seen:?}"))
    })?;
    ensure(site.watch.never_two_serving(both).is_err(), || "two serve, and the checker does not see it".to_owned())?;

    site.main.kill()?;
    wait_for("a killed Main is silent", SOON, || {
        ensure(site.watch.serving() == [false, true], || site.watch.story(start))
    })?;
    ensure(!site.main.runs(), || "the status of a killed Main says running".to_owned())?;
    site.standby.stop()?;
    site.main.start()?;
    wait_for("Main is back", SOON, || ensure(site.watch.serving() == [true, false], || site.watch.story(start)))?;
    site.machine(Host::MainXivo)?.power_off()?;
    wait_for("power is off", SOON, || ensure(site.watch.serving() == [false, false], || site.watch.story(start)))?;
    site.net.heal()?;
    site.main.start()?;
    wait_for("Main has booted", SOON, || ensure(site.watch.serving() == [true, false], || site.watch.story(start)))?;
    println!("  seen: {}", site.watch.story(start));
    Ok(())
}

fn milliseconds(call: Call) -> f64 {
    call.answered_after.as_secs_f64() * 1000.0
}
