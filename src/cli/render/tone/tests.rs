use protocol::wire::Vote;

use super::super::{Paint, status as draw};
use super::*;
use crate::admin::api::{Frozen, Maintenance};
use crate::admin::fake;
use crate::site::nodes::fake::{report, vote};

/// A healthy site with watchdogs: Main serves, Standby rests.
fn healthy() -> Status {
    let mut status = fake::status();
    status.alarms.clear();
    let node = |role, side, name: &str, does, guard: Option<Guard>| {
        let vote = (role == Role::Xivo).then(|| Vote { guard, ..vote() });
        let report = protocol::wire::NodeReport { vote, ..report(does) };
        NodeStatus { role, side: Some(side), name: name.into(), fresh: true, heard: status.now, report }
    };
    status.nodes = vec![
        node(Role::Xivo, Side::Main, "main-xivo", Does::Active, Some(Guard::Guarded)),
        node(Role::Xivo, Side::Standby, "standby-xivo", Does::Inactive, None),
        node(Role::Cc, Side::Main, "main-cc", Does::Active, None),
        node(Role::Cc, Side::Standby, "standby-cc", Does::Inactive, None),
    ];
    status.witness = Some(crate::admin::api::WitnessStatus {
        sentence: "the vote is promised to main".into(),
        holder: Some(Side::Main),
        epoch: 3,
        quiet: false,
        left_ms: 1000,
        trouble: None,
        times_differ: Vec::new(),
    });
    down(&mut status, Side::Standby);
    status
}

fn down(status: &mut Status, side: Side) {
    match side {
        Side::Main => status.sides.main.health = State::NotWorking,
        Side::Standby => status.sides.standby.health = State::NotWorking,
    }
    for backend in status
        .services
        .iter_mut()
        .filter(|service| service.side == Some(side))
        .flat_map(|service| &mut service.backends)
    {
        backend.verdict = Verdict::Down;
    }
}

/// The tones of the first line, of Main, Standby, of the backends on Main and on Standby, and of both XiVO nodes.
fn tones(status: &Status) -> [Tone; 7] {
    let backend = |side| {
        let service = status.services.iter().find(|service| service.side == Some(side)).unwrap();
        of_backend(status, service, &service.backends[0])
    };
    let node = |side| {
        let node = status.nodes.iter().find(|node| node.role == Role::Xivo && node.side == Some(side));
        node.map_or(Tone::Calm, |node| of_node(status, node))
    };
    let (main, standby) = (Side::Main, Side::Standby);
    [
        of_site(status),
        of_side(status, main),
        of_side(status, standby),
        backend(main),
        backend(standby),
        node(main),
        node(standby),
    ]
}

#[test]
#[allow(clippy::too_many_lines, reason = "one status, whole")]
fn what_is_healthy_is_calm_and_an_outage_is_loud() {
    use Tone::{Bad, Calm, Good, Odd};
    type Change = fn(&mut Status);
    let table: [(&str, Change, [Tone; 7]); 15] = [
        ("a healthy site with watchdogs", |_| {}, [Good, Good, Calm, Good, Calm, Good, Calm]),
        (
            "a healthy Edge alone, its Standby rests or is gone",
            |site| site.nodes.clear(),
            [Good, Good, Odd, Good, Odd, Calm, Calm],
        ),
        (
            "a Main that died: Standby serves",
            |site| {
                (site.live, site.nodes[0].fresh) = (Side::Standby, false);
                site.sides.standby.health = State::Working;
                site.services[1].backends[0].verdict = Verdict::Up;
                site.nodes[1].report.status = Does::Active;
                site.nodes[1].report.vote =
                    Some(Vote { guard: Some(Guard::Exposed { lacks: "peer".into() }), ..vote() });
                down(site, Side::Main);
            },
            [Odd, Odd, Good, Odd, Good, Odd, Odd],
        ),
        (
            "nobody works, both XiVO are silent",
            |site| {
                down(site, Side::Main);
                site.nodes.iter_mut().for_each(|node| node.fresh = false);
            },
            [Bad, Bad, Bad, Bad, Bad, Odd, Odd],
        ),
        (
            "nobody serves: both XiVO are inactive",
            |site| {
                down(site, Side::Main);
                site.nodes[0].report.status = Does::Inactive;
            },
            [Bad, Bad, Bad, Bad, Bad, Bad, Bad],
        ),
        (
            "Main's telephony is faulty",
            |site| {
                down(site, Side::Main);
                site.nodes[0].report.status = Does::Faulty;
            },
            [Bad, Bad, Bad, Bad, Bad, Bad, Bad],
        ),
        ("two actives", |site| site.nodes[1].report.status = Does::Active, [Bad, Good, Odd, Good, Odd, Bad, Bad]),
        (
            "Main unguarded",
            |site| {
                let guard = Some(Guard::Unguarded { why: "forced".into() });
                site.nodes[0].report.vote = Some(Vote { guard, ..vote() });
            },
            [Bad, Good, Calm, Good, Calm, Bad, Calm],
        ),
        (
            "Standby could not serve",
            |site| site.nodes[1].report.vote = Some(Vote { fit: false, ..vote() }),
            [Odd, Good, Calm, Good, Calm, Good, Odd],
        ),
        (
            "a backend of the live side is down, another serves",
            |site| site.services[0].backends[0].verdict = Verdict::Down,
            [Good, Good, Calm, Bad, Calm, Good, Calm],
        ),
        (
            "frozen",
            |site| site.frozen = Some(Frozen { by: "ann".into(), why: "upgrade".into(), since: site.now }),
            [Odd, Good, Calm, Good, Calm, Good, Calm],
        ),
        (
            "a route is in maintenance",
            |site| {
                let (route, until) = (Some("/xuc".into()), None);
                let one = Maintenance { route, until, by: "ann".into(), why: "upgrade".into(), since: site.now };
                site.maintenance.push(one);
            },
            [Odd, Good, Calm, Good, Calm, Good, Calm],
        ),
        (
            "a certificate is over",
            |site| {
                site.alarms.push("the certificate of edge.example.org EXPIRED 3 days ago, browsers refuse it".into())
            },
            [Bad, Good, Calm, Good, Calm, Good, Calm],
        ),
        (
            "a certificate is to be renewed",
            |site| site.alarms.push("the certificate of edge.example.org expires in 9 days".into()),
            [Odd, Good, Calm, Good, Calm, Good, Calm],
        ),
        ("just started", |site| site.sides.main.health = State::Unknown, [Odd, Odd, Calm, Good, Calm, Good, Calm]),
    ];
    for (situation, change, expected) in table {
        let mut status = healthy();
        change(&mut status);
        assert_eq!(tones(&status), expected, "{situation}");
    }
}

#[test]
fn a_healthy_screen_has_no_red_and_an_outage_begins_with_it() {
    const RED: &str = "\x1b[1;31m";
    let screen = draw(&healthy(), Paint::on(true));
    assert!(!screen.contains(RED) && !screen.contains("DOES NOT WORK"), "{screen}");
    assert!(screen.contains("rests"), "{screen}");
    let mut outage = healthy();
    down(&mut outage, Side::Main);
    let screen = draw(&outage, Paint::on(true));
    assert!(screen.starts_with(RED) && screen.contains("DOES NOT WORK"), "{screen}");
}
