//! What people do to a site: freezing, upgrades, reboots, and a contact centre that takes its time.

use std::time::{Duration, Instant};

use super::cuts::main_serves_on;
use super::failover::{BACK, failback, phases};
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::site::Site;

const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;

/// A frozen Standby does not start by itself; let go, it does.
pub(super) fn frozen(site: &mut Site) -> Outcome {
    site.watchdog(STANDBY)?.verb(&["freeze", "--reason", "lab"])?;
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    std::thread::sleep(Duration::from_secs(8));
    let answered = site.watch().first_answer(STANDBY, since);
    let let_go = Instant::now();
    site.watchdog(STANDBY)?.verb(&["resume", "--reason", "lab"])?;
    ensure(answered.is_none(), || format!("a frozen node starts: {}", site.watch().story(since)))?;
    phases(site, STANDBY, let_go, Duration::from_secs(20))?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}

/// An operator insists on Standby while Main serves: both do, unguarded and loudly, until the operator lets go.
pub(super) fn forced(site: &mut Site) -> Outcome {
    site.mean("UNGUARDED");
    let begin = Instant::now();
    let said = site.watchdog(STANDBY)?.verb(&["activate", "--force", "--reason", "lab"])?;
    println!("  {}", said.trim());
    let played = both_serve(site);
    let told = played.and_then(|()| two_actives(site));
    let ended = Instant::now();
    let stopped = site.watchdog(STANDBY)?.verb(&["deactivate", "--reason", "lab"]).and_then(|_| {
        wait_for("Standby is silent", BACK, || {
            ensure(!site.watch().serving()[1], || site.watch().story(ended))?;
            site.watchdog(STANDBY)?.says("status", "inactive")
        })
    });
    site.telephony.watch.allow_two(begin, Instant::now());
    told.and(stopped)?;
    println!("  Standby stopped after {:.2} s: {}", ended.elapsed().as_secs_f64(), site.watch().story(begin));
    site.watchdog(STANDBY)?.verb(&["resume", "--reason", "lab"])?;
    let since = Instant::now();
    site.serves(MAIN, BACK)?;
    main_serves_on(site, since.max(Instant::now()), Duration::from_secs(3))?;
    wait_for("the Edge sees one active", BACK, || {
        let status = site.edge.status()?.to_string();
        ensure(!status.contains("UNGUARDED") && !status.contains("TWO ACTIVES: both"), || status)
    })
}

fn both_serve(site: &mut Site) -> Outcome {
    wait_for("both serve", Duration::from_secs(10), || {
        ensure(site.watch().serving() == [true, true], || format!("(main, standby): {:?}", site.watch().serving()))
    })
}

/// Each node and the Edge say so, and go on saying so.
fn two_actives(site: &mut Site) -> Outcome {
    const SOON: Duration = Duration::from_secs(5);
    for host in [MAIN, STANDBY] {
        wait_for("two actives", SOON, || {
            site.watchdog(host)?.says("status", "active")?;
            site.watchdog(host)?.says("alarms", "two actives")
        })?;
    }
    site.watchdog(STANDBY)?.says("guard", "unguarded")?;
    wait_for("the Edge's alarms", SOON, || {
        site.edge.says("alarms", "two actives: both")?;
        site.edge.says("alarms", "unguarded: ")
    })?;
    ensure(site.watch().serving() == [true, true], || "one of them stopped by itself".to_owned())
}

/// A new version: the old watchdog hands over to the next, and telephony is not touched.
pub(super) fn upgrade(site: &mut Site) -> Outcome {
    let since = Instant::now();
    site.watchdog(MAIN)?.restart_with(Vec::new())?;
    main_serves_on(site, since, Duration::from_secs(8))
}

/// The whole site loses power, and boots in whatever order.
pub(super) fn power_cut(site: &mut Site) -> Outcome {
    let all = [MAIN, STANDBY, Host::Edge];
    all.iter().try_for_each(|host| site.power_off(*host))?;
    wait_for("everything is dark", BACK, || {
        ensure(site.watch().serving() == [false, false], || "somebody answers".to_owned())
    })?;
    let since = Instant::now();
    for host in [STANDBY, Host::Edge, MAIN] {
        site.power_on(host)?;
    }
    // Standby may be the first to get its votes; in the end it is Main that serves.
    site.serves(MAIN, BACK + Duration::from_secs(15))?;
    println!("  seen: {}", site.watch().story(since));
    Ok(())
}

/// A media server is replaced, and knows nobody: the node that serves registers with it again.
pub(super) fn mds_replaced(site: &mut Site) -> Outcome {
    // Registrations are refreshed every 15 s; the media server boots meanwhile.
    const REGISTERED: Duration = Duration::from_secs(30);
    site.power_off(Host::Mds1)?;
    // Contacts are kept on its disk: a boot alone forgets nobody.
    let contacts = site.telephony.machine(Host::Mds1)?.dir.join("asterisk/var/astdb.sqlite3");
    std::fs::remove_file(&contacts).map_err(because(contacts.display()))?;
    let booted = Instant::now();
    site.power_on(Host::Mds1)?;
    wait_for("Main is registered with the new media server", REGISTERED, || {
        ensure(site.watch().first_registered(MAIN, booted).is_some(), || format!("{:?}", site.watch().registered()))
    })?;
    let at = site.watch().first_registered(MAIN, booted).map_or(0.0, |at| at.duration_since(booted).as_secs_f64());
    println!("  registered {at:.2} s after the boot");
    site.serves(MAIN, BACK)
}

/// Standby's contact centre takes three seconds to start: users see the waiting page, then Standby, and nothing half-started.
pub(super) fn slow_contact_centre(site: &mut Site) -> Outcome {
    let delay = site.telephony.machine(Host::StandbyCc)?.dir.join("run/cc-delay");
    std::fs::write(&delay, "3").map_err(because(delay.display()))?;
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    let switched = phases(site, STANDBY, since, Duration::from_secs(20));
    let _ = std::fs::remove_file(&delay);
    switched?;
    println!("  users: {}", site.user.story(since));
    let strange = site.user.requests(since).into_iter().find(|request| match &request.answer {
        Ok(side) => side != "main" && side != "standby",
        Err(why) => why != "status 503",
    });
    ensure(strange.is_none(), || format!("a user got {:?}", strange.map(|request| request.answer)))?;
    let healed = Instant::now();
    site.net().heal()?;
    failback(site, healed)
}
