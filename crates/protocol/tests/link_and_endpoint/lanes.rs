//! Several connections to one other, of which some stand still.

use super::*;

const LANES: Limits = Limits { lanes: NonZeroU8::new(3).unwrap(), silence: Duration::from_secs(5), ..LIMITS };

#[tokio::test]
async fn a_vote_that_one_lane_does_not_answer_at_once_is_asked_on_the_next() {
    let site = Site::new();
    let (address, _, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let stalling = Stalling::before(address).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let link = Link::new(stalling.address, Expected::AnyXivo, keyring, Limits { silence: NEVER, ..LANES });
    for number in 0..6 {
        assert_eq!(campaign(link.ask(vote(lease::Ask::Renew, number)).await), number);
    }
    assert_eq!(stalling.connections(), 3, "the lanes take turns");
    // Two of three stand still: every call is answered all the same, long before the limit.
    stalling.stall(2);
    for number in 0..6 {
        let told = tokio::time::timeout(Duration::from_secs(60), link.ask(vote(lease::Ask::Renew, number))).await;
        assert_eq!(campaign(told.expect("in time")), number);
    }
    assert_eq!(link.state(), State::Up);
}

#[tokio::test]
async fn releases_and_watches_are_asked_once_however_late_the_answer() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let stalling = Stalling::before(address).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let link = Link::new(stalling.address, Expected::AnyXivo, keyring, LANES);
    // Of campaign 400 on the endpoint takes 400 ms, longer than a lane has.
    assert_eq!(campaign(link.ask(vote(lease::Ask::Release, 400)).await), 400);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 400 }).await), 401);
    assert_eq!((stalling.connections(), endpoint.asked()), (2, 2));
    assert_eq!(campaign(link.ask(vote(lease::Ask::Want, 2000)).await), 2000);
    // A want whose answer is late is asked on the next lane as well: a slow lane must not cost the vote.
    until(|| endpoint.asked() > 3).await;
}

#[tokio::test]
async fn a_release_whose_lane_cannot_be_dialled_goes_by_another() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let stalling = Stalling::before(address).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let link = Link::new(stalling.address, Expected::AnyXivo, keyring, LANES);
    stalling.refuse(1);
    assert_eq!(campaign(link.ask(vote(lease::Ask::Release, 1)).await), 1);
    assert_eq!((stalling.connections(), endpoint.asked()), (1, 1));
}

/// Connections that somebody on the way forgot say nothing, and new ones pass.
#[tokio::test]
async fn when_all_connections_are_forgotten_on_the_way_a_vote_comes_over_a_fresh_one() {
    let site = Site::new();
    let (address, _, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let stalling = Stalling::before(address).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    // No old connection is ever given up: an answer comes over a fresh one, or never.
    let patience = Duration::from_millis(400);
    let limits = Limits { patience, silence: NEVER, dial: Duration::from_secs(10), ..LANES };
    let link = Link::new(stalling.address, Expected::AnyXivo, keyring, limits);
    for number in 0..6 {
        assert_eq!(campaign(link.ask(vote(lease::Ask::Renew, number)).await), number);
    }
    stalling.stall(stalling.connections());
    let began = std::time::Instant::now();
    let told = link.ask(vote(lease::Ask::Renew, 7)).await;
    assert_eq!(campaign(told), 7);
    println!("answered over a fresh connection after {:?}", began.elapsed());
    assert!(stalling.connections() > 3);
    assert_eq!(link.state(), State::Up);
}

#[tokio::test]
async fn a_watch_is_asked_again_over_a_fresh_connection_and_a_release_is_not() {
    let site = Site::new();
    let (address, endpoint, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let stalling = Stalling::before(address).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let limits = Limits { patience: Duration::from_millis(100), silence: NEVER, lanes: NonZeroU8::MIN, ..LANES };
    let link = Link::new(stalling.address, Expected::AnyXivo, keyring, limits);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 0 }).await), 1);
    stalling.stall(1);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 7 }).await), 8);
    stalling.stall(stalling.connections());
    let asked = endpoint.asked();
    let told = link.ask(vote(lease::Ask::Release, 9)).await;
    assert!(matches!(&told, Err(LinkError::Down(why)) if why.contains("afresh")), "{told:?}");
    assert_eq!(endpoint.asked(), asked);
}

/// Patience is for those who say nothing: a connection that answers, late, is kept.
#[tokio::test]
async fn a_connection_that_answers_before_the_fresh_one_stands_is_kept() {
    let site = Site::new();
    let (address, _, _endpoint) = open(site.keyring(&main_node(), Validity::days(1))).await;
    let stalling = Stalling::before(address).await;
    let keyring = site.keyring(&standby_node(), Validity::days(1));
    let limits = Limits { patience: Duration::from_millis(100), silence: NEVER, lanes: NonZeroU8::MIN, ..LANES };
    let link = Link::new(stalling.address, Expected::AnyXivo, keyring, limits);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 0 }).await), 1);
    let connections = stalling.connections();
    stalling.refuse(100);
    assert_eq!(serial(link.ask(Ask::Watch { seen: 350 }).await), 351);
    assert_eq!((link.state(), stalling.connections()), (State::Up, connections));
}

fn vote(ask: lease::Ask, campaign: u64) -> Ask {
    let report = lease::Report { status: Status::Active, fit: true, witness_out: false, unguarded: false };
    let (from, epoch) = (Side::Standby, 1);
    let needs = lease::Timing::DEFAULT.shortest_promise();
    Ask::Vote(lease::Request { from, ask, campaign, epoch, report, settled: true, hears: true, instance: 1, needs })
}

fn campaign(told: Result<Told, LinkError>) -> u64 {
    match told {
        Ok(Told::Vote(answer)) => answer.campaign,
        other => panic!("{other:?}"),
    }
}

/// A wire whose connections can be made to stand still.
struct Stalling {
    address: SocketAddr,
    wires: Arc<Mutex<Vec<tokio::sync::watch::Sender<bool>>>>,
    refuse: Arc<AtomicUsize>,
}

impl Stalling {
    async fn before(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wires: Arc<Mutex<Vec<tokio::sync::watch::Sender<bool>>>> = Arc::default();
        let refuse = Arc::<AtomicUsize>::default();
        let (all, refused) = (Arc::clone(&wires), Arc::clone(&refuse));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    continue;
                }
                let (stalls, stalled) = tokio::sync::watch::channel(false);
                all.lock().unwrap().push(stalls);
                let far = TcpStream::connect(behind).await.unwrap();
                let ((mut from, mut back), (mut answers, mut to)) = (near.into_split(), far.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
                tokio::spawn(carry(stalled, async move { tokio::io::copy(&mut from, &mut to).await.map(drop) }));
            }
        });
        Self { address, wires, refuse }
    }

    /// Closes so many connections as soon as they are made.
    fn refuse(&self, count: usize) {
        self.refuse.store(count, Ordering::Relaxed);
    }

    fn connections(&self) -> usize {
        self.wires.lock().unwrap().len()
    }

    fn stall(&self, count: usize) {
        for wire in &self.wires.lock().unwrap()[..count] {
            wire.send_replace(true);
        }
    }
}

/// Carries until it is stalled, and then holds the connection for ever.
async fn carry(mut stalled: tokio::sync::watch::Receiver<bool>, copy: impl Future<Output = std::io::Result<()>>) {
    let mut copy = std::pin::pin!(copy);
    let stands_still = tokio::select! {
        _ = &mut copy => false,
        told = stalled.wait_for(|stalled| *stalled) => told.is_ok(),
    };
    if stands_still {
        std::future::pending::<()>().await;
    }
}
