//! What is kept across restarts, in the machines' words and in the file's.

use failover::Side;
use failover::switch::{Kind, Memory};

use super::clock::Clock;
use crate::admin::api::{Event, Frozen, SwitchSummary, Time};
use crate::live::state::{Beginning, LiveState, PastSwitch, RECENT, SWITCHES_KEPT, State};
use crate::site::maintenance::Maintenances;

/// The state that an Edge begins with, from the disk or without it.
pub(super) struct Remembered {
    /// For the machine; none at the very first start.
    pub memory: Option<Memory>,
    /// The operator who froze automatic switches, if they are frozen.
    pub frozen: Option<Frozen>,
    /// What operators took out of service.
    pub maintenance: Maintenances,
    /// Switches of the past, oldest first.
    pub past: Vec<PastSwitch>,
    /// What an operator should know about the beginning.
    pub alarms: Vec<String>,
}

/// Reads what was found at the start.
pub(super) fn remember(beginning: Beginning) -> Remembered {
    match beginning {
        Beginning::First => Remembered {
            memory: None,
            frozen: None,
            maintenance: Maintenances::default(),
            past: Vec::new(),
            alarms: Vec::new(),
        },
        Beginning::Known { live, alarm } => Remembered {
            memory: Some(memory(&live)),
            frozen: live.frozen,
            maintenance: live.maintenance.into(),
            past: live.switches,
            alarms: alarm.into_iter().collect(),
        },
        Beginning::Lost { epoch, last, alarm } => Remembered {
            memory: Some(Memory {
                live: last.unwrap_or(Side::Main),
                // A switch that nobody wrote down may have used the next one.
                epoch: epoch.saturating_add(1),
                // Nobody knows whether it was. A side that dies must be left even so; an operator is told by the alarm.
                frozen: false,
                last: None,
                switches: Vec::new(),
            }),
            frozen: None,
            // As with the freeze: users are served rather than kept out by an order that nobody remembers.
            maintenance: Maintenances::default(),
            past: Vec::new(),
            alarms: vec![alarm],
        },
    }
}

fn memory(live: &LiveState) -> Memory {
    // The budget is against flapping, and operators do not flap.
    let automatic = live.switches.iter().filter(|switch| switch.kind != Kind::Planned);
    Memory {
        live: live.live,
        epoch: live.epoch,
        frozen: live.frozen.is_some(),
        // An operator's choice binds until it is let go, over a restart, too: else the next start would undo it (E4).
        last: match live.chosen {
            true => Some(Kind::Planned),
            false => live.switches.last().map(|switch| switch.kind).filter(|kind| *kind != Kind::Planned),
        },
        switches: automatic.map(|switch| Clock::age(switch.at)).collect(),
    }
}

/// The file's form of a machine's memory, with the names and times that only people need.
pub(super) fn live_state(
    memory: &Memory,
    frozen: Option<&Frozen>,
    maintenance: &Maintenances,
    past: &[PastSwitch],
) -> LiveState {
    let unnamed = || Frozen { by: "bascule".into(), why: "a forced switch".into(), since: Time::now() };
    LiveState {
        live: memory.live,
        epoch: memory.epoch,
        frozen: memory.frozen.then(|| frozen.cloned().unwrap_or_else(unnamed)),
        switches: past[past.len().saturating_sub(SWITCHES_KEPT)..].to_vec(),
        chosen: memory.last == Some(Kind::Planned),
        maintenance: maintenance.all().to_vec(),
    }
}

/// The last switch before this start, its reason by the journal.
pub(super) fn last_switch(state: &State, past: &[PastSwitch]) -> Option<SwitchSummary> {
    let last = past.last()?;
    let told = state.history(RECENT).into_iter().find(|e| e.event == Event::Switched && e.epoch == last.epoch);
    Some(SwitchSummary {
        epoch: last.epoch,
        at: last.at,
        kind: last.kind,
        from: last.to.other(),
        to: last.to,
        reason: told.map_or_else(|| "the journal does not go back so far".to_owned(), |e| e.explain.sentence),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4_an_operators_choice_binds_over_a_restart_until_it_is_let_go() {
        let past = [PastSwitch { epoch: 7, at: Time::now(), kind: Kind::Planned, to: Side::Standby }];
        for last in [Some(Kind::Planned), None] {
            let memory = Memory { live: Side::Standby, epoch: 7, frozen: false, last, switches: Vec::new() };
            let written = live_state(&memory, None, &Maintenances::default(), &past);
            let found = remember(Beginning::Known { live: written, alarm: None }).memory;
            assert_eq!(found, Some(memory));
        }
    }
}
