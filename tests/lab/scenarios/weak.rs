//! A Main that cannot serve and goes on trying, beside a Standby that can: for which share of the time does somebody answer?

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::failover::{BACK, phases};
use crate::asterisk::Spoiled;
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::site::Site;

const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;
/// Of a weak Main: long enough that what it costs is small beside it, short enough that a few doublings fit a scenario.
const HOLD_DOWN: &str = "hold_down: 12s\nhold_down_limit: 5m\nretry_limit: 5s\n";
/// What somebody must answer for at least, on a busy machine; without damping it is a third.
const SERVED: f64 = 0.6;
/// At 12 s, and 24 s after that came to nothing; the third is beyond what is watched.
const TRIED: usize = 2;
/// For so long it is watched.
const WATCHED: Duration = Duration::from_secs(75);

/// Has Main hold down by the scenario's times, and Standby serve while Main comes back weak.
fn weaken(site: &mut Site, variables: Vec<String>, weak: impl FnOnce(&Site) -> Outcome) -> Outcome<Instant> {
    let main = site.watchdog(MAIN)?;
    main.reconfigure(|text| {
        let own = |line: &&str| !line.starts_with("hold_down");
        let kept: Vec<_> = text.lines().filter(own).collect();
        format!("{HOLD_DOWN}{}\n  verify_limit: 3s\n", kept.join("\n"))
    })?;
    if !variables.is_empty() {
        main.restart_with(variables)?;
    }
    site.serves(MAIN, BACK)?;
    let since = Instant::now();
    site.net().fault(Fault::BlackHole(MAIN))?;
    phases(site, STANDBY, since, Duration::from_secs(20))?;
    weak(site)?;
    site.net().heal()?;
    Ok(Instant::now())
}

/// Puts Main right, and waits until it serves: an operator says that it can.
fn strengthen(site: &mut Site) -> Outcome {
    site.asterisk(MAIN).mend();
    let main = site.watchdog(MAIN)?;
    main.restart_with(Vec::new())?;
    main.reconfigure(str::to_owned)?;
    wait_for("Main's watchdog answers", BACK, || site.watchdog(MAIN)?.status().map(drop))?;
    site.watchdog(MAIN)?.verb(&["resume", "--reason", "mended"])?;
    site.serves(MAIN, BACK + Duration::from_secs(20))
}

/// Somebody answered for this share of the time since then, at least; Standby stopped for Main so often, at most, of all
/// the times it ever did.
fn served(site: &mut Site, since: Instant, least: f64, stopped: usize, most: usize) -> Outcome {
    let stops = failbacks(site)?.saturating_sub(stopped);
    let slots = site.watch().slots(since);
    let answered = slots.iter().filter(|slot| slot.serving() != [false, false]).count();
    let share = answered as f64 / slots.len().max(1) as f64;
    let (percent, seconds) = (share * 100.0, since.elapsed().as_secs_f64());
    println!("  somebody answered in {percent:.1} % of {seconds:.0} s; Standby stopped for Main {stops} times");
    println!("  seen: {}", site.watch().story(since));
    ensure(share >= least, || format!("nobody answered in {:.1} % of the time", 100.0 - percent))?;
    ensure(stops <= most, || format!("Standby was taken down {stops} times"))
}

/// How often Standby stopped for Main, by its own journal.
fn failbacks(site: &mut Site) -> Outcome<usize> {
    let journal = site.watchdog(STANDBY)?.journal()?;
    Ok(journal.iter().filter(|entry| entry["sentence"] == "fences and stops: main is back and fit").count())
}

fn says(site: &mut Site, words: &str) -> Outcome {
    wait_for(words, BACK, || site.watchdog(MAIN)?.says("alarms", words))
}

/// Main's start says yes, and nothing answers: it is tried ever more rarely.
pub(super) fn main_start_lies(site: &mut Site) -> Outcome {
    let since = weaken(site, Vec::new(), |site| site.asterisk(MAIN).spoil(Spoiled::Lie))?;
    let stopped = failbacks(site)?;
    std::thread::sleep(WATCHED);
    served(site, since, SERVED, stopped, TRIED)?;
    says(site, "activations of this node failed (the newest: the services did not start)")?;
    let failed = site.watchdog(MAIN)?.status()?["activations"]["failed"].clone();
    // What failed is known to the next watchdog, too.
    site.watchdog(MAIN)?.kill()?;
    site.watchdog(MAIN)?.start()?;
    wait_for("a restart forgets nothing", BACK, || {
        let now = site.watchdog(MAIN)?.status()?["activations"]["failed"].clone();
        ensure(now == failed, || format!("{failed} failed activations became {now}"))
    })?;
    strengthen(site)
}

/// Main starts well, and its Asterisk dies two seconds later, each time.
pub(super) fn main_dies_soon(site: &mut Site) -> Outcome {
    const SOON: Duration = Duration::from_secs(2);
    let since = weaken(site, Vec::new(), |_| Ok(()))?;
    let stopped = failbacks(site)?;
    while since.elapsed() < WATCHED {
        std::thread::sleep(Duration::from_millis(250));
        let begun = site.watch().serving()[0] && site.watchdog(MAIN)?.status()?["status"] == "active";
        if begun {
            std::thread::sleep(SOON);
            site.asterisk(MAIN).kill()?;
            std::thread::sleep(SOON);
        }
    }
    served(site, since, SERVED, stopped, TRIED)?;
    wait_for("Standby serves", BACK, || ensure(site.watch().serving()[1], || "it does not".to_owned()))?;
    says(site, "activations of this node failed (the newest: telephony is dead)")?;
    strengthen(site)
}

/// A disk that can be made slow.
#[derive(Debug, Clone)]
pub(super) struct SlowDisk {
    /// Says how many milliseconds each sync takes longer.
    delay: std::path::PathBuf,
    /// What its watchdog has in its environment.
    pub(super) variables: Vec<String>,
}

impl SlowDisk {
    /// Of a machine whose watchdog has yet to be started with these variables.
    pub(super) fn of(site: &Site, host: Host) -> Outcome<Self> {
        let dir = site.telephony.machine(host)?.dir.clone();
        let (library, delay) = (dir.join("slow-sync.so"), dir.join("slow-sync"));
        compile(&library)?;
        let variables = vec![format!("LD_PRELOAD={}", library.display()), format!("SLOW_SYNC={}", delay.display())];
        Ok(Self { delay, variables })
    }

    pub(super) fn slow(&self, by: Duration) -> Outcome {
        std::fs::write(&self.delay, by.as_millis().to_string()).map_err(because(self.delay.display()))
    }

    pub(super) fn well(&self) {
        let _ = std::fs::remove_file(&self.delay);
    }
}

/// A sync of Main's disk takes 0.9 s: it asks for nothing while Standby serves, says why, and comes back when it is well.
pub(super) fn main_slow_disk(site: &mut Site) -> Outcome {
    let disk = SlowDisk::of(site, MAIN)?;
    let since = weaken(site, disk.variables.clone(), |_| disk.slow(Duration::from_millis(900)))?;
    let stopped = failbacks(site)?;
    std::thread::sleep(Duration::from_secs(30));
    served(site, since, 0.95, stopped, 0)?;
    says(site, "the disk is too slow")?;
    let fit = site.watchdog(MAIN)?.status()?["fit"].clone();
    ensure(fit == false, || format!("fit: {fit}"))?;
    let well = Instant::now();
    disk.well();
    // Three writes, ten seconds from one to the next, and the hold-down, which doubles with what failed.
    site.serves(MAIN, Duration::from_secs(120))?;
    println!("  Main serves {:.1} s after its disk is well", well.elapsed().as_secs_f64());
    strengthen(site)
}

/// Whether this machine can make what slows a disk.
pub(crate) fn compiler() -> bool {
    Command::new("cc").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn compile(library: &Path) -> Outcome {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/slow-sync.c");
    let arguments = ["-shared", "-fPIC", "-O1", "-o"];
    let status = Command::new("cc").args(arguments).arg(library).args([source, "-ldl"]).status();
    let status = status.map_err(because("cc"))?;
    ensure(status.success(), || format!("cc: {status}"))
}
