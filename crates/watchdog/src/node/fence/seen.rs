//! What `nft -j list table` shows of a fence.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::nft::{TABLE, rules};

/// A table, as far as a fence depends on it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    chains: Chains,
    /// A table that is there and asleep filters nothing.
    dormant: bool,
    sip: BTreeSet<u64>,
    permitted: bool,
}

/// The chains of a table, by name.
pub(super) type Chains = BTreeMap<String, Chain>;

/// A chain, as it was read.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Chain {
    /// Its type, hook, priority and policy.
    hook: Value,
    /// What its rules do, in their order.
    rules: Vec<Value>,
}

impl Chain {
    fn is_hooked_at(&self, name: &str) -> bool {
        word(&self.hook, "hook") == name && word(&self.hook, "type") == "filter"
    }
}

impl Seen {
    /// Reads the listing as `nft` prints it.
    ///
    /// # Errors
    /// Returns what is wrong with the text, in one line.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let listing: Value =
            serde_json::from_str(text.trim()).map_err(|cause| format!("nft's listing is not JSON: {cause}"))?;
        let objects = listing.get("nftables").and_then(Value::as_array).ok_or("nft's listing has no `nftables`")?;
        let mut seen = Self::default();
        for object in objects {
            if let Some(table) = object.get("table") {
                // Ours has none. Which one it is cannot be told: nft 1.0.6 writes the table's name there.
                seen.dormant = table.get("flags").is_some_and(|flags| !flags.as_array().is_some_and(Vec::is_empty));
            } else if let Some(chain) = object.get("chain") {
                let hook = ["type", "hook", "prio", "policy"];
                let hook = hook.map(|key| (key.to_owned(), chain.get(key).cloned().unwrap_or_default()));
                seen.chains.entry(word(chain, "name").to_owned()).or_default().hook = hook.into_iter().collect();
            } else if let Some(rule) = object.get("rule") {
                let does = rule.get("expr").cloned().unwrap_or_default();
                seen.chains.entry(word(rule, "chain").to_owned()).or_default().rules.push(does);
            } else if let Some(set) = object.get("set") {
                let elements = set.get("elem").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                match word(set, "name") {
                    "permitted" => seen.permitted = !elements.is_empty(),
                    "sip" => seen.sip.extend(elements.iter().filter_map(Value::as_u64)),
                    _ => {}
                }
            }
        }
        Ok(seen)
    }

    /// Returns whether phones are let in.
    ///
    /// # Errors
    /// Returns what is not as it should be.
    pub(super) fn verify(&self, ports: &[u16], table: &str) -> Result<bool, String> {
        if self.dormant {
            return Err("it is dormant, or another's".into());
        }
        for name in ["input", "output"] {
            // A chain is known by its hook and by the number of its rules; what they do is compared with what was read
            // after writing.
            let ours = |chain: &Chain| chain.is_hooked_at(name) && chain.rules.len() == rules(table, name);
            if !self.chains.get(name).is_some_and(ours) {
                return Err(format!("its chain `{name}` is not the one installed"));
            }
        }
        // A port that was taken out of the set lets its phones in, with every rule in its place.
        if let Some(port) = ports.iter().find(|port| table == TABLE && !self.sip.contains(&u64::from(**port))) {
            return Err(format!("port {port} is not fenced"));
        }
        Ok(self.permitted)
    }

    /// Compares the chains with those read when the table was written last: a rule may have been put in another's place.
    ///
    /// # Errors
    /// Returns which chain is another one.
    pub(super) fn compare(&self, written: &Chains) -> Result<(), String> {
        match written.iter().find(|(name, chain)| self.chains.get(*name) != Some(chain)) {
            Some((name, _)) => Err(format!("its chain `{name}` is not the one installed")),
            None => Ok(()),
        }
    }

    pub(super) fn into_chains(self) -> Chains {
        self.chains
    }
}

fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}
