//! Who else writes to the packet filter: the kernel tells all who listen which process made each change.
//!
//! An alarm that says only that somebody removes the fence leaves a person at night with a whole machine to look through.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// `NFNLGRP_NFTABLES`, the seventh group of netfilter's netlink.
const GROUP: u32 = 1 << 6;
/// `NFT_MSG_NEWGEN`: a transaction was made.
const NEW_GENERATION: u16 = 10 << 8 | 15;
const PROCESS: u16 = 2;
const NAME: u16 = 3;
/// More than the kernel puts into one datagram; of a longer one the rest is lost.
const ROOM: usize = 64 * 1024;
/// After so long without a change it is looked whether anybody wants to know.
const LOOK: Duration = Duration::from_secs(1);

/// The newest change that another process made.
#[derive(Debug, Default)]
pub(super) struct Writers(Arc<Mutex<Option<String>>>);

/// Who made a transaction, as the kernel names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Writer {
    /// The address of the socket that it came by.
    port: u32,
    process: u32,
    name: String,
}

impl Writers {
    /// Listens, in a thread of its own: whoever wrote has ended a moment later, and is asked for its service before. Where
    /// the kernel tells nothing nobody is ever named.
    pub(super) fn listen(own: Arc<AtomicU32>) -> Self {
        let writers = Self::default();
        #[cfg(test)]
        if crate::node::played::stage().is_some() {
            return writers;
        }
        let newest = Arc::downgrade(&writers.0);
        let heard = open().and_then(|socket| {
            let hear = move || hear(&socket, &own, &newest);
            thread::Builder::new().name("fence-writers".into()).spawn(hear)
        });
        if let Err(error) = heard {
            tracing::debug!(%error, "who else writes to the packet filter is not known");
        }
        writers
    }

    pub(super) fn newest(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(LOOK))?;
    Ok(socket)
}

/// Hears until nobody wants to know.
fn hear(socket: &OwnedFd, own: &AtomicU32, newest: &Weak<Mutex<Option<String>>>) {
    let mut room = vec![0; ROOM];
    while newest.strong_count() > 0 {
        let length = match recv(socket, room.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => length,
            // Nothing came; or more than there was room for, and what was lost may be the one: the next is heard again.
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => continue,
            Err(error) => {
                tracing::debug!(%error, "who else writes to the packet filter is known no longer");
                return;
            }
        };
        let heard = writers_in(room.get(..length).unwrap_or_default());
        let others = heard.filter(|writer| writer.port != own.load(Ordering::Relaxed));
        let named = others.filter_map(|writer| writer.describe()).last();
        if let Some((named, newest)) = named.zip(newest.upgrade()) {
            *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(named);
        }
    }
}

impl Writer {
    /// Describes it; nothing if it is a program that this process runs.
    fn describe(&self) -> Option<String> {
        let Self { process, name, .. } = self;
        let of = |file| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        // `nft` is run by this process: its writes are the watchdog's own.
        if parent(&of("stat")) == Some(process::id()) {
            return None;
        }
        let service = service(&of("cgroup")).map(|service| format!(", of {service}")).unwrap_or_default();
        Some(format!("{name} (process {process}{service})"))
    }
}

/// Reads `number (name) state parent …`, where the name may hold anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Reads the innermost service, scope or container of `0::/system.slice/nftables.service`.
fn service(cgroups: &str) -> Option<&str> {
    let unified = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    let named = cgroups.lines().find_map(|line| line.split_once(":name=systemd:/").map(|(_, path)| path));
    unified.or(named)?.rsplit('/').find(|part| !part.is_empty())
}

/// Reads who made the transactions that a datagram tells of.
fn writers_in(mut bytes: &[u8]) -> impl Iterator<Item = Writer> {
    std::iter::from_fn(move || {
        loop {
            let [a, b, c, d, kind_a, kind_b, .., e, f, g, h] = *bytes.first_chunk::<16>()?;
            let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
            // The header, then netfilter's of four bytes.
            let message = bytes.get(16..length)?;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            if u16::from_ne_bytes([kind_a, kind_b]) == NEW_GENERATION
                && let Some((process, name)) = message.get(4..).and_then(writer)
            {
                return Some(Writer { port: u32::from_ne_bytes([e, f, g, h]), process, name });
            }
        }
    })
}

fn writer(mut attributes: &[u8]) -> Option<(u32, String)> {
    let (mut process, mut name) = (None, None);
    while let Some((&[a, b, kind_a, kind_b], _)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        match u16::from_ne_bytes([kind_a, kind_b]) {
            PROCESS => process = value.first_chunk().copied().map(u32::from_be_bytes),
            NAME => name = Some(String::from_utf8_lossy(value.split(|byte| *byte == 0).next()?).into_owned()),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    // A process may call itself anything, and this is shown on a terminal.
    let name = name?.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
    Some((process?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; 4];
        for (kind, value) in attributes {
            body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 6]);
        bytes.extend(9u32.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn whoever_made_a_transaction_is_read_from_among_other_messages() {
        let generation = |process: u32, name: &[u8]| {
            message(NEW_GENERATION, &[(1, &[0, 0, 0, 7]), (PROCESS, &process.to_be_bytes()), (NAME, name)])
        };
        let heard =
            [message(10 << 8 | 12, &[(1, b"x\0")]), generation(812, b"nft\0"), generation(7, b"a\x1b[2J\0")].concat();
        let writers: Vec<_> = writers_in(&heard).map(|Writer { port, process, name }| (port, process, name)).collect();
        assert_eq!(writers, [(9, 812, "nft".to_owned()), (9, 7, "a?[2J".to_owned())]);
        for cut in 0..heard.len() {
            let _ = writers_in(&heard[..cut]).count();
        }
        let mut endless = generation(1, b"nft\0");
        endless[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(writers_in(&endless).count(), 0, "a length of nothing");
        assert_eq!(writer(&[0, 0, 2, 0]), None, "nor here");
    }

    #[test]
    fn a_writer_is_named_with_its_service_and_a_program_of_this_process_is_not() {
        assert_eq!(service("0::/system.slice/nftables.service\n"), Some("nftables.service"));
        assert_eq!(service("1:name=systemd:/user.slice/session-3.scope\n0::/\n"), None);
        assert_eq!(service("4:cpu:/x\n1:name=systemd:/system.slice/cron.service\n"), Some("cron.service"));
        assert_eq!(parent("12 (a) b) S 7 10"), Some(7));
        let mut own = process::Command::new("sleep").arg("60").spawn().unwrap();
        let of = |process| Writer { port: 9, process, name: "nft".into() };
        assert_eq!(of(own.id()).describe(), None);
        own.kill().unwrap();
        own.wait().unwrap();
        let ended = of(u32::MAX);
        assert_eq!(ended.describe().unwrap(), "nft (process 4294967295)");
    }
}
