//! Elements of the fence's sets, told to the kernel's packet filter over netlink, in this process and one transaction.
//!
//! What a lease hangs on waits for no other program: `nft` reads all interval sets of a host before it writes anything
//! (50,000 elements: 0.3 to 0.9 s, each time), runs without the watchdog's priority, and may be missing in the middle of
//! an upgrade. Rules are `nft`'s to write; that is done once. No crate for this was found that is looked after, knows
//! timed elements and is under a permissive licence (`rustables` is under the GPL, `nftnl` binds C libraries), and two
//! kinds of messages are needed.
//!
//! The messages: <https://docs.kernel.org/userspace-api/netlink/intro.html> and `linux/netfilter/nf_tables.h`.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, recv, send, socket_with,
};

use super::nft::TABLE;

/// `NFNL_SUBSYS_NFTABLES`, the high byte of each message's type.
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = NFTABLES << 8;
const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
const NEW_ELEMENTS: u16 = NFTABLES << 8 | 12;
const GET_ELEMENTS: u16 = NFTABLES << 8 | 13;
const DELETE_ELEMENTS: u16 = NFTABLES << 8 | 14;

/// `NLMSG_ERROR`: an error, or none.
const ANSWER: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;

/// `NFPROTO_INET`, the family of the table: IPv4 and IPv6.
const INET: u8 = 1;
const NESTED: u16 = 0x8000;
const TABLE_NAME: u16 = 1;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const DATA_VALUE: u16 = 1;

/// An attribute's length has 16 bits: of so many elements, 40 bytes each at most, one message is made.
const ELEMENTS: usize = 1000;
/// An answer repeats at most the message it is about.
const ANSWER_ROOM: usize = 128 * 1024;

/// An element of a set, and when the kernel removes it; none: never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    key: Key,
    timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Port(u16),
    Address(IpAddr),
}

impl Element {
    pub(super) const fn port(port: u16, timeout: Option<Duration>) -> Self {
        Self { key: Key::Port(port), timeout }
    }

    pub(super) const fn address(address: IpAddr, timeout: Option<Duration>) -> Self {
        Self { key: Key::Address(address), timeout }
    }

    fn millis(&self) -> Option<u64> {
        // A timeout of zero would mean for ever: what is shorter than a millisecond becomes one.
        self.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1))
    }
}

/// Writes an element as `nft` reads it.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Key::Port(port) => write!(f, "{port}")?,
            Key::Address(address) => write!(f, "{address}")?,
        }
        self.millis().map_or(Ok(()), |millis| write!(f, " timeout {millis}ms"))
    }
}

/// Changes of the fence that are made all together or not at all.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes(Vec<Change>);

#[derive(Debug, Clone)]
enum Change {
    Flush(&'static str),
    Add(&'static str, Vec<Element>),
    Without(&'static str),
}

impl Changes {
    /// Empties a set, of whatever stands in it.
    pub(super) fn flush(mut self, set: &'static str) -> Self {
        self.0.push(Change::Flush(set));
        self
    }

    /// Puts elements into a set. None: done if the set is there.
    pub(super) fn add(mut self, set: &'static str, elements: Vec<Element>) -> Self {
        self.0.push(Change::Add(set, elements));
        self
    }

    /// Removes a table, if it is there.
    pub(super) fn without(mut self, table: &'static str) -> Self {
        self.0.push(Change::Without(table));
        self
    }

    /// The sets that must be there.
    #[cfg(test)]
    fn sets(&self) -> Vec<&'static str> {
        let set = |change: &Change| match change {
            Change::Flush(set) | Change::Add(set, _) => Some(*set),
            Change::Without(_) => None,
        };
        self.0.iter().filter_map(set).collect()
    }

    /// Writes the same transaction as a script for `nft`.
    pub(super) fn script(&self) -> String {
        let one = |change: &Change| match change {
            Change::Flush(set) => format!("flush set inet {TABLE} {set}\n"),
            Change::Add(_, elements) if elements.is_empty() => String::new(),
            Change::Add(set, elements) => {
                let elements: Vec<_> = elements.iter().map(ToString::to_string).collect();
                format!("add element inet {TABLE} {set} {{ {} }}\n", elements.join(", "))
            }
            // To delete what is not there is an error; adding it first makes it none.
            Change::Without(table) => format!("add table inet {table}\ndelete table inet {table}\n"),
        };
        self.0.iter().map(one).collect()
    }
}

/// The way to the kernel's packet filter.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// Kept, as to close it waits for what the kernel has still to tear down: some ten milliseconds. None after an error, so
    /// that no answer of before is taken for one of now.
    socket: Option<OwnedFd>,
    /// The socket's address, by which this process's changes are known among those that the kernel tells of.
    port: Arc<AtomicU32>,
}

impl Kernel {
    /// Makes changes, which takes some ten microseconds, or as long as another's transaction.
    ///
    /// # Errors
    /// Why none of them was made; [`io::ErrorKind::NotFound`] if a set of the fence is not there.
    pub(super) fn make(&mut self, changes: &Changes) -> io::Result<()> {
        #[cfg(test)]
        if let Some(stage) = crate::node::played::stage() {
            return stage.change(&changes.script(), &changes.sets());
        }
        // The socket is put back only when all went well: the next call must not read the answers that this one left.
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.open()?,
        };
        Batch::of(changes).commit(&socket)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// Returns for how long these ports are still in a set, those that are. This takes no lock and ends no transaction.
    ///
    /// # Errors
    /// Why that cannot be read; [`io::ErrorKind::NotFound`] if one of them is not there.
    pub(super) fn left(&mut self, set: &str, ports: &[u16]) -> io::Result<Vec<Duration>> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.open()?,
        };
        let mut asked = Batch { bytes: Vec::with_capacity(256), changes: 0 };
        asked.message(GET_ELEMENTS, REQUEST | ACKNOWLEDGE, INET, 0, |body| {
            name_set(body, set);
            let ports = ports.iter().map(|port| Element::port(*port, None));
            attribute(body, LIST_ELEMENTS | NESTED, |list| ports.for_each(|port| put(list, &port)));
        });
        send(&socket, &asked.bytes, SendFlags::DONTWAIT)?;
        let (mut left, mut room) = (Vec::with_capacity(ports.len()), vec![0; ANSWER_ROOM]);
        // The kernel has answered when the call returns; its acknowledgement is the last of it.
        loop {
            let length = received(&socket, &mut room)?;
            for message in messages(room.get(..length).unwrap_or_default()) {
                match message? {
                    (NEW_ELEMENTS, body) => left.extend(expirations(body)),
                    (ANSWER, body) => {
                        acknowledged(body)?;
                        self.socket = Some(socket);
                        return Ok(left);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Returns the number of the rule set: each transaction of anybody's counts it up.
    #[cfg(test)]
    pub(super) fn generation(&mut self) -> io::Result<u32> {
        const NEW_GENERATION: u16 = NFTABLES << 8 | 15;
        const GET_GENERATION: u16 = NFTABLES << 8 | 16;
        let socket = self.open()?;
        let mut asked = Batch { bytes: Vec::new(), changes: 0 };
        asked.message(GET_GENERATION, REQUEST, 0, 0, |_| {});
        send(&socket, &asked.bytes, SendFlags::DONTWAIT)?;
        let mut room = vec![0; ANSWER_ROOM];
        let length = received(&socket, &mut room)?;
        let told =
            messages(&room[..length]).find_map(|message| message.ok().filter(|(kind, _)| *kind == NEW_GENERATION));
        let id =
            told.and_then(|(_, body)| attributes(&body[4..]).find(|(kind, _)| *kind == 1)?.1.first_chunk().copied());
        id.map(u32::from_be_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn open(&self) -> io::Result<OwnedFd> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        if let Ok(address) = SocketAddrNetlink::try_from(getsockname(&socket)?) {
            self.port.store(address.pid(), Ordering::Relaxed);
        }
        Ok(socket)
    }

    /// Returns where its socket's address stands.
    pub(super) fn port(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.port)
    }
}

/// The messages of one transaction: the kernel takes all or none.
struct Batch {
    bytes: Vec<u8>,
    changes: u32,
}

impl Batch {
    fn of(changes: &Changes) -> Self {
        let mut batch = Self { bytes: Vec::with_capacity(1024), changes: 0 };
        batch.message(BATCH_BEGIN, REQUEST, 0, NFTABLES, |_| {});
        for change in &changes.0 {
            match change {
                Change::Flush(set) => batch.change(DELETE_ELEMENTS, 0, |body| name_set(body, set)),
                Change::Add(set, elements) if elements.is_empty() => batch.add(set, &[]),
                Change::Add(set, elements) => elements.chunks(ELEMENTS).for_each(|some| batch.add(set, some)),
                Change::Without(table) => {
                    let named = |body: &mut Vec<u8>| attribute(body, TABLE_NAME, |value| text(value, table));
                    // To delete a table that is not there is an error, and would undo the whole transaction: so it is
                    // made first.
                    batch.change(NEW_TABLE, CREATE, named);
                    batch.change(DELETE_TABLE, 0, named);
                }
            }
        }
        batch.message(BATCH_END, REQUEST, 0, NFTABLES, |_| {});
        batch
    }

    fn add(&mut self, set: &str, elements: &[Element]) {
        self.change(NEW_ELEMENTS, CREATE, |body| {
            name_set(body, set);
            attribute(body, LIST_ELEMENTS | NESTED, |list| elements.iter().for_each(|element| put(list, element)));
        });
    }

    fn commit(&self, socket: &OwnedFd) -> io::Result<()> {
        send(socket, &self.bytes, SendFlags::DONTWAIT)?;
        // The kernel has done, and answered, when the call returns.
        let (mut answers, mut room) = (0, vec![0; ANSWER_ROOM]);
        // Each change is acknowledged by itself: all of them must be read, or the next call takes them for its own.
        while answers < self.changes {
            let length = received(socket, &mut room)?;
            answers += answers_in(room.get(..length).unwrap_or_default())?;
        }
        Ok(())
    }

    fn change(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Vec<u8>)) {
        self.changes += 1;
        self.message(kind, REQUEST | ACKNOWLEDGE | flags, INET, 0, body);
    }

    /// Writes a message: its header, then netfilter's (family, version 0, resource), then attributes.
    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, body: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        // The number by which answers would be told apart, and the sender's, which the kernel knows.
        self.bytes.extend([0; 8]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        body(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - begin).unwrap_or(u32::MAX);
        self.bytes[begin..begin + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

fn name_set(body: &mut Vec<u8>, set: &str) {
    attribute(body, LIST_TABLE, |value| text(value, TABLE));
    attribute(body, LIST_SET, |value| text(value, set));
}

fn put(list: &mut Vec<u8>, element: &Element) {
    attribute(list, LIST_ELEMENT | NESTED, |body| {
        attribute(body, ELEMENT_KEY | NESTED, |key| {
            attribute(key, DATA_VALUE, |value| match element.key {
                Key::Port(port) => value.extend(port.to_be_bytes()),
                Key::Address(IpAddr::V4(address)) => value.extend(address.octets()),
                Key::Address(IpAddr::V6(address)) => value.extend(address.octets()),
            });
        });
        if let Some(millis) = element.millis() {
            attribute(body, ELEMENT_TIMEOUT, |value| value.extend(millis.to_be_bytes()));
        }
    });
}

fn text(value: &mut Vec<u8>, text: &str) {
    value.extend(text.bytes());
    value.push(0);
}

/// Writes an attribute: length, kind, value, and zeros up to a multiple of four bytes.
fn attribute(bytes: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let begin = bytes.len();
    bytes.extend([0; 2]);
    bytes.extend(kind.to_ne_bytes());
    value(bytes);
    let length = u16::try_from(bytes.len() - begin).unwrap_or(u16::MAX);
    bytes[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn received(socket: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    match recv(socket, room, RecvFlags::DONTWAIT) {
        Ok((length, _)) => Ok(length),
        // The kernel answers within the call: what has not come by now never will.
        Err(Errno::AGAIN) => Err(io::Error::other("the kernel leaves messages unanswered")),
        Err(error) => Err(error.into()),
    }
}

/// Counts the answers in what was received.
///
/// # Errors
/// The first that is an error.
fn answers_in(bytes: &[u8]) -> io::Result<u32> {
    let mut count = 0;
    for message in messages(bytes) {
        if let (ANSWER, body) = message? {
            acknowledged(body)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Reads an answer: an error, or none.
fn acknowledged(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().copied().map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Takes what was received apart: the kind of each message, and what follows its header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        let ([a, b, c, d, kind_a, kind_b, ..], _) = bytes.split_first_chunk::<16>()?;
        let length = usize::try_from(u32::from_ne_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        let kind = u16::from_ne_bytes([*kind_a, *kind_b]);
        let body = bytes.get(16..length);
        bytes = body.and_then(|_| bytes.get(length.next_multiple_of(4)..)).unwrap_or_default();
        Some(body.map(|body| (kind, body)).ok_or_else(|| io::ErrorKind::InvalidData.into()))
    })
}

/// Reads for how long the elements of a message are still there.
fn expirations(body: &[u8]) -> impl Iterator<Item = Duration> {
    let attributes_of = attributes(body.get(4..).unwrap_or_default());
    let lists = attributes_of.filter(|(kind, _)| *kind == LIST_ELEMENTS);
    let elements = lists.flat_map(|(_, list)| attributes(list)).filter(|(kind, _)| *kind == LIST_ELEMENT);
    let of_each = elements.flat_map(|(_, element)| attributes(element)).filter(|(kind, _)| *kind == ELEMENT_EXPIRATION);
    of_each.filter_map(|(_, value)| value.first_chunk().copied().map(u64::from_be_bytes).map(Duration::from_millis))
}

/// Takes attributes apart; what is cut off is none.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([a, b, kind_a, kind_b], _) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        let kind = u16::from_ne_bytes([*kind_a, *kind_b]) & !NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Vec<u8> {
        let mut bytes = 36u32.to_ne_bytes().to_vec();
        bytes.extend(ANSWER.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(code.to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn an_error_of_the_kernels_is_told_and_answers_are_counted() {
        assert_eq!(answers_in(&[answer(0), answer(0)].concat()).unwrap(), 2);
        let error = answers_in(&[answer(0), answer(-2)].concat()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(answers_in(&answer(0)[..30]).is_err(), "cut off");
        assert!(answers_in(&[answer(0), vec![0; 3]].concat()).is_ok());
        let mut empty = answer(0);
        empty[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert!(answers_in(&empty).is_err(), "a length of nothing");
    }

    #[test]
    fn what_is_left_is_read_from_the_kernels_elements_and_nothing_from_what_is_cut_off() {
        let mut body = vec![INET, 0, 0, 0];
        name_set(&mut body, "permitted");
        attribute(&mut body, LIST_ELEMENTS | NESTED, |list| {
            for millis in [1_700_u64, 5] {
                attribute(list, LIST_ELEMENT | NESTED, |element| {
                    attribute(element, ELEMENT_KEY | NESTED, |key| {
                        attribute(key, DATA_VALUE, |value| value.extend(5060_u16.to_be_bytes()));
                    });
                    attribute(element, ELEMENT_TIMEOUT, |value| value.extend(9_000_u64.to_be_bytes()));
                    attribute(element, ELEMENT_EXPIRATION, |value| value.extend(millis.to_be_bytes()));
                });
            }
        });
        assert_eq!(expirations(&body).collect::<Vec<_>>(), [1_700, 5].map(Duration::from_millis));
        for length in 0..body.len() {
            assert!(expirations(&body[..length]).count() < 2, "{length}");
        }
        body[4] = 1;
        assert_eq!(expirations(&body).count(), 0, "a length that is none");
    }

    #[test]
    fn messages_and_attributes_are_whole_and_aligned() {
        let elements: Vec<_> = (0..2500).map(|port| Element::port(port, Some(Duration::ZERO))).collect();
        let changes =
            Changes::default().flush("permitted").add("permitted", elements).add("sip", vec![]).without("gone");
        let batch = Batch::of(&changes);
        assert_eq!(batch.changes, 1 + 3 + 1 + 2);
        let (mut rest, mut count) = (batch.bytes.as_slice(), 0);
        while let Some(length) = rest.first_chunk().copied().map(u32::from_ne_bytes) {
            assert_eq!(length % 4, 0);
            rest = &rest[length as usize..];
            count += 1;
        }
        assert_eq!((count, rest.len()), (batch.changes + 2, 0));
    }

    #[test]
    fn changes_read_as_a_script() {
        let second = Some(Duration::from_secs(1));
        let address = Element::address("fd00::1".parse().unwrap(), second);
        let changes = Changes::default()
            .flush("permitted")
            .add("permitted", vec![Element::port(5060, second), Element::port(5061, None)])
            .add("partners4", vec![])
            .add("partners6", vec![address])
            .without("bascule_hard");
        let script = "flush set inet bascule permitted\n\
                      add element inet bascule permitted { 5060 timeout 1000ms, 5061 }\n\
                      add element inet bascule partners6 { fd00::1 timeout 1000ms }\n\
                      add table inet bascule_hard\ndelete table inet bascule_hard\n";
        assert_eq!(changes.script(), script);
    }
}
