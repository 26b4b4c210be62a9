//! Where everything of a demo is: its directory, addresses, ports, certificates and the Edge's configuration.
//!
//! Each host has a loopback address of its own, as each host of a site has its own address: 127.0.0.11 is Main,
//! 127.0.0.12 Standby, 127.0.0.13 what they share.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use failover::Side;
use tempfile::TempDir;

use super::process::{Program, Ready};
use crate::certs::{Authority, CertError, Files};
use crate::side::SideName;

/// The name every browser resolves to its own machine.
pub(super) const FQDN: &str = "localhost";
/// The Edge's program, beside ours.
pub(super) const EDGE_PROGRAM: &str = "bascule";
const EDGE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const MAIN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const STANDBY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);
const SHARED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 13);
/// Below the ports systems hand out: while a side is dead nobody else gets its port.
const PORTS: std::ops::Range<u16> = 18_000..28_000;
/// Attempts to find a free one.
const ATTEMPTS: usize = 200;
const SIDE_STARTS: Duration = Duration::from_secs(10);

/// A demo before it runs. Its directory goes with it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) directory: TempDir,
    /// Ours, which plays the sides, too.
    program: PathBuf,
    pub(super) https: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) metrics: SocketAddr,
    /// Where operators, and the demo itself, ask the Edge.
    pub(super) socket: PathBuf,
    /// What the Edge's certificate is verified with.
    pub(super) authority: PathBuf,
    side_port: u16,
    sip_port: u16,
    shared_port: u16,
    certificates: Certificates,
}

#[derive(Debug)]
struct Certificates {
    edge: Files,
    main: Files,
    standby: Files,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Somebody listens on the port that was asked for.
    #[error("port {0} is taken: stop who listens there, or choose another with --port")]
    Taken(u16),
    /// No port was free in many attempts.
    #[error("no free port was found on {0}")]
    NoPort(IpAddr),
    /// The throw-away certificates could not be made.
    #[error(transparent)]
    Certificates(#[from] CertError),
    /// The Edge's program is not there.
    #[error(
        "{0}: there is no such program, and the demo runs the Edge that lies beside its own: \
         `make demo` builds both, and so does `cargo build --workspace --bins`"
    )]
    NoEdge(PathBuf),
    /// No directory, or no configuration in it.
    #[error("the demo's directory: {0}")]
    Io(#[from] io::Error),
}

impl Plan {
    /// Prepares everything; without `port` any that is free.
    pub(super) fn new(port: Option<u16>) -> Result<Self, PlanError> {
        let ours_alone = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("bascule-demo-").permissions(ours_alone).tempdir()?;
        let mut ports = Ports::default();
        let https = match port {
            Some(port) if is_free(EDGE, port) => port,
            Some(port) => return Err(PlanError::Taken(port)),
            None => ports.next(&[EDGE])?,
        };
        ports.0.push(https);
        let authority = Authority::new("Bascule demo, trusted by nobody")?;
        let at = directory.path();
        let leaf = |names: &[&str], name: &str| authority.issue(names)?.write(at, name);
        let plan = Self {
            program: std::env::current_exe()?,
            https: (EDGE, https).into(),
            http: (EDGE, ports.next(&[EDGE])?).into(),
            metrics: (EDGE, ports.next(&[EDGE])?).into(),
            side_port: ports.next(&[MAIN, STANDBY])?,
            sip_port: ports.next(&[MAIN, STANDBY, SHARED])?,
            shared_port: ports.next(&[SHARED])?,
            socket: at.join("admin.sock"),
            certificates: Certificates {
                edge: leaf(&[FQDN, &EDGE.to_string(), "::1"], "edge")?,
                main: leaf(&[&MAIN.to_string()], "main")?,
                standby: leaf(&[&STANDBY.to_string()], "standby")?,
            },
            authority: authority.write(at)?,
            directory,
        };
        std::fs::write(plan.config(), plan.yaml())?;
        Ok(plan)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.path().join("edge.yaml")
    }

    /// Returns where the Edge writes its log.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.path().join("edge.log")
    }

    pub(super) fn url(&self) -> String {
        format!("https://{FQDN}:{}/ucassistant", self.https.port())
    }

    /// The Edge that was built, or installed, with this program.
    pub(super) fn edge(&self) -> Result<Program, PlanError> {
        let path = self.program.with_file_name(EDGE_PROGRAM);
        if !path.is_file() {
            return Err(PlanError::NoEdge(path));
        }
        let arguments = vec!["run".into(), "--config".into(), self.config().into()];
        Ok(Program { path, ..self.program("The Edge", arguments, "edge.log", Ready::Elsewhere) })
    }

    pub(super) fn side(&self, side: Side) -> Program {
        let (title, name, ip, files) = match side {
            Side::Main => ("Main", SideName::Main, MAIN, &self.certificates.main),
            Side::Standby => ("Standby", SideName::Standby, STANDBY, &self.certificates.standby),
        };
        let mut arguments = self.side_arguments(name, ip, self.side_port);
        arguments.extend(["--cert".into(), files.chain.clone().into(), "--key".into(), files.key.clone().into()]);
        self.program(title, arguments, &format!("{}.log", name.word()), Ready::FirstLine(SIDE_STARTS))
    }

    /// The SIP proxy and a media server.
    pub(super) fn shared(&self) -> Program {
        let arguments = self.side_arguments(SideName::Shared, SHARED, self.shared_port);
        self.program("What both sides share", arguments, "shared.log", Ready::FirstLine(SIDE_STARTS))
    }

    fn side_arguments(&self, name: SideName, ip: Ipv4Addr, port: u16) -> Vec<OsString> {
        let (listen, sip) = (format!("{ip}:{port}"), format!("{ip}:{}", self.sip_port));
        let words = ["side", "--side", name.word(), "--listen", &listen, "--sip", &sip];
        words.iter().map(OsString::from).collect()
    }

    fn program(&self, title: &'static str, arguments: Vec<OsString>, log: &str, ready: Ready) -> Program {
        Program { title, path: self.program.clone(), arguments, log: self.directory.path().join(log), ready }
    }

    fn yaml(&self) -> String {
        let at = self.directory.path();
        let path = |path: &std::path::Path| format!("{:?}", path.display().to_string());
        let (chain, key) = (path(&self.certificates.edge.chain), path(&self.certificates.edge.key));
        let (authority, admin, state) = (path(&self.authority), path(&self.socket), path(&at.join("state")));
        let Self { https, http, metrics, side_port, sip_port, shared_port, .. } = self;
        format!(
            "\
# The demo's Edge, as `bascule-demo` writes it: a site's edge.yaml, and ports of its own.
preset: xivo
fqdn: {FQDN}
certificate: {{ chain: {chain}, key: {key} }}
listen: {{ https: \"{https}\", http: \"{http}\" }}
sides:
  main:    {{ cc: {MAIN}, xivo: {MAIN} }}
  standby: {{ cc: {STANDBY}, xivo: {STANDBY} }}
shared:
  sip: http://{SHARED}:{shared_port}
  mds: {{ mds1: {SHARED} }}
services:
  cc: {{ port: {side_port} }}
  xivo: {{ port: {side_port}, checks: {{ sip: {{ transport: udp, port: {sip_port} }} }} }}
  mds: {{ checks: {{ sip: {{ transport: udp, port: {sip_port} }} }} }}
upstream_tls: {{ ca: {authority} }}
routes:
  - {{ path: /xuc/lab/ws, service: cc, websocket: true }}
# Whoever plays may switch often.
switch: {{ switches_per_hour: 100 }}
limits: {{ drain: 1s }}
admin: {admin}
metrics: \"{metrics}\"
state: {state}
log: {{ format: human }}
"
        )
    }
}

/// Free ports, each handed out once.
#[derive(Debug, Default)]
struct Ports(Vec<u16>);

impl Ports {
    fn next(&mut self, addresses: &[Ipv4Addr]) -> Result<u16, PlanError> {
        for _ in 0..ATTEMPTS {
            let port = fastrand::u16(PORTS);
            if !self.0.contains(&port) && addresses.iter().all(|address| is_free(*address, port)) {
                self.0.push(port);
                return Ok(port);
            }
        }
        Err(PlanError::NoPort(addresses.first().copied().unwrap_or(EDGE).into()))
    }
}

fn is_free(address: Ipv4Addr, port: u16) -> bool {
    // SIP is answered over both on one port.
    TcpListener::bind((address, port)).is_ok() && UdpSocket::bind((address, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_configuration_is_one_the_edge_takes_without_a_warning() {
        let plan = Plan::new(None).unwrap();
        let (config, warnings) = bascule::config::Config::load(&plan.config()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(config.fqdn, FQDN);
        assert_eq!(config.listen.https, [plan.https]);
    }

    #[test]
    fn everything_is_in_one_directory_of_our_own_that_goes_with_the_plan() {
        let plan = Plan::new(None).unwrap();
        let mode = std::fs::metadata(plan.directory.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let yaml = std::fs::read_to_string(plan.config()).unwrap();
        let directory = plan.directory.path().to_owned();
        let paths = yaml.split('"').filter(|part| part.starts_with('/')).filter(|part| !part.starts_with("/xuc"));
        let paths: Vec<_> = paths.collect();
        assert!(paths.len() >= 5 && paths.iter().all(|path| directory.join(path).starts_with(&directory)), "{yaml}");
        assert!(!yaml.contains("/etc/"));
        drop(plan);
        assert!(!directory.exists());
    }

    #[test]
    fn a_port_that_is_taken_is_named_before_anything_starts() {
        let listener = TcpListener::bind((EDGE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = Plan::new(Some(port)).unwrap_err();
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }
}
