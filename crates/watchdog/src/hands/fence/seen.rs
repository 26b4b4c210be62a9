//! What `nft -j list table` shows of a fence.

use super::nft::{TABLE, rules};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A table, as far as a fence depends on it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Chains by name: whether one is hooked as it should be, and its number of rules.
    chains: BTreeMap<String, (bool, usize)>,
    sip: BTreeSet<u64>,
    permitted: bool,
}

impl Seen {
    /// Reads it.
    ///
    /// # Errors
    /// Returns what is wrong with the text, in one line.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let listing: Value =
            serde_json::from_str(text.trim()).map_err(|cause| format!("nft's listing is not JSON: {cause}"))?;
        let objects = listing.get("nftables").and_then(Value::as_array).ok_or("nft's listing has no `nftables`")?;
        let mut seen = Self::default();
        for object in objects {
            if let Some(chain) = object.get("chain") {
                let name = word(chain, "name");
                let hooked = word(chain, "hook") == name && word(chain, "type") == "filter";
                seen.chains.entry(name.to_owned()).or_default().0 = hooked;
            } else if let Some(rule) = object.get("rule") {
                seen.chains.entry(word(rule, "chain").to_owned()).or_default().1 += 1;
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
        for chain in ["input", "output"] {
            let expected = (true, rules(table, chain));
            if self.chains.get(chain) != Some(&expected) {
                return Err(format!("its chain `{chain}` is not the one installed"));
            }
        }
        if let Some(port) = ports.iter().find(|port| table == TABLE && !self.sip.contains(&u64::from(**port))) {
            return Err(format!("port {port} is not fenced"));
        }
        Ok(self.permitted)
    }
}

fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}
