//! What only the file of a XiVO node may say.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use failover::Span;
use failover::duty::{self, Alone, Failback, Mode, Requests, Wishes, Witness};
use settings::{Findings, KeyPath, Named, OneOrMany, Short, item, quoted};

use super::commands::{argv, asterisk, positive, replication, services, span};
use super::endpoints::{endpoint, host, remote};
use super::timing::{self, Fenced};
use super::{is_name, side};
use crate::config::file::{DayName, FenceFile, FenceWord, File, SipFile, WindowFile};
use crate::config::{
    CommandSpec, Fence, FenceCommands, MediaServer, Services, Sip, SipProbe, Window, XivoConfig, defaults, preset,
};

pub(super) fn resolve(file: File, findings: &mut Findings) -> Option<XivoConfig> {
    let side = side(file.side, findings);
    let (listen, peer) = addresses(file.listen.as_deref(), file.peer.as_deref(), findings);
    let witness = file.witness.as_deref().map(|text| remote("witness", text, "10.1.0.41:9601", findings));
    // Without a side, Main's commands: what else is wrong is to be found all the same.
    let beneath = preset::xivo(file.preset, side.unwrap_or(failover::Side::Main));
    let services = services(file.services, beneath, defaults::VERIFY_LIMIT, findings);
    let fenced = match &file.fence {
        Some(Short(FenceFile { word: Some(FenceWord::None), .. })) => Fenced::ByStopping,
        _ => Fenced::ByFence,
    };
    let stop_limit =
        services.as_ref().map(|services| services.stop.time_limit).filter(|_| fenced == Fenced::ByStopping);
    let timing = timing::timing(file.timing, stop_limit, findings);
    let fence = fence(file.fence, timing.fence, findings);
    let anchors = anchors(file.anchors, findings);
    let alone = alone(file.alone, &anchors, findings);
    if witness.is_none() {
        warn_of_no_witness(findings);
    }
    let (failback, window) = failback(file.failback, file.window, findings);
    let wishes =
        Wishes { mode: file.mode.unwrap_or(Mode::Automatic), failback, frozen: false, choice: duty::Choice::None };
    let requests = if file.accept_requests == Some(true) { Requests::Accept } else { Requests::Refuse };
    let default = duty::Settings::new(side.unwrap_or(failover::Side::Main));
    let hold_down = span(file.hold_down, default.hold_down);
    let duty = duty::Settings {
        timing,
        witness: if witness.is_some() { Witness::Configured } else { Witness::None },
        alone,
        requests,
        hold_down,
        // A site with a long hold-down keeps it: the default limit must not be below what is written.
        hold_down_limit: span(file.hold_down_limit, default.hold_down_limit.max(hold_down)),
        retry: positive(file.retry, default.retry, &KeyPath::top("retry"), findings),
        retry_limit: span(file.retry_limit, default.retry_limit),
        wishes,
        ..default
    };
    timing::check(&duty, fenced, findings);
    let sip = sip(file.sip, listen, findings);
    let media_servers = media_servers(file.mds, findings);
    let asterisk = asterisk(file.asterisk, findings);
    let replication = replication(file.replication, findings);
    if let (Some(services), Some(sip)) = (&services, &sip) {
        some_check_tells(services, sip, findings);
    }
    side?;
    Some(XivoConfig {
        listen: listen?,
        peer: peer?,
        witness: match witness {
            Some(address) => Some(address?),
            None => None,
        },
        duty,
        window,
        anchors,
        fence: fence?,
        sip: sip?,
        media_servers,
        asterisk: asterisk?,
        services: services?,
        replication,
    })
}

/// Where this node listens, and where the other XiVO's watchdog does.
fn addresses(
    listen: Option<&str>,
    peer: Option<&str>,
    findings: &mut Findings,
) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let listen = required("listen", listen, "10.0.0.11:9602", endpoint, findings);
    let peer = required("peer", peer, "10.0.0.12:9602", remote, findings);
    if let (Some(listen), Some(peer)) = (listen, peer)
        && listen == peer
    {
        let at = KeyPath::top("peer");
        findings.error(&at, format!("{peer} is this node's own `listen`"), "write the other XiVO's address");
    }
    (listen, peer)
}

fn warn_of_no_witness(findings: &mut Findings) {
    let at = KeyPath::top("witness");
    if !findings.is_reported(&at) {
        let remedy = "write the Edge's `nodes` address, so that a cut between the two XiVOs cannot make two Actives";
        findings.warn(&at, "is not set: this node is unguarded whenever its peer is silent", remedy);
    }
}

/// A node that nothing checks would serve with dead telephony for ever.
fn some_check_tells(services: &Services, sip: &Sip, findings: &mut Findings) {
    if services.check.is_none() && sip.check == SipProbe::Off {
        let at = KeyPath::top("services").key("check");
        let remedy = "write a check command, or `sip: { check: udp }`";
        findings.missing(&at, "is missing, and SIP is not probed: nothing tells whether telephony works", remedy);
    }
}

type Read = fn(&str, &str, &str, &mut Findings) -> Option<SocketAddr>;

/// An address that must be there.
pub(super) fn required(
    key: &str,
    written: Option<&str>,
    example: &str,
    read: Read,
    findings: &mut Findings,
) -> Option<SocketAddr> {
    match written {
        Some(text) => read(key, text, example, findings),
        None => {
            findings.missing(&KeyPath::top(key), "is missing", format!("write IP address and port, such as {example}"));
            None
        }
    }
}

fn anchors(written: Option<OneOrMany<String>>, findings: &mut Findings) -> Vec<IpAddr> {
    let at = KeyPath::top("anchors");
    let list = written.map(|list| list.0).unwrap_or_default().into_iter().enumerate();
    list.filter_map(|(index, text)| {
        let at = item(&at, index, findings);
        host(&text, &at, findings)
    })
    .collect()
}

fn alone(written: Option<Alone>, anchors: &[IpAddr], findings: &mut Findings) -> Alone {
    let alone = written.unwrap_or(Alone::Wait);
    // Without anchors a node that is cut off would serve beside the other (W3).
    if alone == Alone::Serve && anchors.is_empty() && !findings.is_reported(&KeyPath::top("anchors")) {
        let remedy = "write anchors (the gateway, a media server), or `alone: wait`";
        findings.error(&KeyPath::top("alone"), "a node without anchors cannot tell that it is cut off", remedy);
    }
    alone
}

fn failback(
    written: Option<Failback>,
    window: Option<WindowFile>,
    findings: &mut Findings,
) -> (Failback, Option<Window>) {
    let at = KeyPath::top("window");
    let window = window.and_then(|file| {
        let days = file.days.map_or([true; 7], |days| {
            let mut open = [false; 7];
            days.0.iter().for_each(|day| open[index(*day)] = true);
            open
        });
        let mut minute = |key: &str, text: Option<String>| {
            let at = at.key(key);
            let Some(text) = text else {
                findings.missing(&at, "is missing", "write a time of day, such as \"02:00\"");
                return None;
            };
            let minute = Window::minute(&text);
            if minute.is_none() {
                let remedy = "write hours and minutes in quotes, such as \"02:00\"";
                findings.error(&at, format!("{} is no time of day", quoted(&text)), remedy);
            }
            minute
        };
        let (from, to) = (minute("from", file.from), minute("to", file.to));
        if from.is_some() && from == to {
            findings.error(&at.key("to"), "is the same as from", "write when the window closes");
        }
        Some(Window { days, from: from?, to: to? })
    });
    let failback = written.unwrap_or(Failback::Auto);
    if failback == Failback::Window && window.is_none() {
        let remedy = "write `window: { from: \"02:00\", to: \"04:00\" }`";
        findings.missing(&at, "is missing, but `failback: window` needs it", remedy);
    }
    (failback, window)
}

fn index(day: DayName) -> usize {
    match day {
        DayName::Mon => 0,
        DayName::Tue => 1,
        DayName::Wed => 2,
        DayName::Thu => 3,
        DayName::Fri => 4,
        DayName::Sat => 5,
        DayName::Sun => 6,
    }
}

fn fence(written: Option<Short<FenceFile>>, limit: Duration, findings: &mut Findings) -> Option<Fence> {
    let at = KeyPath::top("fence");
    let FenceFile { word, command, release, last_resort } =
        written.map_or_else(|| FenceFile { word: Some(FenceWord::Nft), ..FenceFile::default() }, |short| short.0);
    match word {
        Some(FenceWord::Nft) => return Some(Fence::Nft),
        Some(FenceWord::None) => {
            let remedy = "write `fence: nft`, so that a cut-off node is silent in half a second";
            findings.warn(&at, "nothing but the stop command keeps phones out of a node that must not serve", remedy);
            return Some(Fence::None);
        }
        None => {}
    }
    let mut spec = |key: &str, words: Option<Vec<String>>| {
        let argv = argv(words, &at.key(key), findings)?;
        Some(CommandSpec { argv, time_limit: limit })
    };
    let (close, release, last_resort) =
        (spec("command", command), spec("release", release), spec("last_resort", last_resort));
    for (key, there) in [("command", close.is_some()), ("release", release.is_some())] {
        if !there {
            findings.missing(&at.key(key), "is missing", "write program and arguments as a list, or `fence: nft`");
        }
    }
    let remedy = "see to it that the commands, too, end by themselves, or write `fence: nft`";
    findings.warn(
        &at,
        "a watchdog that is frozen cannot run these commands: only the kernel's fence ends with the lease",
        remedy,
    );
    Some(Fence::Command(FenceCommands { close: close?, release: release?, last_resort }))
}

fn sip(written: Option<SipFile>, listen: Option<SocketAddr>, findings: &mut Findings) -> Option<Sip> {
    let at = KeyPath::top("sip");
    let SipFile { address, ports, check, time_limit } = written.unwrap_or_default();
    let address = match (address, listen) {
        (Some(text), _) => host(&text, &at.key("address"), findings),
        // Phones do not find the node at 0.0.0.0, and the probe must ask where they do.
        (None, Some(listen)) if listen.ip().is_unspecified() => {
            let remedy = "write where phones find this node, such as `sip: { address: 10.0.0.11 }`";
            findings.missing(&at.key("address"), "is missing, and `listen` names no address", remedy);
            None
        }
        (None, listen) => listen.map(|listen| listen.ip()),
    };
    let ports = ports.map_or_else(|| defaults::SIP_PORTS.to_vec(), |ports| ports.0);
    if ports.is_empty() || ports.contains(&0) {
        findings.error(
            &at.key("ports"),
            "a port from 1 to 65535 is wanted",
            "write the ports phones use, such as [5060, 5061, 5039]",
        );
    }
    let check = check.unwrap_or(SipProbe::Udp);
    let at = at.key("time_limit");
    let time_limit = positive(time_limit, defaults::SIP_TIME_LIMIT, &at, findings);
    if time_limit > defaults::SIP_LONGEST {
        let longest = Span(defaults::SIP_LONGEST);
        findings.error(&at, format!("is longer than {longest}"), format!("write {longest} or less"));
    }
    Some(Sip { address: address?, ports, check, time_limit })
}

fn media_servers(written: Option<Named<String>>, findings: &mut Findings) -> Vec<MediaServer> {
    let at = KeyPath::top("mds");
    let mut servers: Vec<MediaServer> = Vec::new();
    for (name, text) in written.unwrap_or_default().0 {
        let at = at.key(&name);
        if !is_name(&name) {
            findings.error(&at, format!("{} is no plain name", quoted(&name)), "write letters, digits, - _ and .");
        }
        let address = match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Some(address),
            _ => host(&text, &at, findings).map(|ip| SocketAddr::new(ip, defaults::SIP_PORT)),
        };
        let Some(address) = address else { continue };
        if let Some(first) = servers.iter().find(|server| server.address == address) {
            findings.error(&at, format!("{address} is {}, too", first.name), "keep one of the two");
        }
        servers.push(MediaServer { name, address });
    }
    // The longest report that fits a frame.
    if servers.len() > 64 {
        findings.error(&at, "more than 64 media servers", "ask for a longer list");
    }
    servers
}
