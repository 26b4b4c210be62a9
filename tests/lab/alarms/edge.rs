//! What the Edge tells people of a site, and shows in the end: its own alarms are true by what the observers saw and the lab
//! did, those of nodes are what the nodes themselves show, all of them.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use daemon::alike;
use serde_json::Value;

use super::{GONE, REMOVED, TWO_ARE_TOLD, is_true};
use crate::net::Host;
use crate::outcome::{Outcome, ensure, wait_for};
use crate::site::{Site, WATCHED};
use crate::watch::NODES;

/// Who knows whether an alarm is true that the Edge tells for itself, or for a node that is no XiVO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Both XiVO were heard at one time.
    BothHeard,
    /// Both were registered with the media server at one time.
    BothRegistered,
    /// The lab did something to a contact centre or its XiVO.
    Disturbed,
    /// The scenario brings it about, and says so: see [`Site::mean`].
    Meant,
}

/// All there are, as in [`super::KNOWN`].
const KNOWN: [(&str, Proof); 16] = [
    ("TWO ACTIVES: both", Proof::BothHeard),
    ("CONFLICT", Proof::BothRegistered),
    ("has been out of sight", Proof::Disturbed),
    ("TWO MACHINES", Proof::Meant),
    ("XiVO nodes report for", Proof::Meant),
    ("UNGUARDED", Proof::Meant),
    ("promises its own for", Proof::Meant),
    ("nobody is granted the vote", Proof::Meant),
    ("the vote cannot be", Proof::Meant),
    ("speaks another version", Proof::Meant),
    ("does not load", Proof::Meant),
    ("cannot be carried", Proof::Meant),
    ("EXPIRED", Proof::Meant),
    ("expires in", Proof::Meant),
    ("is gone, though this Edge has served", Proof::Meant),
    ("it is kept as", Proof::Meant),
];

/// How far the Edge's journal was when a scenario began.
pub(super) struct Before {
    lines: usize,
}

impl Before {
    pub(super) fn of(site: &Site) -> Outcome<Self> {
        Ok(Self { lines: journal(site)?.len() })
    }

    /// Fails when an alarm told since then was false, one that is shown in the end is, or one is missing.
    pub(super) fn judge(&self, site: &mut Site, since: Instant) -> Outcome {
        let journal = journal(site)?;
        let before = if self.lines <= journal.len() { self.lines } else { 0 };
        let told: Vec<String> = journal.iter().skip(before).filter_map(|line| alarm(line)).collect();
        for alarm in &told {
            told_is_true(site, alarm, since)?;
        }
        if !told.is_empty() {
            println!("  the Edge told {} alarms, each of them true", told.len());
        }
        let edge = Host::Edge;
        let undisturbed = |site: &Site, host| site.disturbed(host).is_none_or(|at| at < since);
        let all_undisturbed = undisturbed(site, edge) && NODES.iter().all(|host| undisturbed(site, *host));
        let both = site.watch().longest_both(since);
        ensure(
            both < TWO_ARE_TOLD || !all_undisturbed || told.iter().any(|alarm| alarm.starts_with("TWO ACTIVES")),
            || format!("both nodes answered for {:.1} s, and the Edge does not tell it", both.as_secs_f64()),
        )?;
        shown_is_true(site)
    }
}

/// The node of which an alarm of the Edge's is, and the node's own words.
fn of_node(alarm: &str) -> Option<(Host, &str)> {
    WATCHED.into_iter().find_map(|host| {
        let role = match host {
            Host::MainXivo | Host::StandbyXivo => "xivo",
            Host::MainCc | Host::StandbyCc => "cc",
            _ => "mds",
        };
        let side = crate::config::side(host).map_or(String::new(), |side| format!(" of {side}"));
        let words = alarm.strip_prefix(&format!("{role} {}{side}: ", host.name()))?;
        Some((host, words))
    })
}

fn told_is_true(site: &Site, alarm: &str, since: Instant) -> Outcome {
    if site.meant.iter().any(|words| alarm.contains(words)) {
        return Ok(());
    }
    if let Some((host, words)) = of_node(alarm)
        && NODES.contains(&host)
    {
        // What was told before an Edge began, or was cut off, is told again by the next report.
        let earlier = Instant::now().checked_sub(REMOVED).unwrap_or(since);
        return is_true(site, host, words, earlier.min(since)).map_err(|why| format!("the Edge tells {why}"));
    }
    let proof = KNOWN.iter().find(|(words, _)| alarm.contains(words)).map(|(_, proof)| *proof);
    let holds = match proof {
        None => return Err(format!("an alarm of the Edge's that this lab does not know: {alarm}")),
        Some(Proof::BothHeard) => !site.watch().longest_both(since).is_zero(),
        Some(Proof::BothRegistered) => site.watch().were_registered(&NODES, since),
        Some(Proof::Disturbed) => {
            let of = of_node(alarm).map(|(host, _)| host);
            let xivo = if of == Some(Host::StandbyCc) { Host::StandbyXivo } else { Host::MainXivo };
            let lately = |host| site.disturbed(host).is_some_and(|at| at.elapsed() < since.elapsed() + GONE);
            of.into_iter().chain([xivo]).any(lately)
        }
        Some(Proof::Meant) => false,
    };
    ensure(holds, || format!("a false alarm of the Edge's: {alarm}"))
}

/// When the site is whole again the Edge shows what its nodes show, all of it, and nothing of its own.
fn shown_is_true(site: &mut Site) -> Outcome {
    if !site.edge.runs() {
        return Ok(());
    }
    wait_for("the Edge shows what is true", GONE, || {
        let status = site.edge.status()?;
        let shown = strings(&status, "alarms");
        let mut own = Vec::new();
        for host in WATCHED {
            if site.watchdog(host)?.runs() {
                own.extend(strings(&site.watchdog(host)?.status()?, "alarms").into_iter().map(|alarm| (host, alarm)));
            }
        }
        let is_shown = |host: Host, words: &str| own.iter().any(|(of, said)| *of == host && alike(said, words));
        for alarm in &shown {
            let holds = of_node(alarm).is_some_and(|(host, words)| is_shown(host, words));
            ensure(holds, || format!("the Edge still shows: {alarm}"))?;
        }
        for (host, said) in &own {
            let told = |alarm: &String| of_node(alarm).is_some_and(|(of, words)| of == *host && alike(words, said));
            ensure(shown.iter().any(told), || format!("the Edge does not show what {} does: {said}", host.name()))?;
        }
        for (part, calm) in
            [("frozen", Value::Null), ("doubt", Value::Null), ("damped", false.into()), ("persisted", true.into())]
        {
            ensure(status[part] == calm, || format!("the Edge still shows {part}: {}", status[part]))?;
        }
        Ok(())
    })
}

fn strings(status: &Value, part: &str) -> Vec<String> {
    let all = status.get(part).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The lines of the Edge's journal, oldest first. From the disk: it may be dead.
fn journal(site: &Site) -> Outcome<Vec<String>> {
    let path: PathBuf = site.telephony.machine(Host::Edge)?.dir.join("state/journal.jsonl");
    Ok(fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect())
}

fn alarm(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    (entry.get("event")? == "alarm").then(|| entry.get("sentence")?.as_str().map(str::to_owned))?
}
