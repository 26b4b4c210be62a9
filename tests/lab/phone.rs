//! A real phone: baresip with two registrars over TCP, Main's first. It takes commands as JSON in netstrings.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::machine::{Machine, Program};
use crate::net::{Host, Net};
use crate::outcome::{Outcome, because};

const CONTROL: u16 = 4444;
const BIGGEST: usize = 64 << 10;

/// A running phone, and the line to it.
#[derive(Debug)]
pub(crate) struct Baresip {
    control: TcpStream,
    unread: Vec<u8>,
    _program: Program,
}

impl Baresip {
    pub(crate) fn start(net: &Net, machine: &Machine, debian: &Path) -> Outcome<Self> {
        let dir = machine.dir.join("baresip");
        fs::create_dir_all(&dir).map_err(because(dir.display()))?;
        let main = Host::MainXivo.address();
        let standby = Host::StandbyXivo.address();
        let account = |server, priority: u8| {
            format!(
                "<sip:1001@{server};transport=tcp>;auth_user=1001;auth_pass=pw1001;regint=10;fbregint=5;prio={priority}\n"
            )
        };
        write(&dir.join("accounts"), &format!("{}{}", account(main, 0), account(standby, 1)))?;
        write(&dir.join("config"), include_str!("phone/config"))?;
        write(&dir.join("contacts"), "")?;
        // A second of tone, or nearly: 8000 samples of a square wave.
        fs::write(dir.join("tone.wav"), tone()).map_err(because("tone.wav"))?;
        let inside = r#"mount --bind "$0/baresip" "$1/lab" && exec chroot "$1" baresip -f /lab"#;
        let arguments =
            [OsStr::new("/bin/sh"), OsStr::new("-c"), OsStr::new(inside), machine.dir.as_os_str(), debian.as_os_str()];
        let program = machine.start("baresip", &arguments)?;
        let connect = || {
            let to = (Host::Phone.address(), CONTROL);
            crate::outcome::wait_for("the phone takes commands", Duration::from_secs(5), || {
                TcpStream::connect(to).map_err(|error| error.to_string())
            })
        };
        let control = net.inside(Host::Phone, connect)?.join().map_err(|_| "the phone panicked".to_owned())??;
        Ok(Self { control, unread: Vec::new(), _program: program })
    }

    /// Dials a number at a server.
    pub(crate) fn dial(&mut self, number: &str, server: Host) -> Outcome {
        let target = format!("sip:{number}@{};transport=tcp", server.address());
        self.tell("dial", &target)
    }

    pub(crate) fn hang_up(&mut self) -> Outcome {
        self.tell("hangup", "")
    }

    fn tell(&mut self, command: &str, parameters: &str) -> Outcome {
        let text = json!({ "command": command, "params": parameters }).to_string();
        let message = format!("{}:{text},", text.len());
        self.control.write_all(message.as_bytes()).map_err(because("the phone"))
    }

    /// Waits for an event of this type that says these words.
    pub(crate) fn event(&mut self, kind: &str, words: &str, limit: Duration) -> Outcome<Instant> {
        let end = Instant::now() + limit;
        let mut others = Vec::new();
        loop {
            let Some(message) = self.next(end)? else {
                return Err(format!(
                    "the phone: no {kind} ({words}) within {:.0} s, but: {}",
                    limit.as_secs_f64(),
                    others.join(", ")
                ));
            };
            let is = message.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            if is == kind && message.to_string().contains(words) {
                return Ok(Instant::now());
            }
            others.push(if is.is_empty() { message.to_string() } else { is });
        }
    }

    /// The next message, or none until then.
    fn next(&mut self, end: Instant) -> Outcome<Option<Value>> {
        loop {
            if let Some(message) = self.take() {
                return serde_json::from_slice(&message).map(Some).map_err(because("the phone"));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.control.set_read_timeout(Some(left)).map_err(because("the phone"))?;
            let mut bytes = [0; 4096];
            match self.control.read(&mut bytes) {
                Ok(0) => return Err("the phone has hung up on us".to_owned()),
                Ok(size) => self.unread.extend_from_slice(&bytes[..size]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(format!("the phone: {error}")),
            }
        }
    }

    /// A whole netstring that was read: `LENGTH:TEXT,`.
    fn take(&mut self) -> Option<Vec<u8>> {
        let colon = self.unread.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&self.unread[..colon]).ok()?.parse().ok()?;
        let end = colon + 1 + length.min(BIGGEST);
        if self.unread.len() <= end {
            return None;
        }
        let message = self.unread[colon + 1..end].to_vec();
        self.unread.drain(..=end);
        Some(message)
    }
}

/// RIFF, 8000 samples a second of 16 bits.
fn tone() -> Vec<u8> {
    const SAMPLES: u32 = 8000;
    let bytes = SAMPLES * 2;
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + bytes).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&SAMPLES.to_le_bytes());
    wav.extend_from_slice(&bytes.to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    for sample in 0..SAMPLES {
        let level: i16 = if sample / 9 % 2 == 0 { 8000 } else { -8000 };
        wav.extend_from_slice(&level.to_le_bytes());
    }
    wav
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(because(path.display()))
}
