//! What is told beside the draft: where something stands in the old files, and why it is not in the new one.

use std::fmt;

/// A line of an old file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its [`Source::name`](crate::Source::name).
    pub file: String,
    /// Counted from 1, as editors do.
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
    /// The line of the old file that it is about.
    pub origin: Origin,
    /// A variable or a directive, by name alone: its value may be a secret.
    pub subject: String,
    /// Why it is not carried over, and what to do instead: a clause without a full stop.
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
    /// The line at which nobody could go on.
    pub origin: Origin,
    /// What stands there and should not, in clauses.
    pub message: String,
    /// What its administrator does about it.
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

/// Whether a name of an old file can stand as it is, as a key or a value: letters, digits, hyphens and underscores, no longer
/// than a media server's or a zone's may be.
pub(crate) fn is_word(name: &str) -> bool {
    const LONGEST: usize = 63;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= LONGEST && name.bytes().all(plain)
}

/// Whether a character neither ends a line, for YAML or a terminal, nor changes the direction of what follows it.
pub(crate) fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
