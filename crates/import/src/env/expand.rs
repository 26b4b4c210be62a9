//! Variables in values: `$NAME`, `${NAME}`, and `${NAME:-default}` with its kin.

use super::{LONGEST, Variable};

/// What a value comes to by the variables above it, and the names that nobody has set there. Nothing if it is too long or
/// broken. The environment of this process is not asked: the old Edge ran in another one.
pub(super) fn expand(raw: &str, above: &[Variable]) -> (Option<String>, Vec<String>) {
    let mut unresolved = Vec::new();
    (go(raw, above, &mut unresolved), unresolved)
}

fn go(raw: &str, above: &[Variable], unresolved: &mut Vec<String>) -> Option<String> {
    let mut value = String::new();
    let mut rest = raw;
    while let Some(at) = rest.find('$') {
        value.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            value.push('$');
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('{') {
            let end = behind.find('}')?;
            value.push_str(&braced(&behind[..end], above, unresolved));
            rest = &behind[end + 1..];
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            match end {
                0 => value.push('$'),
                _ => value.push_str(&known(&rest[..end], above, unresolved)),
            }
            rest = &rest[end..];
        }
        if value.len() > LONGEST {
            return None;
        }
    }
    value.push_str(rest);
    Some(value)
}

/// `NAME`, `NAME:-default` (also when empty), `NAME-default` (when not set), `NAME:?words`. Defaults are taken as they
/// stand: one that names further variables is told as not resolved, rather than carried over half.
fn braced(inner: &str, above: &[Variable], unresolved: &mut Vec<String>) -> String {
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, how) = inner.split_at(end);
    let value = find(name, above);
    if let Some(default) = how.strip_prefix(":-") {
        return defaulted(value.filter(|value| !value.is_empty()), default, unresolved);
    }
    if let Some(default) = how.strip_prefix('-') {
        return defaulted(value, default, unresolved);
    }
    known(name, above, unresolved)
}

fn defaulted(value: Option<&str>, default: &str, unresolved: &mut Vec<String>) -> String {
    if value.is_none() && default.contains('$') {
        unresolved.push(default.to_owned());
    }
    value.unwrap_or(default).to_owned()
}

fn known(name: &str, above: &[Variable], unresolved: &mut Vec<String>) -> String {
    match find(name, above) {
        Some(value) => value.to_owned(),
        None => {
            unresolved.push(name.to_owned());
            String::new()
        }
    }
}

fn find<'a>(name: &str, above: &'a [Variable]) -> Option<&'a str> {
    above.iter().rev().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
}
