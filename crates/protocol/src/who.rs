//! Who a certificate says somebody is: a role, a side, a name.

use std::fmt;
use std::str::FromStr;

use failover::Side;

use crate::wire::Role;

/// The scheme of the URI that names a role in a certificate's subject alternative names.
pub const SCHEME: &str = "bascule:";

/// The longest name; it stands in metrics and on screens.
pub const NAME_BYTES: usize = 64;

/// Who somebody is, by their certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A node with a watchdog.
    Node {
        /// The role that the certificate was made for.
        role: Role,
        /// Its half of the site; a media server has none.
        side: Option<Side>,
        /// Its name, unique in the site.
        name: String,
    },
    /// The Edge: it votes, and takes reports.
    Edge {
        /// The name it was given when its certificate was made.
        name: String,
    },
    /// A person, who may look and act but never vote.
    Operator {
        /// The person's name, for the journal.
        name: String,
    },
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no role: expected bascule:node/xivo/main/NAME, bascule:node/cc/standby/NAME, bascule:node/mds/NAME, \
     bascule:edge/NAME or bascule:operator/NAME"
)]
pub struct NoRole(String);

impl Who {
    /// Makes a XiVO or CC node of a side.
    pub fn of_side(role: Role, side: Side, name: &str) -> Self {
        Self::Node { role, side: Some(side), name: name.to_owned() }
    }

    /// Makes a media server; it belongs to no side.
    pub fn media_server(name: &str) -> Self {
        Self::Node { role: Role::Mds, side: None, name: name.to_owned() }
    }

    /// Makes an Edge, as its certificate would name it.
    pub fn edge(name: &str) -> Self {
        Self::Edge { name: name.to_owned() }
    }

    /// Returns the name alone, without role and side.
    pub fn name(&self) -> &str {
        match self {
            Self::Node { name, .. } | Self::Edge { name } | Self::Operator { name } => name,
        }
    }

    /// Tells whether this is a node of that role, on that side.
    pub fn is_node(&self, role: Role, on: Option<Side>) -> bool {
        matches!(self, Self::Node { role: its, side, .. } if *its == role && *side == on)
    }

    /// Returns the URI that stands in the certificate.
    pub fn uri(&self) -> String {
        match self {
            Self::Node { role, side: Some(side), name } => format!("{SCHEME}node/{role}/{side}/{name}"),
            Self::Node { role, side: None, name } => format!("{SCHEME}node/{role}/{name}"),
            Self::Edge { name } => format!("{SCHEME}edge/{name}"),
            Self::Operator { name } => format!("{SCHEME}operator/{name}"),
        }
    }
}

/// Reads the URI of a certificate.
impl FromStr for Who {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Self, NoRole> {
        let none = || NoRole(text.chars().take(120).collect());
        let parts: Vec<_> = text.strip_prefix(SCHEME).ok_or_else(none)?.split('/').collect();
        let name = |name: &str| if is_name(name) { Ok(name.to_owned()) } else { Err(none()) };
        let sided = |role, side: &str, text| {
            Ok(Self::Node { role, side: Some(side.parse().map_err(|_| none())?), name: name(text)? })
        };
        match parts[..] {
            ["node", "xivo", side, text] => sided(Role::Xivo, side, text),
            ["node", "cc", side, text] => sided(Role::Cc, side, text),
            ["node", "mds", text] => Ok(Self::Node { role: Role::Mds, side: None, name: name(text)? }),
            ["edge", text] => Ok(Self::Edge { name: name(text)? }),
            ["operator", text] => Ok(Self::Operator { name: name(text)? }),
            _ => Err(none()),
        }
    }
}

/// Tells whether a text can be a name: letters, digits, `.`, `_` and `-`, [`NAME_BYTES`] at most.
pub fn is_name(text: &str) -> bool {
    let fits = (1..=NAME_BYTES).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { role, side: Some(side), name } => write!(f, "the {role} node {name} of {side}"),
            Self::Node { role, side: None, name } => write!(f, "the {role} node {name}"),
            Self::Edge { name } => write!(f, "the Edge {name}"),
            Self::Operator { name } => write!(f, "the operator {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for who in [
            Who::of_side(Role::Xivo, Side::Main, "main-xivo"),
            Who::of_side(Role::Cc, Side::Standby, "cc_2.example"),
            Who::media_server("mds1"),
            Who::edge("edge"),
            Who::Operator { name: "ann".into() },
        ] {
            assert_eq!(who.uri().parse(), Ok(who));
        }
    }

    #[test]
    fn whatever_else_is_no_role() {
        let long = format!("bascule:edge/{}", "x".repeat(65));
        for text in [
            "",
            "bascule:",
            "bascule:edge",
            "bascule:edge/",
            "bascule:edge/a/b",
            "bascule:node/xivo/left/a",
            "bascule:node/mds/main/a",
            "bascule:node/xivo/a",
            "bascule:admin/a",
            "https:edge/a",
            "bascule:edge/a b",
            "bascule:edge/ä",
            &long,
        ] {
            assert!(text.parse::<Who>().is_err(), "{text}");
        }
    }
}
