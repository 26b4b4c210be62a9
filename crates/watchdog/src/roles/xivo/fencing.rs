//! The fence of a XiVO node as its driver sees it: what was done to it last, what the kernel is seen to have.

use std::sync::Arc;
use std::time::Duration;

use failover::Instant;
use failover::duty::{Event, Phones};
use tokio::task::JoinHandle;

use super::telling::Telling;
use crate::control::api::{FenceState, FenceView};
use crate::node::clock;
use crate::node::fence::{self, Closed, Fence, FenceError, Kept, Partners, Permit};
use crate::roles::alarms::Alarm;
use crate::roles::mistakes::{Mistake, made};
use crate::state::Kind;

/// The fence, and what is known of it.
pub(super) struct Fencing {
    fence: Arc<Fence>,
    /// A look under way: one at a time, however slow the kernel's tools are.
    look: Option<JoinHandle<Result<Kept, FenceError>>>,
    state: FenceState,
    detail: String,
    /// The fence stops no packet: the node is fenced when its services are stopped.
    when_stopped: bool,
    /// Phones should be let in without end, and could not be.
    permit_again: bool,
}

/// What a node does while its fence is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Serving {
    /// It serves, or starts to: then an open fence is as it should be.
    pub(super) serves: bool,
    /// It serves without votes, so that its permit has no end and is given once.
    pub(super) unguarded: bool,
}

impl Fencing {
    /// Takes over a fence that is installed.
    pub(super) async fn new(fence: Arc<Fence>) -> Self {
        let (state, detail) = told(&fence.look().await);
        Self { fence, look: None, state, detail, when_stopped: false, permit_again: false }
    }

    /// Lets phones in, and returns what the duty is to know of that.
    ///
    /// # Errors
    /// Why they could not be let in, as it was told.
    pub(super) async fn permit(&mut self, until: Option<Instant>, telling: &mut Telling) -> Result<Event, String> {
        let until = until.filter(|_| !made(Mistake::PermitsForever));
        let permit = until.map_or(Permit::Unlimited, |until| Permit::For(until.since(clock::now())));
        let failed = self.fence.permit(permit).await.err().map(|error| error.to_string());
        match &failed {
            // A fence that stops no packet is shown as absent, whatever it was told.
            None if self.state != FenceState::Absent => self.saw(FenceState::Open, "phones are let in"),
            None => {}
            Some(why) => self.saw(FenceState::Failed, why),
        }
        // A lease is renewed by itself; what has no end is given once, and must be given again.
        self.permit_again = failed.is_some() && until.is_none();
        telling.raise(Alarm::Fence, failed.clone());
        match failed {
            // A fence that nothing ends by itself cannot lapse under a node that serves.
            None => Ok(Event::Permitted { until: until.filter(|_| self.fence.ends_by_itself()) }),
            Some(why) => Err(why),
        }
    }

    /// A permit without end failed: it is to be given again while the node serves.
    pub(super) const fn wants_permit(&self) -> bool {
        self.permit_again
    }

    /// Keeps phones out. Returns since when that is verified; nothing: it failed, or the stop of the services is the fence.
    pub(super) async fn close(&mut self, partners: Partners, telling: &mut Telling) -> Option<Instant> {
        self.when_stopped = false;
        // A permit that is still to be given again must not follow the closing.
        self.permit_again = false;
        let closed = self.fence.close(partners).await;
        if let Ok(Closed::Verified { took }) = &closed {
            telling.metrics.command("fence", "done", *took);
            telling.alarms.set(Alarm::Fence, None);
        }
        self.closed(closed, "phones are kept out", telling)
    }

    /// The last resort. Returns since when phones are verified to be kept out, as [`Fencing::close`] does.
    pub(super) async fn harden(&mut self, waited: Duration, telling: &mut Telling) -> Option<Instant> {
        telling.metrics.hard_fenced();
        telling.tell(Kind::Alarm, &format!("HARD FENCE: not fenced within {waited:?}"));
        let closed = self.fence.harden().await;
        self.closed(closed, "phones are kept out by the last resort", telling)
    }

    fn closed(&mut self, closed: Result<Closed, FenceError>, detail: &str, telling: &mut Telling) -> Option<Instant> {
        match closed {
            Ok(Closed::Verified { .. }) => {
                self.saw(FenceState::Closed, detail);
                // The fence is verified as of when it was read back: the duty must not take it for late because it
                // hears of it late.
                return Some(clock::now());
            }
            Ok(Closed::WhenStopped) => self.when_stopped = true,
            Err(error) => self.failed(&error.to_string(), telling),
        }
        None
    }

    /// The services are stopped, and verified to be. Tells whether that is what the fence waited for.
    pub(super) const fn services_stopped(&mut self) -> bool {
        std::mem::replace(&mut self.when_stopped, false)
    }

    /// Looks at the fence beside the loop: a slow kernel delays no answer to the peer.
    pub(super) fn look(&mut self, phones: Phones) {
        // Looks run one at a time: with a program that hangs they would else pile up, one each second.
        if self.look.is_none() && !made(Mistake::FenceTrusted) {
            self.look = Some(host::spawn(Arc::clone(&self.fence).keep(phones)));
        }
    }

    /// Waits for a look under way; nothing, if none is.
    pub(super) async fn looked(&mut self) -> Option<Result<Kept, FenceError>> {
        let ended = self.look.as_mut()?.await;
        self.look = None;
        // One that panicked saw nothing: the next look comes within a second.
        Some(ended.unwrap_or(Ok(Kept::Overtaken)))
    }

    /// Takes in what a look came to: the status shows what the kernel has, whatever was done to it last. Returns whether the
    /// fence works, or why it does not, if the look decides that.
    pub(super) fn saw_kept(
        &mut self,
        looked: Result<Kept, FenceError>,
        node: Serving,
        telling: &mut Telling,
    ) -> Option<Result<(), String>> {
        match looked {
            Ok(Kept::Overtaken) => None,
            Ok(Kept::Unread(why)) => {
                self.saw(FenceState::Failed, &why);
                let text = format!("the fence takes permits, but cannot be read back: {why}");
                telling.raise(Alarm::Unread, Some(text));
                // The table takes permits, so an inactive node could let phones in: not to be able to read it stops
                // nothing.
                (!node.serves).then_some(Ok(()))
            }
            Ok(Kept::AsItShould(state)) => {
                telling.alarms.set(Alarm::Unread, None);
                let (state, detail) = told(&state);
                // What was never verified, or could not be renewed, is not made good by a look; but a closed fence is not
                // found as it should be before it would take a permit again.
                let works = state == FenceState::Closed && !node.serves;
                if works {
                    telling.alarms.set(Alarm::Fence, None);
                }
                self.saw(state, &detail);
                works.then_some(Ok(()))
            }
            Ok(Kept::Mended { state, was, by }) => {
                telling.alarms.set(Alarm::Unread, None);
                let (state, detail) = told(&state);
                self.saw(state, &detail);
                // The table that was written anew lets nobody in, and nothing renews a permit without an end.
                self.permit_again |= node.serves && node.unguarded;
                mended(&was, by, telling);
                (state == FenceState::Closed).then_some(Ok(()))
            }
            Err(error) => {
                self.failed(&error.to_string(), telling);
                Some(Err(error.to_string()))
            }
        }
    }

    /// Nothing but the watchdog ends telephony when a lease is over: there is no fence in the kernel.
    pub(super) fn is_absent(&self) -> bool {
        self.state == FenceState::Absent
    }

    /// The fence, as it is shown.
    pub(super) fn view(&self) -> FenceView {
        FenceView { kind: self.fence.kind().into(), state: self.state, detail: self.detail.clone() }
    }

    fn saw(&mut self, state: FenceState, detail: &str) {
        self.state = state;
        detail.clone_into(&mut self.detail);
    }

    fn failed(&mut self, why: &str, telling: &mut Telling) {
        self.saw(FenceState::Failed, why);
        telling.raise(Alarm::Fence, Some(why.to_owned()));
    }
}

/// A look wrote the fence anew: somebody removed it.
fn mended(was: &str, by: Option<String>, telling: &mut Telling) {
    telling.metrics.fence_mended();
    let last = by.as_ref().map(|by| format!("; {by} wrote to the packet filter last")).unwrap_or_default();
    if let Some(count) = telling.alarms.fence_removed(clock::now(), by) {
        let text = format!(
            "the fence was not as the watchdog wrote it ({was}), {count} times by now: it is written anew, but somebody on \
             this node removes it{last}"
        );
        telling.tell(Kind::Alarm, &text);
    }
}

/// How a fence is, as people read it.
fn told(state: &fence::State) -> (FenceState, String) {
    match state {
        fence::State::Open => (FenceState::Open, "phones are let in".into()),
        fence::State::Closed => (FenceState::Closed, "phones are kept out".into()),
        fence::State::Missing(why) => (FenceState::Failed, why.clone()),
        fence::State::Unknown => (FenceState::Absent, "this fence stops no packet".into()),
    }
}
