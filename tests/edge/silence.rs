//! Sides that fall silent without a word: an application that hangs, and a wire that carries nothing.

use std::process::{Command, Stdio};
use std::time::Duration;

use failover::Side;
use serde_json::Value;

use crate::client::Client;
use crate::load::{Load, Tally};
use crate::shared::{InTime, in_time, measure_blocking};
use crate::site::{Place, Site, wait_until};
use crate::turns::alone;

/// For the decision, and for the requests that waited to be answered by the new side.
const SWITCH: Duration = Duration::from_millis(500);

/// What `bascule check` promises for a side that says nothing any more, from the fault on.
fn bound(site: &Site) -> Duration {
    let checked: Value = serde_json::from_str(&site.order(&["check", "--json"])).unwrap();
    Duration::from_millis(checked["bounds_ms"]["silent_from_fault"].as_u64().unwrap()) + SWITCH
}

fn within(tally: &Tally, bound: Duration) -> InTime {
    tally.assert_all_well();
    in_time("nobody got an answer", tally.longest_gap(), bound)
}

#[test]
fn e2_a_main_that_takes_everything_and_says_nothing_is_left_in_time() {
    let _alone = alone();
    measure_blocking(mute);
}

fn mute() -> InTime {
    let site = Site::start();
    site.wait_ready_to_switch();
    let load = Load::start(Client::of(&site));
    load.wait_answers(50);
    site.main.behave("mute");
    site.wait_live(Side::Standby);
    load.wait_served(Side::Standby, 100);
    let tally = load.stop();
    assert_eq!(site.standby.requests(), tally.by("standby").count() as u64);
    // Those that waited for Main's answer were asked again.
    let replayed = || site.report(1)["counts"]["replayed"].as_u64().unwrap();
    wait_until("the report counts what was replayed", || replayed() > 0);
    within(&tally, bound(&site))
}

/// Three hosts' worth of namespaces: the Edge with Standby, Main, and the wire between them. Gone when dropped.
struct Wire {
    edge: String,
    main: String,
    wire: String,
}

fn run(words: &str) -> bool {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Wire {
    const EDGE: [u8; 4] = [10, 77, 0, 41];
    const MAIN: [u8; 4] = [10, 77, 0, 21];

    /// None, and why, where there can be none.
    fn lay() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may make network namespaces".to_owned());
        }
        for tool in ["ip -V", "nft -v"] {
            if !run(tool) {
                return Err(format!("there is no `{tool}`"));
            }
        }
        let pid = std::process::id();
        let name = |what: &str| format!("bascule-{pid}-{what}");
        let wire = Self { edge: name("edge"), main: name("main"), wire: name("wire") };
        let Self { edge, main, wire: middle } = &wire;
        let mut steps = vec![
            format!("ip netns add {edge}"),
            format!("ip netns add {main}"),
            format!("ip netns add {middle}"),
            format!("ip -n {middle} link add switch type bridge"),
            format!("ip -n {middle} link set switch up"),
        ];
        for (host, port, [a, b, c, d]) in [(edge, "edge", Self::EDGE), (main, "main", Self::MAIN)] {
            steps.extend([
                format!("ip -n {middle} link add {port} type veth peer name eth0 netns {host}"),
                format!("ip -n {middle} link set {port} master switch up"),
                format!("ip -n {host} addr add {a}.{b}.{c}.{d}/24 dev eth0"),
                format!("ip -n {host} link set eth0 up"),
                format!("ip -n {host} link set lo up"),
            ]);
        }
        steps.extend([
            format!("ip netns exec {middle} nft add table bridge lab"),
            format!("ip netns exec {middle} nft add chain bridge lab wire {{ type filter hook forward priority 0 ; }}"),
        ]);
        match steps.iter().find(|step| !run(step)) {
            Some(step) => Err(format!("`{step}` does not work here")),
            None => Ok(wire),
        }
    }

    /// Everything comes through again.
    fn mend(&self) {
        assert!(run(&format!("ip netns exec {} nft flush table bridge lab", self.wire)));
    }

    /// Nothing comes through any more, and nobody is told.
    fn cut(&self) {
        let Self { wire, .. } = self;
        for way in ["iifname", "oifname"] {
            assert!(run(&format!("ip netns exec {wire} nft add rule bridge lab wire {way} main drop")));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.edge, &self.main, &self.wire] {
            run(&format!("ip netns del {name}"));
        }
    }
}

#[test]
fn e2_a_main_behind_a_wire_that_swallows_everything_is_left_in_time() {
    let wire = match Wire::lay() {
        Ok(wire) => wire,
        Err(why) => return println!("skipped: {why}"),
    };
    let _alone = alone();
    measure_blocking(|| swallowed(&wire));
}

fn swallowed(wire: &Wire) -> InTime {
    wire.mend();
    let mut site = Site::plan("");
    site.main.place = Place::Namespace(wire.main.clone());
    site.main.address = (Wire::MAIN, 8080).into();
    site.main.sip = (Wire::MAIN, 5060).into();
    site.standby.place = Place::Namespace(wire.edge.clone());
    site.place = Place::Namespace(wire.edge.clone());
    site.rewrite_config();
    site.main.start();
    site.standby.start();
    site.start_edge();
    site.wait_ready_to_switch();
    let load = Load::start_in(Client::of(&site), &wire.edge);
    load.wait_served(Side::Main, 50);
    wire.cut();
    site.wait_live(Side::Standby);
    load.wait_served(Side::Standby, 100);
    let tally = load.stop();
    assert!(tally.by("main").count() >= 50);
    let status = site.status();
    assert_eq!(status["sides"]["main"]["health"], "not_working", "{status}");
    within(&tally, bound(&site))
}
