//! Formats what `tracing` tells as lines, and hands them to their writer.

use std::io::{self, Write};
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

use crate::Lines;

/// Lines that wait for the writer.
const ROOM: usize = 4096;

/// Hands whole events to the thread that writes them, one line each, whatever text from outside they hold.
#[derive(Debug, Clone)]
pub struct Events {
    lines: Lines<Vec<u8>>,
}

impl Events {
    /// Starts the thread; lines without room are counted.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(name: &str, dropped: IntCounter, out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Lines::spawn(name, ROOM, dropped, out, |event: &Vec<u8>, to| one_line(event, to))?;
        Ok(Self { lines })
    }

    /// Says a line that is no event.
    pub fn say(&self, line: &str) {
        self.lines.put(line.into());
    }

    /// Waits until what was said before is written, for `limit` at most.
    pub fn flush(&self, limit: Duration) {
        self.lines.flush(limit);
    }
}

impl MakeWriter<'_> for Events {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Events {
    /// tracing hands over one whole event at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn one_line(event: &[u8], to: &mut Vec<u8>) {
    for byte in event.trim_ascii_end() {
        match byte {
            // Text from outside must not begin a line of its own: it would read like one of this program's.
            b'\n' => to.extend_from_slice(b"\\n"),
            byte => to.push(*byte),
        }
    }
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        let mut line = Vec::new();
        one_line(b"a\nb\n", &mut line);
        assert_eq!(line, b"a\\nb\n");
    }
}
