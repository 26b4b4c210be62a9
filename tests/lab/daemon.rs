//! A program of ours on a machine: `bascule` or `bascule-watchdog`, its configuration, and its verbs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::machine::{Machine, Program};
use crate::outcome::{Outcome, because, ensure};

const ASK: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(15);

/// A program with its configuration, running or not.
#[derive(Debug)]
pub(crate) struct Daemon {
    machine: Machine,
    binary: PathBuf,
    config: PathBuf,
    /// The configuration as it was laid out.
    text: String,
    program: Option<Program>,
    started: Instant,
    /// When it was stopped, killed or made to stand still last.
    disturbed: Option<Instant>,
    /// `NAME=VALUE` for its environment.
    variables: Vec<String>,
}

impl Daemon {
    /// Writes the configuration; starts nothing.
    pub(crate) fn lay_out(machine: &Machine, binary: &Path, config: &str) -> Outcome<Self> {
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = machine.dir.join(format!("{name}.yaml"));
        fs::write(&path, config).map_err(because(path.display()))?;
        Ok(Self {
            machine: machine.clone(),
            binary: binary.to_owned(),
            config: path,
            text: config.to_owned(),
            program: None,
            started: Instant::now(),
            disturbed: None,
            variables: Vec::new(),
        })
    }

    fn name(&self) -> String {
        self.binary.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn start(&mut self) -> Outcome {
        let mut arguments: Vec<&OsStr> = vec![OsStr::new("env")];
        arguments.extend(self.variables.iter().map(OsStr::new));
        arguments.extend([self.binary.as_os_str(), OsStr::new("run"), OsStr::new("--config"), self.config.as_os_str()]);
        self.started = Instant::now();
        self.disturbed = self.disturbed.map(|_| self.started);
        self.program = Some(self.machine.start(&self.name(), &arguments)?);
        Ok(())
    }

    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// When somebody stopped, killed or halted it last, and when it went on.
    pub(crate) const fn disturbed(&self) -> Option<Instant> {
        self.disturbed
    }

    /// Starts it anew with these variables in its environment.
    pub(crate) fn restart_with(&mut self, variables: Vec<String>) -> Outcome {
        self.end()?;
        self.variables = variables;
        self.start()
    }

    /// The next start has these variables; what runs keeps its own.
    pub(crate) fn set_variables(&mut self, variables: Vec<String>) {
        self.variables = variables;
    }

    pub(crate) fn stands_still(&self) -> bool {
        self.program.as_ref().is_some_and(Program::stands_still)
    }

    /// Starts it anew with its first configuration changed like this.
    pub(crate) fn reconfigure(&mut self, change: impl Fn(&str) -> String) -> Outcome {
        fs::write(&self.config, change(&self.text)).map_err(because(self.config.display()))?;
        self.end()?;
        self.start()
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Outcome {
        if signal == Signal::STOP || self.stands_still() {
            self.disturbed = Some(Instant::now());
        }
        self.program.as_mut().ok_or_else(|| "it does not run".to_owned())?.signal(signal)
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::runs)
    }

    /// Puts a script in the place of a program, for this daemon and what it runs alone; without one, the program is back.
    pub(crate) fn replace(&self, program: &str, script: Option<&str>) -> Outcome {
        let running = self.program.as_ref().ok_or_else(|| "it does not run".to_owned())?;
        let space = format!("--mount=/proc/{}/ns/mnt", running.pid()?.as_raw_pid());
        let file = self.machine.dir.join("replaced");
        let command = match script {
            Some(script) => {
                fs::write(&file, script).map_err(because(file.display()))?;
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(because(file.display()))?;
                vec![space, "mount".into(), "--bind".into(), file.display().to_string(), program.to_owned()]
            }
            // Lazily: whoever runs the one that stood there goes on with it, and would keep it busy.
            None => vec![space, "umount".into(), "--lazy".into(), program.to_owned()],
        };
        let done = Command::new("nsenter").args(&command).status().map_err(because("nsenter"))?;
        ensure(done.success(), || format!("nsenter {}: {done}", command.join(" ")))
    }

    pub(crate) fn kill(&mut self) -> Outcome {
        self.disturbed = Some(Instant::now());
        self.program.take().map_or(Ok(()), |mut program| program.kill())
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(&mut self) -> Outcome {
        self.disturbed = Some(Instant::now());
        self.program.take().map_or(Ok(()), |mut program| program.end(END))
    }

    /// Carries out a verb that has to succeed, and returns what it says.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Outcome<String> {
        let (binary, config) = (self.binary.to_string_lossy(), self.config.to_string_lossy());
        let mut all = vec![&*binary];
        all.extend(arguments);
        all.extend(["--config", &*config]);
        self.machine.must(&all, ASK)
    }

    /// What `check` says of its configuration changed like this, whatever comes of it.
    pub(crate) fn checked(&self, change: impl Fn(&str) -> String) -> Outcome<String> {
        let config = self.machine.dir.join("checked.yaml");
        fs::write(&config, change(&self.text)).map_err(because(config.display()))?;
        let (binary, config) = (self.binary.to_string_lossy(), config.to_string_lossy());
        let output = self.machine.run(&[&*binary, "check", "--config", &*config], ASK)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The whole status.
    pub(crate) fn status(&self) -> Outcome<Value> {
        let text = self.verb(&["status", "--json"])?;
        serde_json::from_str(&text).map_err(because(format!("status of {}", self.machine.host.name())))
    }

    /// Everything in the journal of a watchdog, newest first.
    pub(crate) fn journal(&self) -> Outcome<Vec<Value>> {
        let text = self.verb(&["history", "--limit", "500", "--json"])?;
        serde_json::from_str(&text).map_err(because(format!("journal of {}", self.machine.host.name())))
    }

    /// Fails unless this part of the status says these words.
    pub(crate) fn says(&self, part: &str, words: &str) -> Outcome {
        let status = self.status()?;
        let said = status.get(part).map(Value::to_string).unwrap_or_default();
        ensure(said.to_lowercase().contains(words), || {
            format!("{} does not say `{words}` in `{part}`: {status}", self.machine.host.name())
        })
    }

    /// Everything it ever logged in this site.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.machine.log(&self.name())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
