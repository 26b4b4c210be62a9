//! What operators ask of a node.

use alloc::vec::Vec;
use core::fmt;

use super::guard::Unguarded;
use super::machine::{Duty, Phase};
use super::output::{Output, StartReason};
use super::running::Why;
use super::settings::{Choice, Failback, Mode, Requests};
use crate::health::Status;
use crate::side::Side;

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Serve, through the protocol's gates.
    Activate,
    /// Serve now, whatever the other voters say.
    ForceActivate,
    /// Stop, and leave the serving to the peer.
    Deactivate,
    /// Forbid automatic starts and failback.
    Freeze,
    /// Allow them, and let go of a choice.
    Resume,
    /// Choose who decides that the node serves.
    Mode(Mode),
    /// Choose when Standby stops for Main.
    Failback(Failback),
    /// Let this side serve: an operator's wish handed over by the Edge.
    HandOver {
        /// The side that is to serve once the act is done.
        to: Side,
    },
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activate => f.write_str("activate"),
            Self::ForceActivate => f.write_str("activate by force, unguarded"),
            Self::Deactivate => f.write_str("deactivate"),
            Self::Freeze => f.write_str("freeze"),
            Self::Resume => f.write_str("resume"),
            Self::Mode(Mode::Automatic) => f.write_str("be automatic"),
            Self::Mode(Mode::Manual) => f.write_str("be manual"),
            Self::Failback(Failback::Auto) => f.write_str("fail back as soon as main is fit"),
            Self::Failback(Failback::Window) => f.write_str("fail back in the window"),
            Self::Failback(Failback::Manual) => f.write_str("fail back on an operator's word"),
            Self::HandOver { to } => write!(f, "hand over to {to}"),
        }
    }
}

/// Why an operator's act was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It serves, or is about to.
    ServesAlready,
    /// A node that does not serve has nothing to give up.
    DoesNotServe,
    /// Its stop is under way; an act would be about a state that is gone.
    Stopping,
    /// The peer serves: it must be stopped there, first.
    PeerServes,
    /// The peer is silent or unfit: nobody would serve.
    PeerNotReady,
    /// Something keeps it from serving: dead telephony, its fence, its disk.
    Unfit,
    /// Wishes handed over by the Edge are not accepted here.
    NotAccepted,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServesAlready => "it serves already",
            Self::DoesNotServe => "it does not serve",
            Self::Stopping => "it is still stopping",
            Self::PeerServes => "the peer serves; deactivate it there, or force it here",
            Self::PeerNotReady => "the peer is silent or cannot serve, and nobody would",
            Self::Unfit => "it cannot serve; force it to insist",
            Self::NotAccepted => "wishes handed over by the Edge are not accepted here (accept_requests)",
        })
    }
}

impl Duty {
    pub(super) fn act(&mut self, act: Act, outputs: &mut Vec<Output>) {
        match self.carry_out(act, outputs) {
            Ok(()) => outputs.extend([Output::Persist(self.memory()), Output::Acted(act)]),
            Err(reason) => outputs.push(Output::Refused { act, reason }),
        }
    }

    fn carry_out(&mut self, act: Act, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        match act {
            Act::Activate => self.activate()?,
            Act::ForceActivate => self.force(outputs)?,
            Act::Deactivate => self.deactivate(Why::Operator, outputs)?,
            Act::Freeze => self.wishes.frozen = true,
            Act::Resume => {
                self.wishes.frozen = false;
                // The operator's word is that the cause is mended: Standby need not wait out a hold-down that was
                // doubled by it.
                self.activation.relapse.forget();
                self.wishes.choice = Choice::None;
            }
            Act::Mode(mode) => {
                // Who serves goes on, whoever decides.
                if mode == Mode::Manual && self.serves() {
                    self.wishes.choice = Choice::Serve;
                }
                self.wishes.mode = mode;
            }
            Act::Failback(failback) => self.wishes.failback = failback,
            // The Edge stands in the DMZ: whoever takes it must not be able to stop telephony, unless the site allowed
            // it.
            Act::HandOver { .. } if self.settings.requests == Requests::Refuse => return Err(Refusal::NotAccepted),
            Act::HandOver { to } if to == self.settings.side => self.activate()?,
            // Who asks at the Edge may not see that nobody would serve. An operator at the node does, and `deactivate`
            // does not ask.
            Act::HandOver { .. } if self.peer_is_silent() || !self.peer.report.is_some_and(|peer| peer.fit) => {
                return Err(Refusal::PeerNotReady);
            }
            Act::HandOver { .. } => self.deactivate(Why::HandedOver, outputs)?,
        }
        Ok(())
    }

    fn activate(&mut self) -> Result<(), Refusal> {
        let peer_serves = !self.peer_is_silent() && self.peer.report.is_some_and(|peer| peer.status == Status::Active);
        match self.phase {
            // A node that serves by itself takes the choice: from then on a Standby does not stop for Main.
            Phase::Starting { .. } | Phase::Active { .. } if self.wishes.choice == Choice::Serve => {
                return Err(Refusal::ServesAlready);
            }
            // The peer has the votes: the order would wait without an end, and take effect at a moment that nobody
            // chose.
            Phase::Inactive if peer_serves => return Err(Refusal::PeerServes),
            Phase::Inactive if self.ready.fit_since.is_none() => return Err(Refusal::Unfit),
            _ => self.wishes.choice = Choice::Serve,
        }
        // Who has it serve has seen to what failed.
        self.activation.relapse.forget();
        Ok(())
    }

    fn force(&mut self, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        match self.phase {
            Phase::Starting { .. } | Phase::Active { .. } => Err(Refusal::ServesAlready),
            // A start would run into the stop that is under way (W4).
            Phase::Stopping(_) => Err(Refusal::Stopping),
            Phase::Inactive => {
                self.wishes.choice = Choice::Serve;
                // Neither fit nor votes are asked for: force is for whoever knows better than this machine. The node
                // shows `unguarded` for it.
                let epoch = self.epoch().saturating_add(1);
                self.start(epoch, StartReason::Unguarded(Unguarded::Forced), outputs);
                Ok(())
            }
        }
    }

    fn deactivate(&mut self, why: Why, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        match self.phase {
            Phase::Starting { .. } | Phase::Active { .. } => self.step_down(why, outputs),
            Phase::Inactive if self.wishes.choice == Choice::StepBack => return Err(Refusal::DoesNotServe),
            // A node that does not serve may be told to leave the serving to its peer, too: it would else start when
            // its turn comes.
            Phase::Inactive | Phase::Stopping(_) => {}
        }
        self.wishes.choice = Choice::StepBack;
        self.ready.yielded_at = self.now;
        Ok(())
    }
}
