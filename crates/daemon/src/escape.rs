//! Text from outside, made fit for a line: nothing in it can end the line, move a cursor or turn the reading order.

use std::borrow::Cow;

/// The same text with what cannot be seen written out (`\u{1b}`).
pub fn visible(text: &str) -> Cow<'_, str> {
    escape(text, is_hidden)
}

/// The same as one word: blanks and quotes are written out too.
pub fn word(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_hidden(c) || c.is_whitespace() || c == '"' || c == '\\')
}

fn escape(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    // Of ASCII nothing but control characters, the blank and quotes is ever hidden: most text needs no closer look.
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) || !text.chars().any(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match hidden(c) {
            true => seen.extend(c.escape_unicode()),
            false => seen.push(c),
        }
    }
    Cow::Owned(seen)
}

/// Control characters, line and paragraph separators, and what turns the reading order (Unicode TR 9) or has no width.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{visible, word};

    #[test]
    fn nothing_ends_the_line_or_moves_a_cursor() {
        let hostile = "a\r\n2026-01-01 root did it\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{7f}";
        let seen = visible(hostile);
        assert_eq!(seen, "a\\u{d}\\u{a}2026-01-01 root did it\\u{1b}[2J\\u{9b}31m\\u{202e}\\u{2028}\\u{7f}");
        assert_eq!(visible("réunion à 9 h"), "réunion à 9 h");
        assert_eq!(word("a b\"c"), "a\\u{20}b\\u{22}c");
    }
}
