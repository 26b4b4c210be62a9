//! Asterisk's command line: a XiVO's registers the node with the media server, a media server's tells who is registered.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::super::record::Event;
use super::super::world::{Cli, MDS, Telephony, World, address, name};
use crate::node::command::Ending;

/// A registration lasts for so long without another.
const EXPIRES: Duration = Duration::from_secs(60);
/// What is not answered in so long is given up.
const GIVES_UP: Duration = Duration::from_secs(4);

/// What Asterisk knows of its registrations: it goes with its process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asterisk {
    /// Counts its processes: what an earlier one believed is gone with it.
    pub(in super::super) lives: u64,
    /// In which of its lives it believes to be registered.
    registered: Option<u64>,
    /// What was asked for last: an answer to what was asked before means nothing.
    asked: u64,
    /// Until when the XiVO of each side is registered with it.
    pub(in super::super) contacts: [Option<Instant>; 2],
}

/// Answers a line of `asterisk -rx`.
pub(in super::super) async fn ask(world: Arc<World>, host: usize, asked: String) -> (Ending, String) {
    let takes = world.inner().chance.u64(5..60);
    sleep(Duration::from_millis(takes)).await;
    while world.inner().machines[host].sick.cli == Cli::Hangs {
        sleep(Duration::from_millis(50)).await;
    }
    let runs = world.inner().machines[host].telephony == Telephony::Works;
    if !runs || world.inner().machines[host].sick.cli == Cli::Fails {
        return (
            Ending::ExitCode(1),
            "Unable to connect to remote asterisk (does /run/asterisk/asterisk.ctl exist?)".into(),
        );
    }
    let words: Vec<_> = asked.split_whitespace().collect();
    match words[..] {
        ["pjsip", "send", what @ ("register" | "unregister"), _] if host != MDS => {
            tokio::spawn(register(world, host, what == "register"));
            (Ending::Done, String::new())
        }
        ["pjsip", "show", "registrations"] if host != MDS => (Ending::Done, registrations(&world, host)),
        ["pjsip", "show", "contacts"] if host == MDS => (Ending::Done, contacts(&world)),
        _ => (
            Ending::Done,
            format!("No such command '{asked}' (type 'core show help {asked}' for other possible commands)"),
        ),
    }
}

/// Asks the media server, and learns what came of it.
async fn register(world: Arc<World>, host: usize, wanted: bool) {
    let (number, life) = {
        let asterisk = &mut world.inner().machines[host].asterisk;
        asterisk.asked += 1;
        (asterisk.asked, asterisk.lives)
    };
    let carried = async {
        world.travel(host, MDS).await;
        let holds = {
            let mut inner = world.inner();
            let newest = inner.machines[host].asterisk.asked == number;
            let mds = &mut inner.machines[MDS];
            let holds = mds.powered && mds.telephony == Telephony::Works;
            if holds && newest {
                mds.asterisk.contacts[host] = wanted.then(|| Instant::now() + EXPIRES);
            }
            holds
        };
        world.observe();
        if !holds {
            std::future::pending::<()>().await;
        }
        world.travel(MDS, host).await;
    };
    let answered = timeout(GIVES_UP, carried).await.is_ok();
    let asterisk = &mut world.inner().machines[host].asterisk;
    if asterisk.asked == number {
        asterisk.registered = (answered && wanted).then_some(life);
    }
}

fn registrations(world: &World, host: usize) -> String {
    let asterisk = world.inner().machines[host].asterisk;
    let state = if asterisk.registered == Some(asterisk.lives) { "Registered" } else { "Unregistered" };
    format!(
        "\n <Registration/ServerURI..............................>  <Auth..........>  <Status.......>\n{}\n\n {} mds1 {state}\n\n\
         Objects found: 1\n",
        "=".repeat(90),
        format_args!("{}/sip:{}", name(MDS), address(MDS)),
    )
}

fn contacts(world: &World) -> String {
    let inner = world.inner();
    let Event::Followers { contacts, answers, .. } = inner.followers(world.began) else { return String::new() };
    let there: Vec<_> = (0..2).filter(|side| contacts[*side].is_some()).collect();
    if there.is_empty() {
        return "No objects found.\n\n".into();
    }
    let mut text = format!(
        "\n  Contact:  <Aor/ContactUri..............................> <Hash....> <Status> <RTT(ms)..>\n{}\n\n",
        "=".repeat(90)
    );
    for side in &there {
        let status = if answers[*side] { "Avail 0.5" } else { "Unavail nan" };
        let _ = writeln!(text, "  Contact:  xivo/sip:xivo@{}:5060 eee753d82b {status}", address(*side));
    }
    let _ = writeln!(text, "\nObjects found: {}", there.len());
    text
}
