//! One machine of the site: what runs on it, and its power switch.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::net::{Fault, Host, Net, pids};
use crate::outcome::{Outcome, because, ensure};

/// Programs see the machine's own `/run`, and its files as `/lab` of the little Debian Asterisk lives in.
const ENTER: &str = r#"mount --bind "$0/run" /run && mount --bind "$0" "$1/lab" && shift && exec "$@""#;

/// A machine: a namespace, and a directory for its files.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) host: Host,
    pub(crate) dir: PathBuf,
    /// The little Debian with Asterisk.
    pub(crate) debian: PathBuf,
    net: Arc<Net>,
}

impl Machine {
    pub(crate) fn new(net: &Arc<Net>, host: Host, site: &Path, debian: &Path) -> Outcome<Self> {
        let dir = site.join(host.name());
        for part in ["run/bascule", "log", "state"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(because(path.display()))?;
        }
        Ok(Self { host, dir, debian: debian.to_owned(), net: net.clone() })
    }

    /// A command as this machine runs it.
    fn command(&self, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.net.namespace(self.host), "/bin/sh", "-c", ENTER]);
        command.arg(&self.dir).arg(&self.debian).args(arguments).current_dir("/").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, which comes within the limit.
    pub(crate) fn run(&self, arguments: &[&str], limit: Duration) -> Outcome<Output> {
        let limit = format!("{:.1}", limit.as_secs_f64());
        let mut all: Vec<&OsStr> = ["timeout", "-k", "1", &limit].into_iter().map(OsStr::new).collect();
        all.extend(arguments.iter().map(OsStr::new));
        self.command(&all).output().map_err(because(format!("{} on {}", arguments.join(" "), self.host.name())))
    }

    /// Runs a command that has to succeed, and returns what it says.
    pub(crate) fn must(&self, arguments: &[&str], limit: Duration) -> Outcome<String> {
        let output = self.run(arguments, limit)?;
        let says = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure(output.status.success(), || {
            let error = String::from_utf8_lossy(&output.stderr);
            format!("{} on {}: {}: {says}{}", arguments.join(" "), self.host.name(), output.status, error.trim())
        })?;
        Ok(says)
    }

    /// Starts a program that stays; what it says goes to `log/NAME.log`.
    pub(crate) fn start(&self, name: &str, arguments: &[&OsStr]) -> Outcome<Program> {
        let path = self.log(name);
        let log = File::options().create(true).append(true).open(&path).map_err(because(path.display()))?;
        let errors = log.try_clone().map_err(because(path.display()))?;
        let mut command = self.command(arguments);
        command.stdout(log).stderr(errors);
        let child = command.spawn().map_err(because(name))?;
        Ok(Program { title: format!("{name} on {}", self.host.name()), child, stopped: false })
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }

    /// Without a word to anybody: the cable first, then every process at once, then what lived in memory only.
    pub(crate) fn power_off(&self) -> Outcome {
        self.net.fault(Fault::Unplugged(self.host))?;
        let namespace = self.net.namespace(self.host);
        for pid in pids(&namespace) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let flush = ["netns", "exec", &namespace, "nft", "flush", "ruleset"];
        let flushed = Command::new("ip").args(flush).status().map_err(because("nft"))?;
        ensure(flushed.success(), || format!("nft flush ruleset on {}: {flushed}", self.host.name()))?;
        let run = self.dir.join("run");
        let _ = fs::remove_dir_all(&run);
        fs::create_dir_all(run.join("bascule")).map_err(because(run.display()))
    }
}

/// A program on a machine; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    title: String,
    child: Child,
    stopped: bool,
}

impl Program {
    pub(crate) fn pid(&self) -> Outcome<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| format!("{}: no pid", self.title))
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Outcome {
        self.stopped = signal == Signal::STOP || (self.stopped && signal != Signal::CONT);
        kill_process(self.pid()?, signal).map_err(because(&self.title))
    }

    /// Whether a signal stopped it.
    pub(crate) const fn stands_still(&self) -> bool {
        self.stopped
    }

    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) -> Outcome {
        self.child.kill().map_err(because(&self.title))?;
        self.child.wait().map(drop).map_err(because(&self.title))
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(&mut self, limit: Duration) -> Outcome {
        self.signal(Signal::TERM)?;
        crate::outcome::wait_for(&format!("the end of {}", self.title.clone()), limit, || {
            ensure(!self.runs(), || "it still runs".to_owned())
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
