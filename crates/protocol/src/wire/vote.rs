//! How votes are written: forms of the machines' own types.

use failover::Side;
use failover::health::Status;
use failover::lease::{Answer, Ask, Campaign, Instance, Report, Request, VoteReply};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A side of the site, as the machines know it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Side", rename_all = "snake_case")]
pub enum SideForm {
    /// The side that serves when both could.
    Main,
    /// The side that serves while Main does not.
    Standby,
}

/// What a node does now.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Status", rename_all = "snake_case")]
pub enum StatusForm {
    /// Its services run and were verified.
    Active,
    /// Its services do not run, and are not meant to.
    Inactive,
    /// Its services are being started.
    Starting,
    /// Its services are being stopped.
    Stopping,
    /// Its services should run and do not.
    Faulty,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Ask", rename_all = "snake_case")]
enum AskForm {
    Hello,
    Want,
    Renew,
    Release,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "VoteReply", rename_all = "snake_case")]
enum RulingForm {
    Grant,
    Deny,
    Lost,
    TooLong,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Report")]
struct ReportForm {
    #[serde(with = "StatusForm")]
    status: Status,
    fit: bool,
    witness_out: bool,
    unguarded: bool,
}

/// A request to a voter.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Request")]
pub struct RequestForm {
    #[serde(with = "SideForm")]
    from: Side,
    #[serde(with = "AskForm")]
    ask: Ask,
    campaign: Campaign,
    epoch: u64,
    #[serde(with = "ReportForm")]
    report: Report,
    settled: bool,
    hears: bool,
    instance: Instance,
    #[serde(rename = "needs_ms", with = "rounded_up")]
    needs: Duration,
}

/// A voter's answer, as the machines know it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Answer")]
pub struct AnswerForm {
    #[serde(with = "AskForm")]
    to: Ask,
    campaign: Campaign,
    #[serde(with = "RulingForm")]
    ruling: VoteReply,
    epoch: u64,
    #[serde(rename = "promises_ms", with = "rounded_down")]
    promises: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_report")]
    report: Option<Report>,
}

/// Milliseconds, of what is needed: never less than that.
mod rounded_up {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// Milliseconds, of what is promised: never more than that.
mod rounded_down {
    use super::{Duration, Serializer};

    pub(super) use super::rounded_up::deserialize;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A report that the witness leaves out.
mod optional_report {
    use super::{Deserialize, Deserializer, Report, ReportForm, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Present(#[serde(with = "ReportForm")] Report);

    pub(super) fn serialize<S: Serializer>(report: &Option<Report>, to: S) -> Result<S::Ok, S::Error> {
        report.map(Present).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Report>, D::Error> {
        Ok(Option::<Present>::deserialize(from)?.map(|Present(report)| report))
    }
}
