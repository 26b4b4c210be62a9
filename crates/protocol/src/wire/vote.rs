//! How votes are written: forms of the machines' own types.

use failover::Side;
use failover::health::Status;
use failover::lease::{Answer, Ask, Campaign, Report, Request, Ruling};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A side.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Side", rename_all = "snake_case")]
pub enum SideForm {
    /// Main.
    Main,
    /// Standby.
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
#[serde(remote = "Ruling", rename_all = "snake_case")]
enum RulingForm {
    Grant,
    Deny,
    Lost,
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
}

/// A voter's answer.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Answer")]
pub struct AnswerForm {
    #[serde(with = "AskForm")]
    to: Ask,
    campaign: Campaign,
    #[serde(with = "RulingForm")]
    ruling: Ruling,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_report")]
    report: Option<Report>,
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
