//! What must hold before a switch of the whole site begins. All is looked at, so that an operator mends all at once.

use failover::Side;

use super::facts::{Facts, Xivo};

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it does.
    pub passed: bool,
    /// What was found.
    pub said: String,
}

/// Looks at everything that must hold before `to` is to serve.
pub fn preflight(to: Side, facts: &Facts) -> Vec<Check> {
    let both: Vec<&Xivo> = Side::BOTH.iter().filter_map(|side| facts.xivo(*side)).collect();
    let mut checks = Vec::new();
    let mut check = |name, passed, said: String| checks.push(Check { name, passed, said });
    let silent = Side::BOTH.into_iter().find(|side| facts.xivo(*side).is_none());
    let said = match silent {
        Some(side) => format!("the XiVO node of {side} is not heard of"),
        None => format!("main {}, standby {}", facts.in_words(Side::Main), facts.in_words(Side::Standby)),
    };
    check("both XiVO nodes report", silent.is_none(), said);
    let there = facts.live == to && facts.is_active(to);
    check(
        "there is something to do",
        !there,
        if there { format!("{to} serves already") } else { format!("{to} does not serve all yet") },
    );
    // Which of two serves must be for a person to say, before anything is moved.
    let twice = facts.is_active(Side::Main) && facts.is_active(Side::Standby);
    check("one serves at most", !twice, if twice { "both XiVO nodes are active".into() } else { "yes".into() });
    let (fit, said) = fitness(to, facts);
    check("the target can serve", fit, said);
    for (name, wanted, lacks) in [
        ("nobody froze a node", of_vote(&both, |vote| !vote.frozen), "is frozen"),
        ("both nodes follow wishes", of_vote(&both, |vote| vote.accept_requests), "does not: accept_requests is off"),
    ] {
        let said = wanted.as_ref().map_or_else(|name| format!("{name} {lacks}"), |()| "yes".to_owned());
        check(name, wanted.is_ok(), said);
    }
    let versions: Vec<&str> = both.iter().map(|xivo| xivo.version.as_str()).collect();
    let alike = versions.windows(2).all(|pair| pair[0] == pair[1]);
    check("their versions are alike", alike, versions.join(", "));
    let cc = facts.half(to).cc.len();
    let said = match (cc, facts.has_cc_nodes) {
        (0, false) => "no CC node reports on either side: probes alone judge them".to_owned(),
        (0, true) => format!("no CC node of {to} is heard of"),
        _ => format!("{cc} of {to}"),
    };
    // A site without CC watchdogs is judged by probes; one that has them and hears none would be switched blindly.
    check("the target's CC reports", cc > 0 || !facts.has_cc_nodes, said);
    // Answers, not works: the target is inactive before the switch, and its services need not be well.
    let answers = facts.half(to).answers;
    let said = if answers { "yes".to_owned() } else { format!("nothing of {to} answers any probe") };
    check("the Edge reaches the target", answers, said);
    let said = if facts.observe { "observe is on: nothing moves" } else { "yes" };
    check("the Edge may move traffic", !facts.observe, said.to_owned());
    checks
}

fn fitness(to: Side, facts: &Facts) -> (bool, String) {
    let Some(xivo) = facts.xivo(to) else { return (false, "not known".to_owned()) };
    if facts.is_active(to) {
        return (true, "it serves".to_owned());
    }
    // It says that it is fit all the same, as it may try again by itself. A planned switch is no try.
    if let Some(failed) = &xivo.failed_starts {
        let said = format!("its newest start failed: {}; mended? `bascule-watchdog resume` there", failed.words);
        return (false, said);
    }
    match &xivo.vote {
        Some(vote) if vote.fit => (true, "yes".to_owned()),
        Some(vote) => (false, vote.waiting.clone().unwrap_or_else(|| "its node says that it is not fit".to_owned())),
        None => (false, "its node does not say".to_owned()),
    }
}

/// Ok when it holds for all; else the name of the first for which it does not.
fn of_vote(nodes: &[&Xivo], holds: impl Fn(&protocol::wire::Vote) -> bool) -> Result<(), String> {
    match nodes.iter().find(|xivo| !xivo.vote.as_ref().is_some_and(&holds)) {
        Some(xivo) => Err(xivo.name.clone()),
        None => Ok(()),
    }
}
