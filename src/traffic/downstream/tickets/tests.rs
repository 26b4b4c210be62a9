use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const START: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

fn begun(keys: Keys) -> Tickets {
    Tickets { keys: ArcSwap::from_pointee(keys) }
}

fn at(now: u64) -> Tickets {
    begun(Keys::default().turned(now).unwrap().unwrap())
}

fn count(tickets: &Tickets) -> usize {
    tickets.keys.load().0.len()
}

#[test]
fn a_ticket_is_opened_for_twelve_hours_after_its_key_made_its_last_and_not_for_longer() {
    let tickets = at(START);
    let first = tickets.encrypt(b"a session").unwrap();
    tickets.turn(START + 12 * HOUR - 1).unwrap();
    assert_eq!(count(&tickets), 1, "it is not yet time");
    let last = tickets.encrypt(b"the last").unwrap();
    for hours in [12, 18, 23] {
        tickets.turn(START + hours * HOUR).unwrap();
        assert_eq!(tickets.decrypt(&first).as_deref(), Some(&b"a session"[..]), "after {hours} hours");
        assert_eq!(tickets.decrypt(&last).as_deref(), Some(&b"the last"[..]), "after {hours} hours");
    }
    let second = tickets.encrypt(b"another").unwrap();
    assert_ne!(second[..NAME], first[..NAME], "a fresh key makes tickets");
    tickets.turn(START + 24 * HOUR).unwrap();
    assert_eq!((tickets.decrypt(&first), tickets.decrypt(&last)), (None, None));
    assert_eq!(tickets.decrypt(&second).as_deref(), Some(&b"another"[..]));
}

#[test]
fn keys_turn_at_any_pace_and_are_never_many() {
    for step in [1, 60, HOUR, 5 * HOUR, 12 * HOUR, 13 * HOUR, 25 * HOUR, 1000 * HOUR] {
        let tickets = at(START);
        for turn in 1..200 {
            tickets.turn(START + turn * step).unwrap();
            let keys = tickets.keys.load();
            assert!((1..=MOST).contains(&keys.0.len()), "every {step} s");
            assert!(keys.0[0].made + 12 * HOUR > START + turn * step, "every {step} s: who makes tickets is not over");
        }
    }
}

#[test]
fn a_clock_that_was_wrong_leaves_no_key_for_ever() {
    let tickets = at(START + 10_000 * HOUR);
    let ticket = tickets.encrypt(b"x").unwrap();
    tickets.turn(START).unwrap();
    assert_eq!((count(&tickets), tickets.decrypt(&ticket)), (1, None));
    // A little ahead is no fault: another machine's clock, or one that is being set.
    let tickets = at(START + 60);
    tickets.turn(START).unwrap();
    assert_eq!(count(&tickets), 1);
}

#[test]
fn a_ticket_that_was_touched_or_is_no_ticket_opens_nothing() {
    let tickets = at(START);
    let ticket = tickets.encrypt(b"a session").unwrap();
    for at in 0..ticket.len() {
        let mut touched = ticket.clone();
        touched[at] ^= 1;
        assert_eq!(tickets.decrypt(&touched), None, "byte {at}");
        assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
    }
    assert_eq!(tickets.decrypt(&[&ticket[..], b"x"].concat()), None);
    assert_eq!(at(START).decrypt(&ticket), None, "another's key");
    assert_ne!(tickets.encrypt(b"a session").unwrap(), ticket, "no nonce twice");
}

#[test]
fn keys_are_read_as_they_were_written_and_nothing_else_is() {
    let tickets = at(START);
    tickets.turn(START + 12 * HOUR).unwrap();
    let ticket = tickets.encrypt(b"a session").unwrap();
    let written = file::bytes(&tickets.keys.load());
    let read = begun(file::parse(&written).unwrap());
    assert_eq!(count(&read), 2);
    assert_eq!(read.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
    for length in 0..written.len() {
        let entries = length.checked_sub(16).is_some_and(|length| length % 56 == 0);
        assert_eq!(file::parse(&written[..length]).is_some(), entries, "cut at {length}");
    }
    assert!(file::parse(&[&written[..], &[0; 56 * 2]].concat()).is_none(), "too many");
    let mut other = written.clone();
    other[0] ^= 1;
    assert!(file::parse(&other).is_none(), "another's file");
    let mut never = written;
    never[16..24].copy_from_slice(&[0xff; 8]);
    assert!(file::parse(&never).is_none(), "a time that cannot be");
}

#[test]
fn a_file_that_others_may_know_or_that_holds_something_else_is_not_used_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let (first, unusable) = Tickets::open(dir.path()).unwrap();
    assert!(unusable.is_none(), "there was none");
    let path = dir.path().join("ticket-keys");
    store::replace_secret(&path, &file::bytes(&first.keys.load())).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ticket = first.encrypt(b"a session").unwrap();
    let opens = |expected: Option<&str>| {
        let (again, unusable) = Tickets::open(dir.path()).unwrap();
        assert_eq!(again.decrypt(&ticket).is_some(), expected.is_none(), "{unusable:?}");
        match (unusable, expected) {
            (None, None) => {}
            (Some(said), Some(expected)) => assert!(said.to_string().contains(expected), "{said}"),
            other => panic!("{other:?}"),
        }
    };
    opens(None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    opens(Some("may be read or written by other users"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    opens(None);
    fs::write(&path, "garbage").unwrap();
    opens(Some("does not hold keys"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    opens(Some("no regular file"));
}
