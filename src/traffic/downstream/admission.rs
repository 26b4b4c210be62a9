//! Which connections are open: how many of all clients and of one client address may be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::activity::Activity;
use crate::traffic::budget::{Account, Budget, Share};

/// Shards of the per-client counts: enough that two workers seldom meet.
const SHARDS: usize = 16;

/// The open connections of one kind of listener, and what caps them.
#[derive(Debug)]
pub struct Admission {
    open: AtomicUsize,
    next: AtomicU64,
    clients: [Mutex<Clients>; SHARDS],
    /// What the requests on them may hold.
    pub budget: Arc<Budget>,
    emptied: Notify,
}

/// The clients of one shard: an entry lives as long as its client has a connection.
type Clients = HashMap<IpAddr, Client>;

/// What one client has open.
#[derive(Debug, Default)]
struct Client {
    /// Its connections, by the number each got when it was admitted.
    connections: HashMap<u64, Arc<Activity>>,
    /// What the requests on them hold.
    share: Arc<Share>,
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
    number: u64,
    activity: Arc<Activity>,
}

impl Default for Admission {
    fn default() -> Self {
        let clients = std::array::from_fn(|_| Mutex::default());
        let (open, next, budget) = (AtomicUsize::new(0), AtomicU64::new(0), Arc::default());
        Self { open, next, clients, budget, emptied: Notify::new() }
    }
}

impl Admission {
    /// Counts one connection of `client` in, or says why not.
    ///
    /// # Errors
    /// All places are taken: the Edge's, or this client's.
    pub fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        most: usize,
        most_per_client: usize,
        late: bool,
    ) -> Result<Admitted, TurnedAway> {
        let client = network(client);
        // Counted first and compared then: of two workers that look before they count, both would take the last place.
        // No lock is taken for those whom a full Edge turns away.
        if self.open.fetch_add(1, Ordering::AcqRel) >= most {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err(TurnedAway::Full);
        }
        let mut clients = self.shard(client);
        let its = clients.entry(client).or_default();
        if its.connections.len() >= most_per_client {
            drop(clients);
            self.left();
            return Err(TurnedAway::Greedy);
        }
        // Memory is counted by address as well: a client does not get more of it by opening more connections.
        let account = Arc::new(Account::new(self.budget.clone(), its.share.clone()));
        let (number, activity) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::new(Activity::new(late, account)));
        its.connections.insert(number, activity.clone());
        drop(clients);
        Ok(Admitted { admission: self.clone(), client, number, activity })
    }

    /// Looks at each open connection.
    pub fn each(&self, mut look: impl FnMut(&Arc<Activity>)) {
        for shard in &self.clients {
            for its in lock(shard).values() {
                its.connections.values().for_each(&mut look);
            }
        }
    }

    fn left(&self) {
        // Only the last one to leave wakes: a drain waits for nobody to be left.
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    /// How many connections are open, on all shards together.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until no connection is open.
    pub async fn emptied(&self) {
        loop {
            // Asked for before the count is read: whoever leaves in between would wake nobody, and the drain would wait
            // for its whole limit.
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, Clients> {
        // The byte in which neighbours differ; `network` has cut an IPv6 address down to the first eight.
        let last = match client {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[7],
        };
        lock(&self.clients[usize::from(last) % SHARDS])
    }
}

/// The map stays whole whatever a holder did.
fn lock(shard: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admitted {
    /// Counts the connection to another client, the one it is passed on for.
    ///
    /// # Errors
    /// That client holds as many as it may.
    pub fn of_client(self, client: IpAddr, most_per_client: usize) -> Result<Self, TurnedAway> {
        // In all it is counted once again for a moment, so it cannot be refused for its own place.
        self.admission.admit(client, usize::MAX, most_per_client, self.activity.is_late())
    }

    /// What happens on the connection.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut clients = self.admission.shard(self.client);
        if let Some(its) = clients.get_mut(&self.client) {
            its.connections.remove(&self.number);
            // An address that has left keeps no entry: else the map would grow by each address that was ever seen.
            if its.connections.is_empty() {
                clients.remove(&self.client);
            }
        }
        drop(clients);
        self.admission.left();
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
        let first = admission.admit(a, 3, 2, false).unwrap();
        let _second = admission.admit(a, 3, 2, false).unwrap();
        assert_eq!(admission.admit(a, 3, 2, false).err(), Some(TurnedAway::Greedy));
        let _third = admission.admit(b, 3, 2, false).unwrap();
        assert_eq!(admission.admit(b, 3, 2, false).err(), Some(TurnedAway::Full));
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.admit(a, 3, 2, false).is_ok());
    }

    #[test]
    fn a_connection_that_is_passed_on_counts_for_whom_it_is_passed_on() {
        let admission = Arc::new(Admission::default());
        let (proxy, client): (IpAddr, IpAddr) = ("10.0.0.5".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let passed_on = || admission.admit(proxy, 3, usize::MAX, false).unwrap().of_client(client, 2);
        let held = [passed_on().unwrap(), passed_on().unwrap()];
        assert_eq!(passed_on().err(), Some(TurnedAway::Greedy));
        assert_eq!(admission.open(), 2);
        assert_eq!(admission.admit(client, 3, 2, false).err(), Some(TurnedAway::Greedy));
        assert!(admission.admit(proxy, 3, 1, false).is_ok(), "it holds none itself");
        drop(held);
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let admission = Arc::new(Admission::default());
        let _one = admission.admit("2001:db8::1".parse().unwrap(), 9, 1, false).unwrap();
        assert_eq!(admission.admit("2001:db8::2".parse().unwrap(), 9, 1, false).err(), Some(TurnedAway::Greedy));
        assert!(admission.admit("2001:db8:0:1::2".parse().unwrap(), 9, 1, false).is_ok());
    }
}
