//! The whole story without anybody, for CI: a side dies, users go on with the other, come back, and wait.

use std::time::Duration;

use bascule::admin::api::Status;
use bascule::traffic::pages;
use bytes::Bytes;
use failover::Side;
use failover::health::State;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::ask::{self, NoAnswer, Socket, User};
use super::notice::Tell;
use super::order::Order;
use super::plan::Plan;
use super::{DemoError, Site, until_told};
use crate::side::HEADER;

/// A killed side is left within a quarter of a second, and the step says how long it took. This only tells a machine
/// with other things to do from an Edge that does not move.
const SWITCH_BOUND: Duration = Duration::from_secs(3);
/// For what has no promise of its own.
const SOON: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(50);
/// RFC 6455: the service restarts.
const SERVICE_RESTART: u16 = 1012;
const PAGE: &str = "/ucassistant";

/// Tells the story; an error is one that was told already.
pub(super) async fn play(port: Option<u16>, tell: &Tell) -> Result<(), DemoError> {
    let began = Instant::now();
    let Some(site) = until_told(async { Site::start(Plan::new(port)?).await }).await? else { return Err(ended()) };
    tell.step("start", began.elapsed(), &Ok(format!("Main, Standby and an Edge run; {}", site.plan.url())))?;
    let mut story = Story { site, tell };
    let told = until_told(Box::pin(story.tell())).await;
    let began = Instant::now();
    let directory = story.site.plan.directory.path().to_owned();
    story.site.end().await;
    let left = directory.exists();
    let said = if left { Err(format!("{} is still there", directory.display())) } else { Ok("nothing is left".into()) };
    tell.step("end", began.elapsed(), &said)?;
    match told? {
        Some(()) if left => Err(DemoError::Story("the demo left something behind".to_owned())),
        Some(()) => Ok(()),
        None => Err(ended()),
    }
}

fn ended() -> DemoError {
    DemoError::Story("told to end before the story did".to_owned())
}

struct Story<'a> {
    site: Site,
    tell: &'a Tell,
}

/// What a step yields: something for the next ones, and a sentence.
type Told<T> = Result<(T, String), NoAnswer>;

impl Story<'_> {
    async fn tell(&mut self) -> Result<(), DemoError> {
        let user = User::new(&self.site.plan).map_err(|error| DemoError::Story(error.to_string()))?;
        self.step("page", async |_| page_from(&user, Side::Main).await).await?;
        let (token, mut cti, mut sip) = self.step("sockets", async |_| open_sockets(&user).await).await?;
        self.step("kill", async |site| kill_main(site, &user).await).await?;
        self.step("close", async |_| closed(&mut cti, &mut sip).await).await?;
        self.step("reconnect", async |_| reconnected(&user, &token).await).await?;
        self.step("return", async |site| main_returns(site, &user).await).await?;
        self.step("freeze", async |site| frozen(site, &user).await).await?;
        self.step("resume", async |site| resumed(site, &user).await).await
    }

    async fn step<T>(&mut self, name: &str, work: impl AsyncFnOnce(&mut Site) -> Told<T>) -> Result<T, DemoError> {
        let began = Instant::now();
        let done = timeout(2 * SOON, work(&mut self.site)).await;
        let done = done.unwrap_or_else(|_| Err(format!("took longer than {} s", 2 * SOON.as_secs()).into()));
        let (said, result) = match done {
            Ok((result, sentence)) => (Ok(sentence), Some(result)),
            Err(error) => (Err(error.to_string()), None),
        };
        self.tell.step(name, began.elapsed(), &said)?;
        result.ok_or_else(|| DemoError::Story(format!("the step {name} failed{}", self.site.edge.last_words())))
    }
}

async fn page_from(user: &User, expected: Side) -> Told<()> {
    let page = user.get(PAGE).await?;
    match served_by(&page) {
        Some(by) if page.status() == StatusCode::OK && by == expected.label() => {
            Ok(((), format!("{} serves the page", Side::title(expected))))
        }
        by => Err(format!("the page came with {} from {}", page.status(), by.unwrap_or("nobody")).into()),
    }
}

fn served_by(answer: &Response<Bytes>) -> Option<&str> {
    answer.headers().get(HEADER)?.to_str().ok()
}

async fn open_sockets(user: &User) -> Told<(String, Socket, Socket)> {
    let logon = user.post("/xuc/api/2.0/auth/login", r#"{"login":"alice","password":"demo"}"#).await?;
    let logon: Value = serde_json::from_slice(logon.body())?;
    let token = logon["token"].as_str().ok_or("no token came of the logon")?.to_owned();
    let cti = cti(user, &token, Side::Main).await?;
    let mut sip = user.websocket(&format!("/wssip?token={token}"), Some("sip")).await?;
    sip.send(Message::text("REGISTER")).await?;
    match timeout(SOON, sip.next()).await? {
        Some(Ok(came)) if came == Message::text("REGISTER") => {}
        other => return Err(format!("SIP said {other:?}").into()),
    }
    Ok(((token, cti, sip), "alice is logged on; CTI ticks from Main, SIP answers".to_owned()))
}

/// A CTI socket whose first tick has come from `expected`.
async fn cti(user: &User, token: &str, expected: Side) -> Result<Socket, NoAnswer> {
    let mut cti = user.websocket(&format!("/xuc/api/2.0/cti?token={token}"), None).await?;
    let tick = timeout(SOON, cti.next()).await?.ok_or("CTI ended")??;
    let tick: Value = serde_json::from_str(tick.to_text()?)?;
    if tick["side"] != expected.label() {
        return Err(format!("CTI ticks from {}", tick["side"]).into());
    }
    Ok(cti)
}

/// The page asked for at the moment of death comes from Standby: no error, no second try.
async fn kill_main(site: &mut Site, user: &User) -> Told<()> {
    site.carry_out(Order::KillMain).await?;
    let killed = Instant::now();
    page_from(user, Side::Standby).await?;
    let took = killed.elapsed();
    if took > SWITCH_BOUND {
        return Err(format!("Standby serves the page, {} ms after Main died", took.as_millis()).into());
    }
    Ok(((), format!("Main is dead; Standby served the next page {} ms later", took.as_millis())))
}

async fn closed(cti: &mut Socket, sip: &mut Socket) -> Told<()> {
    let (cti, sip) = tokio::join!(close_code(cti), close_code(sip));
    match (cti?, sip?) {
        (SERVICE_RESTART, SERVICE_RESTART) => Ok(((), "CTI and SIP were closed with 1012".to_owned())),
        (cti, sip) => Err(format!("CTI was closed with {cti}, SIP with {sip}").into()),
    }
}

/// The code of the Close, once the handshake is over and the connection has ended (RFC 6455 section 7.1.1).
async fn close_code(socket: &mut Socket) -> Result<u16, NoAnswer> {
    let mut code = None;
    let ended = async {
        while let Some(came) = socket.next().await {
            if let Message::Close(close) = came? {
                code = close.map(|close| close.code.into());
            }
        }
        Ok::<_, NoAnswer>(())
    };
    timeout(SOON, ended).await??;
    code.ok_or_else(|| "the connection ended without a Close, or without a code".into())
}

async fn reconnected(user: &User, token: &str) -> Told<()> {
    cti(user, token, Side::Standby).await?;
    Ok(((), "the same token opens CTI on Standby".to_owned()))
}

/// E1: Main works again and gets nothing.
async fn main_returns(site: &mut Site, user: &User) -> Told<()> {
    site.carry_out(Order::StartMain).await?;
    let status =
        wait_for(site, "Main does not work again", |status| status.sides.main.health == State::Working).await?;
    page_from(user, Side::Standby).await?;
    if status.live != Side::Standby {
        return Err(format!("{} is live", Side::title(status.live)).into());
    }
    Ok(((), "Main works again; traffic stays with Standby".to_owned()))
}

async fn frozen(site: &mut Site, user: &User) -> Told<()> {
    order(site, "/v1/freeze").await?;
    site.carry_out(Order::KillStandby).await?;
    let page = user.get(PAGE).await?;
    if page.status() != StatusCode::SERVICE_UNAVAILABLE || !page.headers().contains_key(pages::MARKER) {
        let by = served_by(&page).unwrap_or("nobody");
        return Err(format!("the page came with {} from {by}, and is not the waiting page", page.status()).into());
    }
    let status = wait_for(site, "the Edge is not frozen", |status| status.frozen.is_some()).await?;
    if status.live != Side::Standby {
        return Err("a frozen Edge moved traffic".into());
    }
    Ok(((), "Standby is dead and nothing moves: users see the waiting page".to_owned()))
}

async fn resumed(site: &mut Site, user: &User) -> Told<()> {
    order(site, "/v1/resume").await?;
    let resumed = Instant::now();
    loop {
        match page_from(user, Side::Main).await {
            Ok(_) => break,
            Err(_) if resumed.elapsed() < SOON => sleep(LOOK).await,
            Err(error) => return Err(error),
        }
    }
    Ok(((), format!("Main serves the page, {} ms after the word", resumed.elapsed().as_millis())))
}

async fn order(site: &Site, path: &str) -> Result<(), NoAnswer> {
    let answer = ask::admin(&site.plan.socket, Method::POST, path).await?;
    if answer.status() == StatusCode::OK { Ok(()) } else { Err(format!("{path} answered {}", answer.status()).into()) }
}

/// The Edge's status, once `until` holds.
async fn wait_for(site: &Site, otherwise: &str, until: impl Fn(&Status) -> bool) -> Result<Status, NoAnswer> {
    let deadline = Instant::now() + SOON;
    loop {
        let status = site.status().await?;
        if until(&status) {
            return Ok(status);
        }
        if Instant::now() > deadline {
            return Err(format!("{otherwise}: {}", status.sentence).into());
        }
        sleep(LOOK).await;
    }
}
