//! From the tree to the file's types. serde stops at its first error; here the key it stopped at is noted, taken out
//! of the tree, and the rest is read again, so that every error is found.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::problem::{Findings, KeyPath, MOST_ERRORS, Step, nearest};
use crate::schema;

/// Values copied in all while errors are looked for: about a second's work. Each error costs a reading of the whole file;
/// files that anybody writes by hand are a hundred times smaller than this and get all of theirs told.
const MOST_COPIED: usize = 600_000;

/// Reads the file's types from what `findings` holds; what cannot be read is noted and left out.
/// None: too much is wrong to go on.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(findings: &mut Findings) -> Option<T> {
    let readings = MOST_COPIED / findings.tree().size().max(1);
    for _ in 0..MOST_ERRORS.min(readings.max(1)) {
        let value = findings.tree().value();
        match serde_path_to_error::deserialize::<_, T>(value) {
            Ok(file) => return Some(file),
            Err(error) => {
                let at = key_path(error.path());
                let at = note::<T>(findings, at, &error.inner().to_string());
                // What cannot be taken out would be met again, without end.
                if !findings.prune(&at) {
                    return None;
                }
            }
        }
    }
    findings.too_many();
    None
}

fn key_path(path: &serde_path_to_error::Path) -> KeyPath {
    use serde_path_to_error::Segment;
    path.iter().fold(KeyPath::default(), |at, segment| match segment {
        Segment::Seq { index } => at.step(Step::Item(*index)),
        Segment::Map { key } => at.key(key),
        Segment::Enum { .. } | Segment::Unknown => at,
    })
}

/// Words one error of serde; returns the key to take out.
fn note<T: JsonSchema>(findings: &mut Findings, at: KeyPath, message: &str) -> KeyPath {
    if let Some(key) = between(message, "unknown field `", "`") {
        let at = match at.steps().last() {
            Some(Step::Key(last)) if last == key => at,
            _ => at.key(key),
        };
        note_unknown_key::<T>(findings, &at, key, &expected(message));
        return at;
    }
    if let Some(word) = between(message, "unknown variant `", "`") {
        let known = expected(message);
        let meant = nearest(word, known.iter().map(String::as_str)).map(|near| format!("did you mean {near}? "));
        let remedy = format!("{}write {}", meant.unwrap_or_default(), known.join(" or "));
        findings.error(&at, format!("{word:?} is not known here"), remedy);
        return at;
    }
    match split_expected(message) {
        Some((found, wanted)) => findings.error(
            &at,
            format!("{} is of the wrong kind", in_words(found)),
            format!("write {}", in_words(wanted)),
        ),
        None => match message.split_once("; ") {
            Some((problem, remedy)) => findings.error(&at, problem, remedy),
            None => findings.error(&at, message, format!("see {} for what may stand here", findings.kind().example)),
        },
    }
    at
}

fn note_unknown_key<T: JsonSchema>(findings: &mut Findings, at: &KeyPath, key: &str, known: &[String]) {
    let remedy = if let Some(near) = nearest(key, known.iter().map(String::as_str)) {
        // The key that was meant is not missing, too: one mistake is told once.
        if let Some((parent, _)) = at.split_last() {
            findings.excuse(findings.tree().locate(&parent.key(near)).0);
        }
        format!("did you mean {near}?")
    } else if let Some(elsewhere) = schema::paths_of_key::<T>(key).first() {
        format!("that key belongs at {elsewhere}")
    } else {
        format!("known here: {}", known.join(", "))
    };
    findings.error(at, "unknown key", remedy);
}

/// The names in backticks after `expected`.
fn expected(message: &str) -> Vec<String> {
    let names = message.rsplit_once("expected").map_or("", |(_, names)| names);
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = text.split_once(start)?.1;
    rest.split_once(end).map(|(found, _)| found)
}

/// `invalid type: FOUND, expected WANTED`, taken apart.
fn split_expected(message: &str) -> Option<(&str, &str)> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    rest.rsplit_once(", expected ")
}

/// serde's words for types, in an operator's.
fn in_words(kind: &str) -> String {
    for (theirs, ours) in [
        ("sequence", "a list"),
        ("a sequence", "a list"),
        ("map", "a mapping"),
        ("a map", "a mapping"),
        ("a string", "text"),
        ("a boolean", "true or false"),
        ("unit value", "nothing"),
        ("u8", "a whole number from 0 to 255"),
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number"),
        ("u64", "a whole number"),
        ("usize", "a whole number"),
    ] {
        if kind == theirs {
            return ours.to_owned();
        }
    }
    if kind.starts_with("struct ") {
        return "a mapping of keys".to_owned();
    }
    for (theirs, ours) in
        [("string ", ""), ("integer ", "the number "), ("floating point ", "the number "), ("boolean ", "")]
    {
        if let Some(value) = kind.strip_prefix(theirs) {
            return format!("{ours}{}", value.replace('`', ""));
        }
    }
    kind.to_owned()
}
