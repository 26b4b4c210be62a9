//! The newest report of each node, and what is to be said of it. Time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use daemon::alike;
use failover::health::Status;
use failover::lease::Namesakes;
use failover::{Instant, PerSide, Side};
use protocol::identity::expiry;
use protocol::who::Who;
use protocol::wire::times::{Voter, differ};
use protocol::wire::{Chosen, NodeReport, Role, Times};

use super::Rate;

/// A report counts for so long: five heartbeats.
pub const STALE: Duration = Duration::from_millis(2500);
/// A node that has been silent for so long is gone for good.
const FORGET: Duration = Duration::from_secs(24 * 3600);
/// Most nodes of a site; a name more is a mistake or worse.
const MOST_NODES: usize = 64;
/// Alarms and media servers of a report that are looked at.
const MOST_ITEMS: usize = 64;
/// A text of a node that is longer is cut.
const MOST_CHARS: usize = 300;
/// A choice made at a node that fell silent counts for so long: the other's start takes less.
const CHOSEN_LATELY: Duration = Duration::from_secs(600);
/// Changes of what a node does: no start and stop is so quick, and whatever follows from each costs the others more.
const CHANGES: (u32, Duration) = (30, Duration::from_millis(500));
/// Sentences about a node: more than it has to say in a bad night, and in a week less than the journal keeps.
const SENTENCES: (u32, Duration) = (60, Duration::from_secs(10));

/// A node, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// What it is.
    pub role: Role,
    /// Its side; a media server has none.
    pub side: Option<Side>,
    /// Its name.
    pub name: String,
}

impl Node {
    /// The node this certificate is of; none if it is nobody's that reports.
    pub fn of(who: &Who) -> Option<Self> {
        match who {
            Who::Node { role, side, name } => Some(Self { role: *role, side: *side, name: name.clone() }),
            Who::Edge { .. } | Who::Operator { .. } => None,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Some(side) => write!(f, "{} {} of {side}", self.role, self.name),
            None => write!(f, "{} {}", self.role, self.name),
        }
    }
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its newest report.
    pub report: NodeReport,
    /// When that came, by the Edge's clock.
    pub at: Instant,
    /// When the first of an unbroken row of reports came that say it serves, or is about to.
    serving_since: Option<Instant>,
    /// That it fell silent has been said.
    silent: bool,
    /// Since when every report of it came late.
    late_since: Option<Instant>,
    /// The machines that report under its name.
    machines: Namesakes,
    /// Two did when the newest report came.
    two_machines: bool,
    changes: Rate,
    sentences: Rate,
}

impl Known {
    /// Whether its report still counts.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.at + STALE
    }

    /// Whether a report was long on its way, by the node's own clock: a newer one has come before, or it took [`STALE`] longer
    /// than the newest one. What a node said before it was cut off arrives when the cut heals, and says that two serve.
    fn is_late(&self, report: &NodeReport, now: Instant) -> bool {
        if report.instance.is_none() || report.instance != self.report.instance {
            return false;
        }
        let (Some(made), Some(newest)) = (report.made_us, self.report.made_us) else { return false };
        let Some(later) = made.checked_sub(newest) else { return true };
        let since = now.since(self.at);
        // However long nothing came: no clock is wrong by two in a thousand.
        since > Duration::from_micros(later).saturating_add(STALE) + since / 500
    }

    /// Whether a report under its name says nothing of it: one of another machine, which does not serve while this one does.
    /// Else a copy of a node that was restored beside it would take its side out of service.
    fn outweighs(&self, report: &NodeReport, now: Instant) -> bool {
        let another =
            self.report.instance.is_some() && report.instance.is_some_and(|one| self.report.instance != Some(one));
        another && self.is_fresh(now) && serves(self.report.status) && !serves(report.status)
    }
}

/// What is to be written down and said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A node does something else than before.
    Node(String),
    /// Something needs a person.
    Alarm(String),
}

/// Why a report was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There are too many nodes.
    #[error("more than {MOST_NODES} nodes report; is a certificate used by many?")]
    TooMany,
    /// The node does something else with each report.
    #[error("it does something else too often: after {} changes in a row two a second count", CHANGES.0)]
    TooRestless,
}

/// The newest report of each node.
#[derive(Debug)]
pub struct Registry {
    nodes: BTreeMap<Node, Known>,
    two_actives: Option<String>,
    /// Of the sentences about two that serve, as no one node's.
    two_sentences: Rate,
}

impl Default for Registry {
    fn default() -> Self {
        let two_sentences = Rate::new(SENTENCES.0, SENTENCES.1);
        Self { nodes: BTreeMap::new(), two_actives: None, two_sentences }
    }
}

impl Registry {
    /// Takes a report in and says what is new.
    ///
    /// # Errors
    /// When it is one too many; then nothing of it counts.
    pub fn take(&mut self, node: Node, report: NodeReport, now: Instant) -> Result<Vec<News>, NotTaken> {
        // Certificates are the site's own, but each name costs memory, metrics and rows.
        if !self.nodes.contains_key(&node) && self.nodes.len() >= MOST_NODES {
            return Err(NotTaken::TooMany);
        }
        let report = bounded(report);
        let before = self.nodes.remove(&node);
        let mut news = Vec::new();
        let mut machines = before.as_ref().map(|known| known.machines).unwrap_or_default();
        // Heard before anything of the report is left aside: the second machine is seen by what counts for nothing
        // else.
        if let Some(instance) = report.instance {
            machines.hear(instance, now);
        }
        let (had_two, two_machines) =
            (before.as_ref().is_some_and(|known| known.two_machines), machines.are_two(STALE, now));
        match (had_two, two_machines) {
            (false, true) => news.push(News::Alarm(namesakes(&node))),
            (true, false) => news.push(News::Node(format!("{node}, over: two machines reported under its name"))),
            _ => {}
        }
        let (mut changes, mut sentences) = match &before {
            Some(known) => (known.changes.clone(), known.sentences.clone()),
            None => (Rate::new(CHANGES.0, CHANGES.1), Rate::new(SENTENCES.0, SENTENCES.1)),
        };
        if let Some(known) = before.as_ref().filter(|known| known.is_late(&report, now)) {
            // All that a cut held up comes at once. Where it goes on, the machine stood still with its clock.
            let late_since = known.late_since.unwrap_or(now);
            if now < late_since + STALE {
                let known = Known { machines, two_machines, late_since: Some(late_since), ..known.clone() };
                self.nodes.insert(node, known);
                return Ok(Vec::new());
            }
        }
        if let Some(known) = before.as_ref().filter(|known| known.outweighs(&report, now)) {
            let news = paced(news, &node.to_string(), &mut sentences, now);
            let known = Known { machines, two_machines, sentences, ..known.clone() };
            self.nodes.insert(node, known);
            return Ok(news);
        }
        // Only changes cost: the same word again is what a node says twice a second.
        if let Some(known) = before.as_ref().filter(|known| known.report.status != report.status)
            && changes.take(now).is_none()
        {
            self.nodes.insert(node, Known { machines, two_machines, changes, ..known.clone() });
            return Err(NotTaken::TooRestless);
        }
        // What two machines report in turns is no change of one.
        if !two_machines {
            tell(&node, before.as_ref(), &report, &mut news);
        }
        let mut news = paced(news, &node.to_string(), &mut sentences, now);
        // A silence breaks the row: what happened in it is not known.
        let was = before.filter(|known| known.is_fresh(now)).and_then(|known| known.serving_since);
        let serving_since = serves(report.status).then(|| was.unwrap_or(now));
        let (silent, late_since) = (false, None);
        let known =
            Known { report, at: now, serving_since, silent, late_since, machines, two_machines, changes, sentences };
        self.nodes.insert(node, known);
        let mut two = Vec::new();
        self.look_for_two(now, &mut two);
        news.extend(paced(two, "two XiVO nodes", &mut self.two_sentences, now));
        Ok(news)
    }

    /// Lets time pass: who fell silent?
    pub fn tick(&mut self, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        // A machine that was replaced under another name must not stay on the screen for ever.
        self.nodes.retain(|_, known| now < known.at + FORGET);
        for (node, known) in &mut self.nodes {
            if !known.silent && !known.is_fresh(now) {
                known.silent = true;
                let was = known.report.status;
                news.push(News::Node(format!("{node} has stopped reporting; it was {was} when last heard of")));
            }
        }
        self.look_for_two(now, &mut news);
        news
    }

    /// When the next of those heard of lately falls silent. [`Self::take`] and [`Self::tick`] change it.
    pub fn deadline(&self) -> Option<Instant> {
        self.nodes.values().filter(|known| !known.silent).map(|known| known.at + STALE).min()
    }

    /// Every node.
    pub fn all(&self) -> impl Iterator<Item = (&Node, &Known)> {
        self.nodes.iter()
    }

    /// The nodes of a role on a side that were heard of lately.
    pub fn fresh(&self, role: Role, side: Side, now: Instant) -> impl Iterator<Item = (&Node, &Known)> {
        self.nodes
            .iter()
            .filter(move |(node, known)| (node.role, node.side) == (role, Some(side)) && known.is_fresh(now))
    }

    /// The XiVO node of a side: the one heard of last.
    pub fn xivo(&self, side: Side) -> Option<(&Node, &Known)> {
        let of_side = self.nodes.iter().filter(|(node, _)| (node.role, node.side) == (Role::Xivo, Some(side)));
        of_side.max_by_key(|(_, known)| known.at)
    }

    /// Whether any XiVO node was heard of lately: then a planned switch is one of the whole site.
    pub fn has_xivo(&self, now: Instant) -> bool {
        Side::BOTH.into_iter().any(|side| self.fresh(Role::Xivo, side, now).next().is_some())
    }

    /// What the nodes of a role say of their side, when `backends` serve that role there.
    ///
    /// One node that serves is enough, as one backend is. That nobody serves is known only when as many nodes say so as
    /// there are backends; until then the probes decide alone.
    pub fn word(&self, role: Role, side: Side, backends: usize, now: Instant) -> Option<Status> {
        let said: Vec<Status> = self.fresh(role, side, now).map(|(_, known)| known.report.status).collect();
        for found in [Status::Active, Status::Starting] {
            if said.contains(&found) {
                return Some(found);
            }
        }
        // A node without a watchdog may serve: its silence is no word.
        let all = !said.is_empty() && said.len() >= backends;
        [Status::Stopping, Status::Inactive, Status::Faulty].into_iter().find(|status| all && said.contains(status))
    }

    /// What operators chose at the XiVO nodes, if they agree. It outlasts a node that falls silent: who has a node stop
    /// often means to switch its machine off.
    pub fn chosen(&self, now: Instant) -> Option<&Chosen> {
        let lately = Side::BOTH.into_iter().filter_map(|side| self.xivo(side));
        let lately = lately.filter(|(_, known)| now < known.at + CHOSEN_LATELY);
        let mut chosen = lately.filter_map(|(_, known)| known.report.chosen.as_ref());
        let first = chosen.next()?;
        chosen.all(|other| other.serves == first.serves).then_some(first)
    }

    /// Both XiVO nodes say that they serve: what to say of it.
    pub fn two_actives(&self) -> Option<&str> {
        self.two_actives.as_deref()
    }

    /// How the times of the XiVO nodes differ from the Edge's.
    pub fn times_differ(&self, own: Times, now: Instant) -> Vec<String> {
        let sentence = |(node, known): (&Node, &Known)| {
            let times = known.report.vote.as_ref()?.times?;
            let name = node.to_string();
            differ(Voter { name: &name, times }, Voter { name: "this Edge", times: own })
        };
        self.nodes.iter().filter(|(_, known)| known.is_fresh(now)).filter_map(sentence).collect()
    }

    /// What needs a person, most urgent first.
    pub fn alarms(&self, now: Instant) -> Vec<String> {
        let mut alarms: Vec<String> = self.two_actives.iter().cloned().collect();
        for side in Side::BOTH {
            let names: BTreeSet<&str> = self.fresh(Role::Xivo, side, now).map(|(node, _)| node.name.as_str()).collect();
            if names.len() > 1 {
                let names: Vec<&str> = names.into_iter().collect();
                alarms.push(format!("{} XiVO nodes report for {side}: {}", names.len(), names.join(", ")));
            }
        }
        for (node, known) in self.nodes.iter().filter(|(_, known)| known.is_fresh(now)) {
            alarms.extend(known.machines.are_two(STALE, now).then(|| namesakes(node)));
            alarms.extend(known.report.alarms.iter().map(|alarm| format!("{node}: {alarm}")));
            alarms.extend(known.report.certificate_days.and_then(|days| expiry(&node.to_string(), days)));
        }
        alarms
    }

    /// Each of two nodes has reported to serve after the other did: a report of one that died meanwhile is no proof.
    fn look_for_two(&mut self, now: Instant, news: &mut Vec<News>) {
        let of = |side| {
            let found = self.fresh(Role::Xivo, side, now).filter_map(|(node, known)| {
                let since = known.serving_since?;
                Some((node.clone(), since, known.at))
            });
            found.max_by_key(|(_, _, at)| *at)
        };
        let both = PerSide { main: of(Side::Main), standby: of(Side::Standby) };
        let found = match (both.main, both.standby) {
            (Some((main, main_since, main_at)), Some((standby, standby_since, standby_at)))
                if (main_since < standby_at && standby_at < main_at)
                    || (standby_since < main_at && main_at < standby_at)
                    // Once shown it holds for as long as both say so.
                    || self.two_actives.is_some() =>
            {
                Some(format!("TWO ACTIVES: both {main} and {standby} say that they serve; stop one of them"))
            }
            _ => None,
        };
        match (&self.two_actives, &found) {
            (None, Some(alarm)) => news.push(News::Alarm(alarm.clone())),
            (Some(_), None) => news.push(News::Node("no longer do two XiVO nodes say that they serve".to_owned())),
            _ => {}
        }
        self.two_actives = found;
    }
}

fn namesakes(node: &Node) -> String {
    format!(
        "TWO MACHINES report as {node}, each with its certificate: one is a copy of the other; switch the copy off, and give a \
         machine that is to stay a certificate of its own"
    )
}

fn serves(status: Status) -> bool {
    matches!(status, Status::Active | Status::Starting)
}

/// Says what a report changes.
fn tell(node: &Node, before: Option<&Known>, report: &NodeReport, news: &mut Vec<News>) {
    let NodeReport { status, because, .. } = report;
    let because = if because.is_empty() { String::new() } else { format!(": {because}") };
    match before {
        None => news.push(News::Node(format!("{node} reports for the first time and is {status}{because}"))),
        Some(known) if known.silent => news.push(News::Node(format!("{node} reports again and is {status}{because}"))),
        Some(known) if known.report.status != *status => {
            let was = known.report.status;
            news.push(News::Node(format!("{node} is {status}, was {was}{because}")));
        }
        Some(_) => {}
    }
    let had: &[String] = before.map_or(&[], |known| &known.report.alarms);
    // An alarm that counts, or names a time, is one alarm.
    let is_among = |alarms: &[String], alarm: &String| alarms.iter().any(|other| alike(other, alarm));
    let fresh = report.alarms.iter().filter(|alarm| !is_among(had, alarm));
    news.extend(fresh.map(|alarm| News::Alarm(format!("{node}: {alarm}"))));
    let over = had.iter().filter(|alarm| !is_among(&report.alarms, alarm));
    news.extend(over.map(|alarm| News::Node(format!("{node}, over: {alarm}"))));
}

/// What of the news is written down; what is not shows in the status as long as it lasts.
fn paced(news: Vec<News>, whose: &str, rate: &mut Rate, now: Instant) -> Vec<News> {
    let mut written = Vec::new();
    for one in news {
        let Some(hidden) = rate.take(now) else { continue };
        if hidden > 0 {
            written.push(News::Node(format!("{whose}: {hidden} more changes came too fast to be written down")));
        }
        written.push(one);
    }
    written
}

/// Nothing a node says takes more room than it should.
fn bounded(mut report: NodeReport) -> NodeReport {
    report.alarms.truncate(MOST_ITEMS);
    let chosen = report.chosen.iter_mut().flat_map(|chosen| [&mut chosen.who, &mut chosen.reason]);
    let words = report.failed_starts.iter_mut().map(|failed| &mut failed.words);
    let others = chosen.chain(words);
    for text in report.alarms.iter_mut().chain([&mut report.because, &mut report.version]).chain(others) {
        if text.chars().count() > MOST_CHARS {
            *text = text.chars().take(MOST_CHARS).collect();
        }
    }
    report.media_servers = std::mem::take(&mut report.media_servers).into_iter().take(MOST_ITEMS).collect();
    report.services = std::mem::take(&mut report.services).into_iter().take(MOST_ITEMS).collect();
    report
}

#[cfg(test)]
mod tests;
