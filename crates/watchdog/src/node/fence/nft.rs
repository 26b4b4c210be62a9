//! The kernel's packet filter, as one table that is written whole and read back.
//!
//! Early, before other tables: SIP that is not permitted is dropped, in and out, UDP and TCP. Out as well, so that the
//! Asterisk of a frozen node cannot even refresh its registrations. Nothing on the loopback interface is touched: a
//! node's traffic with its own addresses takes it. What is permitted ends by itself, in the kernel.

use std::fmt::Write;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::Mutex;

use super::kernel::{Changes, Element, Kernel};
use super::program::{Looked, Program};
use super::refresh::{self, Refresher};
use super::seen::{Chains, Seen};
use super::writers::Writers;
use super::{Closing, FenceError, Install, Kept, NftSpec, Partners, Permit, Renewals, State};
use crate::node::command::Ran;

pub(super) const TABLE: &str = "bascule";
pub(super) const HARD_TABLE: &str = "bascule_hard";

#[derive(Debug)]
pub(super) struct Nft {
    spec: NftSpec,
    program: Program,
    kernel: Kernel,
    refresher: Refresher,
    /// The newest permit is a transaction's, or was prolonged since: there is something to prolong.
    permitted: bool,
    /// Whether a hard fence may be there, of this run or of one before.
    hardened: bool,
    /// The chains as they were when the table was written last and read back.
    written: Option<Chains>,
    /// Somebody changed the table: the next permit writes the whole of it.
    changed: bool,
    /// The last permit failed: a closed table is not enough to start behind.
    distrusted: bool,
    /// What was wrong with the table when a permit or a closing found it so, and wrote it anew: the next look tells it.
    found: Option<Found>,
    /// Who else writes to the packet filter, since the fence was installed.
    writers: Option<Writers>,
    /// Counts the permits that wrote the whole table: what was read before tells nothing of it.
    rewritten: u64,
}

/// What was wrong with the table, and who had written last.
#[derive(Clone, Debug)]
struct Found {
    was: String,
    by: Option<String>,
}

impl Nft {
    pub(super) fn new(spec: NftSpec) -> Self {
        let program = Program { argv: spec.program.clone(), time_limit: spec.time_limit };
        let kernel = Kernel::default();
        Self {
            spec,
            program,
            kernel,
            refresher: Refresher::default(),
            permitted: false,
            // What a run before this one left is not known: the first permit lifts it.
            hardened: true,
            written: None,
            changed: false,
            distrusted: false,
            found: None,
            writers: None,
            rewritten: 0,
        }
    }

    pub(super) async fn install(&mut self, how: Install) -> Result<(), FenceError> {
        const ACT: &str = "install the fence";
        self.permitted = false;
        let script = match how {
            Install::Closed => format!("{}{}", self.table(), flushed("permitted")),
            Install::Keeping => self.table(),
        };
        // Writers are heard from the first write on, so that whoever removes the table later can be named.
        self.writers.get_or_insert_with(|| Writers::listen(self.kernel.port()));
        self.run_anyhow(ACT, &script).await?;
        let permitted = self.read_written(ACT, pending()).await?;
        if permitted && how == Install::Closed {
            return Err(not_verified(ACT, "phones are let in"));
        }
        Ok(())
    }

    pub(super) async fn permit(&mut self, permit: Permit, closing: &Closing) -> Result<(), FenceError> {
        const ACT: &str = "let phones in";
        if self.prolonged(permit) {
            return Ok(());
        }
        // The fence is trusted again when the permit has succeeded: one that is interrupted leaves something that
        // nobody saw.
        (self.distrusted, self.permitted) = (true, false);
        let renewal = self.letting_in(permit);
        let renewed = match self.changed {
            true => None,
            false => Some(self.change(ACT, &renewal, || closing.came()).await),
        };
        match renewed {
            Some(Ok(())) => {}
            // To write the whole table would let phones in behind a closing.
            Some(Err(error)) if closing.has_come() => return Err(error),
            // Somebody flushed the rule set, or changed the table: write the whole of it, in one transaction.
            None | Some(Err(_)) => {
                self.rewritten += 1;
                let whole = format!("{}{}{}", removed(TABLE), self.table(), renewal.script());
                self.program.write(ACT, &whole, closing.came()).await.map_err(|error| match renewed {
                    Some(Err(cause)) => cause.then(&error),
                    _ => error,
                })?;
                self.changed = false;
            }
        }
        (self.hardened, self.distrusted, self.permitted) = (false, false, true);
        Ok(())
    }

    /// Lets phones in for longer without a transaction, if no more than that is needed: for at least as long as the rule in
    /// the table prolongs it, and not for much longer.
    fn prolonged(&mut self, permit: Permit) -> bool {
        let Renewals { least, most } = self.spec.renewals;
        let usual = matches!(permit, Permit::For(left) if (least..=most).contains(&left));
        // A hard fence is lifted by a transaction alone; a table that somebody changed is to be written whole.
        if !usual || !self.permitted || self.changed || self.hardened {
            return false;
        }
        // A simulation's kernel has no packets.
        #[cfg(test)]
        if crate::node::played::stage().is_some() {
            return false;
        }
        let prolonged = self.refresher.prolong(&mut self.kernel, &self.spec.ports, least);
        if let Err(why) = &prolonged {
            tracing::debug!("a permit is renewed by a transaction: {why}");
        }
        prolonged.is_ok()
    }

    /// What lets phones in for so long, without a gap, of a table that is there.
    fn letting_in(&self, permit: Permit) -> Changes {
        // The set is emptied and filled in one transaction: to add what stands there already would not change its time.
        let changes = Changes::default().flush("permitted");
        let timeout = match permit {
            Permit::For(left) if left < Duration::from_millis(1) => return changes,
            Permit::For(left) => Some(left),
            Permit::Unlimited => None,
        };
        let changes = changes.add("permitted", self.elements(timeout));
        if self.hardened { changes.without(HARD_TABLE) } else { changes }
    }

    fn elements(&self, timeout: Option<Duration>) -> Vec<Element> {
        self.spec.ports.iter().map(|port| Element::port(*port, timeout)).collect()
    }

    pub(super) async fn close(&mut self, partners: Partners) -> Result<(), FenceError> {
        const ACT: &str = "close the fence";
        self.permitted = false;
        let closing = self.keeping_out(partners);
        // Before anything that may take its time; and what was written stands, as far as can be seen: then no more is needed.
        let made = self.made(&closing).is_ok();
        // The emptying took; whether the rules around the sets are still there is for reading back to say.
        if made && !self.changed && self.written.is_some() {
            let seen = self.program.read(ACT, TABLE).await;
            match seen.map(|seen| self.verify(&seen)) {
                Ok(Ok(false)) => return Ok(()),
                Ok(Err(was)) => self.found = Some(self.find(was)),
                Ok(Ok(true)) | Err(_) => {}
            }
        }
        self.run_anyhow(ACT, &format!("{}{}", self.table(), closing.script())).await?;
        self.changed = false;
        match self.read_written(ACT, pending()).await? {
            false => Ok(()),
            true => Err(not_verified(ACT, "phones are still let in")),
        }
    }

    fn keeping_out(&self, partners: Partners) -> Changes {
        let changes = Changes::default().flush("permitted").flush("partners4").flush("partners6");
        let Partners::For(time) = partners else { return changes };
        let element = |address: &IpAddr| Element::address(*address, Some(time));
        let (v4, v6): (Vec<_>, Vec<_>) = self.spec.partners.iter().partition(|address| address.is_ipv4());
        let (v4, v6) = (v4.into_iter().map(element).collect(), v6.into_iter().map(element).collect());
        changes.add("partners4", v4).add("partners6", v6)
    }

    /// Tells whether phones would be let in if that were asked: it is, and to keep them out again, in one transaction.
    async fn rehearse(&mut self, ordered: &Closing) -> bool {
        self.permitted = false;
        // Opening and closing are one transaction: no packet passes between the two.
        let both = Changes::default().flush("permitted").add("permitted", self.elements(None)).flush("permitted");
        let works = self.change("let phones in again", &both, || ordered.came()).await.is_ok();
        self.distrusted &= !works;
        works
    }

    /// Reads a table back that should be closed, and writes it anew if it is not. Ends when something else is ordered; what
    /// it was at has ended then, done or not.
    pub(super) async fn keep_closed(&mut self, ordered: &Closing) -> Result<Kept, FenceError> {
        const ACT: &str = "close the fence again";
        if ordered.has_come() {
            return Ok(Kept::Overtaken);
        }
        let looked = self.look_while(|| ordered.came()).await;
        if ordered.has_come() {
            return Ok(Kept::Overtaken);
        }
        let was = match looked {
            Ok(State::Closed) if !self.distrusted || self.rehearse(ordered).await => {
                return Ok(self.found_as(State::Closed));
            }
            Ok(State::Closed) => "phones could not be let in".to_owned(),
            Ok(State::Open) => "phones were let in".to_owned(),
            Ok(State::Missing(why)) => why,
            // Nobody reads that of a table.
            Ok(State::Unknown) => return Ok(Kept::Overtaken),
            Err(error) => {
                // The table is there, and emptied: what nobody can look at is no reason to start nowhere.
                if self.rehearse(ordered).await {
                    return Ok(Kept::Unread(error.to_string()));
                }
                error.to_string()
            }
        };
        if ordered.has_come() {
            return Ok(Kept::Overtaken);
        }
        // Before this process writes. Whoever orders something ends this as soon as it is written, or before: then the next
        // look tells it.
        let Found { was, by } = self.find(was);
        self.found = Some(Found { was: was.clone(), by: by.clone() });
        self.program.write(ACT, &format!("{}{}", removed(TABLE), self.table()), ordered.came()).await?;
        if self.read_written(ACT, ordered.came()).await? {
            return Err(not_verified(ACT, "phones are still let in"));
        }
        if self.distrusted && !self.rehearse(ordered).await {
            return Err(not_verified("let phones in again", &was));
        }
        self.found = None;
        Ok(Kept::Mended { state: State::Closed, was, by })
    }

    /// Somebody changed the table, and nobody wrote it anew yet.
    fn find(&self, was: String) -> Found {
        Found { was, by: self.writers.as_ref().and_then(Writers::newest) }
    }

    /// It is as it should be; and before?
    fn found_as(&mut self, state: State) -> Kept {
        match self.found.take() {
            Some(Found { was, by }) => Kept::Mended { state, was, by },
            None => Kept::AsItShould(state),
        }
    }

    /// Judges what was read of a table that lets phones in. One that is not as it was written is written whole by the next
    /// permit: alone it would keep phones out until then.
    fn judge_permitting(&mut self, looked: Result<Looked, FenceError>, renewed: bool) -> Kept {
        let was = match looked.map(|looked| self.state(looked)) {
            // It was, before the permit that came meanwhile.
            Ok(State::Closed) if renewed => return Kept::Overtaken,
            Ok(State::Missing(was)) => was,
            Ok(state) => return self.found_as(state),
            // A program that hangs says nothing of the table, which is renewed without it.
            // An addition of nothing: it succeeds if the table and its set are there.
            Err(error) if self.kernel.make(&Changes::default().add("permitted", Vec::new())).is_ok() => {
                return Kept::Unread(error.to_string());
            }
            Err(error) => error.to_string(),
        };
        (self.changed, self.found) = (true, None);
        let Found { was, by } = self.find(was);
        Kept::Mended { state: State::Missing(was.clone()), was, by }
    }

    pub(super) async fn harden(&mut self) -> Result<(), FenceError> {
        const ACT: &str = "close the hard fence";
        // The hard fence is noted before it is tried: one that half stands must be lifted by the next permit, too.
        (self.hardened, self.permitted) = (true, false);
        self.program.run(ACT, &format!("{}{}", removed(HARD_TABLE), self.hard_table())).await?;
        match self.program.read(ACT, HARD_TABLE).await?.verify(&[], HARD_TABLE) {
            Ok(_) => Ok(()),
            Err(seen) => Err(not_verified(ACT, &seen)),
        }
    }

    pub(super) async fn remove(&mut self) -> Result<(), FenceError> {
        (self.written, self.found, self.permitted) = (None, None, false);
        self.program.run("remove the fence", &format!("{}{}", removed(TABLE), removed(HARD_TABLE))).await?;
        self.hardened = false;
        Ok(())
    }

    pub(super) async fn look(&self) -> State {
        self.look_while(pending).await.unwrap_or_else(|error| State::Missing(error.to_string()))
    }

    async fn look_while<I: Future<Output = ()>>(&self, interrupted: impl Fn() -> I) -> Result<State, FenceError> {
        Ok(self.state(self.program.look(self.hardened, interrupted).await?))
    }

    fn state(&self, looked: Looked) -> State {
        match looked {
            Looked::Hard => State::Closed,
            Looked::Table(seen) => match self.verify(&seen) {
                Ok(true) => State::Open,
                Ok(false) => State::Closed,
                Err(seen) => State::Missing(seen),
            },
        }
    }

    fn verify(&self, seen: &Seen) -> Result<bool, String> {
        let permitted = seen.verify(&self.spec.ports, TABLE)?;
        self.written.as_ref().map_or(Ok(()), |written| seen.compare(written))?;
        Ok(permitted)
    }

    /// Reads back what was written whole, and keeps it to compare with. Returns whether phones are let in.
    async fn read_written(
        &mut self,
        act: &'static str,
        interrupted: impl Future<Output = ()>,
    ) -> Result<bool, FenceError> {
        let seen = self.program.read_until(act, TABLE, interrupted).await?;
        let permitted = seen.verify(&self.spec.ports, TABLE).map_err(|seen| not_verified(act, &seen))?;
        self.written = Some(seen.into_chains());
        Ok(permitted)
    }

    /// Writes the table as it should be, whatever was there; what is permitted stays.
    fn table(&self) -> String {
        let mut script = format!("add table inet {TABLE}\n");
        for (set, of) in [
            ("sip", "type inet_service;"),
            ("permitted", "type inet_service; flags dynamic,timeout;"),
            ("partners4", "type ipv4_addr; flags timeout;"),
            ("partners6", "type ipv6_addr; flags timeout;"),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(script, "add set inet {TABLE} {set} {{ {of} }}");
        }
        // Ports of an older configuration must not stay.
        script += &flushed("sip");
        script += &added("sip", self.spec.ports.iter().map(ToString::to_string));
        for (chain, interface, address) in CHAINS {
            let _ = writeln!(
                script,
                "add chain inet {TABLE} {chain} {{ type filter hook {chain} priority -150; policy accept; }}\n\
                 flush chain inet {TABLE} {chain}"
            );
            if chain == OUTPUT {
                let _ = writeln!(script, "{}", refresh::rule(chain, self.spec.renewals.least));
            }
            let _ = writeln!(
                script,
                "add rule inet {TABLE} {chain} {interface} lo accept\n\
                 add rule inet {TABLE} {chain} ip {address} @partners4 accept\n\
                 add rule inet {TABLE} {chain} ip6 {address} @partners6 accept"
            );
            for (protocol, end) in RULES {
                let _ = writeln!(
                    script,
                    "add rule inet {TABLE} {chain} {protocol} {end} @sip {protocol} {end} != @permitted drop"
                );
            }
        }
        script
    }

    fn hard_table(&self) -> String {
        let ports = self.spec.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut script = format!("add table inet {HARD_TABLE}\n");
        for (chain, interface, _) in CHAINS {
            let _ = writeln!(
                script,
                "add chain inet {HARD_TABLE} {chain} {{ type filter hook {chain} priority -160; policy accept; }}\n\
                 add rule inet {HARD_TABLE} {chain} {interface} lo accept"
            );
            for (protocol, end) in RULES {
                let _ = writeln!(script, "add rule inet {HARD_TABLE} {chain} {protocol} {end} {{ {ports} }} drop");
            }
        }
        script
    }

    /// Runs a script that writes the whole table; over one of another shape (of another version of this program, say)
    /// anew.
    async fn run_anyhow(&self, act: &'static str, script: &str) -> Result<Ran, FenceError> {
        match self.program.run(act, script).await {
            Ok(ran) => Ok(ran),
            Err(_) => self.program.run(act, &format!("{}{script}", removed(TABLE))).await,
        }
    }

    /// Has the kernel make changes of a table that is there, and notes when it was there and is no more.
    fn made(&mut self, changes: &Changes) -> io::Result<()> {
        let made = self.kernel.make(changes);
        let gone = made.as_ref().is_err_and(|cause| cause.kind() == ErrorKind::NotFound);
        if gone && self.written.is_some() && !self.changed {
            self.found = Some(self.find("it was gone".to_owned()));
        }
        made
    }

    /// The same; the program, if it is for another reason that the kernel did not.
    async fn change<I: Future<Output = ()>>(
        &mut self,
        act: &'static str,
        changes: &Changes,
        interrupted: impl Fn() -> I,
    ) -> Result<(), FenceError> {
        let Err(cause) = self.made(changes) else { return Ok(()) };
        let refused = FenceError::Kernel { act, cause: cause.to_string() };
        // The program would find as little; what is missing is the whole table, which is written elsewhere.
        if cause.kind() == ErrorKind::NotFound {
            return Err(refused);
        }
        self.program.write(act, &changes.script(), interrupted()).await.map(drop).map_err(|error| refused.then(&error))
    }
}

/// Reads a table back that lets phones in, beside whatever renews it: nothing waits for the reading but a closing, which
/// ends it.
pub(super) async fn keep_permitting(nft: &Mutex<Nft>, closing: &Closing, ordered: &Closing) -> Kept {
    // The lock is let go while the program reads: a renewal that waited for a slow `nft` would end the lease.
    let (program, hardened, rewritten) = {
        let nft = nft.lock().await;
        (nft.program.clone(), nft.hardened, nft.rewritten)
    };
    if closing.has_come() {
        return Kept::Overtaken;
    }
    let looked = program.look(hardened, || closing.came()).await;
    let mut nft = nft.lock().await;
    // What was read is older than what was written meanwhile.
    if closing.has_come() || nft.rewritten != rewritten {
        return Kept::Overtaken;
    }
    nft.judge_permitting(looked, ordered.has_come())
}

/// Of each chain: its name and hook, its interface, and the far end's address. A node is asked at its own ports, and asks at
/// those of others: over a connection that it made itself, a trunk's calls come in from there.
const CHAINS: [(&str, &str, &str); 2] = [("input", "iif", "saddr"), (OUTPUT, "oif", "daddr")];
const OUTPUT: &str = "output";

/// Both ends of a packet may be SIP's, by either protocol.
const RULES: [(&str, &str); 4] = [("udp", "sport"), ("tcp", "sport"), ("udp", "dport"), ("tcp", "dport")];

/// Returns the number of rules that a chain of a table must have.
pub(super) fn rules(table: &str, chain: &str) -> usize {
    let first = match (table, chain) {
        (TABLE, OUTPUT) => 4,
        (TABLE, _) => 3,
        _ => 1,
    };
    first + RULES.len()
}

fn flushed(set: &str) -> String {
    format!("flush set inet {TABLE} {set}\n")
}

fn added(set: &str, elements: impl Iterator<Item = String>) -> String {
    let elements = elements.collect::<Vec<_>>().join(", ");
    if elements.is_empty() {
        return String::new();
    }
    format!("add element inet {TABLE} {set} {{ {elements} }}\n")
}

/// To delete what is not there is an error; adding it first makes it none.
fn removed(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}

pub(super) fn not_verified(act: &'static str, seen: &str) -> FenceError {
    FenceError::NotVerified { act, seen: seen.to_owned() }
}
