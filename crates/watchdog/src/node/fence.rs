//! The fence: makes a node unreachable for phones within milliseconds, however long a stop takes.
//!
//! The kernel's packet filter is told its rules by the `nft` program: each script is one transaction, and what an operator
//! reads in `nft list ruleset` is what was written here. What a lease hangs on – that phones are let in for longer, and that
//! they are kept out at once – is told to the kernel by this process itself.

mod kernel;
mod nft;
mod program;
mod refresh;
mod seen;
mod writers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use failover::duty::Phones;
use tokio::sync::{Mutex, watch};

use self::nft::Nft;
use super::command::{CommandSpec, Ran};

/// Which fence, and its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FenceSpec {
    /// The kernel's packet filter; it closes by itself when the lease is over.
    Nft(NftSpec),
    /// None: a node is fenced when its telephony is silent.
    None {
        /// The last resort, if any.
        last_resort: Option<CommandSpec>,
    },
    /// Commands of the operator's. Nothing closes it by itself.
    Command {
        /// Makes the node unreachable; exit code 0 when it is.
        close: CommandSpec,
        /// Makes it reachable again; not run for a mere renewal.
        permit: Option<CommandSpec>,
        /// The last resort, if any.
        last_resort: Option<CommandSpec>,
    },
}

/// A table in the kernel's packet filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftSpec {
    /// The program and leading arguments: `nft`.
    pub program: Vec<String>,
    /// The node's SIP ports, UDP and TCP.
    pub ports: Vec<u16>,
    /// Media servers, which an orderly stop may still reach.
    pub partners: Vec<IpAddr>,
    /// For how long a renewal lets phones in.
    pub renewals: Renewals,
    /// For each call of the program: half the fence limit.
    pub time_limit: Duration,
    /// Run with the hard fence, if any.
    pub last_resort: Option<CommandSpec>,
}

/// For how long a renewal lets phones in: at least, if its grant came at once, and at most. One in between needs no
/// transaction, and lets them in for the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewals {
    /// What a rule in the kernel prolongs a permit to.
    pub least: Duration,
    /// A lease and the scheduler's pause.
    pub most: Duration,
}

impl Renewals {
    /// Of the site's times. What is not made use of is no part of the lease.
    pub fn of(lease: Duration, pause: Duration) -> Self {
        /// Far more than a grant takes in a site's own network.
        const AT_ONCE: Duration = Duration::from_millis(100);
        let most = lease + pause;
        // The rule in the kernel has one length for all renewals: shorter than the lease allows by what a grant may
        // take on its way, so that none of them lasts longer than it may.
        Self { least: most - AT_ONCE.min(pause / 2), most }
    }
}

/// How a fence is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Install {
    /// Nothing is permitted, whatever a watchdog before this one left.
    Closed,
    /// What is permitted stays permitted until its time: a watchdog before this one handed the node over.
    Keeping,
}

/// For how long phones are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// For so long; the kernel ends it.
    For(Duration),
    /// For as long as nobody closes it.
    Unlimited,
}

/// Whether media servers can still be reached once it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partners {
    /// Yes, for so long, to unregister.
    For(Duration),
    /// Media servers are kept out as phones are: the other node may be registering with them.
    Closed,
}

/// How it was closed, and how surely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The kernel's table was read back and keeps phones out.
    Verified {
        /// How long closing and reading back took.
        took: Duration,
    },
    /// This fence stops no packet: the node is fenced when its services are stopped.
    WhenStopped,
}

/// What of the fence is installed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The table is there and lets phones in.
    Open,
    /// The table is there and lets nobody in.
    Closed,
    /// Nothing, or not what should be; why.
    Missing(String),
    /// This kind of fence cannot be read.
    Unknown,
}

/// What a look at the fence came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is as it was written; how.
    AsItShould(State),
    /// Somebody had changed it, and it was written anew.
    Mended {
        /// How it is now; one that lets phones in is written anew with the next permit.
        state: State,
        /// What was wrong with it, for the alarm.
        was: String,
        /// The process of somebody else's that had changed the kernel's packet filter last, if the kernel told.
        by: Option<String>,
    },
    /// The table is there, and takes permits; whether its rules are as written could not be read; why.
    Unread(String),
    /// Something else was ordered meanwhile, or this kind cannot be read.
    Overtaken,
}

/// A fence could not be worked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// The program that works it failed, or took too long.
    #[error("cannot {act} by `{command}`: {said}")]
    Command {
        /// What was to be done.
        act: &'static str,
        /// As it was called, to be tried by hand.
        command: String,
        /// How it ended, and what it said.
        said: String,
    },
    /// The kernel took no change, nor did the program make it.
    #[error("cannot {act}: the kernel says «{cause}»")]
    Kernel {
        /// What was to be done.
        act: &'static str,
        /// Why the kernel did not, and what else was tried.
        cause: String,
    },
    /// It was done, but reading back shows something else.
    #[error("the fence was told to {act}, but {seen}")]
    NotVerified {
        /// What was to be done.
        act: &'static str,
        /// What was read back instead, for people.
        seen: String,
    },
    /// There is no last resort.
    #[error("no last resort is configured, and this fence has no harder one")]
    NoLastResort,
}

impl FenceError {
    /// Adds what was tried after the kernel refused.
    fn then(self, error: &Self) -> Self {
        match self {
            Self::Kernel { act, cause } => Self::Kernel { act, cause: format!("{cause}», and «{error}") },
            other => other,
        }
    }
}

/// A fence. Its calls are carried out one after the other, in the order they were made; closing it interrupts permits,
/// so that a slow one cannot hold it up.
#[derive(Debug)]
pub struct Fence {
    kind: Mechanism,
    /// Counts the closings, and what else a renewal is not.
    closings: watch::Sender<u64>,
    /// Counts everything that is ordered: a look at a closed fence that was begun before changes nothing any more.
    orders: watch::Sender<u64>,
    last_resort: Option<CommandSpec>,
}

/// What moves phones in and out, in its present state.
#[derive(Debug)]
enum Mechanism {
    Kernel(Box<Mutex<Nft>>),
    Nothing,
    Commands { close: CommandSpec, permit: Option<CommandSpec>, state: Mutex<State> },
}

impl Fence {
    /// Makes it; nothing is touched yet.
    pub fn new(spec: FenceSpec) -> Self {
        let (kind, last_resort) = match spec {
            FenceSpec::Nft(mut spec) => {
                let last_resort = spec.last_resort.take();
                (Mechanism::Kernel(Box::new(Mutex::new(Nft::new(spec)))), last_resort)
            }
            FenceSpec::None { last_resort } => (Mechanism::Nothing, last_resort),
            FenceSpec::Command { close, permit, last_resort } => {
                (Mechanism::Commands { close, permit, state: Mutex::new(State::Unknown) }, last_resort)
            }
        };
        Self { kind, closings: watch::Sender::new(0), orders: watch::Sender::new(0), last_resort }
    }

    /// Returns the kind's name: `nft`, `none` or `command`.
    pub fn kind(&self) -> &'static str {
        match self.kind {
            Mechanism::Kernel(_) => "nft",
            Mechanism::Nothing => "none",
            Mechanism::Commands { .. } => "command",
        }
    }

    /// Tells whether the kernel ends by itself what is permitted.
    pub fn ends_by_itself(&self) -> bool {
        matches!(self.kind, Mechanism::Kernel(_))
    }

    /// Installs it, before anything else is done on the node, and verifies it.
    ///
    /// # Errors
    /// Returns [`FenceError`] if it could not be, or is not as it should be.
    pub async fn install(&self, how: Install) -> Result<(), FenceError> {
        self.order();
        match (&self.kind, how) {
            (Mechanism::Kernel(nft), how) => nft.lock().await.install(how).await,
            (Mechanism::Commands { .. }, Install::Closed) => self.close(Partners::Closed).await.map(|_| ()),
            (Mechanism::Commands { state, .. }, Install::Keeping) => {
                // What commands did before is not seen: a node that was handed over had phones let in.
                *state.lock().await = State::Open;
                Ok(())
            }
            (Mechanism::Nothing, _) => Ok(()),
        }
    }

    /// Lets phones in, or lets them in for longer, without a gap. No time left closes it. Returns how long that took.
    ///
    /// # Errors
    /// Returns [`FenceError`] if it could not, or a closing came between; then the kernel ends what was permitted
    /// before.
    #[expect(clippy::disallowed_methods, reason = "a figure for people; the kernel keeps the promise")]
    pub async fn permit(&self, permit: Permit) -> Result<Duration, FenceError> {
        let began = Instant::now();
        self.order();
        let closing = Closing::of(&self.closings);
        match &self.kind {
            Mechanism::Kernel(nft) => nft.lock().await.permit(permit, &closing).await?,
            // No time left is no permit: a command that opens would let phones in after the lease.
            Mechanism::Commands { .. } if permit == Permit::For(Duration::ZERO) => {
                self.close(Partners::Closed).await?;
            }
            Mechanism::Commands { permit, state, .. } => {
                let mut state = state.lock().await;
                // Commands know no time, so a renewal has nothing to do.
                if *state != State::Open {
                    if let Some(permit) = permit {
                        done("let phones in", permit, permit.run_until(closing.came()).await)?;
                    }
                    *state = State::Open;
                }
            }
            Mechanism::Nothing => {}
        }
        Ok(began.elapsed())
    }

    /// Closes it, and verifies that.
    ///
    /// # Errors
    /// Returns [`FenceError`] if it is not certain to be closed.
    #[expect(clippy::disallowed_methods, reason = "a figure for people; the kernel keeps the promise")]
    pub async fn close(&self, partners: Partners) -> Result<Closed, FenceError> {
        let began = Instant::now();
        self.order();
        // Closings are counted before the lock is waited for: whoever holds it, a permit above all, ends by this.
        self.closings.send_modify(|closings| *closings += 1);
        match &self.kind {
            Mechanism::Kernel(nft) => nft.lock().await.close(partners).await?,
            Mechanism::Commands { close, state, .. } => {
                let mut state = state.lock().await;
                // The state is not known until the command has succeeded: one that fails half-way leaves neither open
                // nor closed.
                *state = State::Unknown;
                done("close the fence", close, close.run().await)?;
                *state = State::Closed;
            }
            Mechanism::Nothing => return Ok(Closed::WhenStopped),
        }
        Ok(Closed::Verified { took: began.elapsed() })
    }

    /// The last resort: a second, simpler table that drops all SIP, and the configured command, side by side. One of
    /// them is enough. The next permit lifts the table.
    ///
    /// # Errors
    /// Returns [`FenceError`] if neither is certain to have worked.
    #[expect(clippy::disallowed_methods, reason = "a figure for people; the kernel keeps the promise")]
    pub async fn harden(&self) -> Result<Closed, FenceError> {
        let began = Instant::now();
        self.order();
        self.closings.send_modify(|closings| *closings += 1);
        // Both are tried beside each other, as the time in which phones get in is what counts by now.
        let table = async {
            match &self.kind {
                Mechanism::Kernel(nft) => nft.lock().await.harden().await,
                Mechanism::Nothing | Mechanism::Commands { .. } => Err(FenceError::NoLastResort),
            }
        };
        let command = async {
            let last_resort = self.last_resort.as_ref()?;
            Some(done("use the last resort", last_resort, last_resort.run().await))
        };
        match futures_util::future::join(table, command).await {
            (Ok(()), _) | (_, Some(Ok(()))) => Ok(Closed::Verified { took: began.elapsed() }),
            (Err(FenceError::NoLastResort), Some(Err(error))) | (Err(error), _) => Err(error),
        }
    }

    /// Removes it: the watchdog gives the node back. Phones can reach it then.
    ///
    /// # Errors
    /// Returns [`FenceError`] if it could not be removed.
    pub async fn remove(&self) -> Result<(), FenceError> {
        self.order();
        self.closings.send_modify(|closings| *closings += 1);
        match &self.kind {
            Mechanism::Kernel(nft) => nft.lock().await.remove().await,
            Mechanism::Commands { .. } => self.permit(Permit::Unlimited).await.map(|_| ()),
            Mechanism::Nothing => Ok(()),
        }
    }

    /// Looks whether it is as it was written, and writes it anew if it should be closed. Counts from the call: what is ordered
    /// later, while the future waits or runs, ends it. But renewals do not end a look at a fence that lets phones in: they
    /// come faster than a slow kernel's tools answer, for as long as the node serves.
    ///
    /// # Errors
    /// The future returns [`FenceError`] if it is not certain to be closed.
    pub fn keep(self: Arc<Self>, phones: Phones) -> impl Future<Output = Result<Kept, FenceError>> + Send + 'static {
        let (closing, ordered) = (Closing::of(&self.closings), Closing::of(&self.orders));
        async move {
            match (&self.kind, phones) {
                (Mechanism::Kernel(nft), Phones::LetIn) => Ok(nft::keep_permitting(nft, &closing, &ordered).await),
                (Mechanism::Kernel(nft), Phones::KeptOut) => {
                    let mut nft = nft.lock().await;
                    let kept = nft.keep_closed(&ordered).await;
                    // A failure that somebody else's order caused is none of the fence's.
                    if ordered.has_come() && kept.is_err() { Ok(Kept::Overtaken) } else { kept }
                }
                // What a command did is known by its own word alone.
                (Mechanism::Commands { state, .. }, _) => {
                    let state = state.lock().await.clone();
                    Ok(if state == State::Unknown { Kept::Overtaken } else { Kept::AsItShould(state) })
                }
                (Mechanism::Nothing, _) => Ok(Kept::Overtaken),
            }
        }
    }

    fn order(&self) {
        self.orders.send_modify(|orders| *orders += 1);
    }

    /// Reads back what is installed.
    pub async fn look(&self) -> State {
        match &self.kind {
            Mechanism::Kernel(nft) => nft.lock().await.look().await,
            Mechanism::Commands { state, .. } => state.lock().await.clone(),
            Mechanism::Nothing => State::Unknown,
        }
    }
}

/// Tells a permit that the fence is to be closed, and a look that something is ordered.
struct Closing {
    closings: watch::Receiver<u64>,
    before: u64,
}

impl Closing {
    fn of(counted: &watch::Sender<u64>) -> Self {
        let closings = counted.subscribe();
        let before = *closings.borrow();
        Self { closings, before }
    }

    async fn came(&self) {
        // An error says that the fence is gone.
        let _ = self.closings.clone().wait_for(|closings| *closings != self.before).await;
    }

    fn has_come(&self) -> bool {
        *self.closings.borrow() != self.before
    }
}

fn done(act: &'static str, command: &CommandSpec, ran: Ran) -> Result<(), FenceError> {
    if ran.is_done() {
        return Ok(());
    }
    Err(FenceError::Command { act, command: command.to_string(), said: ran.to_string() })
}

#[cfg(test)]
mod tests;
