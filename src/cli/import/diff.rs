//! What differs between two configurations, key by key. Both are laid over their preset first, so that a key that only
//! repeats it is no difference.

use std::collections::BTreeMap;
use std::fmt;

use serde_yaml::Value;

use crate::config::preset_text;

/// A key whose values differ; no value where it is not written, and its default holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not written)".to_owned());
        write!(f, "{}: {} -> {}", self.key, told(&self.before), told(&self.after))
    }
}

/// The keys that differ, in alphabetical order.
pub(super) fn differences(before: &str, after: &str) -> Result<Vec<Difference>, String> {
    let (before, after) = (keys(before)?, keys(after)?);
    let mut all: Vec<_> = before.keys().chain(after.keys()).collect();
    all.sort();
    all.dedup();
    let differs = all.into_iter().filter(|key| before.get(*key) != after.get(*key));
    Ok(differs
        .map(|key| Difference { key: key.clone(), before: before.get(key).cloned(), after: after.get(key).cloned() })
        .collect())
}

fn keys(text: &str) -> Result<BTreeMap<String, String>, String> {
    let read = |text| serde_yaml::from_str::<Value>(text).map_err(|error| error.to_string());
    let file = read(text)?;
    let mut found = BTreeMap::new();
    // A preset that is not known is told by `check`; here its name differs.
    if let Some(preset) = file.get("preset").and_then(Value::as_str).and_then(preset_text) {
        flatten("", &read(preset)?, &mut found);
    }
    flatten("", &file, &mut found);
    Ok(found)
}

/// Later values replace earlier ones of the same key, as a file's replace its preset's.
fn flatten(at: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    let under = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                flatten(&under(&word(key)), value, found);
            }
        }
        // Routes are laid over each other by their path, whatever their order.
        Value::Sequence(list) if list.iter().all(|item| item.get("path").is_some()) && !list.is_empty() => {
            for item in list {
                let path = item.get("path").map(word).unwrap_or_default();
                flatten(&format!("{at}[{path}]"), item, found);
            }
        }
        Value::Sequence(list) if list.iter().any(Value::is_mapping) => {
            for (index, item) in list.iter().enumerate() {
                flatten(&format!("{at}[{index}]"), item, found);
            }
        }
        // One value may stand where a list may.
        Value::Sequence(list) => {
            found.insert(at.to_owned(), list.iter().map(word).collect::<Vec<_>>().join(", "));
        }
        // A route's zone in short is its name.
        scalar if at.starts_with("routes[") && at.ends_with("].zone") => {
            found.insert(under("name"), word(scalar));
        }
        scalar => {
            found.insert(at.to_owned(), word(scalar));
        }
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other).unwrap_or_default().trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn only_keys_whose_values_differ_are_told_and_the_presets_are_laid_beneath() {
        let runs =
            "preset: xivo\nfqdn: a.example.org\nlisten: { https: '0.0.0.0:443' }\nsides: { main: { cc: 10.0.0.1 } }\n";
        let import = "preset: xivo\nfqdn: b.example.org\nlisten: { https: ['0.0.0.0:443'] }\nsides: { main: { cc: [10.0.0.1] } }\n\
                      zones: { webapp: { burst: 20 } }\nobserve: true\n\
                      routes: [{ path: /assets, zone: { burst: 80 } }, { path: /xuc, zone: apis }]\n";
        let told: Vec<_> = differences(runs, import).unwrap().iter().map(ToString::to_string).collect();
        let expected = [
            "fqdn: a.example.org -> b.example.org",
            "observe: (not written) -> true",
            "routes[/assets].zone.burst: 50 -> 80",
        ];
        assert_eq!(told, expected);
        assert!(differences(import, import).unwrap().is_empty());
        assert!(differences("a: [", import).is_err());
    }
}
