//! Accepts connections, finds who answers, and marks each answer with the side's name.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::answer::{self, Answer, Gone};
use super::mode::{Exempt, Mode, Muted};
use super::state::State;
use super::{HEADER, lab, xivo};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// After a failed accept: without descriptors it would fail at once again.
const PAUSE: Duration = Duration::from_millis(50);
/// How the Edge's probes call themselves.
const PROBE: &str = "bascule-probe";

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                tokio::spawn(connection(tcp, tls.clone(), state.clone()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn connection(tcp: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let _ = tcp.set_nodelay(true);
    match tls {
        None => speak(tcp, state).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(tcp)).await {
                speak(stream, state).await;
            }
        }
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, state: Arc<State>) {
    let exempt = Exempt::default();
    let stream = Muted::new(stream, state.mode.clone(), exempt.clone());
    let service = service_fn(|request| {
        let (state, exempt) = (state.clone(), exempt.clone());
        async move { respond(request, &state, &exempt).await }
    });
    // However it ends, there is nobody to tell.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn respond(request: Request<Incoming>, state: &Arc<State>, exempt: &Exempt) -> Result<Answer, Gone> {
    let mut answer = dispatch(request, state, exempt).await?;
    answer.headers_mut().insert(HEADER, HeaderValue::from_static(state.name.word()));
    Ok(answer)
}

async fn dispatch(request: Request<Incoming>, state: &Arc<State>, exempt: &Exempt) -> Result<Answer, Gone> {
    match request.uri().path() {
        // Orders come before the mode is looked at: a side that fails could else not be told to end that.
        "/xuc/lab/mode" => return Ok(order(&request, state, exempt)),
        "/xuc/lab/stats" => return Ok(answer::json(StatusCode::OK, &state.stats())),
        _ => {}
    }
    // Probes come every second: counted, they would hide the requests of a test.
    if request.headers().get(USER_AGENT).is_none_or(|name| name != PROBE) {
        state.note_request(request.method());
    }
    if state.mode.now() == Mode::Failing {
        return Ok(answer::html(StatusCode::INTERNAL_SERVER_ERROR, "<!DOCTYPE html><title>500</title><h1>500</h1>\n"));
    }
    match request.uri().path().strip_prefix("/xuc/lab/") {
        Some(_) => lab::answer(request, state).await,
        None => Ok(xivo::answer(request, state).await),
    }
}

/// Changes the mode. Carried out and answered in every mode, or nobody could end it.
fn order(request: &Request<Incoming>, state: &State, exempt: &Exempt) -> Answer {
    let word = answer::value(request.uri().query(), "mode").unwrap_or_default();
    let Some(mode) = Mode::parse(word).filter(|_| request.method() == http::Method::POST) else {
        return answer::bad("POST ?mode=ok, ?mode=mute or ?mode=500");
    };
    // The answer to the order to be mute must still leave.
    exempt.grant();
    state.mode.set(mode);
    let mut answer = answer::text(StatusCode::OK, format!("{word}\n"));
    // The exemption ends with the connection.
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
