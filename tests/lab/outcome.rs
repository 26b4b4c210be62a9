//! How something in the lab ends: well, or with a sentence that says why not.

use std::fmt::Display;
use std::time::{Duration, Instant};

pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Makes a sentence of an error: what it was about, and the error.
pub(crate) fn because<E: Display>(what: impl Display) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

/// Fails with a sentence unless it holds.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Asks again and again until the answer is good; fails with the last answer's complaint when the time is over.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    const PAUSE: Duration = Duration::from_millis(25);
    let start = Instant::now();
    loop {
        match ask() {
            Ok(value) => return Ok(value),
            Err(why) if start.elapsed() >= limit => {
                return Err(format!("{what}: not within {:.1} s: {why}", limit.as_secs_f64()));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
