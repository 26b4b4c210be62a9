mod looks;

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::super::namespace::{Host, two_hosts};
use super::*;

const NODE: &str = "10.99.0.1";
const PHONE: &str = "10.99.0.2";
const LONG: Duration = Duration::from_secs(60);
const RENEWALS: Renewals = Renewals { least: Duration::from_millis(1700), most: Duration::from_millis(1800) };
/// An answer on this cable takes microseconds.
const SILENCE: Duration = Duration::from_millis(60);

fn nft() -> Fence {
    Fence::new(FenceSpec::Nft(NftSpec {
        program: vec!["nft".into()],
        ports: vec![5060, 5061],
        partners: vec![PHONE.parse().unwrap(), "fd99::2".parse().unwrap()],
        renewals: RENEWALS,
        time_limit: Duration::from_secs(5),
        last_resort: None,
    }))
}

/// A node's sockets that answer, and a phone that asks.
struct Cable {
    node: Host,
    phone: Host,
}

impl Cable {
    fn new() -> Option<Self> {
        let (node, phone) = two_hosts()?;
        for address in ["[::]:5060", "[::]:5070"] {
            let socket = node.inside(|| UdpSocket::bind(address).unwrap());
            // Ends with the test program.
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            });
        }
        Some(Self { node, phone })
    }

    /// Whether there is an answer at once: for what is to be silent.
    fn answers(&self, target: &str) -> bool {
        ask(&self.socket_of_phone(target), 1, SILENCE)
    }

    /// Whether there is an answer, however busy this machine is: for what is to answer.
    fn reaches(&self, target: &str) -> bool {
        ask(&self.socket_of_phone(target), 1, LONG)
    }

    fn socket_of_phone(&self, target: &str) -> UdpSocket {
        let target: SocketAddr = target.parse().unwrap();
        self.phone.inside(|| {
            let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect(target).unwrap();
            socket
        })
    }
}

fn ask(socket: &UdpSocket, number: u32, limit: Duration) -> bool {
    socket.set_read_timeout(Some(limit)).unwrap();
    let mut buffer = [0; 64];
    socket.send(&number.to_be_bytes()).is_ok()
        && socket.recv(&mut buffer).is_ok_and(|length| buffer[..length] == number.to_be_bytes())
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "never: {what}");
    }
    began.elapsed()
}

#[test]
fn phones_reach_a_node_only_while_they_are_permitted() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    assert!(cable.reaches("10.99.0.1:5060"), "no fence yet");
    cable.node.run(async || fence.install(Install::Closed).await.unwrap());
    assert!(!cable.answers("10.99.0.1:5060") && !cable.answers("[fd99::1]:5060"));
    assert!(cable.reaches("10.99.0.1:5070"), "other ports are untouched");
    for address in ["127.0.0.1:5060", "10.99.0.1:5060"] {
        let own = cable.node.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        own.connect(address).unwrap();
        assert!(ask(&own, 7, LONG), "the node's own probe passes: {address}");
    }
    cable.node.run(async || {
        assert_eq!(fence.look().await, State::Closed);
        fence.permit(Permit::Unlimited).await.unwrap();
        assert_eq!(fence.look().await, State::Open);
    });
    assert!(cable.reaches("10.99.0.1:5060") && cable.reaches("[fd99::1]:5060"));
    let closed = cable.node.run(async || fence.close(Partners::Closed).await.unwrap());
    assert!(matches!(closed, Closed::Verified { .. }));
    assert!(!cable.answers("10.99.0.1:5060") && cable.reaches("10.99.0.1:5070"));
    cable.node.run(async || fence.permit(Permit::For(LONG)).await.unwrap());
    assert!(cable.reaches("10.99.0.1:5060"));
    cable.node.run(async || fence.permit(Permit::For(Duration::ZERO)).await.unwrap());
    assert!(!cable.answers("10.99.0.1:5060"));
    cable.node.run(async || fence.remove().await.unwrap());
    assert!(cable.reaches("10.99.0.1:5060"), "given back");
    assert!(matches!(cable.node.run(async || fence.look().await), State::Missing(_)));
}

#[test]
fn the_kernel_closes_the_fence_when_no_watchdog_is_left() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    let lease = Duration::from_millis(1600);
    cable.node.run(async || fence.install(Install::Closed).await.unwrap());
    let began = Instant::now();
    cable.node.run(async || fence.permit(Permit::For(lease)).await.unwrap());
    drop(fence);
    assert!(cable.reaches("10.99.0.1:5060"));
    wait_for("silence", || !cable.answers("10.99.0.1:5060"));
    let open = began.elapsed();
    assert!(open >= lease && open < lease + LONG, "{open:?}");
    let again = nft();
    assert_eq!(cable.node.run(async || again.look().await), State::Closed);
}

#[test]
fn renewing_loses_no_packet() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::For(LONG)).await.unwrap();
    });
    let phone = cable.socket_of_phone("10.99.0.1:5060");
    // Both at the same time, for as long as it takes: which of the two gets the processor is not theirs to say.
    let (renewed, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            while !renewed.load(Ordering::Relaxed) {
                let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(ask(&phone, number, Duration::from_secs(2)), "packet {number} was lost");
            }
        });
        cable.node.run(async || {
            let (began, mut renewals) = (Instant::now(), 0);
            while renewals < 50 || asked.load(Ordering::Relaxed) < 50 {
                fence.permit(Permit::For(LONG)).await.unwrap();
                renewals += 1;
                if began.elapsed() > LONG || flood.is_finished() {
                    break;
                }
            }
        });
        renewed.store(true, Ordering::Relaxed);
        flood.join().unwrap();
    });
    assert!(asked.into_inner() >= 50);
}

/// The number of the kernel's rule set: each transaction of anybody's counts it up.
fn generation(cable: &Cable) -> u32 {
    cable.node.inside(|| kernel::Kernel::default().generation().unwrap())
}

fn left(cable: &Cable) -> Vec<Duration> {
    cable.node.inside(|| kernel::Kernel::default().left("permitted", &[5060, 5061]).unwrap())
}

#[test]
fn a_renewal_that_comes_at_once_takes_no_transaction_and_lasts_no_longer_than_it_is_asked_for() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    let asked = Duration::from_millis(1750);
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::For(asked)).await.unwrap();
    });
    let first = generation(&cable);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        cable.node.run(async || fence.permit(Permit::For(asked)).await.unwrap());
        let left = left(&cable);
        assert!(left.len() == 2 && left.iter().all(|left| *left <= RENEWALS.least), "{left:?}");
        assert!(cable.reaches("10.99.0.1:5060"));
    }
    assert_eq!(generation(&cable), first, "an administrator's transaction had to begin again");
    wait_for("the kernel's end of it", || !cable.answers("10.99.0.1:5060"));
    // What has ended is not prolonged by itself: closed is closed.
    cable.node.run(async || fence.close(Partners::Closed).await.unwrap());
    let closed = generation(&cable);
    cable.node.run(async || fence.permit(Permit::For(asked)).await.unwrap());
    assert!(generation(&cable) > closed && cable.reaches("10.99.0.1:5060"), "the first permit is a transaction");
}

#[test]
fn a_renewal_of_other_lengths_or_over_a_changed_table_is_a_transaction() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::For(RENEWALS.most)).await.unwrap();
    });
    let renewed = |time| {
        let before = generation(&cable);
        cable.node.run(async || fence.permit(Permit::For(time)).await.unwrap());
        assert!(cable.reaches("10.99.0.1:5060"));
        (generation(&cable) > before, left(&cable).into_iter().max().unwrap())
    };
    assert!(!renewed(RENEWALS.most).0);
    let (transaction, left) = renewed(Duration::from_millis(600));
    assert!(transaction && left <= Duration::from_millis(600), "{left:?}");
    let (transaction, left) = renewed(LONG);
    assert!(transaction && left > RENEWALS.most, "{left:?}");
    assert!(!renewed(RENEWALS.least).0);
    // Somebody's firewall lets the packet pass, or drops it before the rule sees it.
    for [add, delete] in [
        ["flush chain inet bascule output", "add rule inet bascule output oif lo accept"],
        [
            "add table inet other; add chain inet other first { type filter hook output priority -200; }; \
             add rule inet other first oif lo drop",
            "delete table inet other",
        ],
    ] {
        tool(&cable, &[add]);
        // So that what is left of the last one is too little.
        std::thread::sleep(Duration::from_millis(300));
        assert!(renewed(RENEWALS.most).0, "{add}");
        tool(&cable, &[delete]);
    }
}

#[test]
fn a_closed_node_reaches_its_media_servers_until_they_time_out_and_nobody_else() {
    let Some(cable) = Cable::new() else { return };
    let server = cable.phone.inside(|| UdpSocket::bind("[::]:5060").unwrap());
    server.set_read_timeout(Some(SILENCE)).unwrap();
    let reaches = |target: &str| {
        let socket = cable.node.inside(|| UdpSocket::bind("[::]:0").unwrap());
        let target: SocketAddr = target.parse().unwrap();
        let target = match target {
            SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            v6 => v6,
        };
        socket.send_to(b"register", target).is_ok() && server.recv(&mut [0; 64]).is_ok()
    };
    let fence = nft();
    cable.node.run(async || fence.install(Install::Closed).await.unwrap());
    assert!(!reaches("10.99.0.2:5060") && !reaches("[fd99::2]:5060"), "it cannot refresh a registration");
    cable.node.run(async || fence.close(Partners::For(LONG)).await.unwrap());
    wait_for("a media server", || reaches("10.99.0.2:5060") && reaches("[fd99::2]:5060"));
    assert!(cable.reaches("10.99.0.1:5060"), "a media server answers it from there");
    cable.node.run(async || fence.close(Partners::For(Duration::from_millis(300))).await.unwrap());
    wait_for("partners time out", || !reaches("10.99.0.2:5060"));
    cable.node.run(async || fence.permit(Permit::Unlimited).await.unwrap());
    assert!(reaches("10.99.0.2:5060"));
}

#[test]
fn tcp_is_fenced_as_well_even_a_connection_that_stands() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::Unlimited).await.unwrap();
    });
    let listener = cable.node.inside(|| TcpListener::bind((NODE, 5060)).unwrap());
    let phone = cable.phone.inside(|| TcpStream::connect((NODE, 5060)).unwrap());
    let (mut node, _) = listener.accept().unwrap();
    cable.node.run(async || fence.close(Partners::Closed).await.unwrap());
    use std::io::{Read, Write};
    node.set_read_timeout(Some(SILENCE)).unwrap();
    (&phone).write_all(b"INVITE").unwrap();
    assert!(node.read(&mut [0; 64]).is_err());
    let target = SocketAddr::new(NODE.parse().unwrap(), 5060);
    assert!(cable.phone.inside(|| TcpStream::connect_timeout(&target, SILENCE).is_err()));
}

#[test]
fn a_connection_that_the_node_made_to_a_trunk_is_fenced_both_ways() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::Unlimited).await.unwrap();
    });
    let trunk = cable.phone.inside(|| TcpListener::bind((PHONE, 5060)).unwrap());
    let mut node = cable.node.inside(|| TcpStream::connect((PHONE, 5060)).unwrap());
    let (mut trunk, _) = trunk.accept().unwrap();
    use std::io::{Read, Write};
    trunk.write_all(b"INVITE").unwrap();
    node.read_exact(&mut [0; 6]).unwrap();
    cable.node.run(async || fence.close(Partners::Closed).await.unwrap());
    trunk.write_all(b"INVITE").unwrap();
    node.write_all(b"BYE").unwrap();
    for end in [&mut node, &mut trunk] {
        end.set_read_timeout(Some(SILENCE)).unwrap();
        assert!(end.read(&mut [0; 64]).is_err());
    }
}

#[test]
fn a_watchdog_that_takes_over_keeps_what_is_permitted() {
    let Some(cable) = Cable::new() else { return };
    let (first, second) = (nft(), nft());
    cable.node.run(async || {
        first.install(Install::Closed).await.unwrap();
        first.permit(Permit::For(LONG)).await.unwrap();
        second.install(Install::Keeping).await.unwrap();
        assert_eq!(second.look().await, State::Open);
    });
    assert!(cable.reaches("10.99.0.1:5060"));
    cable.node.run(async || second.install(Install::Closed).await.unwrap());
    assert!(!cable.answers("10.99.0.1:5060"));
}

#[test]
fn a_rule_set_flushed_by_somebody_is_noticed_and_written_again() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    let flush = CommandSpec::new(["nft", "flush", "ruleset"], LONG);
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        assert!(flush.run().await.is_done());
        assert!(matches!(fence.look().await, State::Missing(_)));
        fence.close(Partners::Closed).await.unwrap();
    });
    assert!(!cable.answers("10.99.0.1:5060"));
    cable.node.run(async || {
        assert!(flush.run().await.is_done());
        fence.permit(Permit::For(LONG)).await.unwrap();
        assert_eq!(fence.look().await, State::Open);
        let rules = CommandSpec::new(["nft", "flush", "chain", "inet", "bascule", "input"], LONG);
        assert!(rules.run().await.is_done());
        assert!(matches!(fence.look().await, State::Missing(_)));
    });
}

#[test]
fn whoever_removed_the_fence_is_named() {
    let Some(cable) = Cable::new() else { return };
    let fence = Arc::new(nft());
    cable.node.run(async || fence.install(Install::Closed).await.unwrap());
    // By way of a shell: what this process runs is its own doing.
    let flush = || std::process::Command::new("sh").args(["-c", "nft flush ruleset; true"]).status().unwrap();
    let mut named = None;
    wait_for("a name", || {
        assert!(cable.node.inside(flush).success());
        let Kept::Mended { by, .. } = kept(&cable, &fence, Phones::KeptOut) else { panic!("a flush is seen") };
        named = by;
        named.is_some()
    });
    assert!(named.as_ref().unwrap().starts_with("nft (process "), "{named:?}");
}

#[test]
fn a_table_of_another_shape_is_replaced() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    let other = "add table inet bascule; add set inet bascule permitted { type ipv4_addr; }";
    cable.node.run(async || {
        assert!(CommandSpec::new(["nft", other], LONG).run().await.is_done());
        fence.install(Install::Keeping).await.unwrap();
        assert_eq!(fence.look().await, State::Closed);
        assert!(CommandSpec::new(["nft", "flush", "ruleset"], LONG).run().await.is_done());
        assert!(CommandSpec::new(["nft", other], LONG).run().await.is_done());
        assert!(fence.close(Partners::Closed).await.is_ok());
    });
}

#[test]
fn the_hard_fence_closes_what_is_permitted_and_the_next_permit_lifts_it() {
    let Some(cable) = Cable::new() else { return };
    let fence = nft();
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::Unlimited).await.unwrap();
        assert!(matches!(fence.harden().await, Ok(Closed::Verified { .. })));
        assert_eq!(fence.look().await, State::Closed);
    });
    assert!(!cable.answers("10.99.0.1:5060") && cable.reaches("10.99.0.1:5070"));
    let next = nft();
    cable.node.run(async || {
        next.install(Install::Closed).await.unwrap();
        next.permit(Permit::Unlimited).await.unwrap();
    });
    assert!(cable.reaches("10.99.0.1:5060"));
}

#[test]
fn closing_does_not_wait_for_a_slow_permit() {
    let Some(cable) = Cable::new() else { return };
    let slow = "input=$(cat); case \"$input\" in *'element inet bascule permitted'*) exec sleep 600;; esac; \
                printf %s \"$input\" | nft \"$@\"";
    let fence = Fence::new(FenceSpec::Nft(NftSpec {
        program: ["sh", "-c", slow, "sh"].map(String::from).into(),
        ports: vec![5060],
        partners: vec![],
        renewals: RENEWALS,
        time_limit: Duration::from_secs(60),
        last_resort: None,
    }));
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        // So that the kernel alone cannot renew what is permitted.
        assert!(CommandSpec::new(["nft", "flush", "ruleset"], LONG).run().await.is_done());
        let began = Instant::now();
        let close = async {
            tokio::task::yield_now().await;
            fence.close(Partners::Closed).await
        };
        let (permitted, closed) = futures_util::future::join(fence.permit(Permit::Unlimited), close).await;
        assert!(permitted.unwrap_err().to_string().contains("killed"));
        assert!(closed.is_ok() && began.elapsed() < LONG);
        assert_eq!(fence.look().await, State::Closed);
    });
}

/// A fence whose program goes wrong as soon as a file is there: all of it, or only what writes.
fn breakable(directory: &std::path::Path, broken: &str) -> Fence {
    let flag = directory.join("broken");
    let script = format!("test -e {} && {{ {broken}; }}; exec nft \"$@\"", flag.display());
    Fence::new(FenceSpec::Nft(NftSpec {
        program: ["sh", "-c", &script, "sh"].map(String::from).into(),
        ports: vec![5060, 5061],
        partners: vec![PHONE.parse().unwrap()],
        // What hangs is waited for as long; a program that works takes this long on no machine.
        renewals: RENEWALS,
        time_limit: Duration::from_secs(3),
        last_resort: None,
    }))
}

#[test]
fn a_permit_is_renewed_while_the_program_hangs() {
    let Some(cable) = Cable::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let fence = Arc::new(breakable(directory.path(), "exec sleep 600"));
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        std::fs::write(directory.path().join("broken"), "").unwrap();
        for _ in 0..3 {
            fence.permit(Permit::For(LONG)).await.unwrap();
            // That nobody can look at it is no sign that somebody changed it.
            let look = Arc::clone(&fence).keep(Phones::LetIn).await.unwrap();
            assert!(matches!(look, Kept::Unread(_)), "{look:?}");
        }
    });
    assert!(cable.reaches("10.99.0.1:5060"));
    cable.node.run(async || fence.permit(Permit::For(Duration::from_millis(300))).await.unwrap());
    wait_for("the kernel's end of it", || !cable.answers("10.99.0.1:5060"));
    assert!(matches!(kept(&cable, &fence, Phones::KeptOut), Kept::Unread(_)));
    assert!(!cable.answers("10.99.0.1:5060"), "a rehearsal lets nobody in");
    cable.node.run(async || fence.permit(Permit::Unlimited).await.unwrap());
    assert!(cable.reaches("10.99.0.1:5060"));
}

#[test]
fn a_fence_is_closed_and_verified_while_the_program_only_reads() {
    let Some(cable) = Cable::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let fence = breakable(directory.path(), "case $1 in -f) exec sleep 600;; esac");
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::Unlimited).await.unwrap();
        std::fs::write(directory.path().join("broken"), "").unwrap();
        assert!(matches!(fence.close(Partners::Closed).await, Ok(Closed::Verified { .. })));
    });
    assert!(!cable.answers("10.99.0.1:5060"));
    // A program that does nothing at all leaves phones out all the same, and nothing verified.
    cable.node.run(async || fence.permit(Permit::Unlimited).await.unwrap());
    let fence = breakable(directory.path(), "exit 1");
    assert!(cable.reaches("10.99.0.1:5060"));
    assert!(cable.node.run(async || fence.close(Partners::Closed).await).is_err());
    assert!(!cable.answers("10.99.0.1:5060"));
}

#[test]
fn a_fence_that_let_nobody_in_is_trusted_again_when_it_would() {
    let Some(cable) = Cable::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let fence = Arc::new(breakable(directory.path(), "exit 1"));
    let flag = directory.path().join("broken");
    cable.node.run(async || fence.install(Install::Closed).await.unwrap());
    std::fs::write(&flag, "").unwrap();
    tool(
        &cable,
        &["delete table inet bascule; add table inet bascule; add chain inet bascule input \
                   { type filter hook input priority -150; policy drop; }"],
    );
    let failed = cable.node.run(async || fence.permit(Permit::For(LONG)).await.unwrap_err().to_string());
    assert!(failed.contains("No such file") && failed.contains("exit code 1"), "{failed}");
    assert!(cable.node.run(async || Arc::clone(&fence).keep(Phones::KeptOut).await).is_err());
    std::fs::remove_file(&flag).unwrap();
    assert!(matches!(kept(&cable, &fence, Phones::KeptOut), Kept::Mended { state: State::Closed, .. }));
    assert_eq!(kept(&cable, &fence, Phones::KeptOut), Kept::AsItShould(State::Closed));
    cable.node.run(async || fence.permit(Permit::For(LONG)).await.unwrap());
    assert!(cable.reaches("10.99.0.1:5060"));
}

#[test]
fn a_fence_that_cannot_be_worked_says_what_failed() {
    let Some(cable) = Cable::new() else { return };
    cable.node.run(a_fence_that_cannot_be_worked);
}

async fn a_fence_that_cannot_be_worked() {
    let spec = |program: &str| {
        FenceSpec::Nft(NftSpec {
            program: vec!["sh".into(), "-c".into(), program.into()],
            ports: vec![5060],
            partners: vec![],
            renewals: RENEWALS,
            time_limit: Duration::from_secs(3),
            last_resort: None,
        })
    };
    let broken = Fence::new(spec("cat > /dev/null; echo no netlink here >&2; exit 1"));
    let error = broken.close(Partners::Closed).await.unwrap_err().to_string();
    assert!(error.contains("close the fence") && error.contains("no netlink here"), "{error}");
    let began = Instant::now();
    let hangs = Fence::new(spec("exec sleep 600"));
    assert!(hangs.close(Partners::Closed).await.unwrap_err().to_string().contains("time limit"));
    assert!(began.elapsed() < LONG);
    let lies = Fence::new(spec("echo '{\"nftables\": []}'"));
    assert!(matches!(lies.close(Partners::Closed).await, Err(FenceError::NotVerified { .. })));
    assert!(matches!(lies.install(Install::Closed).await, Err(FenceError::NotVerified { .. })));
}

#[tokio::test]
async fn a_fence_of_commands_runs_them_and_permits_once() {
    let directory = tempfile::tempdir().unwrap();
    let said = directory.path().join("said");
    let command = |word: &str| CommandSpec::new(["sh", "-c", &format!("echo {word} >> {}", said.display())], LONG);
    let fence = Fence::new(FenceSpec::Command {
        close: command("close"),
        permit: Some(command("permit")),
        last_resort: Some(command("last")),
    });
    fence.install(Install::Closed).await.unwrap();
    assert_eq!(fence.look().await, State::Closed);
    for _ in 0..3 {
        fence.permit(Permit::For(LONG)).await.unwrap();
    }
    fence.close(Partners::For(LONG)).await.unwrap();
    fence.harden().await.unwrap();
    assert_eq!(std::fs::read_to_string(said).unwrap(), "close\npermit\nclose\nlast\n");
    let fails = CommandSpec::new(["false"], LONG);
    let fence = Fence::new(FenceSpec::Command { close: fails.clone(), permit: None, last_resort: Some(fails) });
    assert!(fence.close(Partners::Closed).await.is_err() && fence.harden().await.is_err());
}

#[tokio::test]
async fn no_fence_says_that_only_a_stop_closes_it() {
    let fence = Fence::new(FenceSpec::None { last_resort: None });
    fence.install(Install::Closed).await.unwrap();
    fence.permit(Permit::Unlimited).await.unwrap();
    assert_eq!(fence.close(Partners::Closed).await, Ok(Closed::WhenStopped));
    assert_eq!(fence.harden().await, Err(FenceError::NoLastResort));
    assert_eq!((fence.kind(), fence.look().await), ("none", State::Unknown));
}

/// What a look comes to, with what is ordered before the look has begun to read.
fn kept(cable: &Cable, fence: &Arc<Fence>, phones: Phones) -> Kept {
    cable.node.run(async || Arc::clone(fence).keep(phones).await.unwrap())
}

fn tool(cable: &Cable, arguments: &[&str]) {
    let done = cable.node.inside(|| std::process::Command::new("nft").args(arguments).status().unwrap());
    assert!(done.success(), "nft {arguments:?}");
}

/// Each opens a closed fence, and some of them leave a table that looks like ours.
const OPENED: [&[&str]; 7] = [
    &["flush ruleset"],
    &["delete table inet bascule"],
    &["flush table inet bascule"],
    &["add element inet bascule permitted { 5060 }"],
    &["delete element inet bascule sip { 5060 }"],
    &["insert rule inet bascule input accept; insert rule inet bascule output accept"],
    &["add table inet bascule { flags dormant; }"],
];

#[test]
fn a_fence_that_somebody_removed_is_seen_and_closed_again_however_that_was_done() {
    let Some(cable) = Cable::new() else { return };
    let fence = Arc::new(nft());
    cable.node.run(async || fence.close(Partners::Closed).await.unwrap());
    assert_eq!(kept(&cable, &fence, Phones::KeptOut), Kept::AsItShould(State::Closed));
    for opened in OPENED {
        tool(&cable, opened);
        assert!(cable.reaches("10.99.0.1:5060"), "not opened by {opened:?}");
        let mended = kept(&cable, &fence, Phones::KeptOut);
        assert!(matches!(mended, Kept::Mended { state: State::Closed, .. }), "{opened:?}: {mended:?}");
        assert!(!cable.answers("10.99.0.1:5060"), "open after {opened:?}");
        assert_eq!(kept(&cable, &fence, Phones::KeptOut), Kept::AsItShould(State::Closed), "{opened:?}");
    }
}

#[test]
fn a_rule_put_in_the_place_of_another_is_seen() {
    let Some(cable) = Cable::new() else { return };
    let fence = Arc::new(nft());
    cable.node.run(async || fence.close(Partners::Closed).await.unwrap());
    let listing =
        cable.node.inside(|| std::process::Command::new("nft").args(["-a", "list", "ruleset"]).output().unwrap());
    let listing = String::from_utf8(listing.stdout).unwrap();
    let mut chain = "";
    for line in listing.lines().map(str::trim) {
        chain = line.strip_prefix("chain ").and_then(|rest| rest.split(' ').next()).unwrap_or(chain);
        if line.contains("@sip") && line.contains("drop") {
            let handle = line.rsplit(' ').next().unwrap();
            tool(&cable, &[&format!("replace rule inet bascule {chain} handle {handle} accept")]);
        }
    }
    assert!(cable.reaches("10.99.0.1:5060"));
    assert!(matches!(kept(&cable, &fence, Phones::KeptOut), Kept::Mended { .. }));
    assert!(!cable.answers("10.99.0.1:5060"));
}

#[test]
fn a_serving_nodes_table_that_somebody_changed_is_written_whole_by_the_next_permit() {
    let Some(cable) = Cable::new() else { return };
    let fence = Arc::new(nft());
    cable.node.run(async || fence.permit(Permit::For(LONG)).await.unwrap());
    assert_eq!(kept(&cable, &fence, Phones::LetIn), Kept::AsItShould(State::Open));
    for changed in [OPENED[0], OPENED[2], OPENED[5], OPENED[6]] {
        tool(&cable, changed);
        assert!(matches!(kept(&cable, &fence, Phones::LetIn), Kept::Mended { state: State::Missing(_), .. }));
        cable.node.run(async || fence.permit(Permit::For(LONG)).await.unwrap());
        assert_eq!(kept(&cable, &fence, Phones::LetIn), Kept::AsItShould(State::Open), "{changed:?}");
        assert!(cable.reaches("10.99.0.1:5060"), "{changed:?}");
    }
}

/// A renewal comes sooner than a look, and a closing at any time: what they mended is told all the same.
#[test]
fn a_table_that_somebody_removed_and_a_permit_or_a_closing_wrote_again_is_told_once() {
    let Some(cable) = Cable::new() else { return };
    let fence = Arc::new(nft());
    cable.node.run(async || {
        fence.install(Install::Closed).await.unwrap();
        fence.permit(Permit::For(LONG)).await.unwrap();
    });
    for removed in [OPENED[0], OPENED[1]] {
        tool(&cable, removed);
        cable.node.run(async || fence.permit(Permit::For(LONG)).await.unwrap());
        let told = kept(&cable, &fence, Phones::LetIn);
        assert!(matches!(told, Kept::Mended { state: State::Open, .. }), "{removed:?}: {told:?}");
        assert_eq!(kept(&cable, &fence, Phones::LetIn), Kept::AsItShould(State::Open));
    }
    for removed in [OPENED[0], OPENED[2], OPENED[5]] {
        tool(&cable, removed);
        cable.node.run(async || fence.close(Partners::Closed).await.unwrap());
        let told = kept(&cable, &fence, Phones::KeptOut);
        assert!(matches!(told, Kept::Mended { state: State::Closed, .. }), "{removed:?}: {told:?}");
        assert_eq!(kept(&cable, &fence, Phones::KeptOut), Kept::AsItShould(State::Closed));
    }
}

#[test]
fn a_look_that_was_begun_before_a_permit_does_not_close_it() {
    let Some(cable) = Cable::new() else { return };
    let fence = Arc::new(nft());
    cable.node.run(async || {
        fence.close(Partners::Closed).await.unwrap();
        let look = Arc::clone(&fence).keep(Phones::KeptOut);
        fence.permit(Permit::For(LONG)).await.unwrap();
        assert_eq!(look.await.unwrap(), Kept::Overtaken);
        assert_eq!(fence.look().await, State::Open);
    });
}
