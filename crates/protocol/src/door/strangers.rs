//! Places for those who have shown no certificate yet: few, and fewer for each address, so that nobody keeps others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Handshakes at once. A site has a few dozen nodes, and each is through within milliseconds.
const STRANGERS: usize = 128;
/// Handshakes at once with one address: the lanes of a few nodes behind one router, and as many again that are dialled anew.
const STRANGERS_EACH: usize = 16;

/// The places.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers {
    /// How many of them an address has; none of them 0.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    address: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Strangers {
    /// Takes a place; an error is why there is none, for people.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Stranger, &'static str> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&address).is_some_and(|its| *its >= STRANGERS_EACH) {
            return Err("too many connections of its address have shown no certificate yet");
        }
        if taken.values().sum::<usize>() >= STRANGERS {
            return Err("too many connections have shown no certificate yet");
        }
        *taken.entry(address).or_default() += 1;
        Ok(Stranger { address, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(its) = taken.get_mut(&self.address) {
            *its -= 1;
            if *its == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_own_limit_and_all_together_have_one() {
        let strangers = Strangers::default();
        let address = |last: u8| IpAddr::from([127, 0, 0, last]);
        let mut inside: Vec<_> = (0..STRANGERS_EACH).map(|_| strangers.admit(address(1)).unwrap()).collect();
        assert!(strangers.admit(address(1)).unwrap_err().contains("of its address"));
        for last in 2..=8 {
            inside.extend((0..STRANGERS_EACH).map(|_| strangers.admit(address(last)).unwrap()));
        }
        assert!(strangers.admit(address(9)).unwrap_err().starts_with("too many connections have"));
        inside.remove(0);
        inside.push(strangers.admit(address(1)).unwrap());
        inside.clear();
        assert!(strangers.taken.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }
}
