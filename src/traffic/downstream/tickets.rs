//! Session tickets that outlive the process. A client that comes back resumes its session (RFC 8446 section 2.2) instead of a
//! whole handshake, and after a restart all clients come back at once.
//!
//! The keys are the secret: who has them can open the tickets of their time, and over TLS 1.2 what was said in sessions that
//! were begun or resumed with them (over TLS 1.3 a resumed session agrees on a secret anew). So each is good for a day, then
//! it is gone from the memory and the disk.

mod file;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;

pub use self::file::{Unusable, keep};

/// A key makes tickets for so long. With nonces drawn at random it may make four billion: a hundred thousand a second.
const MAKES: Duration = Duration::from_secs(12 * 3600);
/// A ticket is good for so long, so that its key must be known for as long after it has made its last one.
const GOOD: Duration = Duration::from_secs(12 * 3600);
/// A key from further in the future was made by a clock that was wrong, and would not be replaced for as long.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Keys kept at most: one that makes tickets, one whose tickets are still good, and one between for clocks that jump.
const MOST: usize = 3;

const NAME: usize = 16;
const SECRET: usize = 32;

/// One key: its name, by which a ticket finds it, and what seals.
struct Key {
    /// Seconds of the Unix epoch.
    made: u64,
    name: [u8; NAME],
    secret: [u8; SECRET],
    seals: RandomizedNonceKey,
}

/// The keys of one moment, the newest first.
#[derive(Clone, Default)]
pub struct Keys(Vec<Arc<Key>>);

/// There is no randomness, or the library takes no key.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the TLS library made no key for session tickets")]
pub struct NoKey;

impl Key {
    fn make(now: u64) -> Result<Self, NoKey> {
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        aws_lc_rs::rand::fill(&mut name).map_err(|_| NoKey)?;
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| NoKey)?;
        Self::of(now, name, secret)
    }

    fn of(made: u64, name: [u8; NAME], secret: [u8; SECRET]) -> Result<Self, NoKey> {
        let seals = RandomizedNonceKey::new(&AES_256_GCM, &secret).map_err(|_| NoKey)?;
        Ok(Self { made, name, secret, seals })
    }
}

impl Keys {
    /// What they come to at `now`, in seconds of the Unix epoch: those that are over are gone, and a fresh one is there
    /// when it is due. None: nothing changes.
    fn turned(&self, now: u64) -> Result<Option<Self>, NoKey> {
        let lasts =
            |key: &&Arc<Key>| key.made <= now + AHEAD.as_secs() && now < key.made + MAKES.as_secs() + GOOD.as_secs();
        let mut kept: Vec<_> = self.0.iter().filter(lasts).cloned().collect();
        if kept.first().is_none_or(|newest| now >= newest.made + MAKES.as_secs()) {
            kept.insert(0, Arc::new(Key::make(now)?));
        } else if kept.len() == self.0.len() {
            return Ok(None);
        }
        kept.truncate(MOST);
        Ok(Some(Self(kept)))
    }
}

/// Makes and opens tickets, by the keys in force. Handshakes load a pointer; nobody waits for who turns the keys.
pub struct Tickets {
    keys: ArcSwap<Keys>,
}

impl Tickets {
    /// Begins with the keys in `directory`, if there are some that can be used; the second says why not.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn open(directory: &Path) -> Result<(Self, Option<Unusable>), NoKey> {
        let (found, unusable) = match file::read(directory) {
            Ok(found) => (found, None),
            Err(why) => (Keys::default(), Some(why)),
        };
        let keys = found.turned(now())?.unwrap_or(found);
        Ok((Self { keys: ArcSwap::from_pointee(keys) }, unusable))
    }

    /// Begins with a key of its own, known to nobody else.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn alone() -> Result<Self, NoKey> {
        let keys = Keys::default().turned(now())?.unwrap_or_default();
        Ok(Self { keys: ArcSwap::from_pointee(keys) })
    }

    /// Turns the keys if it is time.
    fn turn(&self, now: u64) -> Result<(), NoKey> {
        if let Some(turned) = self.keys.load().turned(now)? {
            self.keys.store(Arc::new(turned));
        }
        Ok(())
    }
}

fn now() -> u64 {
    host::unix_ms() / 1_000
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(GOOD.as_secs()).unwrap_or(u32::MAX)
    }

    /// The key's name, the nonce, what is sealed, its tag. The name is sealed along, so that no ticket passes for another
    /// key's.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let key = keys.0.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seals.seal_in_place_append_tag(Aad::from(key.name), &mut sealed).ok()?;
        Some([&key.name[..], &nonce.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.load();
        let key = keys.0.iter().find(|key| key.name == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let length = key.seals.open_in_place(nonce, Aad::from(key.name), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No key in any log.
        f.debug_struct("Tickets").field("keys", &self.keys.load().0.len()).finish()
    }
}

#[cfg(test)]
mod tests;
