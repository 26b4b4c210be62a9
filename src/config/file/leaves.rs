//! Values with a form of their own: ranges of statuses, TLS versions, rates.

use failover::Label as _;
use settings::{Leaf, leading_number, leaf};

use crate::config::{Rate, RateUnit, TlsVersion};

/// Statuses that are well: `200`, `200-299`; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct StatusRange(pub(in crate::config) u16, pub(in crate::config) u16);

impl StatusRange {
    fn parse(text: &str) -> Option<Self> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        // SIP has statuses of 6xx (RFC 3261 section 21.6), and one form serves both.
        (100 <= low && low <= high && high <= 699).then_some(Self(low, high))
    }
}

impl Leaf for StatusRange {
    const EXPECTED: &'static str = "a status or a range of them, such as 200 or 200-299";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl Leaf for TlsVersion {
    const EXPECTED: &'static str = "1.2 or 1.3";

    fn from_text(text: &str) -> Option<Self> {
        Self::from_label(text)
    }
}

impl Leaf for Rate {
    const EXPECTED: &'static str = "a rate such as 30/s or 20/min";

    fn from_text(text: &str) -> Option<Self> {
        let (requests, unit) = leading_number(text.trim())?;
        let per = RateUnit::from_label(unit.trim_start().strip_prefix('/')?.trim_start())?;
        Some(Self { requests: requests.try_into().ok()?, per })
    }
}

leaf!(Rate, { "type": "string", "pattern": "^[0-9]+ */ *(s|min)$" });
leaf!(StatusRange, { "anyOf": [
    { "type": "integer", "minimum": 100, "maximum": 699 },
    { "type": "string", "pattern": "^[1-6][0-9]{2}(-[1-6][0-9]{2})?$" }
] });
// Without quotes YAML has a number there.
leaf!(TlsVersion, { "enum": ["1.2", "1.3", 1.2, 1.3] });
