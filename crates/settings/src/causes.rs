//! An error with everything that led to it, in one line.

use std::error::Error;

/// Links of a chain of causes are few; the bound keeps a looping one harmless.
const MOST: usize = 16;

/// The error's message and those of its causes. A cause that the message repeats already is not said twice.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    for _ in 0..MOST {
        let Some(cause) = next else { break };
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("metrics: cannot listen")]
    struct Hides(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start: {0}")]
    struct Repeats(#[source] Hides);

    #[test]
    fn the_systems_word_is_said_once_however_deep_it_lies() {
        let error = Repeats(Hides(io::Error::from_raw_os_error(98)));
        assert_eq!(with_causes(&error), "cannot start: metrics: cannot listen: Address already in use (os error 98)");
    }
}
