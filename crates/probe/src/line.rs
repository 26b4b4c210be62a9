//! One bounded, printable line made of whatever a peer or a library had to say.

use std::fmt::{self, Display, Write};

/// Long enough for two names and a key, short enough for a log line and a table.
const MOST_BYTES: usize = 240;

/// Formats `what` as one printable line of at most 240 bytes; control and direction-changing characters become `?`.
pub(crate) fn line(what: impl Display) -> String {
    let mut line = Line(String::new());
    match write!(line, "{what}") {
        Ok(()) => line.0,
        Err(fmt::Error) => line.0 + "…",
    }
}

struct Line(String);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let character = if is_printable(character) { character } else { '?' };
            // Stopping the formatter here also stops it from rendering the megabyte that may follow.
            if self.0.len() + character.len_utf8() > MOST_BYTES - '…'.len_utf8() {
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}

fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_kept_as_it_is() {
        assert_eq!(line("HTTP 503, français"), "HTTP 503, français");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let cut = line("é".repeat(1_000_000));
        assert!(cut.len() <= MOST_BYTES && cut.ends_with("é…"), "{cut}");
    }

    #[test]
    fn line_breaks_escapes_and_hidden_characters_are_replaced() {
        assert_eq!(line("a\r\nb\u{1b}[31m\u{202e}c\0"), "a??b?[31m?c?");
    }
}
