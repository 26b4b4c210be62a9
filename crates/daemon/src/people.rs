//! Names of users and groups, from the machine's own files: a directory server that is down must not hang the server.

use std::fs;

/// Characters kept of a reason or a name.
const LONGEST: usize = 500;

/// The user's name, or `uid N`.
pub fn user(uid: u32) -> String {
    name_of(&read("/etc/passwd"), uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// The number of a group given by name or number.
pub fn group(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| number_of(&read("/etc/group"), name))
}

/// The kernel's word first; what the caller says of itself (the user behind `sudo`) only beside it.
pub fn who(user: &str, claimed: &str) -> String {
    let claimed = clean(claimed);
    if claimed.is_empty() || claimed == user { user.to_owned() } else { format!("{user} (says: {claimed})") }
}

/// The user behind `sudo`, by that program's word; empty without: a socket only sees root.
pub fn behind_sudo() -> String {
    std::env::var("SUDO_USER").unwrap_or_default()
}

/// A text from a caller as one short line.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect::<String>().trim().to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Lines are `name:password:number:…` (passwd(5), group(5)).
fn rows(file: &str) -> impl Iterator<Item = (&str, u32)> {
    file.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

/// The fields of the line that names, or numbers, that user or group.
pub(crate) fn row_of<'f>(file: &'f str, name: &str) -> Option<Vec<&'f str>> {
    let fields = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut rows = fields.filter(|row| row.len() > 3 && !row[0].is_empty());
    rows.find(|row| row[0] == name || row[2] == name)
}

fn name_of(file: &str, number: u32) -> Option<String> {
    rows(file).find(|(_, n)| *n == number).map(|(name, _)| name.to_owned())
}

fn number_of(file: &str, name: &str) -> Option<u32> {
    rows(file).find(|(n, _)| *n == name).map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::{group, name_of, number_of, user};

    const FILE: &str = "root:x:0:0:root:/root:/bin/bash\n\nbroken\n:x:5:\nadm:x:4:syslog,alice\n";

    #[test]
    fn names_and_numbers_are_found_and_broken_lines_skipped() {
        assert_eq!(name_of(FILE, 0).as_deref(), Some("root"));
        assert_eq!(number_of(FILE, "adm"), Some(4));
        assert_eq!((name_of(FILE, 5), number_of(FILE, "broken")), (None, None));
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        assert_eq!(user(0), "root");
        assert_eq!(user(4_000_000_001), "uid 4000000001");
        assert_eq!(group("12"), Some(12));
        assert_eq!(group("no such group"), None);
    }
}
