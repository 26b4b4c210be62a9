//! The tables Asterisk prints.
//!
//! They are for people: names and URIs are cut at a column's width, lines of other origin may stand around them. So
//! rows are known by their place below the rule, and counted against the number the table ends with.

use std::net::IpAddr;

use super::{Contact, Registration, RegistrationState};
use crate::node::line::one_line;

/// Reads `pjsip show registrations`.
///
/// # Errors
/// Returns what cannot be read, in one line.
pub(super) fn registrations(text: &str) -> Result<Vec<Registration>, String> {
    let table = Table::read(text)?;
    let rows = table.rows.iter().map(|row| registration(row).ok_or_else(|| one_line(row)));
    table.counted(rows.collect::<Result<_, _>>()?)
}

/// Reads `pjsip show contacts`, or the contacts of `pjsip show aors`.
///
/// # Errors
/// Returns what cannot be read, in one line.
pub(super) fn contacts(text: &str) -> Result<Vec<Contact>, String> {
    let table = Table::read(text)?;
    let width = table.header.iter().find_map(|line| column_width(line, "<Aor/ContactUri")).unwrap_or(usize::MAX);
    let rows = table.rows.iter().filter_map(|row| row.strip_prefix("Contact:"));
    let rows = rows.map(|row| contact(row, width).ok_or_else(|| one_line(row)));
    table.counted(rows.collect::<Result<_, _>>()?)
}

struct Table<'a> {
    header: Vec<&'a str>,
    rows: Vec<&'a str>,
    /// The number at its end, if it has one.
    count: Option<usize>,
}

impl<'a> Table<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let header: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("=====")).collect();
        if header.contains(&"No objects found.") {
            return Ok(Self { header: Vec::new(), rows: Vec::new(), count: Some(0) });
        }
        let rest: Vec<_> = lines.collect();
        let end = rest.iter().position(|line| line.starts_with("Objects found:"));
        let count = end.and_then(|end| rest[end].rsplit(' ').next()?.parse().ok());
        // Nothing below a rule is no table: an error message must not read as "nobody is registered".
        if rest.is_empty() {
            return Err(format!("no table: {}", one_line(header.last().copied().unwrap_or("nothing at all"))));
        }
        Ok(Self { header, rows: rest[..end.unwrap_or(rest.len())].to_vec(), count })
    }

    fn counted<T>(&self, rows: Vec<T>) -> Result<Vec<T>, String> {
        // A table of addresses of record counts those, not their contacts.
        let of_aors = self.rows.iter().any(|row| row.starts_with("Aor:"));
        match self.count {
            // A row that could not be read, or a table that was cut off, would make a registration look lost.
            Some(count) if !of_aors && count != rows.len() => Err(format!("{} rows, but {count} objects", rows.len())),
            _ => Ok(rows),
        }
    }
}

/// Reads `mds1/sip:10.0.0.31   auth   Registered   (exp. 47s)`; older versions print no expiry, newer ones `(exp. 2s
/// ago)`.
fn registration(row: &str) -> Option<Registration> {
    let row = row.split_once("(exp.").map_or(row, |(row, _)| row).trim_end();
    let (first, rest) = row.split_once(char::is_whitespace)?;
    let state = match rest.split_whitespace().next_back()? {
        "Registered" => RegistrationState::Registered,
        "Unregistered" => RegistrationState::Unregistered,
        "Rejected" => RegistrationState::Rejected,
        "Stopped" | "Stopping" => RegistrationState::Stopped,
        word => RegistrationState::Other(one_line(word)),
    };
    let name = first.split_once('/').map(|(name, _)| name);
    let port = first.split_once('/').and_then(|(_, uri)| port(uri));
    Some(Registration { name: name.unwrap_or(first).to_owned(), cut: name.is_none(), port, state })
}

/// Reads `xivo/sip:xivo@10.0.0.11:5060   eee753d82b Avail   0.539`; older versions print no hash.
fn contact(row: &str, width: usize) -> Option<Contact> {
    let words: Vec<_> = row.split_whitespace().collect();
    let [first, .., status, _round_trip] = words[..] else { return None };
    let (aor, uri) = first.split_once('/')?;
    let whole = first.chars().count() < width;
    Some(Contact { aor: aor.into(), uri: uri.into(), address: address(uri, whole), status: status.into() })
}

/// Returns the address in a URI; none for a name, and for one that may be cut within.
fn address(uri: &str, whole: bool) -> Option<IpAddr> {
    let rest = uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:"))?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    if let Some(v6) = rest.strip_prefix('[') {
        return v6.split_once(']')?.0.parse().ok();
    }
    // Without an end behind it the address may be cut at the column's width, and be another one.
    match rest.find([':', ';', '?', '>']) {
        Some(end) => rest[..end].parse().ok(),
        None if whole => rest.parse().ok(),
        None => None,
    }
}

/// Returns the port in a URI, if it is written.
fn port(uri: &str) -> Option<u16> {
    let rest = uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:"))?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split([';', '?', '>']).next()?;
    // Behind an IPv6 address's bracket.
    let rest = rest.rsplit_once(']').map_or(rest, |(_, rest)| rest);
    rest.rsplit_once(':')?.1.parse().ok()
}

/// Returns the width of a column, from its heading `<Name......>`.
fn column_width(header: &str, name: &str) -> Option<usize> {
    let column = &header[header.find(name)?..];
    Some(column.find('>')? + 1)
}
