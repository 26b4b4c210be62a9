//! The promises as checks of one step, for the walk and for random runs.

use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::health::{BackendId, CheckId, ServiceId};
use crate::health::{Diagnosis, Fault, Reason, SideHealth, State};
use crate::side::Side;
use crate::time::Instant;
use crate::verdict;

/// One step of a switch.
pub(super) struct Step<'a> {
    pub(super) before: &'a Switch,
    pub(super) event: Event,
    pub(super) outputs: &'a [Output],
    pub(super) after: &'a Switch,
}

impl Step<'_> {
    pub(super) fn check_all(&self) {
        self.e1_while_the_live_side_works_nothing_automatic_moves_traffic();
        self.e3_only_a_working_side_gets_the_traffic();
        self.e4_what_changes_is_persisted_before_it_takes_effect();
        self.e7_only_fresh_evidence_moves_traffic_in_doubt();
        self.e9_a_damped_switch_leaves_only_a_dead_side();
        self.an_operators_word_holds();
        self.a_move_that_completes_a_wish_is_planned_and_no_other_is();
        self.a_driver_is_never_kept_busy();
        self.e3_nobody_is_shown_the_page_or_kept_waiting_without_need();
    }

    fn moves(&self) -> Vec<&Move> {
        let moves = self.outputs.iter().filter_map(|output| match output {
            Output::SwitchTo(step) => Some(step),
            _ => None,
        });
        moves.collect()
    }

    fn automatic(&self) -> Option<&Move> {
        self.moves().into_iter().find(|step| step.kind != Kind::Planned)
    }

    /// The health of a side as the decision knew it.
    fn health(&self, side: Side) -> SideHealth {
        self.after.sides[side]
    }

    fn context(&self) -> alloc::string::String {
        std::format!("{:#?}\n+ {:?}\n= {:#?}\n{:?}", self.before, self.event, self.after, self.outputs)
    }

    fn e1_while_the_live_side_works_nothing_automatic_moves_traffic(&self) {
        let Some(step) = self.automatic() else { return };
        let left = self.health(step.from);
        let preferred = match self.after.policy.failback {
            Failback::PreferMain { hold_down } => {
                let main = self.health(Side::Main);
                let resumed = self.event == Event::Act(Act::Resume);
                let chosen = self.before.last == Some(Kind::Planned) && !resumed;
                step.to == Side::Main && main.works() && self.after.now - main.since >= hold_down && !chosen
            }
            Failback::Sticky => false,
        };
        let allowed = left.state == State::NotWorking || (left.state == State::Working && preferred);
        assert!(allowed, "E1: left a side that is {}: {}", left.state, self.context());
    }

    fn e3_only_a_working_side_gets_the_traffic(&self) {
        for step in self.moves() {
            let forced = matches!(self.event, Event::Act(Act::Switch { guard: Guard::Forced, .. }));
            assert!(self.health(step.to).works() || forced, "E3: {}", self.context());
        }
    }

    fn e4_what_changes_is_persisted_before_it_takes_effect(&self) {
        let (before, after) = (self.before, self.after);
        assert_eq!(after.epoch - before.epoch, self.moves().len() as u64, "E4: epoch: {}", self.context());
        assert!(self.moves().len() <= 1, "one move a step: {}", self.context());
        assert_eq!(after.live != before.live, self.moves().len() == 1, "E4: {}", self.context());
        let essence = |switch: &Switch| (switch.live, switch.epoch, switch.frozen, switch.last);
        let persisted = self.outputs.iter().rposition(|output| matches!(output, Output::Persist(_)));
        if essence(before) != essence(after) {
            assert!(persisted.is_some(), "E4: not persisted: {}", self.context());
        }
        let moved = self.outputs.iter().position(|output| matches!(output, Output::SwitchTo(_)));
        assert!(moved.is_none() || persisted < moved, "E4: moved first: {}", self.context());
        if let Some(Output::Persist(memory)) = persisted.map(|index| &self.outputs[index]) {
            let again = Switch::new(after.policy, Some(memory), after.now);
            assert_eq!(essence(&again), essence(after), "E4: a restart forgot: {}", self.context());
            assert_eq!(again.ledger, after.ledger, "E4: a restart forgot the budget: {}", self.context());
        }
    }

    fn e7_only_fresh_evidence_moves_traffic_in_doubt(&self) {
        let Some(step) = self.automatic() else { return };
        let (left, target) = (self.health(step.from), self.health(step.to));
        if left.state == State::NotWorking {
            assert!(target.as_of >= left.trouble_since, "E7: the target was not confirmed: {}", self.context());
            let known = self.before.answered.filter(|answered| *answered >= left.trouble_since);
            let answered = known.unwrap_or(target.as_of);
            assert!(left.as_of >= answered, "E7: the live side was not judged again: {}", self.context());
        }
        let ended = self.outputs.iter().any(|output| matches!(output, Output::DoubtOver(_)));
        if let Some(doubt) = self.after.doubt.filter(|_| !ended) {
            assert!(left.as_of >= doubt.since && target.as_of >= doubt.since, "E7: old evidence: {}", self.context());
        }
    }

    fn e9_a_damped_switch_leaves_only_a_dead_side(&self) {
        assert!(self.after.ledger.used() <= self.after.ledger.limit(), "the ledger grows: {}", self.context());
        let Some(step) = self.automatic() else { return };
        let mut ledger = self.before.ledger.clone();
        ledger.forget_old(self.after.now);
        let dead = self.health(step.from).diagnosis().is_some_and(Diagnosis::is_dead);
        let reset = self.event == Event::Act(Act::ResetBudget);
        assert!(!ledger.is_spent() || dead || reset, "E9: {}", self.context());
        if self.after.ledger.is_spent() && !self.before.ledger.is_spent() {
            let loud = self.outputs.iter().any(|output| matches!(output, Output::Damped { .. }));
            assert!(loud, "E9: damped without a word: {}", self.context());
        }
    }

    fn an_operators_word_holds(&self) {
        if self.after.policy.observe {
            assert_eq!(self.moves().len(), 0, "observe: {}", self.context());
        }
        if self.before.frozen && self.event != Event::Act(Act::Resume) {
            assert!(self.automatic().is_none(), "frozen: {}", self.context());
        }
        if let Event::Act(Act::Switch { to, guard }) = self.event {
            let refused = self.outputs.iter().any(|output| matches!(output, Output::Refused { .. }));
            let sound = guard == Guard::Forced || self.before.sides[to].works();
            let done = to != self.before.live && sound && !self.after.policy.observe;
            assert_eq!(refused, !done, "an act is done or refused: {}", self.context());
        }
    }

    fn a_move_that_completes_a_wish_is_planned_and_no_other_is(&self) {
        for step in self.moves() {
            let ordered = matches!(self.event, Event::Act(Act::Switch { .. }));
            let left = self.health(step.from).state == State::NotWorking;
            let wished = self.after.wished == Some(step.to) && left;
            assert_eq!(step.kind == Kind::Planned, ordered || wished, "whose move: {}", self.context());
        }
        let spent = self.after.ledger.used() > self.before.ledger.used();
        assert!(!spent || self.automatic().is_some(), "a planned move was counted: {}", self.context());
    }

    /// What requests do hangs on the live side's health and on why traffic stays, whatever else is known.
    fn e3_nobody_is_shown_the_page_or_kept_waiting_without_need(&self) {
        let (switch, now) = (self.after, self.after.now);
        let live = self.health(switch.live());
        let dead = live.diagnosis().is_some_and(Diagnosis::is_dead);
        let held = switch.explain(now).standing;
        let may_not_leave = matches!(held, HoldReason::Frozen { .. } | HoldReason::Damped { .. });
        for (judged, switchover) in [(false, false), (false, true), (true, false), (true, true)] {
            let mode = switch.mode(Known { judged, switchover }, now);
            let wrong = match mode {
                Mode::Serving => live.state == State::Unknown && !judged,
                // The page is for a live side that does not work, and nothing that is about to change it.
                Mode::Waiting => live.state != State::NotWorking || switchover,
                // Requests wait for a decision that time or the next probe brings, or for a switch under way.
                Mode::Deciding => match live.state {
                    State::Working => true,
                    State::Unknown => judged,
                    State::NotWorking => !switchover && (may_not_leave || matches!(held, HoldReason::NeitherWorks(_))),
                },
            };
            assert!(!wrong, "E3: {mode:?} (judged {judged}, switchover {switchover}, {held:?}): {}", self.context());
            if live.state == State::NotWorking && may_not_leave && !dead && !switchover {
                assert_eq!(mode, Mode::Serving, "E3: what is ill still serves some: {}", self.context());
            }
        }
    }

    fn a_driver_is_never_kept_busy(&self) {
        let late = self.after.deadline().is_some_and(|deadline| deadline <= self.after.now);
        assert!(!late, "the deadline must lie ahead: {}", self.context());
        // A time that steps back counts as standing still.
        let outputs = self.after.clone().handle(Event::Timer, self.after.now.saturating_sub(Duration::from_secs(60)));
        let quiet = outputs.iter().all(|output| matches!(output, Output::DoubtOver(_)));
        assert!(quiet, "a spurious timer acted: {outputs:?}: {}", self.context());
        if self.event == Event::Timer && self.before.deadline().is_none_or(|deadline| self.after.now < deadline) {
            let quiet = self.outputs.iter().all(|output| matches!(output, Output::DoubtOver(_)));
            assert!(quiet, "acted before its deadline: {}", self.context());
        }
    }
}

/// A health of a side whose decisive check is down with such an illness.
pub(super) fn ill(diagnosis: Diagnosis, now: Instant) -> SideHealth {
    let why =
        verdict::Reason::Failed { last: verdict::Failure::Silent, times: 3, time_limit: Duration::from_millis(800) };
    let fault = Fault { service: ServiceId(1), backend: BackendId(1), check: CheckId(1), why };
    let reason = Reason::Down { fault, others: 0, diagnosis };
    SideHealth { state: State::NotWorking, reason, since: now, as_of: now, trouble_since: now }
}

/// A health of a side that works.
pub(super) fn well(now: Instant) -> SideHealth {
    SideHealth { state: State::Working, reason: Reason::AllWork, since: now, as_of: now, trouble_since: now }
}

/// Carries the history over to a newer health, as the machine `health` does.
pub(super) fn after(before: &SideHealth, mut health: SideHealth) -> SideHealth {
    if before.state == health.state {
        health.since = before.since;
        health.trouble_since = before.trouble_since;
        health.as_of = health.as_of.max(before.as_of);
    }
    health
}
