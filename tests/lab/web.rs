//! A user: asks the Edge who serves, logs on, and speaks SIP and CTI over WebSockets through it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::certs::FQDN;
use crate::net::{Host, Net};
use crate::outcome::{Outcome, because, ensure};
use crate::sip::Pipe;

/// A user asks so often.
const EVERY: Duration = Duration::from_millis(50);
/// Longer than the Edge lets a request wait for a switch.
const PATIENCE: Duration = Duration::from_secs(6);
const CONNECT: Duration = Duration::from_secs(2);
/// The sides of the demo say so who they are.
const HEADER: &str = "demo-side";

/// What became of one request: when it was asked, when answered, by which side.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) asked: Instant,
    pub(crate) over: Instant,
    /// Side, or a status, or why there is neither.
    pub(crate) answer: Result<String, String>,
}

/// A user who asks for the same page again and again, until dropped.
#[derive(Debug)]
pub(crate) struct User {
    seen: Arc<Mutex<Vec<Request>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome>>,
}

impl User {
    pub(crate) fn start(net: &Net, tls: Arc<ClientConfig>) -> Outcome<Self> {
        let (seen, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let work = {
            let (seen, end) = (seen.clone(), end.clone());
            move || {
                let runtime = runtime()?;
                while !end.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = runtime.block_on(async {
                        let page = page(edge(), &tls, "/version");
                        timeout(PATIENCE, page).await.unwrap_or_else(|_| Err("no answer".to_owned()))
                    });
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(Request { asked, over: Instant::now(), answer });
                    drop(seen);
                    std::thread::sleep(EVERY.saturating_sub(asked.elapsed()));
                }
                Ok(())
            }
        };
        let thread = Some(net.inside(Host::User, work)?);
        Ok(Self { seen, end, thread })
    }

    pub(crate) fn requests(&self, since: Instant) -> Vec<Request> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|request| request.asked >= since).cloned().collect()
    }

    /// When a side first answered since then.
    pub(crate) fn first_answer(&self, side: &str, since: Instant) -> Option<Instant> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let by = |request: &&Request| request.over >= since && request.answer.as_deref() == Ok(side);
        seen.iter().find(by).map(|request| request.over)
    }

    /// Who answered the last request.
    pub(crate) fn last(&self) -> Option<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    /// The timeline since then in one line.
    pub(crate) fn story(&self, since: Instant) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut last = None;
        for request in self.requests(since) {
            if last.as_ref() != Some(&request.answer) {
                let at = request.over.duration_since(since).as_secs_f64();
                let what = match &request.answer {
                    Ok(side) => side.clone(),
                    Err(why) => format!("({why})"),
                };
                parts.push(format!("{at:.2} {what}"));
                last = Some(request.answer);
            }
        }
        parts.join(", ")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn edge() -> SocketAddr {
    SocketAddr::from((Host::Edge.address(), 443))
}

fn runtime() -> Outcome<Runtime> {
    Builder::new_current_thread().enable_all().build().map_err(because("a runtime"))
}

async fn connect(to: SocketAddr, tls: &Arc<ClientConfig>) -> Outcome<TlsStream<TcpStream>> {
    let name = ServerName::try_from(FQDN).map_err(because(FQDN))?;
    let connect = async {
        let tcp = TcpStream::connect(to).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(tls.clone()).connect(name, tcp).await
    };
    timeout(CONNECT, connect).await.map_err(|_| "no connection".to_owned())?.map_err(|error| error.to_string())
}

/// What a side answered.
struct Answer {
    /// The side that made it.
    side: String,
    body: String,
}

/// Gets a page, and returns the side that made it.
async fn page(from: SocketAddr, tls: &Arc<ClientConfig>, path: &str) -> Outcome<String> {
    ask(from, tls, &format!("GET {path} HTTP/1.1\r\n"), "").await.map(|answer| answer.side)
}

/// Asks once, on a connection of its own; the head is the request line and what is special in it.
async fn ask(from: SocketAddr, tls: &Arc<ClientConfig>, head: &str, body: &str) -> Outcome<Answer> {
    const BIGGEST: u64 = 64 << 10;
    let mut stream = connect(from, tls).await?;
    let request = format!("{head}Host: {FQDN}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = (&mut stream).take(BIGGEST).read_to_end(&mut bytes).await;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let size = match answer.parse(&bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        _ => return Err(format!("no answer: {read:?}")),
    };
    let side = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(HEADER));
    match (answer.code, side) {
        (Some(200), Some(side)) => Ok(Answer {
            side: String::from_utf8_lossy(side.value).into_owned(),
            body: String::from_utf8_lossy(&bytes[size..]).into_owned(),
        }),
        (code, _) => Err(format!("status {}", code.unwrap_or_default())),
    }
}

/// Posts once, and returns the side that answered. To be called inside a machine.
pub(crate) fn post(tls: &Arc<ClientConfig>, path: &str, body: &str) -> Outcome<String> {
    let head = format!("POST {path} HTTP/1.1\r\n");
    let answer = async { timeout(PATIENCE, ask(edge(), tls, &head, body)).await };
    runtime()?.block_on(answer).map_err(|_| "no answer".to_owned())?.map(|answer| answer.side)
}

/// What an answer in JSON says by this name.
fn field(text: &str, name: &str) -> Outcome<String> {
    // In one chunk it is still a line of its own.
    let object = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to)).unwrap_or_default();
    let object: Value = serde_json::from_str(object).map_err(because(text))?;
    let word = object.get(name).and_then(Value::as_str).map(str::to_owned);
    word.ok_or_else(|| format!("no {name} in {text}"))
}

/// A WebSocket through the Edge: of a softphone, or of a contact centre's client.
pub(crate) struct WebSocket {
    runtime: Runtime,
    stream: WebSocketStream<TlsStream<TcpStream>>,
}

impl WebSocket {
    /// SIP. To be called inside a machine.
    pub(crate) fn sip(tls: &Arc<ClientConfig>) -> Outcome<Self> {
        let runtime = runtime()?;
        let path = "/wssip?token=eyJhbGciOiJub25lIn0.eyJsb2dpbiI6ImxhYiJ9.x";
        let stream = runtime.block_on(upgrade(tls, path, Some("sip")))?;
        Ok(Self { runtime, stream })
    }

    /// Logs on, has the token checked and opens the CTI socket with it, which says first which side it is on. To be called
    /// inside a machine.
    pub(crate) fn cti(tls: &Arc<ClientConfig>) -> Outcome<(Self, String)> {
        const LOGIN: &str = r#"{"login":"alice","password":"lab"}"#;
        let runtime = runtime()?;
        let log_on = async {
            let head = "POST /xuc/api/2.0/auth/login HTTP/1.1\r\nContent-Type: application/json\r\n";
            let token = field(&ask(edge(), tls, head, LOGIN).await?.body, "token")?;
            let head = format!("GET /xuc/api/2.0/auth/check HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
            let checked = field(&ask(edge(), tls, &head, "").await?.body, "login")?;
            ensure(checked == "alice", || format!("the token is {checked}'s"))?;
            let mut stream = upgrade(tls, &format!("/xuc/api/2.0/cti?token={token}"), None).await?;
            match stream.next().await {
                Some(Ok(Message::Text(tick))) => Ok((stream, field(&tick, "side")?)),
                other => Err(format!("the CTI socket says {other:?}")),
            }
        };
        let logged_on = runtime.block_on(async { timeout(PATIENCE, log_on).await });
        let (stream, side) = logged_on.map_err(|_| "no CTI".to_owned())??;
        Ok((Self { runtime, stream }, side))
    }

    /// Waits for its end: the code of the Close frame, or none came.
    pub(crate) fn closed(&mut self, limit: Duration) -> Outcome<Option<u16>> {
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            let end = async {
                loop {
                    match stream.next().await {
                        Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return None,
                    }
                }
            };
            timeout(limit, end).await.map_err(|_| format!("still open after {:.1} s", limit.as_secs_f64()))
        })
    }
}

async fn upgrade(
    tls: &Arc<ClientConfig>,
    path: &str,
    subprotocol: Option<&str>,
) -> Outcome<WebSocketStream<TlsStream<TcpStream>>> {
    let stream = connect(edge(), tls).await?;
    let mut request = format!("wss://{FQDN}{path}").into_client_request().map_err(because("a request"))?;
    if let Some(name) = subprotocol {
        request.headers_mut().insert("sec-websocket-protocol", name.parse().map_err(because("a header"))?);
    }
    let open = tokio_tungstenite::client_async(request, stream);
    let opened = timeout(CONNECT, open).await.map_err(|_| "no WebSocket".to_owned())?;
    opened.map(|(stream, _)| stream).map_err(because("a WebSocket"))
}

impl Pipe for WebSocket {
    const VIA: &'static str = "WS";

    fn send(&mut self, message: &str) -> Outcome {
        let Self { runtime, stream } = self;
        let sent = runtime.block_on(async { timeout(CONNECT, stream.send(Message::text(message))).await });
        sent.map_err(|_| "the WebSocket takes nothing".to_owned())?.map_err(because("the WebSocket"))
    }

    fn receive(&mut self, until: Instant) -> Outcome<Option<String>> {
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            loop {
                match timeout_at(until.into(), stream.next()).await {
                    Err(_) => return Ok(None),
                    Ok(Some(Ok(Message::Text(text)))) => return Ok(Some(text.to_string())),
                    Ok(Some(Ok(Message::Binary(bytes)))) => {
                        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
                    }
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(error))) => return Err(format!("the WebSocket: {error}")),
                    Ok(None) => return Err("the WebSocket is closed".to_owned()),
                }
            }
        })
    }
}
