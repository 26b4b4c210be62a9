//! Bytes from a client to a service and back, as they come, until both have said all.

use std::net::Shutdown;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::telemetry::logging::Ended;
use crate::traffic::downstream::activity::Activity;
use crate::traffic::scratch::Chunk;

/// Reads in a row before other connections of this thread get their turn.
const READS_PER_TURN: usize = 16;
/// One end has said all: what the other one still has to say begins within so long. A service that has closed would
/// otherwise be waited for as long as its client likes.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// How long a connection may stand still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Nothing comes from either end.
    pub(super) idle: Duration,
    /// An end does not take what is there for it.
    pub(super) write_stall: Duration,
}

/// When something last moved on one connection, either way: the idle limit and the drain ask.
#[derive(Debug)]
pub(super) struct Moved<'a> {
    activity: &'a Activity,
    began: Instant,
    /// Milliseconds since `began`.
    last: AtomicU64,
}

/// One direction's count.
#[derive(Debug)]
pub(super) struct Count<'a> {
    bytes: AtomicU64,
    all: &'a IntCounter,
}

impl<'a> Count<'a> {
    /// Counts into `all` as well.
    pub(super) fn new(all: &'a IntCounter) -> Self {
        Self { bytes: AtomicU64::new(0), all }
    }

    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.all.inc_by(bytes as u64);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl<'a> Moved<'a> {
    pub(super) fn new(activity: &'a Activity) -> Self {
        Self { activity, began: Instant::now(), last: AtomicU64::new(0) }
    }

    fn note(&self) {
        self.activity.note_moved();
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// Ready once nothing has moved for so long.
    async fn stopped_for(&self, limit: Duration) {
        loop {
            let over = self.began + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit;
            if Instant::now() >= over {
                return;
            }
            sleep_until(over).await;
        }
    }
}

/// A connection, and whose end it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    tcp: &'a TcpStream,
    /// Why it is over once this end is gone.
    gone: Ended,
}

impl<'a> End<'a> {
    pub(super) const fn client(tcp: &'a TcpStream) -> Self {
        Self { tcp, gone: Ended::ClientGone }
    }

    pub(super) const fn service(tcp: &'a TcpStream) -> Self {
        Self { tcp, gone: Ended::UpstreamGone }
    }

    /// Writes all of it.
    pub(super) async fn put(self, mut bytes: &[u8], stall: Duration) -> Result<(), Ended> {
        while !bytes.is_empty() {
            match timeout(stall, self.tcp.writable()).await {
                Err(_) => return Err(Ended::WriteStall),
                Ok(Err(_)) => return Err(self.gone),
                Ok(Ok(())) => bytes = &bytes[self.put_some(bytes)?..],
            }
        }
        Ok(())
    }

    /// Writes what it takes at once.
    fn put_some(self, bytes: &[u8]) -> Result<usize, Ended> {
        match self.tcp.try_write(bytes) {
            Ok(0) => Err(self.gone),
            Ok(count) => Ok(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(self.gone),
        }
    }
}

/// Carries both directions to their ends, each without waiting for the other; why it is over.
pub(super) async fn relay(
    (client, service): (End<'_>, End<'_>),
    (to_service, to_client): (&Count<'_>, &Count<'_>),
    moved: &Moved<'_>,
    limits: Limits,
) -> Ended {
    let mut up = pin!(carry(client, service, to_service, moved, limits.write_stall));
    let mut down = pin!(carry(service, client, to_client, moved, limits.write_stall));
    let (first, up_is_over) = tokio::select! {
        over = &mut up => (over, true),
        over = &mut down => (over, false),
        () = moved.stopped_for(limits.idle) => return Ended::Idle,
        () = moved.activity.given_up() => return Ended::Drained,
    };
    if let Err(why) = first {
        return why;
    }
    let other = async { if up_is_over { down.await } else { up.await } };
    tokio::select! {
        over = other => over.err().unwrap_or(Ended::Complete),
        () = moved.stopped_for(limits.idle.min(HALF_CLOSED)) => Ended::Complete,
        () = moved.activity.given_up() => Ended::Drained,
    }
}

/// What one turn came to.
enum Turn {
    /// The source has nothing for now.
    Waits,
    /// There may be more; others first.
    Over,
    /// The source has said all.
    Ended,
}

/// Carries one direction to its end, and says so there.
async fn carry(from: End<'_>, to: End<'_>, count: &Count<'_>, moved: &Moved<'_>, stall: Duration) -> Result<(), Ended> {
    loop {
        from.tcp.readable().await.map_err(|_| from.gone)?;
        let mut left = Vec::new();
        let turn = turn(from, to, count, moved, &mut left)?;
        to.put(&left, stall).await?;
        match turn {
            Turn::Waits => {}
            Turn::Over => tokio::task::yield_now().await,
            // Whoever has gone meanwhile needs not be told.
            Turn::Ended => return SockRef::from(to.tcp).shutdown(Shutdown::Write).map_err(|_| to.gone),
        }
    }
}

/// Reads what is there and writes what is taken. What is not taken is `left`, no more than one chunk.
fn turn(from: End<'_>, to: End<'_>, count: &Count<'_>, moved: &Moved<'_>, left: &mut Vec<u8>) -> Result<Turn, Ended> {
    let mut chunk = Chunk::take();
    for _ in 0..READS_PER_TURN {
        let read = match from.tcp.try_read(&mut chunk) {
            Ok(0) => return Ok(Turn::Ended),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Turn::Waits),
            Err(_) => return Err(from.gone),
        };
        moved.note();
        count.add(read);
        let taken = to.put_some(&chunk[..read])?;
        if taken < read {
            left.extend_from_slice(&chunk[taken..read]);
            return Ok(Turn::Over);
        }
    }
    Ok(Turn::Over)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection over loopback.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (here.unwrap(), there.unwrap().0)
    }

    /// A relay between two far ends; what it came to, and the bytes there and back.
    struct Played {
        client: TcpStream,
        service: TcpStream,
        activity: Arc<Activity>,
        over: tokio::task::JoinHandle<(Ended, u64, u64)>,
    }

    async fn play(limits: Limits) -> Played {
        let ((client, near_client), (near_service, service)) = (pair().await, pair().await);
        let activity = Arc::<Activity>::default();
        let its = activity.clone();
        let over = tokio::spawn(async move {
            let all = IntCounter::new("all", "all").unwrap();
            let (up, down, moved) = (Count::new(&all), Count::new(&all), Moved::new(&its));
            let ends = (End::client(&near_client), End::service(&near_service));
            let ended = relay(ends, (&up, &down), &moved, limits).await;
            assert_eq!(all.get(), up.bytes() + down.bytes());
            (ended, up.bytes(), down.bytes())
        });
        Played { client, service, activity, over }
    }

    const LIMITS: Limits = Limits { idle: Duration::from_secs(3600), write_stall: Duration::from_secs(30) };

    #[tokio::test]
    async fn each_direction_ends_by_itself_and_nothing_is_lost() {
        let mut played = play(LIMITS).await;
        let asked = vec![7; 3_000_000];
        let (mut reading, mut writing) = played.service.split();
        let mut came = Vec::new();
        let says = async {
            played.client.write_all(&asked).await.unwrap();
            played.client.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(says, reading.read_to_end(&mut came));
        read.unwrap();
        assert!(came == asked);
        // The client has said all, and hears the answer all the same.
        writing.write_all(b"answer").await.unwrap();
        writing.shutdown().await.unwrap();
        let mut answer = Vec::new();
        played.client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        assert_eq!(played.over.await.unwrap(), (Ended::Complete, 3_000_000, 6));
    }

    #[tokio::test]
    async fn an_end_that_is_reset_ends_the_other() {
        for by_client in [true, false] {
            let Played { client, service, over, .. } = play(LIMITS).await;
            let (gone, mut left) = if by_client { (client, service) } else { (service, client) };
            SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
            drop(gone);
            assert_eq!(left.read(&mut [0; 9]).await.unwrap_or(0), 0);
            let ended = if by_client { Ended::ClientGone } else { Ended::UpstreamGone };
            assert_eq!(over.await.unwrap().0, ended);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_moves_ends_after_its_time_and_not_before() {
        let played = play(LIMITS).await;
        let began = Instant::now();
        let mut over = played.over;
        // Nothing else is to be done: the clock goes on by itself.
        assert!(timeout(LIMITS.idle - Duration::from_secs(1), &mut over).await.is_err());
        assert_eq!(over.await.unwrap(), (Ended::Idle, 0, 0));
        assert_eq!(began.elapsed().as_secs(), LIMITS.idle.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_closed_is_not_waited_for_as_long_as_who_is_quiet() {
        let played = play(LIMITS).await;
        let began = Instant::now();
        drop(played.service);
        assert_eq!(played.over.await.unwrap().0, Ended::Complete);
        assert!(began.elapsed() <= HALF_CLOSED * 2, "{:?}", began.elapsed());
        drop(played.client);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_holds_one_chunk_and_is_given_up() {
        let mut played = play(LIMITS).await;
        // Until nobody on the way has room.
        let filling = async { while played.client.write_all(&[7; 65_536]).await.is_ok() {} };
        assert!(timeout(LIMITS.write_stall * 3, filling).await.is_ok(), "it is reset when the connection is given up");
        assert_eq!(played.over.await.unwrap().0, Ended::WriteStall);
    }

    #[tokio::test]
    async fn an_edge_that_ends_ends_it() {
        let Played { client, service, activity, over } = play(LIMITS).await;
        activity.give_up();
        assert_eq!(over.await.unwrap().0, Ended::Drained);
        drop((client, service));
    }
}
