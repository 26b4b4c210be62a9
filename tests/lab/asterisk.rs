//! A real Asterisk on a machine, under a service control like XiVO's.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::machine::Machine;
use crate::net::Host;
use crate::outcome::{Outcome, because};

/// Starting takes half a second, on a busy machine a few.
const START: Duration = Duration::from_secs(20);
const ASK: Duration = Duration::from_secs(3);
const CONFIGURATION: &str = "/lab/asterisk/etc/asterisk.conf";
const SERVICE: &str = "/lab/asterisk/xivo-service";

/// How XiVO's service control misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoiled {
    /// Starting never ends.
    HangStart,
    /// Stopping never ends.
    HangStop,
    /// Asking whether it runs never ends.
    HangCheck,
    /// Starting fails so many times, then works.
    FailStart(u32),
    /// Starting says yes and starts nothing.
    Lie,
}

/// The Asterisk of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Asterisk {
    machine: Machine,
}

impl Asterisk {
    /// Writes its configuration; nothing is started.
    pub(crate) fn lay_out(machine: &Machine) -> Outcome<Self> {
        let dir = machine.dir.join("asterisk");
        let etc = dir.join("etc");
        for part in ["etc", "var/keys", "spool"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(because(path.display()))?;
        }
        let role = match machine.host {
            Host::Mds1 => include_str!("asterisk/pjsip-mds.conf"),
            _ => include_str!("asterisk/pjsip-xivo.conf"),
        };
        let files = [
            ("asterisk.conf", include_str!("asterisk/asterisk.conf").to_owned()),
            ("modules.conf", include_str!("asterisk/modules.conf").to_owned()),
            ("logger.conf", include_str!("asterisk/logger.conf").to_owned()),
            ("http.conf", include_str!("asterisk/http.conf").to_owned()),
            ("rtp.conf", include_str!("asterisk/rtp.conf").to_owned()),
            ("extensions.conf", include_str!("asterisk/extensions.conf").to_owned()),
            ("pjsip.conf", format!("{}{role}", include_str!("asterisk/pjsip.conf"))),
        ];
        for (name, text) in files {
            let text = text.replace("@NAME@", machine.host.name());
            let text = text.replace("@MDS1@", &Host::Mds1.address().to_string());
            write(&etc.join(name), &text)?;
        }
        write(&dir.join("xivo-service"), include_str!("xivo-service"))?;
        let asterisk = Self { machine: machine.clone() };
        Ok(asterisk)
    }

    /// The service control's command line for `start`, `stop` or `status`, as the machine sees it.
    pub(crate) fn service(&self, verb: &str) -> Vec<String> {
        let debian = self.machine.debian.display();
        vec!["/bin/sh".to_owned(), format!("{debian}{SERVICE}"), debian.to_string(), verb.to_owned()]
    }

    /// The command that speaks to the running Asterisk, but for `-rx …`.
    pub(crate) fn console(&self) -> Vec<String> {
        let debian = self.machine.debian.display().to_string();
        ["chroot", &debian, "asterisk", "-C", CONFIGURATION].map(str::to_owned).to_vec()
    }

    fn control(&self, verb: &str, limit: Duration) -> Outcome<String> {
        let command = self.service(verb);
        self.machine.must(&command.iter().map(String::as_str).collect::<Vec<_>>(), limit)
    }

    pub(crate) fn start(&self) -> Outcome {
        self.control("start", START).map(drop)
    }

    pub(crate) fn stop(&self) -> Outcome {
        self.control("stop", START).map(drop)
    }

    pub(crate) fn runs(&self) -> bool {
        self.control("status", ASK).is_ok()
    }

    /// Kills it at once, behind the service control's back.
    pub(crate) fn kill(&self) -> Outcome {
        let path = self.machine.dir.join("run/asterisk.pid");
        let text = fs::read_to_string(&path).map_err(because(path.display()))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("{}: no pid: {text}", path.display()))?;
        kill_process(pid, Signal::KILL).map_err(because("asterisk"))
    }

    /// What Asterisk says to a command.
    pub(crate) fn says(&self, command: &str) -> Outcome<String> {
        let mut all = self.console();
        all.extend(["-rx".to_owned(), command.to_owned()]);
        self.machine.must(&all.iter().map(String::as_str).collect::<Vec<_>>(), ASK)
    }

    /// Who is registered here as the XiVO that serves: addresses of contacts.
    pub(crate) fn registered(&self) -> Outcome<Vec<Ipv4Addr>> {
        Ok(contacts(&self.says("pjsip show contacts")?))
    }

    /// Spoils the service control until [`Self::mend`], or a reboot.
    pub(crate) fn spoil(&self, how: Spoiled) -> Outcome {
        let (name, text) = match how {
            Spoiled::HangStart => ("hang-start", String::new()),
            Spoiled::HangStop => ("hang-stop", String::new()),
            Spoiled::HangCheck => ("hang-check", String::new()),
            Spoiled::FailStart(times) => ("fail-start", times.to_string()),
            Spoiled::Lie => ("lie", String::new()),
        };
        let dir = self.switches();
        fs::create_dir_all(&dir).map_err(because(dir.display()))?;
        write(&dir.join(name), &text)
    }

    /// How many starts failed because they were told to, ever.
    pub(crate) fn failed_starts(&self) -> usize {
        let log = fs::read_to_string(self.machine.dir.join("log/xivo-service.log")).unwrap_or_default();
        log.lines().filter(|line| line.ends_with("start fails, as told")).count()
    }

    pub(crate) fn mend(&self) {
        let _ = fs::remove_dir_all(self.switches());
    }

    fn switches(&self) -> std::path::PathBuf {
        self.machine.dir.join("run/xivo")
    }
}

/// `  Contact:  xivo/sip:xivo@10.77.0.11:5060   7c35bc5da8 NonQual  nan`
fn contacts(text: &str) -> Vec<Ipv4Addr> {
    let addresses = text.lines().filter_map(|line| {
        let contact = line.trim_start().strip_prefix("Contact:")?.trim_start();
        let uri = contact.strip_prefix("xivo/sip:xivo@")?;
        uri.split([':', ' ', ';']).next()?.parse().ok()
    });
    addresses.collect()
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(because(path.display()))
}
