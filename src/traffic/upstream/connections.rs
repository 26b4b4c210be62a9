//! Open connections to one side, so that all of them can be cut in one act when it is demoted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Connections of one side. Touched when one opens or closes, never per request.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<HashMap<u64, Arc<Cut>>>,
    next: AtomicU64,
}

/// The string by which one connection is cut.
#[derive(Debug, Default)]
pub struct Cut {
    done: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// Which half of a connection waits.
#[derive(Debug, Clone, Copy)]
pub enum Half {
    /// Waits for bytes, or for the connection itself.
    Read,
    /// Waits for room.
    Write,
}

impl Cut {
    /// Whether the connection is cut. When not, the task wakes once it is.
    #[inline]
    pub fn poll(&self, half: Half, cx: &mut Context<'_>) -> bool {
        match half {
            // Before the look: a cut in between would wake nobody. One waker for each half, since reader and writer may
            // be two tasks.
            Half::Read => self.reader.register(cx.waker()),
            Half::Write => self.writer.register(cx.waker()),
        }
        self.is_done()
    }

    /// Whether the connection is cut.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }
}

/// A registered connection; leaves the register when dropped.
#[derive(Debug)]
pub struct Registered {
    home: Arc<Connections>,
    id: u64,
    cut: Arc<Cut>,
}

impl Registered {
    /// The string by which it is cut.
    pub fn cut(&self) -> &Cut {
        &self.cut
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.home.open().remove(&self.id);
    }
}

/// Connections that were open at one moment.
#[derive(Debug)]
pub struct Present(Vec<Arc<Cut>>);

impl Present {
    /// Cuts them; returns how many they were.
    pub fn cut(self) -> usize {
        for connection in &self.0 {
            connection.cut();
        }
        self.0.len()
    }
}

impl Connections {
    /// Registers a connection about to be opened.
    pub fn register(self: &Arc<Self>) -> Registered {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let cut = Arc::<Cut>::default();
        self.open().insert(id, cut.clone());
        Registered { home: self.clone(), id, cut }
    }

    /// Those that are registered now.
    pub fn present(&self) -> Present {
        Present(self.open().values().cloned().collect())
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Cut>>> {
        // The map stays whole whatever a holder did.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cutting_wakes_who_waits_and_spares_who_comes_later() {
        let side = Arc::new(Connections::default());
        let old = Arc::new(side.register());
        let waiter = tokio::spawn({
            let old = old.clone();
            std::future::poll_fn(move |cx| match old.cut().poll(Half::Read, cx) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            })
        });
        tokio::task::yield_now().await;
        assert_eq!(side.present().cut(), 1);
        waiter.await.unwrap();
        let new = side.register();
        assert!(!new.cut().is_done());
        drop((old, new));
        assert!(side.is_empty());
    }
}
