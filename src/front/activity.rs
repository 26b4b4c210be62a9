//! One client connection, as seen by those who carry its requests: they tell here what becomes of it after an answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::client::ClientStream;

tokio::task_local! {
    /// The connection whose request a task carries. Pingora makes a request's context of nothing but the application.
    pub static CURRENT: Arc<Activity>;
}

/// One client connection.
#[derive(Debug, Default)]
pub struct Activity {
    kept: AtomicBool,
    returned: Mutex<Option<Box<ClientStream>>>,
}

impl Activity {
    /// The request was answered whole and read whole, and the client was told that its connection goes on. Pingora gives
    /// up the connection of a request that failed; what the client sends next would be lost with it.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::keep`] was called for the present request.
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// Hands back a stream that was dropped though its connection goes on.
    pub fn hand_back(&self, stream: ClientStream) {
        *self.returned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stream));
    }

    /// The stream that was handed back, ready for the next request.
    pub fn take_back(&self) -> Option<Box<ClientStream>> {
        if !self.kept.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
