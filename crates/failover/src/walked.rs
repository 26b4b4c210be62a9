//! What the walks tell of themselves: on the terminal and, as cargo hides what passing tests print, in a report
//! (`BASCULE_WALK_REPORT`, added up by scripts/walked).

use core::fmt::Display;
use core::time::Duration;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Tells that a promise holds in so many states.
pub(crate) fn states(promise: &str, count: usize, took: Duration, what: &str) {
    std::println!("{promise} holds in {count} states, {took:.1?}: {what}");
    note(&std::format!("states\t{promise}\t{count}\t{:.1}\t{what}\n", took.as_secs_f64()));
}

/// Tells that a promise came true from so many worlds.
pub(crate) fn worlds(promise: &str, count: usize, took: Duration, what: &str) {
    std::println!("{promise} comes true from {count} worlds, {took:.1?}: {what}");
    note(&std::format!("worlds\t{promise}\t{count}\t{:.1}\t{what}\n", took.as_secs_f64()));
}

/// Tells whether a mistake that was made breaks a promise, as it must.
pub(crate) fn mistake(name: impl Display, caught: bool, how: impl Display) {
    let verdict = if caught { "caught" } else { "missed" };
    std::println!("{verdict}: {name}: {how}");
    note(&std::format!("mistake\t{name}\t{verdict}\t\t{how}\n"));
    assert!(caught, "{name} is not caught: {how}");
}

/// One write for a line: tests run beside each other.
fn note(line: &str) {
    let Ok(path) = std::env::var("BASCULE_WALK_REPORT") else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap_or_else(|error| panic!("{path}: {error}"));
}
