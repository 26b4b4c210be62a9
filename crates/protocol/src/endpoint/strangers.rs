//! Places for those who have shown no certificate yet: few, and fewer for each address, so that nobody keeps others out.
//! Who is configured here has places of its own; of all others the address with the most makes room.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Handshakes at once. A site has a few dozen nodes, and each is through within milliseconds.
const STRANGERS: usize = 128;
/// Handshakes at once with one address: the lanes of a few nodes behind one router, and as many again that are dialled anew.
const STRANGERS_EACH: usize = 16;

/// The places of those who have not yet shown a certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers {
    /// Addresses that take none of the others' places.
    known: Arc<HashSet<IpAddr>>,
    /// Who is there, by address, oldest first; no address has none.
    taken: Taken,
}

type Taken = Arc<Mutex<HashMap<IpAddr, Vec<Arc<Notify>>>>>;

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    address: IpAddr,
    leave: Arc<Notify>,
    taken: Taken,
}

impl Strangers {
    /// Places, with some of their own for each of these addresses.
    pub(super) fn new(known: impl IntoIterator<Item = IpAddr>) -> Self {
        let known = known.into_iter().map(|address| address.to_canonical()).collect();
        Self { known: Arc::new(known), taken: Taken::default() }
    }

    /// Takes a place; an error is why there is none, for people.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Stranger, &'static str> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let its = taken.get(&address).map_or(0, Vec::len);
        if its >= STRANGERS_EACH {
            return Err("too many connections of its address have shown no certificate yet");
        }
        let others = || taken.iter().filter(|(other, _)| !self.known.contains(other));
        if !self.known.contains(&address) && others().map(|(_, there)| there.len()).sum::<usize>() >= STRANGERS {
            // A few addresses that say nothing must not keep the rest out. Who is honest is through in no time.
            let most = others().max_by_key(|(_, there)| there.len()).map(|(other, there)| (*other, there.len()));
            // The address that makes room must keep more than this one gets: else the two would push each other out in
            // turn.
            let Some((most, count)) = most.filter(|(_, count)| *count > its + 1) else {
                return Err("too many connections have shown no certificate yet");
            };
            if let Some(there) = taken.get_mut(&most).filter(|_| count > 0) {
                there.remove(0).notify_one();
            }
        }
        let leave = Arc::new(Notify::new());
        taken.entry(address).or_default().push(Arc::clone(&leave));
        Ok(Stranger { address, leave, taken: Arc::clone(&self.taken) })
    }
}

impl Stranger {
    /// Waits until somebody else needs the place.
    pub(super) async fn makes_room(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(its) = taken.get_mut(&self.address) {
            its.retain(|leave| !Arc::ptr_eq(leave, &self.leave));
            if its.is_empty() {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn an_address_has_its_own_limit_and_all_together_have_one() {
        let strangers = Strangers::default();
        let mut inside: Vec<_> = (1..=128).map(|last| strangers.admit(address(last)).unwrap()).collect();
        assert!(strangers.admit(address(200)).unwrap_err().starts_with("too many connections have"));
        inside.remove(0);
        inside.push(strangers.admit(address(200)).unwrap());
        inside.clear();
        inside.extend((0..STRANGERS_EACH).map(|_| strangers.admit(address(1)).unwrap()));
        assert!(strangers.admit(address(1)).unwrap_err().contains("of its address"));
        inside.clear();
        assert!(strangers.taken.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn a_dozen_silent_addresses_keep_nobody_out() {
        let strangers = Strangers::new([address(100)]);
        let mut silent = Vec::new();
        for last in 1..=12 {
            silent.extend((0..STRANGERS_EACH).filter_map(|_| strangers.admit(address(last)).ok()));
        }
        let new = strangers.admit(address(99)).unwrap();
        let left = silent.iter().filter(|one| one.makes_room().now_or_never().is_some()).count();
        assert!(left > 0 && new.makes_room().now_or_never().is_none(), "{left} of them make room");
        let known: Vec<_> = (0..STRANGERS_EACH).map(|_| strangers.admit(address(100)).unwrap()).collect();
        let again = silent.iter().filter(|one| one.makes_room().now_or_never().is_some()).count();
        assert_eq!((known.len(), again), (STRANGERS_EACH, 0), "who is configured takes nobody's place");
        let total: usize = strangers.taken.lock().unwrap().values().map(Vec::len).sum();
        assert_eq!(total, STRANGERS + STRANGERS_EACH);
    }
}
