//! The kernel's packet filter, as far as a fence needs it: tables, chains, rules, and sets whose elements time out. A
//! script is one transaction.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

#[derive(Clone, Debug, Default)]
pub(super) struct Nft {
    tables: BTreeMap<String, Table>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// Shared with what was before a transaction that does not touch them.
    chains: Arc<BTreeMap<String, Chain>>,
    sets: BTreeMap<String, BTreeMap<String, Option<Instant>>>,
}

#[derive(Clone, Debug, Default)]
struct Chain {
    hook: String,
    rules: Vec<String>,
}

/// Whether packets of phones pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Closed,
    Until(Instant),
    /// Without end, as a watchdog ordered.
    Open,
    Gone,
}

impl Nft {
    /// Runs a script: all of it, or nothing.
    pub(super) fn run(&mut self, script: &str, now: Instant) -> Result<(), String> {
        let mut fresh = self.clone();
        for line in script.lines() {
            fresh.line(line, now).ok_or_else(|| format!("Error: {line}"))?;
        }
        *self = fresh;
        Ok(())
    }

    fn line(&mut self, line: &str, now: Instant) -> Option<()> {
        let (head, body) =
            line.split_once('{').map_or((line, ""), |(head, body)| (head, body.trim_end_matches([' ', '}'])));
        let words: Vec<_> = head.split_whitespace().collect();
        match words[..] {
            ["add", "table", "inet", table] => drop(self.tables.entry(table.to_owned()).or_default()),
            ["delete", "table", "inet", table] => drop(self.tables.remove(table)?),
            ["add", kind, "inet", table, name] => {
                let table = self.tables.get_mut(table)?;
                match kind {
                    "set" => drop(table.sets.entry(name.to_owned()).or_default()),
                    "chain" => {
                        Arc::make_mut(&mut table.chains).entry(name.to_owned()).or_default().hook =
                            body.trim().to_owned()
                    }
                    "element" => {
                        let set = table.sets.get_mut(name)?;
                        for element in body.split(',') {
                            let (element, end) = element_of(element, now)?;
                            set.entry(element).or_insert(end);
                        }
                    }
                    _ => return None,
                }
            }
            ["flush", "set", "inet", table, name] => self.tables.get_mut(table)?.sets.get_mut(name)?.clear(),
            ["flush", "chain", "inet", table, name] => {
                Arc::make_mut(&mut self.tables.get_mut(table)?.chains).get_mut(name)?.rules.clear();
            }
            ["add", "rule", "inet", table, name, ..] => {
                let rule = line.split_once(name)?.1.trim().to_owned();
                Arc::make_mut(&mut self.tables.get_mut(table)?.chains).get_mut(name)?.rules.push(rule);
            }
            [] => {}
            _ => return None,
        }
        Some(())
    }

    /// What `nft -j list table inet TABLE` says.
    pub(super) fn list(&self, table: &str, now: Instant) -> Option<String> {
        let found = self.tables.get(table)?;
        // Written as it goes: it is asked for each second of each day.
        let mut text = format!("{{\"nftables\": [{{\"table\": {{\"family\": \"inet\", \"name\": \"{table}\"}}}}");
        for (name, chain) in found.chains.iter() {
            let hook = if chain.hook.contains("hook input") { "input" } else { "output" };
            let _ = write!(
                text,
                ", {{\"chain\": {{\"name\": \"{name}\", \"type\": \"filter\", \"hook\": \"{hook}\", \"prio\": -150, \
                 \"policy\": \"accept\"}}}}"
            );
            for rule in &chain.rules {
                let rule = Value::from(rule.as_str());
                let _ = write!(text, ", {{\"rule\": {{\"chain\": \"{name}\", \"expr\": [{rule}]}}}}");
            }
        }
        for (name, set) in &found.sets {
            let there = set.iter().filter(|(_, end)| end.is_none_or(|end| now < end));
            let elements = there.map(|(element, end)| match (element.parse::<u64>(), end) {
                (Ok(port), None) => port.to_string(),
                _ => format!("{{\"elem\": {{\"val\": \"{element}\"}}}}"),
            });
            let elements = elements.collect::<Vec<_>>().join(", ");
            let _ = write!(text, ", {{\"set\": {{\"name\": \"{name}\", \"elem\": [{elements}]}}}}");
        }
        text.push_str("]}");
        Some(text)
    }

    pub(super) fn has(&self, table: &str, set: &str) -> bool {
        self.tables.get(table).is_some_and(|table| table.sets.contains_key(set))
    }

    /// Somebody flushes the rule set.
    pub(super) fn flush(&mut self) {
        self.tables.clear();
    }

    /// Somebody else takes the rules out of a chain.
    pub(super) fn empty(&mut self, chain: &str) {
        let Some(table) = self.tables.get_mut("bascule") else { return };
        if let Some(chain) = Arc::make_mut(&mut table.chains).get_mut(chain) {
            chain.rules.clear();
        }
    }

    pub(super) fn gate(&self, port: &str) -> Gate {
        let drops = |table: &Table| {
            let chains = ["input", "output"].map(|chain| table.chains.get(chain));
            chains.iter().all(|chain| chain.is_some_and(|chain| chain.rules.iter().any(|rule| rule.ends_with("drop"))))
        };
        if self.tables.get("bascule_hard").is_some_and(drops) {
            return Gate::Closed;
        }
        let Some(table) = self.tables.get("bascule").filter(|table| drops(table)) else { return Gate::Gone };
        let has = |set: &str| table.sets.get(set).and_then(|set| set.get(port));
        match (has("sip"), has("permitted")) {
            (None, _) => Gate::Gone,
            (_, None) => Gate::Closed,
            (_, Some(None)) => Gate::Open,
            (_, Some(Some(end))) => Gate::Until(*end),
        }
    }
}

/// `5060`, or `5060 timeout 1600ms`.
fn element_of(text: &str, now: Instant) -> Option<(String, Option<Instant>)> {
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        [element] => Some((element.to_owned(), None)),
        [element, "timeout", time] => {
            let ms = time.strip_suffix("ms")?.parse().ok()?;
            Some((element.to_owned(), Some(now + Duration::from_millis(ms))))
        }
        _ => None,
    }
}
