//! Starts and stops a node's services, one command at a time (W4), and verifies what came of it.

use super::command::CommandSpec;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub use failover::duty::Outcome;

/// How the services are started, stopped and checked.
#[derive(Clone, Debug)]
pub struct ServicesSpec {
    /// Starts them.
    pub start: CommandSpec,
    /// Stops them.
    pub stop: CommandSpec,
    /// Ends with exit code 0 when they run.
    pub check: Option<CommandSpec>,
    /// Ends with exit code 0 when they are surely stopped; none: `check` says no and `probe` gets no answer.
    pub stopped: Option<CommandSpec>,
    /// Answered when they work: SIP OPTIONS to the own address, or a CC's readiness.
    pub probe: Option<Arc<probe::Check>>,
    /// How long verification may take after the command has ended.
    pub verify_limit: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start and verify.
    Start {
        /// Commands before, side by side, each within its own time limit; their failure is told and no hindrance.
        before: Vec<CommandSpec>,
    },
    /// Stop and verify.
    Stop {
        /// Commands before, side by side, each within its own time limit; their failure is told and no hindrance.
        before: Vec<CommandSpec>,
    },
    /// Kill the process group of what runs; its outcome is reported all the same. Starts that wait fail, stops stay.
    Kill,
}

/// What became of an order; each `Start` and `Stop` has exactly one, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of a start.
    Started(Report),
    /// Of a stop.
    Stopped(Report),
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Done is verified.
    pub outcome: Outcome,
    /// What was done and seen, in one printable line.
    pub text: String,
    /// How long all of it took.
    pub took: Duration,
    /// How much of it was verification.
    pub verifying: Duration,
}

/// What a worker does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    /// Nothing.
    #[default]
    Idle,
    /// A start or its verification.
    Starting,
    /// A stop or its verification.
    Stopping,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// They run and work.
    Running,
    /// They are stopped.
    Stopped,
    /// Neither is certain; why, in one line. Whoever must be safe takes them for running.
    Unclear(String),
}

/// The worker has no room for the order, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker of the start and stop commands takes no more orders")]
pub struct Busy;

/// Looks at services; see [`Worker`] for starting and stopping them.
#[derive(Clone, Debug)]
pub struct Services {
    spec: Arc<ServicesSpec>,
}

/// The way to a worker's task, which ends when this is dropped; a command that runs is killed then, services are not.
#[derive(Debug)]
pub struct Worker {
    orders: mpsc::Sender<Order>,
    doing: watch::Receiver<Doing>,
}

impl Services {
    /// Makes it.
    pub fn new(spec: ServicesSpec) -> Self {
        Self { spec: Arc::new(spec) }
    }

    /// Looks once whether the services run.
    pub async fn look(&self) -> Found {
        let _ = &self.spec;
        unimplemented!()
    }

    /// Starts a worker, and returns the way to it and what it reports. Needs a tokio runtime.
    pub fn work(&self) -> (Worker, mpsc::Receiver<Event>) {
        unimplemented!()
    }
}

impl Worker {
    /// Gives an order. Never waits.
    ///
    /// # Errors
    /// Returns [`Busy`] if eight orders wait already; the order will not be carried out and has no event.
    pub fn order(&self, order: Order) -> Result<(), Busy> {
        self.orders.try_send(order).map_err(|_| Busy)
    }

    /// Returns what it does now.
    pub fn doing(&self) -> Doing {
        *self.doing.borrow()
    }
}
