//! What survives a restart: files that are replaced whole, documents with a format and a version, a journal of bounded
//! size, and a directory that one process has for itself. Everything blocks on the disk; threads are left to the programs.

mod atomic;
mod document;
mod journal;
mod lock;
pub mod open;

pub use atomic::{MODE, beside, replace, replace_secret, replace_until_boot, sync_directory};
pub use document::{Document, DocumentError};
pub use journal::{Entry, FILE_BYTES, Journal};
pub use lock::{Lock, LockError, lock};
