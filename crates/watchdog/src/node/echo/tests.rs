use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tokio::time::{sleep, timeout};

use super::super::namespace::two_hosts;
use super::*;

const LONG: Duration = Duration::from_secs(60);
const HOSTS: [&str; 2] = ["10.99.0.2", "fd99::2"];

fn start(targets: &[&str]) -> Echo {
    let targets = targets.iter().map(|target| target.parse().unwrap()).collect();
    Echo::start(EchoSpec { targets, interval: Duration::from_millis(20) })
}

async fn until(echo: &Echo, target: &str, answering: Answering) {
    let target = target.parse().unwrap();
    let there = async {
        while echo.answering(target, Duration::from_millis(300)) != answering {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, there).await.unwrap_or_else(|_| panic!("{target} is never {answering:?}"));
}

#[test]
fn hosts_answer_by_either_kind_of_socket_and_dead_ones_do_not() {
    let Some((asker, other)) = two_hosts() else { return };
    for (range, socket) in [("1 0", Socket::Raw), ("0 2147483647", Socket::Datagram)] {
        asker.run(async || {
            std::fs::write("/proc/sys/net/ipv4/ping_group_range", range).unwrap();
            let echo = start(&["10.99.0.2", "fd99::2", "127.0.0.1", "::1", "10.99.0.77", "203.0.113.1"]);
            assert_eq!((&echo.v4, &echo.v6), (&socket, &socket));
            for target in ["10.99.0.2", "fd99::2", "127.0.0.1", "::1"] {
                until(&echo, target, Answering::Yes).await;
            }
            for target in ["10.99.0.77", "203.0.113.1"] {
                until(&echo, target, Answering::No).await;
            }
            assert_eq!(echo.answering("10.99.0.3".parse().unwrap(), LONG), Answering::Unknown);
        });
    }
    asker.run(async || {
        let echo = start(&HOSTS);
        for target in HOSTS {
            until(&echo, target, Answering::Yes).await;
        }
        other.set_cable("down");
        for target in HOSTS {
            until(&echo, target, Answering::No).await;
        }
        other.set_cable("up");
        until(&echo, "10.99.0.2", Answering::Yes).await;
    });
}

#[test]
fn two_askers_with_raw_sockets_do_not_take_each_others_answers() {
    let Some((asker, _other)) = two_hosts() else { return };
    asker.run(async || {
        let (here, there) = (start(&["10.99.0.2"]), start(&["10.99.0.2", "127.0.0.1"]));
        until(&here, "10.99.0.2", Answering::Yes).await;
        until(&there, "127.0.0.1", Answering::Yes).await;
        assert_eq!(here.answers().borrow().last.len(), 1);
    });
}

#[test]
fn without_any_right_nothing_is_said_of_any_host() {
    let Some((asker, _other)) = two_hosts() else { return };
    asker.run(async || {
        let mut rights = capabilities(None).unwrap();
        rights.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, rights).unwrap();
        let echo = start(&["10.99.0.2"]);
        let Socket::None(why) = &echo.v4 else { panic!("{:?}", echo.v4) };
        assert!(why.contains("ping_group_range") && why.contains("CAP_NET_RAW"), "{why}");
        assert_eq!(echo.v6, Socket::Unused);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(echo.answering("10.99.0.2".parse().unwrap(), Duration::ZERO), Answering::Unknown);
    });
}
