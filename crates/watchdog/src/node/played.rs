//! The hands of a simulation: what its machines do when a command is run, telephony is asked, or a host is to answer.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use failover::duty::Handover;
use failover::lease::Answer;
use host::played::{Boxed, current};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::clock;
use super::command::{Ending, Ran, Run};
use super::echo::{Answers, Echo, EchoSpec, Socket};

std::thread_local! {
    static STAGE: RefCell<Option<Arc<dyn Stage>>> = const { RefCell::new(None) };
}

/// What the machines of a simulation are. Each call is made on the present machine.
pub(crate) trait Stage: Send + Sync {
    /// Begins a command in place of the system.
    fn command(&self, argv: &[String], input: Option<&str>) -> Process;

    /// Changes the kernel's packet filter, without a command. The sets of the fence that are named must be there.
    fn change(&self, script: &str, sets: &[&str]) -> std::io::Result<()>;

    /// Asks services over the network.
    fn ask(&self, check: &probe::Check) -> Boxed<probe::Report>;

    /// Tells whether a host answers an echo request.
    fn echoes(&self, target: IpAddr) -> bool;

    /// Leaves a lease for the next watchdog, or none.
    fn leave(&self, handover: Option<Handover>);

    /// Takes the lease that was left.
    fn take(&self) -> Option<Handover>;

    /// Learns that the driver's loop turned.
    fn turned(&self);

    /// Learns that a node tells its peer how its vote is ruled.
    fn answers(&self, answer: &Answer);
}

/// A command that runs. It goes on when the watchdog is killed; whoever drops it otherwise ends it.
pub(crate) struct Process {
    pub(crate) ended: oneshot::Receiver<(Ending, String)>,
    pub(crate) task: AbortHandle,
}

impl Drop for Process {
    fn drop(&mut self) {
        if current().is_some() {
            self.task.abort();
        }
    }
}

/// Has this thread's hands work on a stage, or on the system again.
pub(crate) fn play(stage: Option<Arc<dyn Stage>>) {
    STAGE.set(stage);
}

pub(crate) fn stage() -> Option<Arc<dyn Stage>> {
    STAGE.with_borrow(Clone::clone)
}

pub(crate) fn turned() {
    if let Some(stage) = stage() {
        stage.turned();
    }
}

pub(crate) fn answers(answer: &Answer) {
    if let Some(stage) = stage() {
        stage.answers(answer);
    }
}

pub(super) async fn run(stage: &dyn Stage, run: Run<'_>, killed: impl Future<Output = ()>) -> Ran {
    let began = Instant::now();
    let mut process = stage.command(run.argv, run.input);
    let (ending, output) = tokio::select! {
        biased;
        () = killed => (Ending::Killed, String::new()),
        ended = &mut process.ended => ended.unwrap_or((Ending::NotStarted, String::new())),
        () = sleep(run.time_limit) => (Ending::TimedOut, String::new()),
    };
    Ran { ending, output, took: began.elapsed() }
}

pub(super) fn echo(stage: Arc<dyn Stage>, spec: EchoSpec) -> Echo {
    let last = spec.targets.iter().map(|target| (*target, None)).collect();
    let (tell, answers) = watch::channel(Answers { last });
    host::spawn(async move {
        while !tell.is_closed() {
            let asked = clock::now();
            sleep(Duration::from_millis(2)).await;
            tell.send_modify(|answers| {
                for (target, last) in &mut answers.last {
                    if stage.echoes(*target) {
                        *last = Some(asked);
                    }
                }
            });
            sleep(spec.interval).await;
        }
    });
    Echo { v4: Socket::Datagram, v6: Socket::Unused, began: clock::now(), answers }
}
