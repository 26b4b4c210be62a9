//! A whole site: the network, and on each machine what a XiVO site has there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::asterisk::Asterisk;
use crate::machine::Machine;
use crate::net::{Host, Net};
use crate::outcome::{Outcome, because};
use crate::watch::Watch;

/// Where things are found on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Part of the name of every namespace.
    pub(crate) id: String,
    /// What `need` brought.
    pub(crate) cache: PathBuf,
    /// Configurations, logs and state of this run.
    pub(crate) dir: PathBuf,
}

/// The machines with telephony, and who looks on.
#[derive(Debug)]
pub(crate) struct Telephony {
    pub(crate) watch: Watch,
    pub(crate) main: Asterisk,
    pub(crate) standby: Asterisk,
    pub(crate) mds1: Asterisk,
    pub(crate) machines: Vec<Machine>,
    // Last: machines go before the network does.
    pub(crate) net: Arc<Net>,
}

impl Telephony {
    /// A network, a media server that runs, and two XiVO that do not.
    pub(crate) fn up(place: &Place) -> Outcome<Self> {
        let net = Arc::new(Net::up(&place.id)?);
        let debian = place.cache.join("asterisk");
        let machines = Host::ALL.map(|host| Machine::new(&net, host, &place.dir, &debian));
        let machines = machines.into_iter().collect::<Outcome<Vec<_>>>()?;
        let on = |host: Host| -> Outcome<Asterisk> { Asterisk::lay_out(machine(&machines, host)?) };
        let (main, standby, mds1) = (on(Host::MainXivo)?, on(Host::StandbyXivo)?, on(Host::Mds1)?);
        mds1.start()?;
        let watch = Watch::start(&net, &mds1)?;
        Ok(Self { watch, main, standby, mds1, machines, net })
    }

    pub(crate) fn machine(&self, host: Host) -> Outcome<&Machine> {
        machine(&self.machines, host)
    }
}

fn machine(machines: &[Machine], host: Host) -> Outcome<&Machine> {
    machines.iter().find(|machine| machine.host == host).ok_or_else(|| format!("no machine {}", host.name()))
}

impl Place {
    /// An empty directory for a site.
    pub(crate) fn fresh(&self, name: &str) -> Outcome<Self> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).map_err(because(dir.display()))?;
        Ok(Self { dir, ..self.clone() })
    }

    pub(crate) fn has(&self, tree: &str) -> bool {
        Path::new(&self.cache).join(tree).join(".ready").is_file()
    }
}
