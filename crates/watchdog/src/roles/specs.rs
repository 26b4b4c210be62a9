//! From the configuration to what the hands take.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use failover::verdict::Policy;
use probe::tls::{ALPN_HTTP1, Tls, TlsTrust, Verify};
use probe::{Check, HttpCheck, Kind, SipCheck, SipTransport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::config::{self, Config, Fence, Ready, ReadyTrust, Services, SipProbe, XivoConfig};
use crate::node::asterisk::{Asterisk, AsteriskSpec};
use crate::node::fence::{FenceSpec, NftSpec, Renewals};
use crate::node::liveness::LivenessSpec;
use crate::node::outside::OutsideSpec;
use crate::node::services::ServicesSpec;

/// Asterisk answers its command line within milliseconds, unless it is busy starting.
const ASTERISK_LIMIT: Duration = Duration::from_millis(1500);
/// A check command's pace where none is configured is that of nothing: there is no check.
const NO_CHECK: Duration = Duration::from_secs(60);

/// Why a readiness check cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("ready: {0}")]
pub(super) struct ReadyError(String);

pub(super) fn services(services: &Services, probe: Option<Arc<Check>>, running: PathBuf) -> ServicesSpec {
    ServicesSpec {
        start: services.start.clone(),
        stop: services.stop.clone(),
        check: services.check.as_ref().map(|check| check.command.clone()),
        stopped: services.stopped.clone(),
        probe,
        instance: services.instance.clone(),
        verify_limit: services.verify_limit,
        running: Some(running),
    }
}

pub(super) fn liveness(services: &Services, probe: Option<Arc<Check>>, policy: Policy) -> LivenessSpec {
    LivenessSpec {
        probe,
        policy,
        check: services.check.as_ref().map(|check| check.command.clone()),
        check_interval: services.check.as_ref().map_or(NO_CHECK, |check| check.interval),
    }
}

pub(super) fn outside(services: &Services) -> OutsideSpec {
    OutsideSpec { by_hand: services.by_hand.clone(), locks: OutsideSpec::package_locks() }
}

/// OPTIONS to the node's own SIP.
pub(super) fn sip(xivo: &XivoConfig) -> Option<Arc<Check>> {
    let transport = match xivo.sip.check {
        SipProbe::Udp => SipTransport::Udp,
        SipProbe::Tcp => SipTransport::Tcp,
        SipProbe::Off => return None,
    };
    let target = SocketAddr::new(xivo.sip.address, *xivo.sip.ports.first()?);
    Some(Arc::new(Check::new(target, xivo.sip.time_limit, Kind::Sip(SipCheck::new(transport)))))
}

/// A question to the CC's own web services.
pub(super) fn ready(ready: &Ready) -> Result<Arc<Check>, ReadyError> {
    let text = |what: &str| ReadyError(format!("{what} cannot be used"));
    let path = ready.path.parse().map_err(|_| text(&ready.path))?;
    let authority: http::uri::Authority = ready.authority.parse().map_err(|_| text(&ready.authority))?;
    let name = authority.host().to_owned();
    let mut question = HttpCheck::get(path, authority);
    let ranges: Vec<_> = ready.status.iter().map(|(from, to)| format!("{from}-{to}")).collect();
    question.status = ranges.join(",").parse().map_err(|_| text(&ranges.join(",")))?;
    question.tls = match &ready.tls {
        None => None,
        Some(trust) => {
            let verify = match trust {
                ReadyTrust::Off => Verify::Off,
                ReadyTrust::Ca(path) => {
                    let pem = settings::read_bytes(path)
                        .map_err(|error| ReadyError(format!("{} {}", path.display(), settings::in_words(&error).0)))?;
                    let certificates = CertificateDer::pem_slice_iter(&pem)
                        .collect::<Result<Vec<_>, _>>()
                        .map_err(|error| ReadyError(format!("{} is not PEM: {error}", path.display())))?;
                    Verify::Ca(certificates)
                }
            };
            let trust = TlsTrust::new(verify).map_err(|error| ReadyError(error.to_string()))?;
            let name = ServerName::try_from(name.clone()).map_err(|_| text(&name))?;
            Some(Tls::new(&trust, name, ALPN_HTTP1))
        }
    };
    Ok(Arc::new(Check::new(ready.address, ready.time_limit, Kind::Http(question))))
}

pub(crate) fn asterisk(asterisk: &config::Asterisk) -> Asterisk {
    Asterisk::new(AsteriskSpec { command: asterisk.command.clone(), time_limit: ASTERISK_LIMIT })
}

pub(super) fn fence(xivo: &XivoConfig) -> FenceSpec {
    match &xivo.fence {
        Fence::None => FenceSpec::None { last_resort: None },
        Fence::Command(commands) => FenceSpec::Command {
            close: commands.close.clone(),
            permit: Some(commands.release.clone()),
            last_resort: commands.last_resort.clone(),
        },
        Fence::Nft => FenceSpec::Nft(NftSpec {
            program: vec!["nft".into()],
            ports: xivo.sip.ports.clone(),
            partners: xivo.media_servers.iter().map(|server| server.address.ip()).collect(),
            renewals: Renewals::of(xivo.duty.timing.lease, xivo.duty.timing.pause),
            // Closing takes two calls, a write and the reading back: both together must end within `fence`.
            time_limit: xivo.duty.timing.fence / 2,
            last_resort: None,
        }),
    }
}

/// Hosts that show that it is not this node that is cut off: the configured ones, else the media servers.
pub(super) fn anchors(xivo: &XivoConfig) -> Vec<IpAddr> {
    // A node that reaches its media servers is not the one that is cut off from telephony.
    if xivo.anchors.is_empty() {
        xivo.media_servers.iter().map(|server| server.address.ip()).collect()
    } else {
        xivo.anchors.clone()
    }
}

/// The name of a node: the configured one, else the certificate's.
pub(super) fn name(config: &Config, certified: &str) -> String {
    config.name.clone().unwrap_or_else(|| certified.to_owned())
}
