//! Elements of the fence's sets, told to the kernel's packet filter over netlink, in this process and one transaction.
//!
//! What a lease hangs on waits for no other program: `nft` reads all interval sets of a host before it writes anything
//! (50,000 elements: 0.3 to 0.9 s, each time), runs without the watchdog's priority, and may be missing in the middle of
//! an upgrade. Rules are `nft`'s to write; that is done once. No crate for this was found that is looked after, knows
//! timed elements and is under a permissive licence (`rustables` is under the GPL, `nftnl` binds C libraries), and two
//! kinds of messages are needed.
//!
//! The messages: <https://docs.kernel.org/userspace-api/netlink/intro.html> and `linux/netfilter/nf_tables.h`.

use super::nft::TABLE;
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, recv, send, socket_with,
};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// `NFNL_SUBSYS_NFTABLES`, the high byte of each message's type.
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = NFTABLES << 8;
const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
const NEW_ELEMENTS: u16 = NFTABLES << 8 | 12;
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
        if let Some(stage) = crate::hands::played::stage() {
            return stage.change(&changes.script(), &changes.sets());
        }
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.open()?,
        };
        Batch::of(changes).commit(&socket)?;
        self.socket = Some(socket);
        Ok(())
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
        while answers < self.changes {
            let length = match recv(socket, room.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Err(io::Error::other("the kernel leaves changes unanswered")),
                Err(error) => return Err(error.into()),
            };
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

/// Counts the answers in what was received.
///
/// # Errors
/// The first that is an error.
fn answers_in(mut bytes: &[u8]) -> io::Result<u32> {
    let mut count = 0;
    while let Some((header, _)) = bytes.split_first_chunk::<16>() {
        let [a, b, c, d, kind_a, kind_b, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let kind = u16::from_ne_bytes([kind_a, kind_b]);
        let message = bytes.get(16..length).ok_or(io::ErrorKind::InvalidData)?;
        if kind == ANSWER {
            let code = message.first_chunk().copied().map(i32::from_ne_bytes).ok_or(io::ErrorKind::InvalidData)?;
            if code != 0 {
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            count += 1;
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(count)
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
