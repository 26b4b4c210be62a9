//! The Edge, as far as nodes know it: the real witness behind the real endpoint, reports, wishes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use failover::lease::{Answer, Memory, Request, Timing};
use host::played::{Disk as When, current};
use protocol::endpoint::{Endpoint, Handler};
use protocol::identity::Keyring;
use protocol::who::Who;
use protocol::wire::{Ask, Role, Told};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use witness::{Disk, DurableVoter};

use super::world::{EDGE, Note, World, edge_at, index};

/// As many as the real Edge lets wait, so that what it drops is dropped here too.
const QUEUE: usize = 32;
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

struct Asked {
    request: Request,
    answer: oneshot::Sender<Result<Answer, String>>,
}

struct RequestHandler {
    world: Arc<World>,
    queue: mpsc::Sender<Asked>,
}

impl Handler for RequestHandler {
    async fn told(&self, who: &Who, ask: Ask) -> Told {
        match ask {
            Ask::Vote(request) if who.is_node(Role::Xivo, Some(request.from)) => {
                let (answer, answered) = oneshot::channel();
                let asked = self.queue.try_send(Asked { request, answer });
                match (asked, answered.await) {
                    (Ok(()), Ok(Ok(answer))) => Told::Vote(answer),
                    (Ok(()), Ok(Err(reason))) => Told::Refused { reason },
                    _ => Told::Refused { reason: "the witness waits for its disk".into() },
                }
            }
            Ask::Report(_) => Told::Report { wish: self.world.inner().wish.clone() },
            _ => Told::Refused { reason: "no".into() },
        }
    }

    fn turned_away(&self, _: SocketAddr, _: &str) {}
}

/// The witness's disk: what is written is kept when the machine's disk has had its time.
#[derive(Default)]
struct Plate {
    fails: Option<When>,
    written: Option<Memory>,
}

impl Disk for Plate {
    fn save(&mut self, memory: &Memory) -> io::Result<()> {
        if self.fails != Some(When::Taking) {
            self.written = Some(*memory);
        }
        self.fails.map_or(Ok(()), |_| Err(io::ErrorKind::StorageFull.into()))
    }
}

/// Runs until its machine dies. One request after the other, as the disk is waited for.
pub(super) async fn run(world: Arc<World>, timing: Timing, keyring: Arc<Keyring>) {
    let (queue, mut asked) = mpsc::channel(QUEUE);
    let endpoint = Endpoint::open(edge_at(), keyring).await.unwrap();
    host::spawn(endpoint.serve(Arc::new(RequestHandler { world: Arc::clone(&world), queue })));
    let memory = world.inner().machines[EDGE].vote;
    let plate = Plate { fails: how_it_fails(&world), ..Plate::default() };
    let mut voter = DurableVoter::new(&timing, memory.as_ref(), plate, host::now());
    settle(&world, &mut voter.disk).await;
    loop {
        let until = voter.voter.deadline().map(|until| until.since(host::now()));
        let patience = match (until, voter.trouble.is_some()) {
            (Some(left), false) => left.min(LONGEST_SLEEP),
            _ => LONGEST_SLEEP,
        };
        let next = timeout(patience, asked.recv()).await;
        voter.disk.fails = how_it_fails(&world);
        match next {
            Ok(Some(Asked { request, answer })) => {
                if answer.is_closed() {
                    continue;
                }
                let ruled = voter.ask(request, host::now());
                settle(&world, &mut voter.disk).await;
                let _ = answer.send(ruled);
            }
            Ok(None) => return,
            Err(_) => {
                voter.tick(host::now());
                settle(&world, &mut voter.disk).await;
            }
        }
        for news in std::mem::take(&mut voter.news) {
            world.note(Note::Said(EDGE, format!("witness: {news}")));
        }
    }
}

fn how_it_fails(world: &World) -> Option<When> {
    let host = index(&current());
    [When::Taking, When::Answering].into_iter().find(|when| world.disk_fails(host, *when))
}

/// Gives the disk its time; a machine that dies meanwhile has kept nothing, or all.
async fn settle(world: &World, plate: &mut Plate) {
    let Some(memory) = plate.written.take() else { return };
    let host = index(&current());
    world.wait_for_disk(host, When::Taking).await;
    world.inner().machines[host].vote = Some(memory);
    world.wait_for_disk(host, When::Answering).await;
}
