//! Voters that are not as each other thinks: other times, and a copy of a node under its name.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cuts::main_serves_on;
use super::failover::{BACK, failback, phases};
use crate::config::NODE;
use crate::net::{Fault, Host};
use crate::outcome::{Outcome, because, ensure, wait_for};
use crate::site::Site;

const MAIN: Host = Host::MainXivo;
const STANDBY: Host = Host::StandbyXivo;
const SOON: Duration = Duration::from_secs(20);

/// A lease of three seconds, which takes promises of four.
const LONGER: &str = "timing: { lease: 3s, promise: 4s, quiet: 4s }\n";
/// Who has this promises as much, and needs no more than usual.
const PATIENT: &str = "timing: { quiet: 4s }";

/// With the times of the others alone both would serve for two seconds, and call it guarded.
pub(super) fn longer_times(site: &mut Site) -> Outcome {
    site.mean("promises its own for");
    let since = Instant::now();
    site.watchdog(MAIN)?.reconfigure(|text| format!("{text}{LONGER}"))?;
    phases(site, STANDBY, since, SOON)?;
    for (host, words) in [(MAIN, "the peer promises its own for 2.5 s at most"), (STANDBY, "the peer needs a vote for")]
    {
        let watchdog = site.watchdog(host)?;
        wait_for(&format!("{} says why", host.name()), SOON, || watchdog.says("alarms", words))?;
    }
    wait_for("the Edge says why", SOON, || site.edge.says("alarms", "the edge promises its own for 2.5 s at most"))?;
    // The others are given the time to promise what Main needs, one after the other.
    let standby = Instant::now();
    site.watchdog(STANDBY)?.reconfigure(|text| format!("{text}{PATIENT}\n"))?;
    site.edge.reconfigure(|text| text.replace("/node }", &format!("/node, {PATIENT} }}")))?;
    failback(site, standby)?;
    site.watchdog(MAIN)?.says("times_differ", "the times differ")?;
    // Main is cut off from all who vote, serves on for its longer lease, and is silent before Standby begins.
    let since = Instant::now();
    site.net().fault(Fault::Cut(MAIN, STANDBY))?;
    site.net().fault(Fault::Cut(MAIN, Host::Edge))?;
    phases(site, STANDBY, since, SOON)?;
    let last = site.watch().last_answer(MAIN, since);
    let last = last.map_or(0.0, |last| last.duration_since(since).as_secs_f64());
    println!("  Main fell silent after {last:.2} s: {}", site.watch().story(since));
    ensure(last > 2.0, || format!("Main's lease of 3 s ended after {last:.2} s"))?;
    site.net().heal()?;
    for host in [MAIN, STANDBY] {
        site.watchdog(host)?.reconfigure(str::to_owned)?;
    }
    site.edge.reconfigure(str::to_owned)?;
    site.serves(MAIN, BACK + SOON)
}

/// The copy runs where Main's contact centre does, and has Main's certificate and state.
pub(super) fn restored(site: &mut Site) -> Outcome {
    let (from, to) = (site.telephony.machine(MAIN)?.clone(), site.telephony.machine(Host::MainCc)?.clone());
    let copy = to.dir.join("copy");
    let _ = fs::remove_dir_all(&copy);
    for part in ["node", "state"] {
        copy_files(&from.dir.join(part), &copy.join(part))?;
    }
    let dir = copy.display();
    let (own, peer, edge) = (to.host.address(), STANDBY.address(), Host::Edge.address());
    let text = format!(
        "role: xivo\nside: main\nname: main-xivo\nidentity: {dir}/node\nstate: {dir}/state\n\
         control: {dir}/watchdog.sock\nmetrics: off\nlisten: {own}:{NODE}\npeer: {peer}:{NODE}\nwitness: {edge}:9601\n\
         mode: automatic\nfailback: auto\nfence: none\nlegacy_failover: /nonexistent\n\
         sip: {{ address: {own}, ports: [5060], check: off }}\nservices:\n  \
         start: {{ command: [\"true\"], time_limit: 1s }}\n  stop: {{ command: [\"true\"], time_limit: 500ms }}\n  \
         check: {{ command: [\"false\"], time_limit: 300ms, interval: 1s }}\n"
    );
    let config = copy.join("watchdog.yaml");
    fs::write(&config, text).map_err(because(config.display()))?;
    site.mean("TWO MACHINES");
    let since = Instant::now();
    let binary = site.watchdog(MAIN)?.binary().to_owned();
    let arguments = [binary.as_os_str(), OsStr::new("run"), OsStr::new("--config"), config.as_os_str()];
    let mut program = to.start("copy", &arguments)?;
    main_serves_on(site, since, Duration::from_secs(9))?;
    ensure(program.runs(), || format!("the copy ended: {}", fs::read_to_string(to.log("copy")).unwrap_or_default()))?;
    site.watchdog(STANDBY)?.says("alarms", "two machines ask as the xivo node of main")?;
    site.edge.says("alarms", "two machines ask as the xivo node of main")?;
    site.edge.says("alarms", "two machines report as xivo main-xivo")?;
    program.kill()?;
    site.serves(MAIN, BACK)
}

fn copy_files(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to).map_err(because(to.display()))?;
    for entry in fs::read_dir(from).map_err(because(from.display()))?.flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(because(entry.path().display()))?;
        }
    }
    Ok(())
}
