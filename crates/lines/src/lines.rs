//! A thread that writes lines. There is room for so many; what finds no room is dropped and counted.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

/// Bytes written at once at most: one call to the system for many lines.
const BATCH: usize = 64 * 1024;
/// For how long lines gather before they are written. To wake the writer for each line costs more than to carry the
/// request it tells of.
const GATHER: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(5);

enum Message<T> {
    Line(T),
    Flush(SyncSender<()>),
}

/// Takes what becomes a line.
#[derive(Debug)]
pub struct Lines<T> {
    to: SyncSender<Message<T>>,
    dropped: IntCounter,
}

impl<T> Clone for Lines<T> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone(), dropped: self.dropped.clone() }
    }
}

impl<T: Send + 'static> Lines<T> {
    /// Starts the thread. `format` appends one line, its end included.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(
        name: &str,
        room: usize,
        dropped: IntCounter,
        mut out: impl Write + Send + 'static,
        mut format: impl FnMut(&T, &mut Vec<u8>) + Send + 'static,
    ) -> io::Result<Self> {
        let (to, from) = sync_channel(room);
        let lost = dropped.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || run(&from, &mut out, &mut format, &lost))?;
        Ok(Self { to, dropped })
    }

    /// Hands over, or drops and counts. Never waits.
    pub fn put(&self, what: T) {
        if self.to.try_send(Message::Line(what)).is_err() {
            self.dropped.inc();
        }
    }

    /// Waits until what was put before is written, for `limit` at most.
    #[expect(clippy::disallowed_methods, reason = "an ending program waits, and outside any runtime")]
    pub fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.to.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(_) => return,
            }
            std::thread::sleep(PAUSE);
        }
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

#[expect(clippy::disallowed_methods, reason = "the writer's own thread")]
fn run<T>(
    from: &Receiver<Message<T>>,
    out: &mut impl Write,
    format: &mut impl FnMut(&T, &mut Vec<u8>),
    lost: &IntCounter,
) {
    let mut batch = Vec::with_capacity(BATCH + 4096);
    let mut behind = false;
    while let Ok(first) = from.recv() {
        if !behind && matches!(first, Message::Line(_)) {
            // Nobody is woken meanwhile: the writer does not wait for a line.
            std::thread::sleep(GATHER);
        }
        let mut lines = 0;
        let mut next = Some(first);
        let mut flushed = None;
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    format(&line, &mut batch);
                    lines += 1;
                }
                Message::Flush(done) => {
                    flushed = Some(done);
                    break;
                }
            }
            next = if batch.len() < BATCH { from.try_recv().ok() } else { None };
        }
        behind = batch.len() >= BATCH;
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            // Nothing else can be said of lines that nobody takes: they are counted where metrics show it.
            lost.inc_by(lines);
        }
        batch.clear();
        if let Some(done) = flushed {
            let _ = done.try_send(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// Writes into memory, once it is let.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(room: usize, out: impl Write + Send + 'static) -> (Lines<u32>, IntCounter) {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let format = |n: &u32, to: &mut Vec<u8>| to.extend_from_slice(format!("{n}\n").as_bytes());
        (Lines::spawn("lines", room, dropped.clone(), out, format).unwrap(), dropped)
    }

    #[test]
    fn lines_come_in_order_and_all_are_there_after_a_flush() {
        let out = Slow::default();
        let (lines, dropped) = lines(2000, out.clone());
        (0..1000).for_each(|n| lines.put(n));
        lines.flush(LONG);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, (0..1000).map(|n| format!("{n}\n")).collect::<String>());
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_reader_who_stalls_costs_lines_and_never_time() {
        let out = Slow::default();
        let (lines, dropped) = lines(8, out.clone());
        let stalled = out.0.lock().unwrap();
        (0..1000).for_each(|n| lines.put(n));
        assert!(dropped.get() > 0, "and this line is reached at all");
        drop(stalled);
        lines.flush(LONG);
        let written = out.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(written + dropped.get(), 1000);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (lines, dropped) = lines(8, std::fs::File::options().write(true).open("/dev/full").unwrap());
        lines.put(1);
        lines.flush(LONG);
        assert_eq!(dropped.get(), 1);
    }
}
