//! What is told beside the draft: where something stands in the old files, and why it is not in the new one.

use std::fmt;

/// A line of an old file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", printable(&self.file), self.line)
    }
}

/// Something of the old files that is not in the new one, or is there otherwise than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub origin: Origin,
    /// A variable or a directive, by name alone: its value may be a secret.
    pub subject: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Note {
    pub(crate) fn new(origin: &Origin, subject: &str, reason: impl Into<String>) -> Self {
        Self { origin: origin.clone(), subject: printable(subject), reason: printable(&reason.into()) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.subject, self.reason)
    }
}

/// A file that cannot be understood. Nothing is drafted from half a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}; {remedy}")]
pub struct ImportError {
    /// Where.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl ImportError {
    pub(crate) fn new(file: &str, line: usize, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            origin: Origin { file: file.to_owned(), line },
            message: printable(&message.into()),
            remedy: remedy.to_owned(),
        }
    }
}

/// Longer words of an old file are cut where they are repeated: a line of a message is a line of a screen.
const LONGEST: usize = 200;

/// A text of an old file as it may stand in a comment or on a terminal. A line feed would end the comment, and what
/// follows be configuration; an escape would be an order to the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character neither ends a line, for YAML or a terminal, nor changes the direction of what follows it.
pub(crate) fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
