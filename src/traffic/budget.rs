//! What requests under way hold in memory: all together, those of one client address, and those of one connection.
//!
//! Clients who ask and do not read, or begin to send and stop, hold what was read for them. So everybody may hold a part of
//! what is still free (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998): the more
//! there are who hold, the less each of them may, and something is left for whoever comes next without anybody being ended.
//!
//! A request is admitted with what it costs at least, or refused. Beyond that, a part of a body is read when the one before
//! it has left. Where it does not leave, reads go on a little, in small parts, until Pingora's queues are full: who is
//! waited for then is told by them, and an upstream that waits for a client never looks slow.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::io::ReadBuf;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

tokio::task_local! {
    /// The request that a task carries.
    pub static HOLDING: Arc<Holding>;
}

/// What a request holds at least, its head apart, which counts twice: as it came and as it goes on.
///
/// Measured in a release build as what was resident beyond an Edge at rest, by 480 streams on 4 h2 connections: 70 KiB each
/// where the client lets nothing be sent, of which 26 KiB count as on their way; 61 KiB where it does not read; 29 KiB for an
/// upload that stops. It is the task (15 KiB), a head's buffer and queue each way, and a connection to an upstream, whose
/// buffer of 64 KiB Pingora makes for each answer, and of which a quarter is ever touched.
pub const REQUEST: usize = 48 * 1024;
/// What is kept of a request's body at most, to send it again; a larger one cannot be.
pub const KEPT_FOR_REPLAY: usize = 64 * 1024;
/// Bytes on their way through one request in one direction: a TLS record's worth.
const WINDOW: usize = 16 * 1024;
/// The same once [`WARM`] bytes have left without anybody waiting for them: reads of a record each make a download cost half
/// as much again.
const WIDE: usize = 64 * 1024;
/// More than the kernels on both ends take of what is sent to a client that reads nothing (Linux: 4 MiB and 6 MiB).
const WARM: usize = 12 << 20;
/// Bytes on their way through all requests of one connection, while there is a choice.
const CROWD: usize = 512 * 1024;
/// Reads are never smaller: Pingora's queues take nine of them.
const LEAST: usize = 1024;
/// Between two reads for a request whose bytes do not leave. Until its queues are full, the time limit of what is read runs:
/// nine of these are shorter than any that is of use.
const PAUSE: Duration = Duration::from_millis(20);
/// A read takes at most this part of what its connection may still hold: its requests are many.
const PART: usize = 8;
/// One address may hold half of what is free, so that it leaves a third of all; whole offices share one.
const ADDRESS: usize = 2;
/// One connection may hold a sixteenth of what is free. A page with all its parts holds less.
const CONNECTION: usize = 16;

/// What all requests may hold.
#[derive(Debug)]
pub struct Budget {
    most: AtomicUsize,
    used: AtomicUsize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { most: AtomicUsize::new(usize::MAX), used: AtomicUsize::new(0) }
    }
}

impl Budget {
    /// Sets what they may hold, in bytes; what they hold already is not taken back.
    pub fn set_most(&self, bytes: usize) {
        self.most.store(bytes, Ordering::Relaxed);
    }

    /// What they hold, in bytes.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn free(&self) -> usize {
        self.most.load(Ordering::Relaxed).saturating_sub(self.used())
    }
}

/// What the requests of one client address hold.
#[derive(Debug, Default)]
pub struct Share(AtomicUsize);

/// What the requests of one connection hold.
#[derive(Debug, Default)]
pub struct Account {
    budget: Arc<Budget>,
    address: Arc<Share>,
    used: AtomicUsize,
    /// Of it, bytes of bodies.
    on_way: AtomicUsize,
    /// Of it, what the client may send ahead.
    window: AtomicUsize,
    /// Bytes of bodies that were written to upstreams, and how many somebody waits for; 0: nobody does.
    went_on: AtomicUsize,
    awaited: AtomicUsize,
    went_on_far: Notify,
}

impl Account {
    /// Of a connection from an address.
    pub fn new(budget: Arc<Budget>, address: Arc<Share>) -> Self {
        let [used, on_way, window, went_on, awaited] = Default::default();
        Self { budget, address, used, on_way, window, went_on, awaited, went_on_far: Notify::new() }
    }

    /// How much more it may hold.
    fn room(&self) -> usize {
        // Both by what is free at the moment, not by fixed shares: one client alone may have much, and many leave room
        // for one more.
        let free = self.budget.free();
        let address = (free / ADDRESS).saturating_sub(self.address.0.load(Ordering::Relaxed));
        let own = (free / CONNECTION).saturating_sub(self.used.load(Ordering::Relaxed));
        address.min(own)
    }

    fn take(&self, bytes: usize) {
        // Sums alone: nothing else is read by them, so no order of memory is needed. Two that look in the same instant
        // may both be let in: the bound is missed by no more than one of them takes.
        for used in [&self.budget.used, &self.address.0, &self.used] {
            used.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn give_back(&self, bytes: usize) {
        for used in [&self.budget.used, &self.address.0, &self.used] {
            used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Takes what the client may send ahead over h2 before anything of it is read, `bytes` in all, until the connection ends:
    /// what it was once allowed cannot be taken back. Returns whether it may hold that.
    pub fn open_window(&self, bytes: usize) -> bool {
        let open = self.window.load(Ordering::Relaxed);
        let more = bytes.saturating_sub(open);
        if more == 0 {
            return true;
        }
        // Streams of one connection are admitted in several tasks: only one of them pays for a window.
        let opened = more <= self.room()
            && self.window.compare_exchange(open, bytes, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if opened {
            self.take(more);
        }
        opened
    }

    /// Waits until `bytes` of bodies have gone on to upstreams, in all.
    pub async fn bodies_went_on(&self, bytes: usize) {
        // Said before the count is looked at, and `notify_one` keeps a permit: bytes that go on before the wait begins end it.
        self.awaited.store(bytes, Ordering::Relaxed);
        while self.went_on.load(Ordering::Acquire) < bytes {
            self.went_on_far.notified().await;
        }
    }

    /// Bytes of bodies that have gone on to upstreams, in all.
    pub fn went_on(&self) -> usize {
        self.went_on.load(Ordering::Acquire)
    }

    fn note_went_on(&self, bytes: usize) {
        let all = self.went_on.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let awaited = self.awaited.load(Ordering::Relaxed);
        if awaited > 0 && all >= awaited {
            self.went_on_far.notify_one();
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.give_back(self.window.load(Ordering::Relaxed));
    }
}

/// What one request holds.
#[derive(Debug)]
pub struct Holding {
    account: Arc<Account>,
    /// Taken when it was admitted, and for what is kept of its body.
    fixed: AtomicUsize,
    kept: AtomicUsize,
    /// The request's body will not be sent again.
    once: AtomicBool,
    /// From the upstream to the client.
    pub answer: Way,
    /// From the client to the upstream.
    pub body: Way,
}

/// One direction of a request: read, queued by Pingora, seen by our filter, then held until written.
#[derive(Debug, Default)]
pub struct Way {
    /// Read since our filter last saw any of it.
    fresh: AtomicUsize,
    /// Seen, and not written yet.
    held: AtomicUsize,
    /// Written since somebody last waited in vain.
    flowed: AtomicUsize,
    /// The filter had its turn since the last read.
    yielded: AtomicBool,
    /// Waits until what is held has been written.
    reader: AtomicWaker,
}

/// What a read may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Read so many bytes at most.
    Read(usize),
    /// Let the filter have a turn first.
    Yield,
    /// Wait until what was read before is written, or for [`PAUSE`]; then read the least.
    Wait,
}

impl Holding {
    /// Of a request on a connection.
    pub fn new(account: Arc<Account>) -> Self {
        let (fixed, kept, once) = Default::default();
        Self { account, fixed, kept, once, answer: Way::default(), body: Way::default() }
    }

    /// Admits the request, whose head has so many bytes, and of whose body so many may come before it is read; or not.
    pub fn admit(&self, head: usize, ahead: usize) -> bool {
        let bytes = REQUEST + 2 * head;
        // The whole of it at the beginning: a request that is refused later has cost an upstream's work.
        let admitted = bytes <= self.account.room() && self.account.open_window(ahead);
        if admitted {
            self.charge(bytes);
        }
        admitted
    }

    /// Keeps nothing of its body: it will not be sent again.
    pub fn keep_no_body(&self) {
        self.once.store(true, Ordering::Relaxed);
    }

    /// Yes, until the request is known to be one that is not sent again.
    pub fn keeps_body(&self) -> bool {
        !self.once.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: usize) {
        self.account.take(bytes);
        self.fixed.fetch_add(bytes, Ordering::Relaxed);
    }

    fn turn(&self, way: &Way) -> Turn {
        let (fresh, held) = (way.fresh.load(Ordering::Relaxed), way.held.load(Ordering::Relaxed));
        let window = if way.flowed.load(Ordering::Relaxed) < WARM { WINDOW } else { WIDE };
        let window = window.saturating_sub(fresh + held);
        // What is read may be framing that no filter ever sees: it is waited for once.
        if held == 0 && fresh > 0 && !way.yielded.swap(true, Ordering::Relaxed) {
            return Turn::Yield;
        }
        if held > 0 && window == 0 {
            return Turn::Wait;
        }
        // Many streams of one connection share its way to the client: their first parts become smaller the more there
        // are.
        let crowd = CROWD.saturating_sub(self.account.on_way.load(Ordering::Relaxed));
        // Never nothing: reads of the least go on until Pingora's queues are full, so that its time limits tell who is
        // slow.
        Turn::Read(window.min(crowd / PART).min(self.account.room() / PART).max(LEAST))
    }

    /// Counts a part of the answer that our filter sees, until it is written.
    pub fn hold_answer(self: &Arc<Self>, part: &mut Option<Bytes>) {
        self.hold(part, Direction::Answer);
    }

    /// Counts a part of the request's body that our filter sees, until it is written, and what is kept of it.
    pub fn hold_body(self: &Arc<Self>, part: &mut Option<Bytes>) {
        if self.keeps_body() {
            // What is kept for a replay is a second copy, and counts beside what is on its way.
            let size = part.as_ref().map_or(0, Bytes::len);
            let kept = self.kept.load(Ordering::Relaxed);
            let more = size.min(KEPT_FOR_REPLAY - kept.min(KEPT_FOR_REPLAY));
            self.kept.store(kept + more, Ordering::Relaxed);
            self.charge(more);
        }
        self.hold(part, Direction::Body);
    }

    fn hold(self: &Arc<Self>, part: &mut Option<Bytes>, direction: Direction) {
        let way = self.way(direction);
        // All that was read before has been seen, or is seen now: Pingora empties its queue in one go.
        way.fresh.store(0, Ordering::Relaxed);
        way.yielded.store(false, Ordering::Relaxed);
        let Some(bytes) = part.take_if(|bytes| !bytes.is_empty()) else { return };
        way.held.fetch_add(bytes.len(), Ordering::Relaxed);
        self.account.take(bytes.len());
        self.account.on_way.fetch_add(bytes.len(), Ordering::Relaxed);
        *part = Some(Bytes::from_owner(Held { bytes, holding: self.clone(), direction }));
    }

    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Answer => &self.answer,
            Direction::Body => &self.body,
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.account.give_back(self.fixed.load(Ordering::Relaxed));
    }
}

/// How reads of one connection wait for their turn.
#[derive(Debug, Default)]
pub struct Pause(Option<Pin<Box<Sleep>>>);

impl Pause {
    /// Reads for the request that this task carries, as much as it may; all there is room for where it carries none.
    pub fn read_for(
        &mut self,
        way: impl FnOnce(&Holding) -> &Way,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        read: impl FnOnce(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let Ok(holding) = HOLDING.try_with(Arc::clone) else { return read(cx, buf) };
        let way = way(&holding);
        let most = match holding.turn(way) {
            Turn::Read(most) => most,
            Turn::Yield => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Turn::Wait => {
                way.reader.register(cx.waker());
                // It may have been written in between.
                if way.held.load(Ordering::Acquire) > 0 {
                    ready!(self.0.get_or_insert_with(|| Box::pin(sleep(PAUSE))).as_mut().poll(cx));
                    // It waited in vain, so this client does not take all that comes: small parts again.
                    way.flowed.store(0, Ordering::Relaxed);
                }
                LEAST
            }
        };
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(buf.remaining().min(most)));
        ready!(read(cx, &mut part))?;
        self.0 = None;
        let count = part.filled().len();
        way.fresh.fetch_add(count, Ordering::Relaxed);
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Answer,
    Body,
}

/// Bytes that count until they are written, which is when they are dropped.
struct Held {
    bytes: Bytes,
    holding: Arc<Holding>,
    direction: Direction,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let way = self.holding.way(self.direction);
        self.holding.account.on_way.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.holding.account.give_back(self.bytes.len());
        if let Direction::Body = self.direction {
            self.holding.account.note_went_on(self.bytes.len());
        }
        way.flowed.fetch_add(self.bytes.len(), Ordering::Relaxed);
        if way.held.fetch_sub(self.bytes.len(), Ordering::AcqRel) == self.bytes.len() {
            way.reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn budget(most: usize) -> Arc<Budget> {
        let budget = Arc::<Budget>::default();
        budget.set_most(most);
        budget
    }

    /// Takes all it may get, one request after the other.
    fn fill(account: &Arc<Account>) -> Vec<Arc<Holding>> {
        let request = || {
            let holding = Arc::new(Holding::new(account.clone()));
            holding.admit(500, 0).then_some(holding)
        };
        std::iter::from_fn(request).collect()
    }

    #[test]
    fn however_many_take_all_they_may_the_next_one_gets_something() {
        let budget = budget(512 * MIB);
        let mut held = Vec::new();
        for address in 0..8 {
            let share = Arc::<Share>::default();
            for connection in 0..64 {
                let account = Arc::new(Account::new(budget.clone(), share.clone()));
                let its = fill(&account);
                assert!(address + connection > 0 || its.len() > 500, "{}", its.len());
                held.push(its);
            }
            assert!(budget.used() < 512 * MIB);
            let other = Arc::new(Account::new(budget.clone(), Arc::default()));
            assert!(!fill(&other).is_empty(), "after {address}");
        }
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_body_that_is_not_sent_again_counts_only_on_its_way() {
        let budget = budget(512 * MIB);
        let account = Arc::new(Account::new(budget.clone(), Arc::default()));
        for (once, kept) in [(false, 9), (true, 0)] {
            let holding = Arc::new(Holding::new(account.clone()));
            if once {
                holding.keep_no_body();
            }
            let mut part = Some(Bytes::from_static(b"some body"));
            holding.hold_body(&mut part);
            assert_eq!(budget.used(), 9 + kept);
            drop(part);
            assert_eq!(budget.used(), kept);
        }
    }

    #[test]
    fn one_address_leaves_a_third_however_many_its_connections() {
        let budget = budget(96 * MIB);
        let share = Arc::<Share>::default();
        let accounts: Vec<_> = (0..200).map(|_| Arc::new(Account::new(budget.clone(), share.clone()))).collect();
        let held: Vec<_> = accounts.iter().map(fill).collect();
        assert!(budget.used() <= 33 * MIB, "{}", budget.used());
        assert!(held.iter().flatten().count() > 500);
    }

    #[test]
    fn what_is_held_is_given_back_when_it_is_written() {
        let budget = budget(64 * MIB);
        let account = Arc::new(Account::new(budget.clone(), Arc::default()));
        let holding = Arc::new(Holding::new(account.clone()));
        assert!(holding.admit(0, 65_535));
        assert!(holding.admit(0, 65_535), "the window is one for all");
        let fixed = 2 * REQUEST + 65_535;
        let mut answer = Some(Bytes::from(vec![7; 5000]));
        let mut body = Some(Bytes::from(vec![7; 70_000]));
        holding.hold_answer(&mut answer);
        holding.hold_body(&mut body);
        assert_eq!(budget.used(), fixed + 5000 + 70_000 + KEPT_FOR_REPLAY);
        let half = body.as_mut().unwrap().split_to(10);
        drop((answer, body));
        assert_eq!(budget.used(), fixed + 70_000 + KEPT_FOR_REPLAY, "a part of it is still there");
        assert_eq!(account.went_on(), 0);
        drop(half);
        assert_eq!(account.went_on(), 70_000);
        drop(holding);
        assert_eq!(budget.used(), 65_535);
        drop(account);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_for_a_client_that_does_not_read_become_small_and_slow_and_then_large_again() {
        let account = Arc::new(Account::new(budget(64 * MIB), Arc::default()));
        let holding = Arc::new(Holding::new(account));
        let mut pause = Pause::default();
        let mut buf = vec![0; 64 * 1024];
        let mut read = async || {
            std::future::poll_fn(|cx| {
                let mut buf = ReadBuf::new(&mut buf);
                let all = |_: &mut Context<'_>, part: &mut ReadBuf<'_>| {
                    part.initialize_unfilled();
                    part.advance(part.remaining());
                    Poll::Ready(Ok(()))
                };
                pause.read_for(|holding| &holding.answer, cx, &mut buf, all).map_ok(|()| buf.filled().len())
            })
            .await
            .unwrap()
        };
        let filtered = |count: usize| {
            let mut part = Some(Bytes::from(vec![7; count]));
            holding.hold_answer(&mut part);
            part
        };
        HOLDING
            .scope(holding.clone(), async {
                assert_eq!(read().await, WINDOW);
                let first = filtered(WINDOW);
                for _ in 0..9 {
                    let began = tokio::time::Instant::now();
                    assert_eq!(read().await, LEAST);
                    assert_eq!(began.elapsed().as_millis(), PAUSE.as_millis());
                }
                let rest = filtered(9 * LEAST);
                let began = tokio::time::Instant::now();
                let (count, ()) = tokio::join!(read(), async { drop((first, rest)) });
                // At once, and large again: all that was read before has left.
                assert_eq!((count, began.elapsed().as_millis()), (WINDOW, 0));
                // Framing that no filter sees is not waited for.
                assert_eq!(read().await, LEAST);
                drop(filtered(WINDOW));
                assert_eq!(read().await, WINDOW);
            })
            .await;
    }
}
