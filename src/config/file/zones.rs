//! The shape of rate limits: zones, and what holds for all of them.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Error;
use settings::{Abbreviated, OneOrMany, Short, Span};

use crate::config::Rate;

/// How many requests a client address may make on the routes that name the zone; `off`: any number.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ZoneFile {
    /// Nothing is limited.
    #[serde(skip)]
    pub(in crate::config) off: bool,
    /// Requests per second or minute: `30/s`, `20/min`.
    pub(in crate::config) rate: Option<Rate>,
    /// How many may come before their time.
    pub(in crate::config) burst: Option<u32>,
    /// Whether those wait for their time, or pass at once.
    pub(in crate::config) delay: Option<bool>,
    /// How many client addresses are remembered.
    pub(in crate::config) addresses: Option<usize>,
}

impl ZoneFile {
    /// This zone, with what it leaves open taken from `beneath`.
    pub(in crate::config) fn over(self, beneath: Self) -> Self {
        Self {
            off: self.off,
            rate: self.rate.or(beneath.rate),
            burst: self.burst.or(beneath.burst),
            delay: self.delay.or(beneath.delay),
            addresses: self.addresses.or(beneath.addresses),
        }
    }
}

impl Abbreviated for ZoneFile {
    const EXPECTED: &'static str = "off, or a mapping with rate and burst";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match text {
            "off" => Ok(Self { off: true, ..Self::default() }),
            _ => Err(E::unknown_variant(text, &["off", "{ rate: 30/s, burst: 20 }"])),
        }
    }
}

/// The zone a route's requests count in; in short its name, or `off`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ZoneUseFile {
    /// A zone of `zones`, or `off`.
    pub(in crate::config) name: Option<String>,
    /// Another burst than the zone's.
    pub(in crate::config) burst: Option<u32>,
    /// Another answer than the zone's to whether requests wait.
    pub(in crate::config) delay: Option<bool>,
}

impl ZoneUseFile {
    /// What a route's zone comes to, laid over its preset's: another zone takes nothing from the one it replaces.
    pub(in crate::config) fn over(self, beneath: Self) -> Self {
        match self.name {
            Some(_) => self,
            None => {
                Self { name: beneath.name, burst: self.burst.or(beneath.burst), delay: self.delay.or(beneath.delay) }
            }
        }
    }
}

impl Abbreviated for ZoneUseFile {
    const EXPECTED: &'static str = "the name of a zone, off, or a mapping with name, burst and delay";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self { name: Some(text.to_owned()), ..Self::default() })
    }
}

/// What holds for every zone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RateLimitsFile {
    /// Networks whose clients are not limited.
    pub(in crate::config) exempt: Option<OneOrMany<String>>,
    /// Leading bits by which IPv6 clients are told apart.
    pub(in crate::config) ipv6_prefix: Option<u8>,
    /// How many requests wait for their time at once.
    pub(in crate::config) delayed: Option<usize>,
    /// How zones widen when a side begins to serve, and everybody comes back; `off`: not at all.
    pub(in crate::config) relax_after_switch: Option<Short<RelaxFile>>,
}

/// How zones widen.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RelaxFile {
    /// They do not.
    #[serde(skip)]
    pub(in crate::config) off: bool,
    /// How many times as many requests pass at first.
    pub(in crate::config) factor: Option<u32>,
    /// How long it takes until they are as before.
    pub(in crate::config) over: Option<Span>,
}

impl Abbreviated for RelaxFile {
    const EXPECTED: &'static str = "off, or a mapping with factor and over";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        match text {
            "off" => Ok(Self { off: true, ..Self::default() }),
            _ => Err(E::unknown_variant(text, &["off", "{ factor: 30, over: 60s }"])),
        }
    }
}
