//! Quiet alarms: what the XiVO nodes and the Edge tell people, and show in the end, is compared with what the observers saw
//! and the lab did. Each alarm is true, and none is missing.

mod edge;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::net::Host;
use crate::outcome::{Outcome, ensure, wait_for};
use crate::site::Site;
use crate::watch::{NODES, SLOT};

/// Two that answer for so long are told: each hears of the other with the next heartbeat.
const TWO_ARE_TOLD: Duration = Duration::from_secs(6);
/// So long after somebody removed a fence an alarm still says so, and so long after the other was heard that two serve.
const REMOVED: Duration = Duration::from_secs(600);
const TWO_ARE_SHOWN: Duration = Duration::from_secs(60);
/// A watchdog looks each second; and a busy machine.
const LOOKED_AT: Duration = Duration::from_secs(4);
/// Nobody serves for so long, and nobody who lives tells anything: that would be the worst of all.
const NOBODY_IS_TOLD: Duration = Duration::from_secs(20);
/// A node that says it is dead, alone or does not start is not heard for longer.
const SILENT: Duration = Duration::from_secs(1);
/// What is over is shown no longer than this.
const GONE: Duration = Duration::from_secs(20);

/// Who knows whether an alarm is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Both nodes were heard at one time.
    BothHeard,
    /// The lab changed this node's table.
    Touched,
    /// Nobody beside the node heard it for a while.
    Silence,
    /// The scenario brings it about, and says so: see [`Site::mean`].
    Meant,
    /// Nobody but the node: how long its own disk and programs took.
    Itself,
}

/// Every alarm there is, by words of its own; the first that fits counts. One that is not here is an error: it would be
/// compared with nothing.
const KNOWN: [(&str, Proof); 36] = [
    ("TWO ACTIVES", Proof::BothHeard),
    ("removes it", Proof::Touched),
    ("removes the fence", Proof::Touched),
    ("this node does not serve", Proof::Silence),
    ("does not start", Proof::Silence),
    ("of this node failed", Proof::Silence),
    ("telephony is dead", Proof::Silence),
    ("telephony died", Proof::Silence),
    ("the stop could not be verified", Proof::Meant),
    ("TWO MACHINES", Proof::Meant),
    ("until it has this node's version", Proof::Meant),
    ("promises its own for", Proof::Meant),
    ("cannot be written", Proof::Meant),
    ("has not been written for", Proof::Meant),
    ("UNGUARDED", Proof::Meant),
    ("somebody else started the services", Proof::Meant),
    ("stopped from outside", Proof::Meant),
    ("EXPIRED", Proof::Meant),
    ("expires in", Proof::Meant),
    ("the certificate", Proof::Meant),
    ("leaves ports", Proof::Meant),
    ("own failover", Proof::Meant),
    ("replication", Proof::Meant),
    ("the check of fitness", Proof::Meant),
    ("without the kernel's fence", Proof::Meant),
    ("the disk is too slow", Proof::Itself),
    ("the state is not on the disk", Proof::Itself),
    ("HARD FENCE", Proof::Itself),
    ("the fence takes permits", Proof::Itself),
    ("the fence does not work", Proof::Itself),
    ("the fence was told to", Proof::Itself),
    ("cannot let phones in", Proof::Itself),
    ("cannot close the", Proof::Itself),
    ("cannot read the fence", Proof::Itself),
    ("cannot install the fence", Proof::Itself),
    ("cannot use the last resort", Proof::Itself),
];

fn proof(alarm: &str) -> Option<Proof> {
    KNOWN.iter().find(|(words, _)| alarm.contains(words)).map(|(_, proof)| *proof)
}

/// How far the journals were when a scenario began.
pub(crate) struct Before {
    lines: BTreeMap<Host, usize>,
    starts: BTreeMap<Host, usize>,
    edge: edge::Before,
}

impl Before {
    pub(crate) fn of(site: &mut Site) -> Outcome<Self> {
        site.meant.clear();
        let lines = |host: Host| -> Outcome<(Host, usize)> { Ok((host, journal(site, host)?.len())) };
        let lines = NODES.map(lines).into_iter().collect::<Outcome<_>>()?;
        let starts = NODES.map(|host| (host, site.asterisk(host).failed_starts())).into();
        Ok(Self { lines, starts, edge: edge::Before::of(site)? })
    }

    /// Fails when an alarm told since then was false, one that is shown is not true any more, or one is missing.
    pub(crate) fn judge(&self, site: &mut Site, since: Instant) -> Outcome {
        let told = self.told(site)?;
        for (host, alarms) in &told {
            alarms.iter().try_for_each(|alarm| is_true(site, *host, alarm, since))?;
        }
        let count: usize = told.values().map(Vec::len).sum();
        if count > 0 {
            println!("  {count} alarms were told, each of them true");
        }
        let says = |words: &str| told.values().flatten().any(|alarm| alarm.contains(words));
        let both = site.watch().longest_both(since);
        ensure(both < TWO_ARE_TOLD || says("TWO ACTIVES"), || {
            format!("both nodes answered for {:.1} s, and no alarm tells it", both.as_secs_f64())
        })?;
        let silence = site.watch().longest_silence(since);
        ensure(silence < NOBODY_IS_TOLD || told.values().any(|alarms| !alarms.is_empty()), || {
            format!("nobody served for {:.1} s, and no alarm tells anything", silence.as_secs_f64())
        })?;
        self.failed_starts_are_told(site, &told, since)?;
        fences_are_told(site, since)?;
        shown_are_true(site, since)?;
        self.edge.judge(site, since)
    }

    /// The alarms that each node told since then.
    fn told(&self, site: &Site) -> Outcome<BTreeMap<Host, Vec<String>>> {
        let of = |host: Host| -> Outcome<(Host, Vec<String>)> {
            let journal = journal(site, host)?;
            let before = self.lines.get(&host).copied().filter(|before| *before <= journal.len()).unwrap_or(0);
            Ok((host, journal.iter().skip(before).filter_map(|line| alarm(line)).collect()))
        };
        NODES.map(of).into_iter().collect()
    }

    /// A start that failed under a watchdog that goes on is told of, at that node.
    fn failed_starts_are_told(&self, site: &mut Site, told: &BTreeMap<Host, Vec<String>>, since: Instant) -> Outcome {
        for host in NODES {
            let failed = site.asterisk(host).failed_starts() > self.starts.get(&host).copied().unwrap_or(0);
            let daemon = site.watchdog(host)?;
            if !failed || !daemon.runs() || daemon.started() > since {
                continue;
            }
            let says = told.get(&host).into_iter().flatten().any(|alarm| alarm.contains("does not start"));
            ensure(says, || format!("a start failed on {}, and no alarm tells it", host.name()))?;
        }
        Ok(())
    }
}

fn is_true(site: &Site, host: Host, alarm: &str, since: Instant) -> Outcome {
    let holds = match proof(alarm) {
        None => return Err(format!("an alarm of {} that this lab does not know: {alarm}", host.name())),
        Some(Proof::BothHeard) => !site.watch().longest_both(since).is_zero(),
        Some(Proof::Touched) => site.touches(host).any(|at| at.elapsed() < REMOVED),
        Some(Proof::Silence) => site.watch().longest_silence_beside(host, since) > SILENT,
        Some(Proof::Meant) => site.meant.iter().any(|words| alarm.contains(words)),
        Some(Proof::Itself) => true,
    };
    ensure(holds, || format!("a false alarm of {}: {alarm}", host.name()))
}

/// When the site is whole again, nothing is shown any more but what lasts.
fn shown_are_true(site: &mut Site, since: Instant) -> Outcome {
    let earlier = |time: Duration| Instant::now().checked_sub(time).unwrap_or(since);
    for host in NODES {
        if !site.watchdog(host)?.runs() {
            continue;
        }
        wait_for("alarms that are shown are true", GONE, || {
            for alarm in shown(site, host)? {
                match proof(&alarm) {
                    // It may be left from the scenario before.
                    Some(Proof::BothHeard) => is_true(site, host, &alarm, earlier(TWO_ARE_SHOWN + GONE))?,
                    Some(Proof::Silence) => is_true(site, host, &alarm, earlier(REMOVED))?,
                    Some(Proof::Meant) => return Err(format!("{} still shows: {alarm}", host.name())),
                    None | Some(Proof::Touched | Proof::Itself) => is_true(site, host, &alarm, since)?,
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn shown(site: &mut Site, host: Host) -> Outcome<Vec<String>> {
    let status = site.watchdog(host)?.status()?;
    let alarms = status.get("alarms").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(alarms.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Whoever removed a fence under a watchdog that goes on is told of, at that node.
fn fences_are_told(site: &mut Site, since: Instant) -> Outcome {
    let removed: Vec<_> = site.removed.iter().filter(|(_, at)| *at >= since).copied().collect();
    for (host, at) in removed {
        let daemon = site.watchdog(host)?;
        // One that was started anew knows nothing of it.
        if !daemon.runs() || daemon.started() > at || at.elapsed() < LOOKED_AT {
            continue;
        }
        daemon.says("alarms", "removes the fence")?;
    }
    Ok(())
}

/// The lines of a node's journal, oldest first. From the disk: its watchdog may be dead.
fn journal(site: &Site, host: Host) -> Outcome<Vec<String>> {
    let path: PathBuf = site.telephony.machine(host)?.dir.join("state/watchdog.journal.jsonl");
    let text = fs::read_to_string(path).unwrap_or_default();
    Ok(text.lines().map(str::to_owned).collect())
}

fn alarm(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    (entry.get("kind")? == "alarm").then(|| entry.get("sentence")?.as_str().map(str::to_owned))?
}

/// Longest time in which both nodes answered in every slot.
pub(crate) fn longest_run(slots: impl Iterator<Item = bool>) -> Duration {
    let (mut run, mut longest) = (0, 0);
    for both in slots {
        run = if both { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    SLOT * longest
}
