//! Makes one bounded, printable line of whatever a command said.

/// Long enough for a sentence and a path, short enough for a journal.
const MOST_BYTES: usize = 240;

/// Returns `text` as one printable line of at most 240 bytes; control characters become spaces.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.trim().chars() {
        if line.len() + character.len_utf8() > MOST_BYTES - '…'.len_utf8() {
            line.push('…');
            break;
        }
        // Characters of no width, and those that turn the direction, would have a terminal show something else than the
        // line says.
        let hidden = matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        );
        line.push(if character.is_control() || hidden { ' ' } else { character });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_bounded_and_holds_no_control_characters() {
        assert_eq!(one_line(" a\tb\u{1b}[31m\u{202e}c\n"), "a b [31m c");
        let cut = one_line(&"é".repeat(1000));
        assert!(cut.len() <= MOST_BYTES && cut.ends_with("é…"), "{cut}");
    }
}
