//! The lab: a whole site in network namespaces with real parts, broken in every way a site breaks. `tests/lab/run` starts
//! it; needs root.

#![allow(unreachable_pub)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod alarms;
mod asterisk;
mod certs;
mod config;
mod daemon;
mod machine;
mod net;
mod outcome;
mod pace;
mod phone;
mod relay;
mod scenarios;
mod sip;
mod site;
mod turn;
mod watch;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use pace::Pace;
use scenarios::{End, SCENARIOS};
use site::Place;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for scenario in SCENARIOS {
            println!("{:<34} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    let (seeds, arguments) = match seeds(arguments) {
        Ok(both) => both,
        Err(why) => {
            eprintln!("lab: {why}");
            return ExitCode::from(2);
        }
    };
    let unknown: Vec<_> = arguments.iter().filter(|name| !SCENARIOS.iter().any(|known| known.name == **name)).collect();
    if let Some(name) = unknown.first() {
        eprintln!("lab: there is no scenario {name}; --list shows all");
        return ExitCode::from(2);
    }
    match run(&arguments, &seeds) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("lab: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Takes each `--random SEED` out of the arguments.
fn seeds(arguments: Vec<String>) -> outcome::Outcome<(Vec<u64>, Vec<String>)> {
    let (mut seeds, mut names) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--random" {
            let seed = arguments.next().unwrap_or_default();
            seeds.push(seed.parse().map_err(|_| format!("--random wants a number, not {seed:?}"))?);
        } else {
            names.push(argument);
        }
    }
    Ok((seeds, names))
}

/// Runs the scenarios with these names and random days of these seeds, or all scenarios; false: one failed.
fn run(names: &[String], seeds: &[u64]) -> outcome::Outcome<bool> {
    let place = place()?;
    let all = names.is_empty() && seeds.is_empty();
    let days: Vec<_> = seeds.iter().map(|seed| scenarios::random_day(*seed)).collect();
    let chosen = SCENARIOS.iter().filter(|scenario| all || names.iter().any(|name| name == scenario.name));
    let chosen = chosen.chain(&days);
    let start = Instant::now();
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    let mut stage = scenarios::Stage::new(place);
    for scenario in chosen {
        println!("== {}: {}", scenario.name, scenario.about);
        let begin = Instant::now();
        let end = play(scenario, &mut stage);
        let seconds = begin.elapsed().as_secs_f64();
        match end {
            End::Passed => {
                passed += 1;
                println!("passed: {} ({seconds:.1} s)", scenario.name);
            }
            End::Skipped(why) => {
                skipped += 1;
                println!("skipped: {}: {why}", scenario.name);
            }
            End::Missed(why) | End::Failed(why) => {
                failed.push(scenario.name);
                println!("FAILED: {} ({seconds:.1} s): {why}", scenario.name);
            }
        }
    }
    drop(stage);
    println!(
        "lab: {passed} passed, {skipped} skipped, {} failed in {:.0} s{}{}",
        failed.len(),
        start.elapsed().as_secs_f64(),
        if failed.is_empty() { "" } else { ": " },
        failed.join(", ")
    );
    Ok(failed.is_empty())
}

/// Plays a scenario, and once or twice again what this machine was too busy for. That two serve is never excused.
fn play(scenario: &scenarios::Scenario, stage: &mut scenarios::Stage) -> End {
    for _ in 0..2 {
        let pace = Pace::watch();
        match (scenarios::play(scenario, stage), pace.excuse()) {
            (End::Missed(why), Some(excuse)) => println!("  {why}\n  again, as {excuse}"),
            (end, _) => return end,
        }
    }
    scenarios::play(scenario, stage)
}

/// Where this run keeps its things; `tests/lab/run` says where, and takes them away.
fn place() -> outcome::Outcome<Place> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let id = variable("BASCULE_LAB_ID").and_then(|id| id.into_string().ok());
    let id = id.unwrap_or_else(|| format!("bl{}", std::process::id()));
    let cache = variable("BASCULE_LAB_CACHE").map_or_else(|| PathBuf::from("/var/cache/bascule-lab"), PathBuf::from);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let dir = variable("BASCULE_LAB_DIR")
        .map_or_else(|| std::env::temp_dir().join(format!("bascule-lab-{since}-{id}")), PathBuf::from);
    std::fs::create_dir_all(&dir).map_err(outcome::because(dir.display()))?;
    Ok(Place { id, cache, dir })
}
