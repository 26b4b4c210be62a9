//! Who follows a XiVO: the CC of each side, whose services run where its XiVO serves, and a media server, with which
//! the XiVO that serves is registered. Their watchdogs are whole, too.

pub(super) mod asterisk;
pub(super) mod faults;

use std::sync::{Arc, OnceLock};

use failover::Side;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::record::{Company, Event};
use super::world::{CC, MDS, Sick, Telephony, World, address, edge_at, name};
use super::{keyring, net};
use crate::config::{Config, Role};
use crate::control::Operators;
use crate::control::api::{Order, StatusView};
use crate::roles::mistakes::silent_about;
use crate::roles::start::Base;
use crate::roles::status::Who;
use crate::state::Journal;
use crate::telemetry::metrics::Metrics;

fn config(host: usize) -> Arc<Config> {
    static READ: OnceLock<[Arc<Config>; 3]> = OnceLock::new();
    let read = |host: usize| {
        let runtime = std::env::temp_dir().join(format!("bascule-simulation-{}-{}", std::process::id(), name(host)));
        std::fs::create_dir_all(&runtime).unwrap();
        let own = match host {
            MDS => format!("role: mds\nxivo: {{ main: {}, standby: {} }}\n", address(0), address(1)),
            cc => format!(
                "role: cc\nside: {side}\nxivo: {xivo}:9602\nretry_limit: 8s\nservices:\n\
                 \x20 start: {{ command: [sim, start], time_limit: 8s }}\n\
                 \x20 stop: {{ command: [sim, stop], time_limit: 8s }}\n\
                 \x20 check: {{ command: [sim, check], time_limit: 1s, interval: 5s }}\n\
                 \x20 verify_limit: 3s\n\
                 ready: {{ check: 'http://{own}:8090/', status: [200], time_limit: 500ms }}\n",
                side = Side::BOTH[cc - CC[0]],
                xivo = address(cc - CC[0]),
                own = address(cc),
            ),
        };
        let text = format!(
            "{own}edge: {edge}\nmetrics: off\nname: {name}\nidentity: /nowhere\nstate: /nowhere\n\
             control: {runtime}/watchdog.sock\n",
            edge = edge_at(),
            name = name(host),
            runtime = runtime.display(),
        );
        Arc::new(Config::parse(&text, "simulation.yaml").unwrap_or_else(|errors| panic!("{errors}\n{text}")).0)
    };
    Arc::clone(&READ.get_or_init(|| [CC[0], CC[1], MDS].map(read))[host - CC[0]])
}

/// The watchdog of a follower, from its start to its end.
pub(super) async fn watch_over(world: Arc<World>, host: usize, end: watch::Receiver<bool>) {
    let config = config(host);
    let instance = world.inner().machines[host].boots * 8 + host as u64;
    let (role, side) = (config.kind(), config.side());
    assert!(net::who(host).is_node(role, side));
    let base = Base {
        who: Who { role, side, name: name(host).to_owned(), instance },
        keyring: keyring(host),
        journal: Journal::in_memory(),
        metrics: Arc::new(Metrics::new().unwrap()),
        end,
    };
    let onlooker = Onlooker { world: Arc::clone(&world), host };
    let begun = match &config.role {
        Role::Cc(cc) => Box::pin(base.cc(&config, cc, onlooker)).await,
        Role::Mds(mds) => Box::pin(base.mds(mds, onlooker)).await,
        Role::Xivo(_) => panic!("{config:?}"),
    };
    if let Err(error) = begun {
        world.note(Event::Said(host, format!("the watchdog cannot begin: {error}")));
    }
}

/// Who looks at what a follower shows.
struct Onlooker {
    world: Arc<World>,
    host: usize,
}

impl Operators for Onlooker {
    async fn serve(self, mut status: watch::Receiver<Arc<StatusView>>, _: Journal, _: Option<mpsc::Sender<Order>>) {
        let Self { world, host } = self;
        let mut before = None;
        loop {
            let view = Arc::clone(&status.borrow_and_update());
            let mut alarms = view.alarms.clone();
            alarms.retain(|alarm| !silent_about(alarm));
            let present = view.presence.as_ref().map(|presence| [presence.main, presence.standby]);
            let shown = Event::Follows { host, status: view.status, present, alarms };
            if before.as_ref() != Some(&shown) {
                world.note(shown.clone());
                before = Some(shown);
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }
}

impl super::world::Inner {
    /// How those who follow are seen from outside, and what keeps them from it.
    pub(super) fn followers(&self, began: Instant) -> Event {
        let well = |from: usize, to: usize| {
            [self.links[from][to], self.links[to][from]]
                .iter()
                .all(|link| !link.cut && link.loss <= 5 && link.delay <= 50)
        };
        let hears = [0, 1].map(|side| {
            let cc = CC[side];
            let endpoint = self.endpoints.contains_key(&(address(side), 9602).into());
            let cut = self.links[side][cc].cut || self.links[cc][side].cut;
            match self.runs(side) && endpoint && !cut {
                false => Company::None,
                true if well(side, cc) => Company::Good,
                true => Company::Slow,
            }
        });
        let mds = &self.machines[MDS];
        let holds = mds.powered && mds.telephony == Telephony::Works;
        let now = Instant::now();
        Event::Followers {
            services: CC.map(|cc| self.machines[cc].telephony),
            hears,
            reaches: [0, 1].map(|side| holds && well(side, MDS) && self.machines[side].sick.cli == Sick::default().cli),
            contacts: mds.asterisk.contacts.map(|until| until.filter(|until| *until > now).map(|until| until - began)),
            answers: [0, 1].map(|side| self.answers_mds(side)),
        }
    }

    /// Whether the media server finds that a XiVO answers.
    fn answers_mds(&self, side: usize) -> bool {
        let machine = &self.machines[side];
        let cut = self.links[side][MDS].cut || self.links[MDS][side].cut;
        machine.powered && machine.telephony == Telephony::Works && !cut
    }
}
