//! The Edge's vote, in the test's own process: a real voter behind a real endpoint.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use failover::lease::{Event, Memory, Output, Record, Timing, Voter};
use protocol::endpoint::{Endpoint, Handler};
use protocol::identity::Keyring;
use protocol::who::Who;
use protocol::wire::{Ask, NodeReport, Told, Wish};
use tokio::task::JoinHandle;

/// A witness that can die and come back with its disk.
pub struct Witness {
    pub address: SocketAddr,
    keyring: Arc<Keyring>,
    shared: Arc<Shared>,
    endpoint: Option<JoinHandle<()>>,
}

struct Shared {
    born: Instant,
    timing: Timing,
    voter: Mutex<Voter>,
    reports: Mutex<BTreeMap<String, NodeReport>>,
    wish: Mutex<Option<Wish>>,
}

const CLEAN: Memory = Memory { record: Record::Free, epoch: 0 };

impl Witness {
    pub async fn start(keyring: Arc<Keyring>, timing: Timing) -> Self {
        let endpoint = Endpoint::open("127.0.0.1:0".parse().unwrap(), Arc::clone(&keyring)).await.unwrap();
        let address = endpoint.address().unwrap();
        let shared = Arc::new(Shared {
            born: Instant::now(),
            timing,
            voter: Mutex::new(Voter::new(&timing, Some(&CLEAN), failover::Instant::ORIGIN).0),
            reports: Mutex::default(),
            wish: Mutex::default(),
        });
        let task = tokio::spawn(endpoint.serve(Arc::clone(&shared)));
        Self { address, keyring, shared, endpoint: Some(task) }
    }

    /// Dies: the endpoint and every connection close.
    pub fn die(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.abort();
        }
    }

    /// Comes back with what was on its disk.
    pub async fn come_back(&mut self) {
        let memory = self.shared.voter.lock().unwrap().memory();
        let now = self.shared.now();
        *self.shared.voter.lock().unwrap() = Voter::new(&self.shared.timing, Some(&memory), now).0;
        let deadline = Instant::now() + std::time::Duration::from_secs(10);
        let endpoint = loop {
            match Endpoint::open(self.address, Arc::clone(&self.keyring)).await {
                Ok(endpoint) => break endpoint,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        self.endpoint = Some(tokio::spawn(endpoint.serve(Arc::clone(&self.shared))));
    }

    /// The newest report of a node.
    pub fn report(&self, name: &str) -> Option<NodeReport> {
        self.shared.reports.lock().unwrap().get(name).cloned()
    }

    /// Hands a wish to every node that reports.
    pub fn wish(&self, wish: Wish) {
        *self.shared.wish.lock().unwrap() = Some(wish);
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.die();
    }
}

impl Shared {
    fn now(&self) -> failover::Instant {
        failover::Instant::ORIGIN + self.born.elapsed()
    }
}

impl Handler for Shared {
    async fn told(&self, who: &Who, ask: Ask) -> Told {
        match ask {
            Ask::Vote(request) => {
                let outputs = self.voter.lock().unwrap().handle(Event::Asked(request), self.now());
                let answer = outputs.into_iter().find_map(|output| match output {
                    Output::Answer(answer) => Some(answer),
                    _ => None,
                });
                Told::Vote(answer.unwrap())
            }
            Ask::Report(report) => {
                self.reports.lock().unwrap().insert(who.name().to_owned(), *report);
                Told::Report { wish: self.wish.lock().unwrap().clone() }
            }
            Ask::Watch { .. } => Told::Refused { reason: "no".into() },
        }
    }

    fn turned_away(&self, address: SocketAddr, why: &str) {
        eprintln!("turned away: {address}: {why}");
    }
}
