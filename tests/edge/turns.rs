//! Tests run side by side, but for those that measure or fill the machine: each of them has it for itself.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct Turns {
    /// Sites that stand.
    sites: usize,
    /// Tests that wait to be alone.
    waiting: usize,
    alone: bool,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { sites: 0, waiting: 0, alone: false });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// Sites this test has, so that it gets a second one although somebody waits for the end of its first.
    static MINE: Cell<usize> = const { Cell::new(0) };
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn wait_while(waits: impl FnMut(&mut Turns) -> bool) -> MutexGuard<'static, Turns> {
    let (turns, waited) = CHANGED.wait_timeout_while(turns(), NEVER, waits).expect("nobody panics with it");
    assert!(!waited.timed_out(), "another test goes on for ever: {turns:?}");
    turns
}

/// A site that stands beside those of other tests. Its test's own sites are made by its own thread.
#[derive(Debug)]
pub struct Beside(());

impl Beside {
    pub fn others() -> Self {
        let at_once = ALONE.get() || MINE.get() > 0;
        wait_while(|turns| !at_once && (turns.alone || turns.waiting > 0)).sites += 1;
        MINE.set(MINE.get() + 1);
        Self(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        MINE.set(MINE.get().saturating_sub(1));
        turns().sites -= 1;
        CHANGED.notify_all();
    }
}

/// A test that has the machine for itself until this is dropped.
#[derive(Debug)]
pub struct Alone(());

/// Waits until no other test has a site; none gets one until this is dropped. Taken before the test's own first site.
pub fn alone() -> Alone {
    turns().waiting += 1;
    let mut turns = wait_while(|turns| turns.alone || turns.sites > 0);
    turns.waiting -= 1;
    turns.alone = true;
    ALONE.set(true);
    Alone(())
}

impl Drop for Alone {
    fn drop(&mut self) {
        ALONE.set(false);
        turns().alone = false;
        CHANGED.notify_all();
    }
}
