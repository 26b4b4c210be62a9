//! The demo: a whole site on this machine. Starts two sides, what they share, and an Edge, as processes; takes
//! orders about them; ends them all. Nothing is read or written outside a directory of its own, which goes with it.

mod ask;
mod notice;
mod order;
mod plan;
mod process;
mod smoke;
pub(crate) mod socket;

use std::io;
use std::time::Duration;

use bascule::admin::api::Status;
use clap::Args;
use failover::Side;
use http::{Method, StatusCode};
use tokio::process::Child;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use self::ask::NoAnswer;
use self::notice::Tell;
pub use self::order::Order;
use self::plan::{Plan, PlanError};
use self::process::{Process, ProcessError};
use self::socket::{Asked, OrderSocket, OrderSocketError};
use crate::remains;

/// What is served unless `--port` says otherwise.
const PORT: u16 = 8443;
/// For every process to start and the Edge to know that both sides work.
const READY: Duration = Duration::from_secs(20);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(50);
/// The Edge drains for less.
const EDGE_ENDS: Duration = Duration::from_secs(4);

/// What the demo is told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DemoArgs {
    /// Where browsers find it on this machine [default: 8443].
    #[arg(long, conflicts_with = "do")]
    pub port: Option<u16>,
    /// Tell a running demo what to do.
    #[arg(long = "do", id = "do", value_name = "ORDER", value_enum, conflicts_with = "smoke")]
    pub order: Option<Order>,
    /// Play the whole story without anybody, one line a step; exit code 0 when it ends well.
    #[arg(long)]
    pub smoke: bool,
}

/// Why the demo does not go on. Each is a sentence for the person in front of it.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Its files could not be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A process of it failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The Edge runs and serves nobody.
    #[error("the Edge was not ready within {} s{said}", READY.as_secs())]
    NotReady {
        /// The last of what it logged.
        said: String,
    },
    /// The place where orders are taken.
    #[error(transparent)]
    OrderSocket(#[from] OrderSocketError),
    /// A step of the story went wrong; it was told where it happened.
    #[error("{0}")]
    Story(String),
    /// Anything else of this machine.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the demo, or tells a running one what to do; `json` for programs.
///
/// # Errors
/// A sentence for the person in front of it; what was started has ended.
pub fn run(args: &DemoArgs, json: bool) -> Result<(), DemoError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tell = Tell::new(json);
    runtime.block_on(async {
        match args.order {
            Some(order) => {
                tell.line(&socket::send(order).await?)?;
                Ok(())
            }
            None if args.smoke => Box::pin(smoke::play(args.port, &tell)).await,
            None => play(args.port.unwrap_or(PORT), &tell).await,
        }
    })
}

/// The running site. Its processes end before its directory goes.
struct Site {
    edge: Process,
    main: Process,
    standby: Process,
    /// Nothing is ordered of it.
    _shared: Process,
    plan: Plan,
    /// Last, as it is told to leave off once all else is gone.
    _remains: Child,
}

impl Site {
    async fn start(plan: Plan) -> Result<Self, DemoError> {
        // The Edge's program is looked for before anything is started: without it nothing else is of use.
        let edge = plan.edge()?;
        // From the first process on somebody takes away what a killed demo leaves.
        let remains = remains::removed_after_us(plan.directory.path())?;
        let shared = Process::start(plan.shared()).await?;
        let main = Process::start(plan.side(Side::Main)).await?;
        let standby = Process::start(plan.side(Side::Standby)).await?;
        let edge = Process::start(edge).await?;
        let mut site = Self { edge, main, standby, _shared: shared, plan, _remains: remains };
        site.ready().await?;
        Ok(site)
    }

    /// Waits until the Edge serves, and would switch: it does neither while it gets to know the sides.
    async fn ready(&mut self) -> Result<(), DemoError> {
        let deadline = Instant::now() + READY;
        loop {
            self.edge.running()?;
            if self.is_ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(DemoError::NotReady { said: self.edge.last_words() });
            }
            sleep(LOOK).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let ready = ask::admin(&self.plan.socket, Method::GET, "/readyz").await;
        let status = self.status().await;
        ready.is_ok_and(|answer| answer.status() == StatusCode::OK)
            // An Edge that serves may not have judged Standby yet, and would not move.
            && status.is_ok_and(|status| status.next.to == Some(Side::Standby))
    }

    async fn status(&self) -> Result<Status, NoAnswer> {
        let answer = ask::admin(&self.plan.socket, Method::GET, "/v1/status").await?;
        Ok(serde_json::from_slice(answer.body())?)
    }

    /// Carries out an order; the answer is a sentence.
    async fn carry_out(&mut self, order: Order) -> Result<String, ProcessError> {
        let Some((act, side)) = order.about() else { return Ok("The demo ends.".to_owned()) };
        let (process, name) = match side {
            Side::Main => (&mut self.main, Side::title(side)),
            Side::Standby => (&mut self.standby, Side::title(side)),
        };
        Ok(match act {
            order::Act::Kill => {
                process.kill().await?;
                format!("{name} is dead: its ports refuse.")
            }
            order::Act::Hang => {
                process.suspend()?;
                format!("{name} hangs: it takes connections and answers nothing.")
            }
            order::Act::Start => {
                process.bring_back().await?;
                format!("{name} runs. Nothing moves back by itself: who works is left alone.")
            }
        })
    }

    /// Ends everything; the directory goes, too.
    async fn end(mut self) {
        self.edge.end(EDGE_ENDS).await;
    }
}

/// Plays until told to end.
async fn play(port: u16, tell: &Tell) -> Result<(), DemoError> {
    let socket = OrderSocket::open().await?;
    let Some(mut site) = until_told(async { Site::start(Plan::new(Some(port))?).await }).await? else { return Ok(()) };
    tell.welcome(&site.plan)?;
    let played = take_orders(&mut site, &socket, tell).await;
    site.end().await;
    played
}

async fn take_orders(site: &mut Site, socket: &OrderSocket, tell: &Tell) -> Result<(), DemoError> {
    let mut signals = Signals::new()?;
    let mut typed = typed_lines()?;
    loop {
        tokio::select! {
            () = signals.told() => return Ok(()),
            // Without the Edge there is nothing to play with, and its last words say why.
            ended = site.edge.ended() => return Err(ended.into()),
            asked = socket.next() => {
                let Some(Asked { order, answer }) = asked else { continue };
                let said = site.carry_out(order).await.map_err(|error| error.to_string());
                tell.order(order, &said)?;
                answer.give(&said).await;
                if order == Order::Quit {
                    return Ok(());
                }
            }
            Some(line) = typed.recv() => match order::typed(&line) {
                Ok(None) => {}
                Ok(Some(Order::Quit)) => return Ok(()),
                Ok(Some(order)) => {
                    let said = site.carry_out(order).await.map_err(|error| error.to_string());
                    tell.order(order, &said)?;
                }
                Err(help) => tell.line(&help)?,
            },
        }
    }
}

/// What is typed, line by line, until standard input ends. A thread waits for it: it ends with the process.
fn typed_lines() -> io::Result<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel(1);
    let read = move || {
        let lines = io::stdin().lines().map_while(Result::ok);
        lines.take_while(|line| sender.blocking_send(line.clone()).is_ok()).for_each(drop);
    };
    std::thread::Builder::new().name("typed".into()).spawn(read)?;
    Ok(receiver)
}

/// Ctrl-C and its kin.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn told(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

/// Does `work`; nothing comes of it when the demo is told to end.
async fn until_told<T>(work: impl Future<Output = Result<T, DemoError>>) -> Result<Option<T>, DemoError> {
    let mut signals = Signals::new()?;
    tokio::select! {
        done = work => done.map(Some),
        () = signals.told() => Ok(None),
    }
}
