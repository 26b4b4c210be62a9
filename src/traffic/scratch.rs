//! What bytes are read into that go on at once: one for each thread, not one for each connection.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// One TLS record: what a slow sink can cost at most.
pub const CHUNK: usize = 16 * 1024;

/// This thread's chunk, taken for one poll, so that an idle connection holds none.
#[derive(Debug)]
pub struct Chunk(Box<[u8]>);

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

impl Chunk {
    /// Takes it; a second one at the same time is made anew.
    pub fn take() -> Self {
        Self(SPARE.take().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice()))
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        SPARE.set(Some(std::mem::take(&mut self.0)));
    }
}
