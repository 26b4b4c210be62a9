//! The `.env` file of an Edge, as Docker Compose reads it: `NAME=VALUE`, quotes, comments, `${NAME:-default}`.
//!
//! `dotenvy` is not used: it fills gaps from the environment of whoever runs it, where an importer must name them, it
//! tells no lines, and it knows no `:-`, which Compose's files are full of.

pub(crate) mod carry;
mod expand;

use crate::note::{ImportError, Origin};
use crate::{Source, note};
pub use carry::ROLES;

/// Variables in all: an Edge has some thirty, and each is compared with those above it.
const MOST: usize = 2000;
/// Longer than any address or name. A variable may name others, and doubling 60 times would fill the memory.
const LONGEST: usize = 4096;

/// A variable as it is set on one line; further ones of the same name replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) origin: Origin,
    /// Variables its value names that nobody has set.
    pub(crate) unresolved: Vec<String>,
}

/// Reads every line, in order; a name that is set twice is there twice.
pub(crate) fn read(source: &Source) -> Result<Vec<Variable>, ImportError> {
    let wrong = |line, message: &str, remedy| ImportError::new(&source.name, line, message, remedy);
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let mut variables: Vec<Variable> = Vec::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((line, content)) = lines.next() {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let content = content.strip_prefix("export ").unwrap_or(content).trim_start();
        let Some((name, rest)) = content.split_once('=') else {
            return Err(wrong(line, "is no NAME=VALUE", "mend it, or begin the line with # to leave it out"));
        };
        let name = name.trim_end();
        if !is_variable(name) {
            return Err(ImportError::new(
                &source.name,
                line,
                format!("`{}` is no name of a variable", note::printable(name)),
                "letters, digits and _ are; begin the line with # to leave it out",
            ));
        }
        let (raw, quote) = value(rest, &mut lines)
            .ok_or_else(|| wrong(line, "a quote is opened and not closed", "close it at the end of the value"))?;
        if variables.len() == MOST {
            return Err(wrong(line, "has more variables than any Edge", "is this the file /etc/docker/edge/.env?"));
        }
        // Single quotes keep a text as it is, `$` included.
        let (value, unresolved) = match quote {
            Quote::Single => (Some(raw), Vec::new()),
            Quote::Double | Quote::None => expand::expand(&raw, &variables),
        };
        let value = value
            .filter(|value| value.len() <= LONGEST)
            .ok_or_else(|| wrong(line, "the value is too long, or its ${…} is not closed", "write what it comes to"))?;
        variables.push(Variable {
            name: name.to_owned(),
            value,
            origin: Origin { file: source.name.clone(), line },
            unresolved,
        });
    }
    Ok(variables)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// What stands behind `=`, without quotes and comment. A quoted value may go on over lines; nothing if it never ends.
fn value<'a>(rest: &'a str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<(String, Quote)> {
    let rest = rest.trim_start();
    let (mark, quote) = match rest.chars().next() {
        Some(mark @ '\'') => (mark, Quote::Single),
        Some(mark @ '"') => (mark, Quote::Double),
        // ` #` begins a comment, a # within a word does not: a colour, or a password.
        _ => {
            let end = rest.find(" #").or_else(|| rest.find("\t#")).unwrap_or(rest.len());
            let end = if rest.starts_with('#') { 0 } else { end };
            return Some((rest[..end].trim_end().to_owned(), Quote::None));
        }
    };
    let mut taken = String::new();
    let mut part = &rest[1..];
    loop {
        let mut escaped = false;
        for c in part.chars() {
            match c {
                _ if escaped => {
                    escaped = false;
                    match c {
                        'n' => taken.push('\n'),
                        // Left for what resolves variables: an escaped one is none.
                        '$' => taken.push_str("$$"),
                        other => taken.push(other),
                    }
                }
                '\\' if quote == Quote::Double => escaped = true,
                c if c == mark => return Some((taken, quote)),
                c => taken.push(c),
            }
        }
        if taken.len() > LONGEST {
            return None;
        }
        taken.push('\n');
        part = lines.next()?.1;
    }
}

fn is_variable(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
