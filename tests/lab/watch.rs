//! Who serves, seen from outside: a phone's view of both XiVO nodes, the media server's, and that of somebody beside each
//! node, whom no cut keeps from hearing it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::asterisk::Asterisk;
use crate::net::{Host, Net};
use crate::outcome::{Outcome, because, ensure};
use crate::sip;

/// Both nodes are asked so often, each time at the same moment.
pub(crate) const SLOT: Duration = Duration::from_millis(50);
/// The media server is asked so often.
const REGISTRATIONS: Duration = Duration::from_millis(250);
const PORT: u16 = 5060;
const BIGGEST: usize = 4096;

/// The nodes, in the order of a [`Slot`].
pub(crate) const NODES: [Host; 2] = [Host::MainXivo, Host::StandbyXivo];

/// What came of asking both nodes once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) asked: Instant,
    /// When each answered, however late.
    pub(crate) answered: [Option<Instant>; 2],
}

impl Slot {
    /// The nodes that answered before the next slot.
    pub(crate) fn serving(&self) -> [bool; 2] {
        self.answered.map(|at| at.is_some_and(|at| at.duration_since(self.asked) < SLOT))
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// As a phone sees it.
    slots: Vec<Slot>,
    /// As somebody on the switch does, where nothing is cut between a machine and its port.
    beside: Vec<Slot>,
    registered: Vec<(Instant, Vec<Ipv4Addr>)>,
}

/// The observers, from their start until they are dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Outcome>>,
    /// When two nodes were meant to serve.
    forced: Vec<(Instant, Instant)>,
}

impl Watch {
    pub(crate) fn start(net: &Net, media_server: &Asterisk) -> Outcome<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let end = Arc::new(AtomicBool::new(false));
        let prober = {
            let (seen, end) = (seen.clone(), end.clone());
            net.inside(Host::Phone, move || probe(&seen, |seen| &mut seen.slots, &end))?
        };
        let beside = {
            let (seen, end) = (seen.clone(), end.clone());
            net.on_the_switch(move || probe(&seen, |seen| &mut seen.beside, &end))?
        };
        let sampler = {
            let (seen, end, media_server) = (seen.clone(), end.clone(), media_server.clone());
            let sample = move || {
                while !end.load(Ordering::Relaxed) {
                    let at = Instant::now();
                    // Unless it is dead itself: then nobody is registered anywhere.
                    if let Ok(addresses) = media_server.registered() {
                        lock(&seen).registered.push((at, addresses));
                    }
                    std::thread::sleep(REGISTRATIONS.saturating_sub(at.elapsed()));
                }
                Ok(())
            };
            std::thread::Builder::new().name("registrations".to_owned()).spawn(sample).map_err(because("a thread"))?
        };
        Ok(Self { seen, end, threads: vec![prober, beside, sampler], forced: Vec::new() })
    }

    /// All slots since then, but for the last, which is not over.
    pub(crate) fn slots(&self, since: Instant) -> Vec<Slot> {
        over(&lock(&self.seen).slots, since)
    }

    /// When this node first answered a question asked since then.
    pub(crate) fn first_answer(&self, node: Host, since: Instant) -> Option<Instant> {
        let index = usize::from(node == NODES[1]);
        self.slots(since).iter().find_map(|slot| slot.answered[index])
    }

    /// When this node last answered a question asked since then.
    pub(crate) fn last_answer(&self, node: Host, since: Instant) -> Option<Instant> {
        let index = usize::from(node == NODES[1]);
        self.slots(since).iter().rev().find_map(|slot| slot.answered[index])
    }

    /// Who answers now: in each of the last slots of a quarter of a second.
    pub(crate) fn serving(&self) -> [bool; 2] {
        let slots = self.slots(Instant::now() - Duration::from_millis(300));
        [0, 1].map(|node| !slots.is_empty() && slots.iter().all(|slot| slot.serving()[node]))
    }

    /// An operator had two nodes serve from then until then: nobody complains.
    pub(crate) fn allow_two(&mut self, begin: Instant, end: Instant) {
        self.forced.push((begin, end));
    }

    /// Fails if both nodes answered within the same slot since then: a phone, or whoever stands beside them, be they cut
    /// off from each other or not.
    pub(crate) fn never_two_serving(&self, since: Instant) -> Outcome {
        for slots in [self.slots(since), over(&lock(&self.seen).beside, since)] {
            let allowed = |at| self.forced.iter().any(|(begin, end)| (*begin..=*end).contains(&at));
            let both: Vec<_> =
                slots.iter().filter(|slot| slot.serving() == [true, true] && !allowed(slot.asked)).collect();
            ensure(both.is_empty(), || {
                let first = both.first().map_or(0.0, |slot| slot.asked.duration_since(since).as_secs_f64());
                format!(
                    "two nodes serve: both answered in {} of {} slots, first after {first:.2} s",
                    both.len(),
                    slots.len()
                )
            })?;
        }
        Ok(())
    }

    /// Longest time in which both nodes answered, since then, whether somebody meant them to or not.
    pub(crate) fn longest_both(&self, since: Instant) -> Duration {
        let both = |slots: Vec<Slot>| crate::alarms::longest_run(slots.iter().map(|slot| slot.serving() == [true; 2]));
        both(self.slots(since)).max(both(over(&lock(&self.seen).beside, since)))
    }

    /// When this node last answered somebody beside it a question asked since then.
    pub(crate) fn fell_silent(&self, node: Host, since: Instant) -> Option<Instant> {
        let index = usize::from(node == NODES[1]);
        over(&lock(&self.seen).beside, since).iter().rev().find_map(|slot| slot.answered[index])
    }

    /// Longest time in which this node answered nobody beside it, since then; an answer that came late is one.
    pub(crate) fn longest_silence_beside(&self, node: Host, since: Instant) -> Duration {
        let index = usize::from(node == NODES[1]);
        let slots = over(&lock(&self.seen).beside, since);
        let end = slots.last().map(|slot| slot.asked);
        let answers = slots.iter().filter_map(|slot| slot.answered[index]);
        let mut last = since;
        let mut longest = Duration::ZERO;
        for at in answers.chain(end) {
            longest = longest.max(at.saturating_duration_since(last));
            last = last.max(at);
        }
        longest
    }

    /// Longest time in which no node answered, since then.
    pub(crate) fn longest_silence(&self, since: Instant) -> Duration {
        let slots = self.slots(since);
        let mut last = since;
        let mut longest = Duration::ZERO;
        for slot in &slots {
            if slot.serving() != [false, false] {
                longest = longest.max(slot.asked.duration_since(last));
                last = slot.asked;
            }
        }
        longest.max(slots.last().map_or(Duration::ZERO, |slot| slot.asked.duration_since(last)))
    }

    /// The XiVO registered at the media server, by the last sample.
    pub(crate) fn registered(&self) -> Vec<Ipv4Addr> {
        lock(&self.seen).registered.last().map(|(_, addresses)| addresses.clone()).unwrap_or_default()
    }

    /// Whether the media server had all of these at one time, since then.
    pub(crate) fn were_registered(&self, nodes: &[Host], since: Instant) -> bool {
        let seen = lock(&self.seen);
        let all = |addresses: &Vec<Ipv4Addr>| nodes.iter().all(|node| addresses.contains(&node.address()));
        seen.registered.iter().any(|(at, addresses)| *at >= since && all(addresses))
    }

    /// When the media server first had just this registration, since then.
    pub(crate) fn first_registered(&self, node: Host, since: Instant) -> Option<Instant> {
        let seen = lock(&self.seen);
        let alone = |addresses: &Vec<Ipv4Addr>| *addresses == [node.address()];
        seen.registered.iter().find(|(at, addresses)| *at >= since && alone(addresses)).map(|(at, _)| *at)
    }

    /// The timeline since then in one line: `0.0 main, 3.2 nobody, 5.1 standby`.
    pub(crate) fn story(&self, since: Instant) -> String {
        story(&self.slots(since), since)
    }

    /// The same, seen from beside the nodes.
    pub(crate) fn story_beside(&self, since: Instant) -> String {
        story(&over(&lock(&self.seen).beside, since), since)
    }
}

fn over(slots: &[Slot], since: Instant) -> Vec<Slot> {
    slots[..slots.len().saturating_sub(1)].iter().filter(|slot| slot.asked >= since).copied().collect()
}

/// Of a long story so many changes at the beginning are told, and as many at the end.
const MOST: usize = 20;

fn story(slots: &[Slot], since: Instant) -> String {
    let mut parts = Vec::new();
    let mut last = None;
    for slot in slots {
        let now = slot.serving();
        if last != Some(now) {
            let who = match now {
                [true, false] => "main",
                [false, true] => "standby",
                [false, false] => "nobody",
                [true, true] => "BOTH",
            };
            parts.push(format!("{:.2} {who}", slot.asked.duration_since(since).as_secs_f64()));
            last = Some(now);
        }
    }
    // On a lossy link it changes all the time.
    let count = parts.len();
    if count > 2 * MOST {
        parts.splice(MOST..count - MOST, [format!("({} more)", count - 2 * MOST)]);
    }
    parts.join(", ")
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Asks both nodes at the beginning of each slot and takes answers until it ends.
fn probe(seen: &Mutex<Seen>, slots: fn(&mut Seen) -> &mut Vec<Slot>, end: &AtomicBool) -> Outcome {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(because("the prober's socket"))?;
    let own = fastrand::u64(..);
    let mut bytes = [0; BIGGEST];
    for number in 1.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let asked = Instant::now();
        slots(&mut lock(seen)).push(Slot { asked, answered: [None; 2] });
        for node in NODES {
            // Nobody there, or no way there: silence is what is recorded.
            let _ = socket.send_to(sip::options(node.address(), own, number).as_bytes(), (node.address(), PORT));
        }
        loop {
            let left = SLOT.saturating_sub(asked.elapsed());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left)).map_err(because("the prober's socket"))?;
            match socket.recv_from(&mut bytes) {
                Ok((size, from)) => take(slots(&mut lock(seen)), from, &String::from_utf8_lossy(&bytes[..size])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Refused or unreachable: as good as silence.
                Err(_) => {}
            }
        }
    }
    Ok(())
}

fn take(slots: &mut [Slot], from: SocketAddr, message: &str) {
    let node = NODES.iter().position(|node| from.ip() == node.address());
    let slot = sip::answered(message).and_then(|number| slots.get_mut(number.checked_sub(1)?));
    if let (Some(node), Some(slot)) = (node, slot) {
        slot.answered[node].get_or_insert_with(Instant::now);
    }
}
