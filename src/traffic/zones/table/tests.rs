use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use super::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_000 * SECOND;

/// Zone auth of a XiVO site.
fn auth() -> Pace {
    Pace::new(Duration::from_secs(3), 12)
}

fn passes(table: &Table, client: IpAddr, now: u64) -> bool {
    matches!(table.ask(client, 0, now, auth().interval, auth()), Ruling::Pass { .. })
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

#[test]
fn each_client_has_an_account_of_its_own() {
    let table = Table::new(1024);
    for client in 0..100 {
        assert_eq!((0..100).filter(|_| passes(&table, address(client), START)).count(), 13, "{client}");
    }
    assert_eq!((table.ahead(START), table.evictions()), (100, 0));
    assert_eq!(table.ahead(START + 39 * SECOND), 0, "everybody is even again");
}

#[test]
fn another_era_begins_with_empty_accounts() {
    let table = Table::new(64);
    let ask = |era| matches!(table.ask(address(1), era, START, auth().interval, auth()), Ruling::Pass { .. });
    assert_eq!((0..100).filter(|_| ask(1)).count(), 13);
    assert_eq!((0..100).filter(|_| ask(2)).count(), 13);
}

#[test]
fn a_client_is_ruled_in_the_table_as_it_is_alone() {
    let table = Table::new(4096);
    let mut random = fastrand::Rng::with_seed(7);
    let mut alone = vec![0_u64; 200];
    let mut now = START;
    for _ in 0..200_000 {
        now += random.u64(..SECOND / 50);
        let client = random.usize(..alone.len());
        let ruling = auth().rule(alone[client], now, auth().interval);
        if let Ruling::Pass { even_at, .. } = ruling {
            alone[client] = even_at;
        }
        let found = table.ask(address(client as u32), 0, now, auth().interval, auth());
        // An account that is even is forgotten, or not: it makes no difference to what is let through.
        match (ruling, found) {
            (Ruling::Pass { ahead, .. }, Ruling::Pass { ahead: found, .. }) => assert_eq!(ahead, found),
            _ => assert_eq!(ruling, found),
        }
    }
    assert_eq!(table.evictions(), 0);
}

#[test]
fn a_spray_of_a_million_addresses_takes_no_memory_and_frees_nobody_who_is_over_the_rate() {
    let table = Table::new(65_536);
    let bytes = table.sets.len() * size_of::<Set>();
    assert_eq!((bytes, Table::bytes(65_536)), (1 << 20, 1 << 20));
    let greedy: Vec<IpAddr> = (0..100).map(|n| address(0xc000_0200 + n)).collect();
    for client in &greedy {
        while passes(&table, *client, START) {}
    }
    // A hundred thousand new clients a second, for ten seconds.
    let mut let_through = 0;
    for n in 0..1_000_000_u64 {
        let stranger = Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(n) << 64).into();
        let_through += u64::from(passes(&table, stranger, START + n * 10_000));
    }
    let free = greedy.iter().filter(|client| passes(&table, **client, START)).count();
    println!("{bytes} bytes, {} forgotten, {free} of {} freed", table.evictions(), greedy.len());
    assert_eq!(let_through, 1_000_000, "a new client is never refused for others");
    assert_eq!(free, 0);
    assert!(table.evictions() > 500_000 && table.ahead(START) <= 65_536);
}

#[test]
fn no_thread_gets_more_than_there_is_for_all_of_them() {
    const THREADS: usize = 4;
    let (table, passed, together) = (Table::new(64), AtomicUsize::new(0), Barrier::new(THREADS));
    for round in 0..200 {
        let client = address(round);
        assert!(passes(&table, client, START));
        passed.store(0, Ordering::SeqCst);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    let mine = (0..20).filter(|_| passes(&table, client, START)).count();
                    passed.fetch_add(mine, Ordering::SeqCst);
                });
            }
        });
        let passed = passed.load(Ordering::SeqCst);
        // Sixty-four others at most are in the table, and the first of them are forgotten.
        assert_eq!(passed, 12, "round {round}");
    }
}

#[test]
fn threads_that_fight_for_the_same_few_entries_all_get_an_answer() {
    const THREADS: u64 = 4;
    const EACH: usize = 50_000;
    // One set: whoever is not among the last eight is forgotten.
    let table = Table::new(WAYS);
    let passed: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                let table = &table;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    (0..EACH).filter(|n| passes(table, address(random.u32(..64)), START + *n as u64)).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(passed > 0 && passed <= EACH * THREADS as usize);
    assert_eq!(table.ahead(START), WAYS);
}
