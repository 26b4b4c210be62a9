//! How many connections are open: of all clients, and of one client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Shards of the per-client counts: enough that two workers seldom meet.
const SHARDS: usize = 16;

/// Counts of open connections.
#[derive(Debug)]
pub struct Admission {
    open: AtomicUsize,
    clients: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    emptied: Notify,
}

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// All clients together hold as many as allowed.
    Full,
    /// This client holds as many as allowed.
    Greedy,
}

/// An admitted connection; counts until dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Default for Admission {
    fn default() -> Self {
        Self { open: AtomicUsize::new(0), clients: std::array::from_fn(|_| Mutex::default()), emptied: Notify::new() }
    }
}

impl Admission {
    /// Counts one connection of `client` in, or says why not.
    pub fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        most: usize,
        most_per_client: usize,
    ) -> Result<Admitted, TurnedAway> {
        let client = network(client);
        if self.open.fetch_add(1, Ordering::AcqRel) >= most {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err(TurnedAway::Full);
        }
        let mut clients = self.shard(client);
        let count = clients.entry(client).or_insert(0);
        if *count >= most_per_client {
            drop(clients);
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err(TurnedAway::Greedy);
        }
        *count += 1;
        drop(clients);
        Ok(Admitted { admission: self.clone(), client })
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until no connection is open.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn shard(&self, client: IpAddr) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        let last = match client {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[7],
        };
        // The map stays whole whatever a holder did.
        self.clients[usize::from(last) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut clients = self.admission.shard(self.client);
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
        drop(clients);
        if self.admission.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.admission.emptied.notify_waiters();
        }
    }
}

/// One client: an IPv4 address, or an IPv6 /64, which is what one subscriber gets (RFC 6177).
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_holds_more_than_allowed_and_leaving_makes_room() {
        let admission = Arc::new(Admission::default());
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let b: IpAddr = "192.0.2.2".parse().unwrap();
        let first = admission.admit(a, 3, 2).unwrap();
        let _second = admission.admit(a, 3, 2).unwrap();
        assert_eq!(admission.admit(a, 3, 2).err(), Some(TurnedAway::Greedy));
        let _third = admission.admit(b, 3, 2).unwrap();
        assert_eq!(admission.admit(b, 3, 2).err(), Some(TurnedAway::Full));
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.admit(a, 3, 2).is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let admission = Arc::new(Admission::default());
        let _one = admission.admit("2001:db8::1".parse().unwrap(), 9, 1).unwrap();
        assert_eq!(admission.admit("2001:db8::2".parse().unwrap(), 9, 1).err(), Some(TurnedAway::Greedy));
        assert!(admission.admit("2001:db8:0:1::2".parse().unwrap(), 9, 1).is_ok());
    }
}
