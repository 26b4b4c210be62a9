//! What operators order, and what they are answered.

use failover::Side;
use serde::{Deserialize, Serialize};

use super::{Explain, SwitchoverStatus, Time, side};

/// Longest `reason` and `by`, in characters; what is longer is cut.
pub const REASON_LIMIT: usize = 500;

/// Make a side live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// An order that is understood in part must not be carried out.
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    /// That side.
    #[serde(deserialize_with = "side::named")]
    pub to: Side,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// Even though that side does not work, or is not known to; then only the Edge's traffic moves, and no node is asked.
    #[serde(default)]
    pub force: bool,
    /// For the journal.
    #[serde(default)]
    pub reason: String,
    /// Who asks; the endpoint replaces it by what the kernel says, and keeps this as what they say.
    #[serde(default)]
    pub by: String,
}

/// Forbid automatic switches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    /// For the journal.
    #[serde(default)]
    pub reason: String,
    /// As in [`SwitchRequest::by`].
    #[serde(default)]
    pub by: String,
}

/// Allow automatic switches again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// For the journal.
    #[serde(default)]
    pub reason: String,
    /// As in [`SwitchRequest::by`].
    #[serde(default)]
    pub by: String,
}

/// Answer with the maintenance page, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// Whether it begins; asked again, it says anew until when and why.
    pub on: bool,
    /// The route, by name or path; none: the whole site, or with `on: false` everything.
    #[serde(default)]
    pub route: Option<String>,
    /// When it ends by itself; none: with the order that it ends.
    #[serde(default)]
    pub until: Option<Time>,
    /// In the operator's words, for the journal; no user is shown it.
    #[serde(default)]
    pub reason: String,
    /// Who asks, as in [`SwitchRequest::by`].
    #[serde(default)]
    pub by: String,
}

/// Take no new connections and let the old ones end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// For the journal.
    #[serde(default)]
    pub reason: String,
    /// As in [`SwitchRequest::by`].
    #[serde(default)]
    pub by: String,
}

/// What a switch order came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchAnswer {
    /// Whether the live side changed; always false for a dry run.
    pub switched: bool,
    /// Whether it was only asked what would happen.
    pub dry_run: bool,
    /// The side that is live now.
    pub live: Side,
    /// The epoch now; the number of the report if it switched.
    pub epoch: u64,
    /// What was done, or would be, and why.
    pub explain: Explain,
    /// With watchdogs: the switch of the whole site that began, or would; ask for it again until it is over.
    #[serde(rename = "walk", default, skip_serializing_if = "Option::is_none")]
    pub switchover: Option<SwitchoverStatus>,
    /// Of a dry run: why the order would be refused; also of an order for the whole site that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// An order was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done.
    pub sentence: String,
}
