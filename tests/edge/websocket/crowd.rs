//! A thousand WebSockets leave a side at once: asked to, killed with it, or stranded on one that went silent.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use failover::Side;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{LAB, REASON, switch};
use crate::client::Client;
use crate::shared::{InTime, blocking, decided, descriptors, in_time, measure, memory, open_at};
use crate::site::{Site, wait_until};
use crate::socket::{Ending, Socket, soon, token};
use crate::turns::alone;

const CROWD: usize = 1000;
const CTI: usize = 200;
const FRAGMENTED: usize = 60;
const STALLED: usize = 20;
/// A message of 8 MiB takes half a minute: everybody is inside it all the time.
const FRAGMENTS: &str = "/xuc/lab/ws/fragmented?bytes=8388608&chunk=65536&pause_ms=250";
/// Handshakes under way at once.
const OPENING: usize = 32;
/// From the decision to the last Close, as a thousand clients see it that share two cores with the Edge, both sides and
/// other tests: 50 to 90 ms with an optimised Edge, 130 without; each run prints its own. Limits of the tunnel begin at 1 s.
const PROMPT: Duration = Duration::from_millis(500);
/// From the decision to the end of what is stuck within a frame: the frame limit, and the same allowance.
const CUT: Duration = Duration::from_secs(1).saturating_add(PROMPT);
/// The second thousand reuses the memory of the first: what it may add, in MiB. Sessions that leaked would add more.
const MEMORY_KEPT: f64 = 5.0;
/// Probes under way, connections kept for the next request, and this test's own questions.
const DESCRIPTORS_KEPT: usize = 20;
const PACING_OFF: &str = "switch: { reconnect_rate: all }\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Idle,
    Cti,
    Fragmented,
    Stalled,
}

impl Kind {
    /// The stalled ones come first and the fragmented ones last, when everybody else is there.
    fn of(number: usize) -> Self {
        match number {
            _ if number < STALLED => Self::Stalled,
            _ if number < STALLED + CTI => Self::Cti,
            _ if number >= CROWD - FRAGMENTED => Self::Fragmented,
            _ => Self::Idle,
        }
    }

    fn target(self, number: usize) -> String {
        let token = token(&format!("user-{}", number / 2));
        match self {
            Self::Idle => format!("/xuc/lab/ws/idle?token={token}"),
            Self::Cti => format!("/xuc/api/2.0/cti?token={token}"),
            Self::Fragmented => format!("{FRAGMENTS}&token={token}"),
            Self::Stalled => format!("/xuc/lab/ws/stall?token={token}"),
        }
    }
}

/// A site with room for everybody, and what its Edge used before anybody came: memory and descriptors.
struct Stage {
    site: Site,
    client: Client,
    empty: f64,
    descriptors: usize,
}

impl Stage {
    fn set() -> Self {
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
        let site = blocking(|| Site::start_with(&format!("{LAB}{PACING_OFF}")));
        let (client, empty, descriptors) = (Client::of(&site), memory(&site), descriptors(&site));
        Self { site, client, empty, descriptors }
    }

    /// Opens everybody's WebSocket, on `side`.
    async fn fill(&self, side: Side, kind: fn(usize) -> Kind) -> Vec<(Kind, Socket)> {
        let (mut opening, room) = (JoinSet::new(), Arc::new(Semaphore::new(OPENING)));
        for number in 0..CROWD {
            let (client, kind, room) = (self.client.clone(), kind(number), room.clone());
            let place = room.acquire_owned().await.unwrap();
            opening.spawn(async move {
                let socket = Socket::open(&client, &kind.target(number)).await;
                drop(place);
                (kind, socket.unwrap_or_else(|error| panic!("{kind:?} {number}: {error:?}")))
            });
        }
        let crowd = soon("a thousand WebSockets", opening.join_all()).await;
        assert!(crowd.iter().all(|(_, socket)| socket.side == side.label()));
        crowd
    }

    /// Waits until everybody has ended and nothing is left of them at the Edge.
    async fn empty_out(&self, crowd: JoinSet<(Kind, Ending)>) -> Vec<(Kind, Ending)> {
        let endings = soon("everybody's end", crowd.join_all()).await;
        blocking(|| {
            wait_until("the Edge holds no session", || {
                let counts = &self.site.status()["sessions"];
                counts["main"] == 0 && counts["standby"] == 0
            });
            wait_until("the report says when the last one left", || {
                !self.site.report(1)["phases"]["last_moved"].is_null()
            });
            let (code, text) = self.site.verb(&["sessions"]);
            assert_eq!((code, text.trim()), (Some(0), "No session is open."));
        });
        endings
    }

    /// Everybody comes back, is served by `side`, and leaves again: that has cost the Edge nothing.
    async fn return_to(&self, side: Side, full: f64) {
        let back = self.fill(side, |_| Kind::Idle).await;
        blocking(|| {
            wait_until("everybody is counted", || open_at(self.address(side)) == CROWD as u64);
            drop(back);
            wait_until("nobody is left", || open_at(self.address(side)) == 0);
            let mut after = 0.0;
            wait_until("the Edge needs no more memory than before", || {
                after = memory(&self.site);
                after < full + MEMORY_KEPT
            });
            wait_until("the report says who came first", || !self.site.report(1)["phases"]["first_served"].is_null());
            wait_until("the Edge has closed what it had open", || {
                descriptors(&self.site) <= self.descriptors + DESCRIPTORS_KEPT
            });
            println!("memory: {:.1} MiB empty, {full:.1} MiB full, {after:.1} MiB after", self.empty);
        });
    }

    fn address(&self, side: Side) -> std::net::SocketAddr {
        match side {
            Side::Main => self.site.main.address,
            Side::Standby => self.site.standby.address,
        }
    }
}

fn watch(crowd: Vec<(Kind, Socket)>) -> JoinSet<(Kind, Ending)> {
    crowd.into_iter().map(|(kind, socket)| async move { (kind, socket.ended().await) }).collect()
}

/// Who was told was told with the route's words; who was not was stuck within a frame. Returns how many those are, and
/// whether all of it was in time.
fn judge(how: &str, endings: &[(Kind, Ending)], decision: SystemTime) -> (usize, InTime) {
    let (told, cut): (Vec<_>, Vec<_>) = endings.iter().partition(|(_, ending)| ending.close.is_some());
    for (kind, ending) in &told {
        assert!(ending.is_told(1012, REASON), "{kind:?} {ending:?}");
    }
    for (kind, ending) in &cut {
        assert!(matches!(kind, Kind::Fragmented | Kind::Stalled) && ending.inside_frame, "{kind:?} {ending:?}");
    }
    assert!(told.iter().any(|(kind, ending)| *kind == Kind::Fragmented && ending.inside_message));
    let mut after: Vec<f64> = told.iter().map(|(_, ending)| ending.ms_after(decision)).collect();
    after.sort_by(f64::total_cmp);
    let at = |share: f64| after[((after.len() - 1) as f64 * share) as usize];
    let [first, half, most, last] = [0.0, 0.5, 0.99, 1.0].map(at);
    let freed = cut.iter().map(|(_, ending)| ending.ms_after(decision)).fold(0.0, f64::max);
    let cut = cut.len();
    println!(
        "{how}: {} told after {first:.1} ms, half {half:.1}, 99 % {most:.1}, last {last:.1}; {cut} cut",
        after.len()
    );
    assert!(first > -5.0, "told before the decision: {first:.1} ms");
    let milliseconds = |ms: f64| Duration::from_secs_f64(ms.max(0.0) / 1000.0);
    let told = in_time("the last one was told", milliseconds(last), PROMPT);
    (cut, told.and_then(|()| in_time("the last one was cut", milliseconds(freed), CUT)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_a_planned_switch_tells_a_thousand_websockets_at_once_and_strands_none() {
    let _alone = alone();
    measure(planned).await;
}

async fn planned() -> InTime {
    let stage = Stage::set();
    let mut crowd = watch(stage.fill(Side::Main, Kind::of).await);
    blocking(|| wait_until("everybody is counted", || open_at(stage.site.main.address) == CROWD as u64));
    let full = memory(&stage.site);
    assert!(crowd.try_join_next().is_none(), "somebody left too early");
    switch(&stage.site, Side::Standby);
    let endings = stage.empty_out(crowd).await;
    let (cut, in_time) = judge("planned", &endings, decided(&stage.site, 1));
    // Whoever can be told is told, unless the rest of a frame takes longer than a side may have for it.
    let told = if cut == STALLED { Ok(()) } else { Err(format!("{cut} were cut, {STALLED} cannot be told")) };
    blocking(|| wait_until("nobody is left on Main", || open_at(stage.site.main.address) == 0));
    stage.return_to(Side::Standby, full).await;
    let counts = &stage.site.report(1)["counts"];
    assert_eq!((&counts["sessions_closed"], &counts["sessions_cut"]), (&(CROWD - cut).into(), &cut.into()));
    told.and(in_time)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_when_a_side_is_killed_a_thousand_websockets_are_told_with_the_decision() {
    let _alone = alone();
    measure(killed).await;
}

async fn killed() -> InTime {
    let mut stage = Stage::set();
    let mut crowd = watch(stage.fill(Side::Main, Kind::of).await);
    let full = memory(&stage.site);
    assert!(crowd.try_join_next().is_none(), "somebody left too early");
    blocking(|| {
        stage.site.main.kill();
        stage.site.wait_live(Side::Standby);
    });
    let endings = stage.empty_out(crowd).await;
    let (_, in_time) = judge("killed", &endings, decided(&stage.site, 1));
    stage.return_to(Side::Standby, full).await;
    in_time
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_when_a_side_goes_silent_a_thousand_websockets_are_told_with_the_decision() {
    let _alone = alone();
    measure(silenced).await;
}

async fn silenced() -> InTime {
    let stage = Stage::set();
    let mut crowd = watch(stage.fill(Side::Main, Kind::of).await);
    let full = memory(&stage.site);
    assert!(crowd.try_join_next().is_none(), "somebody left too early");
    let silent = SystemTime::now();
    stage.site.main.signal(Signal::STOP);
    blocking(|| stage.site.wait_live(Side::Standby));
    let endings = stage.empty_out(crowd).await;
    let decision = decided(&stage.site, 1);
    let sought = decision.duration_since(silent).unwrap_or(Duration::ZERO);
    println!("silent: decided after {:.0} ms; {}", sought.as_secs_f64() * 1000.0, stage.site.report(1)["phases"]);
    let (_, in_time) = judge("silent", &endings, decision);
    stage.return_to(Side::Standby, full).await;
    stage.site.main.signal(Signal::CONT);
    blocking(|| wait_until("nobody is left on Main", || open_at(stage.site.main.address) == 0));
    in_time
}
